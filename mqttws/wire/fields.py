"""The fields that packets are made of: two-byte integers, UTF-8 strings, binary data, lengths.

Knows how one field lies in bytes (MQTT 3.1.1 sections 1.5 and 2.2.3). Does not know any packet.
"""

from typing import Final

from ..errors import MalformedPacket, UsageError
from ..text import shown
from ._given import Given


def _probe() -> None:
    """Be looked at: a compiled function has no Python code."""


COMPILED = not hasattr(_probe, "__code__")
"""Whether this is the compiled codec; the compiler and the type checker know it beforehand."""

MAX_REMAINING_LENGTH: Final = 268_435_455
"""The largest remaining length in bytes that four length bytes can carry (section 2.2.3)."""

MAX_FIELD_SIZE: Final = 65_535
"""The largest string or binary field in bytes, as its length has two bytes (section 1.5.3)."""

Fault = tuple[str, str, str]
"""What is wrong with a value: the rule's id, what was found, what is allowed."""


class FieldReader:
    """Reads a packet's body field by field; a fault raises ``MalformedPacket`` with its offset.

    ``what`` names the field and ``rule`` is the id of the statement that asks for it.
    """

    __slots__ = ("at", "body")

    def __init__(self, body: bytes) -> None:
        self.body: bytes = body
        self.at: int = 0

    def take(self, size: int, what: str, rule: str) -> bytes:
        """Return the next ``size`` bytes."""
        end = self.at + size
        if end > len(self.body):
            left = len(self.body) - self.at
            raise MalformedPacket(rule, f"{what}: {left} bytes left", f"{size} bytes", self.at)
        field = self.body[self.at : end]
        self.at = end
        return field

    def u8(self, what: str, rule: str) -> int:
        """Return the next byte as a number."""
        return self.take(1, what, rule)[0]

    def u16(self, what: str, rule: str) -> int:
        """Return the next two bytes as a big-endian number (section 1.5.2)."""
        field = self.take(2, what, rule)
        return field[0] << 8 | field[1]

    def binary(self, what: str, rule: str) -> bytes:
        """Return binary data with a two-byte length before it."""
        return self.take(self.u16(f"{what}'s length", rule), what, rule)

    def text(self, what: str, rule: str) -> str:
        """Return a UTF-8 string with a two-byte length before it (section 1.5.3)."""
        raw = self.binary(what, rule)
        return decode_text(raw, what, self.at - len(raw))

    def packet_id(self) -> int:
        """Return a packet identifier, which is never 0 [MQTT-2.3.1-1]."""
        packet_id = self.u16("packet identifier", "MQTT-2.3.1-1")
        if not packet_id:
            raise MalformedPacket("MQTT-2.3.1-1", "packet identifier 0", "1 to 65535", self.at - 2)
        return packet_id

    @property
    def exhausted(self) -> bool:
        """Whether every byte has been read."""
        return self.at == len(self.body)

    def end(self, rule: str) -> None:
        """Check that nothing follows the last field."""
        if not self.exhausted:
            left = len(self.body) - self.at
            raise MalformedPacket(rule, f"{left} bytes after the last field", "none", self.at)


def decode_text(raw: bytes, what: str, offset: int) -> str:
    """Return the text in ``raw``, whose first byte stands at ``offset`` of the body.

    Control characters and a leading U+FEFF are kept [MQTT-1.5.3-3, U-4].
    """
    try:
        # Python's strict UTF-8 refuses overlong forms and surrogates, as RFC 3629 does.
        text = raw.decode("utf-8")  # [MQTT-1.5.3-1]
    except UnicodeDecodeError as error:
        raise MalformedPacket(
            "MQTT-1.5.3-1",
            f"{what}: {error.reason}",
            "well-formed UTF-8",
            offset + error.start,
        ) from None
    if "\0" in text:
        raise MalformedPacket(
            "MQTT-1.5.3-2", f"{what}: U+0000", "no U+0000", offset + raw.index(b"\0")
        )
    return text


def encode_text(text: Given[str], what: str, rule: str) -> bytes:
    """Return ``text`` as UTF-8 with its two-byte length before it (section 1.5.3).

    ``rule`` is the id of the statement that makes this field a string.
    """
    if not isinstance(text, str):
        raise UsageError(f"{what}: found {type(text).__name__}; allowed: str", rule=rule)
    try:
        raw = str.encode(text, "utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"{what}: found a lone surrogate; allowed: well-formed text", rule="MQTT-1.5.3-1"
        ) from None
    if "\0" in text:
        raise UsageError(f"{what}: found U+0000; allowed: no U+0000", rule="MQTT-1.5.3-2")
    return encode_binary(raw, what, rule)


def frame_text(text: str) -> bytes:
    """Return a text that is known to be right as UTF-8 with its length before it."""
    raw = str.encode(text)
    return len(raw).to_bytes(2, "big") + raw


def encode_binary(raw: Given[bytes], what: str, rule: str) -> bytes:
    """Return ``raw`` with its two-byte length before it."""
    if not isinstance(raw, bytes):
        raise UsageError(f"{what}: found {type(raw).__name__}; allowed: bytes", rule=rule)
    size = len(raw)
    if size > MAX_FIELD_SIZE:
        raise UsageError(
            f"{what}: found {size} bytes; allowed: at most {MAX_FIELD_SIZE}", rule=rule
        )
    return size.to_bytes(2, "big") + raw


def encode_packet_id(packet_id: Given[int | None]) -> bytes:
    """Return a packet identifier, 1 to 65535, as two bytes [MQTT-2.3.1-1]."""
    return encode_number(packet_id, "packet identifier", 1, 65535, "MQTT-2.3.1-1").to_bytes(
        2, "big"
    )


def encode_number(value: Given[int | None], what: str, lowest: int, highest: int, rule: str) -> int:
    """Return ``value`` if it is a whole number from ``lowest`` to ``highest``."""
    # bool is an int in Python, but packet_id=True is a mistake of the caller.
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise UsageError(f"{what}: found {shown(value)}; allowed: {lowest} to {highest}", rule=rule)
    return value


def encode_flag(value: Given[bool], what: str) -> int:
    """Return 1 for True and 0 for False; nothing else is a flag."""
    if not isinstance(value, bool):
        raise UsageError(
            f"{what}: found {shown(value)}; allowed: True or False", rule="MQTT-2.2.2-1"
        )
    return 1 if value else 0


def encode_remaining_length(length: int) -> bytes:
    """Return ``length`` in the fewest bytes, seven bits in each (section 2.2.3)."""
    if length > MAX_REMAINING_LENGTH:
        raise UsageError(
            f"remaining length: found {length}; allowed: at most {MAX_REMAINING_LENGTH}",
            rule="U-2",
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
    return UsageError(f"found {found}; allowed: {allowed}", rule=rule)
