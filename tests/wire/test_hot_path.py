"""The decoder's short way through whole packets gives what its careful way gives."""

import random
from itertools import product

import pytest

from mqttws.errors import MalformedPacket, ProtocolError
from mqttws.wire import Decoder, PingResp, PubAck, Publish, encode

FIRST_BYTES = (
    *(0x30, 0x31, 0x32, 0x34, 0x35, 0x36, 0x38, 0x3A, 0x3D, 0x3E),
    *(0x40, 0x41, 0x50, 0x51, 0x60, 0x62, 0x63, 0x70, 0x71, 0x20, 0xB0, 0xC0, 0xD0, 0xF0),
)


def outcome(data: bytes, *, careful: bool, limit: int = 2**20) -> list[object]:
    """Return the packets in ``data``, and the fault or the number of bytes that end them."""
    decoder = Decoder(limit)
    decoder.feed(data)
    found: list[object] = []
    try:
        while decoder.buffered:
            packet = decoder._next_carefully() if careful else decoder.next_packet()
            if packet is None:
                break
            found.append(packet)
    except ProtocolError as error:
        return [*found, type(error), error.args]
    return [*found, decoder.buffered]


def assert_same(data: bytes, limit: int = 2**20) -> None:
    assert outcome(data, careful=False, limit=limit) == outcome(data, careful=True, limit=limit)


@pytest.mark.rule("MQTT-4.8.0-1")
def test_short_bodies_behind_any_first_byte() -> None:
    bodies = [bytes(body) for size in range(5) for body in product((0, 1, 0x74), repeat=size)]
    for first_byte in FIRST_BYTES:
        for body in bodies:
            assert_same(bytes((first_byte, len(body))) + body + b"\xd0\x00")


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"\x30\x7f\x01\x00\x01t" + b"x" * 200, 4),  # a topic of 256 bytes in 127
        (b"\x30\x80\x00\x01\x07\x00\x01" + b"t" * 200, 1),  # nothing, in two bytes of length
        (b"\x30\x80\x01\x01\x00\x01" + b"t" * 200, 5),  # a topic of 256 bytes in 128
        (b"\x41\x02\x00\x01", 0),
        (b"\x40\x03\x00\x01\x00", 1),
    ],
)
def test_what_is_broken_by_one_byte_is_not_taken_for_another_packet(
    data: bytes, offset: int
) -> None:
    decoder = Decoder()
    decoder.feed(data)
    with pytest.raises(MalformedPacket) as caught:
        decoder.next_packet()
    assert caught.value.offset == offset


def test_lengths_of_one_to_five_bytes_minimal_or_not() -> None:
    lengths = [
        bytes(first) + last
        for size in range(5)
        for first in product((0x80, 0x82, 0x83, 0xFF), repeat=size)
        for last in (b"\x00", b"\x01", b"\x02", b"\x7f")
        if size < 3 or first[1:] in ((0x80,) * (size - 1), (0x82,) + (0x80,) * (size - 2))
    ]
    bodies = (
        b"",
        b"\x00\x01t" + bytes(400),
        b"\x01\x00\x01t" + bytes(400),
        b"\x00\x80\x00\x01" + b"t" * 400,
        b"\x01\x07\x00\x01" + b"t" * 400,
    )
    for first_byte, length, body in product((0x30, 0x32, 0x40, 0x62), lengths, bodies):
        assert_same(bytes((first_byte,)) + length + body)


@pytest.mark.parametrize("seed", range(20))
def test_random_streams(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        data = b"".join(
            bytes((chance.choice(FIRST_BYTES), chance.choice((1, 2, 3, 4, 5, 9, 127, 0x82, 0x85))))
            + bytes(
                chance.choice((0, 0, 0, 1, 2, 5, 0x74, 0x80)) for _ in range(chance.randrange(12))
            )
            for _ in range(3)
        )
        assert_same(data)


@pytest.mark.parametrize("topic", [1, 2, 127, 128, 255, 256, 257, 300, 513])
@pytest.mark.parametrize("payload", [0, 1, 127, 128, 300, 16500])
def test_a_publish_of_any_size_is_read_as_it_was_written(topic: int, payload: int) -> None:
    for qos in (0, 1, 2):
        packets = [
            Publish(letter * topic, b"p" * payload, qos, packet_id=0x0102 if qos else None)
            for letter in ("X", "b", "b", "c")
        ]
        decoder = Decoder()
        decoder.feed(b"".join(map(encode, packets)))
        assert [decoder.next_packet() for _ in packets] == packets
        assert decoder.next_packet() is None


@pytest.mark.parametrize("size", [4, 5, 100])
def test_the_limit_is_the_largest_size_that_is_taken(size: int) -> None:
    data = encode(Publish("t", bytes(size - 5))) if size > 4 else encode(PubAck(7))
    assert len(data) == size
    for limit in (size - 1, size, size + 1):
        assert_same(data * 2, limit)
        assert isinstance(outcome(data, careful=False, limit=limit)[0], type) is (limit < size)


@pytest.mark.rule("MQTT-4.8.0-1")
def test_a_faulty_first_byte_is_refused_at_once_behind_packets_that_wait() -> None:
    ping = encode(PingResp())
    decoder = Decoder()
    decoder.feed(ping)
    decoder.feed(b"\xf0")
    assert decoder.next_packet() == PingResp()
    with pytest.raises(MalformedPacket):
        decoder.next_packet()

    large = encode(Publish("t", bytes(300)))
    decoder = Decoder()
    decoder.feed(large[:200])
    assert decoder.next_packet() is None
    decoder.feed(large[200:] + ping)
    assert isinstance(decoder.next_packet(), Publish)
    decoder.feed(b"\xf0")
    assert decoder.next_packet() == PingResp()
    with pytest.raises(MalformedPacket):
        decoder.next_packet()


def test_a_fault_is_placed_in_the_whole_stream() -> None:
    decoder = Decoder()
    for packets in (1, 2):
        decoder.feed(encode(PubAck(7)) * packets)
        for _ in range(packets):
            assert decoder.next_packet() == PubAck(7)
    decoder.feed(b"\xf0\x00")
    with pytest.raises(MalformedPacket) as caught:
        decoder.next_packet()
    assert caught.value.offset == 12


def test_nothing_is_kept_after_a_fault() -> None:
    decoder = Decoder()
    decoder.feed(encode(PubAck(7)) + b"\xf0\x00" + bytes(10))
    assert decoder.next_packet() == PubAck(7)
    decoder.feed(bytes(10))
    for _ in range(2):
        with pytest.raises(MalformedPacket):
            decoder.next_packet()
        assert (decoder.buffered, decoder.unfinished) == (0, False)


def test_a_packet_that_has_begun_is_unfinished_until_its_last_byte() -> None:
    decoder = Decoder()
    data = encode(Publish("t", bytes(2)))
    assert decoder.unfinished is False
    for byte in data:
        assert decoder.next_packet() is None
        decoder.feed(bytes((byte,)))
        assert decoder.unfinished is True
    assert decoder.next_packet() is not None
    assert decoder.unfinished is False


def test_a_payload_that_is_dropped_is_unfinished_until_its_last_byte() -> None:
    decoder = Decoder(10, discard_oversized=True)
    data = encode(Publish("t", bytes(20)))
    decoder.feed(data[:8])
    assert isinstance(decoder.next_packet(), Publish)
    assert (decoder.buffered, decoder.unfinished) == (0, True)
    decoder.feed(data[8:-1])
    assert (decoder.buffered, decoder.unfinished) == (0, True)
    decoder.feed(data[-1:])
    assert (decoder.buffered, decoder.unfinished) == (0, False)
