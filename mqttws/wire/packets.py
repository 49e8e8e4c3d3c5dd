"""The 14 control packets of MQTT 3.1.1: fields, encode and decode side by side.

A packet is a value: built once, never changed, checked at the two doors. ``encode`` raises
``UsageError`` and gives no bytes for an object that breaks a rule; ``decode`` takes the body (what
follows the fixed header) and raises ``MalformedPacket``. First byte and remaining length are read
by ``framing``, from the table at the end of this file. Numbers of sections are those of the
standard (OASIS, MQTT Version 3.1.1 with Errata 01).

PUBLISH and its acknowledgements are most of all traffic. What they need for speed, and no other
packet does, is marked "hot" here and in ``framing``; each says what it saves.
"""

from dataclasses import dataclass, field, fields
from struct import Struct
from typing import Any, Final, Self

from ..errors import MalformedPacket, UsageError
from ..text import shown
from .fields import (
    COMPILED,
    MAX_REMAINING_LENGTH,
    FieldReader,
    decode_text,
    encode_binary,
    encode_flag,
    encode_number,
    encode_packet_id,
    encode_remaining_length,
    encode_text,
    frame_text,
    usage_error,
)
from .given import Given, compiled_class
from .topics import topic_filter_fault, topic_name_fault

PROTOCOL_LEVEL: Final = 4
"""3.1.1 calls itself level 4 (section 3.1.2.2)."""

REFUSED: Final = 0x80
"""The SUBACK return code of a refused topic filter (section 3.9.3)."""


def _frame(first_byte: int, body: bytes) -> bytes:
    return bytes((first_byte,)) + encode_remaining_length(len(body)) + body


@compiled_class(acyclic=True)
class Value:
    """What makes a packet a value: it is copied and pickled by its fields, compiled or not."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), tuple(getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]  # every subclass is a dataclass


@dataclass(slots=True)
class Will(Value):
    """The message that the server publishes when the client is lost (section 3.1.2.5).

    Attributes:
        topic: topic name, at most 65535 bytes of UTF-8, no wildcards.
        payload: 0 to 65535 bytes.
        qos: 0, 1 or 2.
        retain: whether the server keeps it for later subscribers.
    """

    topic: Given[str]
    payload: Given[bytes] = b""
    qos: Given[int] = 0
    retain: Given[bool] = False


@dataclass(slots=True)
class Connect(Value):
    """A client asks for a connection (section 3.1).

    Attributes:
        client_id: at most 65535 bytes of UTF-8; empty only with ``clean_session``.
        username: at most 65535 bytes of UTF-8; None leaves it out, which differs from empty.
        password: 0 to 65535 bytes; None leaves it out; needs a username. Never in the ``repr``.
        clean_session: whether both sides forget the earlier session.
        keep_alive: seconds, 0 to 65535; 0 turns the mechanism off.
        will: what the server publishes when the client is lost.
    """

    client_id: Given[str]
    username: Given[str | None] = None
    password: Given[bytes | None] = field(default=None, repr=False)
    clean_session: Given[bool] = True
    keep_alive: Given[int] = 60
    will: Given[Will | None] = None

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        flags = encode_flag(self.clean_session, "clean session") << 1
        payload = encode_text(self.client_id, "ClientId", "MQTT-3.1.3-4")
        if not self.client_id and not self.clean_session:
            raise UsageError(
                "found an empty ClientId with CleanSession 0; allowed: only with CleanSession 1",
                rule="MQTT-3.1.3-7",
            )
        if self.will is not None:
            will_flags, fields_of_will = _encode_will(self.will)
            flags |= will_flags
            payload += fields_of_will
        if self.username is not None:
            flags |= 0x80
            payload += encode_text(self.username, "user name", "MQTT-3.1.3-11")
        elif self.password is not None:
            raise UsageError(
                "found a password without a user name; allowed: only with one",
                rule="MQTT-3.1.2-22",
            )
        if self.password is not None:
            flags |= 0x40
            payload += encode_binary(self.password, "password", "U-9")
        keep_alive = encode_number(self.keep_alive, "keep alive in seconds", 0, 65535, "")
        head = b"\x00\x04MQTT" + bytes((PROTOCOL_LEVEL, flags)) + keep_alive.to_bytes(2, "big")
        return _frame(0x10, head + payload)

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body; ``flags`` are the first byte's low four bits, already checked.

        A protocol level other than 4 is cited as ``MQTT-3.1.2-2``, so that a server can answer it.
        """
        reader = FieldReader(body)
        name = reader.binary("protocol name", "MQTT-3.1.2-1")
        if name != b"MQTT":
            raise MalformedPacket("MQTT-3.1.2-1", f"protocol name {shown(name[:6])}", "b'MQTT'", 2)
        level = reader.u8("protocol level", "MQTT-3.1.2-2")
        if level != PROTOCOL_LEVEL:
            raise MalformedPacket("MQTT-3.1.2-2", f"protocol level {level}", "4", 6)
        bits = reader.u8("connect flags", "MQTT-3.1.2-3")
        _check_connect_flags(bits)
        keep_alive = reader.u16("keep alive", "MQTT-3.1.3-3")
        client_id = reader.text("ClientId", "MQTT-3.1.3-3")
        will = _read_will(reader, bits) if bits & 0x04 else None
        username = reader.text("user name", "MQTT-3.1.2-19") if bits & 0x80 else None
        password = reader.binary("password", "MQTT-3.1.2-21") if bits & 0x40 else None
        # Fields whose flags are 0 are not there [MQTT-3.1.2-11, MQTT-3.1.2-18, MQTT-3.1.2-20].
        reader.end("MQTT-3.1.3-1")
        return cls(client_id, username, password, bool(bits & 0x02), keep_alive, will)


def _encode_will(will: Given[Will]) -> tuple[int, bytes]:
    """Return the will's connect flags and its fields [MQTT-3.1.2-9]."""
    if not isinstance(will, Will):
        raise UsageError(f"will: found {type(will).__name__}; allowed: Will", rule="MQTT-3.1.2-9")
    fault = topic_name_fault(will.topic)
    if fault:
        rule, found, allowed = fault
        raise UsageError(
            f"will: found {found}; allowed: {allowed}",
            rule="MQTT-4.7.1-1" if rule == "MQTT-3.3.2-2" else rule,
        )
    qos = encode_number(will.qos, "will QoS", 0, 2, "MQTT-3.1.2-14")
    flags = 0x04 | qos << 3 | encode_flag(will.retain, "will retain") << 5
    return flags, frame_text(will.topic) + encode_binary(will.payload, "will message", "U-8")


def _read_will(reader: FieldReader, bits: int) -> Will:
    start = reader.at + 2
    topic = reader.text("will topic", "MQTT-3.1.2-9")
    fault = topic_name_fault(topic)
    if fault:
        rule, found, allowed = fault
        raise MalformedPacket(
            "MQTT-4.7.1-1" if rule == "MQTT-3.3.2-2" else rule, f"will: {found}", allowed, start
        )
    payload = reader.binary("will message", "MQTT-3.1.2-9")
    return Will(topic, payload, bits >> 3 & 3, bool(bits & 0x20))


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
class ConnAck(Value):
    """The server's answer to CONNECT (section 3.2).

    Attributes:
        session_present: whether the server has kept this client's session; only with code 0.
        return_code: 0 accepted, 1 protocol level, 2 ClientId, 3 server unavailable, 4 bad user
            name or password, 5 not authorized.
    """

    session_present: Given[bool] = False
    return_code: Given[int] = 0

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        session_present = encode_flag(self.session_present, "session present")
        return_code = encode_number(self.return_code, "CONNACK code", 0, 5, "U-6")
        if session_present and return_code:
            raise UsageError(
                f"found session present with code {return_code}; allowed: only with code 0",
                rule="MQTT-3.2.2-4",
            )
        return bytes((0x20, 2, session_present, return_code))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body of two bytes."""
        acknowledge_flags = body[0]
        return_code = body[1]
        if acknowledge_flags > 1:
            raise MalformedPacket(
                "U-5", f"CONNACK acknowledge flags {acknowledge_flags:#04x}", "0 or 1", 0
            )
        if return_code > 5:
            raise MalformedPacket("U-6", f"CONNACK code {return_code}", "0 to 5", 1)
        if acknowledge_flags and return_code:
            raise MalformedPacket(
                "MQTT-3.2.2-4", f"session present with code {return_code}", "session present 0", 0
            )
        return cls(bool(acknowledge_flags), return_code)


_pack_start = Struct(">BBH").pack
_pack_u16 = Struct(">H").pack
_BYTES: Final[list[bytes]] = [bytes((number,)) for number in range(256)]


def _join_publish(
    first_byte: int, length: int, topic: bytes, packet_id: int, payload: bytes
) -> bytes:
    """Return a PUBLISH of checked parts; ``length`` is below 128, ``packet_id`` 0 with QoS 0.

    Hot, compiled: bytes that are ready made and one format, which the compiler turns into a single
    allocation, are 70 ns faster than structs and a join; interpreted they are 90 ns slower.
    """
    if packet_id:
        return b"%b%b\0%b%b%b%b%b" % (
            _BYTES[first_byte],
            _BYTES[length],
            _BYTES[len(topic)],
            topic,
            _BYTES[packet_id >> 8],
            _BYTES[packet_id & 255],
            payload,
        )
    return b"%b%b\0%b%b%b" % (
        _BYTES[first_byte],
        _BYTES[length],
        _BYTES[len(topic)],
        topic,
        payload,
    )


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

    # Hot: a generated __init__ is not compiled.
    def __init__(  # noqa: PLR0917  # the fields, in their order
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
        # Hot: a short packet in which nothing is wrong or rare, in one pass: 480 ns instead of
        # 1500 interpreted, 200 instead of 550 compiled. Whatever else it is, the careful way
        # below finds out.
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
            and not ("#" in topic or "+" in topic or "\0" in topic)
        ):
            try:
                raw = topic.encode()
            except UnicodeEncodeError:
                raw = b""
            size = len(raw)
            length = size + len(payload) + 2
            if size and length < 126:
                if qos == 0 and packet_id is None:
                    if COMPILED:
                        return _join_publish(0x30, length, raw, 0, payload)
                    return b"".join((_pack_start(0x30, length, size), raw, payload))
                if 1 <= qos <= 2 and type(packet_id) is int and 1 <= packet_id <= 65535:
                    first_byte = 0x30 + 2 * qos
                    length += 2
                    if COMPILED:
                        return _join_publish(first_byte, length, raw, packet_id, payload)
                    start = _pack_start(first_byte, length, size)
                    return b"".join((start, raw, _pack_u16(packet_id), payload))
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


def _acknowledge(first_byte: int, packet_id: Given[int]) -> bytes:
    """Return the four bytes of a packet that says no more than a packet identifier."""
    # Hot: 110 ns instead of 200 interpreted, 20 instead of 60 compiled.
    if type(packet_id) is int and 1 <= packet_id <= 65535:
        return (first_byte << 24 | 2 << 16 | packet_id).to_bytes(4, "big")
    return bytes((first_byte, 2)) + encode_packet_id(packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class Acknowledgement(Value):
    """What PUBACK, PUBREC, PUBREL, PUBCOMP and UNSUBACK share: a packet identifier and no more.

    Attributes:
        packet_id: that of the packet it answers, 1 to 65535.
    """

    packet_id: Given[int]

    # Hot: a generated __init__ is not compiled.
    def __init__(self, packet_id: Given[int]) -> None:
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
        return _acknowledge(0x40, self.packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubRec(Acknowledgement):
    """A QoS 2 PUBLISH has arrived; first of three answers (section 3.5)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return _acknowledge(0x50, self.packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubRel(Acknowledgement):
    """The sender of a QoS 2 PUBLISH will not send it again (section 3.6)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return _acknowledge(0x62, self.packet_id)


@compiled_class(acyclic=True, free_list_len=1)
@dataclass(init=False, slots=True)
class PubComp(Acknowledgement):
    """A QoS 2 exchange is complete (section 3.7)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return _acknowledge(0x70, self.packet_id)


@dataclass(slots=True)
class Subscription(Value):
    """One wish of a SUBSCRIBE: a topic filter and the highest QoS to send for it (section 3.8.3).

    Attributes:
        topic_filter: at most 65535 bytes of UTF-8; may hold wildcards.
        qos: 0, 1 or 2.
    """

    topic_filter: Given[str]
    qos: Given[int] = 0


@dataclass(slots=True)
class Subscribe(Value):
    """A client asks for messages (section 3.8).

    Attributes:
        packet_id: 1 to 65535, answered in SUBACK.
        subscriptions: one or more.
    """

    packet_id: Given[int]
    subscriptions: Given[list[Subscription]]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        parts = [encode_packet_id(self.packet_id)]
        for subscription in _entries(self.subscriptions, "subscriptions", "MQTT-3.8.3-3"):
            if not isinstance(subscription, Subscription):
                raise UsageError(
                    f"subscriptions: found {type(subscription).__name__}; allowed: Subscription",
                    rule="MQTT-3.8.3-3",
                )
            parts.append(_encode_filter(subscription.topic_filter))
            qos = encode_number(subscription.qos, "requested QoS", 0, 2, "MQTT-3.8.3-4")
            parts.append(bytes((qos,)))
        return _frame(0x82, b"".join(parts))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body."""
        reader = FieldReader(body)
        packet_id = reader.packet_id()
        subscriptions: list[Subscription] = []
        while not reader.exhausted:
            topic_filter = _read_filter(reader, "MQTT-3.8.3-1")
            qos = reader.u8("requested QoS", "MQTT-3.8.3-3")
            if qos > 2:
                raise MalformedPacket(
                    "MQTT-3.8.3-4", f"requested QoS {qos:#04x}", "0, 1 or 2", reader.at - 1
                )
            subscriptions.append(Subscription(topic_filter, qos))
        return cls(packet_id, subscriptions)


@dataclass(slots=True)
class SubAck(Value):
    """The server's answer to SUBSCRIBE (section 3.9).

    Attributes:
        packet_id: that of the SUBSCRIBE.
        return_codes: for each filter, in order, the granted QoS 0, 1 or 2, or 0x80 for refused.
    """

    packet_id: Given[int]
    return_codes: Given[list[int]]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        packet_id = encode_packet_id(self.packet_id)
        codes = bytearray()
        for code in _entries(self.return_codes, "return codes", "MQTT-3.8.4-5"):
            if (
                not isinstance(code, int)
                or isinstance(code, bool)
                or code not in (0, 1, 2, REFUSED)
            ):
                raise UsageError(
                    f"SUBACK code: found {shown(code)}; allowed: 0, 1, 2 or 0x80",
                    rule="MQTT-3.9.3-2",
                )
            codes.append(code)
        return _frame(0x90, packet_id + bytes(codes))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body."""
        packet_id = FieldReader(body).packet_id()
        return_codes = list(body[2:])
        for at, code in enumerate(return_codes, 2):
            if code not in (0, 1, 2, REFUSED):
                raise MalformedPacket(
                    "MQTT-3.9.3-2", f"SUBACK code {code:#04x}", "0, 1, 2 or 0x80", at
                )
        return cls(packet_id, return_codes)


@dataclass(slots=True)
class Unsubscribe(Value):
    """A client takes wishes back (section 3.10).

    Attributes:
        packet_id: 1 to 65535, answered in UNSUBACK.
        topic_filters: one or more, spelled exactly as they were subscribed.
    """

    packet_id: Given[int]
    topic_filters: Given[list[str]]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        parts = [encode_packet_id(self.packet_id)]
        for topic_filter in _entries(self.topic_filters, "topic filters", "MQTT-3.10.3-2"):
            parts.append(_encode_filter(topic_filter))
        return _frame(0xA2, b"".join(parts))

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the body."""
        reader = FieldReader(body)
        packet_id = reader.packet_id()
        topic_filters: list[str] = []
        while not reader.exhausted:
            topic_filters.append(_read_filter(reader, "MQTT-3.10.3-1"))
        return cls(packet_id, topic_filters)


def _entries(entries: Given[object], what: str, rule: str) -> list[Any]:
    """Return the entries of a list or tuple that may not be empty."""
    if not isinstance(entries, (list, tuple)):
        raise UsageError(f"{what}: found {type(entries).__name__}; allowed: a list", rule=rule)
    if not entries:
        raise UsageError(f"{what}: found none; allowed: at least one", rule=rule)
    return list(entries)


def _encode_filter(topic_filter: Given[str]) -> bytes:
    fault = topic_filter_fault(topic_filter)
    if fault:
        raise usage_error(fault)
    return frame_text(topic_filter)


def _read_filter(reader: FieldReader, rule: str) -> str:
    start = reader.at + 2
    topic_filter = reader.text("topic filter", rule)
    fault = topic_filter_fault(topic_filter)
    if fault:
        rule, found, allowed = fault
        raise MalformedPacket(rule, found, allowed, start)
    return topic_filter


@dataclass(init=False, slots=True)
class UnsubAck(Acknowledgement):
    """The server's answer to UNSUBSCRIBE (section 3.11)."""

    def encode(self) -> bytes:
        """Return the packet's four bytes."""
        return _acknowledge(0xB0, self.packet_id)


@dataclass(slots=True)
class PingReq(Value):
    """The client is alive and asks whether the server is (section 3.12)."""

    def encode(self) -> bytes:
        """Return the packet's two bytes."""
        return b"\xc0\x00"

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the empty body."""
        return cls()


@dataclass(slots=True)
class PingResp(Value):
    """The server is alive (section 3.13)."""

    def encode(self) -> bytes:
        """Return the packet's two bytes."""
        return b"\xd0\x00"

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the empty body."""
        return cls()


@dataclass(slots=True)
class Disconnect(Value):
    """The client leaves on purpose; its will is dropped (section 3.14)."""

    def encode(self) -> bytes:
        """Return the packet's two bytes."""
        return b"\xe0\x00"

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read the empty body."""
        return cls()


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


@dataclass(slots=True)
class Shape:
    """What a first byte announces: the packet's type, and how long its body can be.

    Attributes:
        packet_type: the packet's class.
        smallest: the least remaining length in bytes.
        largest: the greatest remaining length in bytes.
        rule: the id of the statement that another remaining length breaks.
    """

    packet_type: type[Packet]
    smallest: int
    largest: int
    rule: str


_QOS_0 = Shape(Publish, 3, MAX_REMAINING_LENGTH, "MQTT-4.7.3-1")
_QOS_1_OR_2 = Shape(Publish, 5, MAX_REMAINING_LENGTH, "MQTT-2.3.1-1")

SHAPES: Final[dict[int, Shape]] = {
    0x10: Shape(Connect, 12, MAX_REMAINING_LENGTH, "MQTT-3.1.3-3"),
    0x20: Shape(ConnAck, 2, 2, "U-7"),
    # QoS 3 is nowhere [MQTT-3.3.1-4], and DUP is not with QoS 0 [MQTT-3.3.1-2].
    **dict.fromkeys((0x30, 0x31), _QOS_0),
    **dict.fromkeys((0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D), _QOS_1_OR_2),
    0x40: Shape(PubAck, 2, 2, "U-7"),
    0x50: Shape(PubRec, 2, 2, "U-7"),
    0x62: Shape(PubRel, 2, 2, "U-7"),
    0x70: Shape(PubComp, 2, 2, "U-7"),
    0x82: Shape(Subscribe, 6, MAX_REMAINING_LENGTH, "MQTT-3.8.3-3"),
    0x90: Shape(SubAck, 3, MAX_REMAINING_LENGTH, "MQTT-3.8.4-5"),
    0xA2: Shape(Unsubscribe, 5, MAX_REMAINING_LENGTH, "MQTT-3.10.3-2"),
    0xB0: Shape(UnsubAck, 2, 2, "U-7"),
    0xC0: Shape(PingReq, 0, 0, "U-7"),
    0xD0: Shape(PingResp, 0, 0, "U-7"),
    0xE0: Shape(Disconnect, 0, 0, "U-7"),
}
"""Which packet a first byte announces; a byte that is not here announces none [MQTT-2.2.2-1]."""
