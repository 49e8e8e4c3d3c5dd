"""PUBLISH and its four acknowledgements: an application message on its way.

They are most of all traffic. What they need for speed, and no other packet does, is marked "hot"
here and in ``framing``; each says what it saves.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from ..errors import MalformedPacket, UsageError
from ..text import shown
from ._given import Given, compiled_class
from .fields import (
    COMPILED,
    MAX_FIELD_SIZE,
    decode_text,
    encode_flag,
    encode_number,
    encode_packet_id,
    encode_remaining_length,
    frame_text,
    usage_error,
)
from .topics import topic_name_fault
from .value import Value

_pack_long = Struct(">BB").pack
_pack_u16 = Struct(">H").pack
_BYTES: Final[list[bytes]] = [bytes((number,)) for number in range(256)]


@compiled_class(acyclic=True)
class _LastTopic:
    """The topic name that was encoded last, as a device sends to one topic mostly.

    Attributes:
        topic: found right.
        field: it, with its length before it; empty until the topic has come twice in a row.
    """

    __slots__ = ("field", "topic")

    def __init__(self) -> None:
        self.topic = ""
        self.field = b""


_last: Final = _LastTopic()


def _topic_field(topic: str) -> bytes:
    """Return a topic name with its length before it; empty where something is wrong with it.

    For the compiled codec alone, in which no other thread can come between two of these lines.
    """
    known = topic is _last.topic
    if known and _last.field:
        return _last.field
    if not known and ("#" in topic or "+" in topic or "\0" in topic):
        return b""
    try:
        raw = topic.encode()
    except UnicodeEncodeError:
        return b""
    size = len(raw)
    if not 0 < size <= MAX_FIELD_SIZE:
        return b""
    field = b"%b%b%b" % (_BYTES[size >> 8], _BYTES[size & 255], raw)
    _last.topic = topic
    _last.field = field if known else b""
    return field


_pure_last: list[tuple[str, bytes]] = [("", b"")]
"""The same for the pure codec, in which another thread can come between two lines: topic and field
are read and written at once."""


def _pure_field(topic: str) -> bytes:
    if "#" in topic or "+" in topic or "\0" in topic:
        return b""
    try:
        raw = topic.encode()
    except UnicodeEncodeError:
        return b""
    if not 0 < len(raw) <= MAX_FIELD_SIZE:
        return b""
    field = _pack_u16(len(raw)) + raw
    _pure_last[0] = topic, field
    return field


def _join_publish(first_byte: int, field: bytes, packet_id: int, payload: bytes) -> bytes:
    """Return a PUBLISH of checked parts with at most 16383 bytes behind its length.

    Hot: bytes that are ready made and one format, which the compiler turns into a single
    allocation, are 70 ns faster than structs and a join.
    """
    length = len(field) + len(payload) + (2 if packet_id else 0)
    more = b""
    if length > 127:
        more = _BYTES[length >> 7]
        length = length & 127 | 128
    if packet_id:
        return b"%b%b%b%b%b%b%b" % (
            _BYTES[first_byte],
            _BYTES[length],
            more,
            field,
            _BYTES[packet_id >> 8],
            _BYTES[packet_id & 255],
            payload,
        )
    return b"%b%b%b%b%b" % (_BYTES[first_byte], _BYTES[length], more, field, payload)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class Publish(Value):
    """An application message on its way (section 3.3).

    Attributes:
        topic: topic name, at most 65535 bytes of UTF-8, no wildcards.
        payload: the message, any bytes.
        qos: 0, 1 or 2.
        retain: kept by the server for later subscribers, or sent because it was.
        dup: whether this is sent again; never with QoS 0.
        packet_id: 1 to 65535 with QoS 1 and 2; None with QoS 0.
    """

    topic: Given[str]
    payload: Given[bytes] = b""
    qos: Given[int] = 0
    retain: Given[bool] = False
    dup: Given[bool] = False
    packet_id: Given[int | None] = None

    # Hot: a generated __init__ is not compiled. Uncompiled, sealed.py puts another in its place,
    # so that coverage never sees this one.
    def __init__(  # noqa: PLR0917  # pragma: no cover  # the fields, in their order
        self,
        topic: Given[str],
        payload: Given[bytes] = b"",
        qos: Given[int] = 0,
        retain: Given[bool] = False,
        dup: Given[bool] = False,
        packet_id: Given[int | None] = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self.packet_id = packet_id

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        # Hot: a packet of up to 16 KiB in which nothing is wrong or rare, in one pass: 480 ns
        # instead of 1500 interpreted, 70 instead of 550 compiled. The careful way below encodes
        # all others, and says what is wrong.
        topic = self.topic
        payload = self.payload
        qos = self.qos
        packet_id = self.packet_id
        if (
            type(topic) is str
            and type(payload) is bytes
            and type(qos) is int
            and self.retain is False
            and self.dup is False
        ):
            if qos == 0 and packet_id is None:
                first_byte, rest = 0x30, 0
            elif 1 <= qos <= 2 and type(packet_id) is int and 1 <= packet_id <= 65535:
                first_byte, rest = 0x30 + 2 * qos, 2
            else:
                return self._encode_carefully()
            if COMPILED:
                field = _topic_field(topic)
                if field and len(field) + len(payload) < 16382:
                    return _join_publish(first_byte, field, packet_id or 0, payload)
            else:
                known, field = _pure_last[0]
                if topic is not known:
                    field = _pure_field(topic)
                length = len(field) + len(payload) + rest
                if field and length < 16384:
                    if length < 128:
                        start = _BYTES[length]
                    else:
                        start = _pack_long(length & 127 | 128, length >> 7)
                    if rest:
                        number = _pack_u16(packet_id)
                        return b"".join((_BYTES[first_byte], start, field, number, payload))
                    return b"".join((_BYTES[first_byte], start, field, payload))
        return self._encode_carefully()

    def _encode_carefully(self) -> bytes:
        """Return the packet's bytes, or say which rule it breaks."""
        fault = topic_name_fault(self.topic)
        if fault:
            raise usage_error(fault)
        payload = self.payload
        if not isinstance(payload, bytes):
            raise UsageError(
                f"payload: found {type(payload).__name__}; allowed: bytes", rule="U-10"
            )
        qos = encode_number(self.qos, "QoS", 0, 2, "MQTT-3.3.1-4")
        dup = encode_flag(self.dup, "dup")
        first_byte = 0x30 | dup << 3 | qos << 1 | encode_flag(self.retain, "retain")
        head = frame_text(self.topic)
        if qos:
            head += encode_packet_id(self.packet_id)
        elif self.packet_id is not None:
            raise UsageError(
                f"found packet identifier {shown(self.packet_id)} with QoS 0; allowed: none",
                rule="MQTT-2.3.1-5",
            )
        elif dup:
            raise UsageError("found DUP with QoS 0; allowed: no DUP", rule="MQTT-3.3.1-2")
        length = encode_remaining_length(len(head) + len(payload))
        return b"".join((bytes((first_byte,)), length, head, payload))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body; ``flags`` are the first byte's low four bits, already checked."""
        at = 2 + (body[0] << 8 | body[1])
        if at > len(body):
            raise MalformedPacket(
                "MQTT-3.3.2-1", f"topic name: {len(body) - 2} bytes left", f"{at - 2} bytes", 2
            )
        topic = decode_text(body[2:at], "topic name", 2)
        fault = topic_name_fault(topic)
        if fault:
            rule, found, allowed = fault
            raise MalformedPacket(rule, found, allowed, 2)
        qos = flags >> 1 & 3
        packet_id = None
        if qos:
            if at + 2 > len(body):
                raise MalformedPacket(
                    "MQTT-2.3.1-1", f"packet identifier: {len(body) - at} bytes left", "2 bytes", at
                )
            packet_id = body[at] << 8 | body[at + 1]
            if not packet_id:
                raise MalformedPacket("MQTT-2.3.1-1", "packet identifier 0", "1 to 65535", at)
            at += 2
        return cls(topic, body[at:], qos, bool(flags & 1), bool(flags & 8), packet_id)


def acknowledge(head: int, packet_id: Given[int]) -> bytes:
    """Return the four bytes of a packet that says no more than a packet identifier.

    ``head`` is the first byte and the remaining length, 2, in front of two empty bytes.
    """
    # Hot: 85 ns instead of 200 interpreted, 15 instead of 60 compiled.
    if type(packet_id) is int and 1 <= packet_id <= 65535:
        return (head | packet_id).to_bytes(4, "big")
    return (head >> 16).to_bytes(2, "big") + encode_packet_id(packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class Acknowledgement(Value):
    """The common part of PUBACK, PUBREC, PUBREL, PUBCOMP and UNSUBACK: a packet identifier.

    Attributes:
        packet_id: that of the packet it answers, 1 to 65535.
    """

    packet_id: Given[int]

    # Hot: a generated __init__ is not compiled. Uncompiled, sealed.py puts another in its place,
    # so that coverage never sees this one.
    def __init__(self, packet_id: Given[int]) -> None:  # pragma: no cover
        self.packet_id = packet_id

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body of two bytes."""
        packet_id = body[0] << 8 | body[1]
        if not packet_id:
            raise MalformedPacket("MQTT-2.3.1-1", "packet identifier 0", "1 to 65535", 0)
        return cls(packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubAck(Acknowledgement):
    """A QoS 1 PUBLISH has arrived (section 3.4)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return acknowledge(0x40020000, self.packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubRec(Acknowledgement):
    """A QoS 2 PUBLISH has arrived; first of three answers (section 3.5)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return acknowledge(0x50020000, self.packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubRel(Acknowledgement):
    """The sender of a QoS 2 PUBLISH will not send it again (section 3.6)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return acknowledge(0x62020000, self.packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubComp(Acknowledgement):
    """A QoS 2 exchange is complete (section 3.7)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return acknowledge(0x70020000, self.packet_id)
