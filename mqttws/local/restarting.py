"""Restarts: a service goes away in the middle of everything, and comes back; an ordered fault."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import ServiceFailed

logger: logging.Logger = logging.getLogger("mqttws.local")


class Restarts:
    """At most one restart at a time.

    Args:
        leave: ends every connection and stops listening.
        come_back: listens again.
    """

    def __init__(
        self, leave: Callable[[], Awaitable[None]], come_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._leave = leave
        self._come_back = come_back
        self._task: asyncio.Task[None] | None = None

    def begin(self, seconds: float) -> None:
        """Go away now, and come back after ``seconds``; one that is under way goes on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(seconds))

    async def cancel(self) -> None:
        """Stay away, if there is a restart under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, seconds: float) -> None:
        logger.info("the service goes away for %g s", seconds)
        try:
            await self._leave()
            await asyncio.sleep(seconds)
            await self._come_back()
            logger.info("the service is back")
        except ServiceFailed as error:
            logger.error("the service does not come back: %s", error)  # noqa: TRY400
        finally:
            self._task = None
