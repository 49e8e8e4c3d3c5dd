"""The hub's throttles: how often an operation may happen, and what happens beyond.

Source: azure-docs ``iot-hub-devguide-quotas-throttling.md``: bursts are let through, then traffic
is shaped (answers come late), then refused. Pure: the caller says what time it is.
"""

from dataclasses import dataclass

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
        twin_updates: likewise.
    """

    connects: float | None = None
    telemetry: float | None = None
    twin_reads: float | None = None
    twin_updates: float | None = None


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
