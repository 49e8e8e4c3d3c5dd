"""LoopThread: an event loop in a background thread."""

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from logging import Logger, getLogger
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast

from ..errors import ConnectionLost, RequestTimedOut, ServiceFailed, UsageError
from ..hops import Cause
from ..options import CALL, CLOSE, POST, THREAD_NAME

logger: Logger = getLogger("mqttws.loop")

_T = TypeVar("_T")

CLOSE_TIMEOUT: Final = 5.0
"""Seconds within which a thread must have ended."""

LOOK_EVERY: Final = 0.5
"""Seconds after which a thread that waits looks whether Ctrl-C has come. A signal that comes just
before it blocks in a lock, or that another thread takes, does not wake it (CPython)."""

Work = Callable[[], Coroutine[Any, Any, _T] | asyncio.Future[_T]]
"""Makes a coroutine, or begins something and returns the future of its end; called on the loop."""

_living: "weakref.WeakSet[LoopThread]" = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    """End every loop before the interpreter freezes its thread: a waiting caller gets an error."""
    for thread in list(_living):
        thread.close(1.0)


class LoopThread:
    """An event loop in a daemon thread; several synchronous clients may share one.

    >>> with LoopThread() as thread:
    ...     first = Client("wss://broker.example/mqtt", thread=thread)
    ...     second = Client("wss://other.example/mqtt", thread=thread)

    It starts with the first call and ends with ``close``, which cancels what still runs on it.

    Args:
        name: of the thread, for debuggers.
    """

    def __init__(self, name: str = "mqttws") -> None:
        THREAD_NAME.check(locals())
        self._name = name
        self._gate = threading.RLock()  # a client may be collected while it is held
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._ended = False
        self._begun: set[asyncio.Future[Any]] = set()  # changed on the loop alone

    def __repr__(self) -> str:
        state = "ended" if self._ended else "not started" if self._loop is None else "running"
        return f"<LoopThread {self._name!r} {state}>"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    @property
    def forked(self) -> bool:
        """Whether this is a forked child of the process in which the thread runs."""
        return self._pid not in (0, os.getpid())

    def start(self) -> None:
        """Start, if that has not been done.

        Raises:
            UsageError: in a forked child of the process in which it was started.
            ServiceFailed: it has ended.
        """
        self._refuse_child()
        with self._gate:
            self._start()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Cancel what runs on the loop, and end the thread.

        Args:
            timeout: seconds to wait for the thread's end; then it is left to itself.
        """
        CLOSE.check(locals())
        if self.forked:
            return
        with self._gate:  # what was asked for before is on the loop, and nothing after
            self._ended = True
            loop = self._loop
        if loop is not None and self._thread is not None:
            with suppress(RuntimeError):  # closed meanwhile
                loop.call_soon_threadsafe(loop.stop)
            if not self.is_current:
                self._thread.join(timeout)

    def call(self, work: Work[_T], timeout: float | None = None) -> _T:
        """Run a coroutine on the loop and return its result. Ctrl-C in the wait cancels it.

        Args:
            work: makes the coroutine, on the loop; or begins something there and returns its
                future, which costs less.
            timeout: seconds; None to wait as long as it takes.

        Raises:
            UsageError: in a forked child, or from inside the thread, where it would never end.
            ServiceFailed: the thread has ended.
            ConnectionLost: it was cancelled, as ``close`` does it.
            RequestTimedOut: it was not done in time.
        """
        if timeout is not None or not callable(work):  # hot: what is usual is not checked
            CALL.check({"work": work, "timeout": timeout})
        self._refuse_child()
        if self.is_current:
            raise UsageError(
                "a call from inside the background thread would never end",
                cause=Cause.WRONG_MOMENT,
            )
        call = _Call(work, self._begun)
        try:  # from here on, wherever Ctrl-C comes, what was begun is cancelled
            with self._gate:
                call.loop = self._start()
                call.loop.call_soon_threadsafe(call.start)
            in_time = call.wait(timeout)
        except BaseException:  # Ctrl-C among them: no caller waits any more
            call.cancel()
            raise
        if not in_time:
            call.cancel()
            raise RequestTimedOut(f"not done within {timeout:g} s", cause=Cause.OUT_OF_TIME)
        return call.result()

    def post(self, job: Callable[[], None]) -> bool:
        """Schedule a function on the loop; return False where the thread has ended.

        Raises:
            UsageError: in a forked child.
        """
        POST.check(locals())
        self._refuse_child()
        with self._gate:
            if self._ended:
                return False
            self._start().call_soon_threadsafe(job)
            return True

    def _refuse_child(self) -> None:
        # Before any lock: another thread may have held it at the fork, and is not here to let go.
        if self._pid and self._pid != os.getpid():
            raise UsageError(
                "a forked child cannot use what its parent has started: its thread is not here",
                cause=Cause.FORKED,
                hint="make a new client or service in the child, or fork before",
            )

    def _start(self) -> asyncio.AbstractEventLoop:
        """Return the loop, started if need be; the gate is held."""
        if self._ended:
            raise ServiceFailed("the background thread has ended", cause=Cause.THREAD_ENDED)
        if self._loop is None:
            self._pid = os.getpid()
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_run,
                args=(self._loop, weakref.ref(self), self._begun),
                name=self._name,
                daemon=True,
            )
            try:
                self._thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter ends
                self._loop.close()
                self._ended = True
                raise ServiceFailed(
                    f"the background thread cannot start: {error}", cause=Cause.THREAD_ENDED
                ) from error
            _living.add(self)
        return self._loop

    def _note_end(self) -> None:
        """Let nothing more onto the loop; called by the thread at its end."""
        with self._gate:
            self._ended = True


def wait_for(event: threading.Event, timeout: float | None) -> bool:
    """Wait for an event, ``timeout`` seconds at most, as long as it takes for None; Ctrl-C ends it.

    Returns:
        Whether it has come.
    """
    ends = None if timeout is None else time.monotonic() + timeout
    while not event.wait(_slice(ends)):
        if ends is not None and time.monotonic() >= ends:
            return False
    return True


def _slice(ends: float | None) -> float:
    return LOOK_EVERY if ends is None else max(0.0, min(LOOK_EVERY, ends - time.monotonic()))


def _run(
    loop: asyncio.AbstractEventLoop,
    owner: "weakref.ref[LoopThread]",
    begun: set[asyncio.Future[Any]],
) -> None:
    """Run the loop until it is stopped or dies, and leave nothing of it behind."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        thread = owner()
        if thread is not None:
            thread._note_end()
        del thread
        try:
            # Calls that were handed over and not begun begin now, to be cancelled with the rest.
            loop.run_until_complete(asyncio.sleep(0))
            left = {*asyncio.all_tasks(loop), *begun}
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


class _Call(Generic[_T]):
    """Something that a thread has done on the loop.

    Its coroutine is made there, where it is awaited: one that was made in a thread would be left
    behind if Ctrl-C came before it was handed over. Its end comes through one lock: a
    ``concurrent.futures.Future`` has several, and costs as much as a short call itself.

    Args:
        work: makes the coroutine, or begins something.
        begun: holds the futures of all that runs on the loop.

    Attributes:
        loop: where it runs; None before it was handed over.
    """

    __slots__ = ("_begun", "_end", "_ended", "_future", "_work", "loop")

    def __init__(self, work: Work[_T], begun: set[asyncio.Future[Any]]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._work = work
        self._begun = begun
        self._future: asyncio.Future[_T] | None = None
        self._end: tuple[_T | None, BaseException | None] = None, None
        self._ended = threading.Lock()
        self._ended.acquire()

    # For the thread

    def wait(self, timeout: float | None) -> bool:
        """Wait for its end, ``timeout`` seconds at most; return whether it has come."""
        ends = None if timeout is None else time.monotonic() + timeout
        acquire = self._ended.acquire
        while not acquire(timeout=_slice(ends)):
            if ends is not None and time.monotonic() >= ends:
                return acquire(blocking=False)
        return True

    def result(self) -> _T:
        """Return its result, or raise its error, after its end."""
        (result, error), self._end = self._end, (None, None)
        if isinstance(error, asyncio.CancelledError):
            raise ConnectionLost(
                "the client was disconnected while this waited", cause=Cause.DISCONNECTED
            )
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback leads here, and nothing here leads to it
        return cast(_T, result)

    def cancel(self) -> None:
        """Do without its end."""
        if self.loop is not None:
            with suppress(RuntimeError):  # the loop is closed: it has ended
                self.loop.call_soon_threadsafe(self._cancel)

    # On the loop

    def start(self) -> None:
        """Begin."""
        try:
            work = self._work()
            if asyncio.iscoroutine(work):
                work = asyncio.get_running_loop().create_task(work)
            work.add_done_callback(self._on_done)
        except Exception as error:
            self._settle(None, error)
            return
        self._future = work
        self._begun.add(work)

    def _cancel(self) -> None:
        if self._future is not None:
            self._future.cancel()

    def _on_done(self, future: "asyncio.Future[_T]") -> None:
        self._begun.discard(future)
        if future.cancelled():
            self._settle(None, asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            self._settle(None, error)
        else:
            self._settle(future.result(), None)

    def _settle(self, result: _T | None, error: BaseException | None) -> None:
        self._future = None
        self._end = result, error
        self._ended.release()
