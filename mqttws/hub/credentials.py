"""Certificates re-issued by the hub: topics and bodies of both sides.

Sources: a public test report ("Issue Certificate API - SDK Reference Guide", 2026), azure-sdk-for-c
``az_iot_hub_client_certificate_signing_request`` and its tests, Azure/azure-iot-sdk
``c/docs/eng/certificate-management.md``. They disagree about the error codes' last digits: clients
act on the status. Knows no certificate: DER goes in and out.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from ..dps.issuance import encode_der
from ..dps.json_text import build_json, parse_json
from .topics import parse_raw

CREDENTIALS_FILTER = "$iothub/credentials/res/#"
"""What a device subscribes to before it asks for a certificate."""

ISSUE_API_VERSION = "2025-08-01-preview"
"""The api-version of the user name from which on the hub issues certificates."""

_ISSUE = "$iothub/credentials/POST/issueCertificate/"
_RESPONSE = "$iothub/credentials/res/"

_REQUEST_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{2,34})[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class IssueResponse:
    """The hub answers a request for a certificate.

    Attributes:
        status: 202 accepted, 200 with the certificates, or an error.
        request_id: of the request.
    """

    status: int
    request_id: str


def is_request_id(text: str) -> bool:
    """Whether a text may be a request id: 4 to 36 letters, digits, hyphens but at the ends."""
    return _REQUEST_ID.fullmatch(text) is not None


def issue_topic(request_id: str) -> str:
    """Return the topic of a request for a certificate."""
    return f"{_ISSUE}?$rid={request_id}"


def parse_issue_topic(topic: str) -> str | None:
    """Return the request id of a request for a certificate, empty for none; None for another
    topic."""
    if not topic.startswith(_ISSUE):
        return None
    return parse_raw(topic.removeprefix(_ISSUE).removeprefix("?")).get("$rid", "")


def issue_answer_topic(status: int, request_id: str) -> str:
    """Return the topic of an answer to a request for a certificate."""
    return f"{_RESPONSE}{status}/?$rid={request_id}"


def parse_issue_answer_topic(topic: str) -> IssueResponse | None:
    """Return what the hub answers; None for another topic.

    One document writes ``res/{status}/{rid}``: both forms are read.
    """
    if not topic.startswith(_RESPONSE):
        return None
    status, _, rest = topic.removeprefix(_RESPONSE).partition("/")
    if not (len(status) == 3 and status.isascii() and status.isdigit()):
        return None
    bag = rest.removeprefix("?")
    request_id = parse_raw(bag).get("$rid", "" if "=" in bag or rest != bag else rest)
    return IssueResponse(int(status), unquote(request_id)) if request_id else None


def issue_body(device_id: str, csr: bytes, replace: str = "") -> bytes:
    """Return the body of a request for a certificate; it has these members and no others.

    Args:
        device_id: the device's name at the hub.
        csr: PKCS#10 in DER.
        replace: ``*`` or the id of the active request that this one replaces; empty for none.
    """
    body = {"id": device_id, "csr": encode_der(csr)}
    return build_json(body | {"replace": replace} if replace else body)


def read_object(payload: bytes) -> dict[str, Any]:
    """Return a body's members; none where it is no JSON object."""
    try:
        body = parse_json(payload)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def retry_after(members: dict[str, Any]) -> float | None:
    """Return the seconds of ``retryAfter`` in an error body, at most a day; None for none."""
    value = members.get("retryAfter")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 86_400:
        return float(value)
    return None


def expiry_of(text: object) -> float | None:
    """Return ``operationExpires`` as Unix time in seconds; None if it cannot be read."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None
