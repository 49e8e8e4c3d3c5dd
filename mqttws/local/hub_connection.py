"""One device's connection to the local hub: its state, and messages to the device.

Knows MQTT. Does not know what is decided about a device's messages.
"""

import asyncio
from collections import deque
from typing import NamedTuple, Protocol

from ..errors import ProtocolError
from ..hub.service.decisions import (
    Peer,
    Send,
)
from ..hub.service.faults import HubFault
from ..hub.service.records import Key, Record
from ..hub.service.requests import (
    Names,
)
from ..protocol import (
    Event,
    State,
)
from .hub_core import Hub
from .link import ServerLink

MAX_PACKET_SIZE = 256 * 1024 + 65536 + 16
"""Bytes: a message of the largest size and a topic of the largest length."""

MAX_SILENCE = 1767.0
"""Seconds after which the load balancer cuts a silent connection, whatever its keep-alive says."""

MAX_WAITING = 64
"""A device's packets that may wait for their turn; no more of its bytes are read then."""

MAX_UNACKNOWLEDGED = 256
"""Messages that a device may leave without PUBACK before its connection is closed."""


class Registry(Protocol):
    """The hubs behind a port."""

    async def find(self, names: Names) -> "Hub | None":
        """Return the hub that a user name means; None for none."""


class Completed(NamedTuple):
    """A message to the device that it has acknowledged."""

    sequence: int


class LockEnded(NamedTuple):
    """A message to the device that it has not acknowledged in time."""

    sequence: int


class HubConnection:
    """The state of one device's connection, and what the hub does with it.

    Args:
        registry: the hubs.
        link: the connection.
    """

    def __init__(self, registry: Registry, link: ServerLink) -> None:
        self.link = link
        self.record: Record
        self._registry = registry
        self._hub: Hub
        self._peer: Peer | None = None
        self._key: Key
        self._waiting: deque[Event | Completed | LockEnded] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        self._timers: dict[int | str, asyncio.TimerHandle] = {}
        self._unacknowledged: list[int] = []  # packet ids, in the order of sending
        self._sent: dict[int, int] = {}  # packet id: a message's number in the queue
        self._delivered: set[int] = set()

    @property
    def expires_at(self) -> float | None:
        """Unix time in seconds at which its token ends; None for a certificate."""
        return None if self._peer is None else self._peer.admitted.expires_at

    def listens(self, topic_filter: str) -> bool:
        """Whether the device is connected and has subscribed to this filter."""
        protocol = self.link.protocol
        return protocol.state is State.CONNECTED and topic_filter in protocol.session.granted

    def send(self, message: Send) -> bool:
        """Send the device a message; return whether it has subscribed to it."""
        protocol = self.link.protocol
        if protocol.state is not State.CONNECTED:
            return False
        if len(protocol.session.outgoing) >= MAX_UNACKNOWLEDGED:
            self.close("the device acknowledges none of its messages")
            return False
        sent = self._publish(message.topic, message.payload, message.qos)
        if message.reason:
            self.link.log("%s", message.reason)
        self.link.pump()
        return sent is not None

    def _publish(self, topic: str, payload: bytes, qos: int) -> int | None:
        """Send a message; return its packet id, 0 for QoS 0, None without a subscription."""
        protocol = self.link.protocol
        outgoing = protocol.session.outgoing
        before = len(outgoing)
        if not protocol.publish(topic, payload, qos):
            return None
        if len(outgoing) == before:
            return 0
        packet_id = next(reversed(outgoing))
        self._unacknowledged.append(packet_id)
        return packet_id

    def close(self, reason: str) -> None:
        """End the connection; ``reason`` goes into the log."""
        self.link.close(reason)

    def _take(self, item: Event | Completed | LockEnded) -> None:
        """Take in what has to be done in its turn."""
        raise NotImplementedError

    def _end(self, reason: str) -> None:
        """End the connection from within an event."""
        self.link.end(ProtocolError(reason))

    # Faults on order

    async def _is_struck(self, operation: str) -> bool:
        fault = self._hub.faults.strike(self._key.device_id, operation)
        return fault is not None and await self._strikes(fault, operation)

    async def _strikes(self, fault: HubFault, operation: str) -> bool:
        """Let a fault strike; return whether the operation is not done."""
        self.link.log("fault: %s at %s", fault.kind, operation)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "drop":
            self._end(f"fault: dropped at {operation}")
        return fault.kind in ("drop", "silence")
