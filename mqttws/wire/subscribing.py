"""SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK: which messages a client asks for."""

from dataclasses import dataclass
from typing import Any, Final, Self

from ..errors import MalformedPacket, UsageError
from ..text import shown
from ._given import Given
from .fields import FieldReader, encode_number, encode_packet_id, frame_text, usage_error
from .publishing import Acknowledgement, acknowledge
from .topics import topic_filter_fault
from .value import Value, frame

REFUSED: Final = 0x80
"""The SUBACK return code of a refused topic filter (section 3.9.3)."""


@dataclass(slots=True)
class Subscription(Value):
    """One subscription of a SUBSCRIBE: a topic filter and its highest QoS (section 3.8.3).

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
        return frame(0x82, b"".join(parts))

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
        return frame(0x90, packet_id + bytes(codes))

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
    """A client's request to end subscriptions (section 3.10).

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
        return frame(0xA2, b"".join(parts))

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
        return acknowledge(0xB0020000, self.packet_id)
