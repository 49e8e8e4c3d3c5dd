"""How the decoder takes what it is fed, and what that costs."""

import itertools
import random
import sys
from dataclasses import replace

import pytest

from mqttws.errors import MalformedPacket, PacketTooLarge, UsageError
from mqttws.wire import (
    COMPILED,
    Connect,
    Decoder,
    Packet,
    PingReq,
    PubAck,
    Publish,
    SubAck,
    decode,
    encode,
    pieces,
)


def test_all_kinds_of_bytes_can_be_fed() -> None:
    data = encode(Publish("t", b"x", 1, packet_id=1))
    for piece in (data, bytearray(data), memoryview(data), memoryview(bytearray(b"x" + data))[1:]):
        decoder = Decoder()
        decoder.feed(piece)
        assert decoder.next_packet() == Publish("t", b"x", 1, packet_id=1)


def test_what_was_fed_may_change_afterwards() -> None:
    data = bytearray(encode(Publish("t", b"before")))
    decoder = Decoder()
    decoder.feed(data)
    data[-6:] = b"after!"
    assert decoder.next_packet() == Publish("t", b"before")


def test_a_payload_is_bytes_of_its_own() -> None:
    for size in (10, 200, 100_000):
        data = bytearray(encode(Publish("t", bytes(size))))
        decoder = Decoder()
        decoder.feed(memoryview(data)[: size // 2])
        decoder.next_packet()
        decoder.feed(memoryview(data)[size // 2 :])
        packet = decoder.next_packet()
        assert isinstance(packet, Publish)
        assert type(packet.payload) is bytes


def test_an_empty_piece_adds_nothing() -> None:
    decoder = Decoder()
    decoder.feed(b"")
    assert decoder.next_packet() is None
    decoder.feed(b"\xc0")
    assert decoder.next_packet() is None
    decoder.feed(b"")
    assert decoder.next_packet() is None
    assert decoder.buffered == 1
    decoder.feed(b"\x00")
    assert decoder.next_packet() == PingReq()


def test_buffered_counts_what_is_not_yet_part_of_a_packet() -> None:
    decoder = Decoder()
    assert decoder.buffered == 0
    decoder.feed(b"\xc0\x00\xc0\x00\x40")
    assert decoder.buffered == 5
    decoder.next_packet()
    assert decoder.buffered == 3
    decoder.feed(b"\x02\x00")
    assert decoder.buffered == 5
    decoder.next_packet()
    assert decoder.buffered == 3
    assert decoder.next_packet() is None
    assert decoder.buffered == 3
    decoder.feed(b"\x01")
    assert decoder.next_packet() == PubAck(1)
    assert decoder.buffered == 0


def test_pieces_may_be_fed_before_packets_are_asked_for() -> None:
    packets = [Publish(f"t/{n}", bytes(n), 1, packet_id=n) for n in range(1, 400)]
    stream = b"".join(map(encode, packets))
    for size in (1, 7, 1000):
        for ask_after in (1, 3, 10_000_000):
            decoder = Decoder()
            found = []
            for number, at in enumerate(range(0, len(stream), size)):
                decoder.feed(stream[at : at + size])
                if number % ask_after == 0:
                    packet = decoder.next_packet()
                    if packet is not None:
                        found.append(packet)
            while (packet := decoder.next_packet()) is not None:
                found.append(packet)
            assert found == packets


class CountingArray(bytearray):
    """Counts the bytes that are put into it."""

    moved = 0

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        CountingArray.moved += len(data)

    def __iadd__(self, data: bytes) -> "CountingArray":  # type: ignore[override, misc]
        super().__iadd__(data)
        CountingArray.moved += len(data)
        return self


@pytest.mark.skipif(COMPILED, reason="counts the buffer's moves, which needs a buffer of its own")
@pytest.mark.parametrize("ask", [True, False])
def test_one_byte_at_a_time_costs_linear_work(monkeypatch: pytest.MonkeyPatch, ask: bool) -> None:
    monkeypatch.setattr(pieces, "bytearray", CountingArray, raising=False)

    def moved(size: int) -> int:
        CountingArray.moved = 0
        decoder = Decoder()
        for byte in encode(Publish("t", bytes(size))):
            decoder.feed(bytes((byte,)))
            if ask:
                decoder.next_packet()
        while decoder.next_packet() is not None:
            pass
        assert decoder.buffered == 0
        return CountingArray.moved

    assert moved(20_000) < 2.1 * moved(10_000)
    assert moved(20_000) < 20_100


@pytest.mark.skipif(COMPILED, reason="compiled code has no lines to count")
def test_one_byte_at_a_time_looks_at_each_byte_a_few_times() -> None:
    # The lines that run are counted, not the time: deterministic on every machine.
    def lines(size: int) -> int:
        decoder = Decoder()
        data = encode(Publish("t", bytes(size)))
        count = 0

        def trace(_frame: object, event: str, _argument: object) -> object:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()  # that of a measurement of coverage
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            for at in range(len(data)):
                decoder.feed(data[at : at + 1])
                decoder.next_packet()
        finally:
            sys.settrace(before)
        return count

    assert 0 < lines(8_000) < 2.2 * lines(4_000)


def test_a_decoder_with_a_limit_of_two_reads_the_smallest_packets() -> None:
    decoder = Decoder(2)
    decoder.feed(b"\xc0\x00\xd0\x00\xe0\x00\x40\x02")
    for _ in range(3):
        assert decoder.next_packet() is not None
    with pytest.raises(PacketTooLarge):
        decoder.next_packet()


@pytest.mark.rule("MQTT-6.0.0-2")
def test_what_an_earlier_packet_needed_does_not_hold_a_later_one_back() -> None:
    decoder = Decoder()
    large = encode(Publish("t", bytes(1000)))
    decoder.feed(large[:10])
    assert decoder.next_packet() is None
    decoder.feed(large[10:])
    assert decoder.next_packet() == Publish("t", bytes(1000))
    decoder.feed(encode(PubAck(1)))
    decoder.feed(encode(PubAck(2)))
    assert decoder.next_packet() == PubAck(1)
    assert decoder.next_packet() == PubAck(2)


@pytest.mark.parametrize("seed", range(300))
def test_whenever_packets_are_asked_for_they_are_the_same(seed: int) -> None:
    drawn = random.Random(seed)
    packets: list[Packet] = []
    for number in range(1, 30):
        size = drawn.choice([0, 3, 130, 3000])
        packets.append(
            drawn.choice(
                [
                    PubAck(number),
                    Publish("t", bytes(size)),
                    Publish("t", bytes(size), 1, packet_id=number),
                ]
            )
        )
    stream = b"".join(map(encode, packets)) + drawn.choice([b"", b"\xff"])
    faulty = stream[-1:] == b"\xff"
    decoder = Decoder()
    found: list[Packet] = []
    at = 0
    try:
        while at < len(stream):
            size = drawn.choice([1, 2, 7, 500, 5000])
            decoder.feed(stream[at : at + size])
            at += size
            for _ in range(drawn.choice([0, 1, 2, 100])):
                packet = decoder.next_packet()
                if packet is None:
                    break
                found.append(packet)
        while (packet := decoder.next_packet()) is not None:
            found.append(packet)
    except MalformedPacket:
        assert faulty
    else:
        assert not faulty
    assert found == packets


def test_a_faulty_value_is_shown_in_short_and_a_secret_behind_it_is_not() -> None:
    connect = bytearray(encode(Connect("dev", "user", b"SharedAccessSignature sig=SECRET")))
    connect[2:4] = (len(connect) - 4).to_bytes(2, "big")  # the name takes all the rest
    with pytest.raises(MalformedPacket) as caught:
        decode(bytes(connect))
    assert "SECRET" not in str(caught.value)
    with pytest.raises(UsageError) as refused:
        encode(Publish("\x01" * 60000 + "#"))
    assert len(str(refused.value)) < 300
    for packet in (PubAck(10**5000), Publish("t", qos=10**5000), SubAck(1, [10**5000])):
        with pytest.raises(UsageError):
            encode(packet)
    with pytest.raises(UsageError):
        Decoder(10**5000)


PIECES = [1, 3, 4095, 4096, 4097, 50_000, 65_536, 70_000, 300_000]


@pytest.mark.parametrize("first", [1, 2, 5, 8, 9, 10, 11, 4096, 70_000])
@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("ask", [True, False])
def test_a_large_publish_in_pieces_is_the_same_whole(first: int, size: int, ask: bool) -> None:
    packets: list[Packet] = [
        Publish("t/ü", bytes(range(256)) * 1024, 1, packet_id=7),
        PubAck(1),
        Publish("t", bytes(65_540)),
        Publish("t" * 5000, bytes(140_000), 2, dup=True, packet_id=65_535),
        PingReq(),
    ]
    stream = b"".join(map(encode, packets)) + b"\x30"
    if size == 1:
        stream = stream[:80_000]
        packets = []
    decoder = Decoder()
    found: list[Packet] = []
    cuts = [0, *range(first, len(stream), size), len(stream)]
    for start, end in itertools.pairwise(cuts):
        decoder.feed(stream[start:end])
        while ask and (packet := decoder.next_packet()) is not None:
            found.append(packet)
    while (packet := decoder.next_packet()) is not None:
        found.append(packet)
    assert found == packets
    assert decoder.buffered == (1 if packets else len(stream))


def fault_of(stream: bytes, size: int) -> MalformedPacket:
    """Return the error that a stream in pieces of ``size`` bytes ends in."""
    decoder = Decoder()
    try:
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
            while decoder.next_packet() is not None:
                pass
    except MalformedPacket as error:
        return error
    pytest.fail("the stream has a fault")


@pytest.mark.parametrize(
    ("head", "rule"),
    [
        (b"\0\1#\0\1", "MQTT-3.3.2-2"),
        (b"\0\1t\0\0", "MQTT-2.3.1-1"),
        (b"\0\2\xff\xff\0\1", "MQTT-1.5.3-1"),
        (b"\0\0\0\1", "MQTT-4.7.3-1"),
    ],
)
def test_a_fault_in_a_large_publish_in_pieces_is_the_one_of_the_whole(
    head: bytes, rule: str
) -> None:
    body = head + bytes(100_000)
    length = encode(Publish("t", bytes(len(body) - 3)))[1:4]
    stream = encode(PingReq()) + b"\x32" + length + body
    whole = fault_of(stream, len(stream))
    assert whole.rule == rule
    for size in (10_000, 70_000, 5):
        assert str(fault_of(stream, size)) == str(whole)


@pytest.mark.parametrize("limit", [7, 100, 70_010, 200_000])
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 5000, 66_000, 500_000])
@pytest.mark.parametrize("ask_after", [1, 2, 3, 10_000])
@pytest.mark.parametrize("topic", ["t", "t" * 65_535])
def test_an_oversized_publish_is_returned_without_its_payload(
    limit: int, size: int, ask_after: int, topic: str
) -> None:
    if size < 1000 and len(topic) > 1:
        return
    packets: list[Packet] = [
        PubAck(1),
        Publish(topic, bytes(range(256)) * 700, 1, packet_id=7),
        PubAck(2),
        Publish(topic, bytes(20)),
        PubAck(3),
    ]
    stream = b"".join(map(encode, packets))
    decoder = Decoder(limit, discard_oversized=True)
    found: list[Packet] = []
    discarded = []

    def drain() -> None:
        while (packet := decoder.next_packet()) is not None:
            found.append(packet)
            discarded.append(decoder.take_discarded())

    for number, at in enumerate(range(0, len(stream), size), 1):
        decoder.feed(stream[at : at + size])
        if number % ask_after == 0:
            drain()
    drain()
    sizes = [len(encode(packet)) for packet in packets]
    assert discarded == [size if size > limit else 0 for size in sizes]
    assert found == [
        replace(packet, payload=b"")
        if isinstance(packet, Publish) and len(encode(packet)) > limit
        else packet
        for packet in packets
    ]
    assert not decoder.unfinished
    decoder.feed(b"\x00")
    with pytest.raises(MalformedPacket) as caught:
        decoder.next_packet()
    assert caught.value.offset == len(stream)
