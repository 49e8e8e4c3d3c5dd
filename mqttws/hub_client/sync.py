"""HubClient: the same hub client for programs without an event loop; thread-safe.

A façade: an ``AsyncHubClient`` on an event loop in a background thread does the work. Knows
threads; does not know hubs.
"""

import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from ..client.options import ClientState, OnState
from ..client.store import MemoryStore, Store
from ..client.trace import OnPacket
from ..errors import MqttwsError, UsageError
from ..hops import Cause
from ..hub.device.connection_string import ConnectionString
from ..hub.device.messages import CloudMessage
from ..hub.device.telemetry import TelemetryMessage
from ..hub.device.twin import DesiredChange, Twin
from ..loop_thread import Callbacks, LoopThread, Work
from ..net.hops import OnStep
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.stream import CLOSE_TIMEOUT
from ..net.tls import Tls
from ..options import LEAVE, METHOD, SYNC_ASSIGNED_HUB_CLIENT, SYNC_HUB_CLIENT
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from .access import (
    FixedToken,
    HubCredential,
    HubTransport,
    ShowsCertificate,
    SignsTokens,
    read_connection_string,
)
from .base import RENEWAL_TIMEOUT
from .client import METHOD_TIME_LIMIT, AsyncHubClient, H
from .methods import Handler
from .sync_base import SyncHubDevice
from .sync_results import SyncStream
from .upkeep import Provisioning

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CALLBACKS_TIMEOUT = 5.0
"""Seconds that a connect or disconnect waits for callbacks that are still running."""

CLOSING_SLACK = 5.0
"""Seconds beyond the time limit of a disconnect after which the thread is given up."""


class HubClient(SyncHubDevice):
    """A device's or module's client for IoT Hub; its calls may come from any thread.

    >>> with HubClient.from_connection_string(text) as client:
    ...     client.send_telemetry({"temperature": 21.5})
    ...     client.patch_reported({"firmware": "1.2"})
    ...     for change in client.desired_changes():
    ...         print(change.patch)

    The same names, arguments and errors as ``AsyncHubClient``. Methods' handlers that are plain
    functions run in threads of their own; ``on_step``, ``on_packet``, ``on_state`` and a token's
    function run one after the other in one thread. All of them may call the client.

    Args:
        thread: a ``LoopThread`` to share with other clients; None for one of its own.

    The others are those of ``AsyncHubClient``.
    """

    def __init__(
        self,
        hub: str,
        device_id: str,
        credential: HubCredential,
        *,
        module_id: str = "",
        transport: HubTransport = "wss",
        host: str | None = None,
        port: int | None = None,
        tls: Tls = None,
        proxy: ProxyChoice = ENVIRONMENT,
        api_version: str = "2021-04-12",
        token_lifetime: float = 3600,
        client_type: str = "mqttws",
        model_id: str = "",
        keep_alive: int = 60,
        connect_timeout: float = 30.0,
        hop_timeout: float = 15.0,
        request_timeout: float = 30.0,
        max_outgoing: int = 10_000,
        max_queued: int = 1000,
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - a value, never changed
        refused_login_retry: float | None = REFUSED_LOGIN_WAIT,
        store: Store | MemoryStore | None = None,
        manual_ack: bool = False,
        will: TelemetryMessage | None = None,
        provisioning: Provisioning | None = None,
        provisioning_limit: int = 5,
        auto_renew: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        thread: LoopThread | None = None,
    ) -> None:
        given = SYNC_HUB_CLIENT.check(locals())
        del given["thread"]
        self._callbacks = Callbacks()
        for name in ("on_step", "on_packet", "on_state"):
            if given[name] is not None:
                given[name] = self._callbacks.notifier(given[name])
        if callable(credential) and not isinstance(
            credential, FixedToken | SignsTokens | ShowsCertificate
        ):
            given["credential"] = self._callbacks.asker(credential)
        self._client = AsyncHubClient(**given)
        self._manual_ack = manual_ack
        self._thread = LoopThread("mqttws-hub-client") if thread is None else thread
        self._owns_thread = thread is None
        self._open = False
        self._gate = threading.RLock()

    @classmethod
    def from_connection_string(
        cls,
        connection_string: str | ConnectionString,
        credential: HubCredential | None = None,
        *,
        transport: HubTransport = "wss",
        host: str | None = None,
        port: int | None = None,
        tls: Tls = None,
        proxy: ProxyChoice = ENVIRONMENT,
        api_version: str = "2021-04-12",
        token_lifetime: float = 3600,
        client_type: str = "mqttws",
        model_id: str = "",
        keep_alive: int = 60,
        connect_timeout: float = 30.0,
        hop_timeout: float = 15.0,
        request_timeout: float = 30.0,
        max_outgoing: int = 10_000,
        max_queued: int = 1000,
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - a value, never changed
        refused_login_retry: float | None = REFUSED_LOGIN_WAIT,
        store: Store | MemoryStore | None = None,
        manual_ack: bool = False,
        will: TelemetryMessage | None = None,
        provisioning: Provisioning | None = None,
        provisioning_limit: int = 5,
        auto_renew: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        thread: LoopThread | None = None,
    ) -> Self:
        """Make a client from a connection string; as ``AsyncHubClient.from_connection_string``."""
        options = SYNC_ASSIGNED_HUB_CLIENT.but("credential").check(locals())
        parts, found = read_connection_string(connection_string, credential)
        options["host"] = host or parts.gateway or None
        return cls(parts.hub, parts.device_id, found, module_id=parts.module_id, **options)

    # Connecting

    def connect(self) -> None:
        """Open the connection; as ``AsyncHubClient.connect``."""
        with self._gate:
            if self._open or self.state is not ClientState.NEW:
                raise UsageError(
                    "connect: a client is connected once; make a new one", cause=Cause.WRONG_MOMENT
                )
            if self._owns_thread:
                self._thread = LoopThread("mqttws-hub-client")  # the last attempt's has ended
            self._thread.start()
            self._open = True
        try:
            self._call(self._client.connect)
        except BaseException:
            self._end(0.0)
            raise
        finally:
            self._callbacks.drain(CALLBACKS_TIMEOUT)

    def disconnect(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave; as ``AsyncHubClient.disconnect``. The client's thread has ended then."""
        LEAVE.check(locals())
        with self._gate:  # a second thread finds it done
            if self._open:
                try:
                    self._call(lambda: self._client.disconnect(timeout))
                finally:
                    self._end(timeout)

    def __enter__(self) -> Self:
        """Connect."""
        self.connect()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self.disconnect()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if getattr(self, "_open", False) and not self._thread.forked:
            warn(f"a client was dropped without disconnect(): {self!r}", ResourceWarning, 2, self)
            self._post(partial(_abandon, self._client))
            if self._owns_thread:
                self._thread.close(0.0)

    # Messages from the cloud

    def messages(self) -> SyncStream[CloudMessage]:
        """Subscribe to messages from the cloud; as ``AsyncHubClient.messages``."""
        take = self._settled if self._manual_ack else None
        return SyncStream(self, self._do(self._client.messages), take)

    # Methods

    def method(
        self, name: str | None = None, *, time_limit: float = METHOD_TIME_LIMIT
    ) -> Callable[[H], H]:
        """Decorate the handler of a direct method; as ``AsyncHubClient.method``."""
        METHOD.check(locals())

        def decorate(handler: H) -> H:
            self.on_method(name, handler, time_limit=time_limit)
            return handler

        return decorate

    def on_method(
        self, name: str | None, handler: Handler, *, time_limit: float = METHOD_TIME_LIMIT
    ) -> None:
        """Have a function serve a direct method; as ``AsyncHubClient.on_method``."""
        self._do(lambda: self._client.on_method(name, handler, time_limit=time_limit))

    # The twin

    def twin(self) -> Twin:
        """Read the whole twin; as ``AsyncHubClient.twin``."""
        return self._call(self._client.twin)

    def patch_reported(self, patch: dict[str, Any]) -> int | None:
        """Change the reported properties; as ``AsyncHubClient.patch_reported``."""
        return self._call(lambda: self._client.patch_reported(patch))

    def renew_certificate(self, timeout: float = RENEWAL_TIMEOUT) -> None:
        """Have the hub issue another certificate; see ``AsyncHubClient``."""
        self._call(lambda: self._client.renew_certificate(timeout))

    def desired_changes(self) -> SyncStream[DesiredChange]:
        """Subscribe to changes of the desired properties; as ``AsyncHubClient.desired_changes``."""
        return SyncStream(self, self._do(self._client.desired_changes), None)

    # Inside: between the threads

    def _call(self, work: Work[T]) -> T:
        """Do something on the loop and wait for its end."""
        if not self._open and not self._thread.forked:
            self._client._upkeep.require_open()
            raise UsageError("the hub client was disconnected", cause=Cause.DISCONNECTED)
        return self._thread.call(work)

    def _do(self, work: Callable[[], T]) -> T:
        """Run a short call on the client's loop; in this thread where the loop does not run."""

        async def on_loop() -> T:
            return work()

        return self._thread.call(on_loop) if self._open else work()

    def _settled(self, message: CloudMessage) -> None:
        """Have ``message.ack()`` work from any thread."""
        acknowledge = message._acknowledge
        if acknowledge is not None:
            message._acknowledge = lambda: self._post(acknowledge)

    def _post(self, job: Callable[[], None]) -> None:
        with suppress(MqttwsError):
            self._thread.post(job)

    def _end(self, timeout: float) -> None:
        """Let nothing more onto the loop; end the thread, unless others use it too."""
        self._open = False
        self._callbacks.drain(CALLBACKS_TIMEOUT)
        self._callbacks.close()
        if self._owns_thread:
            self._thread.close(timeout + CLOSING_SLACK)


def _abandon(client: AsyncHubClient) -> None:
    """Leave without waiting; called on the loop."""
    client._client._engine.abandon()
