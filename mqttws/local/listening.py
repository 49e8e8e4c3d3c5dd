"""Listening sockets of the local services: from an accepted connection to where MQTT begins.

Knows addresses, TLS, the WebSocket upgrade, and that an HTTP request may come where a WebSocket is
expected. Does not know what is served behind: the owner of the port gets each stream.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from ..dps.certificates import Chain
from ..errors import MqttwsError, ServiceFailed
from ..hops import Hop
from ..net.failures import listening_failed, reason_of, translate
from ..net.stream import ByteStream, Stream
from ..net.upgrade import accept_websocket
from .alerts import handshake_of
from .handed import Handed

logger: logging.Logger = logging.getLogger("mqttws.local")
"""One line for each thing that happens at the service, without secrets."""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a client is given for TLS, for the upgrade, and for CONNECT, each."""

WEBSOCKET_PATHS = ("/$iothub/websocket", "/")
"""Request targets of the official SDKs' WebSockets: Python, Node and C; C# and Java."""

MAX_MESSAGE_SIZE = 4 * 98 * 1024
"""Bytes of one WebSocket message: several packets of the largest size may share it."""

MAX_HEAD = 16 * 1024
"""Bytes of an HTTP request's head that are read to tell an upgrade from another request."""

BACKLOG = 1024
"""Connections that the kernel keeps for one listening socket until they are accepted."""

ACCEPT_PAUSE = 0.5
"""Seconds without accepting after the process ran out of descriptors or memory."""

_ACCEPTS_IN_A_ROW = 16
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Take = Callable[[Stream, str, Chain], None]
"""Takes a connection, its name in the log, and the client certificates, where MQTT begins."""

BeforeUpgrade = Callable[[ByteStream, str], Awaitable[None]]
"""Called with a connection and its name in the log before a WebSocket's opening request is
answered; what it raises ends the connection."""

OnRefused = Callable[[str, str, str], None]
"""Called with the name, the hop and the reason of each connection that has ended before MQTT."""

TakeHttp = Callable[[ByteStream, str, Chain], Awaitable[None]]
"""Takes a connection whose first bytes, still to be read, are an HTTP request and no upgrade."""


class ServerTls(Protocol):
    """The server's side of TLS."""

    async def context(self, label: str) -> ssl.SSLContext:
        """Return the context of the next handshake; ``label`` names the connection in the log."""

    def chain(self, ssl_object: ssl.SSLObject) -> Chain:
        """Return the certificates that a client has shown and proved, its own first."""


@dataclass
class FixedTls:
    """One context for all handshakes, and no client certificates."""

    ssl_context: ssl.SSLContext

    async def context(self, label: str) -> ssl.SSLContext:
        """Return the context."""
        return self.ssl_context

    def chain(self, ssl_object: ssl.SSLObject) -> Chain:
        """Return no certificate."""
        return ()


class _ListeningSocket(socket.socket):
    """A listening socket that remembers the connection it accepted last.

    asyncio's ``sock_accept`` loses an accepted connection if it is cancelled in the turn of the
    loop in which it came: the client would wait for a service that does not know of it.
    """

    accepted: socket.socket | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        accepted, address = super().accept()
        self.accepted = accepted
        return accepted, address

    def take(self) -> None:
        """Note that the connection accepted last has been taken on."""
        self.accepted = None

    def close(self) -> None:
        """Close it, and the connection that nothing has taken on."""
        if self.accepted is not None:
            self.accepted.close()
        super().close()


@dataclass(frozen=True)
class _Port:
    """The service of one port."""

    name: str
    take: Take
    websocket: bool
    paths: Collection[str]
    http: TakeHttp | None
    before_upgrade: BeforeUpgrade | None
    max_message_size: int


class Listener:
    """Listening sockets that share one TLS set-up.

    Args:
        tls: the server's side of TLS; None to speak in clear.
        on_refused: see ``OnRefused``; None for no call.
        handed: sockets that another process has opened, used in place of opening the ports of
            their names.
    """

    def __init__(
        self,
        tls: ServerTls | None = None,
        on_refused: OnRefused | None = None,
        handed: Handed | None = None,
    ) -> None:
        self._tls = tls
        self.handed: Handed = handed or {}
        self._on_refused = on_refused
        self._sockets: list[_ListeningSocket] = []
        self._accepting: set[asyncio.Task[None]] = set()
        self._greeting: dict[asyncio.Task[None], tuple[ByteStream, socket.socket]] = {}
        self._connections = 0
        self._exhausted = False

    async def listen(
        self,
        host: str,
        port: int,
        name: str,
        take: Take,
        *,
        websocket: bool,
        paths: Collection[str] = WEBSOCKET_PATHS,
        http: TakeHttp | None = None,
        before_upgrade: BeforeUpgrade | None = None,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> int:
        """Listen on every address of ``host``; return the port.

        Args:
            host: a name or address of this machine.
            port: 0 takes a free one, the same for all addresses.
            name: for the log.
            take: is given each connection where MQTT begins.
            websocket: whether MQTT travels in a WebSocket.
            paths: request targets, without a query, at which the WebSocket is offered.
            http: is given HTTP requests that ask for no WebSocket; None refuses them.
            before_upgrade: see ``BeforeUpgrade``.
            max_message_size: bytes of one WebSocket message at most.

        Raises:
            ServiceFailed: the host has no address here, or the port is taken or not allowed.
        """
        served = _Port(name, take, websocket, paths, http, before_upgrade, max_message_size)
        opened = [_taken_over(descriptor) for descriptor in self.handed.get(name, ())]
        opened = opened or await open_port(host, port)
        port = opened[0].getsockname()[1]
        for listening in opened:
            self._sockets.append(listening)
            task = asyncio.get_running_loop().create_task(self._accept(listening, served))
            self._accepting.add(task)
        return port

    @property
    def listening(self) -> bool:
        """Whether a port is open."""
        return bool(self._sockets)

    async def stop(self) -> None:
        """Close the ports, and every connection that has not reached MQTT yet."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._accepting.clear()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        greeting = dict(self._greeting)
        for task, (stream, _) in greeting.items():
            task.cancel()
            if stream.connected:
                stream.abort()
        await asyncio.gather(*greeting, return_exceptions=True)
        for stream, accepted in greeting.values():
            if not stream.connected:
                accepted.close()  # a task that was cancelled before it began has not done it

    # Inside

    async def _accept(self, listening: _ListeningSocket, port: _Port) -> None:
        loop = asyncio.get_running_loop()
        in_a_row = 0
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                # A client that left before it was accepted (ECONNABORTED) needs no pause.
                if error.errno in _EXHAUSTED:
                    self._note_exhausted(error)
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue
            listening.take()
            self._exhausted = False
            stream = ByteStream(lambda _: None)  # its callback makes it wait for TLS
            task = loop.create_task(self._greet(accepted, stream, port))
            self._greeting[task] = stream, accepted
            task.add_done_callback(self._greeting.pop)
            in_a_row += 1
            if in_a_row % _ACCEPTS_IN_A_ROW == 0:
                await asyncio.sleep(
                    0
                )  # a waiting connection is accepted without a turn of the loop

    def _note_exhausted(self, error: OSError) -> None:
        if not self._exhausted:
            self._exhausted = True
            logger.warning(
                "no new connection can be accepted: %s; those that wait are tried again every %g s",
                reason_of(error),
                ACCEPT_PAUSE,
            )

    async def _greet(self, accepted: socket.socket, stream: ByteStream, port: _Port) -> None:
        """Bring a connection to where MQTT begins; whatever goes wrong ends it, in one log line."""
        self._connections += 1
        label = f"#{self._connections} {port.name}"
        hop = Hop.TLS
        try:
            accepted.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, accepted)
            label += f" {stream.peer}"
            chain: Chain = ()
            if self._tls is None:
                stream.resume_reading()
            else:
                context = await self._tls.context(label)
                with handshake_of(stream.transport):
                    await stream.start_tls(context, None, HANDSHAKE_TIMEOUT)
                chain = self._tls.chain(stream.info("ssl_object"))
            hop = Hop.UPGRADE
            if port.http is not None:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                    if await _is_plain_http(stream):
                        await port.http(stream, label, chain)
                        return
            if port.before_upgrade is not None:
                await port.before_upgrade(stream, label)
            carried: Stream = stream
            if port.websocket:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                    accept = port.paths.__contains__
                    carried = await accept_websocket(stream, accept, port.max_message_size)
            port.take(carried, label, chain)
        except TimeoutError:
            reason = f"{hop.value}: nothing came within {HANDSHAKE_TIMEOUT:g} s"
            self._note_refused(label, hop, reason)
            stream.abort()
        except OSError as error:
            self._note_refused(label, hop, str(translate(error, hop)))
            _abort(stream, accepted)
        except MqttwsError as error:
            self._note_refused(label, hop, str(error))
            await stream.close()
        except Exception as error:  # whatever it is, it ends this connection alone
            logger.error("%s: %s: %s", label, hop.value, type(error).__name__)  # noqa: TRY400
            _abort(stream, accepted)
        except BaseException:
            _abort(stream, accepted)
            raise

    def _note_refused(self, label: str, hop: Hop, reason: str) -> None:
        logger.info("%s: %s", label, reason)
        if self._on_refused is not None:
            self._on_refused(label, hop.value, reason)


async def open_port(host: str, port: int) -> "list[_ListeningSocket]":
    """Return listening sockets on every address of ``host``, all at one port.

    Args:
        host: a name or address of this machine.
        port: 0 takes a free one.

    Raises:
        ServiceFailed: the host has no address here, or the port is taken or not allowed.
    """
    opened: list[_ListeningSocket] = []
    try:
        for family, address in await resolve(host):
            opened.append(_bind(family, address, port))
            port = opened[-1].getsockname()[1]
    except OSError as error:
        for listening in opened:
            listening.close()
        raise listening_failed(host, port, error) from error
    return opened


async def resolve(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses that ``host`` means."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ServiceFailed(
            f"cannot listen on {host}: it has no address here",
            hint="name an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all",
        ) from error
    return list(dict.fromkeys((family, str(address[0])) for family, *_, address in found))


def _taken_over(descriptor: int) -> _ListeningSocket:
    """Return a socket of our own on one that was handed over, which stays open."""
    listening = _ListeningSocket(fileno=os.dup(descriptor))
    listening.setblocking(False)
    return listening


def _bind(family: socket.AddressFamily, address: str, port: int) -> _ListeningSocket:
    # asyncio lets small answers out at once (TCP_NODELAY) only where the protocol is named.
    listening = _ListeningSocket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_REUSEPORT"):  # POSIX: else a port is taken for a while after its use
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


async def _is_plain_http(stream: ByteStream) -> bool:
    """Whether an HTTP request comes that asks for no WebSocket; its bytes are put back."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
        data = await stream.read()
        if not data:
            break
        head += data
    stream.put_back(head)
    lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
    if b" HTTP/1." not in lines[0]:
        return False
    return not any(
        line.lower().startswith(b"upgrade:") and b"websocket" in line.lower() for line in lines[1:]
    )


def _abort(stream: ByteStream, accepted: socket.socket) -> None:
    if stream.connected:
        stream.abort()
    else:
        accepted.close()
