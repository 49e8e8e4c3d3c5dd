"""The options of an assignment's clients, as a type checker sees them."""

from typing import Literal, TypedDict

from ..client.options import HeadersOption, OnAttemptFailed, OnState
from ..client.store import MemoryStore, Store
from ..client.trace import OnPacket
from ..loop_thread import LoopThread
from ..net.hops import OnStep
from ..net.proxy import ProxyChoice
from ..net.tls import Tls
from ..retry import Backoff
from ..wire import Will


class AssignedClientOptions(TypedDict, total=False):
    """The keyword arguments of ``Assignment.client_async``."""

    transport: Literal["wss", "mqtts"]
    host: str | None
    port: int | None
    tls: Tls
    api_version: str
    token_lifetime: float
    keep_alive: int
    will: Will | None
    proxy: ProxyChoice
    connect_timeout: float
    hop_timeout: float
    request_timeout: float
    max_packet_size: int
    max_queued: int
    max_outgoing: int
    max_outgoing_bytes: int
    max_in_flight: int
    max_in_flight_qos2: int
    after_pubrec: str
    unmatched_wait: float | None
    strict: bool
    headers: HeadersOption
    reconnect: Backoff | None
    refused_login_retry: float | None
    store: Store | MemoryStore | None
    manual_ack: bool
    on_step: OnStep | None
    on_packet: OnPacket | None
    on_state: OnState | None
    on_attempt_failed: OnAttemptFailed | None


class SyncAssignedClientOptions(AssignedClientOptions, total=False):
    """The keyword arguments of ``Assignment.client``."""

    thread: LoopThread | None
