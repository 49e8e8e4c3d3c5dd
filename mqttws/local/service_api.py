"""The DPS service API: enrollments, groups and registration records, as its clients ask for them.

Knows its paths, bodies, headers and error codes (``stable/2021-10-01/service.json`` of
Azure/azure-rest-api-specs; service SDKs and ``az iot dps``). Does not know who may ask, nor on
which port: ``AdminApi`` and the service's TLS port hand requests in.

Where no source says what the cloud does, nothing is lost: a body without keys, or a certificate
without its text, keeps those that are there.
"""

import dataclasses
import json
import logging
import re
import secrets
import time
import uuid
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from ..dps.answers import assigned_state, error_body, new_etag, timestamp
from ..dps.enrollment_json import enrollment_to_json, parse_enrollments
from ..dps.json_text import build_json, parse_json
from ..dps.records import EnrollmentGroup, IndividualEnrollment
from ..dps.store import Row, Table
from ..dps.tables import DEVICES, GROUPS, INDIVIDUALS
from ..errors import MqttwsError, StoreFailed, StoreFull, UsageError
from ..text import shown
from .dps import AsyncLocalDps
from .x509 import certificate_info

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the service API needs aiohttp, which is not installed", hint="pip install 'mqttws[admin]'"
    ) from None

logger = logging.getLogger("mqttws.local")

DEFAULT_PAGE = 1000
"""Items of a query's answer at most, and where the request does not say."""

MAX_BULK = 10
"""Enrollments of one bulk request at most, as in the cloud."""

MAX_ATTEMPTS = 10
"""Changes that may be void because another client was faster, before one is given up."""

_QUERY = re.compile(r"\s*(select\s+)?\*(\s+from\s+\w+)?\s*", re.IGNORECASE)
_API_VERSION = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")
_NEWEST = "2021-10-01"  # the service API's version whose members are written

Enrollment = IndividualEnrollment | EnrollmentGroup


class Refused(Exception):
    """A request that gets an error status, in the service API's words."""

    def __init__(self, error_code: int, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code


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


class ServiceApi:
    """Answers requests of the service API.

    Args:
        dps: whose enrollments and registrations.
    """

    def __init__(self, dps: AsyncLocalDps) -> None:
        self._dps = dps
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "registrations/*"): self._get_registration,
            ("DELETE", "registrations/*"): self._delete_registration,
            ("POST", "registrations/*/query"): self._query_registrations,
        }
        for first in KINDS:
            self._routes |= {
                ("PUT", f"{first}/*"): self._put,
                ("GET", f"{first}/*"): self._get,
                ("DELETE", f"{first}/*"): self._delete,
                ("POST", f"{first}/*/attestationmechanism"): self._attestation,
                ("POST", f"{first}/query"): self._query_enrollments,
                ("POST", first): self._bulk,
            }

    async def answer(self, request: web.Request) -> web.Response:
        """Return the answer to a request; every failure is the service API's JSON."""
        try:
            return await self._answer(request)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            return refuse(refusal)

    async def _answer(self, request: web.Request) -> web.Response:
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        words = [part.lower() for part in parts]
        name = ""
        if len(words) > 1 and (request.method, "/".join(words)) not in self._routes:
            name, words[1] = parts[1], "*"
        path = "/".join(words)
        handler = self._routes.get((request.method, path))
        if handler is None:
            if any(known == path for _, known in self._routes):
                raise Refused(405000, "Method Not Allowed")
            raise Refused(404000, "Not Found")
        version = request.query.get("api-version")
        if version is not None and not _API_VERSION.fullmatch(version):
            raise Refused(400004, f"Invalid request. api-version {shown(version)} is no date.")
        return await handler(Asked(request, KINDS.get(words[0], KINDS["enrollments"]), name))

    # Enrollments

    async def _find(self, asked: Asked) -> Row:
        found = await self._dps.directory.row(asked.kind.table, asked.name)
        if not found.version:
            raise Refused(404201, "Enrollment not found.")
        _check_etag(asked.request, found.value.etag)
        return found

    async def _put(self, asked: Asked) -> web.Response:
        """Create an enrollment, or replace it; its answer alone has the keys, as in the cloud."""
        body = await read_body(asked.request)
        return answer(await self._keep(asked.kind, asked.name, body, _wanted(asked.request)))

    async def _keep(
        self, kind: Kind, name: str, body: dict[str, Any], wanted: "Wanted"
    ) -> dict[str, Any]:
        """Keep what a body says; return the enrollment as it is kept, with its keys."""
        if str(body.setdefault(kind.member, name)).lower() != name.lower():
            raise UsageError(f"{kind.member} differs from the one in the path")
        for _ in range(MAX_ATTEMPTS):
            before = await self._dps.directory.row(kind.table, name)
            wanted.check(before)
            given = _with_secrets(body, before.value)
            (enrollment,) = parse_enrollments(json.dumps([given]), "body")
            now = timestamp(time.time())
            kept = dataclasses.replace(
                enrollment,
                created=before.value.created if before.version else now,
                last_updated=now,
                etag=new_etag(str(uuid.uuid4())),
            )
            if await self._dps.change(kept, before):
                _log_change(name, before.value, kept)
                return _with_info(enrollment_to_json(kept))
        raise _busy()

    async def _get(self, asked: Asked) -> web.Response:
        return answer(_hidden((await self._find(asked)).value))

    async def _delete(self, asked: Asked) -> web.Response:
        for _ in range(MAX_ATTEMPTS):
            found = await self._find(asked)
            if await self._dps.remove(found.value, found):
                logger.info("enrollment %s: deleted", shown(asked.name))
                return web.Response(status=204)
        raise _busy()

    async def _attestation(self, asked: Asked) -> web.Response:
        """Answer with the attestation mechanism, keys included."""
        record = _with_info(enrollment_to_json((await self._find(asked)).value))
        return answer(record["attestation"])

    async def _query_enrollments(self, asked: Asked) -> web.Response:
        await _read_query(asked.request)
        rows, headers = await self._page(asked.request, asked.kind.table)
        return answer([_hidden(row.value) for row in rows], headers)

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
            if await self._dps.remove(found.value, found):
                return
        raise _busy()

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
            _check_etag(asked.request, found.value.registration.etag)
            if await self._dps.directory.remove_registration(asked.name, found):
                return web.Response(status=204)
        raise _busy()

    async def _query_registrations(self, asked: Asked) -> web.Response:
        """Answer with the registrations of one group."""
        rows, headers = await self._page(asked.request, DEVICES, asked.name.lower())
        found = [assigned_state(row.value.registration, _NEWEST) for row in rows]
        return answer(found, headers)

    async def _page(
        self, request: web.Request, table: Table[Any], group: str | None = None
    ) -> tuple[list[Row], dict[str, str]]:
        """Return the rows that are asked for, and the headers that lead to the next ones."""
        size = min(_count(request, "x-ms-max-item-count", DEFAULT_PAGE), DEFAULT_PAGE)
        after = _position(request)
        items, more = await self._dps.store.page(table, after, size, group)
        headers = {"x-ms-max-item-count": str(size)}
        if more:
            last = items[-1][0].encode()
            headers["x-ms-continuation"] = urlsafe_b64encode(last).decode()
        return [row for _, row in items], headers


class Wanted:
    """The version of an enrollment that a change is meant for.

    An enrollment that is there is replaced only where the request names its etag, or ``*``; one
    that does not is answered 409, as in the cloud (azure-sdk-for-python issue 35187).

    Args:
        etag: of If-Match; None without one.
        must_exist: whether an absent enrollment is an error.
        must_not: whether a present one is: If-None-Match ``*``.
    """

    def __init__(
        self, etag: str | None, *, must_exist: bool = False, must_not: bool = False
    ) -> None:
        self._etag = etag
        self._must_exist = must_exist
        self._must_not = must_not

    def check(self, before: Row) -> None:
        """Refuse what is not there, or is another one."""
        if not before.version:
            if self._must_exist or self._etag not in (None, "*"):
                raise Refused(404201, "Enrollment not found.")
            return
        if self._must_not:
            raise _changed()
        if self._etag is None:
            raise Refused(
                409001, "Conflict. The enrollment exists already: name its etag in If-Match."
            )
        if self._etag not in ("*", before.value.etag):
            raise _changed()


def _wanted(request: web.Request) -> Wanted:
    given = request.headers.get("If-Match")
    return Wanted(
        None if given is None else given.strip('"'),
        must_not=request.headers.get("If-None-Match", "").strip('"') == "*",
    )


def _changed() -> Refused:
    return Refused(412000, "Precondition failed. The etag is another one now.")


def _busy() -> Refused:
    return Refused(409000, "Conflict. Other requests change the same record; try again.")


def _check_etag(request: web.Request, etag: str) -> None:
    if request.headers.get("If-Match", "*").strip('"') not in ("*", etag):
        raise _changed()


# Secrets: what a body leaves out stays as it is


def _with_secrets(body: dict[str, Any], before: Enrollment | None) -> dict[str, Any]:
    """Return a body with the keys and certificates that it leaves out.

    They are those of the enrollment that it replaces; a new enrollment gets fresh keys.
    """
    attestation = body.get("attestation")
    if not isinstance(attestation, dict):
        return body
    known = {} if before is None else enrollment_to_json(before)["attestation"]
    kind = attestation.get("type")
    given = attestation.get(kind) if isinstance(kind, str) else None
    same = known.get("type") == kind
    if kind == "symmetricKey" and _is_empty(given):
        keys = known["symmetricKey"] if same else _fresh_keys()
        return body | {"attestation": attestation | {"symmetricKey": keys}}
    if kind == "x509" and same and isinstance(given, dict):
        merged = {
            place: _with_certificates(holder, known["x509"].get(place))
            for place, holder in given.items()
        }
        return body | {"attestation": attestation | {"x509": merged}}
    return body


def _is_empty(keys: object) -> bool:
    return not keys or (isinstance(keys, dict) and not any(keys.values()))


def _fresh_keys() -> dict[str, str]:
    names = ("primaryKey", "secondaryKey")
    return {name: b64encode(secrets.token_bytes(64)).decode() for name in names}


def _with_certificates(holder: object, known: dict[str, Any] | None) -> object:
    """Return certificates with the texts of those that are named by their ``info`` alone."""
    if not isinstance(holder, dict) or known is None:
        return holder
    return {
        place: known[place]
        if isinstance(entry, dict) and not entry.get("certificate") and place in known
        else entry
        for place, entry in holder.items()
    }


def _hidden(enrollment: Enrollment) -> dict[str, Any]:
    """Return a record without its keys."""
    record = _with_info(enrollment_to_json(enrollment))
    if record["attestation"]["type"] == "symmetricKey":
        record["attestation"] = {"type": "symmetricKey"}
    return record


def _with_info(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with what stands in each of its certificates."""
    for places in record["attestation"].get("x509", {}).values():
        for entry in places.values():
            if isinstance(entry, dict):
                entry["info"] = certificate_info(entry["certificate"])
    return record


def _log_change(name: str, before: Enrollment | None, after: Enrollment) -> None:
    """Log which members of an enrollment have changed, in one line and without their values."""
    if before is None:
        logger.info("enrollment %s: created", shown(name))
        return
    unlike = [
        field.name
        for field in dataclasses.fields(after)
        if field.name not in ("etag", "last_updated")
        and getattr(before, field.name) != getattr(after, field.name)
    ]
    logger.info("enrollment %s: changed: %s", shown(name), ", ".join(unlike) or "nothing")


# Requests and answers


async def read_body(request: web.Request) -> dict[str, Any]:
    """Return a body, which is a JSON object."""
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
    query = (await read_body(request)).get("query")
    if not isinstance(query, str) or not _QUERY.fullmatch(query):
        raise UsageError(
            f"query: found {shown(query)}; allowed: "  # noqa: S608 - there is no database
            "SELECT * FROM enrollments, SELECT * or *"
        )


def _count(request: web.Request, header: str, default: int) -> int:
    text = request.headers.get(header, str(default))
    if not (is_number(text) and int(text) >= 1):  # else no page is the last
        raise UsageError(f"{header}: found {shown(text)}; allowed: 1 or more")
    return int(text)


def is_number(text: str) -> bool:
    """Whether a text is a whole number of at most nine digits."""
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


def answer(body: object, headers: dict[str, str] | None = None) -> web.Response:
    """Return a body as JSON, with its etag as a header."""
    headers = headers or {}
    if isinstance(body, dict) and isinstance(body.get("etag"), str):
        headers |= {"ETag": f'"{body["etag"]}"'}
    return web.Response(body=build_json(body), content_type="application/json", headers=headers)


def refusal_of(error: Exception) -> Refused | None:
    """Return how a failure is answered; None for a failure that is a mistake of ours."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, UsageError):
        return Refused(400004, f"Invalid request. {error}")
    if isinstance(error, StoreFull):
        return Refused(507000, f"Insufficient storage. {error}")
    if isinstance(error, StoreFailed | MqttwsError):
        return Refused(503000, f"Service unavailable. {error}")
    if isinstance(error, web.HTTPException):
        return Refused(error.status * 1000, error.reason)
    return None


def refuse(refusal: Refused) -> web.Response:
    """Return an error answer in the service API's JSON."""
    body = error_body(refusal.error_code, str(refusal), str(uuid.uuid4()), time.time())
    return web.Response(
        status=refusal.error_code // 1000, body=build_json(body), content_type="application/json"
    )
