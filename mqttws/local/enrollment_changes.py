"""Changes of enrollments by the service API: for which version they are meant, and what they keep.

A body leaves out what its sender has not been shown: keys, and certificates' texts. They stay as
they are. Does not know the store.
"""

import dataclasses
import logging
import secrets
from base64 import b64encode
from typing import Any

from aiohttp import web

from ..dps.enrollment_json import enrollment_to_json
from ..dps.records import EnrollmentGroup, IndividualEnrollment
from ..dps.store import Row
from ..text import short_line, shown
from .chains import certificate_info
from .http_answers import Refused

logger: logging.Logger = logging.getLogger("mqttws.local")

Enrollment = IndividualEnrollment | EnrollmentGroup


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


def wanted_version(request: web.Request) -> Wanted:
    """Return the version that a request's headers name."""
    given = request.headers.get("If-Match")
    return Wanted(
        None if given is None else given.strip('"'),
        must_not=request.headers.get("If-None-Match", "").strip('"') == "*",
    )


def _changed() -> Refused:
    return Refused(412000, "Precondition failed. The etag is another one now.")


def busy() -> Refused:
    """Return the refusal of a change that other clients have kept voiding."""
    return Refused(409000, "Conflict. Other requests change the same record; try again.")


def check_etag(request: web.Request, etag: str) -> None:
    """Refuse a request whose If-Match names another version."""
    if request.headers.get("If-Match", "*").strip('"') not in ("*", etag):
        raise _changed()


def with_secrets(body: dict[str, Any], before: Enrollment | None) -> dict[str, Any]:
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


def hidden(enrollment: Enrollment) -> dict[str, Any]:
    """Return a record without its keys."""
    record = with_info(enrollment_to_json(enrollment))
    if record["attestation"]["type"] == "symmetricKey":
        record["attestation"] = {"type": "symmetricKey"}
    return record


def with_info(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with what stands in each of its certificates."""
    x509 = record["attestation"].get("x509", {})
    for kind in ("clientCertificates", "signingCertificates"):
        for place in ("primary", "secondary"):
            entry = x509.get(kind, {}).get(place)
            if entry is not None:
                entry["info"] = certificate_info(entry["certificate"])
    return record


KEPT_SILENTLY = frozenset(("optionalDeviceInformation",))
"""Members that are kept though they mean nothing here: the cloud does no more with them."""


def log_change(name: str, before: Enrollment | None, after: Enrollment) -> None:
    """Log which members of an enrollment have changed, in one line and without their values.

    Members without a meaning here get a warning, once for each change that brings them.
    """
    if before is None:
        logger.info("enrollment %s: created", shown(name))
    else:
        unlike = [
            field.name
            for field in dataclasses.fields(after)
            if field.name not in ("etag", "last_updated")
            and getattr(before, field.name) != getattr(after, field.name)
        ]
        logger.info("enrollment %s: changed: %s", shown(name), ", ".join(unlike) or "nothing")
    unknown = after.other.keys() - KEPT_SILENTLY - (before.other.keys() if before else set())
    if unknown:
        names = short_line(", ".join(sorted(unknown)))
        logger.warning("enrollment %s: kept without a meaning here: %s", shown(name), names)
