"""An assignment's plain MQTT clients: it becomes a client's arguments, with a credential."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..client.options import HeadersOption, OnAttemptFailed, OnState
from ..client.store import MemoryStore, Store
from ..client.trace import OnPacket
from ..errors import UsageError
from ..hub.topics import DEFAULT_API_VERSION, build_username
from ..loop_thread import LoopThread
from ..net.hops import OnStep
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.tls import Tls
from ..options import ASSIGNED_CLIENT, SYNC_ASSIGNED_CLIENT, WEBSOCKET_PATH
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from ..wire import DEFAULT_MAX_PACKET_SIZE, Will
from .credentials import Credential, SigningCredential, TlsCredential

if TYPE_CHECKING:  # they take a while to load
    from ..client.client import AsyncClient
    from ..client.sync import Client

TOKEN_LIFETIME = 3600
"""Seconds for which a token is good: as long as the official SDKs take. The hub ends the
connection then; the next one brings a fresh token."""


class AssignedClients:
    """Makes plain MQTT clients of the hub that a device is assigned to.

    Attributes:
        assigned_hub: its host name.
        device_id: the device's name there.
    """

    assigned_hub: str
    device_id: str
    _credential: ClassVar[Credential | None] = None  # of an instance: see ``Assignment._holding``

    def client(
        self,
        credential: Credential | None = None,
        *,
        transport: Literal["wss", "mqtts"] = "wss",
        host: str | None = None,
        port: int | None = None,
        api_version: str = DEFAULT_API_VERSION,
        token_lifetime: float = TOKEN_LIFETIME,
        keep_alive: int = 60,
        will: Will | None = None,
        tls: Tls = None,
        proxy: ProxyChoice = ENVIRONMENT,
        connect_timeout: float = 30.0,
        hop_timeout: float = 15.0,
        request_timeout: float = 30.0,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
        max_queued: int = 1000,
        max_outgoing: int = 10_000,
        max_outgoing_bytes: int = 64 * 1024 * 1024,
        max_in_flight: int = 100,
        max_in_flight_qos2: int = 20,
        after_pubrec: str = "unknown",
        unmatched_wait: float | None = 10.0,
        strict: bool = False,
        headers: HeadersOption = None,
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - a value, never changed
        refused_login_retry: float | None = REFUSED_LOGIN_WAIT,
        store: Store | MemoryStore | None = None,
        manual_ack: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        on_attempt_failed: OnAttemptFailed | None = None,
        thread: LoopThread | None = None,
    ) -> "Client":
        """Return an MQTT client of the device's hub, not connected yet.

        >>> with assignment.client() as client:
        ...     client.publish(telemetry_topic(assignment.device_id), b"21.5", qos=1)

        The session is kept at the hub, so that messages to the device wait there while it is away.

        Args:
            credential: a device's credential at DPS is its credential at the hub too; None for the
                one that the assignment holds, which ``provision`` has handed in.

        ``transport``, ``host``, ``port``, ``api_version`` and ``token_lifetime`` are as for
        ``HubClient``. The others are those of ``Client``, which describes them.

        Raises:
            UsageError: the credential can neither sign nor speak in the TLS handshake, there is
                none, or an option is invalid.
        """
        from ..client.sync import Client

        options = SYNC_ASSIGNED_CLIENT.check(locals())
        return Client(**self._client_options(options))

    def client_async(
        self,
        credential: Credential | None = None,
        *,
        transport: Literal["wss", "mqtts"] = "wss",
        host: str | None = None,
        port: int | None = None,
        api_version: str = DEFAULT_API_VERSION,
        token_lifetime: float = TOKEN_LIFETIME,
        keep_alive: int = 60,
        will: Will | None = None,
        tls: Tls = None,
        proxy: ProxyChoice = ENVIRONMENT,
        connect_timeout: float = 30.0,
        hop_timeout: float = 15.0,
        request_timeout: float = 30.0,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
        max_queued: int = 1000,
        max_outgoing: int = 10_000,
        max_outgoing_bytes: int = 64 * 1024 * 1024,
        max_in_flight: int = 100,
        max_in_flight_qos2: int = 20,
        after_pubrec: str = "unknown",
        unmatched_wait: float | None = 10.0,
        strict: bool = False,
        headers: HeadersOption = None,
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - a value, never changed
        refused_login_retry: float | None = REFUSED_LOGIN_WAIT,
        store: Store | MemoryStore | None = None,
        manual_ack: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        on_attempt_failed: OnAttemptFailed | None = None,
    ) -> "AsyncClient":
        """Return an asyncio MQTT client of the device's hub; as ``client``."""
        from ..client.client import AsyncClient

        options = ASSIGNED_CLIENT.check(locals())
        return AsyncClient(**self._client_options(options))

    def _client_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a client from those of ``client``."""
        credential = options.pop("credential") or self._credential
        transport, host, port = (options.pop(name) for name in ("transport", "host", "port"))
        api_version, lifetime = options.pop("api_version"), options.pop("token_lifetime")
        if credential is None:
            raise UsageError("credential: found None; allowed: a credential, as none is held")
        hub, device_id = self.assigned_hub, self.device_id
        password: Callable[[], str] | None = None
        if isinstance(credential, TlsCredential):
            options["tls"] = credential.context(options["tls"])
        elif isinstance(credential, SigningCredential):
            password = partial(_token, credential, f"{hub}/devices/{device_id}", lifetime)
        else:
            raise UsageError(
                f"credential: {type(credential).__name__} cannot be shown to a hub",
                hint="use a SymmetricKey or an X509Certificate",
            )
        address = f"[{host}]" if host and ":" in host else host or hub
        path = WEBSOCKET_PATH if transport == "wss" else ""
        return options | {
            "url": f"{transport}://{address}{'' if port is None else f':{port}'}{path}",
            "client_id": device_id,
            "username": build_username(hub, device_id, api_version),
            "password": password,
            "clean_session": False,
        }


def _token(credential: SigningCredential, resource: str, lifetime: float) -> str:
    return credential.sign(resource, int(time.time() + lifetime))
