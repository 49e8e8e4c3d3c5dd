"""How much the decoder holds: bounded by its limit and what was last fed, whatever arrives."""

import tracemalloc
from collections.abc import Iterator

import pytest

from mqttws.errors import MalformedPacket
from mqttws.wire import Decoder, PubAck, Publish, encode

from .copies import FRAMES, held_for

KIB = 1024
MIB = 1024 * 1024


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(FRAMES)
    yield
    tracemalloc.stop()


def held() -> int:
    """Return how many bytes are allocated now, by this file and what it calls."""
    return held_for(__file__)


def test_an_idle_decoder_holds_less_than_a_kibibyte(traced: None) -> None:
    before = held()
    decoder = Decoder()
    decoder.feed(encode(Publish("t", bytes(MIB - 10))))
    assert decoder.next_packet() is not None
    assert decoder.next_packet() is None
    decoder.feed(encode(PubAck(1)) * 10_000)
    while decoder.next_packet() is not None:
        pass
    assert held() - before < KIB


@pytest.mark.rule("MQTT-4.8.0-1")
def test_a_failed_decoder_holds_less_than_two_kibibytes(traced: None) -> None:
    before = held()
    decoder = Decoder()
    decoder.feed(b"\x30\x04\x00\x01" + b"#x" + bytes(MIB))
    for _ in range(10):
        with pytest.raises(MalformedPacket):
            decoder.next_packet()
        with pytest.raises(MalformedPacket):
            decoder.feed(bytes(MIB))
    assert held() - before < 2 * KIB


def test_an_announced_size_alone_takes_no_memory(traced: None) -> None:
    before = held()
    decoder = Decoder(max_packet_size=MIB)
    decoder.feed(b"\x30\xfb\xff\x3f")  # almost 1 MiB
    assert decoder.next_packet() is None
    assert held() - before < KIB


@pytest.mark.parametrize("piece", [1, 100, 4 * KIB, 64 * KIB])
@pytest.mark.parametrize("ask", [True, False])
def test_memory_is_bounded_by_the_limit_and_what_was_last_fed(
    traced: None, piece: int, ask: bool
) -> None:
    limit = 256 * KIB if piece > 1 else 32 * KIB
    body = bytes(piece)
    decoder = Decoder(max_packet_size=limit)
    header = encode(Publish("t", bytes(limit - 7)))[:7]  # of a packet of exactly the limit
    decoder.feed(header)
    decoder.next_packet()
    before = held()
    fed = len(header)
    while fed + piece < limit:
        decoder.feed(body)
        fed += piece
        if ask:
            assert decoder.next_packet() is None
    # A buffer that grows has up to an eighth more room, so that it need not move each time.
    assert held() - before <= fed + fed // 8 + 4 * KIB
    decoder.feed(bytes(limit - fed))
    assert decoder.next_packet() is not None
    assert decoder.next_packet() is None
    assert decoder.buffered == 0


def test_a_rest_of_a_large_piece_does_not_hold_the_piece(traced: None) -> None:
    decoder = Decoder()
    before = held()
    decoder.feed(encode(PubAck(1)) * 16_000 + b"\x40")
    while decoder.next_packet() is not None:
        pass
    assert decoder.buffered == 1
    assert held() - before < KIB


def test_a_large_publish_is_copied_twice(traced: None) -> None:
    # One copy collects the pieces, one is the payload; a third would show as memory.
    packet = Publish("t", bytes(MIB))
    data = encode(packet)
    pieces = [data[at : at + 64 * KIB] for at in range(0, len(data), 64 * KIB)]
    decoder = Decoder(max_packet_size=2 * MIB)
    before = held()
    tracemalloc.reset_peak()
    got = None
    for piece in pieces:
        decoder.feed(piece)
        got = decoder.next_packet()
    peak = tracemalloc.get_traced_memory()[1] - before
    assert got == packet
    assert peak < 2 * MIB + MIB // 8 + 4 * KIB
