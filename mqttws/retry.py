"""Whether a failure is worth another attempt, and how many seconds to wait before it.

One place for registrations, ``provision``, fleets and clients. Errors' fields, the numbers of
attempts and random numbers come in, seconds come out: there is no clock and no chance in here.
"""

import math
from dataclasses import dataclass

from .errors import ConnectFailed, MqttwsError, UsageError
from .hops import Cause, Hop
from .text import shown

LONGEST_WAIT = 3600.0
"""Seconds: the longest wait that is kept: a service's Retry-After, or a back-off under
refusals."""

REFUSED_LOGIN_WAIT = 1800.0
"""Seconds before a client repeats a login that was refused: its default, since directories lock an
account after three to ten bad ones, and count for up to 30 minutes."""

FORBIDDEN_WAIT = 300.0
"""Seconds, the longest wait before a client asks a proxy again that has answered 403."""

_DOUBLINGS = 60  # more would overflow a float, and change nothing


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
        good = all(type(one) in (int, float) for one in (self.first, self.limit))
        if not (good and 0 <= self.first <= self.limit < math.inf):
            raise UsageError(f"Backoff(first={self.first!r}, limit={self.limit!r}): 0 to limit")

    def ceiling(self, attempt: int) -> float:
        """Return the longest wait in seconds before this attempt."""
        if type(attempt) is not int or attempt < 0:
            raise UsageError(f"attempt: found {shown(attempt)}; allowed: a number, 0 or more")
        return min(self.limit, self.first * 2.0 ** min(attempt, _DOUBLINGS))

    def wait(self, attempt: int, spread: float) -> float:
        """Return how many seconds to wait before this attempt.

        Args:
            attempt: 0 for the first one after a failure.
            spread: a random number from 0 to 1.

        Raises:
            UsageError: an argument is invalid.
        """
        if type(spread) not in (int, float) or not 0 <= spread <= 1:
            raise UsageError(f"spread: found {shown(spread)}; allowed: 0 to 1")
        return self.ceiling(attempt) * spread


@dataclass(frozen=True, slots=True)
class Pauses:
    """Exponential back-off with equal jitter: half of a limit that doubles, and a random part.

    For one call that has a deadline, where a wait of nothing would be an attempt in vain.

    Attributes:
        first: seconds that the first wait lasts at most.
        limit: seconds that any wait lasts at most, unless the peer wants longer.
    """

    first: float
    limit: float

    def wait(self, attempt: int, spread: float, at_least: float = 0.0) -> float:
        """Return how many seconds to wait before this attempt.

        Args:
            attempt: 0 for the first one after a failure.
            spread: a random number from 0 to 1.
            at_least: what the peer wants, such as a Retry-After; cut at ``LONGEST_WAIT``.
        """
        half = min(self.limit, self.first * 2.0 ** min(attempt, _DOUBLINGS)) / 2
        return max(min(at_least, LONGEST_WAIT), half) + half * spread


BUSY = Pauses(1.0, LONGEST_WAIT)
"""Between requests that a service answers 429 or 5xx, or whose operation it has forgotten."""

LOST = Pauses(0.5, 30.0)
"""Between connections within one call."""

MIN_ATTEMPT = 0.25
"""Seconds that must be left for an attempt to be begun."""


def fit(wait: float, at_least: float, left: float) -> float | None:
    """Return a wait that leaves time for an attempt before a deadline; None where none is left.

    A long wait of ours is shortened, a wait that the peer wants is not.

    Args:
        wait: seconds that are to be waited.
        at_least: seconds that the peer wants.
        left: seconds until the deadline.
    """
    latest = left - MIN_ATTEMPT
    if latest < at_least or latest <= 0:
        return None
    if wait <= latest:
        return wait
    return at_least + (latest - at_least) / 2


TELLING_SILENCE = 2.0
"""Seconds of silence that tell something of a peer; the end of the time may cut one off earlier."""


def tells_less(error: MqttwsError, seconds: float, before: MqttwsError) -> bool:
    """Tell whether a silence that the end of the time cut off tells less than the failure before.

    So it is with a short one that led no further on the way than the attempt before.

    Args:
        error: what ended the last attempt.
        seconds: how long its last hop waited.
        before: what ended the attempt before it.
    """
    if not isinstance(error, TimeoutError) or error.hop is None or before.hop is None:
        return False
    order = list(Hop)
    return seconds < TELLING_SILENCE and order.index(error.hop) <= order.index(before.hop)


def is_refused_login(error: MqttwsError) -> bool:
    """Tell whether a proxy has refused a login, or the lack of one."""
    return error.cause in (Cause.PROXY_LOGIN_MISSING, Cause.PROXY_LOGIN_REFUSED)


def is_forbidden(error: MqttwsError) -> bool:
    """Tell whether a proxy has refused to let anybody through to this host."""
    return error.cause is Cause.PROXY_FORBIDS


def reconnect_wait(
    error: MqttwsError,
    attempt: int,
    spread: float,
    backoff: Backoff,
    *,
    refused_login_retry: float | None = REFUSED_LOGIN_WAIT,
    fresh_login: bool = False,
) -> float | None:
    """Return how many seconds a client waits before it connects again; None where it gives up.

    Args:
        error: why the last attempt failed, or the connection was lost.
        attempt: how many attempts have failed in a row.
        spread: a random number from 0 to 1.
        backoff: the client's.
        refused_login_retry: seconds before a login is repeated that a proxy has refused; None for
            never.
        fresh_login: whether the next attempt has another login than the one that was refused.
    """
    if is_refused_login(error):
        if fresh_login:
            return 0.0
        return refused_login_retry
    if is_forbidden(error):
        return Backoff(backoff.first, max(FORBIDDEN_WAIT, backoff.first)).wait(attempt, spread)
    if not error.retryable:
        return None
    wanted = error.retry_after if isinstance(error, ConnectFailed) else None
    return max(backoff.wait(attempt, spread), min(wanted or 0.0, LONGEST_WAIT))
