"""Broken rules of MQTT: the peer's fault."""

from typing import Unpack

from ..hops import Cause
from .base import Fields, MqttwsError, with_rule


class ProtocolError(MqttwsError):
    """The peer broke a rule of MQTT or of its WebSocket carriage; the connection is over.

    Attributes:
        rule: the statement's id, such as ``MQTT-3.3.1-4``; empty where the rule has none.
    """

    usual_cause = Cause.PROTOCOL_BROKEN
    usual_hint = "the peer violates MQTT 3.1.1, or a middlebox alters the data: see its log"

    def __init__(self, message: str = "", *, rule: str = "", **fields: Unpack[Fields]) -> None:
        super().__init__(message, **fields)
        self.rule = rule

    def __str__(self) -> str:
        return with_rule(self, self.rule)


class MalformedPacket(ProtocolError):
    """Bytes that are not a valid MQTT 3.1.1 packet.

    Attributes:
        rule: the id of the statement that the bytes break.
        found: what stood there.
        allowed: what may stand there.
        offset: where, in bytes: from the packet's first byte for ``decode``, from the first byte
            ever fed for a ``Decoder``.
    """

    def __init__(
        self,
        rule: str = "",
        found: str = "",
        allowed: str = "",
        offset: int = 0,
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(rule=rule, **fields)
        self.args: tuple[object, ...] = (rule, found, allowed, offset)
        self.found = found
        self.allowed = allowed
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.found}; allowed: {self.allowed} [{self.rule}, at byte {self.offset}]"


class PacketTooLarge(ProtocolError):
    """The peer announced a packet longer than the limit; its body was not read.

    Attributes:
        size: the whole packet's size in bytes, as announced.
        limit: the largest size in bytes that was agreed to.
    """

    usual_cause = Cause.PACKET_TOO_LARGE
    usual_hint = "allow larger packets with max_packet_size, or have smaller ones sent"

    def __init__(self, size: int = 0, limit: int = 0, **fields: Unpack[Fields]) -> None:
        super().__init__(**fields)
        self.args: tuple[object, ...] = (size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"a packet of {self.size} bytes was announced; at most {self.limit} are accepted"


class UnexpectedPacket(ProtocolError):
    """A well-formed packet at a time, or with a packet identifier, where it may not come."""
