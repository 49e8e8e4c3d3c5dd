"""Answers to SUBSCRIBE and UNSUBSCRIBE that are awaited on one connection."""

import asyncio
from functools import partial
from typing import Any

from ..errors import MqttwsError


class Answers:
    """The waits, by packet identifier.

    Args:
        loop: the event loop of those who wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waits: dict[int, asyncio.Future[Any]] = {}

    def expect(self, packet_id: int) -> "asyncio.Future[Any]":
        """Return the future of a request's answer."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waits[packet_id] = future
        future.add_done_callback(partial(self._forget, packet_id))
        return future

    def resolve(self, packet_id: int, result: Any) -> None:
        """End a wait with its answer, or with the error that it is."""
        future = self._waits.get(packet_id)
        if future is not None and not future.done():
            if isinstance(result, MqttwsError):
                future.set_exception(result)
            else:
                future.set_result(result)

    def fail(self, error: MqttwsError) -> None:
        """End every wait with an error."""
        for future in list(self._waits.values()):
            if not future.done():
                future.set_exception(error)

    def _forget(self, packet_id: int, future: "asyncio.Future[Any]") -> None:
        self._waits.pop(packet_id, None)
        if not future.cancelled():
            future.exception()  # retrieved: asyncio would log it as never retrieved
