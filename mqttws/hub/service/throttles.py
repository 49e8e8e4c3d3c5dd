"""The hub's throttles: how often an operation may happen, and what happens beyond.

Source: azure-docs ``iot-hub-devguide-quotas-throttling.md``: bursts are let through, then traffic
is shaped (answers come late), then refused. Pure: the caller says what time it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ...errors import UsageError
from ...text import shown

BURST_SECONDS = 1.0
"""Seconds' worth of operations that are let through at once."""

MAX_DELAY = 5.0
"""Seconds by which an operation may be put off before it is refused; INFERRED."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Operations a second of one hub; None for no limit.

    Attributes:
        connects: a CONNECT beyond it gets CONNACK 3.
        telemetry: PUBACK comes late, then the connection is closed: over MQTT a refusal of
            telemetry is a disconnect (azure-docs #107838).
        twin_reads: a request beyond it is answered 429.
        twin_updates: a request beyond it is answered 429.
    """

    connects: float | None = None
    telemetry: float | None = None
    twin_reads: float | None = None
    twin_updates: float | None = None


def parse_limits(members: object) -> Limits:
    """Return the limits that a JSON object holds; without one, there is no limit.

    Raises:
        UsageError: names the member that is wrong.
    """
    allowed = [known.name for known in fields(Limits)]
    if not isinstance(members, Mapping):
        raise UsageError(f"throttles: expected an object with {', '.join(allowed)}")
    for name, rate in members.items():
        if name not in allowed:
            raise UsageError(f"throttles: {shown(name)} is unknown; allowed: {', '.join(allowed)}")
        number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if rate is not None and not (number and 0 < rate <= 10**9):
            raise UsageError(f"throttles: {name} {shown(rate)}; allowed: above 0, or null for none")
    return Limits(**members)


class Throttle:
    """A bucket that fills at ``rate`` operations a second."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = float("-inf")  # when the bucket would be full again, less its size

    def delay(self, now: float) -> float:
        """Count one operation and return the seconds by which it is to be put off.

        More than ``MAX_DELAY`` means refused: then it is not counted.
        """
        if self._rate is None:
            return 0.0
        due = max(self._due, now - BURST_SECONDS) + 1.0 / self._rate
        late = due - now
        if late <= MAX_DELAY:
            self._due = due
        return max(0.0, late)

    def take(self, now: float) -> bool:
        """Count one operation and return whether it is allowed, without putting it off."""
        if self._rate is None:
            return True
        due = max(self._due, now - BURST_SECONDS) + 1.0 / self._rate
        if due > now:
            return False
        self._due = due
        return True
