"""HTTP on the ports of a local DPS: one server, and the services that share it, told apart by path.

Knows connections, and how one changes over from the listener to aiohttp, which is loaded when the
first request comes (extra ``admin``). Does not know what a service does with a request.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import unquote

from ..dps.certificates import Chain
from ..errors import UsageError
from ..net.stream import ByteStream
from ..text import shown
from .listening import WEBSOCKET_PATHS

if TYPE_CHECKING:
    from aiohttp import web

logger: logging.Logger = logging.getLogger("mqttws.local")

MAX_BODY = 1024 * 1024
"""Bytes of a request's body that are read."""

STOP_TIMEOUT = 1.0
"""Seconds that requests under way are given to end when the server stops."""


class Connection(NamedTuple):
    """An HTTPS connection.

    Attributes:
        label: its name in the log.
        chain: the client certificates that were shown and proved; empty for none.
        socket: of its transport.
    """

    label: str
    chain: Chain
    socket: Any


class HttpService(Protocol):
    """A service behind the door."""

    def serves(self, parts: list[str]) -> bool:
        """Return whether a path is this service's; ``parts`` are decoded, at least one."""

    async def answer(self, request: "web.Request", connection: Connection) -> "web.StreamResponse":
        """Return the answer to a request."""


class HttpServer:
    """Answers HTTP on connections that a listener has accepted.

    Args:
        make_application: is called when the first request comes.
        name: for the log.
    """

    def __init__(self, make_application: "Callable[[], web.Application]", name: str) -> None:
        self._make_application = make_application
        self._name = name
        self._runner: web.AppRunner | None = None
        self._starting = asyncio.Lock()
        self._connections: dict[asyncio.Transport, Connection] = {}

    async def take(self, stream: ByteStream, label: str, chain: Chain) -> None:
        """Take a connection whose first bytes are an HTTP request.

        Raises:
            UsageError: the extra is not installed.
        """
        async with self._starting:
            if self._runner is None:
                self._runner = await self._start()
        server = self._runner.server
        if server is None:
            stream.abort()
            return
        protocol = server()
        transport, data = stream.transport, await stream.read()
        known = self._connections.items()
        self._connections = {of: at for of, at in known if at.socket.fileno() >= 0}
        socket = transport.get_extra_info("socket")
        self._connections[transport] = Connection(label, chain, socket)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)
        transport.resume_reading()

    def connection(self, request: "web.Request") -> Connection:
        """Return the connection that a request came by."""
        found = self._connections.get(request.transport)  # type: ignore[arg-type]
        return found or Connection(self._name, (), None)  # it may have ended in between

    async def stop(self) -> None:
        """End every connection; bounded in time."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await runner.cleanup()
        # TLS waits for the peer's close_notify: a peer that has not sent it by now is cut.
        for transport, connection in self._connections.items():
            if connection.socket.fileno() >= 0:
                transport.abort()
        self._connections.clear()
        for _ in range(2):  # the turns in which asyncio closes the sockets
            await asyncio.sleep(0)

    async def _start(self) -> "web.AppRunner":
        from aiohttp import web

        from . import http_answers  # noqa: F401 - without the extra it says so

        runner = web.AppRunner(
            self._make_application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=STOP_TIMEOUT,
            logger=quiet_logger(self._name),
        )
        await runner.setup()
        return runner


class HttpDoor:
    """Gives each HTTP request on the ports of a local DPS to the service of its path.

    A service is added as the function that makes it, called when the first request comes.
    """

    def __init__(self) -> None:
        self._makers: list[Callable[[], HttpService]] = []
        self._made: dict[Callable[[], HttpService], HttpService] = {}
        self._server = HttpServer(self._application, "http")

    def add(self, make: Callable[[], HttpService]) -> None:
        """Let a service answer from now on; the one that was added first is asked first."""
        self._makers.append(make)

    def remove(self, make: Callable[[], HttpService]) -> None:
        """Let a service answer no more."""
        self._makers.remove(make)
        self._made.pop(make, None)

    async def take(self, stream: ByteStream, label: str, chain: Chain) -> bool:
        """Take a connection whose first bytes are an HTTP request; False where none is served."""
        try:
            await self._server.take(stream, label, chain)
        except UsageError as error:
            logger.info("%s: an HTTP request: %s", label, error)
            return False
        return True

    async def stop(self) -> None:
        """End every connection; bounded in time."""
        await self._server.stop()

    # Inside

    def _application(self) -> "web.Application":
        from aiohttp import web

        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, request: "web.Request") -> "web.StreamResponse":
        from .http_answers import Refused, refuse

        connection = self._server.connection(request)
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        for make in self._makers:
            if make not in self._made:
                self._made[make] = make()
            service = self._made[make]
            if service.serves(parts):
                return await service.answer(request, connection)
        if request.path in WEBSOCKET_PATHS:
            return _no_upgrade(request, connection.label)
        path = shown(request.path)
        logger.info("%s: %s %s: 404: no service here", connection.label, request.method, path)
        return refuse(Refused(404000, f"Not Found: nothing is served at {path}."))


def _no_upgrade(request: "web.Request", label: str) -> "web.StreamResponse":
    """Refuse what asks for no WebSocket at a path that has nothing else."""
    from aiohttp import web

    if request.method == "GET":
        answer = web.Response(status=426, headers={"Upgrade": "websocket"})
    else:
        answer = web.Response(status=405, headers={"Allow": "GET"})
    answer.force_close()
    logger.info("%s: upgrade: answered %d %s", label, answer.status, answer.reason)
    return answer


class _OneLine(logging.LoggerAdapter[logging.Logger]):
    """Takes aiohttp's records about requests that cannot be read or failed: one line for each."""

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        error = options.pop("exc_info", None)
        # Its words may quote a header, and so a token.
        reason = f": {type(error).__name__}" if isinstance(error, BaseException) else ""
        name = (self.extra or {}).get("name")
        self.logger.log(min(level, logging.WARNING), "%s: %s%s", name, str(msg)[:100], reason)


def quiet_logger(name: str) -> _OneLine:
    """Return a logger for aiohttp, without tracebacks; each line begins with ``name``."""
    return _OneLine(logger, {"name": name})
