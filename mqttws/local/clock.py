"""The store's clock: the time that all front ends of one service share.

The clock of the front end's own machine decides nothing; it only says how long ago the store was
asked.
"""

import time

from ..dps.store import Store


class StoreClock:
    """Unix time by the store's clock, without asking it each time.

    Args:
        store: open before ``read`` is called.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ahead = time.time() - time.monotonic()  # until it has been read

    async def read(self) -> float:
        """Ask the store; return its time.

        Raises:
            StoreFailed: it does not answer.
        """
        now = (await self._store.load()).now
        self.note(now)
        return now

    def note(self, now: float) -> None:
        """Take in the time that the store has just told."""
        self._ahead = now - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds, as far as it is known without asking."""
        return time.monotonic() + self._ahead
