"""Asks a custom allocation's webhook for a hub (``concepts-custom-allocation.md``).

One HTTP POST over a connection of its own, bounded in time and size. It never raises for what the
network or the webhook does: that is an outcome too, status 0.
"""

import asyncio
import http.client
import io
import socket
from typing import cast
from urllib.parse import SplitResult, urlsplit

from ..dps.allocation import MAX_WEBHOOK_ANSWER
from ..net.tls import client_context

WEBHOOK_TIMEOUT = 5.0
"""Seconds for all of it: as long as the real service waits."""


async def ask_webhook(url: str, body: bytes, timeout: float = WEBHOOK_TIMEOUT) -> tuple[int, bytes]:
    """POST ``body``, JSON, and return status and body of the answer; 0 where there is none.

    Args:
        url: ``http://`` or ``https://``; a query, which may hold the caller's secret, is sent.
        body: JSON.
        timeout: seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            return _parse(await _exchange(urlsplit(url), body))
    except (OSError, ValueError, http.client.HTTPException):  # TimeoutError is an OSError
        return 0, b""


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
        raise ValueError("the webhook's answer is too long")
    finally:
        writer.transport.abort()


class _Received:
    """What ``http.client`` takes for a socket: the bytes that have come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(answer: bytes) -> tuple[int, bytes]:
    # A real socket is not needed: the parser only asks it for a file.
    response = http.client.HTTPResponse(cast(socket.socket, _Received(answer)))
    response.begin()
    return response.status, response.read()
