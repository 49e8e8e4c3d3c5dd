"""Whether the server's bytes are read on: back-pressure from the application to the server.

Knows how much waits unread, and whether a call awaits an answer that stands behind it.
"""

import asyncio
from collections.abc import Callable

from ..errors import MqttwsError, QueueFull
from . import clock
from .inbox import MAX_UNREAD_BYTES, Inbox
from .link import Link

MAX_UNREAD_BYTES_WAITING = 64 * 1024 * 1024
"""Most bytes of unread messages while a call awaits an answer that comes behind them."""


class Waits:
    """Bounded waits for answers, all of the same length, so that one timer serves them all.

    Args:
        timeout: seconds that each lasts at most.
        on_change: called when the first begins and the last has ended.
    """

    def __init__(self, timeout: float, on_change: Callable[[], None]) -> None:
        self._timeout = timeout
        self._on_change = on_change
        # In the order of their deadlines; with what makes the error of one that is late.
        self._waiting: dict[asyncio.Future[None], tuple[float, Callable[[], BaseException]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, future: "asyncio.Future[None]") -> None:
        """Wait for ``future``.

        Raises:
            TimeoutError: it did not come in time.
        """
        self.enter(future, TimeoutError)
        try:
            await future
        finally:
            self.leave(future)

    def enter(self, future: "asyncio.Future[None]", late: Callable[[], BaseException]) -> None:
        """Begin a wait; ``late`` makes the future's error if it has not come in time."""
        waiting = self._waiting
        waiting[future] = (clock.now() + self._timeout, late)
        if len(waiting) == 1:
            self._on_change()
            if self._timer is None:
                self._set_timer()

    def leave(self, future: "asyncio.Future[None]") -> None:
        """End a wait: the future is done, or not waited for any more."""
        if future.done() and not future.cancelled():
            future.exception()  # retrieved: asyncio would log it as never retrieved
        del self._waiting[future]
        if not self._waiting:
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
        deadline, _ = next(iter(self._waiting.values()))
        wait = min(max(deadline - clock.now(), 0.0), clock.MAX_TIMER)
        self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = clock.now()
        for future, (deadline, late) in self._waiting.items():
            if deadline > now:
                break
            if not future.done():
                future.set_exception(late())
        if self._waiting:
            self._set_timer()


class Reading:
    """Leaves the socket unread while the application does not keep up.

    While a call awaits an answer the socket is read on, for the answer comes behind the messages; a
    second limit bounds what that may cost.

    Args:
        inbox: the messages that wait.
        max_queued: how many may wait before the socket is left unread.
        timeout: seconds that a wait for an answer lasts at most.

    Attributes:
        link: the connection that is read; None without one.
        waits: publishes that await their acknowledgement.
        answers: how many other calls await one.
        max_queued: how many messages may wait unread.
    """

    def __init__(self, inbox: Inbox, max_queued: int, timeout: float) -> None:
        self.link: Link | None = None
        self.waits: Waits = Waits(timeout, self.regulate)
        self.answers: int = 0
        self._inbox = inbox
        self.max_queued = max_queued

    @property
    def full(self) -> bool:
        """Whether so much waits unread that the server is held back."""
        inbox = self._inbox
        return inbox.count >= self.max_queued or inbox.size >= MAX_UNREAD_BYTES

    def begin_answer(self) -> None:
        """Count a call that awaits an answer."""
        self.answers += 1
        self.regulate()

    def end_answer(self) -> None:
        """Count it out."""
        self.answers -= 1
        self.regulate()

    def regulate(self) -> None:
        """Read on, or leave the server's bytes where they are."""
        link, inbox = self.link, self._inbox
        if link is None:
            return
        answers = len(self.waits) + self.answers
        if answers and inbox.size > MAX_UNREAD_BYTES_WAITING:
            error = QueueFull(
                f"{inbox.size} bytes of messages wait unread while a call awaits its answer"
                " behind them; what was to be sent stays in flight",
                hint="read messages() faster, or in a task of its own",
            )
            self.waits.fail(error)
            link.fail_requests(error)
            answers = 0
        link.set_reading(not self.full or answers > 0)
