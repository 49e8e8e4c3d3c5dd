"""Asks a custom allocation's webhook for a hub (``concepts-custom-allocation.md``).

One HTTP POST over a connection of its own, bounded in time and size. It never raises for what the
network or the webhook does: that is an outcome too, status 0.
"""

import asyncio
import http.client
import io
import socket
from typing import NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

from ..dps.allocation import MAX_WEBHOOK_ANSWER
from ..net.failures import reason_of
from ..net.tls import client_context
from ..text import short_line

WEBHOOK_TIMEOUT = 5.0
"""Seconds for all of it: as long as the real service waits."""


class WebhookOutcome(NamedTuple):
    """The outcome of a webhook call.

    Attributes:
        status: of its answer, as in HTTP; 0 where there was none.
        answer: its body.
        reason: one line for the log, without the URL, which may hold a secret.
    """

    status: int
    answer: bytes
    reason: str


async def ask_webhook(url: str, body: bytes, timeout: float = WEBHOOK_TIMEOUT) -> WebhookOutcome:
    """POST ``body``, JSON, and return the outcome.

    Args:
        url: ``http://`` or ``https://``; a query, which may hold the caller's secret, is sent.
        body: JSON.
        timeout: seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            status, answer = _parse(await _exchange(urlsplit(url), body))
            return WebhookOutcome(status, answer, f"answered {status}")
    except TimeoutError:
        reason = f"gave no answer within {timeout:g} s"
    except OSError as error:
        reason = f"cannot be reached: {reason_of(error)}"
    except http.client.HTTPException as error:
        reason = f"answered what is not HTTP, or was cut off: {type(error).__name__}"
    except ValueError as error:
        reason = f"gave no answer that can be read: {short_line(str(error))}"
    return WebhookOutcome(0, b"", reason)


async def _exchange(target: SplitResult, body: bytes) -> bytes:
    secure = target.scheme == "https"
    reader, writer = await asyncio.open_connection(
        target.hostname,
        target.port or (443 if secure else 80),
        ssl=client_context(None) if secure else None,
    )
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        # HTTP/1.0: the answer ends where the connection does.
        head = (
            f"POST {path} HTTP/1.0\r\nHost: {target.netloc.rpartition('@')[2]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = b""
        while len(answer) <= MAX_WEBHOOK_ANSWER:
            data = await reader.read(65536)
            if not data:
                return answer
            answer += data
        raise ValueError(f"it is longer than {MAX_WEBHOOK_ANSWER} bytes")
    finally:
        writer.transport.abort()


class _Received:
    """A socket for ``http.client``: the bytes that have come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(answer: bytes) -> tuple[int, bytes]:
    # A real socket is not needed: the parser only asks it for a file.
    response = http.client.HTTPResponse(cast(socket.socket, _Received(answer)))
    response.begin()
    return response.status, response.read()
