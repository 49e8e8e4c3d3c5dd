"""Writes what a session's store must know before the bytes that depend on it go out.

One thread does the writing, so that a disk never holds up the event loop. While a write is under
way, whatever comes gathers, and goes into the next one: a slow disk makes groups, not a queue.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import StoreFailed
from .store import Step, Store, Stored

CLOSE_TIMEOUT = 5.0
"""Seconds that the store is given to finish its last write."""


class Journal:
    """One store at work for one client.

    Args:
        store: where to.
        on_failure: called if it cannot be written any more; nothing that waits for it is done then.
    """

    def __init__(self, store: Store, on_failure: Callable[[StoreFailed], None]) -> None:
        self._store = store
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "mqttws-store")
        self._steps: list[Step] = []
        self._then: list[Callable[[], None]] = []
        self._writing = False
        self._failure: StoreFailed | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def open(self, client_id: str) -> Stored:
        """Open the store and return what it holds."""
        try:
            return await self._loop.run_in_executor(self._thread, self._store.load, client_id)
        except BaseException:
            # A load that is under way goes on in its thread; what it opened is closed behind it.
            self._thread.submit(self._store.close)
            self._thread.shutdown(wait=False)
            raise

    def submit(self, steps: Sequence[Step], then: Callable[[], None]) -> None:
        """Have ``steps`` written, and do ``then`` after that and after everything before it."""
        if not steps and not self._writing:
            then()
            return
        self._steps += steps
        self._then.append(then)
        if not self._writing:
            self._write()

    async def written(self) -> None:
        """Wait until all that was submitted so far is written, and what follows from it done.

        Raises:
            StoreFailed: it cannot be.
        """
        if self._failure is not None:
            raise self._failure
        if not self._writing:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        try:
            self.submit((), lambda: None if future.done() else future.set_result(None))
            await future
        finally:
            self._waiting.remove(future)

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Finish what is under way and let go of the store, within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.written()
        except (TimeoutError, StoreFailed):
            pass
        finally:
            if self._failure is None:  # what is not written now is not written any more
                self._failure = StoreFailed("the session store was closed")
            self._thread.submit(self._store.close)
            # An idle thread ends at once; one that hangs in a write is not waited for.
            self._thread.shutdown(wait=not self._writing)

    def _write(self) -> None:
        if self._failure is not None:
            return
        steps, self._steps = self._steps, []
        then, self._then = self._then, []
        self._writing = True
        writing = self._loop.run_in_executor(self._thread, self._store.save, steps)
        writing.add_done_callback(lambda written: self._on_written(written, then))

    def _on_written(
        self, written: "asyncio.Future[None]", then: Sequence[Callable[[], None]]
    ) -> None:
        error = None if written.cancelled() else written.exception()
        if error is not None or written.cancelled():
            self._writing = False
            self._failure = error if isinstance(error, StoreFailed) else StoreFailed(str(error))
            for future in self._waiting:
                if not future.done():
                    future.set_exception(self._failure)
            self._on_failure(self._failure)
            return
        for do in then:  # still "writing": what these bring about must go behind them
            do()
        self._writing = False
        if self._then:
            self._write()
