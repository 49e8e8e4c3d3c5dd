"""The clock of connections: seconds that also count while the machine is suspended.

``asyncio`` keeps time with a clock that stands still during a suspension, so a timer set by it
rings late. Deadlines are kept by this clock, and no timer is set further ahead than ``MAX_TIMER``:
then a machine that wakes up notices soon which deadlines have passed.
"""

import asyncio
import time

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
