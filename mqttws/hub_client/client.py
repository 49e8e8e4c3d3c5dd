"""AsyncHubClient: a device's or module's client for IoT Hub, for asyncio.

The application's calls. What keeps the connection up is in ``upkeep``, twin requests in ``twins``,
methods in ``methods``; topics and rules are in ``hub``.
"""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from ..client.message import ReceivedMessage
from ..client.options import OnState
from ..client.store import MemoryStore, Store
from ..client.streams import MessageStream
from ..client.trace import OnPacket
from ..errors import MqttwsError, UsageError
from ..hub.credentials import CREDENTIALS_FILTER
from ..hub.device.connection_string import ConnectionString
from ..hub.device.identity import HubIdentity
from ..hub.device.telemetry import TelemetryMessage
from ..hub.device.twin import Twin
from ..hub.topics import (
    DEFAULT_API_VERSION,
    DESIRED_FILTER,
    METHODS_FILTER,
    TWIN_RESPONSE_FILTER,
)
from ..net.hops import OnStep
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.stream import CLOSE_TIMEOUT
from ..net.tls import Tls
from ..options import ASSIGNED_HUB_CLIENT, HUB_CLIENT, LEAVE, METHOD, PATCH
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from .access import (
    HubCredential,
    HubTransport,
    read_connection_string,
)
from .base import RENEWAL_TIMEOUT, HubDevice
from .certificates import CertificateRenewal
from .making import make_upkeep
from .messages import CloudMessageStream
from .methods import Handler, MethodServer
from .twins import DesiredChanges, TwinRequests
from .upkeep import Provisioning

METHOD_TIME_LIMIT = 30.0
"""Seconds that a method's handler may take: as long as the hub waits unless its caller says so."""

H = TypeVar("H", bound=Handler)


class AsyncHubClient(HubDevice):
    """A device's or module's client for IoT Hub, for asyncio.

    >>> async with AsyncHubClient.from_connection_string(text) as client:
    ...     await client.send_telemetry({"temperature": 21.5})
    ...     await client.patch_reported({"firmware": "1.2"})
    ...     async for change in client.desired_changes():
    ...         print(change.patch)

    Every call ends in a result or in an error of ``mqttws.errors`` within its time limit. A lost
    connection is renewed, and so is a token before it expires; telemetry and reported properties
    that were not confirmed are sent again, and everything that was subscribed is subscribed again.
    The session at the hub is kept, so that messages to the device wait there while it is away.
    A client connects once; after ``disconnect`` make a new one.

    Methods' handlers that are coroutine functions run in the event loop that has called
    ``connect``; plain functions run in threads, and reach the program's loop by
    ``loop.call_soon_threadsafe``.

    Args:
        hub: the hub's full host name.
        device_id: the device's name there; case counts.
        credential: a ``SymmetricKey``, an ``X509Certificate``, an ``ExternalKey``, a symmetric key
            in base64, or a function (plain or async) that takes the resource
            (``{hub}/devices/{id}``) and returns a SAS token for it.
        module_id: empty for the device itself.
        transport: ``wss`` for MQTT over WebSocket on port 443, ``mqtts`` for MQTT over TLS on port
            8883, ``auto`` for whichever is open.
        host: host name or address to connect to, such as a gateway's; None for the hub's own.
        port: None for the transport's own.
        tls: whom to trust: a ``TlsConfig``, or an ``ssl.SSLContext`` that is used as it is.
        proxy: as for ``AsyncClient``.
        api_version: of the hub's API.
        token_lifetime: seconds for which a signed token is good, 1 or more.
        client_type: what the device calls its software at the hub.
        model_id: Plug and Play model that the device implements (``dtmi:...``); empty for none.
        keep_alive: seconds, 1 to 1177, within which a dead link is noticed.
        connect_timeout: seconds for each attempt to connect as a whole.
        hop_timeout: seconds for each of its hops.
        request_timeout: seconds for the hub's answer to any request, the time without a connection
            included.
        max_outgoing: messages that may be unconfirmed, in flight or in the queue; 1 to 60000.
        max_queued: received messages that may wait for their readers.
        reconnect: how long to wait between attempts; None does not reconnect.
        refused_login_retry: as for ``AsyncClient``.
        store: a ``SqliteStore`` keeps telemetry that was not confirmed across a crash.
        manual_ack: whether messages from the cloud are acknowledged by ``message.ack()``, and not
            when they are handed out.
        will: telemetry that the hub takes from this device when its connection is lost.
        provisioning: a function, plain or async, that asks DPS where the device belongs, such as
            ``lambda: provision_async(id_scope, credential)``. It is called when the hub refuses the
            device twice in a row, or when the hub's name is not found three times. The client, its
            session and its queue then go to the hub that DPS names. None for never.
        provisioning_limit: how many times in a row DPS is asked before the client ends; it counts
            anew after a connection that has lasted a minute.
        auto_renew: whether the certificate of a ``CertificateStore`` is renewed over the hub by
            itself when it is due; see ``renew_certificate``.
        on_step: called with each hop of each attempt to connect.
        on_packet: called with each packet sent (``>``) and received (``<``), secrets included.
        on_state: called with each change of ``state`` and its reason.

    Raises:
        UsageError: an argument is invalid.
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
        api_version: str = DEFAULT_API_VERSION,
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
    ) -> None:
        given = HUB_CLIENT.check(locals())
        identity = self._identity = HubIdentity(hub, device_id, module_id)
        self._upkeep = make_upkeep(identity, given)
        self._client = self._upkeep.client
        self._manual_ack = manual_ack
        self._methods = MethodServer(self._upkeep)
        self._requests = TwinRequests(self._upkeep, self._client.publish_nowait, request_timeout)
        self._desired = DesiredChanges(self._upkeep, self._requests)
        self._renewal = CertificateRenewal(
            self._upkeep, lambda topic, body: self._client.publish_nowait(topic, body, qos=1)
        )
        self._auto_renew = auto_renew
        if auto_renew and self._upkeep.access.certificate is None:
            raise UsageError("auto_renew: the credential is no CertificateStore; allowed: False")
        # Open before the connection: a kept session's messages come behind CONNACK.
        self._cloud = self._client.messages(identity.message_filter)

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
        api_version: str = DEFAULT_API_VERSION,
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
    ) -> Self:
        """Make a client from a device's or module's connection string.

        Args:
            connection_string: with ``SharedAccessKey``, ``SharedAccessSignature`` or ``x509=true``.
                Its ``GatewayHostName`` is where to connect, unless ``host`` is given.
            credential: the certificate for ``x509=true``; else None.

        The others are those of the class.

        Raises:
            UsageError: it is not a device's; the message shows no secret.
        """
        options = ASSIGNED_HUB_CLIENT.but("credential").check(locals())
        parts, found = read_connection_string(connection_string, credential)
        options["host"] = host or parts.gateway or None
        return cls(parts.hub, parts.device_id, found, module_id=parts.module_id, **options)

    # Connecting

    async def connect(self) -> None:
        """Open the connection, and subscribe to what was asked for so far.

        Raises:
            ConnectFailed: with the ``hop`` that failed and a hint; nothing is left open.
            UsageError: the client is connected, or was.
        """
        await self._upkeep.connect()
        for topic_filter, take in (
            (METHODS_FILTER, self._methods.on_message),
            (TWIN_RESPONSE_FILTER, self._requests.on_message),
            (DESIRED_FILTER, self._desired._on_message),
            (CREDENTIALS_FILTER, self._renewal.on_message),
        ):
            self._upkeep.start(_pump(self._client.messages(topic_filter), take))
        await self._upkeep.ready()
        if self._auto_renew:
            self._upkeep.start(self._renewal.keep_fresh(RENEWAL_TIMEOUT))

    async def disconnect(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave: send what waits, then DISCONNECT, and close. Never raises for a dead link.

        Open method calls have a second to end; the hub answers the callers of the others.

        Args:
            timeout: seconds for all of it.
        """
        LEAVE.check(locals())
        await self._methods.stop(timeout)
        await self._upkeep.stop()
        await self._client.disconnect(timeout)

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self.disconnect()

    # Messages from the cloud

    def messages(self) -> CloudMessageStream:
        """Subscribe to messages from the cloud (a module: to its inputs) and return their stream.

        Called before ``connect`` it is subscribed with the connection; later at once.
        """
        self._upkeep.want_soon(self._identity.message_filter, 1)
        return CloudMessageStream(self._cloud, self._manual_ack)

    # Methods

    def method(
        self, name: str | None = None, *, time_limit: float = METHOD_TIME_LIMIT
    ) -> Callable[[H], H]:
        """Decorate the handler of a direct method.

        >>> @client.method("reboot")
        ... async def reboot(request: MethodRequest) -> MethodResponse:
        ...     return MethodResponse(202, {"in": request.payload["delay"]})

        Args:
            name: the method's; None for every method that has no handler of its own.
            time_limit: seconds, up to 300, after which the caller is answered 504 and the handler
                is cancelled.

        Raises:
            UsageError: the name is taken, or an argument is invalid.
        """
        METHOD.check(locals())

        def decorate(handler: H) -> H:
            self.on_method(name, handler, time_limit=time_limit)
            return handler

        return decorate

    def on_method(
        self, name: str | None, handler: Handler, *, time_limit: float = METHOD_TIME_LIMIT
    ) -> None:
        """Have a function serve a direct method; arguments as for ``method``.

        Each call is answered once: with the ``MethodResponse`` that the handler returns, with
        status 200 and any other JSON value that it returns, with 500 if it raises (which is
        logged), 504 if it is too slow, 404 if there is no handler, 400 if the payload is not JSON.
        """
        METHOD.check(locals())
        self._methods.table.add(name, handler, time_limit)
        self._upkeep.want_soon(METHODS_FILTER)

    # The twin

    async def twin(self) -> Twin:
        """Read the whole twin.

        Raises:
            HubRequestRejected: the hub answered with an error, or not with a twin. Throttling
                (429) and the hub's own trouble (5xx) are waited for, within ``request_timeout``.
            RequestTimedOut: there was no answer within ``request_timeout``.
            MqttwsError: why the client has ended.
        """
        return await self._requests.get()

    async def patch_reported(self, patch: dict[str, Any]) -> int | None:
        """Change the reported properties; return their version, None if the hub gave none.

        Patches are sent one after the other, in the order of the calls.

        Args:
            patch: JSON merge patch; None as a value removes a property.

        Raises:
            UsageError: the patch has no JSON form; nothing was sent.
            HubRequestRejected, RequestTimedOut, MqttwsError: as for ``twin``.
        """
        PATCH.check(locals())
        return await self._requests.report(patch)

    def desired_changes(self) -> DesiredChanges:
        """Subscribe to changes of the desired properties and return their stream.

        The first change is the whole section, as it is read after connecting.
        """
        self._desired._begin()
        return self._desired


async def _pump(stream: MessageStream, take: Callable[[ReceivedMessage], None]) -> None:
    """Hand messages on until the client ends; its error reaches the application elsewhere."""
    with suppress(MqttwsError):
        async for message in stream:
            take(message)
            message.ack()
