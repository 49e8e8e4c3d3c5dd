"""What holds for any packet and for any bytes."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mqttws.errors import ProtocolError, UsageError
from mqttws.wire import (
    ConnAck,
    Connect,
    Decoder,
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
    decode,
    encode,
    topic_filter_fault,
    topic_name_fault,
)
from mqttws.wire.fields import Fault
from tests.packet_table import BAD, NOT_SHORTEST, PACKETS, Bad, Row

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
topics = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0#+"), min_size=1, max_size=40
)
filters = st.one_of(
    topics,
    st.lists(
        st.one_of(st.just("+"), st.text(st.characters(codec="ascii", exclude_characters="\0#+/"))),
        min_size=1,
    )
    .map("/".join)
    .filter(bool),
    topics.map(lambda topic: topic + "/#"),
)
ids = st.integers(1, 65535)
levels = st.integers(0, 2)
payloads = st.one_of(st.binary(max_size=300), st.binary(min_size=16_000, max_size=17_000))
wills = st.builds(Will, topics, st.binary(max_size=100), levels, st.booleans())


@st.composite
def connects(draw: st.DrawFn) -> Connect:
    client_id = draw(texts)
    username = draw(st.none() | texts)
    return Connect(
        client_id,
        username,
        None if username is None else draw(st.none() | st.binary(max_size=100)),
        draw(st.booleans()) or not client_id,
        draw(st.integers(0, 65535)),
        draw(st.none() | wills),
    )


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    qos = draw(levels)
    return Publish(
        draw(topics),
        draw(payloads),
        qos,
        draw(st.booleans()),
        bool(qos) and draw(st.booleans()),
        draw(ids) if qos else None,
    )


packets: st.SearchStrategy[Packet] = st.one_of(
    connects(),
    st.builds(ConnAck, st.booleans()),
    st.builds(ConnAck, st.just(False), st.integers(0, 5)),
    publishes(),
    st.builds(PubAck, ids),
    st.builds(PubRec, ids),
    st.builds(PubRel, ids),
    st.builds(PubComp, ids),
    st.builds(
        Subscribe, ids, st.lists(st.builds(Subscription, filters, levels), min_size=1, max_size=5)
    ),
    st.builds(SubAck, ids, st.lists(st.sampled_from([0, 1, 2, 128]), min_size=1, max_size=5)),
    st.builds(Unsubscribe, ids, st.lists(filters, min_size=1, max_size=5)),
    st.builds(UnsubAck, ids),
    st.builds(PingReq),
    st.builds(PingResp),
    st.builds(Disconnect),
)

_ROWS: list[Row | Bad] = [*PACKETS, *NOT_SHORTEST, *BAD]
_SAMPLES = [row.data for row in _ROWS if len(row.data) < 300]


@st.composite
def almost_packets(draw: st.DrawFn) -> bytes:
    """Bytes of good and bad packets, one after the other, with a few bytes changed."""
    parts = draw(st.lists(st.sampled_from(_SAMPLES) | packets.map(encode), max_size=5))
    data = bytearray(b"".join(parts)[:2000])
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


streams = st.one_of(st.binary(max_size=60), almost_packets())


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return the data in pieces that begin at the cuts."""
    places = [0, *sorted(min(place, len(data)) for place in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


def outcome(pieces: Iterable[bytes], *, ask_always: bool = True) -> tuple[list[Packet], str, int]:
    """Return the packets, the error's text and what is left of it all."""
    decoder = Decoder(max_packet_size=5000)
    found: list[Packet] = []
    error = ""
    last = [b""]
    for piece in [*pieces, *last]:
        try:
            decoder.feed(piece)
            while ask_always or piece is last[0]:
                packet = decoder.next_packet()
                if packet is None:
                    break
                found.append(packet)
        except ProtocolError as problem:
            error = f"{type(problem).__name__}: {problem}"
            break
    return found, error, decoder.buffered


@settings(deadline=None)
@given(packets)
def test_any_packet_survives_the_round_trip(packet: Packet) -> None:
    data = encode(packet)
    again = decode(data)
    assert again == packet
    assert type(again) is type(packet)
    assert encode(again) == data


@pytest.mark.rule("MQTT-6.0.0-2")
@settings(deadline=None)
@given(st.lists(packets, max_size=8), st.lists(st.integers(0, 5000), max_size=8))
def test_any_packets_in_any_cuts_come_out_again(sent: list[Packet], cuts: list[int]) -> None:
    decoder = Decoder()
    found = []
    for piece in cut(b"".join(map(encode, sent)), cuts):
        decoder.feed(piece)
        while (packet := decoder.next_packet()) is not None:
            found.append(packet)
    assert found == sent
    assert decoder.buffered == 0


@pytest.mark.rule("MQTT-4.8.0-1")
@settings(deadline=None, max_examples=400)
@given(streams, st.lists(st.integers(0, 200), max_size=8))
@example(b"\x30\x03\x00\x01", [])
def test_any_bytes_in_any_cuts_are_the_same_packets_not_yet_or_one_protocol_error(
    data: bytes, cuts: list[int]
) -> None:
    whole = outcome([data])
    assert outcome(bytes((byte,)) for byte in data) == whole
    assert outcome(cut(data, cuts)) == whole
    assert outcome(cut(data, cuts), ask_always=False) == whole


@settings(deadline=None, max_examples=400)
@given(streams)
def test_what_was_read_can_be_written_and_is_no_longer_than_it_was(data: bytes) -> None:
    found, error, left = outcome([data])
    size = 0
    for packet in found:
        if isinstance(packet, Connect) and not packet.client_id and not packet.clean_session:
            return  # a client's fault that a server answers; it is not written
        written = encode(packet)
        assert decode(written) == packet
        size += len(written)
    assert size <= len(data)
    assert error or left <= len(data) - size


@settings(deadline=None)
@given(st.text(max_size=20))
def test_a_topic_is_refused_by_the_codec_exactly_when_it_has_a_fault(text: str) -> None:
    cases: list[tuple[Fault | None, Packet]] = [
        (topic_name_fault(text), Publish(text)),
        (topic_name_fault(text), Publish(text, b"x", 1, packet_id=1)),
        (topic_filter_fault(text), Subscribe(1, [Subscription(text)])),
        (topic_filter_fault(text), Unsubscribe(1, [text])),
    ]
    for fault, packet in cases:
        if fault is None:
            assert decode(encode(packet)) == packet
        else:
            with pytest.raises(UsageError) as caught:
                encode(packet)
            assert caught.value.rule == fault[0]


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(-1, 3) | st.text(max_size=2), max_size=2),
    st.builds(Subscription, st.just("t")),
    st.lists(st.builds(Subscription, st.text(max_size=2), st.integers(-1, 4)), max_size=2),
    wills,
    st.builds(object),
)


@settings(deadline=None, max_examples=500)
@given(
    st.one_of(
        st.builds(Connect, odd, odd, odd, odd, odd, odd),
        st.builds(lambda *fields: Connect("c", will=Will(*fields)), odd, odd, odd, odd),
        st.builds(ConnAck, odd, odd),
        st.builds(Publish, odd, odd, odd, odd, odd, odd),
        st.builds(Publish, st.just("t"), st.just(b""), odd, odd, odd, odd),
        st.builds(PubAck, odd),
        st.builds(PubRel, odd),
        st.builds(UnsubAck, odd),
        st.builds(Subscribe, odd, odd),
        st.builds(SubAck, odd, odd),
        st.builds(Unsubscribe, odd, odd),
    )
)
def test_any_object_has_bytes_that_decode_to_it_or_is_refused_as_unusable(packet: Packet) -> None:
    try:
        data = encode(packet)
    except UsageError:
        return
    assert decode(data) == packet
