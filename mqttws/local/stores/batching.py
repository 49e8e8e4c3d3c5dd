"""Requests that are collected while earlier ones are under way, and sent together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Sends requests in batches: at once where a lane is free, else all that wait as the next one.

    Args:
        run: answers a batch, in order; what it raises every caller of the batch gets.
        lanes: batches that may be under way at once.
        limit: requests in a batch at most.
    """

    def __init__(
        self, run: Callable[[list[Q]], Awaitable[list[A]]], *, lanes: int, limit: int
    ) -> None:
        self._run = run
        self._lanes = lanes
        self._limit = limit
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0  # a task that has found nothing more takes nothing on, though not done

    async def ask(self, request: Q) -> A:
        """Return the answer to one request."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[A] = loop.create_future()
        self._waiting.append((request, answered))
        if self._working < self._lanes:
            self._working += 1
            task = loop.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answered

    async def close(self) -> None:
        """Wait until everything has been answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _work(self) -> None:
        try:
            await self._work_off()
        finally:
            self._working -= 1

    async def _work_off(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            try:
                answers = await self._run([request for request, _ in batch])
            except Exception as error:  # whatever it is, the waiting caller must get it
                for _, answered in batch:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            for (_, answered), answer in zip(batch, answers, strict=True):
                if not answered.done():
                    answered.set_result(answer)
