"""A message that a subscription brought.

An ordinary value: it can be pickled, copied, printed and kept after its connection. Does not know
connections; what acknowledging means is the client's matter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(init=False)
class ReceivedMessage:
    """A message that a subscription brought.

    Attributes:
        topic: the topic name it was published to.
        payload: its bytes.
        qos: 0, 1 or 2, as it was sent to us.
        retain: whether it was sent because the server had kept it.
        dup: whether the server may have sent it before.
    """

    # Of the connection, and neither copied nor compared: what is to be acknowledged (None once
    # there is nothing), the connection on which it came, and the way with ``manual_ack``.
    __slots__ = (
        "_acknowledge", "_link_number", "_packet_id", "dup", "payload", "qos", "retain", "topic"
    )  # fmt: skip

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        _packet_id: int | None = None,
        _link_number: int = 0,
        _acknowledge: Callable[["ReceivedMessage"], None] | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self._packet_id: int | None = _packet_id
        self._link_number = _link_number
        self._acknowledge: Callable[[ReceivedMessage], None] | None = _acknowledge

    def __reduce__(self) -> tuple[Any, ...]:
        return (ReceivedMessage, (self.topic, self.payload, self.qos, self.retain, self.dup))

    def ack(self) -> None:
        """Acknowledge the message to the server, where ``manual_ack`` was asked for.

        Twice does no harm, nor does it where messages are acknowledged automatically, or on a copy.
        After a lost connection the server sends a message of QoS 1 again, whatever was acknowledged
        meanwhile.
        """
        acknowledge, self._acknowledge = self._acknowledge, None
        if acknowledge is not None:
            acknowledge(self)
