"""The times at which a SAS token is renewed, and at which a device registers with DPS again.

MQTT 3.1.1 cannot renew a token inside a connection: the device connects anew.
"""

from dataclasses import dataclass

EARLY = 120.0
"""Seconds before its expiry at which a long-lived token is renewed, as the Python SDK does."""

EARLY_PART = 0.2
"""The part of a short token's life that is left when it is renewed."""

JITTER_PART = 0.05
"""The part of a token's life by which renewals are spread, at random: fleets start together."""


def renewal_time(issued: float, expiry: float, chance: float) -> float:
    """Return the Unix time at which a token is renewed; before its expiry.

    Args:
        issued: Unix time at which it was signed or received.
        expiry: Unix time from which on it is void.
        chance: 0 to 1, at random.
    """
    life = max(0.0, expiry - issued)
    early = min(EARLY, EARLY_PART * life) + min(EARLY, JITTER_PART * life) * chance
    return expiry - early


@dataclass(slots=True)
class Rehoming:
    """Decides when a device that its hub refuses asks DPS again, and how often.

    Args:
        limit: how many times in a row DPS is asked, without a good connection in between.
        refusals: how many refusals by the hub come before DPS is asked. A hub may refuse an
            identity for seconds after it was made.
        unresolved: how many times the hub's name is not found before DPS is asked.
    """

    limit: int
    refusals: int = 2
    unresolved: int = 3
    _refused: int = 0
    _missing: int = 0
    _asked: int = 0

    @property
    def asked(self) -> int:
        """The number of times in a row that DPS was asked."""
        return self._asked

    @property
    def exhausted(self) -> bool:
        """Whether DPS must not be asked any more."""
        return self._asked >= self.limit

    def on_refused(self) -> bool:
        """Note that the hub refused the device; return whether DPS is asked now."""
        self._refused += 1
        return self._refused >= self.refusals and not self.exhausted

    def on_unresolved(self) -> bool:
        """Note that the hub's name was not found; return whether DPS is asked now."""
        self._missing += 1
        return self._missing >= self.unresolved and not self.exhausted

    def on_asked(self) -> float:
        """Note that DPS is asked; return the seconds to wait before, 0 the first time."""
        self._refused = self._missing = 0
        self._asked += 1
        return 0.0 if self._asked == 1 else min(60.0, 2.0 ** (self._asked - 2))

    def on_connected(self) -> None:
        """Note that the hub accepted the device."""
        self._refused = self._missing = 0

    def on_good(self) -> None:
        """Note that a connection has lasted: the next trouble is a new one."""
        self._asked = 0
