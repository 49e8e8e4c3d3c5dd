"""The server's end, with a client that says whatever the test wants."""

import re

import pytest

from mqttws.errors import (
    HopTimedOut,
    KeepAliveExpired,
    MalformedPacket,
    ProtocolError,
    UnexpectedPacket,
    UsageError,
)
from mqttws.protocol import (
    ConnectionClosed,
    ConnectReceived,
    Event,
    MessageReceived,
    ServerProtocol,
    Session,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
    WillDue,
)
from mqttws.protocol.server import MAX_EARLY_BYTES
from mqttws.wire import (
    REFUSED,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    encode,
)

from ..pair import connected_server, events_of, said, say, state_of

PERSISTENT = Connect("c", clean_session=False)
WILL = Will("gone", b"bye", 1, True)


def subscribe(packet_id: int, *wishes: str | tuple[str, int]) -> Subscribe:
    return Subscribe(
        packet_id,
        [
            Subscription(wish, 2) if isinstance(wish, str) else Subscription(*wish)
            for wish in wishes
        ],
    )


def closed_by(server: ServerProtocol) -> BaseException | None:
    last = events_of(server)[-1]
    assert isinstance(last, ConnectionClosed)
    assert server.state is State.CLOSED
    return last.error


def rule_of(error: BaseException | None) -> str:
    assert isinstance(error, ProtocolError)
    return error.rule


# The first packet


@pytest.mark.rule("MQTT-3.1.4-4", "MQTT-3.1.3-5", "U-17")
@pytest.mark.parametrize("client_id", ["c", "aZ0" * 7 + "09", "ä/-" * 30, "x" * 65535])
def test_a_valid_connect_waits_for_the_verdict_and_is_answered_by_connack_0(client_id: str):
    server = ServerProtocol(0.0)
    say(server, Connect(client_id))
    assert events_of(server) == [ConnectReceived(Connect(client_id))]
    assert said(server) == []
    server.accept(1.0)
    assert server.data_to_send(1.0) == b"\x20\x02\x00\x00"
    assert server.state is State.CONNECTED


@pytest.mark.rule("MQTT-3.1.0-1", "MQTT-3.2.0-1")
@pytest.mark.parametrize(
    "packet",
    [PingReq(), Publish("t"), subscribe(1, "t"), Disconnect(), ConnAck()],
    ids=lambda packet: type(packet).__name__,
)
def test_any_other_first_packet_closes_without_a_word(packet: Packet):
    server = ServerProtocol(0.0)
    say(server, packet, Connect("c"))
    assert said(server) == []
    (closed,) = events_of(server)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, UnexpectedPacket)
    assert rule_of(closed.error) == "MQTT-3.1.0-1"


@pytest.mark.rule("MQTT-3.1.0-2")
def test_a_second_connect_closes_without_a_second_connack():
    server = connected_server()
    say(server, Connect("c"))
    assert rule_of(closed_by(server)) == "MQTT-3.1.0-2"
    assert said(server) == []


@pytest.mark.rule("MQTT-3.1.0-2")
def test_a_second_connect_of_another_level_gets_no_connack_either():
    server = connected_server()
    server.receive_data(_with_level(5), 0.0)
    assert said(server) == []
    assert isinstance(closed_by(server), ProtocolError)


def _with_level(level: int) -> bytes:
    data = bytearray(encode(Connect("c")))
    assert data[8] == 4
    data[8] = level
    return bytes(data)


@pytest.mark.rule("MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [0, 3, 5, 6, 132])
def test_an_unsupported_level_gets_connack_1_and_is_closed(level: int):
    server = ServerProtocol(0.0)
    server.receive_data(_with_level(level), 0.0)
    assert server.data_to_send(0.0) == b"\x20\x02\x00\x01"
    (closed,) = events_of(server)
    assert isinstance(closed, ConnectionClosed)
    assert rule_of(closed.error) == "MQTT-3.1.2-2"


@pytest.mark.rule("MQTT-3.1.2-1", "MQTT-3.1.2-3", "MQTT-3.1.2-22", "MQTT-3.1.4-1")
@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b"MQTT\x04", b"MQTS\x04", "MQTT-3.1.2-1"),
        (b"\x04\x02\x00", b"\x04\x03\x00", "MQTT-3.1.2-3"),
        (b"\x04\x02\x00", b"\x04\x42\x00", "MQTT-3.1.2-22"),
        (b"\x04\x02\x00", b"\x04\x1e\x00", "MQTT-3.1.2-14"),
        (b"\x00\x01c", b"\x00\x01\xff", "MQTT-1.5.3-1"),
        (b"\x00\x01c", b"\x00\x02c", "MQTT-3.1.3-3"),
    ],
)
def test_a_connect_that_cannot_be_is_closed_without_connack(old: bytes, new: bytes, rule: str):
    server = ServerProtocol(0.0)
    data = encode(Connect("c"))
    assert old in data
    server.receive_data(data.replace(old, new), 0.0)
    assert said(server) == []
    (closed,) = events_of(server)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, MalformedPacket)
    assert closed.error.rule == rule


@pytest.mark.rule("MQTT-3.1.3-8")
def test_an_empty_client_id_with_clean_session_0_gets_connack_2_and_is_closed():
    server = ServerProtocol(0.0)
    server.receive_data(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00", 0.0)
    assert server.data_to_send(0.0) == b"\x20\x02\x00\x02"
    assert events_of(server) == [ConnectionClosed(None)]


def test_an_empty_client_id_with_clean_session_1_can_be_accepted():
    server = connected_server(Connect(""))
    assert server.state is State.CONNECTED


@pytest.mark.rule("U-11")
def test_a_client_that_sends_no_whole_connect_is_given_up():
    server = ServerProtocol(100.0, connect_timeout=10.0)
    for now, byte in enumerate(encode(Connect("c"))[:9], 101):
        server.receive_data(bytes((byte,)), float(now))
        server.tick(float(now))
    assert server.deadline == 110.0
    server.tick(109.9)
    assert server.state is State.NEW
    server.tick(110.0)
    assert isinstance(closed_by(server), HopTimedOut)


@pytest.mark.rule("U-13", "MQTT-3.2.0-1", "MQTT-3.1.4-5")
def test_packets_behind_connect_wait_for_the_verdict_and_connack_comes_first():
    server = ServerProtocol(0.0)
    say(server, Connect("c"), subscribe(1, "t"), PingReq())
    say(server, Publish("t", b"x", 1, packet_id=2))
    assert events_of(server) == [ConnectReceived(Connect("c"))]
    assert said(server) == []
    server.accept(1.0)
    assert events_of(server) == [
        SubscribeReceived(1, [Subscription("t", 2)]),
        MessageReceived("t", b"x", 1, False, False, 2),
    ]
    assert said(server) == [ConnAck(), PingResp()]


@pytest.mark.rule("U-13")
def test_what_waits_behind_connect_is_bounded():
    server = ServerProtocol(0.0, max_packet_size=1000)
    say(server, Connect("c"))
    limit = 1000 + MAX_EARLY_BYTES
    server.receive_data(bytes(limit), 0.0)
    assert server.state is State.CONNECTING
    server.receive_data(b"\0", 0.0)
    assert said(server) == []
    error = closed_by(server)
    assert isinstance(error, UnexpectedPacket)
    assert str(limit + 1) in str(error)
    assert error.rule == "U-13"
    with pytest.raises(UsageError):
        server.accept(0.0)


@pytest.mark.rule("U-13")
def test_a_fault_behind_connect_comes_out_as_an_event_of_accept():
    server = ServerProtocol(0.0)
    server.receive_data(encode(Connect("c")) + b"\xf0\x00", 0.0)
    events_of(server)
    server.accept(1.0)
    assert said(server) == [ConnAck()]
    assert isinstance(closed_by(server), MalformedPacket)


@pytest.mark.rule("MQTT-3.1.4-5", "MQTT-3.2.2-4", "MQTT-3.2.2-5", "MQTT-3.1.3-9", "U-12")
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_refused_client_hears_the_code_and_has_no_effect(code: int):
    server = ServerProtocol(0.0)
    say(server, Connect("c", will=WILL), subscribe(1, "t"), Publish("t"), Disconnect())
    events_of(server)
    server.refuse(code)
    say(server, Publish("t", b"x", 1, packet_id=2))
    assert events_of(server) == [ConnectionClosed(None)]
    assert server.data_to_send(0.0) == bytes((0x20, 2, 0, code))
    assert server.state is State.CLOSED


@pytest.mark.rule("MQTT-3.2.2-6")
def test_where_no_code_fits_the_server_closes_without_connack():
    server = ServerProtocol(0.0)
    say(server, Connect("c"))
    before = state_of(server)
    for code in (0, 6, 255):
        with pytest.raises(UsageError):
            server.refuse(code)
    assert state_of(server) == before
    server.close()
    assert said(server) == []
    assert closed_by(server) is None


def test_a_verdict_without_a_connect_is_a_usage_error_and_changes_nothing():
    new = ServerProtocol(0.0)
    closed = connected_server()
    closed.close()
    for server in (new, connected_server(), closed):
        before = state_of(server)
        for intent in (lambda end: end.accept(0.0), lambda end: end.refuse(5)):
            with pytest.raises(UsageError):
                intent(server)
        assert state_of(server) == before


@pytest.mark.parametrize("accepted", [False, True])
def test_answers_are_not_for_a_client_that_is_not_connected(accepted: bool):
    server = ServerProtocol(0.0)
    if accepted:
        server = connected_server()
        server.close()
    before = state_of(server)
    for intent in (
        lambda: server.publish("t"),
        lambda: server.suback(1, [0]),
        lambda: server.unsuback(1),
        lambda: server.acknowledge(1),
    ):
        with pytest.raises(UsageError, match="not connected"):
            intent()
    assert state_of(server) == before


# Sessions


@pytest.mark.rule("MQTT-3.2.2-1")
def test_session_present_is_never_said_after_clean_session_1():
    server = ServerProtocol(0.0)
    say(server, Connect("c", clean_session=True))
    before = state_of(server)
    with pytest.raises(UsageError, match=re.escape("MQTT-3.2.2-1")):
        server.accept(0.0, session_present=True, session=Session())
    assert state_of(server) == before
    server.accept(0.0)
    assert said(server) == [ConnAck(False)]


@pytest.mark.rule("MQTT-3.2.2-2", "MQTT-3.2.2-3")
@pytest.mark.parametrize("session_present", [False, True])
def test_session_present_is_said_as_the_program_knows_it(session_present: bool):
    server = ServerProtocol(0.0)
    say(server, PERSISTENT)
    server.accept(0.0, session_present=session_present, session=Session())
    assert said(server) == [ConnAck(session_present)]


@pytest.mark.rule("MQTT-3.1.2-4", "MQTT-3.1.4-3", "MQTT-4.1.0-1", "MQTT-4.4.0-1", "MQTT-4.6.0-1")
def test_a_resumed_session_has_its_subscriptions_and_what_is_owed():
    session = Session()
    first = connected_server(PERSISTENT, session=session, subscriptions={"t/+": 1})
    said(first)
    first.publish("t/1", b"1", 1)
    first.publish("t/2", b"2", 2)
    first.receive_eof(1.0)
    again = connected_server(PERSISTENT, session=session)
    assert said(again) == [
        ConnAck(True),
        Publish("t/1", b"1", 1, dup=True, packet_id=1),
        Publish("t/2", b"2", 1, dup=True, packet_id=2),
    ]
    assert again.publish("t/3", b"3", 1)
    assert said(again) == [Publish("t/3", b"3", 1, packet_id=3)]


@pytest.mark.rule("MQTT-3.1.2-6", "MQTT-3.1.4-3")
@pytest.mark.parametrize("connect", [Connect("c"), PERSISTENT])
def test_a_session_that_is_not_said_to_be_present_begins_empty(connect: Connect):
    session = Session()
    session.granted["t"] = 1
    session.outgoing[1] = PubRel(1)
    session.received[2] = None
    server = ServerProtocol(0.0)
    say(server, connect)
    server.accept(0.0, session=session)
    assert said(server) == [ConnAck(False)]
    assert not server.publish("t")
    assert server.session is session
    assert not session.outgoing
    assert not session.received


@pytest.mark.rule("MQTT-4.1.0-2")
def test_the_session_is_there_as_long_as_the_connection():
    server = connected_server(Connect("c", keep_alive=0), subscriptions={"t": 0})
    server.tick(1e9)
    assert server.publish("t")


# The will


@pytest.mark.rule("MQTT-3.1.2-8", "MQTT-3.1.2-10", "MQTT-3.1.2-16", "MQTT-3.1.2-17")
@pytest.mark.parametrize("will", [WILL, Will("gone"), Will("gone", b"", 2, False)])
@pytest.mark.parametrize("end", ["eof", "fault", "silence", "close"])
def test_the_will_of_a_lost_client_is_due_once_as_it_was_given(will: Will, end: str):
    server = connected_server(Connect("c", keep_alive=10, will=will))
    if end == "eof":
        server.receive_eof(1.0)
    elif end == "fault":
        server.receive_data(b"\x00", 1.0)
    elif end == "silence":
        server.tick(15.0)
    else:
        server.close()
    events = events_of(server)
    assert events[0] == WillDue(will)
    assert isinstance(events[1], ConnectionClosed)
    server.receive_eof(2.0)
    server.tick(99.0)
    server.close()
    assert events_of(server) == []


@pytest.mark.rule("MQTT-3.1.2-10", "MQTT-3.14.4-3")
def test_disconnect_discards_the_will():
    server = connected_server(Connect("c", will=WILL))
    say(server, Disconnect())
    server.receive_eof(1.0)
    assert events_of(server) == [ConnectionClosed(None)]


@pytest.mark.rule("MQTT-3.1.2-12")
def test_without_a_will_none_is_due():
    server = connected_server()
    server.receive_eof(1.0)
    assert [type(event) for event in events_of(server)] == [ConnectionClosed]


@pytest.mark.rule("MQTT-3.1.2-8")
@pytest.mark.parametrize("end", ["eof", "refuse", "close"])
def test_the_will_of_a_client_that_was_not_accepted_is_never_due(end: str):
    server = ServerProtocol(0.0)
    say(server, Connect("c", will=WILL))
    events_of(server)
    if end == "eof":
        server.receive_eof(1.0)
    elif end == "refuse":
        server.refuse(5)
    else:
        server.close()
    assert [type(event) for event in events_of(server)] == [ConnectionClosed]


@pytest.mark.rule("MQTT-3.14.1-1")
def test_a_disconnect_with_wrong_flags_is_an_end_like_any_fault():
    server = connected_server(Connect("c", will=WILL))
    server.receive_data(b"\xe2\x00", 1.0)
    due, closed = events_of(server)
    assert due == WillDue(WILL)
    assert isinstance(closed, ConnectionClosed)
    assert rule_of(closed.error) == "MQTT-3.14.1-1"


@pytest.mark.rule("U-20", "MQTT-3.14.4-2")
def test_disconnect_closes_and_what_follows_is_not_processed():
    server = connected_server()
    say(server, Publish("t", b"1"), Disconnect(), Publish("t", b"2", 1, packet_id=1))
    assert events_of(server) == [
        MessageReceived("t", b"1", 0, False, False, None),
        ConnectionClosed(None),
    ]
    assert said(server) == []


# Keep-alive


@pytest.mark.rule("HUB-9")
@pytest.mark.parametrize(("keep_alive", "silence"), [(0, 100.0), (10, 15.0), (1000, 100.0)])
def test_a_server_may_cap_the_silence_of_its_clients(keep_alive: int, silence: float):
    server = ServerProtocol(0.0)
    say(server, Connect("c", keep_alive=keep_alive))
    server.accept(0.0, max_silence=100.0)
    events_of(server)
    assert server.deadline == silence
    server.tick(silence)
    assert isinstance(closed_by(server), KeepAliveExpired)


def test_a_server_may_take_larger_packets_from_a_client_that_it_has_accepted():
    server = ServerProtocol(0.0, max_packet_size=1000)
    say(server, Connect("c"))
    server.accept(0.0, max_packet_size=2000)
    say(server, Publish("t", b"x" * 1500))
    assert isinstance(events_of(server)[-1], MessageReceived)
    say(server, Publish("t", b"x" * 2500))
    assert isinstance(closed_by(server), ProtocolError)


@pytest.mark.rule("MQTT-3.1.2-24")
def test_a_silent_client_is_closed_after_one_and_a_half_times_its_keep_alive():
    server = connected_server(Connect("c", keep_alive=10), now=100.0)
    assert server.deadline == 115.0
    server.tick(114.9)
    assert server.state is State.CONNECTED
    server.tick(115.0)
    assert isinstance(closed_by(server), KeepAliveExpired)
    assert server.deadline is None


@pytest.mark.rule("MQTT-3.1.2-24", "MQTT-3.12.4-1")
@pytest.mark.parametrize("packet", [PingReq(), Publish("t"), subscribe(1, "t"), PubRel(9)])
def test_every_packet_starts_the_time_anew(packet: Packet):
    server = connected_server(Connect("c", keep_alive=10))
    say(server, packet, now=14.0)
    assert server.deadline == 29.0


@pytest.mark.rule("MQTT-3.1.2-24")
def test_a_trickle_that_never_becomes_a_packet_is_silence():
    server = connected_server(Connect("c", keep_alive=10))
    for now, byte in enumerate(encode(Publish("t", bytes(99)))[:15]):
        server.receive_data(bytes((byte,)), float(now))
    assert server.deadline == 15.0
    server.tick(15.0)
    assert isinstance(closed_by(server), KeepAliveExpired)


@pytest.mark.rule("MQTT-3.1.2-24")
def test_the_time_that_the_verdict_took_is_not_the_clients_silence():
    server = ServerProtocol(0.0)
    say(server, Connect("c", keep_alive=10), now=1.0)
    assert server.deadline is None
    server.accept(50.0)
    assert server.deadline == 65.0


@pytest.mark.rule("U-16", "MQTT-3.1.2-24")
def test_keep_alive_0_turns_the_mechanism_off():
    server = connected_server(Connect("c", keep_alive=0))
    assert server.deadline is None
    server.tick(1e9)
    assert server.state is State.CONNECTED


@pytest.mark.rule("MQTT-3.12.4-1")
def test_pingreq_gets_pingresp():
    server = connected_server()
    say(server, PingReq(), PingReq())
    assert said(server) == [PingResp(), PingResp()]
    assert events_of(server) == []


# Subscriptions


@pytest.mark.rule("MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-2.3.1-7")
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_a_subscribe_is_answered_with_its_identifier(packet_id: int):
    server = connected_server()
    say(server, subscribe(packet_id, ("t", 1)))
    assert events_of(server) == [SubscribeReceived(packet_id, [Subscription("t", 1)])]
    server.suback(packet_id, [1])
    assert said(server) == [SubAck(packet_id, [1])]


@pytest.mark.rule("MQTT-2.3.1-7", "MQTT-3.8.4-2", "MQTT-3.10.4-4")
def test_requests_may_be_answered_in_any_order():
    server = connected_server()
    say(server, subscribe(7, "a"), subscribe(8, "b"), Unsubscribe(9, ["c"]))
    server.unsuback(9)
    server.suback(8, [1])
    server.suback(7, [0])
    assert said(server) == [UnsubAck(9), SubAck(8, [1]), SubAck(7, [0])]


@pytest.mark.rule("MQTT-3.8.4-4", "MQTT-3.8.4-5", "MQTT-3.9.3-1", "MQTT-3.8.3-2")
def test_one_suback_has_a_code_for_each_filter_and_a_refused_one_holds_nothing():
    server = connected_server()
    say(server, subscribe(1, "a", "b/#", "c"))
    server.suback(1, [2, REFUSED, 0])
    assert server.data_to_send(0.0) == b"\x90\x05\x00\x01\x02\x80\x00"
    assert [server.publish(topic) for topic in ("a", "b/x", "c")] == [True, False, True]


@pytest.mark.rule("MQTT-3.8.4-5", "MQTT-3.9.3-2")
@pytest.mark.parametrize("codes", [[], [0], [0, 0, 0], [0, 3], [0, 0x81]])
def test_a_suback_of_the_wrong_shape_is_refused_and_the_request_still_waits(codes: list[int]):
    server = connected_server()
    say(server, subscribe(1, "a", "b"))
    before = state_of(server)
    with pytest.raises(UsageError):
        server.suback(1, codes)
    assert state_of(server) == before
    server.suback(1, [0, 0])


def test_an_answer_to_a_request_that_does_not_wait_is_refused():
    server = connected_server()
    say(server, subscribe(1, "a"), Unsubscribe(2, ["a"]))
    before = state_of(server)
    for intent in (
        lambda: server.suback(2, [0]),
        lambda: server.suback(3, [0]),
        lambda: server.unsuback(1),
        lambda: server.unsuback(3),
    ):
        with pytest.raises(UsageError):
            intent()
    assert state_of(server) == before
    server.suback(1, [0])
    with pytest.raises(UsageError):
        server.suback(1, [0])


@pytest.mark.rule("MQTT-2.3.1-2")
@pytest.mark.parametrize("second", [subscribe(1, "c"), Unsubscribe(1, ["a"])])
def test_an_identifier_that_still_waits_for_its_answer_may_not_come_again(second: Packet):
    server = connected_server()
    say(server, subscribe(1, "a", "b"), second)
    assert rule_of(closed_by(server)) == "MQTT-2.3.1-2"


@pytest.mark.rule("MQTT-3.8.4-3")
def test_an_identical_filter_replaces_its_subscription():
    server = connected_server(subscriptions={"t": 2})
    say(server, subscribe(5, ("t", 0)))
    server.suback(5, [0])
    said(server)
    assert server.publish("t", b"x", 2)
    assert said(server) == [Publish("t", b"x", 0)]


@pytest.mark.rule("MQTT-3.8.4-3", "MQTT-3.10.4-3")
def test_a_replaced_or_deleted_subscription_does_not_stop_what_is_under_way():
    server = connected_server(subscriptions={"t": 1})
    server.publish("t", b"x", 1)
    assert said(server) == [Publish("t", b"x", 1, packet_id=1)]
    say(server, subscribe(5, ("t", 0)), Unsubscribe(6, ["t"]))
    server.suback(5, [0])
    server.unsuback(6)
    said(server)
    assert list(server.session.outgoing) == [1]
    say(server, PubAck(1))
    assert server.state is State.CONNECTED
    assert not server.session.outgoing


@pytest.mark.rule("MQTT-3.8.4-6", "MQTT-3.3.5-1")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_goes_out_at_the_lower_qos(granted: int, qos: int):
    server = connected_server(subscriptions={"t": granted})
    assert server.publish("t", b"x", qos)
    (message,) = said(server)
    assert isinstance(message, Publish)
    assert message.qos == min(granted, qos)


@pytest.mark.rule("MQTT-3.3.5-1")
def test_overlapping_filters_bring_one_copy_at_the_highest_granted_qos():
    server = connected_server(subscriptions={"a/#": 0, "a/b": 2, "+/b": 1, "c": 2})
    assert server.publish("a/b", b"x", 2)
    assert server.publish("a/c", b"y", 2)
    assert said(server) == [Publish("a/b", b"x", 2, packet_id=1), Publish("a/c", b"y", 0)]


@pytest.mark.rule("MQTT-3.3.2-3", "MQTT-4.7.2-1", "MQTT-4.7.3-4", "U-22", "U-23")
@pytest.mark.parametrize(
    ("topic_filter", "topic", "reaches"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "A/b", False),
        ("a/#", "a", True),
        ("+/b", "a/b", True),
        ("a", "a/", False),
        ("#", "$dps/x", False),
        ("+/x", "$dps/x", False),
        ("$dps/#", "$dps/x", True),
        ("\N{LATIN SMALL LETTER A WITH DIAERESIS}", "a\N{COMBINING DIAERESIS}", False),
        ("\ufeffa", "a", False),
    ],
)
def test_a_message_reaches_only_those_who_asked_for_it(
    topic_filter: str, topic: str, reaches: bool
):
    server = connected_server(subscriptions={topic_filter: 0})
    assert server.publish(topic) is reaches
    assert said(server) == ([Publish(topic)] if reaches else [])


@pytest.mark.rule("MQTT-3.3.1-3", "MQTT-3.3.1-8", "MQTT-3.3.1-9")
def test_retain_is_set_only_where_the_program_says_that_the_message_was_kept():
    server = connected_server(subscriptions={"t": 0})
    say(server, Publish("t", b"x", 1, retain=True, dup=True, packet_id=1))
    server.publish("t", b"x")
    server.publish("t", b"kept", retain=True)
    assert said(server) == [Publish("t", b"x"), Publish("t", b"kept", retain=True)]


@pytest.mark.rule("MQTT-4.6.0-5", "MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_go_out_in_the_order_of_the_calls(qos: int):
    server = connected_server(subscriptions={"t": 2})
    payloads = [b"%d" % number for number in range(50)]
    for payload in payloads:
        server.publish("t", payload, qos)
    assert [one.payload for one in said(server) if isinstance(one, Publish)] == payloads


@pytest.mark.rule("MQTT-3.10.4-1", "MQTT-3.10.4-2", "MQTT-3.10.4-6")
def test_only_the_exact_filters_are_deleted_and_one_unsuback_answers_all():
    server = connected_server(subscriptions={"a/#": 0, "a/b": 1, "c": 0, "D": 0})
    say(server, Unsubscribe(5, ["a/#", "c", "d", "a/+"]))
    assert events_of(server) == [UnsubscribeReceived(5, ["a/#", "c", "d", "a/+"])]
    server.unsuback(5)
    assert said(server) == [UnsubAck(5)]
    assert [server.publish(topic) for topic in ("a/b", "a/c", "c", "D")] == [
        True, False, False, True,
    ]  # fmt: skip


@pytest.mark.rule("MQTT-3.10.4-4", "MQTT-3.10.4-5")
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_an_unsubscribe_is_answered_even_when_nothing_was_deleted(packet_id: int):
    server = connected_server()
    say(server, Unsubscribe(packet_id, ["never/asked"]))
    server.unsuback(packet_id)
    assert said(server) == [UnsubAck(packet_id)]


# Closing


@pytest.mark.rule("MQTT-3.1.4-2", "MQTT-3.3.5-2")
def test_the_program_can_end_the_connection_with_its_reason():
    server = connected_server()
    reason = ProtocolError("another connection of the same client")
    server.close(reason)
    server.close()
    expected: list[Event] = [ConnectionClosed(reason)]
    assert events_of(server) == expected
    assert said(server) == []
