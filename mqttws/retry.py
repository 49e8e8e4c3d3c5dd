"""How long to wait before the next attempt to connect."""

import random
from dataclasses import dataclass

from .errors import UsageError


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter: a random part of a limit that doubles.

    The wait before attempt ``n`` (0, 1, …) is uniform between 0 and ``min(limit, first * 2**n)``,
    so that the clients of a server that comes back do not come back together.

    Attributes:
        first: seconds that the first wait lasts at most; 0 tries again at once.
        limit: seconds that any wait lasts at most.
    """

    first: float = 1.0
    limit: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.limit:
            raise UsageError(f"Backoff(first={self.first!r}, limit={self.limit!r}): 0 to limit")

    def ceiling(self, attempt: int) -> float:
        """Return the longest wait in seconds before this attempt."""
        return min(self.limit, self.first * 2.0 ** min(attempt, 60))

    def wait(self, attempt: int) -> float:
        """Return how many seconds to wait before this attempt."""
        return random.uniform(0.0, self.ceiling(attempt))  # noqa: S311 - spread, not secrecy
