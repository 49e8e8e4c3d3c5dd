"""Threaded: a local service for programs that are not async: its start, its stop, its ports.

Whatever is asked of it is done in the service's own event loop; every wait is bounded.
"""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from ..loop_thread import SynchronousOnly

TIMEOUT = 30.0
"""Seconds within which the service must have done what it is asked; a busy machine keeps it."""

_T = TypeVar("_T")


class AsyncService(Protocol):
    """A local service in an event loop."""

    @property
    def host(self) -> str:
        """The address that it listens on."""

    @property
    def wss_port(self) -> int | None:
        """The port for MQTT over WebSocket."""

    @property
    def mqtts_port(self) -> int | None:
        """The port for MQTT over TLS."""

    async def start(self) -> None:
        """Serve."""

    async def stop(self) -> None:
        """Close every connection and stop serving."""


class Threaded(SynchronousOnly):
    """A local service in the event loop of a background thread.

    Args:
        service: its asyncio twin.
    """

    def __init__(self, service: AsyncService) -> None:
        self._service = service

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
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Serve.

        Raises:
            ServiceFailed: a port is taken or may not be used.
            StoreFailed: the state folder or the records cannot be used.
            UsageError: it has been started already.
        """
        self._begin()
        try:
            self.run(self._service.start)
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Close every connection and stop serving."""
        if self._is_running():
            try:
                self.run(self._service.stop)
            finally:
                self._end()

    def run(
        self, work: Callable[[], Coroutine[Any, Any, _T]], timeout: float | None = TIMEOUT
    ) -> _T:
        """Run a coroutine in the service's loop and return its result."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Start the loop."""
        raise NotImplementedError

    def _end(self) -> None:
        """End the loop, if it is the service's own."""
        raise NotImplementedError

    def _is_running(self) -> bool:
        """Whether the loop runs in this process."""
        raise NotImplementedError

    # Where it is

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._service.host

    @property
    def wss_port(self) -> int:
        """The port for MQTT over WebSocket."""
        return self._service.wss_port or 0

    @property
    def mqtts_port(self) -> int:
        """The port for MQTT over TLS."""
        return self._service.mqtts_port or 0
