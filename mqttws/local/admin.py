"""AdminApi: the DPS service API's paths and JSON over HTTP, for scripts that enroll devices.

Knows HTTP, through aiohttp: it serves in an event loop that is there already, takes no signal
handlers of its own, and is kept by the team that keeps asyncio's HTTP alive. The extra ``admin``
installs it. What a request of the service API means is ``ServiceApi``'s matter; orders of faults
are the admin API's own.

On a loopback address everybody on this machine may ask; the Host header must be a loopback name
then, so that no web page can. Any other address demands a token. Nothing here is encrypted: do not
let it leave a network that you trust.
"""

import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from ..dps.faults import parse_fault
from ..errors import UsageError
from ..net.failures import listening_failed
from .dps import AsyncLocalDps

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the admin API needs aiohttp, which is not installed", hint="pip install 'mqttws[admin]'"
    ) from None

from .http_answers import Refused, answer, is_number, read_body, refusal_of, refuse
from .service_api import ServiceApi

MAX_BODY = 1024 * 1024
"""Bytes of a request's body that are read."""

STOP_TIMEOUT = 2.0
"""Seconds that requests under way are given to end when the API stops."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _OneLine(logging.LoggerAdapter[logging.Logger]):
    """Takes what aiohttp has to say about a request that cannot be read: in one line."""

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        error = options.pop("exc_info", None)
        reason = f": {type(error).__name__}" if isinstance(error, BaseException) else ""
        self.logger.log(min(level, logging.WARNING), "admin: %s%s", str(msg)[:100], reason)


class AdminApi:
    """Serves the admin API of a local DPS, in the same event loop.

    >>> async with AsyncLocalDps() as dps, AdminApi(dps) as admin:
    ...     print(admin.url)

    Args:
        dps: whose enrollments, registrations and faults.
        host: the address to listen on.
        port: 0 takes a free one.
        token: what a request must bring as ``Authorization: Bearer``; None for none.

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
        self._local = _is_loopback(host)
        if not self._local and not token:
            raise UsageError(
                f"the admin API on {host} needs a token; only a loopback address needs none"
            )
        self.host = host
        self.port: int = port
        self._dps = dps
        self._api = ServiceApi(dps)
        self._token = token
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ServiceFailed: the port is taken or may not be used.
        """
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=STOP_TIMEOUT,
            logger=_OneLine(logging.getLogger("mqttws.local")),
        )
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise listening_failed(self.host, self.port, error) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, and end what is being answered; bounded in time."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

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
                self._check(request)
                return await handler(request)
            except Exception as error:
                refusal = refusal_of(error)
                if refusal is None:
                    raise
                return refuse(refusal)

        return guard

    def _check(self, request: web.Request) -> None:
        if self._token is not None:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise Refused(401002, "Unauthorized. Authorization: Bearer and the token.")
        elif not _is_loopback(request.url.host or ""):
            raise Refused(403000, "Forbidden. The Host header names no loopback address.")
        if request.can_read_body and request.content_type != "application/json":
            # A web page's form cannot send this type, so it cannot enroll anybody.
            raise Refused(415000, "Content-Type must be application/json.")

    # Faults: no cloud has these

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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
