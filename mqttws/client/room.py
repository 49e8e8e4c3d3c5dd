"""Limits on the publishes that are unfinished at a time, and the waits for room among them."""

import asyncio
from collections import deque
from dataclasses import dataclass

from ..errors import MqttwsError, QueueFull
from .receipt import Delivery

DELIVERY_COST = 500
"""Bytes that an unfinished publish takes beside its topic and payload."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is under way.

    Attributes:
        publishes: how many may be unfinished, in the queue and in flight.
        size: how many bytes they may take together; one message alone may take more.
        in_flight: how many of QoS 1 and 2 may wait for their acknowledgement.
        in_flight_qos2: how many of these may be of QoS 2; while there are so many, none of QoS 1
            is sent either.
    """

    publishes: int
    size: int
    in_flight: int
    in_flight_qos2: int


class Room:
    """Counts the publishes that have not ended.

    Attributes:
        limits: bounds on what is under way.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._count = 0
        self._size = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether a limit is reached."""
        return self._count >= self.limits.publishes or self._size >= self.limits.size

    def require(self, more: int = 0) -> None:
        """Raise if the queue is full, with ``more`` publishes that are about to enter it.

        Raises:
            QueueFull: nothing was queued.
        """
        if self._count + more >= self.limits.publishes:
            raise QueueFull(
                f"{self._count} publishes have not ended; allowed: {self.limits.publishes}",
                hint="wait for some of their receipts, or raise max_outgoing",
            )
        if self._size >= self.limits.size:
            raise QueueFull(
                f"unfinished publishes take {self._size} bytes; allowed: {self.limits.size}",
                hint="wait for some of their receipts, or raise max_outgoing_bytes",
            )

    async def wait(self) -> None:
        """Wait until there is room for one more."""
        while self.full:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            except BaseException:
                if future.done() and not future.cancelled():
                    self._wake_one()  # the room is for another
                raise

    async def settled(self) -> None:
        """Wait until every publish has ended."""
        while self._count:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def enter(self, delivery: Delivery) -> None:
        """Count a publish in that has begun."""
        self._count += 1
        self._size += len(delivery.payload) + len(delivery.topic) + DELIVERY_COST

    def leave(self, delivery: Delivery) -> None:
        """Count a publish out that has ended."""
        delivery.on_cancel = None
        self._count -= 1
        self._size -= len(delivery.payload) + len(delivery.topic) + DELIVERY_COST
        if self._waiting:
            self._wake_one()
        if not self._count and self._idle:
            self._wake_idle()

    def end(self, error: MqttwsError) -> None:
        """Count everything out, and end every wait for room with an error."""
        self._count = self._size = 0
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        self._wake_idle()

    def _wake_one(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _wake_idle(self) -> None:
        waiting, self._idle = self._idle, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
