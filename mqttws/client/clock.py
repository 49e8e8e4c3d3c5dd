"""The clock of connections: seconds that also count while the machine is suspended.

``asyncio`` keeps time with a clock that stands still during a suspension, so a timer set by it
rings late. Deadlines are kept by this clock, and no timer is set further ahead than ``MAX_TIMER``:
then a machine that wakes up notices soon which deadlines have passed.
"""

import asyncio
import time
from collections.abc import Callable

MAX_TIMER = 5.0
"""Seconds after which a timer rings at the latest, to look at the clock."""

_clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> float:
    """Return the time in seconds; only differences mean something."""
    # Linux has the clock that is wanted; elsewhere the monotonic one must do.
    return time.monotonic() if _clock is None else time.clock_gettime(_clock)


async def sleep(seconds: float) -> None:
    """Wait so long; suspended time counts too."""
    until = now() + seconds
    while (left := until - now()) > 0:  # noqa: ASYNC110 - time itself is awaited
        await asyncio.sleep(min(left, MAX_TIMER))


class Alarm:
    """A timer for one deadline after the other.

    Args:
        loop: on which it rings.
        ring: called at the deadline, or earlier: one that rings too early is set anew then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def set(self, deadline: float | None) -> None:
        """Ring at ``deadline`` at the latest; None for not at all."""
        if deadline is None:
            self.stop()
        elif self._timer is None or self._rings_at > deadline:
            self.stop()
            moment = now()
            wait = min(max(deadline - moment, 0.0), MAX_TIMER)
            self._rings_at = moment + wait
            self._timer = self._loop.call_later(wait, self._on_timer)

    def stop(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._ring()
