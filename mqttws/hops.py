"""The hops of the way to an assignment, and what is found on the way."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Hop(Enum):
    """One leg of the way to an assignment, in the order in which the legs are walked."""

    PROXY_NAME = "proxy-name"
    """The proxy's name becomes addresses."""
    PROXY_TCP = "proxy-tcp"
    """One of the proxy's addresses accepts a connection."""
    PROXY_TLS = "proxy-tls"
    """The proxy proves who it is, and the bytes to it are encrypted."""
    NAME = "name"
    """The host's name becomes addresses; left out where a proxy does that."""
    TCP = "tcp"
    """One of the addresses accepts a connection; a proxy does that in its own leg."""
    PROXY = "proxy"
    """The proxy lets us through to the host (CONNECT, RFC 9110 section 9.3.6; or SOCKS)."""
    TLS = "tls"
    """The server proves who it is, and the bytes are encrypted."""
    UPGRADE = "upgrade"
    """HTTP turns into a WebSocket with subprotocol ``mqtt`` (RFC 6455 section 4)."""
    CONNECT = "connect"
    """CONNECT is answered by CONNACK (MQTT 3.1.1 section 3.1)."""
    SUBSCRIBE = "subscribe"
    """SUBSCRIBE is answered by SUBACK (MQTT 3.1.1 section 3.8)."""
    REGISTER = "register"
    """DPS answers the registration request."""
    POLL = "poll"
    """DPS answers a question about the operation's status."""

    @property
    def exit_code(self) -> int:
        """What a program ends with when this leg failed: 10 for the first one, and so on."""
        return 10 + list(Hop).index(self)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What stands in a certificate; nobody has vouched for it.

    Attributes:
        subject: whom it names, such as ``CN=example.com``.
        issuer: who signed it.
        names: the host names and addresses it is for.
        not_before: the moment from which it is good.
        not_after: the moment until which it is good.
        sha256: the fingerprint, hexadecimal.
        self_signed: whether it names itself as its issuer.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    sha256: str
    self_signed: bool

    def __str__(self) -> str:
        return (
            f"subject {self.subject}; issuer {self.issuer};"
            f" valid {self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d}"
        )
