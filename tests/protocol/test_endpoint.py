"""Delivery of messages and the end of a connection: the same rules for both ends."""

import re
from collections.abc import Callable

import pytest

from mqttws.errors import (
    ConnectionLost,
    MalformedPacket,
    PacketTooLarge,
    ProtocolError,
    UnexpectedPacket,
    UsageError,
)
from mqttws.protocol import (
    AnswerIgnored,
    ClientProtocol,
    ConnectionClosed,
    Endpoint,
    MessageReceived,
    PublishCompleted,
    ServerProtocol,
    Session,
    State,
)
from mqttws.wire import (
    ConnAck,
    Connect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    encode,
)

from ..pair import connected_client, connected_server, events_of, said, say, state_of

PERSISTENT = Connect("c", clean_session=False)


def client(session: Session | None = None) -> ClientProtocol:
    present = session is not None
    return connected_client(PERSISTENT, session=session, session_present=present)


def strict_client(session: Session | None = None) -> ClientProtocol:
    return connected_client(PERSISTENT, session=session, strict=True)


def server(session: Session | None = None) -> ServerProtocol:
    wishes = {} if session else {"#": 2}
    return connected_server(PERSISTENT, session=session, subscriptions=wishes)


Make = Callable[..., Endpoint]
both_ends = pytest.mark.parametrize("make", [client, server])
strict_ends = pytest.mark.parametrize("make", [strict_client, server])


def publish(end: Endpoint, topic: str = "t", payload: bytes = b"x", qos: int = 0) -> None:
    assert isinstance(end, ClientProtocol | ServerProtocol)
    end.publish(topic, payload, qos)


def published(end: Endpoint, *payloads: bytes, qos: int) -> list[int]:
    """Publish and return the packet identifiers that were used."""
    for payload in payloads:
        publish(end, payload=payload, qos=qos)
    packets = said(end)
    assert all(isinstance(packet, Publish) for packet in packets)
    return [packet.packet_id for packet in packets if isinstance(packet, Publish)]


def assert_closed(end: Endpoint, fault: type[ProtocolError], rule: str | None = None) -> None:
    closed = events_of(end)[-1]
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, fault)
    if rule is not None:
        assert closed.error.rule == rule
    assert end.state is State.CLOSED


# Sending


@both_ends
@pytest.mark.rule("MQTT-4.3.1-1", "MQTT-3.3.1-2", "MQTT-2.3.1-5")
def test_a_qos_0_message_has_no_identifier_and_no_dup_and_is_forgotten(make: Make):
    end = make()
    publish(end)
    assert said(end) == [Publish("t", b"x", 0, False, False, None)]
    assert not end.session.outgoing


@both_ends
@pytest.mark.rule("MQTT-4.3.2-1")
def test_a_qos_1_message_waits_until_its_own_puback(make: Make):
    end = make()
    publish(end, payload=b"a", qos=1)
    publish(end, payload=b"b", qos=1)
    first, second = said(end)
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert (first.qos, first.dup, second.dup) == (1, False, False)
    assert first.packet_id
    assert second.packet_id
    say(end, PubAck(second.packet_id))
    assert events_of(end) == [PublishCompleted(second.packet_id)]
    assert list(end.session.outgoing) == [first.packet_id]
    say(end, PubAck(first.packet_id))
    assert events_of(end) == [PublishCompleted(first.packet_id)]
    assert not end.session.outgoing


@both_ends
@pytest.mark.rule("MQTT-4.3.3-1", "MQTT-2.3.1-6", "MQTT-3.6.1-1")
def test_a_qos_2_message_goes_through_pubrec_pubrel_and_pubcomp(make: Make):
    end = make()
    publish(end, qos=2)
    (message,) = said(end)
    assert isinstance(message, Publish)
    assert (message.qos, message.dup) == (2, False)
    assert message.packet_id
    say(end, PubRec(message.packet_id))
    assert said(end) == [PubRel(message.packet_id)]
    assert events_of(end) == []
    say(end, PubComp(message.packet_id))
    assert events_of(end) == [PublishCompleted(message.packet_id)]
    assert said(end) == []
    assert not end.session.outgoing


@both_ends
@pytest.mark.rule("MQTT-4.3.3-1")
def test_every_pubrec_is_answered_and_the_second_pubcomp_it_brings_is_no_fault(make: Make):
    end = make()
    (packet_id,) = published(end, b"x", qos=2)
    say(end, PubRec(packet_id), PubRec(packet_id))
    assert said(end) == [PubRel(packet_id), PubRel(packet_id)]
    say(end, PubComp(packet_id), PubComp(packet_id))
    assert events_of(end) == [PublishCompleted(packet_id)]
    assert end.state is State.CONNECTED


@both_ends
@pytest.mark.rule("MQTT-4.6.0-4")
def test_pubrels_go_out_in_the_order_of_the_pubrecs(make: Make):
    end = make()
    one, two, three = published(end, b"1", b"2", b"3", qos=2)
    say(end, PubRec(two), PubRec(three), PubRec(one))
    assert said(end) == [PubRel(two), PubRel(three), PubRel(one)]
    assert said(make(end.session))[-3:] == [PubRel(two), PubRel(three), PubRel(one)]


@both_ends
@pytest.mark.rule("MQTT-2.3.1-1", "MQTT-2.3.1-2", "MQTT-2.3.1-4")
def test_identifiers_start_at_1_and_differ_while_in_flight(make: Make):
    end = make()
    assert published(end, *[b"x"] * 300, qos=1) == list(range(1, 301))


@both_ends
@pytest.mark.rule("MQTT-2.3.1-3", "MQTT-2.3.1-4")
@pytest.mark.parametrize("qos", [1, 2])
def test_an_identifier_is_free_only_after_its_closing_answer(make: Make, qos: int):
    end = make()
    (packet_id,) = published(end, b"x", qos=qos)
    end.session._last_id = packet_id - 1  # the next in turn is the one in flight
    assert published(end, b"y", qos=qos) == [packet_id + 1]
    if qos == 1:
        say(end, PubAck(packet_id))
    else:
        say(end, PubRec(packet_id))
        said(end)
        end.session._last_id = packet_id - 1
        assert published(end, b"z", qos=qos) == [packet_id + 2]
        say(end, PubComp(packet_id))
    end.session._last_id = packet_id - 1
    assert published(end, b"y", qos=qos) == [packet_id]


@both_ends
@pytest.mark.rule("MQTT-2.3.1-1", "MQTT-2.3.1-2", "MQTT-2.3.1-4")
def test_after_65535_comes_1_and_with_all_in_flight_comes_an_error(make: Make):
    end = make()
    end.session._last_id = 65534
    assert published(end, b"a", b"b", qos=1) == [65535, 1]
    end.session.outgoing.update(
        (packet_id, Publish("t", b"", 1, packet_id=packet_id)) for packet_id in range(1, 65536)
    )
    before = len(end.session.outgoing)
    with pytest.raises(UsageError, match=re.escape("MQTT-2.3.1-2")):
        publish(end, qos=2)
    assert said(end) == []
    assert len(end.session.outgoing) == before
    say(end, PubAck(40000))
    assert published(end, b"c", qos=1) == [40000]


@strict_ends
@pytest.mark.rule("MQTT-2.3.1-6")
@pytest.mark.parametrize(
    "answer", [PubAck(77), PubRec(77)], ids=lambda packet: type(packet).__name__
)
def test_an_answer_to_nothing_closes_the_connection(make: Make, answer: Packet):
    end = make()
    say(end, answer)
    assert_closed(end, UnexpectedPacket, "MQTT-2.3.1-6")


@strict_ends
@pytest.mark.rule("MQTT-2.3.1-6")
@pytest.mark.parametrize(("qos", "wrong"), [(1, PubRec), (1, PubComp), (2, PubAck), (2, PubComp)])
def test_an_answer_of_another_qos_closes_the_connection_and_the_message_is_kept(
    make: Make, qos: int, wrong: type
):
    end = make()
    (packet_id,) = published(end, b"x", qos=qos)
    say(end, wrong(packet_id))
    assert_closed(end, UnexpectedPacket, "MQTT-2.3.1-6")
    assert packet_id in end.session.outgoing


@pytest.mark.rule("MQTT-2.3.1-6")
@pytest.mark.parametrize(
    ("answer", "reply"), [(PubAck(77), []), (PubRec(77), [PubRel(77)])], ids=repr
)
def test_a_client_reports_an_answer_to_nothing_and_goes_on(answer: Packet, reply: list[Packet]):
    end = client()
    say(end, answer)
    (event,) = events_of(end)
    assert isinstance(event, AnswerIgnored)
    assert (event.packet_id, event.error.rule) == (77, "MQTT-2.3.1-6")
    assert said(end) == reply
    assert end.state is State.CONNECTED


@pytest.mark.rule("MQTT-2.3.1-6")
@pytest.mark.parametrize(("qos", "wrong"), [(1, PubRec), (1, PubComp), (2, PubComp)])
def test_a_client_reports_an_answer_of_another_qos_and_keeps_the_message(qos: int, wrong: type):
    end = client()
    (packet_id,) = published(end, b"x", qos=qos)
    say(end, wrong(packet_id))
    (event,) = events_of(end)
    assert isinstance(event, AnswerIgnored)
    assert packet_id in end.session.outgoing
    assert end.state is State.CONNECTED


def test_a_client_takes_puback_for_qos_2_as_the_end_at_qos_1_once():
    end = client()
    (packet_id,) = published(end, b"x", qos=2)
    say(end, PubAck(packet_id))
    assert events_of(end) == [PublishCompleted(packet_id, downgraded=True)]
    assert not end.session.outgoing
    assert said(client(end.session)) == []


@both_ends
@pytest.mark.rule("MQTT-2.3.1-6")
def test_a_pubcomp_for_nothing_completes_nothing(make: Make):
    end = make()
    say(end, PubComp(77))
    assert events_of(end) == []
    assert said(end) == []


# Sending again


@both_ends
@pytest.mark.rule(
    "MQTT-3.3.1-1", "MQTT-4.4.0-1", "MQTT-4.6.0-1", "MQTT-2.3.1-3", "MQTT-2.3.1-4", "MQTT-4.1.0-1"
)
def test_unanswered_messages_are_sent_again_in_order_with_dup_and_the_same_identifiers(make: Make):
    end = make()
    published(end, b"0", qos=0)
    first, second, third = published(end, b"1", b"2", b"3", qos=1)
    (fourth,) = published(end, b"4", qos=2)
    say(end, PubAck(second))
    end.receive_eof(1.0)
    assert said(make(end.session))[-3:] == [
        Publish("t", b"1", 1, False, True, first),
        Publish("t", b"3", 1, False, True, third),
        Publish("t", b"4", 2, False, True, fourth),
    ]


@both_ends
@pytest.mark.rule("MQTT-4.3.3-1", "MQTT-4.4.0-1")
def test_after_pubrec_pubrel_is_sent_again_and_the_message_is_not(make: Make):
    end = make()
    (packet_id,) = published(end, b"x", qos=2)
    say(end, PubRec(packet_id))
    end.receive_eof(1.0)
    again = make(end.session)
    assert said(again)[-1:] == [PubRel(packet_id)]
    say(again, PubComp(packet_id))
    assert events_of(again) == [PublishCompleted(packet_id)]
    assert not again.session.outgoing


@both_ends
@pytest.mark.rule("U-21")
def test_nothing_is_sent_again_on_a_live_connection(make: Make):
    end = make()
    published(end, b"x", qos=1)
    for now in range(1, 40):
        end.tick(float(now))
        assert not any(isinstance(packet, Publish) for packet in said(end, float(now)))


@both_ends
@pytest.mark.rule("MQTT-3.3.1-3")
def test_dup_is_set_on_what_is_sent_again_only(make: Make):
    end = make()
    say(end, Publish("t", b"came", 1, False, True, 9))
    published(end, b"old", qos=1)
    end.receive_eof(1.0)
    again = make(end.session)
    publish(again, payload=b"new", qos=1)
    flags = {packet.payload: packet.dup for packet in said(again) if isinstance(packet, Publish)}
    assert flags == {b"old": True, b"new": False}


# Receiving


@both_ends
@pytest.mark.rule("MQTT-3.3.4-1")
def test_a_qos_0_message_is_handed_over_and_not_answered(make: Make):
    end = make()
    say(end, Publish("t", b"x", retain=True))
    assert events_of(end) == [MessageReceived("t", b"x", 0, True, False, None)]
    assert said(end) == []


@both_ends
@pytest.mark.rule("MQTT-3.3.4-1", "MQTT-2.3.1-6", "MQTT-4.3.2-2", "MQTT-4.5.0-2")
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_a_qos_1_message_is_answered_by_puback_once_it_is_acknowledged(make: Make, packet_id: int):
    end = make()
    say(end, Publish("nobody/asked", b"x", 1, packet_id=packet_id))
    assert events_of(end) == [MessageReceived("nobody/asked", b"x", 1, False, False, packet_id)]
    assert said(end) == []
    end.acknowledge(packet_id)
    assert said(end) == [PubAck(packet_id)]


@both_ends
@pytest.mark.rule("MQTT-4.3.2-2")
def test_a_qos_1_identifier_after_its_puback_is_a_new_message_whatever_its_dup(make: Make):
    end = make()
    for dup in (False, True, True):
        say(end, Publish("t", b"x", 1, False, dup, 5))
        assert events_of(end) == [MessageReceived("t", b"x", 1, False, dup, 5)]
        end.acknowledge(5)
        assert said(end) == [PubAck(5)]


@both_ends
@pytest.mark.rule("MQTT-3.3.4-1", "MQTT-2.3.1-6", "MQTT-4.3.3-2", "MQTT-4.5.0-2")
def test_a_qos_2_message_is_handed_over_once_however_often_it_comes(make: Make):
    end = make()
    message = Publish("t", b"x", 2, False, False, 5)
    again = Publish("t", b"x", 2, False, True, 5)
    say(end, message)
    assert events_of(end) == [MessageReceived("t", b"x", 2, False, False, 5)]
    end.acknowledge(5)
    say(end, again, again)
    assert events_of(end) == []
    assert said(end) == [PubRec(5), PubRec(5), PubRec(5)]
    say(end, PubRel(5))
    assert said(end) == [PubComp(5)]
    say(end, message)
    assert events_of(end) == [MessageReceived("t", b"x", 2, False, False, 5)]


@both_ends
@pytest.mark.rule("MQTT-4.3.3-2", "MQTT-4.6.0-3")
def test_a_qos_2_message_repeated_before_its_answer_is_answered_in_its_turn(make: Make):
    end = make()
    say(end, Publish("t", b"5", 2, packet_id=5), Publish("t", b"6", 2, packet_id=6))
    say(end, Publish("t", b"5", 2, dup=True, packet_id=5))
    assert len(events_of(end)) == 2
    end.acknowledge(5)
    assert said(end) == [PubRec(5)]
    end.acknowledge(6)
    assert said(end) == [PubRec(6), PubRec(5)]
    with pytest.raises(UsageError):
        end.acknowledge(5)


@both_ends
@pytest.mark.rule("MQTT-4.3.3-2", "MQTT-4.1.0-1")
def test_a_qos_2_message_repeated_on_a_new_connection_is_not_handed_over_again(make: Make):
    end = make()
    say(end, Publish("t", b"x", 2, packet_id=5))
    end.receive_eof(1.0)
    again = make(end.session)
    said(again)
    say(again, Publish("t", b"x", 2, dup=True, packet_id=5))
    assert events_of(again) == []
    assert said(again) == [], "it still waits to be handed over"
    again.acknowledge_earlier(5)
    assert said(again) == [PubRec(5)]


@both_ends
@pytest.mark.rule("MQTT-4.3.3-2")
def test_a_repeat_of_an_earlier_connections_message_can_be_acknowledged_like_any(make: Make):
    end = make()
    say(end, Publish("t", b"x", 2, packet_id=5))
    again = make(end.session)
    said(again)
    say(again, Publish("t", b"x", 2, dup=True, packet_id=5))
    again.acknowledge(5)
    assert said(again) == [PubRec(5)]
    assert not again.session.unread


@both_ends
@pytest.mark.rule("MQTT-4.3.3-2")
def test_a_pubrel_for_nothing_is_answered_all_the_same(make: Make):
    end = make()
    say(end, PubRel(9))
    assert said(end) == [PubComp(9)]
    assert events_of(end) == []


@both_ends
@pytest.mark.rule("MQTT-4.6.0-2", "MQTT-4.6.0-3")
def test_answers_go_out_in_the_order_of_arrival_however_they_are_acknowledged(make: Make):
    end = make()
    say(end, *[Publish("t", b"x", qos, packet_id=i) for i, qos in enumerate([1, 2, 1, 2, 1], 1)])
    end.acknowledge(3)
    end.acknowledge(5)
    end.acknowledge(2)
    assert said(end) == []
    end.acknowledge(1)
    assert said(end) == [PubAck(1), PubRec(2), PubAck(3)]
    end.acknowledge(4)
    assert said(end) == [PubRec(4), PubAck(5)]


@both_ends
def test_acknowledging_what_does_not_wait_is_a_usage_error_and_changes_nothing(make: Make):
    end = make()
    say(end, Publish("t", b"x", 1, packet_id=5))
    end.acknowledge(5)
    before = state_of(end)
    for packet_id in (5, 6, 0):
        with pytest.raises(UsageError):
            end.acknowledge(packet_id)
    assert state_of(end) == before


# Usage errors


@both_ends
@pytest.mark.rule("MQTT-3.3.1-4", "MQTT-3.3.2-2", "MQTT-4.7.3-1", "MQTT-1.5.3-1", "MQTT-4.7.3-3")
@pytest.mark.parametrize(
    ("topic", "payload", "qos"),
    [
        ("a/#", b"", 1),
        ("a/\ud800", b"", 1),
        ("a/\0", b"", 2),
        ("a" * 65536, b"", 1),
        ("a", "text", 1),
        ("a", b"", -1),
    ],
)
def test_a_message_that_mqtt_forbids_is_refused_and_leaves_nothing_behind(
    make: Make, topic: str, payload: bytes, qos: int
):
    end = make()
    publish(end, qos=1)
    before = state_of(end)
    with pytest.raises(UsageError):
        publish(end, topic, payload, qos)
    assert state_of(end) == before


# The end


@both_ends
@pytest.mark.rule("MQTT-4.8.0-1", "MQTT-2.2.2-2")
@pytest.mark.parametrize(
    ("data", "fault", "rule"),
    [
        (b"\x00\x00", MalformedPacket, "U-1"),
        (b"\x36\x05\x00\x01t\x00\x01", MalformedPacket, "MQTT-3.3.1-4"),
        (b"\x30\x04\x00\x02\xc3\x28", MalformedPacket, "MQTT-1.5.3-1"),
        (b"\x60\x02\x00\x01", MalformedPacket, "MQTT-3.6.1-1"),
        (b"\x30\xff\xff\xff\xff", MalformedPacket, "U-2"),
        (b"\x30\xff\xff\xff\x7f", PacketTooLarge, ""),
    ],
)
def test_a_fault_of_the_peer_closes_and_comes_out_as_an_event(
    make: Make, data: bytes, fault: type[ProtocolError], rule: str
):
    end = make()
    end.receive_data(encode(Publish("t", b"good")) + data + encode(Publish("t", b"late")), 1.0)
    message, closed = events_of(end)
    assert isinstance(message, MessageReceived)
    assert message.payload == b"good"
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, fault)
    assert closed.error.rule == rule
    assert said(end) == []
    assert end.deadline is None


@both_ends
def test_the_bytes_of_the_peer_can_end(make: Make):
    end = make()
    cause = ConnectionLost("reset")
    end.receive_eof(1.0, cause)
    end.receive_eof(2.0)
    assert events_of(end) == [ConnectionClosed(cause)]

    other = make()
    other.receive_eof(1.0)
    (closed,) = events_of(other)
    assert isinstance(closed, ConnectionClosed)
    assert isinstance(closed.error, ConnectionLost)


@both_ends
@pytest.mark.rule("MQTT-3.14.4-2", "MQTT-4.8.0-1")
def test_after_the_end_nothing_is_read_sent_or_done(make: Make):
    end = make()
    say(end, Publish("t", b"x", 1, packet_id=5))
    end.receive_eof(1.0)
    events_of(end)
    before = state_of(end)
    end.receive_data(b"\x00\x00", 2.0)
    say(end, Publish("t", b"x", 2, packet_id=6), PingReq(), PingResp(), Connect("c"))
    end.tick(1e9)
    for intent in (lambda: publish(end, qos=1), lambda: end.acknowledge(5)):
        with pytest.raises(UsageError, match="closed"):
            intent()
    assert state_of(end) == before
    assert said(end) == []


@both_ends
def test_what_already_waits_still_goes_out_after_the_end(make: Make):
    end = make()
    publish(end, payload=b"last")
    end.receive_eof(1.0)
    assert said(end) == [Publish("t", b"last")]
    assert end.data_to_send(1.0) == b""


@both_ends
def test_an_end_sends_each_byte_once_and_all_that_waits_together(make: Make):
    end = make()
    publish(end, payload=b"a")
    publish(end, payload=b"b")
    assert end.data_to_send(0.0) == encode(Publish("t", b"a")) + encode(Publish("t", b"b"))
    assert end.data_to_send(0.0) == b""


def test_the_common_base_waits_for_nothing_by_itself():
    with pytest.raises(NotImplementedError):
        _ = Endpoint().deadline
    with pytest.raises(NotImplementedError):
        Endpoint().tick(0.0)


@pytest.mark.rule("MQTT-3.1.0-1")
def test_a_new_client_takes_nothing_before_it_has_spoken():
    end = ClientProtocol(Connect("c"))
    say(end, ConnAck())
    assert_closed(end, UnexpectedPacket)
