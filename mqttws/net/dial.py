"""Walks the hops to a server and yields a stream that carries MQTT.

Name, TCP, a proxy's legs, TLS, upgrade: every way through a network exists once, here. Does not
know what is said to a proxy (``tunnel``) and which one it is (``proxy``).
"""

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ..errors import (
    ConnectFailed,
    NameNotResolved,
    ProxyRefused,
    Unreachable,
    UpgradeRefused,
    UsageError,
)
from ..hops import Hop
from .certificate import (
    LOOK_TIMEOUT,
    describe_session,
    look_at_certificate,
    proved_chain,
    rejected_certificate,
)
from .failures import NO_ROUTE, reason_of, translate
from .hops import Walk
from .proxy import ENVIRONMENT, Proxy, ProxyChoice, choose_proxy
from .stream import ByteStream, Stream
from .tls import Tls, TlsConfig, client_context, proxy_context
from .websocket import open_websocket

if TYPE_CHECKING:
    from .tunnel import Tunnel

HEAD_START = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305)."""

TRANSPORT_HEAD_START = 0.5
"""Seconds before another transport is tried beside the one that is not open yet: longer than a
handshake takes, and shorter than anybody's patience."""

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


async def dial(
    target: Target,
    walk: Walk,
    *,
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    max_message_size: int,
) -> Stream:
    """Walk the hops to ``target`` and return the stream.

    Args:
        target: where to.
        walk: keeps the time limits and records the steps.
        tls: whom to trust.
        proxy: which proxy to go through.
        max_message_size: the largest WebSocket message in bytes that is accepted.

    Raises:
        ConnectFailed: with the ``hop`` that failed; nothing is left open.
        UsageError: an argument or a variable of the environment cannot be used.
    """
    # A bad CA file or proxy URL is the caller's mistake: it is told before anything is sent.
    context = client_context(tls) if target.secure else None
    chosen = choose_proxy(proxy, target.scheme, target.host, target.port)
    proxy_tls = (
        proxy_context(chosen.tls, tls) if chosen is not None and chosen.scheme == "https" else None
    )

    def reach(along: Walk) -> Awaitable[ByteStream]:
        return _reach(target, along, chosen, proxy_tls)

    walk.certified = isinstance(tls, TlsConfig) and tls.certificate is not None
    stream = await reach(walk)
    try:
        if context is not None:
            await _secure(stream, context, target.host, walk, hop=Hop.TLS, reach=reach)
        if not target.websocket:
            return stream
        async with walk.hop(Hop.UPGRADE, target.path) as step:
            try:
                websocket = await open_websocket(stream, target.url, max_message_size, step.facts)
            except UpgradeRefused as error:
                raise error from stream.cause
            step.detail = f"101, subprotocol {websocket.subprotocol}"
            return websocket
    except BaseException:
        stream.abort()
        raise


async def dial_first(
    targets: Sequence[Target],
    walk: Walk,
    *,
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    max_message_size: int,
) -> tuple[Target, Stream]:
    """Walk several ways, each with a head start over the next; return the first that is open.

    The steps of the way that is taken join ``walk`` when it is open; the others are given up.

    Raises:
        ConnectFailed: none is open; the error is that of the way that led furthest.
    """
    if len(targets) == 1:
        stream = await dial(
            targets[0], walk, tls=tls, proxy=proxy, max_message_size=max_message_size
        )
        return targets[0], stream
    attempts: dict[asyncio.Task[Stream], _Attempt] = {}
    failed: list[tuple[_Attempt, ConnectFailed]] = []
    waiting = list(targets)
    try:
        while waiting or attempts:
            if waiting:
                attempt = _Attempt(waiting.pop(0), walk.aside(walk.remaining), walk.elapsed)
                attempts[
                    asyncio.ensure_future(
                        dial(
                            attempt.target,
                            attempt.walk,
                            tls=tls,
                            proxy=proxy,
                            max_message_size=max_message_size,
                        )
                    )
                ] = attempt
            done, _ = await asyncio.wait(
                attempts,
                timeout=TRANSPORT_HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                attempt = attempts.pop(task)
                error = task.exception()
                if error is None:
                    walk.adopt(attempt.walk.steps, attempt.began)
                    walk.certified = attempt.walk.certified
                    return attempt.target, task.result()
                if not isinstance(error, ConnectFailed):
                    raise error
                failed.append((attempt, error))
    finally:
        for task in attempts:
            task.add_done_callback(_abort_loser)
            task.cancel()
    order = list(Hop)
    furthest, raised = max(failed, key=lambda pair: order.index(pair[1].hop))
    walk.adopt(furthest.walk.steps, furthest.began)
    others = [f"{attempt.target.url}: {error}" for attempt, error in failed if error is not raised]
    raised.hint = "; also tried: ".join([raised.hint, *others])
    raise raised


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One of several ways that are walked at once."""

    target: Target
    walk: Walk
    began: float


def _abort_loser(task: asyncio.Task[Stream]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


async def _reach(
    target: Target, walk: Walk, proxy: Proxy | None, proxy_tls: ssl.SSLContext | None
) -> ByteStream:
    """Return a stream whose bytes go to the server, straight or through a proxy."""
    if proxy is None:
        return await _connect_tcp(target.host, target.port, walk, Hop.NAME, Hop.TCP)
    from .tunnel import UNREACHABLE_REPLIES, tunnel_through

    if not proxy.resolves_here:
        tunnel = tunnel_through(proxy, target.host, target.port)
        return await _pass_proxy(proxy, proxy_tls, tunnel, walk)
    async with walk.hop(Hop.NAME, target.host) as step:
        addresses = [address[4][0] for address in await resolve(target.host, target.port)]
        step.detail = f"{target.host} is " + ", ".join(addresses)
    for number, address in enumerate(addresses, 1):
        try:
            tunnel = tunnel_through(proxy, target.host, target.port, address)
            return await _pass_proxy(proxy, proxy_tls, tunnel, walk)
        except ProxyRefused as error:
            if error.status not in UNREACHABLE_REPLIES or number == len(addresses):
                raise
    raise NameNotResolved(f"{target.host} has no address", hop=Hop.NAME)


async def _connect_tcp(host: str, port: int, walk: Walk, name_hop: Hop, tcp_hop: Hop) -> ByteStream:
    """Return a TCP connection to a server or proxy."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with walk.hop(name_hop, host) as step:
        addresses = await resolve(host, port)
        step.detail = f"{host} is " + ", ".join(address[4][0] for address in addresses)
    async with walk.hop(tcp_hop, where) as step:
        stream = await connect(addresses, where, tcp_hop)
        step.detail = stream.peer
        return stream


async def _pass_proxy(
    proxy: Proxy, context: ssl.SSLContext | None, tunnel: "Tunnel", walk: Walk
) -> ByteStream:
    """Return a connection to the proxy that it has joined to the server."""

    def reach(along: Walk) -> Awaitable[ByteStream]:
        return _connect_tcp(proxy.host, proxy.port, along, Hop.PROXY_NAME, Hop.PROXY_TCP)

    while True:
        stream = await reach(walk)
        try:
            if context is not None:
                await _secure(stream, context, proxy.host, walk, hop=Hop.PROXY_TLS, reach=reach)
            async with walk.hop(Hop.PROXY, tunnel.request) as step:
                try:
                    await _talk(stream, tunnel)
                finally:
                    step.facts = dict(tunnel.facts)
                step.detail += f": {tunnel.facts.get('status', '')}"
        except BaseException:
            stream.abort()
            raise
        if tunnel.done:
            return stream
        stream.abort()  # the proxy closes after its demand for a login; the answer goes elsewhere
        tunnel.restart()


async def _talk(stream: ByteStream, tunnel: "Tunnel") -> None:
    """Move the bytes of a talk with a proxy until it is over, here or altogether."""
    while not (tunnel.done or tunnel.reconnect):
        if to_send := tunnel.data_to_send():
            stream.write(to_send)
        data = await stream.read()
        if data:
            tunnel.receive_data(data)
        else:
            tunnel.receive_eof()


async def _secure(
    stream: ByteStream,
    context: ssl.SSLContext,
    host: str,
    walk: Walk,
    *,
    hop: Hop,
    reach: Callable[[Walk], Awaitable[ByteStream]],
) -> None:
    """Go on in TLS; a certificate that is rejected is looked at, over a second connection."""
    async with walk.hop(hop, host) as step:
        try:
            await stream.start_tls(context, host, max(0.001, walk.remaining))
        except ssl.SSLCertVerificationError as error:
            # The look must not use up the hop's time, else its own error would be lost.
            limit = min(LOOK_TIMEOUT, walk.left_of(step) * 0.8)
            seen = await look_at_certificate(lambda: reach(walk.aside(limit)), host, limit)
            raise rejected_certificate(error, hop, host, seen, context) from error
        session = stream.info("ssl_object")
        step.facts.update(describe_session(session))
        step.certificates = tuple(proved_chain(session))
        step.detail = f"{step.facts['version']}, {step.facts['cipher']}"


Address = tuple[int, int, int, str, Any]
"""What ``getaddrinfo`` returns for one address."""


async def connect(addresses: list[Address], where: str, hop: Hop = Hop.TCP) -> ByteStream:
    """Return a stream to the first address that answers.

    Raises:
        Unreachable: none answered.
    """
    connected = await race(addresses, where, hop)
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


async def race(addresses: list[Address], where: str, hop: Hop = Hop.TCP) -> socket.socket:
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
                attempts[asyncio.ensure_future(_try_address(address))] = address[4][0]
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
        raise translate(failures[0][1], hop, where) from failures[0][1]
    told = "; ".join(f"{name}: {reason_of(error)}" for name, error in failures)
    # A host without IPv6 has no route there, which is nobody's fault where IPv4 failed otherwise.
    errors = [error for _, error in failures]
    telling = next((error for error in errors if error.errno not in NO_ROUTE), errors[0])
    hint = translate(telling, hop, where).hint
    raise Unreachable(f"{hop.value}: {where}: {told}", hop=hop, hint=hint) from telling


async def _try_address(address: Address) -> socket.socket:
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
