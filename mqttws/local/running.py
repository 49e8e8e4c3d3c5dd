"""LocalDps: a local DPS in a thread of its own, for programs and tests that are not async.

Whatever is asked of it is done in the service's own event loop; every wait is bounded.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar

from ..dps.records import RegistrationRecord
from ..errors import UsageError
from ..net.tls import TlsConfig
from .dps import AsyncLocalDps

TIMEOUT = 30.0
"""Seconds within which the service must have done what it is asked; a busy machine keeps it."""

_T = TypeVar("_T")


class ProvisionOptions(TypedDict):
    """How ``provision`` reaches the service."""

    host: str
    port: int
    tls: TlsConfig


class LocalDps:
    """A local DPS that runs in a thread until it is stopped.

    >>> with LocalDps() as dps:
    ...     key = dps.enroll_device("my-device")
    ...     provision(dps.id_scope, SymmetricKey("my-device", key), **dps.options)

    Args:
        **options: of ``AsyncLocalDps``; a device is told to ask again at once if they do not say.
    """

    def __init__(self, **options: Any) -> None:
        self._dps = AsyncLocalDps(**{"retry_after": 0, **options})
        self._loop: asyncio.AbstractEventLoop  # made with the start, closed with the end
        self._thread = threading.Thread(target=self._run, name="mqttws-dps", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def start(self) -> None:
        """Listen.

        Raises:
            UsageError: as for ``AsyncLocalDps.start``.
        """
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        try:
            self._wait(self._dps.start())
        except BaseException:
            self._end_thread()
            raise

    def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._thread.is_alive():
            try:
                self._wait(self._dps.stop())
            finally:
                self._end_thread()

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

    def __repr__(self) -> str:
        return f"<LocalDps {self.host} wss {self.wss_port} mqtts {self.mqtts_port}>"

    # Where it is

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._dps.host

    @property
    def wss_port(self) -> int:
        """The port for MQTT over WebSocket."""
        return self._dps.wss_port or 0

    @property
    def mqtts_port(self) -> int:
        """The port for MQTT over TLS."""
        return self._dps.mqtts_port or 0

    @property
    def id_scope(self) -> str:
        """Of this instance."""
        return self._dps.id_scope

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust, a PEM file."""
        return self._dps.ca_file

    @property
    def options(self) -> ProvisionOptions:
        """The arguments of ``provision`` that lead here, over WebSocket; only its CA is trusted."""
        tls = TlsConfig(ca=self.ca_file, only_ca=True)
        return ProvisionOptions(host=self.host, port=self.wss_port, tls=tls)

    # What it is told

    def enroll(self, record: Mapping[str, Any], *, replace: bool = False) -> None:
        """Let a device or a group register; see ``AsyncLocalDps.enroll``."""
        self._wait(self._dps.enroll(record, replace=replace))

    def enroll_device(self, registration_id: str) -> str:
        """Enroll one device with fresh keys; return its primary key, base64."""
        return self._wait(self._dps.enroll_device(registration_id))

    def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Let something go wrong; see ``AsyncLocalDps.fault``."""
        return self._wait(self._dps.fault(kind, device, **members))

    def cancel_faults(self) -> None:
        """Take every order for a fault back."""
        self._wait(self._dps.faults.cancel())

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return what is remembered of a device; None if it has never been assigned."""
        return self._wait(self._dps.registration(registration_id))

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        if not self._thread.is_alive():
            work.close()
            raise UsageError("the local DPS is not running")
        done: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(TIMEOUT)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
