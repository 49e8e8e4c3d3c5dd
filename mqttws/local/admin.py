"""AdminApi: the DPS service API's paths and JSON over HTTP, for scripts that enroll devices.

Knows HTTP, through aiohttp: it serves in an event loop that is there already, takes no signal
handlers of its own, and is kept by the team that keeps asyncio's HTTP alive. The extra ``admin``
installs it. What a request of the service API means is ``ServiceApi``'s matter; orders of faults
are the admin API's own.

On a loopback address every user of this machine may ask, in clear; the Host header must be a
loopback name then, so that no web page can. On any other address it speaks TLS, with a certificate
of the DPS's CA, and demands a token.
"""

import asyncio
import hmac
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..dps.certificates import Chain
from ..dps.faults import parse_fault
from ..errors import UsageError
from ..net.names import is_loopback
from ..net.stream import Stream
from .certificates import ServerCertificate, prepare_certificates
from .dps import AsyncLocalDps, own_names

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the admin API needs aiohttp, which is not installed", hint="pip install 'mqttws[admin]'"
    ) from None

from .health import PATHS, HealthDoor
from .http_answers import (
    Refused,
    answer,
    host_names,
    is_number,
    log_refusal,
    read_body,
    refusal_of,
    refuse,
)
from .http_door import HttpServer
from .listening import FixedTls, Listener
from .numbered import send_events
from .policies import EVERYWHERE
from .service_api import ServiceApi

MAX_BODY = 1024 * 1024
"""Bytes of a request's body that are read."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable: where the processes of one service put their figures."""

if TYPE_CHECKING:
    from .metrics import Metrics

logger: logging.Logger = logging.getLogger("mqttws.local")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminApi:
    """Serves the admin API of a local DPS, in the same event loop.

    >>> async with AsyncLocalDps() as dps, AdminApi(dps) as admin:
    ...     print(admin.url)

    Args:
        dps: whose enrollments, registrations and faults.
        host: the address to listen on.
        port: 0 takes a free one.
        token: what a request must bring as ``Authorization: Bearer``; None for none, which only a
            loopback address allows.

    Raises:
        UsageError: an address that is not loopback, without a token.
    """

    def __init__(
        self,
        dps: AsyncLocalDps,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
    ) -> None:
        self._local = is_loopback(host)
        if not self._local and not token:
            raise UsageError(
                f"the admin API on {host} needs a token; only a loopback address needs none",
                hint="give serve a file with a token: --admin-token-file FILE",
            )
        self.host = host
        self.port: int = port
        self._dps = dps
        self._api = ServiceApi(dps)
        self._token = token
        self._health = HealthDoor(dps.store)
        self._metrics: Metrics | None = None
        self._server = HttpServer(self._application, "admin")
        self._listener: Listener | None = None
        self._tls: FixedTls | None = None
        self._certificate: ServerCertificate | None = None

    @property
    def url(self) -> str:
        """The URL for clients on this machine, without a slash at the end."""
        host = EVERYWHERE.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._local else 'https'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ServiceFailed: the port is taken or may not be used.
            StoreFailed: the certificate cannot be written.
        """
        if not self._local:
            names = (self.host, EVERYWHERE.get(self.host, self.host), *own_names())
            folder = self._dps.ca_file.parent
            made = await asyncio.to_thread(prepare_certificates, folder, names, "admin")
            self._certificate, self._tls = made, FixedTls(made.context())
        with suppress(UsageError):  # without the extra there are none
            from .metrics import Metrics

            self._metrics = Metrics(self._dps, shared=bool(os.environ.get(METRICS_FOLDER)))
        listener = Listener(self._tls, handed=self._dps.handed)
        self.port = await listener.listen(
            self.host, self.port, "admin", _refuse, websocket=False, http=self._server.take
        )
        self._listener = listener

    def renew_tls(self) -> None:
        """Show from the next handshake on what stands in the certificate's files now.

        Raises:
            OSError: they cannot be read, or do not fit together; all stays as it was.
        """
        if self._tls is not None and self._certificate is not None:
            self._tls.ssl_context = self._certificate.context()

    async def stop(self) -> None:
        """Stop listening, and end what is being answered; bounded in time."""
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        if self._metrics is not None:
            self._metrics.stop()
        await self._server.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard()])
        router = application.router
        for path in PATHS:
            router.add_route("*", f"/{path}", self._health.look)
        router.add_get("/metrics", self._show_metrics)
        router.add_post("/reset", self._reset)
        router.add_get("/events", self._stream_events)
        router.add_get("/faults", self._list_faults)
        router.add_post("/faults", self._order_fault)
        router.add_delete("/faults", self._cancel_faults)
        router.add_delete("/faults/{number}", self._cancel_faults)
        router.add_route("*", "/{path:.*}", self._api.answer)
        return application

    # Who may ask, and how errors are answered

    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
            try:
                if request.path.strip("/") not in PATHS:  # a load balancer has no token
                    self._check(request)
                return await handler(request)
            except Exception as error:
                refusal = refusal_of(error)
                if refusal is None:
                    raise
                label = self._server.connection(request).label
                log_refusal(label, request, refusal)
                return refuse(refusal)

        return guard

    def _check(self, request: web.Request) -> None:
        if self._token is not None:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise Refused(
                    401002,
                    "Unauthorized. The header Authorization: Bearer TOKEN is needed.",
                )
        elif not is_loopback(host_names(request)[1]):
            raise Refused(403000, "Forbidden. The Host header names no loopback address.")
        if request.can_read_body and request.content_type != "application/json":
            # A web page's form cannot send this type, so it cannot enroll anybody.
            raise Refused(415000, "Content-Type must be application/json.")

    # Figures, events and faults: no cloud has these

    async def _show_metrics(self, request: web.Request) -> web.Response:
        if self._metrics is None:
            raise Refused(501000, "Not Implemented. Metrics need prometheus_client here.")
        return web.Response(body=self._metrics.text(), headers={"Content-Type": METRICS_TYPE})

    async def _reset(self, request: web.Request) -> web.Response:
        """Forget devices and ordered faults, as between two tests; enrollments stay."""
        count = await self._dps.reset()
        logger.info("reset: %d devices are forgotten, and every ordered fault", count)
        return answer({"devices": count})

    async def _stream_events(self, request: web.Request) -> web.StreamResponse:
        return await send_events(request, self._dps.front.events)

    async def _list_faults(self, request: web.Request) -> web.Response:
        orders = await self._dps.faults.orders()
        found = [standing.fault.to_json() | {"id": number} for number, standing in orders.items()]
        return answer(found)

    async def _order_fault(self, request: web.Request) -> web.Response:
        number = await self._dps.faults.order(parse_fault(await read_body(request)))
        return answer({"id": number})

    async def _cancel_faults(self, request: web.Request) -> web.Response:
        number = request.match_info.get("number")
        if number is None:
            await self._dps.faults.cancel()
        elif not (is_number(number) and await self._dps.faults.cancel(int(number))):
            raise Refused(404000, "Fault not found.")
        return web.Response(status=204)


def _refuse(stream: Stream, label: str, chain: Chain) -> None:
    """End a connection that carries no HTTP request."""
    logger.info("%s: no HTTP request came, or its head was too long", label)
    stream.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    closing = asyncio.get_running_loop().create_task(stream.close())
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)


_CLOSING: set[asyncio.Task[None]] = set()
"""Connections that are being closed: the loop keeps no task by itself."""
