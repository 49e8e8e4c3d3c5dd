"""What a session tells its store, and QoS 2 messages that wait for their hand-over."""

import pytest

from mqttws.errors import UsageError
from mqttws.protocol import Change, MessageReceived, Session
from mqttws.wire import Connect, PubAck, PubComp, Publish, PubRec, PubRel

from ..pair import connected_client, events_of, said, say

KEPT = Connect("c", clean_session=False)


def recorded() -> Session:
    session = Session()
    session.changes = []
    return session


def test_nobody_who_stores_costs_nothing() -> None:
    session = Session()
    client = connected_client(session=session)
    client.publish("t", b"x", 1)
    assert session.changes is None
    assert session.take_changes() == []


def test_each_step_of_an_outgoing_exchange_is_told_once() -> None:
    session = recorded()
    client = connected_client(KEPT, session=session)
    session.take_changes()
    one, two = client.publish("t", b"1", 1), client.publish("t", b"2", 2)
    assert session.take_changes() == [
        Change("put", one, Publish("t", b"1", 1, packet_id=one)),
        Change("put", two, Publish("t", b"2", 2, packet_id=two)),
    ]
    say(client, PubAck(one), PubRec(two))
    assert session.take_changes() == [Change("delete", one), Change("put", two, PubRel(two))]
    say(client, PubRec(two))
    assert session.take_changes() == []
    say(client, PubComp(two), PubComp(two))
    assert session.take_changes() == [Change("delete", two)]


def test_a_received_message_is_told_when_it_has_been_handed_over() -> None:
    session = recorded()
    client = connected_client(KEPT, session=session)
    session.take_changes()
    say(client, Publish("t", b"x", 2, packet_id=7))
    assert session.take_changes() == []
    assert said(client) == []
    client.acknowledge(7)
    [received] = session.take_changes()
    assert (received.kind, received.packet_id) == ("received", 7)
    assert said(client) == [PubRec(7)]
    say(client, PubRel(7), PubRel(7))
    assert session.take_changes() == [Change("released", 7)]


def test_a_session_that_begins_anew_is_told() -> None:
    session = recorded()
    client = connected_client(KEPT, session=session)
    client.publish("t", b"x", 1)
    say(client, Publish("t", b"x", 2, packet_id=7))
    session.take_changes()
    connected_client(KEPT, session=session, session_present=True)
    assert session.take_changes() == []
    connected_client(KEPT, session=session)
    assert session.take_changes() == [Change("forget")]
    connected_client(Connect("c"), session=session)
    assert session.take_changes() == [Change("clear")]
    connected_client(Connect("c"), session=session)
    assert session.take_changes() == []


@pytest.mark.rule("MQTT-4.3.3-2")
def test_a_repeat_of_what_waits_for_its_hand_over_is_answered_after_it() -> None:
    session = Session()
    first = connected_client(KEPT, session=session)
    say(first, Publish("t", b"x", 2, packet_id=7))
    events_of(first)
    second = connected_client(KEPT, session=session, session_present=True)
    say(second, Publish("t", b"x", 2, dup=True, packet_id=7), Publish("t", b"y", 1, packet_id=8))
    assert events_of(second) == [MessageReceived("t", b"y", 1, False, False, 8)]
    second.acknowledge(8)
    assert said(second) == [], "answers go out in the order of arrival"
    second.acknowledge_earlier(7)
    assert said(second) == [PubRec(7), PubAck(8)]


@pytest.mark.rule("MQTT-4.3.3-2")
def test_a_message_handed_over_while_offline_is_answered_at_its_repeat() -> None:
    session = Session()
    first = connected_client(KEPT, session=session)
    say(first, Publish("t", b"x", 2, packet_id=7))
    first.receive_eof(1.0)
    first.acknowledge_earlier(7)
    second = connected_client(KEPT, session=session, session_present=True)
    say(second, Publish("t", b"x", 2, dup=True, packet_id=7))
    assert events_of(second) == []
    assert said(second) == [PubRec(7)]
    say(second, PubRel(7), Publish("t", b"new", 2, packet_id=7))
    assert [type(event) for event in events_of(second)] == [MessageReceived]


def test_a_repeat_on_the_same_connection_needs_one_acknowledgement() -> None:
    client = connected_client(KEPT)
    message = Publish("t", b"x", 2, packet_id=7)
    say(client, message, message)
    client.acknowledge(7)
    assert said(client) == [PubRec(7), PubRec(7)]
    with pytest.raises(UsageError):
        client.acknowledge(7)


def test_an_earlier_message_that_the_server_has_released_or_forgotten_changes_nothing() -> None:
    session = recorded()
    client = connected_client(KEPT, session=session)
    session.take_changes()
    client.acknowledge_earlier(9)
    assert (session.take_changes(), said(client)) == ([], [])
