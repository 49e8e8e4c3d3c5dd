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
import re
import secrets
import time
import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from ..dps.answers import assigned_state, error_body, new_etag, timestamp
from ..dps.enrollment_json import enrollment_to_json, parse_enrollments
from ..dps.faults import parse_fault
from ..dps.json_text import build_json, parse_json
from ..dps.records import EnrollmentGroup, IndividualEnrollment
from ..errors import UsageError
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
"""Items of a query's answer, where the request does not say."""

_QUERY = re.compile(r"\s*select\s+\*\s+from\s+\w+\s*", re.IGNORECASE)
_NEWEST = "2021-10-01"  # the service API's version whose members are written

Enrollment = IndividualEnrollment | EnrollmentGroup
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Refused(Exception):
    """A request that gets an error status, in the service API's words."""

    def __init__(self, error_code: int, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code


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
        runner = web.AppRunner(self._application(), access_log=None, handle_signals=False)
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

    def _find(self, request: web.Request) -> Enrollment:
        name = request.match_info["id"]
        records = self._dps.records
        found = records.individual(name) if _individual(request) else records.group(name)
        if found is None:
            raise _Refused(404201, "Enrollment not found.")
        _check_etag(request, found.etag)
        return found

    async def _put(self, request: web.Request) -> web.Response:
        """Create an enrollment, or replace it; keys that are missing are made."""
        body = await _read(request)
        name, place = request.match_info["id"], _id_member(request)
        if str(body.setdefault(place, name)).lower() != name.lower():
            raise UsageError(f"{place} differs from the one in the path")
        _add_keys(body)
        try:
            before = self._find(request)
        except _Refused as refusal:
            if refusal.error_code != 404201 or "If-Match" in request.headers:
                raise
            before = None
        now = timestamp(time.time())
        (enrollment,) = parse_enrollments(json.dumps([body]), "body")
        kept = dataclasses.replace(
            enrollment,
            created=before.created if before else now,
            last_updated=now,
            etag=new_etag(str(uuid.uuid4())),
        )
        self._dps.keep(kept, replace=True)
        return _answer(_shown(kept))

    async def _get(self, request: web.Request) -> web.Response:
        return _answer(_shown(self._find(request)))

    async def _delete(self, request: web.Request) -> web.Response:
        self._dps.records.remove(self._find(request))
        return web.Response(status=204)

    async def _attestation(self, request: web.Request) -> web.Response:
        """Answer with the keys: the one place that does, as in the cloud."""
        return _answer(enrollment_to_json(self._find(request))["attestation"])

    async def _query_enrollments(self, request: web.Request) -> web.Response:
        records = self._dps.records
        found: Sequence[Enrollment] = (
            records.individuals() if _individual(request) else records.groups()
        )
        page, headers = await _page(request, found)
        return _answer([_shown(enrollment) for enrollment in page], headers)

    # Registrations

    async def _get_registration(self, request: web.Request) -> web.Response:
        record = self._dps.records.registration(request.match_info["id"])
        if record is None:
            raise _Refused(404202, "Registration not found.")
        return _answer(assigned_state(record, _NEWEST))

    async def _delete_registration(self, request: web.Request) -> web.Response:
        record = self._dps.records.registration(request.match_info["id"])
        if record is None:
            raise _Refused(404202, "Registration not found.")
        _check_etag(request, record.etag)
        self._dps.records.remove_registration(record.registration_id)
        return web.Response(status=204)

    async def _query_registrations(self, request: web.Request) -> web.Response:
        """Answer with the registrations of one group."""
        group = request.match_info["id"].lower()
        found = [
            record
            for record in self._dps.records.registrations()
            if record.enrollment_group_id.lower() == group
        ]
        page, headers = await _page(request, found, query_needed=False)
        return _answer([assigned_state(record, _NEWEST) for record in page], headers)

    # Faults: no cloud has these

    async def _list_faults(self, request: web.Request) -> web.Response:
        orders = self._dps.faults.orders()
        return _answer([fault.to_json() | {"id": number} for number, fault in orders.items()])

    async def _order_fault(self, request: web.Request) -> web.Response:
        number = self._dps.faults.order(parse_fault(await _read(request)))
        return _answer({"id": number})

    async def _cancel_faults(self, request: web.Request) -> web.Response:
        number = request.match_info.get("number")
        if number is None:
            self._dps.faults.cancel()
        elif not (number.isdecimal() and self._dps.faults.cancel(int(number))):
            raise _Refused(404000, "Fault not found.")
        return web.Response(status=204)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _individual(request: web.Request) -> bool:
    return request.path.startswith("/enrollments/")


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


async def _page(
    request: web.Request, items: Sequence[Any], *, query_needed: bool = True
) -> tuple[Sequence[Any], dict[str, str]]:
    """Return the items that are asked for, and the headers that lead to the next ones."""
    if query_needed:
        query = (await _read(request)).get("query")
        if not isinstance(query, str) or not _QUERY.fullmatch(query):
            raise UsageError(
                f"query: found {shown(query)}; allowed: "  # noqa: S608 - there is no database
                "SELECT * FROM enrollments"
            )
    size = _count(request, "x-ms-max-item-count", DEFAULT_PAGE, least=1)  # else no page is the last
    start = _count(request, "x-ms-continuation", 0)
    end = start + size
    more = {"x-ms-continuation": str(end)} if end < len(items) else {}
    return items[start:end], more


def _count(request: web.Request, header: str, default: int, *, least: int = 0) -> int:
    text = request.headers.get(header, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
        raise UsageError(f"{header}: found {shown(text)}; allowed: {least} or more")
    return int(text)


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
