"""Packet identifiers, and the order of answers, alone."""

import pytest

from mqttws.errors import UnexpectedPacket, UsageError
from mqttws.protocol.arrivals import Arrivals
from mqttws.protocol.inflight import Change, Session
from mqttws.wire import Publish, PubRel


def message(packet_id: int, qos: int) -> Publish:
    return Publish("t", b"", qos, packet_id=packet_id)


def answered(arrivals: Arrivals) -> list[int]:
    return [arrival.packet_id for arrival in arrivals.due()]


@pytest.mark.rule("MQTT-2.3.1-1", "MQTT-2.3.1-2")
def test_identifiers_go_round_and_leave_out_what_is_in_flight():
    session = Session()
    session._last_id = 65533
    session.outgoing = {65534: message(65534, 1), 1: PubRel(1)}
    assert session.next_packet_id({2: None}) == 65535
    assert session.next_packet_id({2: None}) == 3


@pytest.mark.rule("MQTT-2.3.1-2")
def test_the_last_free_identifier_is_found_and_then_there_is_none():
    session = Session()
    session.outgoing = {i: message(i, 1) for i in range(1, 65535)}
    assert session.next_packet_id({}) == 65535
    with pytest.raises(UsageError) as caught:
        session.next_packet_id({65535: None})
    assert caught.value.rule == "MQTT-2.3.1-2"
    assert caught.value.hint


@pytest.mark.rule("MQTT-4.3.3-1")
def test_pubrec_puts_pubrel_in_the_messages_place_at_the_end_of_the_order():
    session = Session()
    session.outgoing = {1: message(1, 2), 2: message(2, 2)}
    assert session.pubrec(1) == PubRel(1)
    assert list(session.outgoing.items()) == [(2, message(2, 2)), (1, PubRel(1))]
    assert session.pubrec(1) == PubRel(1)
    assert session.pubcomp(1) is True
    assert session.pubcomp(1) is False
    assert list(session.outgoing) == [2]


@pytest.mark.rule("MQTT-2.3.1-6")
def test_answers_that_fit_nothing_are_unexpected_and_change_nothing():
    session = Session()
    session.outgoing = {1: message(1, 1), 2: message(2, 2), 3: PubRel(3)}
    before = dict(session.outgoing)
    for step, packet_id in (
        (session.puback, 3), (session.puback, 4),
        (session.pubrec, 1), (session.pubrec, 4),
        (session.pubcomp, 1), (session.pubcomp, 2),
    ):  # fmt: skip
        with pytest.raises(UnexpectedPacket) as caught:
            step(packet_id)
        assert caught.value.rule == "MQTT-2.3.1-6"
    assert session.outgoing == before


@pytest.mark.rule("MQTT-3.1.2-6")
def test_a_cleared_session_holds_nothing():
    session = Session()
    for packet_id in (1, 2, 3):
        session.put(packet_id, message(packet_id, 2))
    session.pubrec(1)
    session.abandon(2)
    session.drop(3)
    session.receive(4, None)
    session.granted["t"] = 1
    assert (session.accepted, session.abandoned, session.unread) == ({1: message(1, 2)}, {2}, {4})
    session.clear()
    assert (session.outgoing, session.received, session.granted) == ({}, {}, {})
    assert (session.accepted, session.abandoned, session.unread) == ({}, set(), set())
    assert session.next_packet_id({}) == 1
    assert session.unanswered == {}


@pytest.mark.rule("MQTT-4.3.3-2")
def test_a_repeat_is_not_new_and_what_was_released_is() -> None:
    session = Session()
    assert session.receive(5, 1) is True
    assert session.receive(5, 1) is False
    session.release(5)
    assert session.receive(5, 1) is True


def test_what_the_peer_releases_before_it_was_handed_over_is_closed() -> None:
    session = Session()
    session.changes = []
    session.receive(5, 1)
    session.release(5)
    session.hand_over(5)
    assert session.take_changes() == [Change("released", 5)]
    assert session.unread == set()


@pytest.mark.rule("MQTT-4.6.0-2", "MQTT-4.6.0-3")
def test_an_answer_waits_for_those_before_it():
    arrivals = Arrivals()
    for packet_id in (1, 2, 3):
        arrivals.add(packet_id, 1)
    arrivals.acknowledge(2)
    assert answered(arrivals) == []
    arrivals.acknowledge(1)
    assert answered(arrivals) == [1, 2]
    arrivals.acknowledge(3)
    assert answered(arrivals) == [3]


def test_an_identifier_that_waits_twice_is_acknowledged_twice_the_oldest_first():
    arrivals = Arrivals()
    arrivals.add(1, 1)
    arrivals.add(2, 1)
    arrivals.add(1, 1)
    arrivals.acknowledge(1)
    assert answered(arrivals) == [1]
    arrivals.acknowledge(1)
    arrivals.acknowledge(2)
    assert answered(arrivals) == [2, 1]
    with pytest.raises(UsageError):
        arrivals.acknowledge(1)


def test_a_peer_that_lost_the_session_owes_no_answers() -> None:
    session = Session()
    session.put(1, message(1, 1))
    session.drop(1)
    assert list(session.unanswered) == [1]
    assert session.restart() == []
    assert session.unanswered == {}


def test_a_message_that_the_peer_owns_is_kept_until_its_exchange_ends_or_it_is_given_up() -> None:
    session = Session()
    for packet_id in (1, 2):
        session.put(packet_id, message(packet_id, 2))
        session.pubrec(packet_id)
    session.abandon(1)
    assert list(session.accepted) == [2]
    session.pubcomp(2)
    assert session.accepted == {}
    session.put(2, message(2, 1))  # the identifier is free again
    assert session.restart() == []
    assert session.outgoing == {2: message(2, 1)}
