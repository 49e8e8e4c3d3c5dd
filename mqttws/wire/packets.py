"""The 14 control packets of MQTT 3.1.1, and the packet that each first byte announces.

A packet is a value: built once, never changed, checked at the two doors. ``encode`` raises
``UsageError`` and gives no bytes for an object that breaks a rule; ``decode`` takes the body (what
follows the fixed header) and raises ``MalformedPacket``. Fields, encode and decode stand side by
side in ``connecting``, ``publishing`` and ``subscribing``; first byte and remaining length are read
by ``framing``, from the table at the end of this file. Numbers of sections are those of the
standard (OASIS, MQTT Version 3.1.1 with Errata 01).
"""

from dataclasses import dataclass
from typing import Final

from ..errors import MalformedPacket
from .connecting import ConnAck, Connect, Disconnect, PingReq, PingResp
from .fields import MAX_REMAINING_LENGTH
from .publishing import PubAck, PubComp, Publish, PubRec, PubRel
from .subscribing import SubAck, Subscribe, UnsubAck, Unsubscribe

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
    """A first byte's meaning: the packet's type, and how long its body can be.

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


def first_byte_fault(first_byte: int, offset: int) -> MalformedPacket:
    """Return the error for a first byte that announces no packet."""
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
