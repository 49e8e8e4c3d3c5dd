"""Walks the hops to a server and yields a stream that carries MQTT.

Name, TCP, TLS, upgrade: every way through a network exists once, here. A proxy's legs belong
between TCP and TLS.
"""

import asyncio
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import Hop, NameNotResolved, Unreachable, UsageError
from .failures import reason_of, translate
from .hops import Walk
from .stream import ByteStream, Stream
from .tls import Tls, client_context
from .websocket import open_websocket

HEAD_START = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305)."""

DEFAULT_PORTS = {"wss": 443, "ws": 80, "mqtts": 8883, "mqtt": 1883}
"""The URL schemes and their ports (RFC 6455 section 3; MQTT 3.1.1 section 4.2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads.

    Attributes:
        scheme: ``wss``, ``ws``, ``mqtts`` or ``mqtt``.
        host: name or address, without brackets.
        port: TCP port.
        path: the WebSocket's resource name with its query; without meaning to MQTT (WS-9).
    """

    scheme: str
    host: str
    port: int
    path: str = "/"

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in ("wss", "mqtts")

    @property
    def websocket(self) -> bool:
        """Whether MQTT travels in WebSocket frames."""
        return self.scheme in ("wss", "ws")

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


def make_target(scheme: str, host: str, port: int | None, path: str = "/") -> Target:
    """Return a target, its parts checked; ``port`` None is the scheme's own.

    Raises:
        UsageError: a part cannot be one.
    """
    if scheme not in DEFAULT_PORTS:
        raise UsageError(f"URL scheme {scheme!r}; allowed: wss, ws, mqtts or mqtt")
    if not isinstance(host, str) or not re.fullmatch(r"[\w.:%-]+", host):
        raise UsageError(f"host {host!r}; allowed: a name or an address, nothing around it")
    if port is None:
        port = DEFAULT_PORTS[scheme]
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise UsageError(f"port {port!r}; allowed: 1 to 65535")
    if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path):
        raise UsageError(
            f"path {path!r}; allowed: one that begins with / and is percent-encoded", rule="WS-15"
        )
    return Target(scheme, host, port, path)


async def dial(target: Target, walk: Walk, *, tls: Tls = None, max_message_size: int) -> Stream:
    """Walk the hops to ``target`` and return the stream.

    Args:
        target: where to.
        walk: keeps the time limits and records the steps.
        tls: whom to trust.
        max_message_size: the largest WebSocket message in bytes that is accepted.

    Raises:
        ConnectFailed: with the ``hop`` that failed; nothing is left open.
    """
    # A bad CA file is the caller's mistake: it is told before anything is sent.
    context = client_context(tls) if target.secure else None
    async with walk.hop(Hop.NAME, target.host) as step:
        addresses = await resolve(target.host, target.port)
        step.detail = f"{target.host} is " + ", ".join(address[4][0] for address in addresses)
    async with walk.hop(Hop.TCP, target.address) as step:
        stream = await connect(addresses, target.address)
        step.detail = stream.peer
    try:
        if context is not None:
            async with walk.hop(Hop.TLS, target.host) as step:
                await stream.start_tls(context, target.host, max(0.001, walk.remaining))
                step.detail = f"{stream.info('ssl_object').version()}, {stream.info('cipher')[0]}"
        if not target.websocket:
            return stream
        async with walk.hop(Hop.UPGRADE, target.path) as step:
            websocket = await open_websocket(stream, target.url, max_message_size)
            step.detail = f"101, subprotocol {websocket.subprotocol}"
            return websocket
    except BaseException:
        stream.abort()
        raise


Address = tuple[int, int, int, str, Any]
"""What ``getaddrinfo`` returns for one address."""


async def connect(addresses: list[Address], where: str) -> ByteStream:
    """Return a stream to the first address that answers.

    Raises:
        Unreachable: none answered.
    """
    connected = await race(addresses, where)
    try:
        _, stream = await asyncio.get_running_loop().create_connection(ByteStream, sock=connected)
    except BaseException:
        connected.close()
        raise
    return stream


async def resolve(host: str, port: int) -> list[Address]:
    """Return the host's addresses, IPv6 and IPv4 in turn (RFC 8305 section 4).

    The look-up runs in a thread of its own that nothing waits for: the operating system's cannot be
    stopped, and must hold up neither a deadline nor the end of the program.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Address]] = loop.create_future()

    def deliver(addresses: list[Address], error: OSError | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[Address] = []
        failure: OSError | None = None
        try:
            addresses = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failure = error
        except UnicodeError:  # a label that is empty or too long for IDNA
            failure = socket.gaierror(socket.EAI_NONAME, "not a host name")
        with suppress(RuntimeError):  # the loop may have ended meanwhile: nobody waits any more
            loop.call_soon_threadsafe(deliver, addresses, failure)

    threading.Thread(target=look_up, name="mqttws-resolve", daemon=True).start()
    addresses = await found
    if not addresses:
        raise NameNotResolved(f"{host} has no address", hop=Hop.NAME)
    first: list[Address] = []
    other: list[Address] = []
    for address in addresses:
        (first if address[0] == addresses[0][0] else other).append(address)
    mixed: list[Address] = []
    for number in range(max(len(first), len(other))):
        mixed += first[number : number + 1] + other[number : number + 1]
    return mixed


async def race(addresses: list[Address], where: str) -> socket.socket:
    """Return a socket connected to the first address that answers (RFC 8305 section 5).

    Each is given a short head start over the next; the losers are closed.

    Raises:
        Unreachable: none answered; says what each said.
    """
    attempts: dict[asyncio.Task[socket.socket], str] = {}
    failures: list[tuple[str, OSError]] = []
    waiting = list(addresses)
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.pop(0)
                attempts[asyncio.ensure_future(_connect(address))] = address[4][0]
            done, _ = await asyncio.wait(
                attempts,
                timeout=HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                name = attempts.pop(attempt)
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                if not isinstance(error, OSError):
                    raise error
                failures.append((name, error))
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close_loser)
            attempt.cancel()
    if len(failures) == 1:
        raise translate(failures[0][1], Hop.TCP, where) from failures[0][1]
    told = "; ".join(f"{name}: {reason_of(error)}" for name, error in failures)
    hint = getattr(translate(failures[0][1], Hop.TCP, where), "hint", "")
    raise Unreachable(f"tcp: {where}: {told}", hop=Hop.TCP, hint=hint) from failures[0][1]


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    attempt = socket.socket(family, kind, protocol)
    try:
        attempt.setblocking(False)
        await asyncio.get_running_loop().sock_connect(attempt, where)
    except BaseException:
        attempt.close()
        raise
    return attempt


def _close_loser(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
