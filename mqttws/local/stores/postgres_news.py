"""News of a PostgreSQL database: one connection that listens, made again whenever it breaks.

Knows LISTEN through psycopg. Does not know what the news means. What was announced while no
connection listened is lost; an empty text says so.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from ...text import short_line
from .postgres_schema import LISTEN

logger: logging.Logger = logging.getLogger("mqttws.local")

CHECK = 5.0
"""Seconds of silence after which the connection must prove that it still carries something."""

TIMEOUT = 5.0
"""Seconds within which it must be made, or answer."""

FIRST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""Seconds until a broken connection is made again: twice as long after each failure."""


class NewsListener:
    """Listens for news, over all troubles of the connection.

    Args:
        options: of psycopg's connections.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._task: asyncio.Task[None] | None = None

    def begin(self, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with each news from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(heard))

    async def close(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, heard: Callable[[str], None]) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                async with asyncio.timeout(TIMEOUT):
                    connection = await psycopg.AsyncConnection.connect(
                        autocommit=True, **self._options
                    )
            except (psycopg.Error, OSError):  # the pool's connections say why
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)
                continue
            delay = FIRST_DELAY
            try:
                await self._hear(connection, heard)
            except (psycopg.Error, OSError) as error:
                reason = short_line(str(error)) or type(error).__name__
                logger.info("news of other front ends: the connection is made again: %s", reason)
            finally:
                await connection.close()
            await asyncio.sleep(delay)

    async def _hear(
        self, connection: psycopg.AsyncConnection[Any], heard: Callable[[str], None]
    ) -> None:
        """Hand on news until the connection breaks."""
        async with asyncio.timeout(TIMEOUT):
            await connection.execute(LISTEN)
        heard("")
        while True:
            async for notice in connection.notifies(timeout=CHECK):
                heard(notice.payload)
            async with asyncio.timeout(TIMEOUT):
                await connection.execute("SELECT 1")
