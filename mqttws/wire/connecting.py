"""CONNECT, CONNACK, PINGREQ, PINGRESP and DISCONNECT: how a connection begins, lives and ends."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, Self

from ..errors import MalformedPacket, UsageError
from ..text import SecretBytes, shown
from ._given import Given
from .fields import FieldReader, encode_binary, encode_flag, encode_number, encode_text, frame_text
from .topics import topic_name_fault
from .value import Value, frame

PROTOCOL_LEVEL: Final = 4
"""3.1.1 calls itself level 4 (section 3.1.2.2)."""


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
        password: 0 to 65535 bytes; None leaves it out; needs a username. Never in the ``repr``, nor
            in a pickle or ``asdict``, which raise TypeError where there is one.
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

    def __post_init__(self) -> None:
        if isinstance(self.password, bytes):
            self.password = SecretBytes(self.password)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return type(self)(
            self.client_id,
            self.username,
            self.password,
            self.clean_session,
            self.keep_alive,
            deepcopy(self.will, memo),
        )

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
        return frame(0x10, head + payload)

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
