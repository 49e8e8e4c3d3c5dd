"""The one table of packets: their bytes, the bytes that are refused, and the objects that are.

Rows are read by tests/wire and by the benchmarks' checks. Numbers of rules are those of the
standard (``MQTT-…``) and of the unnumbered rules (``U-…``), as in conformance.csv.
"""

from dataclasses import dataclass
from typing import Any

from mqttws.wire import (
    REFUSED,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)


@dataclass(frozen=True)
class Row:
    """A packet and its bytes, field by field."""

    name: str
    packet: Packet
    fields: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """The whole packet."""
        return b"".join(self.fields)


@dataclass(frozen=True)
class Bad:
    """Bytes that no packet begins with: the last of them is the first that proves it."""

    name: str
    rule: str
    offset: int
    fields: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """The bytes up to the proof."""
        return b"".join(self.fields)


@dataclass(frozen=True)
class Unusable:
    """An object that has no bytes."""

    name: str
    rule: str
    packet: Any


def row(name: str, packet: Packet, *fields: bytes) -> Row:
    """Return a row of the table of good packets."""
    return Row(name, packet, fields)


def bad(name: str, rule: str, offset: int, *fields: bytes) -> Bad:
    """Return a row of the table of bad bytes."""
    return Bad(name, rule, offset, fields)


def field(size: int, content: bytes) -> bytes:
    """Return a field whose length says ``size``, whatever is in it."""
    return size.to_bytes(2, "big") + content


LONGEST = "t" * 65535

PACKETS = [
    row(
        "CONNECT with as little as there can be",
        Connect("c"),
        b"\x10",  # CONNECT, flags 0000
        b"\x0d",  # 13 bytes follow
        b"\x00\x04MQTT",  # protocol name
        b"\x04",  # protocol level 4
        b"\x02",  # clean session
        b"\x00\x3c",  # keep alive 60 s
        b"\x00\x01c",  # ClientId
    ),
    row(
        "CONNECT with everything",
        Connect("c", "user", b"pass", False, 10, Will("t", b"bye", 2, True)),
        b"\x10",
        b"\x21",  # 33 bytes follow
        b"\x00\x04MQTT",
        b"\x04",
        b"\xf4",  # user name, password, will retain, will QoS 2, will; session kept
        b"\x00\x0a",
        b"\x00\x01c",
        b"\x00\x01t",  # will topic
        b"\x00\x03bye",  # will message
        b"\x00\x04user",
        b"\x00\x04pass",
    ),
    row(
        "CONNECT with empty but present fields",
        Connect("", "", b"", True, 0, Will("t", b"", 1)),
        b"\x10",
        b"\x15",  # 21 bytes follow
        b"\x00\x04MQTT",
        b"\x04",
        b"\xce",  # user name, password, will QoS 1, will, clean session
        b"\x00\x00",  # keep alive off
        b"\x00\x00",  # an empty ClientId
        b"\x00\x01t",
        b"\x00\x00",  # an empty will message
        b"\x00\x00",  # an empty user name
        b"\x00\x00",  # an empty password
    ),
    row(
        "CONNECT with a user name and no password",
        Connect("c", "u", keep_alive=65535),
        b"\x10",
        b"\x10",
        b"\x00\x04MQTT",
        b"\x04",
        b"\x82",
        b"\xff\xff",
        b"\x00\x01c",
        b"\x00\x01u",
    ),
    row(
        "CONNECT with a password that is not UTF-8",
        Connect("c", "u", b"\xff\x00\xc0"),
        b"\x10",
        b"\x15",
        b"\x00\x04MQTT",
        b"\x04",
        b"\xc2",
        b"\x00\x3c",
        b"\x00\x01c",
        b"\x00\x01u",
        b"\x00\x03\xff\x00\xc0",
    ),
    row(
        "CONNECT with control characters and a line's end",
        Connect("\x01\n\x9f", "\x1f\x7f"),
        b"\x10",
        b"\x14",
        b"\x00\x04MQTT",
        b"\x04",
        b"\x82",
        b"\x00\x3c",
        b"\x00\x04\x01\n\xc2\x9f",
        b"\x00\x02\x1f\x7f",
    ),
    row("CONNACK accepted", ConnAck(), b"\x20", b"\x02", b"\x00", b"\x00"),
    row("CONNACK with a session", ConnAck(True), b"\x20", b"\x02", b"\x01", b"\x00"),
    row("CONNACK not authorized", ConnAck(False, 5), b"\x20", b"\x02", b"\x00", b"\x05"),
    row("PUBLISH with QoS 0", Publish("t", b"x"), b"\x30", b"\x04", b"\x00\x01t", b"x"),
    row("PUBLISH with no payload", Publish("t"), b"\x30", b"\x03", b"\x00\x01t"),
    row(
        "PUBLISH with QoS 1",
        Publish("t", b"x", 1, packet_id=10),
        b"\x32",
        b"\x06",
        b"\x00\x01t",
        b"\x00\x0a",  # packet identifier 10
        b"x",
    ),
    row(
        "PUBLISH with QoS 1, retained and sent again",
        Publish("t", b"x", 1, True, True, 1),
        b"\x3b",  # DUP, QoS 1, RETAIN
        b"\x06",
        b"\x00\x01t",
        b"\x00\x01",
        b"x",
    ),
    row(
        "PUBLISH with QoS 2 and the largest packet identifier",
        Publish("t", b"", 2, packet_id=65535),
        b"\x34",
        b"\x05",
        b"\x00\x01t",
        b"\xff\xff",
    ),
    row("PUBLISH retained", Publish("t", b"x", 0, True), b"\x31", b"\x04", b"\x00\x01t", b"x"),
    row(
        "PUBLISH with QoS 2, sent again",
        Publish("t", b"x", 2, dup=True, packet_id=256),
        b"\x3c",
        b"\x06",
        b"\x00\x01t",
        b"\x01\x00",
        b"x",
    ),
    row(
        "PUBLISH with QoS 0 whose payload looks like a packet identifier",
        Publish("t", b"\x00\x01"),
        b"\x30",
        b"\x05",
        b"\x00\x01t",
        b"\x00\x01",
    ),
    row(
        "PUBLISH to a topic with U+FEFF at its start",
        Publish("\ufefft", b""),
        b"\x30",
        b"\x06",
        b"\x00\x04\xef\xbb\xbft",
    ),
    row(
        "PUBLISH to a topic with control characters and a non-character",
        Publish("\x01\x1f\x7f\x80\uffff", b""),
        b"\x30",
        b"\x0a",
        b"\x00\x08\x01\x1f\x7f\xc2\x80\xef\xbf\xbf",
    ),
    row(
        "PUBLISH to a topic of all lengths of UTF-8",
        Publish("aé€😀", b""),
        b"\x30",
        b"\x0c",
        b"\x00\x0aa\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
    ),
    row("PUBLISH to the topic /", Publish("/"), b"\x30", b"\x03", b"\x00\x01/"),
    row(
        "PUBLISH of 127 bytes after the header, one length byte",
        Publish("t", b"x" * 124),
        b"\x30",
        b"\x7f",
        b"\x00\x01t",
        b"x" * 124,
    ),
    row(
        "PUBLISH of 128 bytes after the header, two length bytes",
        Publish("t", b"x" * 125),
        b"\x30",
        b"\x80\x01",
        b"\x00\x01t",
        b"x" * 125,
    ),
    row(
        "PUBLISH with QoS 1 of 128 bytes after the header",
        Publish("t", b"x" * 123, 1, packet_id=7),
        b"\x32",
        b"\x80\x01",
        b"\x00\x01t",
        b"\x00\x07",
        b"x" * 123,
    ),
    row(
        "PUBLISH of 16383 bytes after the header",
        Publish("t", b"x" * 16380),
        b"\x30",
        b"\xff\x7f",
        b"\x00\x01t",
        b"x" * 16380,
    ),
    row(
        "PUBLISH of 16384 bytes after the header, three length bytes",
        Publish("t", b"x" * 16381),
        b"\x30",
        b"\x80\x80\x01",
        b"\x00\x01t",
        b"x" * 16381,
    ),
    row(
        "PUBLISH to the longest topic",
        Publish(LONGEST),
        b"\x30",
        b"\x81\x80\x04",  # 65537 bytes follow
        b"\xff\xff",
        LONGEST.encode(),
    ),
    row("PUBACK", PubAck(10), b"\x40", b"\x02", b"\x00\x0a"),
    row("PUBREC", PubRec(258), b"\x50", b"\x02", b"\x01\x02"),
    row("PUBREL", PubRel(65535), b"\x62", b"\x02", b"\xff\xff"),
    row("PUBCOMP", PubComp(1), b"\x70", b"\x02", b"\x00\x01"),
    row(
        "SUBSCRIBE to one filter",
        Subscribe(1, [Subscription("t")]),
        b"\x82",
        b"\x06",
        b"\x00\x01",
        b"\x00\x01t",
        b"\x00",  # QoS 0
    ),
    row(
        "SUBSCRIBE to several filters, each with its QoS",
        Subscribe(
            10, [Subscription("#", 0), Subscription("a/+/b", 1), Subscription("$dps/a/#", 2)]
        ),
        b"\x82",
        b"\x19",
        b"\x00\x0a",
        b"\x00\x01#",
        b"\x00",
        b"\x00\x05a/+/b",
        b"\x01",
        b"\x00\x08$dps/a/#",
        b"\x02",
    ),
    row("SUBACK", SubAck(1, [0]), b"\x90", b"\x03", b"\x00\x01", b"\x00"),
    row(
        "SUBACK with every code, in an order of its own",
        SubAck(10, [2, REFUSED, 0, 1]),
        b"\x90",
        b"\x06",
        b"\x00\x0a",
        b"\x02\x80\x00\x01",
    ),
    row(
        "UNSUBSCRIBE from one filter",
        Unsubscribe(1, ["t"]),
        b"\xa2",
        b"\x05",
        b"\x00\x01",
        b"\x00\x01t",
    ),
    row(
        "UNSUBSCRIBE from several filters",
        Unsubscribe(256, ["+", "a/#", "/"]),
        b"\xa2",
        b"\x0d",
        b"\x01\x00",
        b"\x00\x01+",
        b"\x00\x03a/#",
        b"\x00\x01/",
    ),
    row("UNSUBACK", UnsubAck(10), b"\xb0", b"\x02", b"\x00\x0a"),
    row("PINGREQ", PingReq(), b"\xc0", b"\x00"),
    row("PINGRESP", PingResp(), b"\xd0", b"\x00"),
    row("DISCONNECT", Disconnect(), b"\xe0", b"\x00"),
]

NOT_SHORTEST = [
    row("PINGREQ with two length bytes", PingReq(), b"\xc0", b"\x80\x00"),
    row("PUBACK with three length bytes", PubAck(10), b"\x40", b"\x82\x80\x00", b"\x00\x0a"),
    row("PUBLISH with two length bytes", Publish("t"), b"\x30", b"\x83\x00", b"\x00\x01t"),
    row("PUBLISH with four length bytes", Publish("t"), b"\x30", b"\x83\x80\x80\x00", b"\x00\x01t"),
]
"""Lengths written longer than they need be: read, but never written (U-3)."""

_MQTT = b"\x00\x04MQTT\x04"
_ALIVE = b"\x00\x3c"


def _connect(flags: int, payload: bytes, head: bytes = _MQTT) -> tuple[bytes, ...]:
    size = len(head) + 3 + len(payload)
    return b"\x10", bytes((size,)), head, bytes((flags,)), _ALIVE, payload


_FLAG_NIBBLES = {
    # packet type: (the flags it has, the rule for others)
    1: (0, "MQTT-2.2.2-2"),
    2: (0, "MQTT-2.2.2-2"),
    4: (0, "MQTT-2.2.2-2"),
    5: (0, "MQTT-2.2.2-2"),
    6: (2, "MQTT-3.6.1-1"),
    7: (0, "MQTT-2.2.2-2"),
    8: (2, "MQTT-3.8.1-1"),
    9: (0, "MQTT-2.2.2-2"),
    10: (2, "MQTT-3.10.1-1"),
    11: (0, "MQTT-2.2.2-2"),
    12: (0, "MQTT-2.2.2-2"),
    13: (0, "MQTT-2.2.2-2"),
    14: (0, "MQTT-3.14.1-1"),
}

BAD_FIRST_BYTES = [
    *(bad(f"type 0, flags {flags:#x}", "U-1", 0, bytes((flags,))) for flags in range(16)),
    *(bad(f"type 15, flags {flags:#x}", "U-1", 0, bytes((0xF0 | flags,))) for flags in range(16)),
    *(
        bad(f"type {kind}, flags {flags:#x}", rule, 0, bytes((kind << 4 | flags,)))
        for kind, (right, rule) in _FLAG_NIBBLES.items()
        for flags in range(16)
        if flags != right
    ),
    *(
        bad(f"PUBLISH with QoS 3, flags {flags:#x}", "MQTT-3.3.1-4", 0, bytes((0x30 | flags,)))
        for flags in (6, 7, 14, 15)
    ),
    bad("PUBLISH with QoS 0 and DUP", "MQTT-3.3.1-2", 0, b"\x38"),
    bad("PUBLISH with QoS 0, DUP and RETAIN", "MQTT-3.3.1-2", 0, b"\x39"),
]
"""Every first byte that announces no packet."""

BAD_LENGTHS = [
    bad("a fifth length byte", "U-2", 4, b"\x30", b"\xff\xff\xff\xff"),
    bad("a fifth length byte after zeros", "U-2", 4, b"\xc0", b"\x80\x80\x80\x80"),
    *(
        bad(f"{name} of {length} bytes", "U-7", 1, bytes((first_byte, length)))
        for name, first_byte, lengths in [
            ("CONNACK", 0x20, (0, 1, 3)),
            ("PUBACK", 0x40, (0, 1, 3)),
            ("PUBREC", 0x50, (0, 1, 3)),
            ("PUBREL", 0x62, (0, 1, 3)),
            ("PUBCOMP", 0x70, (0, 1, 3)),
            ("UNSUBACK", 0xB0, (0, 1, 3)),
            ("PINGREQ", 0xC0, (1,)),
            ("PINGRESP", 0xD0, (1,)),
            ("DISCONNECT", 0xE0, (1, 2)),
        ]
        for length in lengths
    ),
    bad("PUBACK of 130 bytes", "U-7", 1, b"\x40", b"\x82\x01"),
    bad("CONNECT without a ClientId", "MQTT-3.1.3-3", 1, b"\x10", b"\x0a"),
    bad("CONNECT of 11 bytes", "MQTT-3.1.3-3", 1, b"\x10", b"\x0b"),
    bad("PUBLISH of 0 bytes", "MQTT-4.7.3-1", 1, b"\x30", b"\x00"),
    bad("PUBLISH of 2 bytes", "MQTT-4.7.3-1", 1, b"\x30", b"\x02"),
    bad("PUBLISH with QoS 1 of 4 bytes", "MQTT-2.3.1-1", 1, b"\x32", b"\x04"),
    bad("SUBSCRIBE without a filter", "MQTT-3.8.3-3", 1, b"\x82", b"\x02"),
    bad("SUBSCRIBE of 5 bytes", "MQTT-3.8.3-3", 1, b"\x82", b"\x05"),
    bad("SUBACK without a code", "MQTT-3.8.4-5", 1, b"\x90", b"\x02"),
    bad("UNSUBSCRIBE without a filter", "MQTT-3.10.3-2", 1, b"\xa2", b"\x02"),
    bad("UNSUBSCRIBE of 4 bytes", "MQTT-3.10.3-2", 1, b"\xa2", b"\x04"),
]
"""Lengths that are refused before the body is waited for."""

_NOT_TEXT = [
    # name, bytes, rule, offset of the fault in them
    ("an overlong U+0000", b"\xc0\x80", "MQTT-1.5.3-1", 0),
    ("an overlong /", b"a\xe0\x80\xaf", "MQTT-1.5.3-1", 1),
    ("a surrogate", b"\xed\xa0\x80", "MQTT-1.5.3-1", 0),
    ("the last surrogate", b"ab\xed\xbf\xbf", "MQTT-1.5.3-1", 2),
    ("a character past U+10FFFF", b"\xf4\x90\x80\x80", "MQTT-1.5.3-1", 0),
    ("half a character", b"a\xe2\x82", "MQTT-1.5.3-1", 1),
    ("a continuation byte alone", b"\x80", "MQTT-1.5.3-1", 0),
    ("Latin-1", b"caf\xe9", "MQTT-1.5.3-1", 3),
    ("U+0000", b"a\x00b", "MQTT-1.5.3-2", 1),
]

BAD_TEXTS = [
    *(
        bad(
            f"PUBLISH with QoS {qos}: topic with {name}",
            rule,
            4 + at,
            bytes((0x30 | qos << 1, 4 + len(raw) + (2 if qos else 0))),
            field(len(raw), raw),
            b"\x00\x01" if qos else b"",
            b"xy",
        )
        for name, raw, rule, at in _NOT_TEXT
        for qos in (0, 1, 2)
    ),
    *(
        bad(
            f"CONNECT: {what} with {name}",
            rule,
            2 + sum(map(len, fields[2:-1])) + len(before) + 2 + at,
            *fields,
        )
        for name, raw, rule, at in _NOT_TEXT
        for what, flags, before, after in [
            ("ClientId", 0x02, b"", b""),
            ("will topic", 0x06, b"\x00\x01c", b"\x00\x00"),
            ("user name", 0x82, b"\x00\x01c", b""),
        ]
        for fields in [_connect(flags, before + field(len(raw), raw) + after)]
    ),
    *(
        bad(
            f"SUBSCRIBE: filter with {name}",
            rule,
            6 + at,
            bytes((0x82, 5 + len(raw))),
            b"\x00\x01",
            field(len(raw), raw),
            b"\x00",
        )
        for name, raw, rule, at in _NOT_TEXT
    ),
    *(
        bad(
            f"UNSUBSCRIBE: filter with {name}",
            rule,
            6 + at,
            bytes((0xA2, 4 + len(raw))),
            b"\x00\x01",
            field(len(raw), raw),
        )
        for name, raw, rule, at in _NOT_TEXT
    ),
]
"""Ill-formed UTF-8 and U+0000, in every place where text stands."""

BAD_CONNECTS = [
    *(
        bad(
            f"protocol name {name!r}",
            "MQTT-3.1.2-1",
            4,
            *_connect(0x02, b"\x00\x05client", field(len(name), name) + b"\x04"),
        )
        for name in (b"MQTX", b"mqtt", b"", b"MQIsdp", b"MQTT\x00")
    ),
    bad(
        "a protocol name longer than the packet",
        "MQTT-3.1.2-1",
        4,
        b"\x10",
        b"\x0c",
        b"\xff\xff",
        b"MQTT\x04\x02\x00\x3c\x00\x00",
    ),
    bad(
        "a protocol name that leaves no byte for the level",
        "MQTT-3.1.2-1",
        4,
        b"\x10",
        b"\x0c",
        b"\x00\x0a",
        b"MQTTMQTTMQ",
    ),
    *(
        bad(
            f"protocol level {level}",
            "MQTT-3.1.2-2",
            8,
            *_connect(0x02, b"\x00\x01c", b"\x00\x04MQTT" + bytes((level,))),
        )
        for level in (0, 2, 3, 5, 6, 132)
    ),
    *(
        bad(
            f"connect flags {flags:#04x}",
            rule,
            9,
            *_connect(flags, b"\x00\x01c\x00\x01t\x00\x01m\x00\x01u\x00\x01p"),
        )
        for flags, rule in [
            (0x01, "MQTT-3.1.2-3"),
            (0x03, "MQTT-3.1.2-3"),
            (0xFF, "MQTT-3.1.2-3"),
            (0x08, "MQTT-3.1.2-13"),
            (0x10, "MQTT-3.1.2-13"),
            (0x18, "MQTT-3.1.2-13"),
            (0x28, "MQTT-3.1.2-13"),
            (0x20, "MQTT-3.1.2-15"),
            (0x22, "MQTT-3.1.2-15"),
            (0x1C, "MQTT-3.1.2-14"),
            (0x3E, "MQTT-3.1.2-14"),
            (0x40, "MQTT-3.1.2-22"),
            (0x42, "MQTT-3.1.2-22"),
            (0x46, "MQTT-3.1.2-22"),
        ]
    ),
    bad("a ClientId longer than the packet", "MQTT-3.1.3-3", 14, *_connect(0x02, b"\x00\x02c")),
    bad("a will and no will topic", "MQTT-3.1.2-9", 15, *_connect(0x06, b"\x00\x01c")),
    bad("half a length of a will topic", "MQTT-3.1.2-9", 15, *_connect(0x06, b"\x00\x01c\x00")),
    bad("a will and no will message", "MQTT-3.1.2-9", 18, *_connect(0x06, b"\x00\x01c\x00\x01t")),
    bad(
        "a will message longer than the packet",
        "MQTT-3.1.2-9",
        20,
        *_connect(0x06, b"\x00\x01c\x00\x01t\x00\x02m"),
    ),
    bad(
        "an empty will topic",
        "MQTT-4.7.3-1",
        17,
        *_connect(0x06, b"\x00\x01c\x00\x00\x00\x01m"),
    ),
    bad(
        "a will topic with a wildcard",
        "MQTT-4.7.1-1",
        17,
        *_connect(0x06, b"\x00\x01c\x00\x01#\x00\x01m"),
    ),
    bad("no user name", "MQTT-3.1.2-19", 15, *_connect(0x82, b"\x00\x01c")),
    bad("half a user name", "MQTT-3.1.2-19", 17, *_connect(0x82, b"\x00\x01c\x00\x02u")),
    bad("no password", "MQTT-3.1.2-21", 18, *_connect(0xC2, b"\x00\x01c\x00\x01u")),
    bad("half a password", "MQTT-3.1.2-21", 20, *_connect(0xC2, b"\x00\x01c\x00\x01u\x00\x02p")),
    bad(
        "will fields and no will flag",
        "MQTT-3.1.3-1",
        15,
        *_connect(0x02, b"\x00\x01c\x00\x01t\x00\x01m"),
    ),
    bad(
        "a user name and no flag for it",
        "MQTT-3.1.3-1",
        21,
        *_connect(0x06, b"\x00\x01c\x00\x01t\x00\x01m\x00\x01u"),
    ),
    bad(
        "a password and no flag for it",
        "MQTT-3.1.3-1",
        18,
        *_connect(0x82, b"\x00\x01c\x00\x01u\x00\x01p"),
    ),
    bad(
        "a byte after the last field",
        "MQTT-3.1.3-1",
        21,
        *_connect(0xC2, b"\x00\x01c\x00\x01u\x00\x01p\x00"),
    ),
]

BAD_BODIES = [
    bad("CONNACK with flags 2", "U-5", 2, b"\x20", b"\x02", b"\x02\x00"),
    bad("CONNACK with flags 0x81", "U-5", 2, b"\x20", b"\x02", b"\x81\x00"),
    bad("CONNACK with code 6", "U-6", 3, b"\x20", b"\x02", b"\x00\x06"),
    bad("CONNACK with code 255", "U-6", 3, b"\x20", b"\x02", b"\x00\xff"),
    *(
        bad(
            f"CONNACK with a session and code {code}",
            "MQTT-3.2.2-4",
            2,
            b"\x20",
            b"\x02",
            bytes((1, code)),
        )
        for code in (1, 5)
    ),
    *(
        bad(
            f"PUBLISH, flags {flags:#x}: empty topic name",
            "MQTT-4.7.3-1",
            4,
            bytes((0x30 | flags, 5)),
            b"\x00\x00",
            b"\x00\x01x",
        )
        for flags in (0, 1, 2, 13)
    ),
    bad("PUBLISH: topic longer than the packet", "MQTT-3.3.2-1", 4, b"\x30\x04", b"\x00\x03tx"),
    bad("PUBLISH: topic as long as can be", "MQTT-3.3.2-1", 4, b"\x30\x04", b"\xff\xfftx"),
    bad("PUBLISH: topic and no packet id", "MQTT-2.3.1-1", 7, b"\x32\x05", b"\x00\x03abc"),
    bad("PUBLISH: topic and half an id", "MQTT-2.3.1-1", 7, b"\x34\x06", b"\x00\x03abc\x01"),
    bad("PUBLISH: packet id 0", "MQTT-2.3.1-1", 5, b"\x32\x06", b"\x00\x01t\x00\x00x"),
    bad("PUBLISH with QoS 2: packet id 0", "MQTT-2.3.1-1", 5, b"\x34\x05", b"\x00\x01t\x00\x00"),
    *(
        bad(
            f"PUBLISH to {topic!r}",
            "MQTT-3.3.2-2",
            4,
            bytes((0x30, 2 + len(topic))),
            field(len(topic), topic),
        )
        for topic in (b"#", b"+", b"a/+", b"a/#", b"a+b", b"a#")
    ),
    *(
        bad(
            f"{name} with packet id 0",
            "MQTT-2.3.1-1",
            2,
            bytes((first_byte, 2)),
            b"\x00\x00",
        )
        for name, first_byte in [
            ("PUBACK", 0x40),
            ("PUBREC", 0x50),
            ("PUBREL", 0x62),
            ("PUBCOMP", 0x70),
            ("UNSUBACK", 0xB0),
        ]
    ),
    bad("SUBSCRIBE with packet id 0", "MQTT-2.3.1-1", 2, b"\x82\x06", b"\x00\x00\x00\x01t\x00"),
    bad("SUBACK with packet id 0", "MQTT-2.3.1-1", 2, b"\x90\x03", b"\x00\x00\x00"),
    bad("UNSUBSCRIBE with packet id 0", "MQTT-2.3.1-1", 2, b"\xa2\x05", b"\x00\x00\x00\x01t"),
    bad("SUBSCRIBE: empty filter", "MQTT-4.7.3-1", 6, b"\x82\x06", b"\x00\x01\x00\x00\x00\x00"),
    bad(
        "SUBSCRIBE: filter longer than the packet",
        "MQTT-3.8.3-1",
        6,
        b"\x82\x06\x00\x01\x00\x03t\x00",
    ),
    bad("SUBSCRIBE: no QoS", "MQTT-3.8.3-3", 8, b"\x82\x06", b"\x00\x01", b"\x00\x02tt"),
    bad(
        "SUBSCRIBE: a second filter of one byte",
        "MQTT-3.8.3-1",
        8,
        b"\x82\x07",
        b"\x00\x01",
        b"\x00\x01t\x00",
        b"\x00",
    ),
    *(
        bad(
            f"SUBSCRIBE: options {options:#04x}",
            "MQTT-3.8.3-4",
            7,
            b"\x82\x06\x00\x01\x00\x01t",
            bytes((options,)),
        )
        for options in (0x03, 0x04, 0x80, 0xFF)
    ),
    *(
        bad(
            f"SUBSCRIBE to {topic_filter!r}",
            rule,
            6,
            bytes((0x82, 5 + len(topic_filter))),
            b"\x00\x01",
            field(len(topic_filter), topic_filter),
            b"\x00",
        )
        for topic_filter, rule in [
            (b"a#", "MQTT-4.7.1-2"),
            (b"a/#/b", "MQTT-4.7.1-2"),
            (b"#/a", "MQTT-4.7.1-2"),
            (b"##", "MQTT-4.7.1-2"),
            (b"a+", "MQTT-4.7.1-3"),
            (b"a/+b/c", "MQTT-4.7.1-3"),
            (b"++", "MQTT-4.7.1-3"),
        ]
    ),
    bad("UNSUBSCRIBE: empty filter", "MQTT-4.7.3-1", 6, b"\xa2\x05", b"\x00\x01\x00\x00\x00"),
    bad("UNSUBSCRIBE: half a filter", "MQTT-3.10.3-1", 6, b"\xa2\x05\x00\x01\x00\x02t"),
    bad("UNSUBSCRIBE from a#", "MQTT-4.7.1-2", 6, b"\xa2\x06\x00\x01\x00\x02a#"),
    bad("UNSUBSCRIBE from +a", "MQTT-4.7.1-3", 6, b"\xa2\x06\x00\x01\x00\x02+a"),
    bad("UNSUBSCRIBE: one byte more", "MQTT-3.10.3-1", 7, b"\xa2\x06\x00\x01\x00\x01t\x00"),
    *(
        bad(
            f"SUBACK with code {code:#04x}",
            "MQTT-3.9.3-2",
            5,
            b"\x90\x04\x00\x01\x00",
            bytes((code,)),
        )
        for code in (0x03, 0x7F, 0x81, 0xFF)
    ),
]

BAD = BAD_FIRST_BYTES + BAD_LENGTHS + BAD_TEXTS + BAD_CONNECTS + BAD_BODIES


# What these make is wrong, so nobody checks their types.
_Connect: Any = Connect
_Will: Any = Will
_ConnAck: Any = ConnAck
_Publish: Any = Publish
_PubAck: Any = PubAck
_PubRec: Any = PubRec
_PubRel: Any = PubRel
_PubComp: Any = PubComp
_UnsubAck: Any = UnsubAck
_Subscription: Any = Subscription
_Subscribe: Any = Subscribe
_SubAck: Any = SubAck
_Unsubscribe: Any = Unsubscribe
_NO_SUBSCRIPTIONS: list[Any] = [[], (), None, 5, "t", {}, Subscription("t"), ["t"], [("t", 0)]]
_NO_FILTERS: list[Any] = [[], (), None, 5, "t", {}]
_NO_CODES: list[Any] = [[], (), None, 5, b"\x00"]


class _NotAPacket:
    """Something with an ``encode`` of its own."""

    def encode(self) -> bytes:
        return b"\xc0\x00"


def _bad_texts(make: Any, what: str, rule_for_type: str, rule_for_size: str) -> list[Unusable]:
    """Return objects whose one text, put there by ``make``, is none."""
    return [
        Unusable(f"{what} that is bytes", rule_for_type, make(b"t")),
        Unusable(f"{what} that is a number", rule_for_type, make(5)),
        Unusable(f"{what} of 65536 bytes", rule_for_size, make("t" * 65536)),
        Unusable(f"{what} of 65536 bytes in 32768 characters", rule_for_size, make("é" * 32768)),
        Unusable(f"{what} with a lone surrogate", "MQTT-1.5.3-1", make("a\ud800")),
    ]


UNUSABLE = [
    *(
        Unusable(f"no packet: {thing!r}", "", thing)
        for thing in (
            None,
            5,
            "x",
            b"\xc0\x00",
            [PingReq()],
            PingReq,
            _Will("t"),
            _Subscription("t"),
        )
    ),
    Unusable("no packet: a stranger", "", _NotAPacket()),
    *_bad_texts(_Connect, "ClientId", "MQTT-3.1.3-4", "MQTT-3.1.3-4"),
    *_bad_texts(lambda text: _Connect("c", text), "user name", "MQTT-3.1.3-11", "MQTT-3.1.3-11"),
    *_bad_texts(
        lambda text: _Connect("c", will=_Will(text)), "will topic", "MQTT-4.7.3-1", "MQTT-4.7.3-3"
    ),
    *_bad_texts(_Publish, "topic name", "MQTT-4.7.3-1", "MQTT-4.7.3-3"),
    *_bad_texts(
        lambda text: _Subscribe(1, [_Subscription(text)]), "filter", "MQTT-4.7.3-1", "MQTT-4.7.3-3"
    ),
    *_bad_texts(
        lambda text: _Unsubscribe(1, [text]), "filter to drop", "MQTT-4.7.3-1", "MQTT-4.7.3-3"
    ),
    Unusable("ClientId with U+0000", "MQTT-1.5.3-2", _Connect("a\0")),
    Unusable("user name with U+0000", "MQTT-1.5.3-2", _Connect("c", "\0")),
    Unusable("will topic with U+0000", "MQTT-4.7.3-2", _Connect("c", will=_Will("a\0"))),
    Unusable("topic name with U+0000", "MQTT-4.7.3-2", _Publish("\0a")),
    Unusable("filter with U+0000", "MQTT-4.7.3-2", _Subscribe(1, [_Subscription("a\0b")])),
    Unusable("filter to drop with U+0000", "MQTT-4.7.3-2", _Unsubscribe(1, ["a\0b"])),
    Unusable("empty ClientId in a kept session", "MQTT-3.1.3-7", _Connect("", clean_session=False)),
    Unusable("password without a user name", "MQTT-3.1.2-22", _Connect("c", password=b"p")),
    Unusable("password that is text", "U-9", _Connect("c", "u", "p")),
    Unusable("password of 65536 bytes", "U-9", _Connect("c", "u", bytes(65536))),
    Unusable("clean session 1", "MQTT-2.2.2-1", _Connect("c", clean_session=1)),
    *(
        Unusable(f"keep alive {value!r}", "", _Connect("c", keep_alive=value))
        for value in (-1, 65536, 1.5, "60", True, None)
    ),
    Unusable("will that is text", "MQTT-3.1.2-9", _Connect("c", will="t")),
    Unusable("empty will topic", "MQTT-4.7.3-1", _Connect("c", will=_Will(""))),
    Unusable("will topic with #", "MQTT-4.7.1-1", _Connect("c", will=_Will("a/#"))),
    Unusable("will topic with +", "MQTT-4.7.1-1", _Connect("c", will=_Will("+/a"))),
    *(
        Unusable(f"will QoS {qos!r}", "MQTT-3.1.2-14", _Connect("c", will=_Will("t", qos=qos)))
        for qos in (-1, 3, 4, 1.0, "1", True, None)
    ),
    Unusable("will message that is text", "U-8", _Connect("c", will=_Will("t", "m"))),
    Unusable("will message of 65536 bytes", "U-8", _Connect("c", will=_Will("t", bytes(65536)))),
    Unusable("will retain 1", "MQTT-2.2.2-1", _Connect("c", will=_Will("t", retain=1))),
    *(
        Unusable(f"CONNACK with code {code!r}", "U-6", _ConnAck(False, code))
        for code in (-1, 6, 255, 1.0, "0", True, None)
    ),
    Unusable("CONNACK with a session and a refusal", "MQTT-3.2.2-4", _ConnAck(True, 1)),
    Unusable("CONNACK with session present 2", "MQTT-2.2.2-1", _ConnAck(2)),
    Unusable("empty topic name", "MQTT-4.7.3-1", _Publish("")),
    *(
        Unusable(f"PUBLISH to {topic!r}", "MQTT-3.3.2-2", _Publish(topic))
        for topic in ("#", "+", "a/+", "a/#", "a+b", "a#")
    ),
    *(
        Unusable(f"payload of type {type(payload).__name__}", "U-10", _Publish("t", payload))
        for payload in ("text", None, 5, bytearray(b"x"), memoryview(b"x"))
    ),
    *(
        Unusable(f"QoS {qos!r}", "MQTT-3.3.1-4", _Publish("t", qos=qos, packet_id=1))
        for qos in (-1, 3, 4, 1.0, "1", True, None)
    ),
    Unusable("QoS 0 and DUP", "MQTT-3.3.1-2", _Publish("t", dup=True)),
    Unusable("QoS 0 and a packet identifier", "MQTT-2.3.1-5", _Publish("t", packet_id=1)),
    *(
        Unusable(
            f"{flag} {value!r}", "MQTT-2.2.2-1", _Publish("t", b"", 1, packet_id=1, **{flag: value})
        )
        for flag in ("retain", "dup")
        for value in (0, 1, None, "no")
    ),
    *(
        Unusable(f"{packet.__name__} with packet id {value!r}", "MQTT-2.3.1-1", packet(value))
        for packet in (
            lambda value: _Publish("t", b"", 1, packet_id=value),
            lambda value: _Publish("t", b"", 2, packet_id=value),
            _PubAck,
            _PubRec,
            _PubRel,
            _PubComp,
            _UnsubAck,
            lambda value: _Subscribe(value, [_Subscription("t")]),
            lambda value: _SubAck(value, [0]),
            lambda value: _Unsubscribe(value, ["t"]),
        )
        for value in (0, -1, 65536, None, "1", 1.0, True)
    ),
    *(
        Unusable(f"subscriptions {value!r}", "MQTT-3.8.3-3", _Subscribe(1, value))
        for value in _NO_SUBSCRIPTIONS
    ),
    *(
        Unusable(f"requested QoS {qos!r}", "MQTT-3.8.3-4", _Subscribe(1, [_Subscription("t", qos)]))
        for qos in (-1, 3, 128, 1.0, "1", True, None)
    ),
    *(
        Unusable(f"topic filters {value!r}", "MQTT-3.10.3-2", _Unsubscribe(1, value))
        for value in _NO_FILTERS
    ),
    *(
        Unusable(f"filter {value!r}", rule, packet)
        for value, rule in [
            ("", "MQTT-4.7.3-1"),
            (None, "MQTT-4.7.3-1"),
            ("a#", "MQTT-4.7.1-2"),
            ("a/#/b", "MQTT-4.7.1-2"),
            ("+a", "MQTT-4.7.1-3"),
            ("a/b+/c", "MQTT-4.7.1-3"),
        ]
        for packet in (_Subscribe(1, [_Subscription(value)]), _Unsubscribe(1, [value]))
    ),
    *(
        Unusable(f"return codes {value!r}", "MQTT-3.8.4-5", _SubAck(1, value))
        for value in _NO_CODES
    ),
    *(
        Unusable(f"SUBACK with code {code!r}", "MQTT-3.9.3-2", _SubAck(1, [0, code]))
        for code in (-1, 3, 127, 129, 256, 1.0, "0", True, None)
    ),
]
