"""Requests and answers of the service API: JSON bodies, headers of pages, and error answers.

Knows HTTP, through aiohttp, and the shape of the service API's errors. Does not know what a
request is about.
"""

import logging
import re
import time
import uuid
from base64 import urlsafe_b64decode
from typing import Any

from ..dps.answers import error_body
from ..dps.json_text import build_json, parse_json
from ..errors import MqttwsError, StoreFull, UsageError
from ..text import short_line, shown

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the service API needs aiohttp, which is not installed", hint="pip install 'mqttws[admin]'"
    ) from None

__all__ = [
    "Refused",
    "answer",
    "host_names",
    "is_number",
    "log_refusal",
    "read_body",
    "read_count",
    "read_position",
    "read_query",
    "refusal_of",
    "refuse",
    "web",
]

logger: logging.Logger = logging.getLogger("mqttws.local")

_QUERY = re.compile(r"\s*(select\s+)?\*(\s+from\s+\w+)?\s*", re.IGNORECASE)


class Refused(Exception):
    """A request that gets an error status, in the service API's words.

    Args:
        error_code: six digits, of which the first three are HTTP's status.
        message: for the answer.
        reason: for the log, where it says more than the message; without secrets.
    """

    def __init__(self, error_code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code
        self.reason: str = reason or message


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


async def read_query(request: web.Request) -> None:
    """Refuse a query that is not for all."""
    query = (await read_body(request)).get("query")
    if not isinstance(query, str) or not _QUERY.fullmatch(query):
        raise UsageError(
            f"query: found {shown(query)}; allowed: "  # noqa: S608 - there is no database
            "SELECT * FROM enrollments, SELECT * or *"
        )


def read_count(request: web.Request, header: str, default: int) -> int:
    """Return a header's number, 1 or more."""
    text = request.headers.get(header, str(default))
    if not (is_number(text) and int(text) >= 1):  # else no page is the last
        raise UsageError(f"{header}: found {shown(text)}; allowed: 1 or more")
    return int(text)


def is_number(text: str) -> bool:
    """Whether a text is a whole number of at most nine digits."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def read_position(request: web.Request) -> str:
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
    if isinstance(error, MqttwsError):
        return Refused(503000, f"Service unavailable. {error}")
    if isinstance(error, web.HTTPException):
        return Refused(error.status * 1000, error.reason)
    return None


def host_names(request: web.Request) -> tuple[str, str]:
    """Return the Host header as it came, and without its port; both in lower case."""
    host = request.headers.get("Host", "").lower()
    if host.endswith("]") or ":" not in host:
        return host, host
    return host, host.rpartition(":")[0]


def log_refusal(label: str, request: web.Request, refusal: Refused) -> None:
    """Log a refusal in one line, with its reason; no header and no body."""
    place = f"{label}: {request.method} {shown(request.path)}"
    logger.info("%s: %d: %s", place, refusal.error_code, short_line(refusal.reason))


def refuse(refusal: Refused) -> web.Response:
    """Return an error answer in the service API's JSON."""
    body = error_body(refusal.error_code, str(refusal), str(uuid.uuid4()), time.time())
    return web.Response(
        status=refusal.error_code // 1000, body=build_json(body), content_type="application/json"
    )
