"""A server's URL taken apart and checked: scheme, host, port and path."""

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ..errors import UsageError
from .names import ascii_name

DEFAULT_PORTS = {"wss": 443, "ws": 80, "mqtts": 8883, "mqtt": 1883}
"""The URL schemes and their ports (RFC 6455 section 3; MQTT 3.1.1 section 4.2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a URL.

    Attributes:
        scheme: ``wss``, ``ws``, ``mqtts`` or ``mqtt``.
        host: address without brackets, or name in ASCII, with the dot at its end if it has one.
        port: TCP port.
        path: the WebSocket's resource name with its query; without meaning to MQTT (WS-9).
        headers: HTTP headers of the application's for the WebSocket's upgrade; shown nowhere.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in ("wss", "mqtts")

    @property
    def websocket(self) -> bool:
        """Whether MQTT travels in WebSocket frames."""
        return self.scheme in ("wss", "ws")

    @property
    def server_name(self) -> str:
        """The host as TLS and HTTP name it: without the dot that ends an absolute DNS name.

        RFC 6066 section 3 wants it away in TLS's server name, and no certificate holds it.
        """
        return self.host.rstrip(".") or self.host

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.address}{self.path if self.websocket else ''}"


def parse_url(url: str) -> Target:
    """Return where a URL leads.

    Raises:
        UsageError: it is none of ``wss://``, ``ws://``, ``mqtts://``, ``mqtt://`` with a host.
    """
    if not isinstance(url, str):
        raise UsageError(f"URL: found {type(url).__name__}; allowed: str")
    parts = _split(url)
    if parts is None:  # not quoted: there may be a login in it
        raise UsageError("a URL that cannot be read: host or port is not one")
    if "@" in parts.netloc:
        raise UsageError("a URL with a login in it", hint="give username= and password= instead")
    if parts.fragment:
        raise UsageError(f"URL {url[:100]!r}: a fragment has no meaning here", rule="WS-12")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return make_target(parts.scheme, parts.hostname or "", parts.port, path)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text holds the whole URL, so it goes no further
        return None
    return parts


_SCHEMES = {
    theirs: f"write {ours}:// in place of {theirs}://"
    for theirs, ours in {
        "tcp": "mqtt",
        "ssl": "mqtts",
        "tls": "mqtts",
        "http": "ws",
        "https": "wss",
    }.items()
}
"""The schemes of other clients, and ours for the same."""


def make_target(scheme: str, host: str, port: int | None, path: str = "/") -> Target:
    """Return a target, its parts checked; ``port`` None is the scheme's own.

    Raises:
        UsageError: a part cannot be one.
    """
    if scheme not in DEFAULT_PORTS:
        raise UsageError(
            f"URL scheme {scheme!r}; allowed: wss, ws, mqtts or mqtt",
            hint=_SCHEMES.get(scheme, "begin with one, such as mqtts://HOST or wss://HOST/mqtt"),
        )
    if not isinstance(host, str) or not re.fullmatch(r"[\w.:%-]+", host):
        raise UsageError(f"host {host!r}; allowed: a name or an address, nothing around it")
    if pasted := re.fullmatch(r"([^:]+):([0-9]+)", host):
        raise UsageError(
            f"host {host!r} has a port in it", hint=f"give the port by itself: --port {pasted[2]}"
        )
    if ":" not in host:
        host = ascii_name(host)
    if port is None:
        port = DEFAULT_PORTS[scheme]
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise UsageError(f"port {port!r}; allowed: 1 to 65535")
    if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path):
        raise UsageError(
            f"path {path!r}; allowed: one that begins with / and is percent-encoded", rule="WS-15"
        )
    return Target(scheme, host, port, path)
