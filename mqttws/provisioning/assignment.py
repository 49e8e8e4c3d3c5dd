"""Assignment: a device's place, and the clients that connect to it there.

Joins an assignment and a credential to the arguments of a client.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict, Unpack

from ..dps.assignment import RegistrationResult
from ..errors import UsageError
from ..hub.topics import DEFAULT_API_VERSION, build_username
from ..net.tls import Tls
from ..options import ASSIGNED_CLIENT
from .credentials import Credential, SigningCredential, TlsCredential

if TYPE_CHECKING:
    from ..client.client import AsyncClient
    from ..client.sync import Client
    from ..hub_client.access import HubCredential
    from ..hub_client.client import AsyncHubClient
    from ..hub_client.options import HubClientOptions, SyncHubClientOptions
    from ..hub_client.sync import HubClient
    from .options import AssignedClientOptions, SyncAssignedClientOptions

WEBSOCKET_PATH = "/$iothub/websocket"
"""Where a hub takes MQTT over WebSocket."""

TOKEN_LIFETIME = 3600
"""Seconds for which a token is good: as long as the official SDKs take. The hub ends the
connection then; the next one brings a fresh token."""


_WAY = ("transport", "host", "port", "tls", "api_version", "token_lifetime")


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

    _credential: ClassVar[Credential | None] = None  # of an instance: see ``holding``

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

    def client(
        self, credential: Credential | None = None, **options: "Unpack[SyncAssignedClientOptions]"
    ) -> "Client":
        """Return an MQTT client of the device's hub, not connected yet.

        >>> with assignment.client() as client:
        ...     client.publish(telemetry_topic(assignment.device_id), b"21.5", qos=1)

        The session is kept at the hub, so that messages to the device wait there while it is away.

        Args:
            credential: a device's credential at DPS is its credential at the hub too; None for the
                one that the assignment holds, which ``provision`` has handed in.
            options: those of ``Client`` that are not given by the assignment, and of
                ``hub_client``: ``transport``, ``host``, ``port``, ``api_version`` and
                ``token_lifetime`` in seconds.

        Raises:
            UsageError: the credential can neither sign nor speak in the TLS handshake, there is
                none, or an option cannot be right.
        """
        from ..client.sync import Client  # only where it is used: it takes a while to load

        ASSIGNED_CLIENT.check(options)
        way = {name: options.pop(name) for name in _WAY if name in options}  # type: ignore[misc]
        return Client(**{**options, **self._connect_options(credential, **way)})  # type: ignore[arg-type]

    def client_async(
        self, credential: Credential | None = None, **options: "Unpack[AssignedClientOptions]"
    ) -> "AsyncClient":
        """Return an asyncio MQTT client of the device's hub; as ``client``."""
        from ..client.client import AsyncClient

        ASSIGNED_CLIENT.check(options)
        way = {name: options.pop(name) for name in _WAY if name in options}  # type: ignore[misc]
        return AsyncClient(**{**options, **self._connect_options(credential, **way)})  # type: ignore[arg-type]

    def holding(self, credential: Credential) -> "Assignment":
        """Return the same assignment with the credential for ``client``.

        It is in no text, pickle, file or comparison; a copy holds none.
        """
        held = replace(self)
        object.__setattr__(held, "_credential", credential)
        return held

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _connect_options(
        self,
        credential: Credential | None,
        *,
        transport: Literal["wss", "mqtts"] = "wss",
        host: str | None = None,
        port: int | None = None,
        tls: Tls = None,
        api_version: str = DEFAULT_API_VERSION,
        token_lifetime: float = TOKEN_LIFETIME,
    ) -> ConnectOptions:
        """Return the arguments of ``AsyncClient`` that connect to the hub."""
        credential = credential or self._credential
        if credential is None:
            raise UsageError("credential: found None; allowed: a credential, as none is held")
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


def _token(credential: SigningCredential, resource: str, lifetime: float) -> str:
    return credential.sign(resource, int(time.time() + lifetime))
