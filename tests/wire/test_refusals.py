"""Bytes that no packet has, and objects that have no bytes."""

import itertools

import pytest

from mqttws.errors import MalformedPacket, PacketTooLarge, ProtocolError, UsageError
from mqttws.wire import Connect, Decoder, Publish, PubRel, decode, encode
from tests.packet_table import (
    BAD,
    BAD_BODIES,
    BAD_CONNECTS,
    BAD_FIRST_BYTES,
    BAD_LENGTHS,
    BAD_TEXTS,
    PACKETS,
    UNUSABLE,
    Bad,
    Unusable,
)
from tests.wire import refusals


def rows(table: list[Bad]) -> pytest.MarkDecorator:
    """Return the parametrization by a table, each row marked with its rule."""
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row.name, marks=pytest.mark.rule(row.rule)) for row in table]
    )


def refuse(decoder: Decoder) -> MalformedPacket:
    """Return the error that the decoder raises."""
    with pytest.raises(MalformedPacket) as caught:
        decoder.next_packet()
    return caught.value


def check(row: Bad) -> None:
    """Check that the last byte, and none before it, is refused, with everything said about it."""
    decoder = Decoder()
    for byte in row.data[:-1]:
        decoder.feed(bytes((byte,)))
        assert decoder.next_packet() is None
    decoder.feed(row.data[-1:])
    slowly = refuse(decoder)
    assert slowly.rule == row.rule
    assert slowly.offset == row.offset
    assert slowly.found
    assert slowly.allowed
    assert row.rule in str(slowly)
    assert slowly.found in str(slowly)
    assert slowly.allowed in str(slowly)

    at_once = Decoder()
    at_once.feed(row.data)
    assert refuse(at_once).args == slowly.args
    with pytest.raises(MalformedPacket) as caught:
        decode(row.data)
    assert caught.value.args == slowly.args


@pytest.mark.rule(
    "U-1",
    "MQTT-2.2.2-2",
    "MQTT-3.3.1-2",
    "MQTT-3.3.1-4",
    "MQTT-3.6.1-1",
    "MQTT-3.8.1-1",
    "MQTT-3.10.1-1",
    "MQTT-3.14.1-1",
)
@rows(BAD_FIRST_BYTES)
def test_a_first_byte_that_no_packet_has_is_refused_at_once(row: Bad) -> None:
    check(row)


@pytest.mark.rule("MQTT-2.2.2-1", "MQTT-2.2.2-2")
def test_every_first_byte_is_in_one_table_or_the_other() -> None:
    refused = {row.data[0] for row in BAD_FIRST_BYTES}
    accepted = set()
    for first_byte in range(256):
        decoder = Decoder()
        decoder.feed(bytes((first_byte,)))
        try:
            assert decoder.next_packet() is None
        except MalformedPacket:
            assert first_byte in refused
        else:
            accepted.add(first_byte)
    assert len(refused) == len(BAD_FIRST_BYTES)
    assert refused | accepted == set(range(256))
    assert len(accepted) == 13 + 10


@pytest.mark.rule("U-2", "MQTT-3.1.3-3", "MQTT-3.8.3-3", "MQTT-3.10.3-2", "U-7")
@rows(BAD_LENGTHS)
def test_a_length_that_the_packet_cannot_have_is_refused_before_its_body(row: Bad) -> None:
    check(row)


@pytest.mark.rule("U-3")
@pytest.mark.parametrize("more", [1, 2, 3])
def test_a_longer_length_than_need_be_changes_no_verdict(more: int) -> None:
    def stretched(data: bytes) -> bytes:
        zeros = b"\x80" * (more - 1) + b"\x00"
        return data[:1] + bytes((data[1] | 128,)) + zeros + data[2:]

    for row in PACKETS:
        if row.data[1] < 128:
            assert decode(stretched(row.data)) == row.packet
    for bad in BAD:
        if len(bad.data) > 1 and bad.data[1] < 128:
            with pytest.raises(MalformedPacket) as caught:
                decode(stretched(bad.data))
            assert caught.value.rule == bad.rule
            assert caught.value.offset == bad.offset + (more if bad.offset > 1 else 0)
    for length in (0, 1, 2, 3, 4):
        for first_byte in (0x30, 0x32, 0x34, 0x40):
            with pytest.raises((MalformedPacket, UsageError)):
                decode(stretched(bytes((first_byte, length)) + bytes(length)))


@pytest.mark.rule(
    "MQTT-3.1.3-4", "MQTT-3.1.3-10", "MQTT-3.1.3-11", "MQTT-3.3.2-1", "MQTT-1.5.3-1", "MQTT-1.5.3-2"
)
@pytest.mark.rule("MQTT-3.8.3-1", "MQTT-3.10.3-1", "MQTT-4.7.3-2")
@rows(BAD_TEXTS)
def test_ill_formed_text_is_refused_in_every_place(row: Bad) -> None:
    check(row)


@pytest.mark.rule(
    "MQTT-3.1.2-11",
    "MQTT-3.1.2-18",
    "MQTT-3.1.2-20",
    "MQTT-3.1.2-1",
    "MQTT-3.1.2-2",
    "MQTT-3.1.2-3",
    "MQTT-3.1.2-9",
    "MQTT-3.1.2-13",
    "MQTT-3.1.2-14",
    "MQTT-3.1.2-15",
    "MQTT-3.1.2-19",
    "MQTT-3.1.2-21",
    "MQTT-3.1.2-22",
    "MQTT-3.1.3-1",
    "MQTT-3.1.3-3",
    "MQTT-4.7.1-1",
    "MQTT-4.7.3-1",
)
@rows(BAD_CONNECTS)
def test_a_connect_that_breaks_a_rule_is_refused(row: Bad) -> None:
    check(row)


@pytest.mark.rule(
    "MQTT-4.7.1-1",
    "MQTT-2.3.1-1",
    "MQTT-3.2.2-4",
    "MQTT-3.3.2-1",
    "MQTT-3.3.2-2",
    "MQTT-3.8.3-1",
    "MQTT-3.8.3-3",
    "MQTT-3.8.3-4",
    "MQTT-3.9.3-2",
    "MQTT-3.10.3-1",
    "MQTT-4.7.1-2",
    "MQTT-4.7.1-3",
    "MQTT-4.7.3-1",
    "U-5",
    "U-6",
)
@rows(BAD_BODIES)
def test_a_body_that_breaks_a_rule_is_refused(row: Bad) -> None:
    check(row)


@pytest.mark.rule("MQTT-3.1.4-1")
def test_every_combination_of_connect_flags_is_read_or_refused_by_a_rule() -> None:
    payload = b"\x00\x01c"
    for flags in range(256):
        body = payload
        body += b"\x00\x01t\x00\x01m" if flags & 4 else b""
        body += b"\x00\x01u" if flags & 0x80 else b""
        body += b"\x00\x01p" if flags & 0x40 else b""
        data = b"\x00\x04MQTT\x04" + bytes((flags,)) + b"\x00\x3c" + body
        right = (
            not flags & 1
            and flags & 0x18 != 0x18
            and (flags & 4 or not flags & 0x38)
            and flags & 0xC0 != 0x40
        )
        try:
            packet = decode(bytes((0x10, len(data))) + data)
        except MalformedPacket:
            assert not right
        else:
            assert right
            assert encode(packet) == bytes((0x10, len(data))) + data


@pytest.mark.rule("MQTT-3.3.2-2", "MQTT-4.7.1-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 200, 20_000])
def test_wildcards_in_a_topic_name_are_refused_whatever_the_packet(qos: int, size: int) -> None:
    good = encode(Publish("a/b", bytes(size), qos, packet_id=1 if qos else None))
    for character in (b"#", b"+", b"\0", b"\xff"):
        with pytest.raises(MalformedPacket):
            decode(good.replace(b"a/b", b"a/" + character))


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=pytest.mark.rule(row.rule) if row.rule else ())
        for row in UNUSABLE
    ],
)
@pytest.mark.rule(
    "MQTT-2.3.1-1",
    "MQTT-3.1.2-22",
    "MQTT-4.7.3-3",
    "MQTT-3.1.3-7",
    "MQTT-1.5.3-1",
    "MQTT-1.5.3-2",
    "MQTT-2.2.2-1",
    "MQTT-2.3.1-5",
    "MQTT-3.1.2-9",
    "MQTT-3.1.2-14",
    "MQTT-3.1.3-4",
    "MQTT-3.1.3-11",
    "MQTT-3.2.2-4",
    "MQTT-3.3.1-2",
    "MQTT-3.3.1-4",
    "MQTT-3.8.3-3",
    "MQTT-3.8.3-4",
    "MQTT-3.9.3-2",
    "MQTT-3.10.3-2",
    "MQTT-4.7.3-2",
    "U-6",
    "U-8",
    "U-9",
    "U-10",
)
def test_an_object_that_breaks_a_rule_has_no_bytes(row: Unusable) -> None:
    with pytest.raises(UsageError) as caught:
        encode(row.packet)
    assert caught.value.rule == row.rule
    assert "found" in str(caught.value)
    assert "allowed" in str(caught.value)


def test_a_password_is_not_in_the_error_that_refuses_its_packet() -> None:
    with pytest.raises(UsageError) as caught:
        encode(Connect("c", "u", "secret"))  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("row", BAD[::7] + BAD_CONNECTS, ids=lambda row: row.name)
def test_packets_before_a_bad_one_are_delivered(row: Bad) -> None:
    before = b"".join(each.data for each in PACKETS[:20])
    decoder = Decoder()
    decoder.feed(before + row.data + PACKETS[0].data)
    for each in PACKETS[:20]:
        assert decoder.next_packet() == each.packet
    error = refuse(decoder)
    assert error.rule == row.rule
    assert error.offset == len(before) + row.offset


@pytest.mark.rule("MQTT-4.8.0-1")
@pytest.mark.parametrize("row", BAD[::11], ids=lambda row: row.name)
def test_after_an_error_the_decoder_stays_failed(row: Bad) -> None:
    decoder = Decoder()
    decoder.feed(row.data)
    first = refuse(decoder)
    for _ in range(3):
        assert refuse(decoder).args == first.args
        with pytest.raises(MalformedPacket) as caught:
            decoder.feed(PACKETS[0].data)
        assert caught.value.args == first.args
    assert decoder.buffered == 0


def test_offsets_count_from_the_first_byte_ever_fed() -> None:
    good = encode(PubRel(1))
    bad = b"\x62\x02\x00\x00"
    for pieces in ([good * 5 + bad], [good] * 5 + [bad], [good * 5, b"\x62", b"\x02\x00", b"\x00"]):
        decoder = Decoder()
        for piece in pieces:
            decoder.feed(piece)
            with pytest.raises(MalformedPacket) if piece is pieces[-1] else _nothing():
                while decoder.next_packet():
                    pass
        assert refuse(decoder).offset == 22


def test_offsets_are_right_when_packets_are_asked_for_late() -> None:
    good = encode(PubRel(1))
    stream = good * 5 + b"\x62\x02\x00\x00"
    for size in range(1, len(stream)):
        decoder = Decoder()
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
        for _ in range(5):
            assert decoder.next_packet() == PubRel(1)
        assert refuse(decoder).offset == 22


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


@pytest.mark.rule("MQTT-4.8.0-1")
def test_a_packet_over_the_limit_is_refused_when_its_length_is_known() -> None:
    for limit, length, header in [
        (100, 99, b"\x30\x63"),
        (127, 126, b"\x30\x7e"),
        (200, 198, b"\x30\xc6\x01"),
        (20_000, 19_997, b"\x30\x9d\x9c\x01"),
        (1024 * 1024, 268_435_455, b"\x30\xff\xff\xff\x7f"),
    ]:
        decoder = Decoder(max_packet_size=limit)
        for byte in header[:-1]:
            decoder.feed(bytes((byte,)))
            assert decoder.next_packet() is None
        decoder.feed(header[-1:])
        with pytest.raises(PacketTooLarge) as caught:
            decoder.next_packet()
        assert caught.value.size == length + len(header)
        assert caught.value.limit == limit
        with pytest.raises(PacketTooLarge):
            decoder.feed(b"x")


@pytest.mark.parametrize("size", [4, 128, 129, 131, 16_386, 16_388, 70_000])
def test_a_packet_of_exactly_the_limit_is_read(size: int) -> None:
    overhead = 5 if size < 130 else 6 if size < 16_387 else 7
    packet = Publish("t", bytes(size - overhead)) if size > 4 else PubRel(1)
    data = encode(packet)
    assert len(data) == size
    decoder = Decoder(max_packet_size=size)
    decoder.feed(data)
    assert decoder.next_packet() == packet
    decoder = Decoder(max_packet_size=size - 1)
    decoder.feed(data)
    with pytest.raises(PacketTooLarge):
        decoder.next_packet()


@pytest.mark.parametrize("limit", [1, 0, -1, 1.5, "2", None, True])
def test_a_limit_that_no_packet_fits_is_refused(limit: object) -> None:
    with pytest.raises(UsageError):
        Decoder(limit)  # type: ignore[arg-type]
    assert Decoder(2).max_packet_size == 2


@pytest.mark.parametrize("data", [None, "text", 5, [1, 2], [b"x"], object()])
def test_what_is_not_bytes_is_not_fed(data: object) -> None:
    decoder = Decoder()
    with pytest.raises(UsageError):
        decoder.feed(data)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        decode(data)  # type: ignore[arg-type]
    decoder.feed(b"\xc0\x00")
    assert decoder.next_packet() is not None


def test_decode_takes_exactly_one_packet() -> None:
    for data in (b"", b"\xc0", b"\xc0\x00\xc0", b"\xc0\x00\xc0\x00", b"\x30\xff\xff\xff\x7f"):
        with pytest.raises(UsageError):
            decode(data)


def test_any_three_bytes_are_packets_or_not_yet_or_refused() -> None:
    second = (0, 1, 2, 3, 5, 12, 127, 128, 130, 255)
    for data in itertools.product(range(256), second, (0, 1, 2, 128, 255)):
        decoder = Decoder(max_packet_size=1000)
        decoder.feed(bytes(data))
        try:
            while decoder.next_packet() is not None:
                pass
        except ProtocolError:
            continue


def test_every_refusal_is_worded_as_it_is_written_down() -> None:
    written = refusals.WORDS.read_text(encoding="utf-8").splitlines()
    assert len(written) == len(BAD) + len(UNUSABLE) + 8
    assert list(refusals.refusals()) == written, "run: python -m tests.wire.refusals"
