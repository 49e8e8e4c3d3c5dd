"""The time for which messages that fit no stream are left unacknowledged.

Knows the time limit, and that it stands still while the application waits for a subscription. Does
not know messages.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Patience:
    """The time after CONNACK in which the application may still open a stream.

    It stands still while a SUBSCRIBE of the application awaits its answer, which that call's own
    time limit bounds: the stream is opened behind it, by a program that does one after the other.

    Args:
        wait: seconds; None for ever.
        over: called when the time is over.

    Attributes:
        lasts: whether it is not over.
    """

    def __init__(self, wait: float | None, over: Callable[[], None]) -> None:
        self.lasts: bool = True
        self._wait = wait
        self._over = over
        self._left = 0.0  # seconds, while no timer runs
        self._loop: asyncio.AbstractEventLoop | None = None  # None without a connection
        self._timer: asyncio.TimerHandle | None = None
        self._subscribing = 0  # calls

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin anew, on a new connection."""
        self.lasts = True
        if self._wait is not None:
            self._loop, self._left = loop, self._wait
            self._go_on()

    def stop(self) -> None:
        """Leave no timer behind: the connection has ended."""
        self._stand_still()
        self._loop = None

    @contextmanager
    def subscribing(self) -> Iterator[None]:
        """Stand still within."""
        self._subscribing += 1
        self._stand_still()
        try:
            yield
        finally:
            self._subscribing -= 1
            self._go_on()

    def _go_on(self) -> None:
        if self._loop is not None and self._timer is None and not self._subscribing and self.lasts:
            self._timer = self._loop.call_later(self._left, self._end)

    def _stand_still(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and self._loop is not None:
            timer.cancel()
            self._left = max(0.0, timer.when() - self._loop.time())

    def _end(self) -> None:
        self._timer = None
        self.lasts = False
        self._over()
