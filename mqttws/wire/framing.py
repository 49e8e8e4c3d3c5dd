"""Where packets begin and end: whole packets to bytes and back, and packets out of a byte stream.

Knows the fixed header (MQTT 3.1.1 section 2.2). Does not know what the packets mean, who sends
them, or in which frames and segments their bytes arrive.
"""

from ..errors import MalformedPacket, PacketTooLarge, ProtocolError, UsageError
from .packets import PACKET_TYPES, Packet

DEFAULT_MAX_PACKET_SIZE = 1024 * 1024
"""The largest packet in bytes that a ``Decoder`` accepts unless told otherwise: 1 MiB."""


def encode(packet: Packet) -> bytes:
    """Return the bytes of one packet, fixed header included.

    Raises:
        UsageError: the object breaks a rule of MQTT 3.1.1; there are no bytes for it.
    """
    return packet.encode()


def decode(data: bytes) -> Packet:
    """Return the packet that ``data`` is, exactly one and whole.

    Raises:
        MalformedPacket: the bytes break a rule.
        UsageError: there are fewer or more bytes than one packet has.
    """
    decoder = Decoder(max_packet_size=max(len(data), 5))
    decoder.feed(data)
    try:
        packet = decoder.next_packet()
    except PacketTooLarge as error:
        raise UsageError(f"{len(data)} bytes of a packet that has {error.size}") from None
    if packet is None:
        raise UsageError(f"{len(data)} bytes are not a whole packet")
    if decoder.buffered:
        raise UsageError(f"{decoder.buffered} bytes after the packet")
    return packet


class Decoder:
    """Turns a byte stream, cut anywhere, into packets.

    Feed it what arrives, then ask for packets until there is none. It refuses at the first byte
    that proves a fault: a type or flags that no packet has, a fifth length byte, a size that is
    over the limit or that the type cannot have, all before any body is waited for. Packets before
    a faulty one are delivered; after a fault every call raises the same error again. It holds at
    most ``max_packet_size`` bytes and what was last fed and not yet asked for.

    Args:
        max_packet_size: the largest packet in bytes, fixed header included.
    """

    __slots__ = ("_at", "_data", "_error", "_needed", "_start", "_tail", "max_packet_size")

    def __init__(self, max_packet_size: int = DEFAULT_MAX_PACKET_SIZE) -> None:
        if max_packet_size < 2:
            raise UsageError(f"max_packet_size {max_packet_size}; allowed: at least 2 bytes")
        self.max_packet_size = max_packet_size
        self._data = b""  # what is being read in place, from _at on
        self._at = 0
        self._tail = bytearray()  # what follows it; less than _needed bytes when _data is used up
        self._needed = 2
        self._start = 0  # the stream's offset at which _data begins
        self._error: ProtocolError | None = None

    @property
    def buffered(self) -> int:
        """How many bytes have been fed and not yet been part of a packet."""
        return len(self._data) - self._at + len(self._tail)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream, as many as there are.

        Raises:
            ProtocolError: the stream has already failed; the same error again.
        """
        if self._error is not None:
            raise self._error
        if self._tail or self._at < len(self._data):
            self._tail += data
        else:
            self._start += len(self._data)
            self._data = bytes(data)
            self._at = 0

    def next_packet(self) -> Packet | None:
        """Return the next whole packet, or None until more bytes have been fed.

        Raises:
            MalformedPacket: the bytes break a rule.
            PacketTooLarge: a packet over ``max_packet_size`` has been announced.
        """
        if self._error is not None:
            raise self._error
        try:
            packet = self._read()
            while packet is None and self._refill():
                packet = self._read()
        except ProtocolError as error:
            self._data = b""
            self._tail = bytearray()
            self._at = 0
            self._error = error
            raise
        return packet

    def _refill(self) -> bool:
        """Continue with the tail, if it has become long enough to be worth reading."""
        if len(self._data) - self._at + len(self._tail) < self._needed:
            if self._at < len(self._data) or self._at:
                # Only the unfinished packet stays; the fed bytes can go.
                self._start += self._at
                self._tail = bytearray(self._data[self._at :]) + self._tail
                self._data = b""
                self._at = 0
            return False
        if not self._tail:
            return False
        self._start += self._at
        self._data = self._data[self._at :] + bytes(self._tail)
        self._at = 0
        self._tail = bytearray()
        return True

    def _read(self) -> Packet | None:
        """Read one packet in place; None leaves in ``_needed`` how many bytes that would take."""
        data = self._data
        at = self._at
        available = len(data) - at
        if not available:
            self._needed = 1
            return None
        first_byte = data[at]
        packet_type = PACKET_TYPES.get(first_byte)
        if packet_type is None:
            raise _first_byte_fault(first_byte, self._start + at)
        length = 0
        for count in range(4):
            position = at + 1 + count
            if position >= len(data):
                self._needed = count + 2
                return None
            byte = data[position]
            length |= (byte & 127) << 7 * count
            if byte < 128:
                break
        else:
            raise MalformedPacket(
                "U-2", "a fourth length byte that announces a fifth", "four", self._start + at + 4
            )
        body = position + 1
        end = body + length
        if not packet_type.MIN_SIZE <= length <= packet_type.MAX_SIZE:
            raise _length_fault(packet_type, length, self._start + at + 1)
        if end - at > self.max_packet_size:
            raise PacketTooLarge(end - at, self.max_packet_size)
        if end > len(data):
            self._needed = end - at
            return None
        try:
            packet = packet_type.decode(first_byte & 15, data[body:end])
        except MalformedPacket as error:
            rule, found, allowed, offset = error.args
            raise MalformedPacket(rule, found, allowed, self._start + body + offset) from None
        self._at = end
        self._needed = 1
        return packet


def _first_byte_fault(first_byte: int, offset: int) -> MalformedPacket:
    """Say which rule a first byte breaks."""
    kind, flags = first_byte >> 4, first_byte & 15
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


def _length_fault(packet_type: type[Packet], length: int, offset: int) -> MalformedPacket:
    """Say which rule a remaining length breaks that its packet type cannot have."""
    name = packet_type.__name__
    if packet_type.MIN_SIZE == packet_type.MAX_SIZE:
        rule = "MQTT-3.14.1-1" if name == "Disconnect" else "U-7"
        allowed = str(packet_type.MIN_SIZE)
    else:
        rule = {
            "Connect": "MQTT-3.1.3-3",
            "Publish": "MQTT-4.7.3-1",
            "Subscribe": "MQTT-3.8.3-3",
            "SubAck": "MQTT-3.8.4-5",
            "Unsubscribe": "MQTT-3.10.3-2",
        }[name]
        allowed = f"at least {packet_type.MIN_SIZE}"
    return MalformedPacket(rule, f"remaining length {length} of {name}", allowed, offset)
