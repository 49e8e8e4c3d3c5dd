"""AdminApi: the DPS service API's paths and JSON over HTTP, for scripts that enroll devices.

Knows HTTP, through aiohttp: it serves in an event loop that is there already, takes no signal
handlers of its own, and is kept by the team that keeps asyncio's HTTP alive. The extra ``admin``
installs it. What a request means is ``AsyncLocalDps``'s and the records' matter.

On a loopback address everybody on this machine may ask; the Host header must be a loopback name
then, so that no web page can. Any other address demands a token. Nothing here is encrypted: do not
let it leave a network that you trust.
"""

import dataclasses
import hmac
import ipaddress
import json
import logging
import re
import secrets
import time
import uuid
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from ..dps.answers import assigned_state, error_body, new_etag, timestamp
from ..dps.enrollment_json import enrollment_to_json, parse_enrollments
from ..dps.faults import parse_fault
from ..dps.json_text import build_json, parse_json
from ..dps.records import EnrollmentGroup, IndividualEnrollment
from ..dps.store import ABSENT, Row, Table
from ..dps.tables import DEVICES, GROUPS, INDIVIDUALS
from ..errors import StoreFailed, StoreFull, UsageError
from ..net.failures import listening_failed
from ..text import shown
from .dps import AsyncLocalDps

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the admin API needs aiohttp, which is not installed", hint="pip install 'mqttws[admin]'"
    ) from None

MAX_BODY = 1024 * 1024
"""Bytes of a request's body that are read."""

DEFAULT_PAGE = 1000
"""Items of a query's answer at most, and where the request does not say."""

MAX_ATTEMPTS = 10
"""Changes that may be void because another client was faster, before one is given up."""

STOP_TIMEOUT = 2.0
"""Seconds that requests under way are given to end when the API stops."""

_QUERY = re.compile(r"\s*select\s+\*\s+from\s+\w+\s*", re.IGNORECASE)
_NEWEST = "2021-10-01"  # the service API's version whose members are written

Enrollment = IndividualEnrollment | EnrollmentGroup
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Refused(Exception):
    """A request that gets an error status, in the service API's words."""

    def __init__(self, error_code: int, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code


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
        self.port = port
        self._dps = dps
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
        for kind in ("enrollments", "enrollmentGroups"):
            router.add_post(f"/{kind}/query", self._query_enrollments)
            router.add_put(f"/{kind}/{{id}}", self._put)
            router.add_get(f"/{kind}/{{id}}", self._get)
            router.add_delete(f"/{kind}/{{id}}", self._delete)
            router.add_post(f"/{kind}/{{id}}/attestationmechanism", self._attestation)
        router.add_get("/registrations/{id}", self._get_registration)
        router.add_delete("/registrations/{id}", self._delete_registration)
        router.add_post("/registrations/{id}/query", self._query_registrations)
        router.add_get("/faults", self._list_faults)
        router.add_post("/faults", self._order_fault)
        router.add_delete("/faults", self._cancel_faults)
        router.add_delete("/faults/{number}", self._cancel_faults)
        return application

    # Who may ask, and how errors are answered

    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
            try:
                self._check(request)
                return await handler(request)
            except _Refused as refusal:
                return _refuse(refusal.error_code, str(refusal))
            except UsageError as error:
                return _refuse(400004, f"Invalid request. {error}")
            except StoreFull as error:
                return _refuse(507000, f"Insufficient storage. {error}")
            except StoreFailed as error:
                return _refuse(503000, f"Service unavailable. {error}")
            except web.HTTPException as error:
                return _refuse(error.status * 1000, error.reason)

        return guard

    def _check(self, request: web.Request) -> None:
        if self._token is not None:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise _Refused(401002, "Unauthorized. Authorization: Bearer and the token.")
        elif not _is_loopback(request.url.host or ""):
            raise _Refused(403000, "Forbidden. The Host header names no loopback address.")
        if request.can_read_body and request.content_type != "application/json":
            # A web page's form cannot send this type, so it cannot enroll anybody.
            raise _Refused(415000, "Content-Type must be application/json.")

    # Enrollments

    async def _find(self, request: web.Request) -> Row:
        found = await self._dps.directory.row(_table(request), request.match_info["id"])
        if not found.version:
            raise _Refused(404201, "Enrollment not found.")
        _check_etag(request, found.value.etag)
        return found

    async def _put(self, request: web.Request) -> web.Response:
        """Create an enrollment, or replace it; keys that are missing are made."""
        body = await _read(request)
        name, place = request.match_info["id"], _id_member(request)
        if str(body.setdefault(place, name)).lower() != name.lower():
            raise UsageError(f"{place} differs from the one in the path")
        _add_keys(body)
        (enrollment,) = parse_enrollments(json.dumps([body]), "body")
        for _ in range(MAX_ATTEMPTS):
            before = await self._before(request)
            now = timestamp(time.time())
            kept = dataclasses.replace(
                enrollment,
                created=before.value.created if before.version else now,
                last_updated=now,
                etag=new_etag(str(uuid.uuid4())),
            )
            if await self._dps.change(kept, before):
                return _answer(_shown(kept))
        raise _busy()

    async def _before(self, request: web.Request) -> Row:
        """Return the row that is to be replaced, which may be absent unless an etag is named."""
        try:
            return await self._find(request)
        except _Refused as refusal:
            if refusal.error_code != 404201 or "If-Match" in request.headers:
                raise
            return ABSENT

    async def _get(self, request: web.Request) -> web.Response:
        return _answer(_shown((await self._find(request)).value))

    async def _delete(self, request: web.Request) -> web.Response:
        for _ in range(MAX_ATTEMPTS):
            found = await self._find(request)
            if await self._dps.remove(found.value, found):
                return web.Response(status=204)
        raise _busy()

    async def _attestation(self, request: web.Request) -> web.Response:
        """Answer with the keys: the one place that does, as in the cloud."""
        return _answer(enrollment_to_json((await self._find(request)).value)["attestation"])

    async def _query_enrollments(self, request: web.Request) -> web.Response:
        await _read_query(request)
        rows, headers = await self._page(request, _table(request))
        return _answer([_shown(row.value) for row in rows], headers)

    # Registrations

    async def _find_registration(self, request: web.Request) -> Row:
        found = await self._dps.directory.row(DEVICES, request.match_info["id"])
        if found.value is None or found.value.registration is None:
            raise _Refused(404202, "Registration not found.")
        return found

    async def _get_registration(self, request: web.Request) -> web.Response:
        found = await self._find_registration(request)
        return _answer(assigned_state(found.value.registration, _NEWEST))

    async def _delete_registration(self, request: web.Request) -> web.Response:
        for _ in range(MAX_ATTEMPTS):
            found = await self._find_registration(request)
            _check_etag(request, found.value.registration.etag)
            name = request.match_info["id"]
            if await self._dps.directory.remove_registration(name, found):
                return web.Response(status=204)
        raise _busy()

    async def _query_registrations(self, request: web.Request) -> web.Response:
        """Answer with the registrations of one group."""
        group = request.match_info["id"].lower()
        rows, headers = await self._page(request, DEVICES, group)
        found = [assigned_state(row.value.registration, _NEWEST) for row in rows]
        return _answer(found, headers)

    async def _page(
        self, request: web.Request, table: Table[Any], group: str | None = None
    ) -> tuple[list[Row], dict[str, str]]:
        """Return the rows that are asked for, and the headers that lead to the next ones."""
        size = min(_count(request, "x-ms-max-item-count", DEFAULT_PAGE), DEFAULT_PAGE)
        after = _position(request)
        items, more = await self._dps.store.page(table, after, size, group)
        headers = {}
        if more:
            last = items[-1][0].encode()
            headers["x-ms-continuation"] = urlsafe_b64encode(last).decode()
        return [row for _, row in items], headers

    # Faults: no cloud has these

    async def _list_faults(self, request: web.Request) -> web.Response:
        orders = await self._dps.faults.orders()
        return _answer([fault.to_json() | {"id": number} for number, fault in orders.items()])

    async def _order_fault(self, request: web.Request) -> web.Response:
        number = await self._dps.faults.order(parse_fault(await _read(request)))
        return _answer({"id": number})

    async def _cancel_faults(self, request: web.Request) -> web.Response:
        number = request.match_info.get("number")
        if number is None:
            await self._dps.faults.cancel()
        elif not (_is_number(number) and await self._dps.faults.cancel(int(number))):
            raise _Refused(404000, "Fault not found.")
        return web.Response(status=204)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _individual(request: web.Request) -> bool:
    return request.path.startswith("/enrollments/")


def _table(request: web.Request) -> Table[Any]:
    return INDIVIDUALS if _individual(request) else GROUPS


def _id_member(request: web.Request) -> str:
    return "registrationId" if _individual(request) else "enrollmentGroupId"


def _check_etag(request: web.Request, etag: str) -> None:
    wanted = request.headers.get("If-Match", "*").strip('"')
    if wanted not in ("*", etag):
        raise _Refused(412000, "Precondition failed. The etag is another one now.")


async def _read(request: web.Request) -> dict[str, Any]:
    try:
        body = parse_json(await request.read())
    except ValueError as error:
        fault = str(error)
    else:
        if isinstance(body, dict):
            return body
        fault = f"found {type(body).__name__}, allowed an object"
    raise UsageError(f"body: not the JSON that is expected: {fault}")


async def _read_query(request: web.Request) -> None:
    query = (await _read(request)).get("query")
    if not isinstance(query, str) or not _QUERY.fullmatch(query):
        raise UsageError(
            f"query: found {shown(query)}; allowed: "  # noqa: S608 - there is no database
            "SELECT * FROM enrollments"
        )


def _count(request: web.Request, header: str, default: int) -> int:
    text = request.headers.get(header, str(default))
    if not (_is_number(text) and int(text) >= 1):  # else no page is the last
        raise UsageError(f"{header}: found {shown(text)}; allowed: 1 or more")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _position(request: web.Request) -> str:
    """Return the key behind which the page begins."""
    text = request.headers.get("x-ms-continuation", "")
    try:
        return urlsafe_b64decode(text.encode("ascii")).decode()
    except ValueError:
        raise UsageError(
            f"x-ms-continuation: found {shown(text)}; allowed: what the page before came with"
        ) from None


def _busy() -> _Refused:
    return _Refused(409000, "Conflict. Other requests change the same record; try again.")


def _add_keys(body: dict[str, Any]) -> None:
    """Make the keys of a symmetric key attestation that brings none, as the cloud does."""
    attestation = body.get("attestation")
    if not isinstance(attestation, dict) or attestation.get("type") != "symmetricKey":
        return
    if not attestation.get("symmetricKey"):
        attestation["symmetricKey"] = {
            name: b64encode(secrets.token_bytes(64)).decode()
            for name in ("primaryKey", "secondaryKey")
        }


def _shown(enrollment: Enrollment) -> dict[str, Any]:
    """Return a record without its keys."""
    record = enrollment_to_json(enrollment)
    if record["attestation"]["type"] == "symmetricKey":
        record["attestation"] = {"type": "symmetricKey"}
    return record


def _answer(body: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=build_json(body), content_type="application/json", headers=headers)


def _refuse(error_code: int, message: str) -> web.Response:
    body = error_body(error_code, message, str(uuid.uuid4()), time.time())
    return web.Response(
        status=error_code // 1000, body=build_json(body), content_type="application/json"
    )
