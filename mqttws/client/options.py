"""A client's options, and its states."""

import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum

from ..errors import MqttwsError, UsageError
from ..net.hops import OnStep
from ..net.names import is_loopback
from ..net.proxy import ProxyChoice
from ..net.target import Target
from ..net.tls import Tls
from ..retry import Backoff
from ..utf8 import utf8
from ..wire import Connect
from .store import MemoryStore, Store
from .trace import OnPacket


class ClientState(Enum):
    """A client's state."""

    NEW = "new"
    """Not connected yet."""
    CONNECTING = "connecting"
    """``connect`` is under way."""
    CONNECTED = "connected"
    """Messages can be sent now."""
    RECONNECTING = "reconnecting"
    """The connection was lost, or an attempt to renew it failed; there will be another."""
    CLOSED = "closed"
    """Over: disconnected, or given up for the reason that came with it."""


OnState = Callable[[ClientState, MqttwsError | None], None]
"""Called with each change of state and its reason; None where it was asked for."""

OnAttemptFailed = Callable[[MqttwsError], bool | Awaitable[bool | None] | None]
"""Asked after each failed attempt to reconnect: True for another one, False for the client's end,
None for what the client would do by itself."""

Urls = str | Target | Sequence[str | Target]
Url = Urls | Callable[[], Urls | Awaitable[Urls]]
"""One URL or several, or a function (plain or async) that returns them for each connection."""

Headers = Mapping[str, str]
HeadersOption = Headers | Callable[[], Headers | Awaitable[Headers]] | None
"""HTTP headers, or a function (plain or async) that returns them for each connection."""

Secret = str | bytes
Password = Secret | Callable[[], Secret | Awaitable[Secret]] | None
"""A password, or a function (plain or async) that returns a fresh one for each connection."""


@dataclass(slots=True)
class Options:
    """A client's options; ``AsyncClient`` describes each."""

    targets: list[Target]
    make_url: Callable[[], Urls | Awaitable[Urls]] | None = field(repr=False)
    headers: HeadersOption = field(repr=False)
    connect: Connect
    password: Password = field(repr=False)
    tls: Tls
    proxy: ProxyChoice = field(repr=False)
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
    manual_ack: bool
    reconnect: Backoff | None
    refused_login_retry: float | None
    store: Store | MemoryStore | None
    on_step: OnStep | None
    on_packet: OnPacket | None
    on_state: OnState | None
    on_attempt_failed: OnAttemptFailed | None


PASSED_ON = [
    one.name for one in fields(Options) if one.name not in ("targets", "make_url", "connect")
]
"""The options that reach the inside as they were given."""


def password_bytes(password: object) -> bytes:
    """Return a password's bytes; text is sent as UTF-8."""
    if isinstance(password, str):
        return utf8(password, "password")
    if isinstance(password, bytes):
        return password
    raise UsageError(f"password: found {type(password).__name__}; allowed: str or bytes")


def warn_of_clear_text(targets: Sequence[Target]) -> None:
    """Warn of the first server on another machine to which a password would go without TLS."""
    plain = next((of for of in targets if not (of.secure or is_loopback(of.host))), None)
    if plain is not None:
        warnings.warn(
            f"the password for {plain.address} goes over the network in the clear", stacklevel=3
        )
