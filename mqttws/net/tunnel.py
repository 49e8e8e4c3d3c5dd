"""The dialogue with a proxy until it lets us through: HTTP CONNECT, SOCKS5 or SOCKS4a.

Bytes in, bytes out, until the proxy has let us through or ``ProxyRefused`` is raised. One object
serves one dial; ``HttpConnect`` may ask for a new connection in its course, because a proxy may
close after its 407. No message and no fact that comes out of here holds a login.
"""

from typing import Protocol

from ..errors import UsageError
from .http_connect import HttpConnect
from .names import ascii_name
from .proxy import Proxy
from .socks import Socks4aConnect, Socks5Connect


class Tunnel(Protocol):
    """The exchange with a proxy until it opens the tunnel."""

    facts: dict[str, str]
    """The proxy's answer, for people; never a login."""

    asks: bool
    """Whether taking bytes may ask the application, which may take its time."""

    @property
    def request(self) -> str:
        """The request in words, for people."""

    @property
    def done(self) -> bool:
        """Whether the bytes now go to and come from the server."""

    @property
    def reconnect(self) -> bool:
        """Whether the next bytes belong on a new connection to the proxy."""

    @property
    def refused(self) -> bool:
        """Whether the proxy has refused, and only its page is still awaited."""

    def restart(self) -> None:
        """Handle a new connection."""

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the proxy; raises ``ProxyRefused``."""

    def receive_eof(self) -> None:
        """Handle the proxy's close; raises ``ProxyRefused`` unless it was expected."""


def tunnel_through(proxy: Proxy, host: str, port: int, address: str | None = None) -> Tunnel:
    """Return the talk that leads through ``proxy`` to a server.

    Args:
        proxy: whom to talk to.
        host: the server's name or address.
        port: the server's port.
        address: the server's address, for a proxy that is not to resolve its name.

    Raises:
        UsageError: the host's name cannot be sent.
    """
    if proxy.scheme in ("http", "https"):
        return HttpConnect(proxy, _ascii_host(host), port)
    if proxy.scheme == "socks4a":
        return Socks4aConnect(proxy, _ascii_host(host), port)
    return Socks5Connect(proxy, _ascii_host(address or host), port)


def _ascii_host(host: str) -> str:
    raw = ascii_name(host)
    if not raw or len(raw) > 255 or not all("!" <= character <= "~" for character in raw):
        raise UsageError(f"{host[:100]!r} is not a host name")
    return raw
