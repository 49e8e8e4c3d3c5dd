"""Framing: whole packets to bytes and back, and packets out of a byte stream.

Knows the fixed header (MQTT 3.1.1 section 2.2). Does not know what the packets mean, who sends
them, or in which frames and segments their bytes arrive.
"""

from typing import Final

from ..errors import MalformedPacket, PacketTooLarge, ProtocolError, UsageError
from ._given import Given
from .fields import COMPILED, encode_number
from .packets import SHAPES, Packet, first_byte_fault
from .pieces import Pieces
from .publishing import PubComp, Publish, PubRec, PubRel

if COMPILED:
    from .publishing import PubAck as new_puback
    from .publishing import Publish as new_publish
else:  # a faster way to make them
    from .sealed import new_puback, new_publish

DEFAULT_MAX_PACKET_SIZE: Final = 1024 * 1024
"""The largest packet in bytes that a ``Decoder`` accepts unless told otherwise: 1 MiB."""

_HUGE: Final = 2**63 - 1

_LARGE: Final = (
    65536  # bytes above which a PUBLISH in pieces is joined without its head: a copy less
)
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
    """Return the packet that ``data`` is, exactly one and whole; for a stream use ``Decoder``.

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

    # Fed bytes are read where they lie: _data from _at on. An unfinished packet is collected in
    # _pieces, as it was fed, until _needed bytes have come, and is then joined once. Bytes fed
    # before the earlier ones have been asked for wait in _pieces too.
    __slots__ = (
        "_at", "_data", "_discard", "_discarded", "_error", "_last_raw", "_last_topic", "_limit",
        "_needed", "_pieces", "_skip", "_start", "_strict",
    )  # fmt: skip

    def __init__(
        self,
        max_packet_size: Given[int] = DEFAULT_MAX_PACKET_SIZE,
        strict: bool = True,
        discard_oversized: bool = False,
    ) -> None:
        self._limit = encode_number(max_packet_size, "max_packet_size in bytes", 2, _HUGE, "")
        self._data = b""
        self._at = 0
        self._pieces = Pieces()
        self._last_raw = b""  # the last PUBLISH's topic, raw and read
        self._last_topic = ""
        # Bytes of the next packet without which it cannot be read further: 1, or what was missing
        # until all of them have come.
        self._needed = 1
        self._start = 0  # the stream's offset at which _data begins
        self._error: ProtocolError | None = None
        self._strict = strict
        self._discard = discard_oversized
        self._skip = 0  # bytes of an oversized payload that are still to come
        self._discarded = 0

    @property
    def max_packet_size(self) -> int:
        """The largest packet in bytes from here on."""
        return self._limit

    def set_max_packet_size(self, size: Given[int]) -> None:
        """Accept packets up to a size in bytes from here on."""
        self._limit = encode_number(size, "max_packet_size in bytes", 2, _HUGE, "")

    @property
    def unfinished(self) -> bool:
        """Whether a packet has begun and not ended."""
        return self._skip > 0 or self.buffered > 0

    @property
    def buffered(self) -> int:
        """The number of bytes that were fed and have not yet been part of a packet."""
        return len(self._data) - self._at + self._pieces.size

    def take_discarded(self) -> int:
        """Return the size in bytes of the last packet whose payload was dropped, once; else 0."""
        size, self._discarded = self._discarded, 0
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
        if not self._pieces.size and self._at == len(self._data):
            self._start += self._at
            self._data = data
            self._at = 0
        else:
            self._pieces.add(data)

    def next_packet(self) -> Packet | None:  # noqa: PLR0912, PLR0915  # hot, so in one piece
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
            if end <= size and end - start <= self._limit:
                if length == 2:
                    if answered := data[at] << 8 | data[at + 1]:
                        if first_byte == 0x40:
                            self._at = end
                            return new_puback(answered)
                        if first_byte == 0x50:
                            self._at = end
                            return PubRec(answered)
                        if first_byte == 0x62:
                            self._at = end
                            return PubRel(answered)
                        if first_byte == 0x70:
                            self._at = end
                            return PubComp(answered)
                elif (qos := _QOS[first_byte]) < 3 and length > 2:
                    topic_start = at + 2
                    topic_end = topic_start + (data[at] << 8 | data[at + 1])
                    payload_start = topic_end + 2 if qos else topic_end
                    if topic_start < topic_end and payload_start <= end:
                        packet_id = data[topic_end] << 8 | data[topic_end + 1] if qos else None
                        raw = data[topic_start:topic_end]
                        if raw == self._last_raw:
                            topic = self._last_topic
                        else:
                            try:
                                topic = raw.decode("utf-8")
                            except UnicodeDecodeError:
                                return self._next_carefully()
                            if "#" in topic or "+" in topic or "\0" in topic:
                                return self._next_carefully()
                            if len(raw) < 256:
                                self._last_raw = raw
                                self._last_topic = topic
                        if packet_id != 0:
                            self._at = end
                            return new_publish(
                                topic,
                                data[payload_start:end],
                                qos,
                                first_byte & 1 == 1,
                                first_byte & 8 == 8,
                                packet_id,
                            )
        elif start == size and not self._pieces.size and self._error is None:
            # All has been read: let go of it.
            self._start += size
            self._data = b""
            self._at = 0
            return None
        return self._next_carefully()

    def _next_carefully(self) -> Packet | None:
        """Read one packet with an error for every fault, after joining the pieces of it."""
        if self._error is not None:
            raise _same(self._error)
        try:
            if self._at < len(self._data):
                packet = self._read()
                if packet is not None:
                    return packet
            self._set_aside()
            if self._pieces.size < self._needed:
                return None
            publish = self._read_pieces() if self._needed > _LARGE else None
        except ProtocolError as error:
            self._data = b""
            self._at = 0
            self._pieces.clear()
            self._error = _same(error)
            raise
        if publish is not None:
            return publish
        self._data = self._pieces.take_all()
        self._needed = 1  # the hot path does not say what a packet needed that it has read
        return self.next_packet()

    def _set_aside(self) -> None:
        """Put an unfinished packet before the pieces that follow it."""
        self._pieces.put_first(self._data[self._at :])
        self._start += self._at
        self._at = 0
        self._data = b""

    def _read_pieces(self) -> Publish | None:
        """Return a large PUBLISH whose payload is joined at once: one copy of it and no more.

        None where it does not begin and end as large ones mostly do: see ``Pieces.take_between``.
        """
        head = self._pieces.first()
        if len(head) < 7 or head[0] >> 4 != 3:
            return None
        body = 1
        length = 0
        while True:
            length |= (head[body] & 127) << 7 * (body - 1)
            body += 1
            if head[body - 1] < 128:
                break
        if body + length != self._needed:  # what is needed is the head of an oversized one
            return None
        payload = body + 2 + (head[body] << 8 | head[body + 1]) + (2 if head[0] & 6 else 0)
        if payload > len(head):
            return None
        flags = head[0] & (15 if head[0] & 6 else 7)  # DUP with QoS 0 has been judged
        try:
            start = Publish.decode(flags, head[body:payload])
        except MalformedPacket as error:
            raise self._placed(error, body) from None
        taken = self._pieces.take_between(payload, self._needed)
        if taken is None:
            return None
        joined, self._data = taken
        self._start += self._needed
        self._needed = 1
        return Publish(start.topic, joined, start.qos, start.retain, start.dup, start.packet_id)

    def _read(self) -> Packet | None:
        """Read one packet in place; None leaves in ``_needed`` how many bytes that would take."""
        data = self._data
        at = self._at
        first_byte = data[at]
        shape = SHAPES.get(first_byte)
        if shape is None and not self._strict and first_byte & 0xFE == 0x38:
            first_byte -= 8  # DUP with QoS 0
            shape = SHAPES.get(first_byte)
        if shape is None:
            raise first_byte_fault(first_byte, self._start + at)
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
                found = "a fourth length byte that announces a fifth"
                raise MalformedPacket(
                    "U-2", found, "at most four length bytes", self._start + body - 1
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
        if end - at > self._limit:
            if not self._discard or shape.packet_type is not Publish:
                raise PacketTooLarge(end - at, self._limit)
            return self._read_head(first_byte, body, length)
        if end > len(data):
            self._needed = end - at
            return None
        try:
            packet = shape.packet_type.decode(first_byte & 15, data[body:end])
        except MalformedPacket as error:
            raise self._placed(error, body) from None
        self._at = end
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
        try:
            packet = Publish.decode(first_byte & 15, data[body : body + min(size, length)])
        except MalformedPacket as error:
            raise self._placed(error, body) from None
        end = min(body + length, len(data))
        self._skip = body + length - end
        self._at = end
        dropped = self._pieces.drop(self._skip)  # what has come already
        self._skip -= dropped
        self._start += dropped
        self._discarded = body + length - at
        return packet

    def _placed(self, error: MalformedPacket, body: int) -> MalformedPacket:
        """Return a body's fault with its offset from the stream's start."""
        at = self._start + body + error.offset
        return MalformedPacket(error.rule, error.found, error.allowed, at)


def _same(error: ProtocolError) -> ProtocolError:
    """Return the error anew, without the frames that its traceback would keep alive."""
    return type(error)(*error.args)
