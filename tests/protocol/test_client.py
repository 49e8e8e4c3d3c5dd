"""The client's end, with a server that says whatever the test wants."""

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
    AnswerIgnored,
    Change,
    ClientProtocol,
    Connected,
    ConnectionClosed,
    ConnectRejected,
    MessageDiscarded,
    MessageReceived,
    RequestFailed,
    Session,
    State,
    SubscribeCompleted,
    UnsubscribeCompleted,
)
from mqttws.wire import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    encode,
)

from ..pair import connected_client, events_of, packets_in, said, say, state_of


def closed_by(client: ClientProtocol) -> BaseException | None:
    last = events_of(client)[-1]
    assert isinstance(last, ConnectionClosed)
    assert client.state is State.CLOSED
    return last.error


def rule_of(error: BaseException | None) -> str:
    assert isinstance(error, ProtocolError)
    return error.rule


# Opening


@pytest.mark.rule("MQTT-3.1.0-1")
def test_connect_is_the_first_packet_and_nothing_may_be_said_before():
    client = ClientProtocol(Connect("c"))
    for intent in (
        lambda: client.publish("t"),
        lambda: client.subscribe([Subscription("t")]),
        lambda: client.unsubscribe(["t"]),
        lambda: client.acknowledge(1),
    ):
        with pytest.raises(UsageError, match="new, not connected"):
            intent()
    assert said(client) == []
    client.connect(0.0)
    assert said(client) == [Connect("c")]


@pytest.mark.rule("MQTT-3.1.0-2")
def test_connect_is_sent_once():
    client = connected_client()
    for _ in range(2):
        with pytest.raises(UsageError, match=re.escape("MQTT-3.1.0-2")):
            client.connect(0.0)
        assert said(client) == []
        client.disconnect()
        said(client)


@pytest.mark.rule("MQTT-3.1.3-7")
def test_an_empty_client_id_needs_clean_session_1():
    client = ClientProtocol(Connect("", clean_session=False))
    before = state_of(client)
    with pytest.raises(UsageError, match=re.escape("MQTT-3.1.3-7")):
        client.connect(0.0)
    assert state_of(client) == before
    assert said(client) == []


@pytest.mark.rule("MQTT-3.1.2-14", "MQTT-3.1.2-22")
@pytest.mark.parametrize(
    "connect", [Connect("c", will=Will("t", b"", 3)), Connect("c", password=b"p")]
)
def test_a_connect_that_mqtt_forbids_is_refused_and_nothing_is_sent(connect: Connect):
    client = ClientProtocol(connect)
    with pytest.raises(UsageError):
        client.connect(0.0)
    assert said(client) == []
    assert client.state is State.NEW
    assert client.deadline is None


@pytest.mark.rule("MQTT-3.2.2-2", "MQTT-3.2.2-3")
@pytest.mark.parametrize("session_present", [False, True])
def test_connack_0_connects_and_says_whether_the_session_was_kept(session_present: bool):
    client = ClientProtocol(Connect("c", clean_session=False))
    client.connect(0.0)
    say(client, ConnAck(session_present))
    assert events_of(client) == [Connected(session_present)]
    assert client.state is State.CONNECTED


@pytest.mark.rule("MQTT-3.2.2-5", "MQTT-3.1.2-2", "MQTT-3.1.3-8", "MQTT-3.1.3-9", "U-12")
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_refusal_says_its_code_and_ends_the_connection(code: int):
    session = Session()
    session.outgoing[3] = Publish("t", b"x", 1, packet_id=3)
    client = ClientProtocol(Connect("c", clean_session=False), session=session)
    client.connect(0.0)
    said(client)
    say(client, ConnAck(return_code=code), Publish("t"))
    assert events_of(client) == [ConnectRejected(code)]
    assert client.state is State.CLOSED
    assert said(client) == []
    assert list(session.outgoing) == [3]


@pytest.mark.rule("MQTT-3.2.2-1")
def test_a_session_that_is_present_after_clean_session_1_is_a_violation():
    client = ClientProtocol(Connect("c"))
    client.connect(0.0)
    say(client, ConnAck(session_present=True))
    assert rule_of(closed_by(client)) == "MQTT-3.2.2-1"


@pytest.mark.rule("MQTT-3.2.2-4", "MQTT-3.2.2-6", "MQTT-2.2.2-2")
@pytest.mark.parametrize("data", [b"\x20\x02\x01\x02", b"\x20\x02\x00\x06", b"\x21\x02\x00\x00"])
def test_a_connack_that_cannot_be_closes_the_connection(data: bytes):
    client = ClientProtocol(Connect("c"))
    client.connect(0.0)
    client.receive_data(data, 0.0)
    assert isinstance(closed_by(client), MalformedPacket)


@pytest.mark.rule("MQTT-3.2.0-1")
@pytest.mark.parametrize("packet", [Publish("t"), PingResp(), SubAck(1, [0])])
def test_any_other_first_packet_from_the_server_is_a_violation(packet: Packet):
    client = ClientProtocol(Connect("c"))
    client.connect(0.0)
    say(client, packet, ConnAck())
    error = closed_by(client)
    assert isinstance(error, UnexpectedPacket)
    assert error.rule == "MQTT-3.2.0-1"


@pytest.mark.rule("U-14")
def test_a_server_that_never_answers_connect_is_given_up():
    client = ClientProtocol(Connect("c", keep_alive=0), answer_timeout=5.0)
    client.connect(100.0)
    assert client.deadline == 105.0, "also while CONNECT has not left"
    said(client, 101.0)
    assert client.deadline == 106.0
    client.tick(105.9)
    assert client.state is State.CONNECTING
    client.tick(106.0)
    assert isinstance(closed_by(client), HopTimedOut)


@pytest.mark.rule("MQTT-3.1.2-6")
def test_clean_session_1_forgets_what_was_in_flight():
    session = Session()
    session.outgoing[3] = Publish("t", b"x", 1, packet_id=3)
    session.received[4] = None
    client = connected_client(Connect("c"), session=session)
    assert said(client) == []
    assert not session.outgoing
    assert not session.received


@pytest.mark.rule("MQTT-3.1.2-4", "MQTT-4.1.0-1")
def test_clean_session_0_keeps_what_is_in_flight():
    session = Session()
    connect = Connect("c", clean_session=False)
    client = connected_client(connect, session=session)
    client.publish("t", b"x", qos=1)
    say(client, Publish("t", b"y", 2, packet_id=8))
    client.receive_eof(1.0)
    assert list(session.outgoing) == [1]
    assert session.received.keys() == {8}
    assert said(connected_client(connect, session=session, session_present=True)) == [
        Publish("t", b"x", 1, dup=True, packet_id=1)
    ]


@pytest.mark.rule("MQTT-3.2.2-3", "MQTT-4.3.3-2")
def test_a_server_that_forgot_the_session_is_sent_what_is_owed_and_may_use_its_identifiers_anew():
    session = Session()
    session.outgoing[3] = Publish("t", b"x", 1, packet_id=3)
    session.outgoing[4] = PubRel(4)
    session.received[8] = None
    client = connected_client(Connect("c", clean_session=False), session=session)
    assert said(client) == [Publish("t", b"x", 1, packet_id=3), PubRel(4)]
    say(client, Publish("t", b"new", 2, packet_id=8))
    assert events_of(client) == [MessageReceived("t", b"new", 2, False, False, 8)]


@pytest.mark.rule("MQTT-4.3.3-2")
@pytest.mark.parametrize("dup", [False, True])
@pytest.mark.parametrize("handed_over", [False, True])
def test_another_message_with_an_identifier_that_was_not_released_is_no_repeat(
    dup: bool, handed_over: bool
) -> None:
    session = Session()
    connect = Connect("c", clean_session=False)
    client = connected_client(connect, session=session)
    say(client, Publish("t", b"one", 2, packet_id=8))
    assert [one.payload for one in events_of(client)] == [b"one"]
    if handed_over:
        client.acknowledge(8)
        assert said(client) == [PubRec(8)]
    again = connected_client(connect, session=session, session_present=True)
    said(again)
    say(again, Publish("t", b"one", 2, packet_id=8, dup=dup))  # aedes sends again without DUP
    say(again, Publish("t", b"two", 2, packet_id=8))  # and counts afresh on each connection
    came = [one.payload for one in events_of(again)]
    assert came == [b"two"] if handed_over else [b"one", b"two"]


# Wishes


@pytest.mark.rule("MQTT-2.3.1-7", "MQTT-3.8.4-2", "MQTT-3.8.4-4", "MQTT-3.9.3-1")
def test_subacks_are_paired_by_identifier_and_their_codes_by_position():
    client = connected_client()
    one = client.subscribe([Subscription("a", 1)])
    two = client.subscribe([Subscription("b", 2), Subscription("c", 1), Subscription("d")])
    assert said(client) == [
        Subscribe(one, [Subscription("a", 1)]),
        Subscribe(two, [Subscription("b", 2), Subscription("c", 1), Subscription("d")]),
    ]
    assert one != two
    say(client, SubAck(two, [2, 0x80, 0]), SubAck(one, [0]))
    assert events_of(client) == [
        SubscribeCompleted(two, [2, 0x80, 0]),
        SubscribeCompleted(one, [0]),
    ]


@pytest.mark.rule("MQTT-3.10.4-4", "MQTT-3.10.4-6", "MQTT-2.3.1-7")
def test_unsubacks_are_paired_by_identifier():
    client = connected_client()
    one = client.unsubscribe(["a", "b"])
    two = client.unsubscribe(["c"])
    assert said(client) == [Unsubscribe(one, ["a", "b"]), Unsubscribe(two, ["c"])]
    say(client, UnsubAck(two), UnsubAck(one))
    assert events_of(client) == [UnsubscribeCompleted(two), UnsubscribeCompleted(one)]


@pytest.mark.rule("MQTT-2.3.1-2")
def test_requests_and_messages_share_one_set_of_identifiers():
    client = connected_client()
    packet_ids = [
        client.subscribe([Subscription("a")]),
        client.publish("t", qos=1),
        client.unsubscribe(["a"]),
        client.publish("t", qos=2),
    ]
    client.session._last_id = 0
    packet_ids.append(client.subscribe([Subscription("b")]))
    assert packet_ids == [1, 2, 3, 4, 5]


@pytest.mark.rule("MQTT-2.3.1-3")
def test_a_requests_identifier_is_free_after_its_answer():
    client = connected_client()
    subscribe = client.subscribe([Subscription("a")])
    unsubscribe = client.unsubscribe(["a"])
    say(client, SubAck(subscribe, [0]), UnsubAck(unsubscribe))
    client.session._last_id = 0
    assert client.unsubscribe(["a"]) == subscribe
    assert client.subscribe([Subscription("a")]) == unsubscribe


@pytest.mark.rule("MQTT-2.3.1-7", "MQTT-3.8.4-5", "MQTT-3.9.3-2")
@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (encode(SubAck(9, [0, 0])), "MQTT-2.3.1-7"),
        (encode(UnsubAck(9)), "MQTT-2.3.1-7"),
        (encode(UnsubAck(1)), "MQTT-2.3.1-7"),
        (encode(SubAck(2, [0])), "MQTT-2.3.1-7"),
        (encode(SubAck(1, [0])), "MQTT-3.8.4-5"),
        (encode(SubAck(1, [0, 0, 0])), "MQTT-3.8.4-5"),
        (b"\x90\x04\x00\x01\x00\x03", "MQTT-3.9.3-2"),
    ],
)
def test_an_answer_that_fits_no_request_is_a_violation_and_completes_nothing(
    answer: bytes, rule: str
):
    client = connected_client(strict=True)
    assert client.subscribe([Subscription("a"), Subscription("b")]) == 1
    assert client.unsubscribe(["a"]) == 2
    client.receive_data(answer, 0.0)
    (closed,) = events_of(client)
    assert isinstance(closed, ConnectionClosed)
    assert rule_of(closed.error) == rule


@pytest.mark.rule("MQTT-2.3.1-7")
@pytest.mark.parametrize(
    "answer", [SubAck(9, [0, 0]), UnsubAck(9), UnsubAck(1), SubAck(2, [0])], ids=repr
)
def test_an_answer_that_fits_no_request_is_reported_and_ends_nothing(answer: Packet):
    client = connected_client()
    assert client.subscribe([Subscription("a"), Subscription("b")]) == 1
    assert client.unsubscribe(["a"]) == 2
    say(client, answer)
    (event,) = events_of(client)
    assert isinstance(event, AnswerIgnored)
    assert event.error.rule == "MQTT-2.3.1-7"
    say(client, SubAck(1, [0, 1]), UnsubAck(2))
    assert events_of(client) == [SubscribeCompleted(1, [0, 1]), UnsubscribeCompleted(2)]


@pytest.mark.rule("MQTT-3.8.4-5")
@pytest.mark.parametrize("codes", [[0], [0, 0, 0]])
def test_a_suback_with_another_number_of_codes_fails_its_request_alone(codes: list[int]):
    client = connected_client()
    packet_id = client.subscribe([Subscription("a"), Subscription("b")])
    say(client, SubAck(packet_id, codes))
    (event,) = events_of(client)
    assert isinstance(event, RequestFailed)
    assert (event.packet_id, event.error.rule) == (packet_id, "MQTT-3.8.4-5")
    assert client.state is State.CONNECTED


@pytest.mark.rule("MQTT-3.3.1-2")
def test_dup_with_qos_0_is_read_as_0_and_ends_the_connection_where_that_was_chosen():
    message = bytes([encode(Publish("t", b"x"))[0] | 8]) + encode(Publish("t", b"x"))[1:]
    client = connected_client()
    client.receive_data(message * 2, 0.0)
    assert events_of(client) == [MessageReceived("t", b"x", 0, False, False, None)] * 2
    client = connected_client(strict=True)
    client.receive_data(message, 0.0)
    assert isinstance(closed_by(client), MalformedPacket)


def test_a_session_that_the_server_lost_is_published_anew_and_in_its_order():
    session = Session()
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    for payload, qos in ((b"1", 2), (b"2", 1), (b"3", 2)):
        first.publish("t", payload, qos)
    say(first, PubRec(1))
    again = connected_client(persistent, session=session)
    assert said(again) == [
        Publish("t", b"1", 2, packet_id=1),
        Publish("t", b"2", 1, packet_id=2),
        Publish("t", b"3", 2, packet_id=3),
    ]
    say(again, PubAck(2), PubRec(3), PubRec(1))
    assert said(again) == [PubRel(3), PubRel(1)]


def test_what_is_sent_again_leaves_in_pieces_ahead_of_what_is_new():
    session = Session()
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    for number in range(60):
        first.publish("t", bytes(30_000) + b"%d" % number, 1)
    again = connected_client(persistent, session=session, session_present=True)
    again.publish("t", b"new", 0)
    pieces = []
    while data := again.data_to_send(0.0, 64 * 1024):
        pieces.append(data)
        assert len(data) < 64 * 1024
    assert not again.has_data
    packets = [packet for piece in pieces for packet in packets_in(piece)]
    assert [packet.packet_id for packet in packets] == [*range(1, 61), None]
    assert [packet.dup for packet in packets] == [True] * 60 + [False]


def test_all_that_waits_leaves_in_pieces_of_whole_packets():
    client = connected_client()
    for _ in range(10):
        client.publish("t", bytes(30_000), 1)
    pieces = list(iter(lambda: client.data_to_send(0.0, 64 * 1024), b""))
    assert [len(packets_in(piece)) for piece in pieces] == [2] * 5


def test_the_first_alone_is_sent_again_where_that_was_chosen_and_then_the_rest():
    session = Session()
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    for _ in range(3):
        first.publish("t", b"x", 1)
    again = connected_client(persistent, session=session, session_present=True, resend=False)
    again.resend_rest(1)
    assert [packet.packet_id for packet in said(again)] == [1]
    again.resend_rest()
    assert [packet.packet_id for packet in said(again)] == [2, 3]


def test_the_first_identifier_may_be_chosen():
    client = connected_client(session=Session(41_000))
    assert client.publish("t", b"x", 1) == 41_001
    client = connected_client(session=Session(65_535))
    assert client.publish("t", b"x", 1) == 1


@pytest.mark.parametrize("qos", [1, 2])
def test_an_abandoned_exchange_ends_on_its_connection_and_is_not_sent_again(qos: int):
    session = Session()
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    packet_id = first.publish("t", b"x", qos)
    assert packet_id is not None
    session.abandon(packet_id)
    for _ in range(3):
        again = connected_client(persistent, session=session, session_present=True)
        assert said(again) == ([] if qos == 1 else [PubRel(packet_id)])
        session._last_id = packet_id - 1
        assert again.publish("t", b"y", 1) == packet_id + 1, "its identifier is taken"
        said(again)
        say(again, PubAck(packet_id + 1))
    say(again, PubAck(packet_id) if qos == 1 else PubComp(packet_id))
    assert again.state is State.CONNECTED
    session._last_id = packet_id - 1
    assert again.publish("t", b"z", 1) == packet_id, "it is free after the answer"


@pytest.mark.rule("MQTT-2.3.1-3", "MQTT-4.3.3-2")
@pytest.mark.parametrize("had_pubrec", [False, True])
def test_an_abandoned_qos_2_exchange_is_released_whatever_the_server_had_of_it(had_pubrec: bool):
    session = Session()
    session.changes = []
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    kept = first.publish("t", b"kept", 1)
    packet_id = first.publish("t", b"x", 2)
    assert packet_id is not None
    if had_pubrec:
        say(first, PubRec(packet_id))
    session.take_changes()
    session.abandon(packet_id)
    session.abandon(packet_id)
    assert session.take_changes() == [
        Change("delete", packet_id), Change("put", packet_id, PubRel(packet_id))
    ], "and no message beside it"  # fmt: skip
    again = connected_client(persistent, session=session, session_present=True)
    assert said(again) == [Publish("t", b"kept", 1, dup=True, packet_id=kept), PubRel(packet_id)]
    say(again, PubRec(packet_id))
    assert said(again) == [PubRel(packet_id)]
    say(again, PubComp(packet_id))
    assert session.take_changes() == [Change("delete", packet_id)]
    assert (session.abandoned, list(session.outgoing)) == (set(), [kept])


def test_a_server_that_lost_the_session_holds_nothing_of_what_was_abandoned():
    session = Session()
    session.changes = []
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    for qos in (1, 2, 2):
        packet_id = first.publish("t", b"x", qos)
        assert packet_id is not None
        session.abandon(packet_id)
    say(first, PubRec(2))
    session.take_changes()
    again = connected_client(persistent, session=session)
    assert said(again) == []
    assert session.take_changes() == [Change("delete", 2), Change("delete", 3)]
    assert (session.abandoned, session.unanswered, session.outgoing) == (set(), {}, {})


@pytest.mark.rule("MQTT-4.6.0-1")
def test_what_the_server_had_accepted_and_lost_goes_again_before_what_is_newer():
    session = Session()
    session.changes = []
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    for n in range(3):
        first.publish("t", b"%d" % n, 2)
    say(first, PubRec(1), PubRec(2))
    session.take_changes()
    again = connected_client(persistent, session=session)
    messages = [Publish("t", b"%d" % n, 2, packet_id=n + 1) for n in range(3)]
    assert said(again) == messages
    assert session.take_changes() == [Change("put", one.packet_id, one) for one in messages]


def test_an_exchange_that_is_dropped_keeps_its_identifier_and_says_nothing_more():
    session = Session()
    session.changes = []
    persistent = Connect("c", clean_session=False)
    first = connected_client(persistent, session=session)
    assert first.publish("t", b"x", 2) == 1
    session.abandon(1)
    session.take_changes()
    session.drop(1)
    session.drop(1)
    assert session.take_changes() == [Change("delete", 1)]
    again = connected_client(persistent, session=session, session_present=True)
    assert said(again) == []
    session._last_id = 0
    assert again.publish("t", b"y", 1) == 2
    say(again, PubComp(1))
    session._last_id = 0
    assert again.publish("t", b"y", 1) == 1


def test_identifiers_whose_answer_never_comes_are_given_out_after_all_others():
    client = connected_client(session=Session())
    client.session.unanswered = dict.fromkeys([5, 3, *range(6, 65_536)])
    assert [client.publish("t", b"x", 1) for _ in range(5)] == [1, 2, 4, 5, 3]
    assert next(iter(client.session.unanswered)) == 6


def test_progress_of_an_upload_is_life_until_pingreq_has_got_through():
    client = connected_client(Connect("c", keep_alive=10))
    client.publish("t", bytes(1_000_000), 1)
    client.data_to_send(0.0)
    client.tick(7.5)
    assert said(client, 7.5) == [PingReq()]
    client.note_acknowledged(100_000, 900_000, 7.5)
    for now in range(8, 60, 4):
        client.note_acknowledged(100_000 + now * 1000, 900_000 - now * 1000, float(now))
        client.tick(float(now))
    assert client.state is State.CONNECTED
    client.note_acknowledged(1_000_000, 50_000, 60.0)  # PINGREQ is through, and more behind it
    deadline = client.deadline
    assert deadline is not None
    client.note_acknowledged(1_050_000, 0, deadline)
    client.tick(deadline)
    assert isinstance(closed_by(client), KeepAliveExpired)


def test_bytes_that_only_the_kernel_took_are_no_life():
    client = connected_client(Connect("c", keep_alive=10))
    client.note_acknowledged(100, 0, 7.0)
    client.tick(7.5)
    client.note_acknowledged(100, 2, 7.5)
    client.note_acknowledged(100, 50_000, 12.5)
    client.tick(12.5)
    assert isinstance(closed_by(client), KeepAliveExpired)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_message_over_the_limit_is_acknowledged_without_its_payload(qos: int, piece: int):
    client = ClientProtocol(
        Connect("c", clean_session=False), max_packet_size=1000, discard_oversized=True
    )
    client.connect(0.0)
    client.data_to_send(0.0)
    packet_id = 5 if qos else None
    large = encode(Publish("large", bytes(5000), qos, packet_id=packet_id))
    data = encode(ConnAck()) + large + encode(Publish("small", b"x"))
    for at in range(0, len(data), piece):
        client.receive_data(data[at : at + piece], 0.0)
    assert events_of(client)[1:] == [
        MessageDiscarded("large", len(large), qos),
        MessageReceived("small", b"x", 0, False, False, None),
    ]
    assert said(client) == [[], [PubAck(5)], [PubRec(5)]][qos]


@pytest.mark.rule("U-18", "U-19")
def test_messages_may_come_before_the_suback_and_more_than_once():
    client = connected_client()
    packet_id = client.subscribe([Subscription("a")])
    say(client, Publish("a", b"x"), Publish("a", b"x"), SubAck(packet_id, [0]))
    assert [type(event) for event in events_of(client)] == [
        MessageReceived,
        MessageReceived,
        SubscribeCompleted,
    ]


@pytest.mark.rule("MQTT-3.10.4-3", "MQTT-4.5.0-2")
def test_a_message_in_flight_is_answered_after_unsubscribe_too():
    client = connected_client()
    say(client, Publish("a", b"x", 2, packet_id=5))
    packet_id = client.unsubscribe(["a"])
    said(client)
    say(client, UnsubAck(packet_id))
    client.acknowledge(5)
    assert said(client) == [PubRec(5)]


@pytest.mark.rule("MQTT-3.3.1-8")
def test_a_message_says_that_it_was_kept():
    client = connected_client()
    say(client, Publish("a", b"x", retain=True))
    assert events_of(client) == [MessageReceived("a", b"x", 0, True, False, None)]


@pytest.mark.rule("MQTT-3.8.3-3", "MQTT-3.10.3-2", "MQTT-4.7.1-2", "MQTT-4.7.1-3", "MQTT-4.7.3-1")
def test_wishes_that_mqtt_forbids_are_refused_and_leave_nothing_behind():
    client = connected_client()
    before = state_of(client)
    for intent in (
        lambda: client.subscribe([]),
        lambda: client.subscribe([Subscription("a/#/b")]),
        lambda: client.subscribe([Subscription("a", 3)]),
        lambda: client.unsubscribe([]),
        lambda: client.unsubscribe(["a", "b+"]),
        lambda: client.unsubscribe([""]),
    ):
        with pytest.raises(UsageError):
            intent()
    assert state_of(client) == before


def test_retain_is_passed_on():
    client = connected_client()
    assert client.publish("t", b"x", retain=True) is None
    assert said(client) == [Publish("t", b"x", retain=True)]


# Keep-alive


def ping_at(client: ClientProtocol, now: float) -> None:
    """Let the deadline come, which must be ``now``, and see PINGREQ go out."""
    assert client.deadline == now
    client.tick(now - 0.01)
    assert said(client, now - 0.01) == []
    client.tick(now)
    client.tick(now)
    assert said(client, now) == [PingReq()]


@pytest.mark.rule("MQTT-3.1.2-23", "MQTT-3.12.4-1")
def test_an_idle_client_sends_pingreq_after_three_quarters_of_the_keep_alive():
    client = connected_client(Connect("c", keep_alive=100))
    for now in (75.0, 150.0, 225.0):
        ping_at(client, now)
        say(client, PingResp(), now=now + 1)
    assert client.state is State.CONNECTED


@pytest.mark.rule("U-15")
def test_a_dead_link_is_noticed_after_one_and_a_quarter_of_the_keep_alive():
    client = connected_client(Connect("c", keep_alive=100))
    ping_at(client, 75.0)
    assert client.deadline == 125.0
    client.tick(124.9)
    assert client.state is State.CONNECTED
    client.tick(125.0)
    assert isinstance(closed_by(client), KeepAliveExpired)


@pytest.mark.rule("MQTT-3.1.2-23", "U-15")
def test_a_client_that_only_sends_notices_a_dead_link_as_early():
    client = connected_client(Connect("c", keep_alive=100))
    for now in range(1, 75):
        client.publish("t")
        client.tick(float(now))
        assert said(client, float(now)) == [Publish("t")]
    ping_at(client, 75.0)
    for now in range(76, 125):
        client.publish("t")
        client.tick(float(now))
        assert said(client, float(now)) == [Publish("t")]
    client.tick(125.0)
    assert isinstance(closed_by(client), KeepAliveExpired)


@pytest.mark.rule("MQTT-3.1.2-23")
def test_a_client_that_only_receives_sends_pingreq_in_time():
    client = connected_client(Connect("c", keep_alive=100))
    pings = []
    for now in range(1, 1000):
        say(client, Publish("t"), now=float(now))
        client.tick(float(now))
        if PingReq() in said(client, float(now)):
            pings.append(now)
            say(client, PingResp(), now=float(now))
    assert client.state is State.CONNECTED
    gaps = [later - earlier for earlier, later in zip([0, *pings], pings, strict=False)]
    assert max(gaps) <= 75


@pytest.mark.rule("U-15")
def test_messages_that_stand_before_pingresp_on_a_slow_link_are_life_and_silence_is_not():
    client = connected_client(Connect("c", keep_alive=100))
    ping_at(client, 75.0)
    say(client, Publish("t"), now=124.0)
    ping_at(client, 150.0)
    say(client, Publish("t"), now=199.0)
    ping_at(client, 225.0)
    assert client.deadline == 275.0
    client.tick(275.0)
    assert isinstance(closed_by(client), KeepAliveExpired)


@pytest.mark.rule("MQTT-3.1.2-23", "U-15")
def test_a_long_message_that_is_still_arriving_is_not_a_dead_link():
    client = connected_client(Connect("c", keep_alive=100))
    message = encode(Publish("t", bytes(900)))
    pings = []
    for now, byte in enumerate(message, 1):
        client.receive_data(bytes((byte,)), float(now))
        client.tick(float(now))
        if said(client, float(now)) == [PingReq()]:
            pings.append(now)
    assert len(events_of(client)) == 1
    assert client.state is State.CONNECTED
    assert pings == list(range(75, len(message) + 1, 75)), "in time, and no more often"

    client.receive_data(message[:5], 1000.0)  # and here it stops
    client.tick(1000.0 + 75.0)
    client.tick(1000.0 + 125.0)
    assert isinstance(closed_by(client), KeepAliveExpired)


@pytest.mark.rule("U-16")
def test_keep_alive_0_turns_the_mechanism_off():
    client = connected_client(Connect("c", keep_alive=0))
    assert client.deadline is None
    client.tick(1e9)
    assert said(client) == []
    assert client.state is State.CONNECTED


@pytest.mark.rule("MQTT-3.1.2-23", "U-15")
def test_while_nothing_is_read_pingreq_goes_out_and_a_missing_pingresp_proves_nothing():
    client = connected_client(Connect("c", keep_alive=100))
    ping_at(client, 75.0)
    client.set_reading(False, 80.0)
    for now in (150.0, 225.0, 300.0, 375.0):
        ping_at(client, now)
    assert client.state is State.CONNECTED
    client.set_reading(True, 400.0)
    ping_at(client, 450.0)
    client.tick(500.0)
    assert isinstance(closed_by(client), KeepAliveExpired)


@pytest.mark.rule("U-15")
def test_a_dead_link_is_noticed_by_a_quarter_over_the_keep_alive_after_reading_goes_on():
    client = connected_client(Connect("c", keep_alive=100))
    client.set_reading(False, 10.0)
    client.publish("t")
    said(client, 70.0)
    client.set_reading(True, 71.0)
    ping_at(client, 145.0)
    assert client.deadline == 195.0


@pytest.mark.rule("U-15")
def test_saying_again_that_it_reads_does_not_put_the_deadline_off():
    client = connected_client(Connect("c", keep_alive=100))
    ping_at(client, 75.0)
    client.set_reading(True, 120.0)
    client.tick(125.0)
    assert isinstance(closed_by(client), KeepAliveExpired)


# Leaving


@pytest.mark.rule("MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT-3.14.1-1")
def test_disconnect_is_the_last_packet_and_closes():
    client = connected_client()
    client.publish("t")
    client.disconnect()
    client.disconnect()
    assert events_of(client) == [ConnectionClosed(None)]
    assert client.data_to_send(0.0) == encode(Publish("t")) + encode(Disconnect())
    for intent in (
        lambda: client.publish("t"),
        lambda: client.subscribe([Subscription("t")]),
        lambda: client.unsubscribe(["t"]),
    ):
        with pytest.raises(UsageError, match="closed"):
            intent()
    say(client, Publish("t", b"x", 1, packet_id=1), PingResp())
    assert said(client) == []
    assert events_of(client) == []
    assert client.deadline is None


def test_a_client_that_is_not_connected_leaves_without_disconnect():
    new = ClientProtocol(Connect("c"))
    new.disconnect()
    assert events_of(new) == [ConnectionClosed(None)]
    assert said(new) == []

    connecting = ClientProtocol(Connect("c"))
    connecting.connect(0.0)
    said(connecting)
    connecting.disconnect()
    assert events_of(connecting) == [ConnectionClosed(None)]
    assert said(connecting) == []
