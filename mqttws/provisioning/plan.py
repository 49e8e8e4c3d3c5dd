"""The plan of a registration: which DPS, which device, by which ways, with how much patience.

Checks the arguments of ``provision`` before anything is sent. Does not know how they are used.
"""

import re
import time
from dataclasses import dataclass, field
from typing import Literal

from ..client.options import password_bytes
from ..client.trace import OnPacket
from ..dps.names import DEFAULT_API_VERSION, build_username
from ..errors import UsageError
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.target import Target, make_target
from ..net.tls import Tls, client_context
from ..options import PROVISIONING_HOST, WEBSOCKET_PATH
from ..wire import Connect
from .credentials import Credential, TlsCredential

KEEP_ALIVE = 60
"""Seconds; the longest wait between two polls is longer than a proxy's patience."""

Transport = Literal["wss", "mqtts", "auto"]
"""MQTT over WebSocket on port 443, MQTT over TLS on port 8883, or whichever is open."""

Pipelined = Literal["subscribe", "register"] | None
"""Which packets go out before CONNACK."""

AUTO: tuple[Transport, ...] = ("mqtts", "wss")
"""What ``auto`` tries, in this order; each has a short head start over the next."""

_worked: dict[str, str] = {}
"""By host: the scheme over which ``auto`` got CONNACK in this process, to be tried first."""

_in_turn: set[tuple[str, int]] = set()
"""Hosts and ports where a pipelined connection failed and one without worked, in this process."""

_uncapped: set[str] = set()
"""Hosts from which CONNACK came, in this process, over TLS of a version that was not capped."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A registration's settings; ``provision_async`` describes each argument.

    Attributes:
        persistent: whether it goes on after a failure that can pass.
        resume: whether a TLS session of this process may be resumed.
        shown: ``tls``, with the device's certificate where it has one.

    Raises:
        UsageError: an argument is invalid.
    """

    id_scope: str
    credential: Credential
    host: str = PROVISIONING_HOST
    port: int | None = None
    path: str = WEBSOCKET_PATH
    transport: Transport = "wss"
    tls: Tls = None
    proxy: ProxyChoice = field(default=ENVIRONMENT, repr=False)
    api_version: str = DEFAULT_API_VERSION
    pipelined: Pipelined = None
    wait_for_network: bool = False
    on_packet: OnPacket | None = None
    persistent: bool = True
    resume: bool = True
    shown: Tls = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.transport == "auto" and self.port is not None:
            raise UsageError("transport 'auto' tries ports 8883 and 443; give no port with it")
        if not isinstance(self.api_version, str) or not re.fullmatch(
            r"[0-9A-Za-z.-]+", self.api_version
        ):
            raise UsageError(f"api_version {self.api_version!r}; allowed: one such as 2019-03-31")
        self.targets()
        credential = self.credential
        client_context(self.tls)
        shown = credential.context(self.tls) if isinstance(credential, TlsCredential) else self.tls
        object.__setattr__(self, "shown", shown)

    @property
    def certified(self) -> bool:
        """Whether the device proves itself in the TLS handshake."""
        return isinstance(self.credential, TlsCredential)

    def targets(self) -> list[Target]:
        """Return where to connect, what worked last first."""
        schemes: tuple[str, ...] = (self.transport,)
        if self.transport == "auto":
            schemes = tuple(sorted(AUTO, key=lambda scheme: scheme != _worked.get(self.host)))
        return [make_target(scheme, self.host, self.port, self.path) for scheme in schemes]

    def connect_packet(self) -> Connect:
        """Return CONNECT with a password that is valid now."""
        name = self.credential.registration_id
        password = self.credential.password(self.id_scope, time.time())
        return Connect(
            name,
            build_username(self.id_scope, name, self.api_version),
            None if password is None else password_bytes(password),
            True,
            KEEP_ALIVE,
        )

    def pipelined_at(self, target: Target) -> Pipelined:
        """Return what goes out before CONNACK there."""
        return None if (target.host, target.port) in _in_turn else self.pipelined

    def note_accepted(self, target: Target, *, in_turn: bool) -> None:
        """Remember where CONNACK came from, and whether it came only without pipelining."""
        if self.transport == "auto":
            _worked[self.host] = target.scheme
        if in_turn:
            _in_turn.add((target.host, target.port))

    @property
    def hellos_before_cap(self) -> int:
        """The number of hellos of TLS 1.3 in a row that stay unanswered before a capped one."""
        return 2 if self.host in _uncapped else 1

    def note_uncapped(self) -> None:
        """Remember that the host answers a hello that offers all versions of TLS."""
        _uncapped.add(self.host)
