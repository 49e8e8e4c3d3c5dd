"""The page behind a refusal: its title, when it is complete, and when to come back.

Pages come from elsewhere and may be endless: as much is read as is shown.
"""

import re
from base64 import b64decode
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import unquote

from ..text import short_line
from .http_head import Head, body_length

MAX_PAGE = 16 * 1024
"""Bytes of a page in which its title is looked for."""

PAGE_PATIENCE = 1.0
"""Seconds that a refusal's page may take; the refusal itself is known already."""

MAX_RETRY_AFTER = 3600.0
"""Seconds of a ``Retry-After`` that are believed."""

LEAST_SECRET = 4
"""Characters below which a value is no secret, and stands in other words too."""

_TITLE = re.compile(rb"<(title|h1)[^>]*>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def is_page_read(head: Head, data: bytes | bytearray) -> bool:
    """Whether enough of a refusal's page is there to show what it says."""
    page = data[head.length :]
    if head.content_length == 0 or len(page) >= MAX_PAGE or _TITLE.search(page):
        return True
    return body_length(head, bytearray(data)) is not None


def words_of_page(head: Head, data: bytes | bytearray, secrets: Iterable[str] = ()) -> str:
    """Return a page's title, or the beginning of its text; one short line, empty without a page.

    Args:
        head: the answer's.
        data: the answer, as far as it was read.
        secrets: of ours, which the page may repeat; they are masked.
    """
    page = bytes(data[head.length : head.length + MAX_PAGE])
    if head.chunked:
        page = re.sub(rb"(?:^|\r\n)[0-9A-Fa-f]{1,8}[^\r\n]*\r\n", b"", page)
    found = _TITLE.search(page)
    text = (found[2] if found else page).decode("utf-8", "replace")
    import html  # here: every client imports this module, and few see a page

    kind = " ".join(head.values("content-type")).lower()
    if not found and "html" not in kind and "text" not in kind and "json" not in kind:
        return ""
    return short_line(masked(html.unescape(_TAG.sub(" ", text)).strip(), secrets))


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return text from elsewhere without the secrets of ours that it repeats."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def opening(data: bytes, secrets: Iterable[str] = ()) -> str:
    """Return the beginning of an answer of unknown kind: its first line, or its bytes in hex.

    Args:
        data: the answer, as far as it came.
        secrets: of ours, which it may repeat; they are masked.
    """
    line = data.split(b"\n")[0].strip()
    if line and all(0x20 <= byte < 0x7F for byte in line):
        return f'"{short_line(masked(line.decode("ascii"), secrets))}"'
    return f"the bytes {data[:16].hex(' ')}"


def secrets_of(headers: Iterable[tuple[str, str]], query: str) -> list[str]:
    """Return what no message may repeat of a request: its headers' values, decoded too, its query.

    Args:
        headers: the application's own, such as Authorization.
        query: of the URL, where a presigned one has its signature.
    """
    found = [query, unquote(query)]
    for _, value in headers:
        scheme, _, rest = value.strip().partition(" ")
        found += [value, rest.strip()]
        if scheme.lower() == "basic":
            with suppress(ValueError):
                pair = b64decode(rest, validate=True).decode()
                found += [pair, pair.partition(":")[2]]
    return [secret for secret in found if len(secret) >= LEAST_SECRET]


def parse_retry_after(value: str, date: str = "") -> float | None:
    """Return the seconds of a ``Retry-After`` header; None where it has none that can be read.

    Args:
        value: seconds, or an HTTP date (RFC 9110 section 10.2.3).
        date: the answer's own ``Date``, against which a date counts; this host's clock may be off.
    """
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return min(float(value), MAX_RETRY_AFTER)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        seconds = (then - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
