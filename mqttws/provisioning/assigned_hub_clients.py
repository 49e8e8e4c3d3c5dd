"""An assignment's hub clients: telemetry, messages, methods and the twin of the assigned hub."""

from typing import TYPE_CHECKING, Any, ClassVar

from ..client.options import OnState
from ..client.store import MemoryStore, Store
from ..client.trace import OnPacket
from ..errors import UsageError
from ..hub.device.telemetry import TelemetryMessage
from ..hub.topics import DEFAULT_API_VERSION
from ..loop_thread import LoopThread
from ..net.hops import OnStep
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.tls import Tls
from ..options import ASSIGNED_HUB_CLIENT, SYNC_ASSIGNED_HUB_CLIENT
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from .credentials import Credential

if TYPE_CHECKING:  # they take a while to load
    from ..hub_client.access import HubCredential, HubTransport
    from ..hub_client.client import AsyncHubClient
    from ..hub_client.sync import HubClient
    from ..hub_client.upkeep import Provisioning


class AssignedHubClients:
    """Makes hub clients of the hub that a device is assigned to.

    Attributes:
        assigned_hub: its host name.
        device_id: the device's name there.
    """

    assigned_hub: str
    device_id: str
    _credential: ClassVar[Credential | None] = None  # of an instance: see ``Assignment._holding``

    def hub_client(
        self,
        credential: "HubCredential | None" = None,
        *,
        transport: "HubTransport" = "wss",
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
        provisioning: "Provisioning | None" = None,
        provisioning_limit: int = 5,
        auto_renew: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        thread: LoopThread | None = None,
    ) -> "HubClient":
        """Return a client of the device's hub: telemetry, messages, methods and the twin.

        >>> with assignment.hub_client() as client:
        ...     client.send_telemetry({"temperature": 21.5})

        Args:
            credential: a device's key at DPS is its key at the hub too; None for the credential
                that the assignment holds, which ``provision`` has handed in.
            provisioning: has a device that its hub refuses ask DPS again.

        The others are those of ``HubClient``, which describes them.

        Raises:
            UsageError: an argument is invalid.
        """
        from ..hub_client.sync import HubClient

        options = SYNC_ASSIGNED_HUB_CLIENT.check(locals())
        return HubClient(self.assigned_hub, self.device_id, **self._shown(options))

    def hub_client_async(
        self,
        credential: "HubCredential | None" = None,
        *,
        transport: "HubTransport" = "wss",
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
        provisioning: "Provisioning | None" = None,
        provisioning_limit: int = 5,
        auto_renew: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
    ) -> "AsyncHubClient":
        """Return an asyncio client of the device's hub; as ``hub_client``."""
        from ..hub_client.client import AsyncHubClient

        options = ASSIGNED_HUB_CLIENT.check(locals())
        return AsyncHubClient(self.assigned_hub, self.device_id, **self._shown(options))

    def _shown(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return a client's options with the credential that is shown to the hub."""
        credential = options["credential"] or self._credential
        if credential is None:
            raise UsageError("credential: found None; allowed: a credential, as none is held")
        return options | {"credential": credential}
