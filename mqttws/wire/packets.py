"""The 14 control packets of MQTT 3.1.1: fields, encode and decode side by side.

A packet is a value: built once, never changed, checked at the two doors. ``encode`` raises
``UsageError`` and gives no bytes for an object that breaks a rule; ``decode`` takes the body (what
follows the fixed header) and raises ``MalformedPacket``. First byte and remaining length are read
by ``framing``, from the table at the end of this file. Numbers of sections are those of the
standard (OASIS, MQTT Version 3.1.1 with Errata 01).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from ..errors import MalformedPacket, UsageError
from .fields import (
    MAX_REMAINING_LENGTH,
    FieldReader,
    decode_text,
    encode_binary,
    encode_packet_id,
    encode_remaining_length,
    encode_text,
    packet_id_fault,
    usage_error,
)
from .topics import topic_filter_fault, topic_name_fault

PROTOCOL_NAME = "MQTT"
PROTOCOL_LEVEL = 4
"""3.1.1 calls itself level 4 (section 3.1.2.2)."""

REFUSED = 0x80
"""The SUBACK return code of a refused topic filter (section 3.9.3)."""


def _frame(first_byte: int, body: bytes) -> bytes:
    return bytes((first_byte,)) + encode_remaining_length(len(body)) + body


def _qos_of(value: int, what: str) -> int:
    if not isinstance(value, int) or not 0 <= value <= 2:
        raise UsageError(f"{what} {value!r}; allowed: 0, 1 or 2", rule="MQTT-3.3.1-4")
    return value


@dataclass(slots=True)
class Will:
    """The message that the server publishes when the client is lost (section 3.1.2.5).

    Attributes:
        topic: topic name, at most 65535 bytes of UTF-8.
        payload: 0 to 65535 bytes.
        qos: 0, 1 or 2.
        retain: whether the server keeps it for later subscribers.
    """

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False


@dataclass(slots=True)
class Connect:
    """A client asks for a connection (section 3.1).

    Attributes:
        client_id: at most 65535 bytes of UTF-8; empty only with ``clean_session``.
        username: at most 65535 bytes of UTF-8; None leaves it out, which differs from empty.
        password: 0 to 65535 bytes; None leaves it out; needs a username. Never in the ``repr``.
        clean_session: whether both sides forget the earlier session.
        keep_alive: seconds, 0 to 65535; 0 turns the mechanism off.
        will: what the server publishes when the client is lost.
    """

    MIN_SIZE: ClassVar[int] = 12
    MAX_SIZE: ClassVar[int] = MAX_REMAINING_LENGTH

    client_id: str
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    clean_session: bool = True
    keep_alive: int = 60
    will: Will | None = None

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        if not self.client_id and not self.clean_session:
            raise UsageError(
                "an empty ClientId with CleanSession 0; allowed: only with CleanSession 1",
                rule="MQTT-3.1.3-7",
            )
        if self.password is not None and self.username is None:
            raise UsageError("a password without a user name", rule="MQTT-3.1.2-22")
        if not isinstance(self.keep_alive, int) or not 0 <= self.keep_alive <= 65535:
            raise UsageError(f"keep alive {self.keep_alive!r}; allowed: 0 to 65535 seconds")
        flags = 0x02 if self.clean_session else 0
        payload = encode_text(self.client_id, "ClientId")
        if self.will is not None:
            fault = topic_name_fault(self.will.topic)
            if fault:
                raise usage_error(fault)
            flags |= 0x04 | _qos_of(self.will.qos, "will QoS") << 3  # [MQTT-3.1.2-14]
            flags |= 0x20 if self.will.retain else 0
            payload += encode_text(self.will.topic, "will topic")
            payload += encode_binary(self.will.payload, "will message")
        if self.username is not None:
            flags |= 0x80
            payload += encode_text(self.username, "user name")
        if self.password is not None:
            flags |= 0x40
            payload += encode_binary(self.password, "password")
        head = encode_text(PROTOCOL_NAME, "protocol name") + bytes((PROTOCOL_LEVEL, flags))
        return _frame(0x10, head + self.keep_alive.to_bytes(2, "big") + payload)

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body; ``flags`` are the first byte's low four bits, already checked.

        A protocol level other than 4 is cited as ``MQTT-3.1.2-2``, so that a server can answer it.
        """
        reader = FieldReader(body, "MQTT-3.1.3-1")
        name = reader.binary("protocol name")
        if name != b"MQTT":
            raise MalformedPacket("MQTT-3.1.2-1", f"protocol name {name!r}", "b'MQTT'", 2)
        level = reader.u8("protocol level")
        if level != PROTOCOL_LEVEL:
            raise MalformedPacket("MQTT-3.1.2-2", f"protocol level {level}", "4", 6)
        bits = reader.u8("connect flags")
        _check_connect_flags(bits)
        keep_alive = reader.u16("keep alive")
        client_id = reader.text("ClientId")
        will = None
        if bits & 0x04:
            topic = reader.text("will topic")
            fault = topic_name_fault(topic)
            if fault:
                raise MalformedPacket(*fault, reader.at - len(topic.encode()))
            will = Will(topic, reader.binary("will message"), bits >> 3 & 3, bool(bits & 0x20))
        username = reader.text("user name") if bits & 0x80 else None
        password = reader.binary("password") if bits & 0x40 else None
        reader.end()
        return cls(client_id, username, password, bool(bits & 0x02), keep_alive, will)


def _check_connect_flags(bits: int) -> None:
    """Refuse the combinations of connect flags that section 3.1.2 forbids."""
    found = f"connect flags {bits:#04x}"
    if bits & 0x01:
        raise MalformedPacket("MQTT-3.1.2-3", found, "reserved bit 0 is 0", 7)
    if not bits & 0x04:
        if bits & 0x18:
            raise MalformedPacket("MQTT-3.1.2-13", found, "will QoS 0 without a will", 7)
        if bits & 0x20:
            raise MalformedPacket("MQTT-3.1.2-15", found, "will retain 0 without a will", 7)
    elif bits & 0x18 == 0x18:
        raise MalformedPacket("MQTT-3.1.2-14", found, "will QoS 0, 1 or 2", 7)
    if bits & 0xC0 == 0x40:
        raise MalformedPacket("MQTT-3.1.2-22", found, "a password only with a user name", 7)


@dataclass(slots=True)
class ConnAck:
    """The server's answer to CONNECT (section 3.2).

    Attributes:
        session_present: whether the server has kept this client's session; only with code 0.
        return_code: 0 accepted, 1 protocol level, 2 ClientId, 3 server unavailable, 4 bad user
            name or password, 5 not authorized.
    """

    MIN_SIZE: ClassVar[int] = 2
    MAX_SIZE: ClassVar[int] = 2

    session_present: bool = False
    return_code: int = 0

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        if not isinstance(self.return_code, int) or not 0 <= self.return_code <= 5:
            raise UsageError(f"CONNACK code {self.return_code!r}; allowed: 0 to 5", rule="U-6")
        if self.session_present and self.return_code:
            raise UsageError("session present with a refusal", rule="MQTT-3.2.2-4")
        return bytes((0x20, 2, bool(self.session_present), self.return_code))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body of two bytes."""
        acknowledge_flags, return_code = body
        if acknowledge_flags > 1:
            raise MalformedPacket("U-5", f"flags {acknowledge_flags:#04x}", "0 or 1", 0)
        if return_code > 5:
            raise MalformedPacket("U-6", f"CONNACK code {return_code}", "0 to 5", 1)
        if acknowledge_flags and return_code:
            raise MalformedPacket(
                "MQTT-3.2.2-4", f"session present with code {return_code}", "session present 0", 0
            )
        return cls(bool(acknowledge_flags), return_code)


@dataclass(slots=True)
class Publish:
    """An application message on its way (section 3.3).

    Attributes:
        topic: topic name, at most 65535 bytes of UTF-8, no wildcards.
        payload: the message, any bytes.
        qos: 0, 1 or 2.
        retain: kept by the server for later subscribers, or sent because it was.
        dup: whether this is sent again; never with QoS 0.
        packet_id: 1 to 65535 with QoS 1 and 2; None with QoS 0.
    """

    MIN_SIZE: ClassVar[int] = 3
    MAX_SIZE: ClassVar[int] = MAX_REMAINING_LENGTH

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        if not isinstance(self.payload, bytes):
            raise UsageError(f"payload: found {type(self.payload).__name__}; allowed: bytes")
        body = encode_text(self.topic, "topic name")
        fault = topic_name_fault(self.topic)
        if fault:
            raise usage_error(fault)
        if _qos_of(self.qos, "QoS"):
            body += encode_packet_id(self.packet_id)
        elif self.packet_id is not None:
            raise UsageError("a packet identifier with QoS 0", rule="MQTT-2.3.1-5")
        elif self.dup:
            raise UsageError("DUP with QoS 0", rule="MQTT-3.3.1-2")
        flags = (0x08 if self.dup else 0) | self.qos << 1 | (1 if self.retain else 0)
        length = encode_remaining_length(len(body) + len(self.payload))
        return b"".join((bytes((0x30 | flags,)), length, body, self.payload))

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
            raise MalformedPacket(*fault, 2)
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


class _PacketIdOnly:
    """What PUBACK, PUBREC, PUBREL, PUBCOMP and UNSUBACK share: a packet identifier and no more."""

    __slots__ = ()

    FIRST_BYTE: ClassVar[int]
    MIN_SIZE: ClassVar[int] = 2
    MAX_SIZE: ClassVar[int] = 2

    packet_id: int

    def __init__(self, packet_id: int) -> None:
        raise NotImplementedError

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        packet_id = self.packet_id
        fault = packet_id_fault(packet_id)
        if fault:
            raise usage_error(fault)
        return bytes((self.FIRST_BYTE, 2, packet_id >> 8, packet_id & 255))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body of two bytes."""
        packet_id = body[0] << 8 | body[1]
        if not packet_id:
            raise MalformedPacket("MQTT-2.3.1-1", "packet identifier 0", "1 to 65535", 0)
        return cls(packet_id)


@dataclass(slots=True)
class PubAck(_PacketIdOnly):
    """A QoS 1 PUBLISH has arrived (section 3.4).

    Attributes:
        packet_id: that of the PUBLISH, 1 to 65535.
    """

    FIRST_BYTE: ClassVar[int] = 0x40
    packet_id: int


@dataclass(slots=True)
class PubRec(_PacketIdOnly):
    """A QoS 2 PUBLISH has arrived; first of three answers (section 3.5).

    Attributes:
        packet_id: that of the PUBLISH, 1 to 65535.
    """

    FIRST_BYTE: ClassVar[int] = 0x50
    packet_id: int


@dataclass(slots=True)
class PubRel(_PacketIdOnly):
    """The sender of a QoS 2 PUBLISH will not send it again (section 3.6).

    Attributes:
        packet_id: that of the PUBLISH, 1 to 65535.
    """

    FIRST_BYTE: ClassVar[int] = 0x62  # [MQTT-3.6.1-1]
    packet_id: int


@dataclass(slots=True)
class PubComp(_PacketIdOnly):
    """A QoS 2 exchange is complete (section 3.7).

    Attributes:
        packet_id: that of the PUBLISH, 1 to 65535.
    """

    FIRST_BYTE: ClassVar[int] = 0x70
    packet_id: int


@dataclass(slots=True)
class Subscription:
    """One wish of a SUBSCRIBE: a topic filter and the highest QoS to send for it (section 3.8.3).

    Attributes:
        topic_filter: at most 65535 bytes of UTF-8; may hold wildcards.
        qos: 0, 1 or 2.
    """

    topic_filter: str
    qos: int = 0


@dataclass(slots=True)
class Subscribe:
    """A client asks for messages (section 3.8).

    Attributes:
        packet_id: 1 to 65535, answered in SUBACK.
        subscriptions: one or more.
    """

    MIN_SIZE: ClassVar[int] = 6
    MAX_SIZE: ClassVar[int] = MAX_REMAINING_LENGTH

    packet_id: int
    subscriptions: list[Subscription]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        if not self.subscriptions:
            raise UsageError("SUBSCRIBE without a topic filter", rule="MQTT-3.8.3-3")
        parts = [encode_packet_id(self.packet_id)]
        for subscription in self.subscriptions:
            parts.append(_encode_filter(subscription.topic_filter))
            parts.append(bytes((_qos_of(subscription.qos, "requested QoS"),)))
        return _frame(0x82, b"".join(parts))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body."""
        reader = FieldReader(body, "MQTT-3.8.3-3")
        packet_id = reader.packet_id()
        subscriptions: list[Subscription] = []
        while not reader.exhausted or not subscriptions:
            topic_filter = _read_filter(reader)
            qos = reader.u8("requested QoS")
            if qos > 2:
                raise MalformedPacket(
                    "MQTT-3.8.3-4", f"requested QoS {qos:#04x}", "0, 1 or 2", reader.at - 1
                )
            subscriptions.append(Subscription(topic_filter, qos))
        return cls(packet_id, subscriptions)


@dataclass(slots=True)
class SubAck:
    """The server's answer to SUBSCRIBE (section 3.9).

    Attributes:
        packet_id: that of the SUBSCRIBE.
        return_codes: for each filter, in order, the granted QoS 0, 1 or 2, or 0x80 for refused.
    """

    MIN_SIZE: ClassVar[int] = 3
    MAX_SIZE: ClassVar[int] = MAX_REMAINING_LENGTH

    packet_id: int
    return_codes: list[int]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        if not self.return_codes:
            raise UsageError("SUBACK without a return code", rule="MQTT-3.8.4-5")
        for code in self.return_codes:
            if code not in (0, 1, 2, REFUSED):
                raise UsageError(
                    f"SUBACK code {code!r}; allowed: 0, 1, 2, 0x80", rule="MQTT-3.9.3-2"
                )
        return _frame(0x90, encode_packet_id(self.packet_id) + bytes(self.return_codes))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body."""
        reader = FieldReader(body, "MQTT-3.8.4-5")
        packet_id = reader.packet_id()
        return_codes = list(body[2:])
        for at, code in enumerate(return_codes, 2):
            if code not in (0, 1, 2, REFUSED):
                raise MalformedPacket(
                    "MQTT-3.9.3-2", f"SUBACK code {code:#04x}", "0, 1, 2 or 0x80", at
                )
        return cls(packet_id, return_codes)


@dataclass(slots=True)
class Unsubscribe:
    """A client takes wishes back (section 3.10).

    Attributes:
        packet_id: 1 to 65535, answered in UNSUBACK.
        topic_filters: one or more, spelled exactly as they were subscribed.
    """

    MIN_SIZE: ClassVar[int] = 5
    MAX_SIZE: ClassVar[int] = MAX_REMAINING_LENGTH

    packet_id: int
    topic_filters: list[str]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        if isinstance(self.topic_filters, str):
            raise UsageError("topic filters: found str; allowed: a list of str")
        if not self.topic_filters:
            raise UsageError("UNSUBSCRIBE without a topic filter", rule="MQTT-3.10.3-2")
        filters = b"".join(map(_encode_filter, self.topic_filters))
        return _frame(0xA2, encode_packet_id(self.packet_id) + filters)

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body."""
        reader = FieldReader(body, "MQTT-3.10.3-2")
        packet_id = reader.packet_id()
        topic_filters: list[str] = []
        while not reader.exhausted or not topic_filters:
            topic_filters.append(_read_filter(reader))
        return cls(packet_id, topic_filters)


def _encode_filter(topic_filter: str) -> bytes:
    field = encode_text(topic_filter, "topic filter")
    fault = topic_filter_fault(topic_filter)
    if fault:
        raise usage_error(fault)
    return field


def _read_filter(reader: FieldReader) -> str:
    start = reader.at + 2
    topic_filter = reader.text("topic filter")
    fault = topic_filter_fault(topic_filter)
    if fault:
        raise MalformedPacket(*fault, start)
    return topic_filter


@dataclass(slots=True)
class UnsubAck(_PacketIdOnly):
    """The server's answer to UNSUBSCRIBE (section 3.11).

    Attributes:
        packet_id: that of the UNSUBSCRIBE, 1 to 65535.
    """

    FIRST_BYTE: ClassVar[int] = 0xB0
    packet_id: int


class _Bare:
    """What PINGREQ, PINGRESP and DISCONNECT share: they say nothing but their name."""

    __slots__ = ()

    FIRST_BYTE: ClassVar[int]
    MIN_SIZE: ClassVar[int] = 0
    MAX_SIZE: ClassVar[int] = 0

    def encode(self) -> bytes:
        """Return the packet's two bytes."""
        return bytes((self.FIRST_BYTE, 0))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the empty body."""
        return cls()


@dataclass(slots=True)
class PingReq(_Bare):
    """The client is alive and asks whether the server is (section 3.12)."""

    FIRST_BYTE: ClassVar[int] = 0xC0


@dataclass(slots=True)
class PingResp(_Bare):
    """The server is alive (section 3.13)."""

    FIRST_BYTE: ClassVar[int] = 0xD0


@dataclass(slots=True)
class Disconnect(_Bare):
    """The client leaves on purpose; its will is dropped (section 3.14)."""

    FIRST_BYTE: ClassVar[int] = 0xE0


Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
)
"""Any control packet."""

PACKET_TYPES: dict[int, type[Packet]] = {
    0x10: Connect,
    0x20: ConnAck,
    **{
        # Every flag combination but QoS 3 [MQTT-3.3.1-4] and DUP with QoS 0 [MQTT-3.3.1-2].
        0x30 | flags: Publish
        for flags in range(16)
        if flags & 6 != 6 and not (flags & 8 and not flags & 6)
    },
    0x40: PubAck,
    0x50: PubRec,
    0x62: PubRel,
    0x70: PubComp,
    0x82: Subscribe,
    0x90: SubAck,
    0xA2: Unsubscribe,
    0xB0: UnsubAck,
    0xC0: PingReq,
    0xD0: PingResp,
    0xE0: Disconnect,
}
"""Which packet a first byte announces; a byte that is not here announces none [MQTT-2.2.2-1]."""
