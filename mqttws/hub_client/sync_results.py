"""The receipts and streams of a synchronous hub client."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Generic, Protocol, TypeVar

from ..client.options import ClientState
from ..client.receipt import Receipt
from ..errors import MqttwsError
from ..hops import Cause
from ..loop_thread import Work
from ..options import WAIT

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class OnItsLoop(Protocol):
    """A client of which something is wanted on its loop."""

    _open: bool

    @property
    def state(self) -> ClientState:
        """The client's state."""

    def _call(self, work: Work[T]) -> T:
        """Do something on the loop and wait for its end."""


class TelemetryReceipt:
    """The end of a message sent with ``send_telemetry_nowait``."""

    def __init__(self, client: OnItsLoop, receipt: Receipt) -> None:
        self._client = client
        self._receipt = receipt

    def __repr__(self) -> str:
        return repr(self._receipt).replace("Receipt", "TelemetryReceipt", 1)

    @property
    def done(self) -> bool:
        """Whether the message was acknowledged, or has failed."""
        return self._receipt.done

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the hub has stored it, ``timeout`` seconds at most.

        Raises:
            RequestTimedOut: its end did not come in time; it is still under way.
            MqttwsError: why the client gave it up.
        """
        WAIT.check(locals())
        if self._receipt.done:
            if self._receipt.error is not None:
                raise self._receipt.error
            return
        self._client._call(lambda: self._receipt.wait(timeout))


class AsyncStream(Protocol[T_co]):
    """A stream of an ``AsyncHubClient``."""

    def next(self, timeout: float | None = None) -> Coroutine[Any, Any, T_co]:
        """Wait for the next item."""


class SyncStream(Iterator[T], Generic[T]):
    """Messages or changes as they come; several threads may share one."""

    def __init__(
        self, client: OnItsLoop, stream: AsyncStream[T], take: Callable[[T], None] | None
    ) -> None:
        self._client = client
        self._stream = stream
        self._take = take

    def __next__(self) -> T:
        """Wait for the next one."""
        return self.next()

    def next(self, timeout: float | None = None) -> T:
        """Wait for the next one, ``timeout`` seconds at most.

        Raises:
            RequestTimedOut: there was none in time.
            StopIteration: the client was disconnected.
            MqttwsError: why the client ended, if it was not asked to.
        """
        WAIT.check(locals())
        client = self._client
        if not client._open and client.state is ClientState.CLOSED:
            raise StopIteration
        try:
            found = client._call(lambda: _next_or_end(self._stream, timeout))
        except MqttwsError as error:
            if error.cause is Cause.DISCONNECTED:
                raise StopIteration from None
            raise
        if found is None:
            raise StopIteration
        if self._take is not None:
            self._take(found)
        return found


async def _next_or_end(stream: AsyncStream[T], timeout: float | None) -> T | None:
    """Return the next item; None at the end, as no exception of an iterator leaves a task."""
    try:
        return await stream.next(timeout)
    except StopAsyncIteration:
        return None
