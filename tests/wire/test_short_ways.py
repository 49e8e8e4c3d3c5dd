"""Most of all traffic takes the short ways: neither the decoder nor a packet looks twice.

They are 2 to 3 times as fast; that they give what the careful ways give is ``test_hot_path``'s
matter. Compiled, nothing can be put in the place of the careful ways.
"""

from typing import NoReturn

import pytest

from mqttws.wire import (
    COMPILED,
    Decoder,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    encode,
    publishing,
)

from .copies import last_of

pytestmark = pytest.mark.skipif(COMPILED, reason="of the codec as it is written")

ACKNOWLEDGEMENTS = [kind(n) for kind in (PubAck, PubRec, PubRel, PubComp) for n in (1, 258, 65535)]
PUBLISHES = [
    Publish("t" * topic, b"p" * payload, qos, packet_id=packet_id if qos else None)
    for topic in (1, 2, 255, 300)
    for payload in (0, 1, 120, 130, 15_000, 17_000)
    for qos, packet_id in ((0, 0), (1, 1), (1, 65535), (2, 256))
]


def not_here(*_: object) -> NoReturn:
    raise AssertionError("the careful way")


@pytest.fixture
def no_careful_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "_next_carefully", not_here)


def test_whole_packets_are_read_in_one_pass(no_careful_way: None) -> None:
    for packet in (*ACKNOWLEDGEMENTS, *PUBLISHES):
        data = encode(packet)
        decoder = Decoder(len(data))
        decoder.feed(data * 2)
        assert [decoder.next_packet() for _ in range(3)] == [packet, packet, None]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_length_may_take_more_bytes_than_it_needs(no_careful_way: None, size: int) -> None:
    for packet in (PubAck(7), PubRel(258), Publish("t"), Publish("tu", b"x", 1, packet_id=9)):
        data = encode(packet)
        length = bytes((data[1] | 0x80,)) + b"\x80" * (size - 2) + b"\x00"
        decoder = Decoder()
        decoder.feed(data[:1] + (length if size > 1 else data[1:2]) + data[2:])
        assert decoder.next_packet() == packet


def test_a_topic_that_comes_again_is_the_same_text() -> None:
    decoder = Decoder()
    for topic in ("a", "b" * 255):
        decoder.feed(encode(Publish(topic)) * 2)
        first, second = decoder.next_packet(), decoder.next_packet()
        assert isinstance(first, Publish)
        assert isinstance(second, Publish)
        assert first.topic is second.topic


def test_a_packet_in_which_nothing_is_rare_is_written_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Publish, "_encode_carefully", not_here)
    monkeypatch.setattr(publishing, "encode_packet_id", not_here)
    for packet in (*ACKNOWLEDGEMENTS, *PUBLISHES):
        if not isinstance(packet, Publish) or len(packet.payload) < 16_000:
            assert encode(packet)


def test_a_topic_that_goes_out_again_is_not_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = "a/topic/of/its/own"
    first = encode(Publish(topic, b"1"))
    monkeypatch.setattr(publishing, "_pure_field", not_here)
    assert encode(Publish(topic, b"1")) == first


@pytest.mark.parametrize("size", [2**20, 2**20 + 1])
@pytest.mark.parametrize(("topic", "first"), [(1, 7), (1, 8), (2, 8), (2, 9), (1, 64), (2, 64)])
def test_a_large_payload_that_comes_in_pieces_is_copied_once(
    size: int, topic: int, first: int
) -> None:
    message = Publish("t" * topic, bytes(size))
    data = encode(message)
    pieces = [data[:first]] + [data[at : at + 65536] for at in range(first, len(data), 65536)]
    packet, peak = last_of(pieces, 2**21)
    assert packet == message
    assert peak < 1.5 * size
