"""A limit on how often something may happen (``iot-dps-limits.md``): a sliding window.

Pure: the caller says what time it is.
"""

import math
from collections import deque

from ..errors import UsageError

WINDOWS_BEFORE_CLEANING = 1024


class Throttle:
    """Lets ``limit`` things happen in any ``seconds``, for each name separately.

    Args:
        limit: how many.
        seconds: in how long a time.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        if limit < 1:
            raise UsageError(f"a limit of {limit}; allowed: at least 1")
        self._limit = limit
        self._seconds = seconds
        self._happened: dict[str, deque[float]] = {}
        self._clean_at = WINDOWS_BEFORE_CLEANING

    def take(self, name: str, now: float) -> int:
        """Count one thing and return 0; or, if it is too much, the whole seconds to wait."""
        if len(self._happened) >= self._clean_at and name not in self._happened:
            self._clean(now)
            # Where all of them still count, the next look is put off: else each newcomer costs one.
            self._clean_at = max(WINDOWS_BEFORE_CLEANING, 2 * len(self._happened))
        happened = self._happened.setdefault(name, deque())
        while happened and happened[0] <= now - self._seconds:
            happened.popleft()
        if len(happened) >= self._limit:
            return max(1, math.ceil(happened[0] + self._seconds - now))
        happened.append(now)
        return 0

    def _clean(self, now: float) -> None:
        """Forget the names of which nothing counts any more."""
        self._happened = {
            name: happened
            for name, happened in self._happened.items()
            if happened and happened[-1] > now - self._seconds
        }
