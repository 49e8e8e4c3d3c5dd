"""What no other test of this folder noticed when it was changed: PINGREQ behind a long upload,
messages that are dropped, and words that name the intent."""

import pytest

from mqttws.errors import KeepAliveExpired, UnexpectedPacket, UsageError
from mqttws.protocol import Change, ClientProtocol, ConnectionClosed, ServerProtocol, Session, State
from mqttws.protocol.arrivals import Arrivals
from mqttws.wire import (
    ConnAck,
    Connect,
    PingReq,
    PingResp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscription,
    UnsubAck,
    encode,
)

from ..pair import connected_client, connected_server, events_of, said, say

# A keep-alive of 60 s: PINGREQ after 45 s, 30 s for its answer, a look every 3.75 s.


def pinging(keep_alive: int = 60, body: bytes = b"") -> ClientProtocol:
    """Return a client that has just sent PINGREQ."""
    client = connected_client(Connect("c", keep_alive=keep_alive))
    if body:
        client.publish("t", body, 1)
    said(client)
    now = keep_alive * 0.75
    assert client.deadline == now
    client.tick(now)
    assert said(client, now) == [PingReq()]
    return client


def test_a_pingreq_behind_an_upload_is_given_the_time_that_the_upload_takes() -> None:
    client = pinging(body=bytes(1_000_000))
    assert client.deadline == 75
    client.note_acknowledged(1_000, 999_000, 45.5)  # it is the last of 1,000,000 bytes
    assert client.deadline == 49.25
    client.tick(49.25)
    assert client.state is State.CONNECTED
    client.note_acknowledged(1_000, 999_000, 50)  # no progress is no sign of life
    assert client.deadline == 53.75
    client.note_acknowledged(1_000, 999_000, 74)
    assert client.deadline == 75
    client.note_acknowledged(3_000, 997_000, 55)
    client.note_acknowledged(3_000, 997_000, 84)
    assert client.deadline == 85
    client.note_acknowledged(601_000, 399_000, 145)  # 6,000 bytes a second
    client.note_acknowledged(601_000, 399_000, 188)
    assert client.deadline == pytest.approx(145 + 256 * 1024 / 6000, abs=1e-6)


def test_a_peer_that_took_a_long_message_is_given_the_time_to_read_it() -> None:
    client = pinging(body=bytes(1_000_000))
    client.note_acknowledged(1_000, 999_000, 45.5)
    client.note_acknowledged(1_000_000, 0, 150)
    assert client.deadline == 150 + 1_000_000 / 20_000
    client.note_acknowledged(1_000_000, 0, 199)
    assert client.deadline == 200
    client.tick(199.9)
    assert client.state is State.CONNECTED
    client.tick(200)
    (closed,) = events_of(client)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, KeepAliveExpired)


def test_a_short_wait_is_reckoned_as_it_is() -> None:
    client = pinging(keep_alive=1)
    client.note_acknowledged(0, 1_000_000, 0.75)
    client.note_acknowledged(349_525, 600_000, 1.55)
    client.note_acknowledged(349_525, 600_000, 2.12)
    assert client.deadline == pytest.approx(1.55 + 256 * 1024 * 0.8 / 349_525, abs=1e-6)


def test_the_next_pingreq_begins_anew() -> None:
    client = pinging()
    client.note_acknowledged(1_000, 999_000, 45.5)
    client.note_acknowledged(601_000, 399_000, 145)  # a slow reader: it gets longer
    say(client, PingResp(), now=146)
    said(client, 146)
    deadline = client.deadline
    assert deadline is not None
    client.tick(deadline)
    assert said(client, deadline) == [PingReq()]
    assert client.deadline == deadline + 30
    client.note_acknowledged(1_000_000, 500, deadline + 1)
    assert client.deadline == deadline + 4.75


def test_a_dropped_message_of_qos_2_is_taken_in_once() -> None:
    session = Session()
    session.changes = []
    client = ClientProtocol(
        Connect("c", clean_session=False),
        session=session,
        max_packet_size=1000,
        discard_oversized=True,
    )
    client.connect(0.0)
    client.data_to_send(0.0)
    large = encode(Publish("large", bytes(5000), 2, packet_id=5))
    client.receive_data(encode(ConnAck()) + large + large, 0.0)
    assert said(client) == [PubRec(5), PubRec(5)]
    assert (list(session.received), list(session.unread)) == ([5], [])
    assert session.take_changes() == [Change("received", 5)]
    client.receive_data(encode(Publish("large", bytes(5000), 1, packet_id=6)), 0.0)
    assert list(session.received) == [5]
    assert session.take_changes() == []
    say(client, PubRel(5))
    assert session.take_changes() == [Change("released", 5)]


def test_a_dropped_message_of_qos_2_waits_for_no_reader() -> None:
    session = Session()
    client = connected_client(
        Connect("c", clean_session=False), session=session, max_packet_size=1000,
        discard_oversized=True,
    )  # fmt: skip
    client.receive_data(encode(Publish("large", bytes(5000), 2, packet_id=5)), 0.0)
    assert (list(session.received), list(session.unread)) == ([5], [])


def test_nothing_is_kept_of_messages_that_were_acknowledged() -> None:
    arrivals = Arrivals()
    arrivals.add(5, 2)
    arrivals.add(5, 2, repeat=True)
    assert arrivals.acknowledge(5) == 2
    assert len(list(arrivals.due())) == 2
    assert not arrivals._by_id


def test_identifiers_begin_where_they_are_told_to() -> None:
    session = Session()
    session.begin_anew(65536 + 6)
    assert session.next_packet_id({}) == 7


def test_what_was_held_back_is_sent_again_once() -> None:
    session = Session()
    for packet_id in (1, 2, 3):
        session.put(packet_id, Publish("t", b"", 1, packet_id=packet_id))
    client = connected_client(
        Connect("c", clean_session=False), session=session, session_present=True, resend=False
    )
    assert said(client) == []
    for through, expected in ((4, []), (2, [1, 2]), (2, []), (None, [3]), (None, [])):
        client.resend_rest(through)
        assert [packet.packet_id for packet in said(client)] == expected  # type: ignore[union-attr]


def test_an_intent_that_comes_too_early_is_named() -> None:
    with pytest.raises(UsageError, match=r"^unsubscribe: "):
        ClientProtocol(Connect("c")).unsubscribe(["t"])
    with pytest.raises(UsageError, match=r"^publish: "):
        ClientProtocol(Connect("c")).publish("t")
    with pytest.raises(UsageError, match=r"^subscribe: "):
        ClientProtocol(Connect("c")).subscribe([Subscription("t")])
    with pytest.raises(UsageError, match=r"^acknowledge: "):
        ClientProtocol(Connect("c")).acknowledge(1)
    with pytest.raises(UsageError, match=r"^refuse: "):
        ServerProtocol(0.0).refuse(1)
    with pytest.raises(UsageError, match=r"^accept: "):
        ServerProtocol(0.0).accept(0.0)
    with pytest.raises(UsageError, match=r"^publish: "):
        ServerProtocol(0.0).publish("t")
    with pytest.raises(UsageError, match=r"^suback: "):
        ServerProtocol(0.0).suback(1, [0])
    with pytest.raises(UsageError, match=r"^unsuback: "):
        ServerProtocol(0.0).unsuback(1)


def test_an_answer_that_fits_nothing_is_named() -> None:
    client = connected_client()
    say(client, UnsubAck(9), SubAck(9, [0]))
    errors = [str(event.error) for event in events_of(client)]  # type: ignore[union-attr]
    assert errors[0].startswith("UNSUBACK ")
    assert errors[1].startswith("SUBACK ")


def test_a_packet_that_no_server_sends_breaks_the_rule_of_the_whole_protocol() -> None:
    client = connected_client()
    say(client, PingReq())
    (closed,) = events_of(client)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, UnexpectedPacket)
    assert closed.error.rule == "MQTT-4.8.0-1"


def test_a_packet_that_no_client_sends_breaks_the_rule_of_the_whole_protocol() -> None:
    server = connected_server()
    say(server, PingResp())
    (closed,) = events_of(server)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, UnexpectedPacket)
    assert closed.error.rule == "MQTT-4.8.0-1"


def test_what_is_sent_before_connack_needs_a_clean_session() -> None:
    with pytest.raises(UsageError, match="clean_session=True only"):
        ClientProtocol(Connect("c", clean_session=False), pipelined=True)


def test_a_client_that_waits_for_connack_sends_nothing_before_it_and_none_does_before_connect() -> (
    None
):
    waiting = ClientProtocol(Connect("c"))
    waiting.connect(0.0)
    for client in (waiting, ClientProtocol(Connect("c"), pipelined=True)):
        with pytest.raises(UsageError, match="not connected"):
            client.publish("t")


def test_a_client_that_does_not_wait_for_connack_sends_a_message_once() -> None:
    client = ClientProtocol(Connect("c"), pipelined=True)
    assert client.opening == Connect("c")
    client.connect(0.0)
    packet_id = client.publish("t", b"x", 1)
    message = Publish("t", b"x", 1, packet_id=packet_id)
    assert said(client) == [Connect("c"), message]
    say(client, ConnAck())
    assert said(client) == []
    assert list(client.session.outgoing.values()) == [message]


def test_the_answer_to_a_message_that_was_given_up_is_recorded_no_more() -> None:
    session = Session()
    session.put(1, Publish("t", b"", 1, packet_id=1))
    session.changes = []
    session.abandon(1)
    assert session.take_changes() == [Change("delete", 1)]
    assert session.puback(1) == 1
    assert session.take_changes() == []
    assert not session.outgoing
    assert not session.abandoned
