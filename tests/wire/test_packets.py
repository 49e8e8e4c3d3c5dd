"""Every packet of the table, both ways, whole and in pieces."""

from collections.abc import Callable
from enum import IntEnum

import pytest

from mqttws.errors import UsageError
from mqttws.wire import (
    ConnAck,
    Connect,
    Decoder,
    Packet,
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
    decode,
    encode,
)
from mqttws.wire.publishing import _join_publish, _topic_field
from tests.packet_table import NOT_SHORTEST, PACKETS, Row

rows = pytest.mark.parametrize("row", PACKETS, ids=lambda row: row.name)


def drain(decoder: Decoder) -> list[Packet]:
    """Return every packet that is there."""
    packets = []
    while (packet := decoder.next_packet()) is not None:
        packets.append(packet)
    return packets


@pytest.mark.rule("MQTT-2.2.2-1", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "U-7", "U-10")
@rows
def test_a_packet_encodes_to_its_bytes(row: Row) -> None:
    assert encode(row.packet) == row.data
    assert row.packet.encode() == row.data


@pytest.mark.rule("MQTT-1.5.3-3", "U-4", "U-7", "U-10")
@rows
def test_bytes_decode_to_their_packet(row: Row) -> None:
    packet = decode(row.data)
    assert packet == row.packet
    assert type(packet) is type(row.packet)


@rows
def test_every_prefix_of_a_packet_is_not_a_packet_yet(row: Row) -> None:
    if len(row.data) < 1000:
        cuts = range(len(row.data))
    else:
        cuts = [*range(10), len(row.data) // 2, len(row.data) - 1]  # type: ignore[assignment]
    for cut in cuts:
        decoder = Decoder()
        decoder.feed(row.data[:cut])
        assert decoder.next_packet() is None
        assert decoder.buffered == cut
        decoder.feed(row.data[cut:])
        assert decoder.next_packet() == row.packet
        assert decoder.buffered == 0


@pytest.mark.rule("MQTT-6.0.0-2", "MQTT-7.1.1-1", "MQTT-7.1.2-1")
@rows
def test_byte_by_byte_gives_the_same_packet(row: Row) -> None:
    decoder = Decoder()
    packets = []
    for byte in row.data:
        decoder.feed(bytes((byte,)))
        packets += drain(decoder)
    assert packets == [row.packet]


@pytest.mark.rule("MQTT-6.0.0-2")
def test_all_packets_in_one_piece_come_out_one_by_one() -> None:
    decoder = Decoder()
    decoder.feed(b"".join(row.data for row in PACKETS))
    assert drain(decoder) == [row.packet for row in PACKETS]


@pytest.mark.rule("U-2", "U-3")
@pytest.mark.parametrize("row", NOT_SHORTEST, ids=lambda row: row.name)
def test_a_length_longer_than_it_need_be_is_read_and_never_written(row: Row) -> None:
    assert decode(row.data) == row.packet
    assert len(encode(row.packet)) < len(row.data)


@pytest.mark.rule("U-2")
def test_a_length_of_four_bytes_is_read() -> None:
    # Four bytes are what the printed pseudocode of the standard refuses and its errata allow.
    decoder = Decoder(max_packet_size=3_000_000)
    payload = bytes(2_097_152 - 3)
    decoder.feed(b"\x30\x80\x80\x80\x01" + b"\x00\x01t" + payload)
    assert decoder.next_packet() == Publish("t", payload)


@pytest.mark.rule("U-2")
def test_a_length_of_four_bytes_is_written() -> None:
    data = encode(Publish("t", bytes(2_097_152 - 3)))
    assert data[:5] == b"\x30\x80\x80\x80\x01"
    assert len(data) == 5 + 2_097_152


@pytest.mark.rule("MQTT-1.5.3-3")
def test_a_byte_order_mark_is_kept_wherever_it_stands() -> None:
    packet = Publish("\ufeffa\ufeff", b"")
    assert decode(encode(packet)) == packet
    assert encode(packet)[2:] == b"\x00\x07\xef\xbb\xbfa\xef\xbb\xbf"


@pytest.mark.rule("MQTT-2.3.1-5")
def test_bytes_after_the_topic_of_a_qos_0_publish_are_payload() -> None:
    assert decode(b"\x30\x05\x00\x01t\x00\x01") == Publish("t", b"\x00\x01")


@pytest.mark.rule("MQTT-2.3.1-6", "MQTT-2.3.1-7", "MQTT-3.8.4-2", "MQTT-3.10.4-4")
@pytest.mark.parametrize("packet_id", [1, 127, 128, 255, 256, 65535])
def test_packet_identifiers_survive_the_way(packet_id: int) -> None:
    for row in PACKETS:
        if getattr(row.packet, "packet_id", None) is not None:
            data = bytearray(row.data)
            at = 5 + row.data[3] if isinstance(row.packet, Publish) else None
            if at is None:
                at = 2
            elif data[1] > 127:
                continue
            else:
                at -= 1
            data[at : at + 2] = packet_id.to_bytes(2, "big")
            packet = decode(bytes(data))
            assert packet.packet_id == packet_id  # type: ignore[union-attr]
            assert encode(packet) == data


@pytest.mark.rule("MQTT-3.1.3-1", "MQTT-3.1.3-3", "MQTT-3.1.2-9", "MQTT-3.1.2-19", "MQTT-3.1.2-21")
def test_the_fields_of_connect_stand_in_their_order() -> None:
    row = next(row for row in PACKETS if row.name == "CONNECT with everything")
    data = encode(row.packet)
    fields = [b"\x00\x01c", b"\x00\x01t", b"\x00\x03bye", b"\x00\x04user", b"\x00\x04pass"]
    assert data.endswith(b"".join(fields))


@pytest.mark.rule(
    "MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-15", "MQTT-3.1.2-18", "MQTT-3.1.2-20"
)
def test_what_connect_has_not_has_no_flag() -> None:
    assert encode(Connect("c"))[9] == 0x02
    assert encode(Connect("c", clean_session=False))[9] == 0x00
    assert encode(Connect("c"))[-3:] == b"\x00\x01c"


@pytest.mark.rule("MQTT-3.1.2-19", "MQTT-3.1.2-21", "U-8", "U-9")
def test_empty_fields_of_connect_are_not_absent_ones() -> None:
    row = next(row for row in PACKETS if row.name == "CONNECT with empty but present fields")
    packet = decode(row.data)
    assert isinstance(packet, Connect)
    assert packet.username == ""
    assert packet.password == b""
    assert packet.will is not None
    assert packet.will.payload == b""


@pytest.mark.rule("MQTT-3.1.3-8")
def test_an_empty_client_id_in_a_kept_session_is_for_the_server_to_answer() -> None:
    packet = decode(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00")
    assert packet == Connect("", clean_session=False)
    with pytest.raises(UsageError):
        encode(packet)


@pytest.mark.rule("U-8", "U-9")
def test_binary_fields_hold_up_to_65535_bytes() -> None:
    packet = Connect("c", "u", b"\xff" * 65535)
    assert decode(encode(packet)) == packet


@pytest.mark.rule("MQTT-4.7.3-3")
def test_topics_hold_up_to_65535_bytes_of_utf_8() -> None:
    for topic in ("t" * 65535, "é" * 32767 + "e", "😀" * 16383 + "abc"):
        assert len(topic.encode()) == 65535
        packets: list[Packet] = [
            Publish(topic),
            Subscribe(1, [Subscription(topic)]),
            Unsubscribe(1, [topic]),
        ]
        for packet in packets:
            assert decode(encode(packet)) == packet


@pytest.mark.rule("MQTT-3.9.3-1", "MQTT-3.8.4-4", "MQTT-3.8.4-5")
def test_the_order_of_filters_and_codes_is_kept() -> None:
    filters = [f"f/{number}" for number in range(300)]
    subscribe = Subscribe(1, [Subscription(each, n % 3) for n, each in enumerate(filters)])
    assert decode(encode(subscribe)) == subscribe
    unsubscribe = Unsubscribe(1, filters)
    assert decode(encode(unsubscribe)) == unsubscribe
    suback = SubAck(1, [(0, 1, 2, 128)[number % 4] for number in range(300)])
    assert decode(encode(suback)) == suback


class Number(IntEnum):
    """Names for numbers, as a program may have them."""

    ONE = 1
    HUNDRED = 100
    LARGEST = 65535


@pytest.mark.parametrize("number", Number)
def test_numbers_may_have_names(number: Number) -> None:
    kinds: list[Callable[[int], Packet]] = [PubAck, PubRec, PubRel, PubComp, UnsubAck]
    for make in kinds:
        assert encode(make(number)) == encode(make(int(number)))
    pairs: list[tuple[Packet, Packet]] = [
        (Publish("t", b"", Number.ONE, packet_id=number), Publish("t", b"", 1, packet_id=number)),
        (Publish("t", b"", 1, packet_id=number), Publish("t", b"", 1, packet_id=int(number))),
        (
            Subscribe(number, [Subscription("t", Number.ONE)]),
            Subscribe(number, [Subscription("t", 1)]),
        ),
        (SubAck(number, [Number.ONE]), SubAck(int(number), [1])),
        (Connect("c", keep_alive=number), Connect("c", keep_alive=int(number))),
    ]
    for named, plain in pairs:
        assert encode(named) == encode(plain)


def test_lists_of_a_packet_may_be_tuples() -> None:
    assert encode(Subscribe(1, (Subscription("t"),))) == encode(  # type: ignore[arg-type]
        Subscribe(1, [Subscription("t")])
    )
    assert encode(Unsubscribe(1, ("t",))) == encode(Unsubscribe(1, ["t"]))  # type: ignore[arg-type]
    assert encode(SubAck(1, (0,))) == encode(SubAck(1, [0]))  # type: ignore[arg-type]


@pytest.mark.rule("MQTT-3.2.2-6", "U-6")
@pytest.mark.parametrize("code", range(6))
def test_connack_has_codes_0_to_5(code: int) -> None:
    assert decode(encode(ConnAck(False, code))) == ConnAck(False, code)


@pytest.mark.rule("MQTT-3.3.1-1", "MQTT-3.3.1-8", "MQTT-4.3.1-1", "MQTT-4.3.2-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("dup", [False, True])
@pytest.mark.parametrize("size", [0, 1, 130, 20_000])
def test_every_flag_of_publish_survives_the_way(
    qos: int, retain: bool, dup: bool, size: int
) -> None:
    if dup and not qos:
        return
    packet = Publish("a/b", bytes(size), qos, retain, dup, 515 if qos else None)
    data = encode(packet)
    assert data[0] == 0x30 | dup << 3 | qos << 1 | retain
    assert decode(data) == packet


@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535, None])
@pytest.mark.parametrize("topic", ["t", "t" * 100, "é" * 300, "#", "a+", "\0", "\ud800", ""])
@pytest.mark.parametrize("size", [0, 20, 101, 102, 103, 104, 105, 300, 16_200, 16_380, 16_500])
def test_the_ways_to_encode_a_publish_give_the_same_bytes(
    packet_id: int | None, topic: str, size: int
) -> None:
    qos = 2 if packet_id else 0
    packet = Publish(topic, b"x" * size, qos, packet_id=packet_id)
    field = _topic_field(topic)
    if not field:
        with pytest.raises(UsageError):
            packet.encode()
        return
    assert _topic_field(topic) == field
    data = packet._encode_carefully()
    assert packet.encode() == data
    if len(field) + size < 16_382:
        assert _join_publish(0x30 + 2 * qos, field, packet_id or 0, b"x" * size) == data


@pytest.mark.parametrize(
    "row", [row for row in PACKETS if isinstance(row.packet, Publish)], ids=lambda row: row.name
)
def test_the_careful_way_reads_and_writes_every_publish_too(row: Row) -> None:
    assert isinstance(row.packet, Publish)
    assert row.packet._encode_carefully() == row.data
    assert Publish.decode(row.data[0] & 15, b"".join(row.fields[2:])) == row.packet
