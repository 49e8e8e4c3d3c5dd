"""Callbacks: a thread for a client's callbacks, which is not the loop's."""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from logging import Logger, getLogger
from typing import Any, Final

logger: Logger = getLogger("mqttws.loop")

MAX_CALLBACKS: Final = 10_000
"""Calls that may wait for a slow callback; further ones are dropped, which the log says."""


class Callbacks:
    """Runs a client's callbacks, one after the other, in a thread that is not the loop's.

    A callback that blocks costs its own client time and no other one its keep-alive; it may call
    the client. The thread starts with the first callback.
    """

    def __init__(self, name: str = "mqttws-callbacks") -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dropping = False

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in the callbacks' thread."""
        return threading.current_thread() is self._thread

    def notifier(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return a function that has ``function`` called with its arguments, and does not wait."""

        def notify(*arguments: object) -> None:
            if self._jobs.qsize() >= MAX_CALLBACKS:
                if not self._dropping:
                    logger.warning("callbacks are too slow: calls are dropped")
                self._dropping = True
                return
            self._dropping = False
            self._add(lambda: function(*arguments))

        return notify

    def asker(self, function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return an async function that returns what ``function``, plain or async, returns."""

        async def ask(*arguments: object) -> Any:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Any] = loop.create_future()

            def settle(found: object, error: BaseException | None) -> None:
                if answer.cancelled():
                    return
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(found)

            def job() -> None:
                found, error = None, None
                try:
                    found = function(*arguments)
                except Exception as raised:
                    error = raised
                with suppress(RuntimeError):  # the loop has ended: no caller waits
                    loop.call_soon_threadsafe(settle, found, error)

            self._add(job)
            found = await answer
            return await found if asyncio.iscoroutine(found) else found

        return ask

    def drain(self, timeout: float) -> None:
        """Wait until the callbacks so far have returned, ``timeout`` seconds at most."""
        if self._thread is not None and not self.is_current:
            done = threading.Event()
            self._add(done.set)
            done.wait(timeout)

    def close(self) -> None:
        """End the thread once the callbacks so far have returned."""
        if self._thread is not None:
            self._jobs.put(None)
            self._jobs, self._thread = queue.SimpleQueue(), None

    def _add(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(
                target=_serve, args=(self._jobs,), name=self._name, daemon=True
            )
            self._thread.start()


async def off_the_loop(function: Callable[..., Any], *arguments: object) -> Any:
    """Return what a function of the application returns, called in a thread of its own."""
    callbacks = Callbacks("mqttws-hook")
    try:
        return await callbacks.asker(function)(*arguments)
    finally:
        callbacks.close()


def _serve(jobs: "queue.SimpleQueue[Callable[[], object] | None]") -> None:
    for job in iter(jobs.get, None):
        try:
            job()
        except Exception:
            logger.exception("a callback failed")
