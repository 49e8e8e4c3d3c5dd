"""Leaving in order: what was accepted is delivered first, within a time limit."""

import asyncio

from ..net.stream import CLOSE_TIMEOUT
from .inbox import logger
from .options import ClientState
from .outgoing import Outgoing

LEAVE_TIMEOUT = 3.0
"""Seconds for leaving, by default: for the acknowledgements of what was accepted, and
for the server to close its half of the connection."""


class Leaving:
    """One client's way out."""

    async def finish(self, outgoing: Outgoing, state: ClientState, timeout: float) -> None:
        """Wait until everything that was accepted has ended, ``timeout`` seconds at most.

        Without a connection nothing is waited for. One that is lost meanwhile may be renewed in
        time.
        """
        if state is not ClientState.CONNECTED:
            return
        # A rest of the time is for saying goodbye.
        try:
            async with asyncio.timeout(timeout * 0.8):
                await outgoing.room.settled()
        except TimeoutError:
            pass

    def time_to_close(self, left: float) -> float:
        """Return the seconds that the server is given to close its half."""
        return min(max(0.0, left), CLOSE_TIMEOUT)

    def report(self, unsent: int, unacknowledged: int) -> None:
        """Log what could not be delivered."""
        if unsent or unacknowledged:
            logger.warning(
                "the client ended with %d messages not sent and %d not acknowledged",
                unsent,
                unacknowledged,
            )
