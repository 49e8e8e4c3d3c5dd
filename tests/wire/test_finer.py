"""Changes of the codec that no quick test noticed: rules and places of faults, dropped payloads."""

import pytest

from mqttws.errors import MalformedPacket, UsageError
from mqttws.wire import COMPILED, Connect, Decoder, Packet, PubAck, Publish, Will, decode, encode
from mqttws.wire.fields import MAX_REMAINING_LENGTH, encode_remaining_length
from mqttws.wire.pieces import Pieces


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 5, 300])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 1000])
@pytest.mark.parametrize("ask_after", [1, 3, 10_000])
def test_a_payload_is_dropped_wherever_it_is_cut(
    qos: int, length: int, size: int, ask_after: int
) -> None:
    large = Publish("t" * length, bytes(range(1, 251)), qos, packet_id=7 if qos else None)
    empty = Publish("t" * length, b"", qos, packet_id=7 if qos else None)
    stream = encode(PubAck(1)) + encode(large) + encode(PubAck(2)) + b"\0"
    decoder = Decoder(64, discard_oversized=True)
    found: list[tuple[Packet, int]] = []
    with pytest.raises(MalformedPacket) as caught:  # noqa: PT012 - at the very end
        for number, at in enumerate(range(0, len(stream), size), 1):
            decoder.feed(stream[at : at + size])
            if number % ask_after == 0 or at + size >= len(stream):
                while (packet := decoder.next_packet()) is not None:
                    found.append((packet, decoder.take_discarded()))
    assert found == [(PubAck(1), 0), (empty, len(encode(large))), (PubAck(2), 0)]
    assert caught.value.offset == len(stream) - 1


def test_a_dropped_message_that_is_retained_has_no_payload_either() -> None:
    decoder = Decoder(64, discard_oversized=True)
    decoder.feed(encode(Publish("t", bytes(100), 0, retain=True)))
    assert decoder.next_packet() == Publish("t", b"", 0, retain=True)


def test_a_dropped_message_may_be_all_topic() -> None:
    large = encode(Publish("t" * 100, b""))
    for cut in range(1, len(large)):
        decoder = Decoder(64, discard_oversized=True)
        decoder.feed(large[:cut])
        assert decoder.next_packet() is None
        decoder.feed(large[cut:])
        assert decoder.next_packet() == Publish("t" * 100, b"")


def test_a_dropped_message_is_returned_as_soon_as_its_topic_is_whole() -> None:
    decoder = Decoder(64, discard_oversized=True)
    large = encode(Publish("topic", bytes(100)))
    decoder.feed(encode(PubAck(1)) * 10 + large[:3])
    for _ in range(10):
        assert decoder.next_packet() == PubAck(1)
    assert decoder.next_packet() is None
    decoder.feed(large[3:8])
    assert decoder.next_packet() is None
    decoder.feed(large[8:9])
    assert decoder.next_packet() == Publish("topic", b"")
    decoder.feed(large[9:])
    for byte in encode(PubAck(2)):
        assert decoder.next_packet() is None
        decoder.feed(bytes((byte,)))
    assert decoder.next_packet() == PubAck(2)


@pytest.mark.parametrize("count", [0, 1, 9_999, 10_000, 10_001, 20_000, 25_000, 30_000, 40_000])
def test_pieces_are_dropped_from_the_front(count: int) -> None:
    pieces = Pieces()
    parts = [bytes([number]) * 10_000 for number in range(3)]
    for part in parts:
        pieces.add(part)
    whole = b"".join(parts)
    assert pieces.drop(count) == min(count, len(whole))
    assert pieces.size == len(whole[count:])
    if pieces.size:
        assert pieces.first() == whole[count : (count // 10_000 + 1) * 10_000]
    assert pieces.take_all() == whole[count:]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_dropped_message_has_the_faults_of_a_whole_one(size: int) -> None:
    start = encode(PubAck(1)) + encode(Publish("ab", bytes(200)))
    stream = start.replace(b"\0\2ab", b"\0\2a#")
    found = []
    for discard in (False, True):
        decoder = Decoder(64 if discard else 1000, discard_oversized=discard)
        with pytest.raises(MalformedPacket) as caught:  # noqa: PT012 - wherever it is seen
            for at in range(0, len(stream), size):
                decoder.feed(stream[at : at + size])
                while decoder.next_packet() is not None:
                    pass
        found.append(str(caught.value))
    assert found[0] == found[1]
    assert "MQTT-3.3.2-2" in found[0]


WHOLE = encode(Connect("cc", username="uu", password=b"pp", will=Will("ww", b"mm", 1, True)))


def test_each_field_of_connect_that_is_cut_off_breaks_its_own_rule() -> None:
    ends = {
        6: "MQTT-3.1.2-2",
        7: "MQTT-3.1.2-3",
        9: "MQTT-3.1.3-3",
        13: "MQTT-3.1.3-3",
        17: "MQTT-3.1.2-9",
        21: "MQTT-3.1.2-9",
        25: "MQTT-3.1.2-19",
        29: "MQTT-3.1.2-21",
    }
    for end, rule in ends.items():
        for cut in (end, end - 1) if end > 9 else (end,):
            body = WHOLE[2 : 2 + cut]
            with pytest.raises(MalformedPacket) as caught:
                Connect.decode(0, body)
            assert caught.value.rule == rule, cut


def test_each_flag_of_connect_says_one_thing() -> None:
    for connect in (
        Connect("c"),
        Connect("c", clean_session=False),
        Connect("c", username="u"),
        Connect("c", username="u", password=b"p"),
        Connect("c", will=Will("w", b"m")),
        Connect("c", will=Will("w", b"m", 2)),
        Connect("c", will=Will("w", b"m", 0, True)),
        Connect("c", clean_session=False, will=Will("w", b"m", 1, True)),
    ):
        assert decode(encode(connect)) == connect


def test_a_length_that_no_packet_can_have_is_refused() -> None:
    assert encode_remaining_length(MAX_REMAINING_LENGTH) == b"\xff\xff\xff\x7f"
    with pytest.raises(UsageError, match="U-2"):
        encode_remaining_length(MAX_REMAINING_LENGTH + 1)


@pytest.mark.skipif(COMPILED, reason="compiled, it is called by the packet alone")
def test_the_compiled_packets_way_is_the_same_as_the_usual_one() -> None:
    from mqttws.wire.publishing import _join_publish, _topic_field

    for topic in ("a", "a" * 126, "\u00fc" * 200, "b", "b"):
        for _ in range(3):
            field = _topic_field(topic)
            assert field[2:].decode() == topic
            for size in (0, 1, 120, 122, 123, 124, 125, 126, 127, 128, 1000):
                for packet_id in (0, 7, 300):
                    message = Publish(
                        topic, bytes(size), int(packet_id > 0), packet_id=packet_id or None
                    )
                    first = 0x32 if packet_id else 0x30
                    assert _join_publish(first, field, packet_id, bytes(size)) == encode(message)
    for wrong in ("", "a#", "+", "\0", "\ud800", "a" * 65536):
        for _ in range(2):
            assert _topic_field(wrong) == b""
