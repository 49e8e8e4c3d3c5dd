"""Assignment.connect_options(): what an assigned device needs to connect to its hub.

Joins an assignment and a credential to the arguments of ``AsyncClient``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from ..dps.assignment import RegistrationResult
from ..errors import UsageError
from ..hub.topics import DEFAULT_API_VERSION, build_username
from ..net.tls import Tls
from .credentials import Credential, SigningCredential, TlsCredential

if TYPE_CHECKING:
    from ..hub_client.access import HubCredential
    from ..hub_client.client import AsyncHubClient
    from ..hub_client.options import HubClientOptions, SyncHubClientOptions
    from ..hub_client.sync import HubClient

WEBSOCKET_PATH = "/$iothub/websocket"
"""Where a hub takes MQTT over WebSocket."""

TOKEN_LIFETIME = 3600
"""Seconds for which a token is good: as long as the official SDKs take. The hub ends the
connection then; the next one brings a fresh token."""


class ConnectOptions(TypedDict):
    """The arguments of ``AsyncClient``, described there."""

    url: str
    client_id: str
    username: str
    password: Callable[[], str] | None
    clean_session: bool
    tls: Tls


@dataclass(frozen=True)
class Assignment(RegistrationResult):
    """Where a device has been assigned to, and how to connect there.

    Attributes are those of ``dps.assignment.RegistrationResult``.
    """

    def hub_client(
        self, credential: "HubCredential", **options: "Unpack[SyncHubClientOptions]"
    ) -> "HubClient":
        """Return a client of the device's hub: telemetry, messages, methods and the twin.

        >>> with assignment.hub_client(credential) as client:
        ...     client.send_telemetry({"temperature": 21.5})

        Args:
            credential: the one that the device registered with: a device's key at DPS is its key
                at the hub too.
            options: of ``HubClient``. ``provisioning=`` has a device that its hub refuses ask DPS
                again.

        Raises:
            UsageError: an argument cannot be right.
        """
        from ..hub_client.sync import HubClient  # only where it is used: it takes a while to load

        return HubClient(self.assigned_hub, self.device_id, credential, **options)

    def hub_client_async(
        self, credential: "HubCredential", **options: "Unpack[HubClientOptions]"
    ) -> "AsyncHubClient":
        """Return an asyncio client of the device's hub; as ``hub_client``."""
        from ..hub_client.client import AsyncHubClient

        return AsyncHubClient(self.assigned_hub, self.device_id, credential, **options)

    def connect_options(
        self,
        credential: Credential,
        *,
        transport: Literal["wss", "mqtts"] = "wss",
        host: str | None = None,
        port: int | None = None,
        tls: Tls = None,
        api_version: str = DEFAULT_API_VERSION,
        token_lifetime: int = TOKEN_LIFETIME,
    ) -> ConnectOptions:
        """Return what ``AsyncClient`` needs to connect to the device's hub.

        >>> client = AsyncClient(**assignment.connect_options(credential))

        A device's key at DPS is its key at the hub too. The session is kept at the hub, so that
        messages to the device wait there while it is away.

        Args:
            credential: what the device registered with.
            transport: MQTT over WebSocket and TLS on port 443, or over TLS on port 8883.
            host: None for the hub's own name; another for a stand-in on this machine.
            port: None for the transport's own.
            tls: whom to trust: a ``TlsConfig``, or with a key an ``ssl.SSLContext`` too.
            api_version: of the hub's API.
            token_lifetime: seconds; a fresh token is signed at each connect.

        Raises:
            UsageError: the credential can neither sign nor speak in the TLS handshake.
        """
        hub, device_id = self.assigned_hub, self.device_id
        password: Callable[[], str] | None = None
        if isinstance(credential, TlsCredential):
            tls = credential.context(tls)
        elif isinstance(credential, SigningCredential):
            password = partial(_token, credential, f"{hub}/devices/{device_id}", token_lifetime)
        else:
            raise UsageError(
                f"{type(credential).__name__} cannot be shown to a hub",
                hint="use a SymmetricKey or an X509Certificate",
            )
        path = WEBSOCKET_PATH if transport == "wss" else ""
        address = f"[{host}]" if host and ":" in host else host or hub
        return ConnectOptions(
            url=f"{transport}://{address}{'' if port is None else f':{port}'}{path}",
            client_id=device_id,
            username=build_username(hub, device_id, api_version),
            password=password,
            clean_session=False,
            tls=tls,
        )


def _token(credential: SigningCredential, resource: str, lifetime: int) -> str:
    return credential.sign(resource, int(time.time()) + lifetime)
