"""The fields that packets are made of: two-byte integers, UTF-8 strings, binary data, lengths.

Knows how one field lies in bytes (MQTT 3.1.1 sections 1.5 and 2.2.3). Does not know any packet.
"""

from ..errors import MalformedPacket, UsageError

MAX_REMAINING_LENGTH = 268_435_455
"""The largest remaining length in bytes that four length bytes can carry (section 2.2.3)."""

Fault = tuple[str, str, str]
"""What is wrong with a value: the rule's id, what was found, what is allowed."""


class FieldReader:
    """Reads a packet's body field by field; a fault raises ``MalformedPacket`` with its offset."""

    __slots__ = ("at", "body", "rule")

    def __init__(self, body: bytes, rule: str) -> None:
        """``rule`` is cited where the body ends too early or too late."""
        self.body = body
        self.at = 0
        self.rule = rule

    def take(self, size: int, what: str) -> bytes:
        """Return the next ``size`` bytes."""
        end = self.at + size
        if end > len(self.body):
            left = len(self.body) - self.at
            raise MalformedPacket(self.rule, f"{what}: {left} bytes left", f"{size} bytes", self.at)
        field = self.body[self.at : end]
        self.at = end
        return field

    def u8(self, what: str) -> int:
        """Return the next byte as a number."""
        return self.take(1, what)[0]

    def u16(self, what: str) -> int:
        """Return the next two bytes as a big-endian number (section 1.5.2)."""
        high, low = self.take(2, what)
        return high << 8 | low

    def binary(self, what: str) -> bytes:
        """Return binary data with a two-byte length before it."""
        return self.take(self.u16(f"{what}'s length"), what)

    def text(self, what: str) -> str:
        """Return a UTF-8 string with a two-byte length before it (section 1.5.3)."""
        raw = self.binary(what)
        return decode_text(raw, what, self.at - len(raw))

    def packet_id(self) -> int:
        """Return a packet identifier, which is never 0 [MQTT-2.3.1-1]."""
        packet_id = self.u16("packet identifier")
        fault = packet_id_fault(packet_id)
        if fault:
            raise MalformedPacket(*fault, self.at - 2)
        return packet_id

    @property
    def exhausted(self) -> bool:
        """Whether every byte has been read."""
        return self.at == len(self.body)

    def end(self) -> None:
        """Check that nothing follows the last field."""
        if not self.exhausted:
            left = len(self.body) - self.at
            raise MalformedPacket(self.rule, f"{left} bytes after the last field", "none", self.at)


def decode_text(raw: bytes, what: str, offset: int) -> str:
    """Return the text in ``raw``, whose first byte stands at ``offset`` of the body.

    Control characters and a leading U+FEFF are kept [MQTT-1.5.3-3, U-4].
    """
    try:
        # Python's strict UTF-8 refuses overlong forms and surrogates, as RFC 3629 does.
        text = raw.decode()  # [MQTT-1.5.3-1]
    except UnicodeDecodeError as error:
        raise MalformedPacket(
            "MQTT-1.5.3-1",
            f"{what}: {error.reason}",
            "well-formed UTF-8",
            offset + error.start,
        ) from None
    if "\0" in text:
        raise MalformedPacket("MQTT-1.5.3-2", f"{what}: U+0000", "no U+0000", offset + raw.index(0))
    return text


def encode_text(text: str, what: str) -> bytes:
    """Return ``text`` as UTF-8 with its two-byte length before it (section 1.5.3)."""
    if not isinstance(text, str):
        raise UsageError(f"{what}: found {type(text).__name__}; allowed: str")
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what}: a lone surrogate", rule="MQTT-1.5.3-1") from None
    if 0 in raw:
        raise UsageError(f"{what}: U+0000", rule="MQTT-1.5.3-2")
    return encode_binary(raw, what)


def encode_binary(raw: bytes, what: str) -> bytes:
    """Return ``raw`` with its two-byte length before it."""
    if not isinstance(raw, bytes):
        raise UsageError(f"{what}: found {type(raw).__name__}; allowed: bytes")
    if len(raw) > 65535:
        raise UsageError(f"{what}: {len(raw)} bytes; allowed: at most 65535", rule="MQTT-4.7.3-3")
    return len(raw).to_bytes(2, "big") + raw


def packet_id_fault(packet_id: int) -> Fault | None:
    """Say what is wrong with a packet identifier: it is 1 to 65535 [MQTT-2.3.1-1]."""
    if isinstance(packet_id, int) and 1 <= packet_id <= 65535:
        return None
    return ("MQTT-2.3.1-1", f"packet identifier {packet_id!r}", "1 to 65535")


def encode_packet_id(packet_id: int | None) -> bytes:
    """Return a packet identifier as two bytes."""
    fault = packet_id_fault(packet_id)  # type: ignore[arg-type]  # None is one of the faults
    if fault or packet_id is None:
        raise usage_error(fault or ("MQTT-2.3.1-1", "no packet identifier", "1 to 65535"))
    return packet_id.to_bytes(2, "big")


def encode_remaining_length(length: int) -> bytes:
    """Return ``length`` in the fewest bytes, seven bits in each (section 2.2.3)."""
    if length < 128:
        return bytes((length,))
    if length > MAX_REMAINING_LENGTH:
        raise UsageError(
            f"remaining length {length}; allowed: at most {MAX_REMAINING_LENGTH}", rule="U-2"
        )
    encoded = bytearray()
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def usage_error(fault: Fault) -> UsageError:
    """Return the error for a caller who gave a faulty value."""
    rule, found, allowed = fault
    return UsageError(f"{found}; allowed: {allowed}", rule=rule)
