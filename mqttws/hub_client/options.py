"""The options of a hub client, as a type checker sees them; ``AsyncHubClient`` describes each."""

from typing import TypedDict

from ..client.options import OnState
from ..client.store import MemoryStore, Store
from ..client.trace import OnPacket
from ..hub.device.telemetry import TelemetryMessage
from ..loop_thread import LoopThread
from ..net.hops import OnStep
from ..net.proxy import ProxyChoice
from ..net.tls import Tls
from ..retry import Backoff
from .access import HubTransport
from .upkeep import Provisioning


class HubClientOptions(TypedDict, total=False):
    """The keyword arguments of ``AsyncHubClient``."""

    transport: HubTransport
    host: str | None
    port: int | None
    tls: Tls
    proxy: ProxyChoice
    api_version: str
    token_lifetime: float
    client_type: str
    model_id: str
    keep_alive: int
    connect_timeout: float
    hop_timeout: float
    request_timeout: float
    max_outgoing: int
    max_queued: int
    reconnect: Backoff | None
    refused_login_retry: float | None
    store: Store | MemoryStore | None
    manual_ack: bool
    will: TelemetryMessage | None
    provisioning: Provisioning | None
    provisioning_limit: int
    on_step: OnStep | None
    on_packet: OnPacket | None
    on_state: OnState | None


class SyncHubClientOptions(HubClientOptions, total=False):
    """The keyword arguments of ``HubClient``."""

    thread: LoopThread | None
