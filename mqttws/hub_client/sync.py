"""HubClient: the same hub client for programs without an event loop; thread-safe.

A façade: an ``AsyncHubClient`` on an event loop in a background thread does the work. Knows
threads; does not know hubs.
"""

import threading
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, Unpack

from ..client.options import ClientState, OnState
from ..client.receipt import Receipt
from ..client.store import MemoryStore, Store
from ..client.trace import OnPacket
from ..errors import MqttwsError, UsageError
from ..hops import Cause
from ..hub.device.connection_string import ConnectionString
from ..hub.device.messages import CloudMessage
from ..hub.device.telemetry import TelemetryMessage
from ..hub.device.twin import DesiredChange, Twin
from ..loop_thread import Callbacks, LoopThread
from ..net.hops import OnStep
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.stream import CLOSE_TIMEOUT
from ..net.tls import Tls
from ..options import SYNC_HUB_CLIENT
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from .access import (
    FixedToken,
    HubCredential,
    HubTransport,
    ShowsCertificate,
    SignsTokens,
    read_connection_string,
)
from .base import TelemetryFields
from .bodies import Body
from .client import METHOD_TIME_LIMIT, AsyncHubClient, H
from .methods import Handler
from .options import SyncHubClientOptions
from .upkeep import Provisioning

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CALLBACKS_TIMEOUT = 5.0
"""Seconds that a connect or disconnect waits for callbacks that are still running."""

CLOSING_SLACK = 5.0
"""Seconds beyond the time limit of a disconnect after which the thread is given up."""


class HubClient:
    """A device's or module's client for IoT Hub; its calls may come from any thread.

    >>> with HubClient.from_connection_string(text) as client:
    ...     client.send_telemetry({"temperature": 21.5})
    ...     client.patch_reported({"firmware": "1.2"})
    ...     for change in client.desired_changes():
    ...         print(change.patch)

    The same names, arguments and errors as ``AsyncHubClient``. Methods' handlers that are plain
    functions run in threads of their own; ``on_step``, ``on_packet``, ``on_state`` and a token's
    function run one after the other in one thread. All of them may call the client.

    Args: those of ``AsyncHubClient``, and
        thread: a ``LoopThread`` to share with other clients; None for one of its own.
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
        **options: Unpack[SyncHubClientOptions],
    ) -> Self:
        """Make a client from a connection string; as ``AsyncHubClient.from_connection_string``."""
        parts, found = read_connection_string(connection_string, credential)
        if parts.gateway:
            options.setdefault("host", parts.gateway)
        return cls(parts.hub, parts.device_id, found, module_id=parts.module_id, **options)

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncHubClient", "HubClient", 1)

    @property
    def hub(self) -> str:
        """The hub's host name; another one after the device was moved."""
        return self._client.hub

    @property
    def device_id(self) -> str:
        """The device's name at the hub."""
        return self._client.device_id

    @property
    def module_id(self) -> str:
        """The module's name; empty for the device itself."""
        return self._client.module_id

    @property
    def state(self) -> ClientState:
        """Where the client stands."""
        return self._client.state

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._client.connected

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

    # Telemetry

    def send_telemetry(self, body: Body = b"", **properties: Unpack[TelemetryFields]) -> None:
        """Send a message to the hub; as ``AsyncHubClient.send_telemetry``."""
        self._call(lambda: self._client.send_telemetry(body, **properties))

    def send_telemetry_nowait(
        self, body: Body = b"", **properties: Unpack[TelemetryFields]
    ) -> "TelemetryReceipt":
        """Send a message without waiting; as ``AsyncHubClient.send_telemetry_nowait``."""

        async def send() -> Receipt:
            return self._client.send_telemetry_nowait(body, **properties)

        return TelemetryReceipt(self, self._call(send))

    def send_batch(self, bodies: Iterable[Body]) -> None:
        """Send several messages together; as ``AsyncHubClient.send_batch``."""
        given = list(bodies)
        self._call(lambda: self._client.send_batch(given))

    # Messages from the cloud

    def messages(self) -> "SyncStream[CloudMessage]":
        """Subscribe to messages from the cloud; as ``AsyncHubClient.messages``."""
        take = self._settled if self._manual_ack else None
        return SyncStream(self, self._do(self._client.messages), take)

    # Methods

    def method(
        self, name: str | None = None, *, time_limit: float = METHOD_TIME_LIMIT
    ) -> Callable[[H], H]:
        """Decorate the handler of a direct method; as ``AsyncHubClient.method``."""

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

    def desired_changes(self) -> "SyncStream[DesiredChange]":
        """Subscribe to changes of the desired properties; as ``AsyncHubClient.desired_changes``."""
        return SyncStream(self, self._do(self._client.desired_changes), None)

    # Inside: between the threads

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something on the loop and wait for its end."""
        if not self._open and not self._thread.forked:
            self._client._upkeep.require_open()
            raise UsageError("the hub client was disconnected", cause=Cause.DISCONNECTED)
        return self._thread.call(work)

    def _do(self, work: Callable[[], T]) -> T:
        """Do something at once that needs the loop only where it runs."""

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


class TelemetryReceipt:
    """The end of a message sent with ``send_telemetry_nowait``."""

    def __init__(self, client: HubClient, receipt: Receipt) -> None:
        self._client = client
        self._receipt = receipt

    def __repr__(self) -> str:
        return repr(self._receipt).replace("Receipt", "TelemetryReceipt", 1)

    @property
    def done(self) -> bool:
        """Whether its end has come, good or bad."""
        return self._receipt.done

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the hub has stored it, ``timeout`` seconds at most.

        Raises:
            RequestTimedOut: its end did not come in time; it is still under way.
            MqttwsError: why the client gave it up.
        """
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
        self, client: HubClient, stream: AsyncStream[T], take: Callable[[T], None] | None
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


def _abandon(client: AsyncHubClient) -> None:
    """Leave without waiting; called on the loop."""
    client._client._engine.abandon()
