"""Pieces of an unfinished packet: kept, joined once, and in their order."""

import pytest

from mqttws.errors import MalformedPacket
from mqttws.wire import Decoder, PingResp, Publish, encode
from mqttws.wire.pieces import Pieces

from .copies import last_of

LARGE = 70_000
"""Bytes: more than what is joined with its head."""


def of(*parts: bytes) -> Pieces:
    pieces = Pieces()
    for part in parts:
        pieces.add(part)
    return pieces


def letters(letter: bytes, count: int = 5000) -> bytes:
    return letter * count


def test_a_large_piece_is_kept_as_it_is_and_small_ones_are_put_together() -> None:
    large = letters(b"a", 4096)
    assert of(large).first() is large
    assert of(b"a", b"b", b"c").first() == b"abc"
    assert of(letters(b"a", 4095), b"b").first() == letters(b"a", 4095) + b"b"
    assert of(b"a", large, b"b").first() == b"a"
    assert of(large, b"b").first() == large
    full = [letters(b"a", 4095)] * 16 + [letters(b"a", 16)]
    assert len(of(*full, b"b").first()) == 65_536, "then the next buffer begins"
    assert len(of(*full[:-1], b"b", b"c").first()) == 16 * 4095 + 2


def test_all_bytes_come_back_in_their_order() -> None:
    parts = [b"a", b"", letters(b"b"), b"c", b"d", letters(b"e")]
    pieces = of(*parts)
    pieces.put_first(b"0")
    pieces.put_first(b"")
    assert pieces.size == 1 + sum(map(len, parts))
    assert pieces.first() == b"0"
    assert pieces.take_all() == b"0" + b"".join(parts)
    assert (pieces.size, pieces.take_all()) == (0, b"")


@pytest.mark.parametrize("count", [0, 1, 4999, 5000, 5001, 10_000, 10_001, 10_002, 99_999])
def test_the_first_bytes_are_dropped(count: int) -> None:
    pieces = of(letters(b"a"), letters(b"b"), b"c")
    whole = letters(b"a") + letters(b"b") + b"c"
    assert pieces.drop(count) == min(count, len(whole))
    assert pieces.size == len(whole[count:])
    assert pieces.take_all() == whole[count:]


@pytest.mark.parametrize("start", [0, 1, 4999, 5000])
@pytest.mark.parametrize("surplus", [0, 1, 4999])
@pytest.mark.parametrize("middle", [b"", letters(b"m")])
def test_what_lies_between_is_joined_without_its_ends(
    start: int, surplus: int, middle: bytes
) -> None:
    parts = [letters(b"a"), *([middle] if middle else []), letters(b"z")]
    pieces, whole = of(*parts), b"".join(parts)
    end = len(whole) - surplus
    assert pieces.take_between(start, end) == (whole[start:end], whole[end:])
    assert pieces.size == 0


@pytest.mark.parametrize(
    ("parts", "start", "surplus"),
    [
        ((letters(b"a"),), 1, 1),  # one piece alone
        ((letters(b"a"), letters(b"z")), 5001, 0),  # it begins in the second
        ((letters(b"a"), letters(b"z", 9000)), 5001, 0),
        ((letters(b"a"), letters(b"z")), 1, 5000),  # it ends with the first
        ((letters(b"a"), letters(b"z")), 1, 5001),
    ],
)
def test_where_its_ends_are_elsewhere_nothing_is_taken(
    parts: tuple[bytes, ...], start: int, surplus: int
) -> None:
    pieces, whole = of(*parts), b"".join(parts)
    assert pieces.take_between(start, len(whole) - surplus) is None
    assert pieces.size == len(whole)
    assert pieces.take_all() == whole


# A large PUBLISH


def pieces_of(data: bytes, first: int, size: int = 8192) -> list[bytes]:
    return [data[:first]] + [data[at : at + size] for at in range(first, len(data), size)]


def publish(qos: int, size: int, *, dup: bool = False, retain: bool = False) -> Publish:
    return Publish("a/b", bytes(range(256)) * (size // 256), qos, retain, dup, 258 if qos else None)


@pytest.mark.parametrize("first", [1, 6, 7, 8, 9, 10, 11, 12, 13, 5000])
@pytest.mark.parametrize("behind", [b"", b"\xd0", b"\xd0\x00" * 2])
def test_a_large_publish_in_pieces_is_what_was_sent(first: int, behind: bytes) -> None:
    messages = [publish(0, LARGE), publish(1, LARGE, dup=True)]
    if first in (7, 13):
        messages.append(publish(2, 2**21, retain=True))  # four bytes of length
    for message in messages:
        decoder = Decoder(2**23)
        pieces = pieces_of(encode(message), first, 32_768)
        for piece in pieces[:-1]:
            decoder.feed(piece)
            assert decoder.next_packet() is None
        decoder.feed(pieces[-1] + behind)
        assert decoder.next_packet() == message
        assert decoder.buffered == len(behind)
        for _ in range(len(behind) // 2):
            assert decoder.next_packet() == PingResp()
        assert decoder.next_packet() is None
        assert decoder.buffered == len(behind) % 2


def test_a_large_publish_may_have_a_long_topic() -> None:
    message = Publish("t" * 300, b"p" * LARGE, 1, packet_id=7)
    decoder = Decoder()
    found = None
    for piece in pieces_of(encode(message), 5000):
        decoder.feed(piece)
        found = decoder.next_packet()
    assert found == message


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_its_payload_is_copied_once(qos: int) -> None:
    message = publish(qos, 2**20, retain=qos == 2)
    pieces = pieces_of(encode(message), 64)
    packet, peak = last_of(pieces, 2**21)
    assert packet == message
    assert peak < 1.5 * 2**20


def test_what_is_broken_behind_it_is_placed_and_refused_at_once() -> None:
    data = encode(publish(1, LARGE))
    pieces = pieces_of(data, 64)
    decoder = Decoder()
    for piece in pieces[:-1]:
        decoder.feed(piece)
        decoder.next_packet()
    decoder.feed(pieces[-1] + b"\xd0\x00")
    assert isinstance(decoder.next_packet(), Publish)
    decoder.feed(b"\xf0")
    assert decoder.next_packet() == PingResp()
    with pytest.raises(MalformedPacket) as caught:
        decoder.next_packet()
    assert caught.value.offset == len(data) + 2


@pytest.mark.parametrize(
    ("head", "rule", "offset"),
    [
        (b"\x00\x00", "MQTT-4.7.3-1", 2),
        (b"\x00\x01#", "MQTT-3.3.2-2", 2),
        (b"\x00\x01t\x00\x00", "MQTT-2.3.1-1", 3),
    ],
)
def test_what_is_broken_in_it_is_named_as_in_a_small_one(
    head: bytes, rule: str, offset: int
) -> None:
    body = head + bytes(LARGE)
    length = bytes((len(body) & 127 | 128, len(body) >> 7 & 127 | 128, len(body) >> 14))
    decoder = Decoder()
    pieces = pieces_of(b"\x32" + length + body, 64)
    for piece in pieces[:-1]:
        decoder.feed(piece)
        assert decoder.next_packet() is None
    decoder.feed(pieces[-1])
    with pytest.raises(MalformedPacket) as caught:
        decoder.next_packet()
    assert (caught.value.rule, caught.value.offset) == (rule, 4 + offset)


@pytest.mark.parametrize("first_byte", [0x38, 0x39])
@pytest.mark.parametrize("size", [10, LARGE])
def test_dup_with_qos_0_is_read_as_0_where_that_was_chosen(first_byte: int, size: int) -> None:
    message = Publish("t", bytes(size), 0, first_byte == 0x39)
    data = bytes((first_byte,)) + encode(message)[1:]
    for first in (1, 2, 9, len(data)):
        decoder = Decoder(strict=False)
        found = None
        for piece in pieces_of(data, first):
            decoder.feed(piece)
            found = decoder.next_packet() or found
        assert found == message
    strict = Decoder()
    strict.feed(data)
    with pytest.raises(MalformedPacket):
        strict.next_packet()
