"""Publishes that have not ended: in the queue, or in flight; and the waits for their ends.

Knows their order, how many there may be, and what a store must be told of the queue. Does not know
why there is a connection or none.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from ..errors import MqttwsError, QueueFull
from ..protocol import Session
from ..wire import Publish
from . import clock
from .link import OUTBOX_HIGH_WATER, Link
from .receipt import Delivery
from .store import Queued, Step, Stored, Unqueued


class Outgoing:
    """The client's publishes that have not ended, oldest first.

    Args:
        limit: how many there may be.

    Attributes:
        queue: those that were never sent on this session, in order.
        in_flight: by packet identifier, those that wait for their handshake's end.
        recording: whether a store is to be told of the queue.
    """

    def __init__(self, limit: int) -> None:
        self.queue: deque[Delivery] = deque()
        self.in_flight: dict[int, Delivery] = {}
        self.recording = False
        self._limit = limit
        self._steps: list[Step] = []
        self._room: deque[asyncio.Future[None]] = deque()
        self._first = 1  # places in the queue that are taken: from _first up to _next
        self._next = 1

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return len(self.queue) + len(self.in_flight) >= self._limit

    def require_room(self, more: int = 0) -> None:
        """Refuse what would be one too many, beside ``more`` that are on their way here.

        Raises:
            QueueFull: nothing was queued.
        """
        if len(self.queue) + len(self.in_flight) + more >= self._limit:
            raise QueueFull(
                f"{self._limit} publishes have not ended; there may be no more at a time",
                hint="wait for some of their receipts, or raise max_outgoing",
            )

    async def room(self) -> None:
        """Wait until there is room for one more."""
        while self.full:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(future)
            try:
                await future
            except BaseException:
                if future.done() and not future.cancelled():
                    self.wake_one()  # the room is for another
                raise

    def load(self, stored: Stored) -> None:
        """Go on with what was stored."""
        for packet_id, packet in stored.session.outgoing.items():
            if isinstance(packet, Publish):
                delivery = Delivery(packet.topic, packet.payload, packet.qos, packet.retain)
            else:
                delivery = Delivery("", b"", 2, False)  # its PUBREL is all that is left of it
            self.in_flight[packet_id] = delivery
        for number, packet in stored.queue.items():
            delivery = Delivery(packet.topic, packet.payload, packet.qos, packet.retain)
            delivery.number = number
            self.queue.append(delivery)
        if self.queue:
            self._first, self._next = self.queue[0].number, self.queue[-1].number + 1

    def enqueue(self, delivery: Delivery) -> None:
        """Put a message at the queue's end."""
        delivery.number = self._next
        self._next += 1
        self.queue.append(delivery)
        self._record(Queued(delivery.number, delivery.packet))

    def requeue(self, session: Session) -> None:
        """Take back what is in flight, since the session ends with its connection.

        The messages go to the queue's head in their order, to be sent as new ones. What the server
        has owned since its PUBREC is not sent again: it would come twice.
        """
        for packet_id in reversed(session.outgoing):
            delivery = self.in_flight.pop(packet_id, None)
            if delivery is None:
                continue
            if isinstance(session.outgoing[packet_id], Publish):
                self._first -= 1
                delivery.number = self._first
                self.queue.appendleft(delivery)
                self._record(Queued(delivery.number, delivery.packet))
            else:
                delivery.complete()

    def send(self, link: Link, delivery: Delivery) -> None:
        """Send a message on a link.

        Raises:
            UsageError: it breaks a rule; nothing was sent.
        """
        payload = delivery.payload
        packet_id = link.protocol.publish(delivery.topic, payload, delivery.qos, delivery.retain)
        if packet_id is None:
            delivery.complete()
        else:
            self.in_flight[packet_id] = delivery
        link.unsent += len(payload) + 64  # an empty payload takes room too
        if link.unsent >= OUTBOX_HIGH_WATER:
            link.flush()
        elif not link.flush_scheduled:
            link.flush_soon()

    def drain(self, link: Link) -> None:
        """Send from the queue what the link takes."""
        while self.queue and not link.blocked:
            delivery = self.queue.popleft()
            self._record(Unqueued(delivery.number))
            self.send(link, delivery)
            if not delivery.qos:
                self.wake_one()

    def complete(self, packet_id: int) -> None:
        """End what was in flight: the server has taken it over."""
        delivery = self.in_flight.pop(packet_id, None)
        if delivery is not None:
            delivery.complete()
        if self._room:
            self.wake_one()

    def end(self, error: MqttwsError) -> None:
        """Tell everybody who waits that the client has ended."""
        for delivery in (*self.in_flight.values(), *self.queue):
            delivery.complete(error)
        self.in_flight.clear()
        self.queue.clear()
        for future in self._room:
            if not future.done():
                future.set_exception(error)
        self._room.clear()

    def take_steps(self) -> list[Step]:
        """Return what a store must be told since the last call."""
        taken, self._steps = self._steps, []
        return taken

    def wake_one(self) -> None:
        """Let one of those who wait for room look."""
        while self._room:
            future = self._room.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _record(self, step: Step) -> None:
        if self.recording:
            self._steps.append(step)


class Waits:
    """Bounded waits for answers, all of the same length, so that one timer serves them all.

    Args:
        timeout: seconds that each lasts at most.
        on_change: told when the first begins and the last has ended.
    """

    def __init__(self, timeout: float, on_change: Callable[[], None]) -> None:
        self._timeout = timeout
        self._on_change = on_change
        self._waiting: dict[asyncio.Future[None], float] = {}  # in the order of their deadlines
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, future: "asyncio.Future[None]") -> None:
        """Wait for ``future``.

        Raises:
            TimeoutError: it did not come in time.
        """
        waiting = self._waiting
        waiting[future] = clock.now() + self._timeout
        if len(waiting) == 1:
            self._on_change()
            if self._timer is None:
                self._set_timer()
        try:
            await future
        finally:
            del waiting[future]
            if future.done() and not future.cancelled():
                future.exception()  # told or not: it is not a warning's matter
            if not waiting:
                self._on_change()

    def fail(self, error: MqttwsError) -> None:
        """End every wait with an error."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        deadline = next(iter(self._waiting.values()))
        wait = min(max(0.0, deadline - clock.now()), clock.MAX_TIMER)
        self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = clock.now()
        for future, deadline in self._waiting.items():
            if deadline > now:
                break
            if not future.done():
                future.set_exception(TimeoutError())
        if self._waiting:
            self._set_timer()
