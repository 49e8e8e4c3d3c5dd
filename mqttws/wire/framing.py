"""Where packets begin and end: whole packets to bytes and back, and packets out of a byte stream.

Knows the fixed header (MQTT 3.1.1 section 2.2). Does not know what the packets mean, who sends
them, or in which frames and segments their bytes arrive.
"""

from io import BytesIO
from typing import Final

from ..errors import MalformedPacket, PacketTooLarge, ProtocolError, UsageError
from .fields import encode_number
from .given import Given
from .packets import SHAPES, Packet
from .publishing import PubAck, PubComp, Publish, PubRec, PubRel

DEFAULT_MAX_PACKET_SIZE: Final = 1024 * 1024
"""The largest packet in bytes that a ``Decoder`` accepts unless told otherwise: 1 MiB."""

_HUGE: Final = 2**63 - 1

_PACKETS: Final = frozenset(shape.packet_type for shape in SHAPES.values())

_QOS: Final = [(byte >> 1 & 3) if byte in SHAPES and byte >> 4 == 3 else 3 for byte in range(256)]
"""The QoS of a PUBLISH by its first byte; 3 for what is none."""


def encode(packet: Given[Packet]) -> bytes:
    """Return the bytes of one packet, fixed header included.

    Raises:
        UsageError: the object breaks a rule of MQTT 3.1.1; there are no bytes for it.
    """
    if type(packet) is Publish:  # hot: compiled, a known method is called directly
        return packet.encode()
    if type(packet) not in _PACKETS:
        raise UsageError(f"packet: found {type(packet).__name__}; allowed: a packet of wire")
    return packet.encode()


def decode(data: Given[bytes]) -> Packet:
    """Return the packet that ``data`` is, exactly one and whole.

    Raises:
        MalformedPacket: the bytes break a rule.
        UsageError: there are fewer or more bytes than one packet has.
    """
    decoder = Decoder(_HUGE)
    decoder.feed(data)
    size = decoder.buffered
    packet = decoder.next_packet()
    if packet is None:
        raise UsageError(f"found {size} bytes of a packet; allowed: all of one")
    if decoder.buffered:
        raise UsageError(f"found {decoder.buffered} bytes after the packet; allowed: none")
    return packet


class Decoder:
    """Turns a byte stream, cut anywhere, into packets.

    Feed it what arrives, then ask for packets until there is none. It refuses at the first byte
    that proves a fault: a type or flags that no packet has, a fifth length byte, a size that is
    over the limit or that the type cannot have, all before any body is waited for. Packets before
    a faulty one are delivered; after a fault every call raises the same error again. It holds at
    most ``max_packet_size`` bytes and what was last fed and not yet asked for (in a buffer that
    may have an eighth more room, so that it need not move for each piece).

    Args:
        max_packet_size: the largest packet in bytes, fixed header included.
        strict: whether DUP with QoS 0 is a fault [MQTT-3.3.1-2]. Some servers pass the bit on;
            without ``strict`` it is read as 0, since it has no meaning there.
        discard_oversized: whether a PUBLISH over the limit is returned without its payload, which
            is dropped as it comes, and not refused; ``take_discarded`` tells one from the others.
    """

    # Fed bytes are read where they lie: _data from _at on. Only an unfinished packet is moved, to
    # _tail; pieces of it are collected there until _needed bytes have come, then the tail is what
    # is read in place. Bytes fed before the earlier ones have been asked for wait in _tail too.
    __slots__ = (
        "_at", "_data", "_discard", "_discarded", "_error", "_needed", "_skip", "_start", "_strict",
        "_tail", "max_packet_size",
    )  # fmt: skip

    def __init__(
        self,
        max_packet_size: Given[int] = DEFAULT_MAX_PACKET_SIZE,
        strict: bool = True,
        discard_oversized: bool = False,
    ) -> None:
        self.max_packet_size = encode_number(
            max_packet_size, "max_packet_size in bytes", 2, _HUGE, ""
        )
        self._data = b""
        self._at = 0
        self._tail: BytesIO | None = None
        self._needed = 1  # bytes of the next packet without which it cannot be read further
        self._start = 0  # the stream's offset at which _data begins
        self._error: ProtocolError | None = None
        self._strict = strict
        self._discard = discard_oversized
        self._skip = 0  # bytes of an oversized payload that are still to come
        self._discarded = 0

    @property
    def unfinished(self) -> bool:
        """Whether a packet has begun and not ended."""
        return self._skip > 0 or self.buffered > 0

    @property
    def buffered(self) -> int:
        """How many bytes have been fed and not yet been part of a packet."""
        waiting = 0 if self._tail is None else self._tail.tell()
        return len(self._data) - self._at + waiting

    def take_discarded(self) -> int:
        """Return the size in bytes of the last packet whose payload was dropped, once; else 0."""
        size = self._discarded
        self._discarded = 0
        return size

    def feed(self, data: Given[bytes | bytearray | memoryview]) -> None:
        """Take the next bytes of the stream, as many as there are.

        Raises:
            ProtocolError: the stream has already failed; the same error again.
            UsageError: ``data`` is not bytes.
        """
        if self._error is not None:
            raise _same(self._error)
        if not isinstance(data, bytes):
            if not isinstance(data, (bytearray, memoryview)):
                raise UsageError(f"data: found {type(data).__name__}; allowed: bytes")
            data = bytes(data)
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            self._start += dropped
            data = data[dropped:]
        if self._tail is None:
            if self._at == len(self._data):
                self._start += self._at
                self._data = data
                self._at = 0
                return
            self._tail = BytesIO()
        self._tail.write(data)

    def next_packet(self) -> Packet | None:  # noqa: PLR0912  # hot, so in one piece
        """Return the next whole packet, or None until more bytes have been fed.

        Raises:
            MalformedPacket: the bytes break a rule.
            PacketTooLarge: a packet over ``max_packet_size`` has been announced.
        """
        # Hot: a whole PUBLISH or acknowledgement in which nothing is wrong, in one pass: 900 ns
        # instead of 2400 interpreted, 130 instead of 520 compiled. Whatever else stands here, the
        # careful way below reads it from its first byte and finds out.
        data = self._data
        start = self._at
        size = len(data)
        if size - start > 3:
            first_byte = data[start]
            length = data[start + 1]
            at = start + 2
            if length > 127:
                length -= 128
                shift = 7
                while True:
                    if at == size or shift > 21:
                        return self._next_carefully()
                    byte = data[at]
                    at += 1
                    length += (byte & 127) << shift
                    if byte < 128:
                        break
                    shift += 7
            end = at + length
            if end <= size and end - start <= self.max_packet_size:
                qos = _QOS[first_byte]
                if qos < 3 and length > 2:
                    topic_start = at + 2
                    topic_end = topic_start + (data[at] << 8 | data[at + 1])
                    payload_start = topic_end + 2 if qos else topic_end
                    if topic_start < topic_end and payload_start <= end:
                        packet_id = data[topic_end] << 8 | data[topic_end + 1] if qos else None
                        try:
                            topic = data[topic_start:topic_end].decode("utf-8")
                        except UnicodeDecodeError:
                            return self._next_carefully()
                        if packet_id != 0 and not ("#" in topic or "+" in topic or "\0" in topic):
                            self._at = end
                            return Publish(
                                topic,
                                data[payload_start:end],
                                qos,
                                first_byte & 1 == 1,
                                first_byte & 8 == 8,
                                packet_id,
                            )
                elif length == 2:
                    packet_id = data[at] << 8 | data[at + 1]
                    if packet_id:
                        if first_byte == 0x40:
                            self._at = end
                            return PubAck(packet_id)
                        if first_byte == 0x50:
                            self._at = end
                            return PubRec(packet_id)
                        if first_byte == 0x62:
                            self._at = end
                            return PubRel(packet_id)
                        if first_byte == 0x70:
                            self._at = end
                            return PubComp(packet_id)
        elif start == size and self._tail is None and self._error is None:
            # All has been read: let go of it.
            self._start += size
            self._data = b""
            self._at = 0
            return None
        return self._next_carefully()

    def _next_carefully(self) -> Packet | None:
        """Read one packet with a word for every fault, after fetching what has come of it."""
        if self._error is not None:
            raise _same(self._error)
        if self._tail is None or self._at < len(self._data):
            try:
                packet = self._read()
            except ProtocolError as error:
                self._data = b""
                self._at = 0
                self._tail = None
                self._error = _same(error)
                raise
            if packet is not None:
                return packet
        return self.next_packet() if self._refill() else None

    def _refill(self) -> bool:
        """Continue with the tail, if it has become long enough to be worth reading."""
        rest = self._data[self._at :]
        self._start += self._at
        self._at = 0
        self._data = b""
        tail = self._tail
        if tail is None:
            if rest:
                self._tail = BytesIO()
                self._tail.write(rest)
            return False
        waiting = tail.tell()
        if rest or waiting >= self._needed:
            # No copy where nothing stands before it: the buffer itself becomes the bytes.
            self._data = rest + tail.getvalue() if rest else tail.getvalue()
            self._tail = None
            self._needed = 1  # the hot path does not say what a packet needed that it has read
            return waiting > 0
        return False

    def _read(self) -> Packet | None:
        """Read one packet in place; None leaves in ``_needed`` how many bytes that would take."""
        data = self._data
        at = self._at
        available = len(data) - at
        if not available:
            self._needed = 1
            return None
        first_byte = data[at]
        shape = SHAPES.get(first_byte)
        if shape is None and not self._strict and first_byte & 0xFE == 0x38:
            first_byte -= 8  # DUP with QoS 0
            shape = SHAPES.get(first_byte)
        if shape is None:
            raise _first_byte_fault(first_byte, self._start + at)
        length = 0
        body = at + 1
        shift = 0
        while True:
            if body >= len(data):
                self._needed = body - at + 1
                return None
            byte = data[body]
            body += 1
            length |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift == 28:
                raise MalformedPacket(
                    "U-2",
                    "a fourth length byte that announces a fifth",
                    "at most four length bytes",
                    self._start + body - 1,
                )
        if not shape.smallest <= length <= shape.largest:
            raise MalformedPacket(
                shape.rule,
                f"remaining length {length} of {shape.packet_type.__name__}",
                str(shape.largest)
                if shape.smallest == shape.largest
                else f"at least {shape.smallest}",
                self._start + at + 1,
            )
        end = body + length
        if end - at > self.max_packet_size:
            if not self._discard or shape.packet_type is not Publish:
                raise PacketTooLarge(end - at, self.max_packet_size)
            return self._read_head(first_byte, body, length)
        if end > len(data):
            self._needed = end - at
            return None
        try:
            packet = shape.packet_type.decode(first_byte & 15, data[body:end])
        except MalformedPacket as error:
            raise MalformedPacket(
                error.rule, error.found, error.allowed, self._start + body + error.offset
            ) from None
        self._at = end
        self._needed = 1
        return packet

    def _read_head(self, first_byte: int, body: int, length: int) -> Packet | None:
        """Return an oversized PUBLISH without its payload, which is dropped as it comes."""
        data = self._data
        at = self._at
        size = 2 + (2 if first_byte & 6 else 0)
        if len(data) >= body + 2:
            size += data[body] << 8 | data[body + 1]
        if len(data) < body + size and size <= length:
            self._needed = body - at + size
            return None
        packet = Publish.decode(first_byte & 15, data[body : body + min(size, length)])
        end = min(body + length, len(data))
        self._skip = body + length - end
        self._at = end
        self._needed = 1
        self._discarded = body + length - at
        return packet


def _same(error: ProtocolError) -> ProtocolError:
    """Return the error anew, without the frames that its traceback would keep alive."""
    again: ProtocolError = type(error)(*error.args)
    return again


def _first_byte_fault(first_byte: int, offset: int) -> MalformedPacket:
    """Say which rule a first byte breaks."""
    kind = first_byte >> 4
    flags = first_byte & 15
    if kind in (0, 15):
        return MalformedPacket("U-1", f"packet type {kind}", "1 to 14", offset)
    if kind == 3:
        if flags & 6 == 6:
            return MalformedPacket("MQTT-3.3.1-4", "QoS 3", "0, 1 or 2", offset)
        return MalformedPacket("MQTT-3.3.1-2", "DUP with QoS 0", "DUP 0", offset)
    rule = {
        6: "MQTT-3.6.1-1",
        8: "MQTT-3.8.1-1",
        10: "MQTT-3.10.1-1",
        14: "MQTT-3.14.1-1",
    }.get(kind, "MQTT-2.2.2-2")
    allowed = 2 if kind in (6, 8, 10) else 0
    return MalformedPacket(rule, f"flags {flags:#x} of type {kind}", f"{allowed:#x}", offset)
