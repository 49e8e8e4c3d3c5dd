"""The DPS service API: enrollments, groups and registration records, as its clients ask for them.

Knows its paths, bodies, headers and error codes (``stable/2021-10-01/service.json`` of
Azure/azure-rest-api-specs; service SDKs and ``az iot dps``). Does not know who may ask, nor on
which port: ``AdminApi`` hands requests in.

Where no source says what the cloud does, nothing is lost: a body without keys, or a certificate
without its text, keeps those that are there.
"""

import dataclasses
import json
import logging
import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from ..dps.answers import assigned_state, new_etag, timestamp
from ..dps.enrollment_json import enrollment_to_json, parse_enrollments
from ..dps.records import EnrollmentGroup, IndividualEnrollment
from ..dps.store import Row, Table
from ..dps.tables import DEVICES, GROUPS, INDIVIDUALS
from ..errors import UsageError
from ..text import shown
from .ca_api import CaApi
from .dps import AsyncLocalDps
from .enrollment_changes import (
    Wanted,
    busy,
    check_etag,
    hidden,
    log_change,
    wanted_version,
    with_info,
    with_secrets,
)
from .http_answers import (
    Refused,
    answer,
    read_body,
    read_count,
    read_position,
    read_query,
    refusal_of,
)

logger: logging.Logger = logging.getLogger("mqttws.local")

DEFAULT_PAGE = 1000
"""Items of a query's answer at most, and where the request does not say."""

MAX_BULK = 10
"""Enrollments of one bulk request at most, as in the cloud."""

MAX_ATTEMPTS = 10
"""Changes that may be void because another client was faster, before one is given up."""

_API_VERSION = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")
_OLDEST = "2017-08-31"  # of the preview, the first one that was published
_NEWEST = "2021-10-01"  # the service API's version whose members are written

Enrollment = IndividualEnrollment | EnrollmentGroup


class Kind(NamedTuple):
    """Individual enrollments, or groups: how the service API names them.

    Attributes:
        table: where they are kept.
        member: that holds the id.
        plural: of a bulk request's list.
    """

    table: Table[Any]
    member: str
    plural: str


KINDS = {
    "enrollments": Kind(INDIVIDUALS, "registrationId", "enrollments"),
    "enrollmentgroups": Kind(GROUPS, "enrollmentGroupId", "enrollmentGroups"),
}
"""By the first part of the path, in lower case."""


class Asked(NamedTuple):
    """A request whose path has been read.

    Attributes:
        request: as it came.
        kind: of the enrollments that it is about; individual ones where it is about none.
        name: the id in its path; empty for none.
    """

    request: web.Request
    kind: Kind
    name: str


Handler = Callable[[Asked], Awaitable[web.Response]]

Admit = Callable[[web.Request, str], None]
"""Raises ``Refused`` for a request that has not the right, named as the cloud's policies do."""

ROOTS = frozenset((*KINDS, "registrations", "certificates"))
"""The first parts of the paths, in lower case."""


class Route(NamedTuple):
    """A method and path of the API.

    Attributes:
        handler: serves it.
        right: that a policy must have.
    """

    handler: Handler
    right: str


class ServiceApi:
    """Answers requests of the service API.

    Args:
        dps: whose enrollments and registrations.
        admit: is called for each request before it is served.
        strict: whether a request without ``api-version`` is refused, as in the cloud.
    """

    def __init__(
        self,
        dps: AsyncLocalDps,
        admit: Admit = lambda request, right: None,
        *,
        strict: bool = False,
    ) -> None:
        self._dps = dps
        self._admit = admit
        self._strict = strict
        self._routes: dict[tuple[str, str], Route] = {
            ("GET", "registrations/*"): Route(self._get_registration, "RegistrationStatusRead"),
            ("DELETE", "registrations/*"): Route(
                self._delete_registration, "RegistrationStatusWrite"
            ),
            ("POST", "registrations/*/query"): Route(
                self._query_registrations, "RegistrationStatusRead"
            ),
        }
        for first in KINDS:
            self._routes |= {
                ("PUT", f"{first}/*"): Route(self._put, "EnrollmentWrite"),
                ("GET", f"{first}/*"): Route(self._get, "EnrollmentRead"),
                ("DELETE", f"{first}/*"): Route(self._delete, "EnrollmentWrite"),
                ("POST", f"{first}/*/attestationmechanism"): Route(
                    self._attestation, "EnrollmentWrite"
                ),
                ("POST", f"{first}/query"): Route(self._query_enrollments, "EnrollmentRead"),
                ("POST", first): Route(self._bulk, "EnrollmentWrite"),
            }
        cas = CaApi(dps)
        for method, path, work in (
            ("PUT", "certificates/*", cas.put),
            ("GET", "certificates/*", cas.get),
            ("DELETE", "certificates/*", cas.delete),
            ("GET", "certificates", cas.list),
        ):
            self._routes[method, path] = Route(_by_name(work), "ServiceConfig")

    async def answer(self, request: web.Request) -> web.Response:
        """Return the answer to a request.

        Raises:
            Refused: it is answered with an error; so are the errors that ``refusal_of`` knows.
        """
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        words = [part.lower() for part in parts]
        name = ""
        if len(words) > 1 and (request.method, "/".join(words)) not in self._routes:
            name, words[1] = parts[1], "*"
        path = "/".join(words)
        route = self._routes.get((request.method, path))
        if route is None:
            if any(known == path for _, known in self._routes):
                raise Refused(405000, "Method Not Allowed")
            raise Refused(404000, "Not Found")
        self._admit(request, route.right)
        self._check_version(request.query.get("api-version"))
        kind = KINDS.get(words[0], KINDS["enrollments"])
        return await route.handler(Asked(request, kind, name))

    def _check_version(self, version: str | None) -> None:
        """Refuse a version that was never one; a newer one is served as the newest."""
        if version is None:
            if self._strict:
                raise Refused(400004, "Invalid request. The query has no api-version.")
        elif not _API_VERSION.fullmatch(version) or version < _OLDEST:
            raise Refused(
                400004,
                f"Invalid request. api-version: found {shown(version)}; allowed: a date such as"
                f" {_NEWEST}, {_OLDEST} or later.",
            )

    # Enrollments

    async def _find(self, asked: Asked) -> Row:
        found = await self._dps.directory.row(asked.kind.table, asked.name)
        if not found.version:
            raise Refused(404201, "Enrollment not found.")
        check_etag(asked.request, found.value.etag)
        return found

    async def _put(self, asked: Asked) -> web.Response:
        """Create an enrollment, or replace it; its answer alone has the keys, as in the cloud."""
        body = await read_body(asked.request)
        return answer(await self._keep(asked.kind, asked.name, body, wanted_version(asked.request)))

    async def _keep(
        self, kind: Kind, name: str, body: dict[str, Any], wanted: "Wanted"
    ) -> dict[str, Any]:
        """Keep what a body says; return the enrollment as it is kept, with its keys."""
        if str(body.setdefault(kind.member, name)).lower() != name.lower():
            raise UsageError(f"{kind.member} differs from the one in the path")
        for _ in range(MAX_ATTEMPTS):
            before = await self._dps.directory.row(kind.table, name)
            wanted.check(before)
            given = with_secrets(body, before.value)
            (enrollment,) = parse_enrollments(json.dumps([given]), "body")
            now = timestamp(await self._dps.clock.read())
            kept = dataclasses.replace(
                enrollment,
                created=before.value.created if before.version else now,
                last_updated=now,
                etag=new_etag(str(uuid.uuid4())),
            )
            if await self._dps.enrollments.change(kept, before):
                log_change(name, before.value, kept)
                return with_info(enrollment_to_json(kept))
        raise busy()

    async def _get(self, asked: Asked) -> web.Response:
        return answer((await self._shown([await self._find(asked)]))[0])

    async def _shown(self, rows: list[Row]) -> list[dict[str, Any]]:
        """Return enrollments without keys, a device's own with the state of its registration."""
        records = [hidden(row.value) for row in rows]
        names = [row.value for row in rows if isinstance(row.value, IndividualEnrollment)]
        keys = [(DEVICES, of.registration_id.lower()) for of in names]
        devices = (await self._dps.store.load(*keys)).rows if keys else ()
        for record, device in zip(records, devices, strict=False):  # groups have no devices' rows
            registration = None if device.value is None else device.value.registration
            if registration is not None:
                record["registrationState"] = assigned_state(registration, _NEWEST)
        return records

    async def _delete(self, asked: Asked) -> web.Response:
        for _ in range(MAX_ATTEMPTS):
            found = await self._find(asked)
            if await self._dps.enrollments.remove(found.value, found):
                logger.info("enrollment %s: deleted", shown(asked.name))
                return web.Response(status=204)
        raise busy()

    async def _attestation(self, asked: Asked) -> web.Response:
        """Answer with the attestation mechanism, keys included."""
        record = with_info(enrollment_to_json((await self._find(asked)).value))
        return answer(record["attestation"])

    async def _query_enrollments(self, asked: Asked) -> web.Response:
        await read_query(asked.request)
        rows, headers = await self._page(asked.request, asked.kind.table)
        return answer(await self._shown(rows), headers)

    async def _bulk(self, asked: Asked) -> web.Response:
        """Create, update or delete several; each by itself, and what failed is listed."""
        body = await read_body(asked.request)
        kind, mode, records = asked.kind, body.get("mode"), body.get(asked.kind.plural)
        if mode not in ("create", "update", "updateIfMatchETag", "delete"):
            raise UsageError(
                f"mode: found {shown(mode)}; allowed: create, update, updateIfMatchETag or delete"
            )
        if not isinstance(records, list) or not 1 <= len(records) <= MAX_BULK:
            raise UsageError(f"{kind.plural}: allowed: a list of 1 to {MAX_BULK}")
        errors = []
        for record in records:
            name = record.get(kind.member) if isinstance(record, dict) else None
            if not isinstance(name, str):
                raise UsageError(f"{kind.plural}: an enrollment without {kind.member}")
            try:
                await self._one_of_many(kind, name, mode, record)
            except Exception as error:
                refusal = refusal_of(error)
                if refusal is None:
                    raise
                status = {"errorCode": refusal.error_code, "errorStatus": str(refusal)}
                errors.append({kind.member: name} | status)
        return answer({"isSuccessful": not errors, "errors": errors})

    async def _one_of_many(self, kind: Kind, name: str, mode: str, record: dict[str, Any]) -> None:
        etag = str(record.get("etag") or "*") if mode == "updateIfMatchETag" else "*"
        if mode != "delete":
            wanted = Wanted(None) if mode == "create" else Wanted(etag, must_exist=True)
            await self._keep(kind, name, record, wanted)
            return
        for _ in range(MAX_ATTEMPTS):
            found = await self._dps.directory.row(kind.table, name)
            if not found.version:
                raise Refused(404201, "Enrollment not found.")
            if await self._dps.enrollments.remove(found.value, found):
                logger.info("enrollment %s: deleted", shown(name))
                return
        raise busy()

    # Registrations

    async def _find_registration(self, asked: Asked) -> Row:
        found = await self._dps.directory.row(DEVICES, asked.name)
        if found.value is None or found.value.registration is None:
            raise Refused(404202, "Registration not found.")
        return found

    async def _get_registration(self, asked: Asked) -> web.Response:
        found = await self._find_registration(asked)
        return answer(assigned_state(found.value.registration, _NEWEST))

    async def _delete_registration(self, asked: Asked) -> web.Response:
        for _ in range(MAX_ATTEMPTS):
            found = await self._find_registration(asked)
            check_etag(asked.request, found.value.registration.etag)
            if await self._dps.directory.remove_registration(asked.name, found):
                logger.info("registration %s: deleted", shown(asked.name))
                return web.Response(status=204)
        raise busy()

    async def _query_registrations(self, asked: Asked) -> web.Response:
        """Answer with the registrations of one group."""
        rows, headers = await self._page(asked.request, DEVICES, asked.name.lower())
        found = [assigned_state(row.value.registration, _NEWEST) for row in rows]
        return answer(found, headers)

    async def _page(
        self, request: web.Request, table: Table[Any], group: str | None = None
    ) -> tuple[list[Row], dict[str, str]]:
        """Return the rows that are asked for, and the headers that lead to the next ones."""
        size = min(read_count(request, "x-ms-max-item-count", DEFAULT_PAGE), DEFAULT_PAGE)
        after = read_position(request)
        items, more = await self._dps.store.page(table, after, size, group)
        headers = {"x-ms-max-item-count": str(size)}
        if more:
            last = items[-1][0].encode()
            headers["x-ms-continuation"] = urlsafe_b64encode(last).decode()
        return [row for _, row in items], headers


def _by_name(work: Callable[[web.Request, str], Awaitable[web.Response]]) -> Handler:
    """Return the handler of requests that are about a name alone."""

    async def handler(asked: Asked) -> web.Response:
        return await work(asked.request, asked.name)

    return handler
