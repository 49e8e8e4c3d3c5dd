"""Streams of numbered events, bounded, in memory, and how they are sent over HTTP.

A reader keeps its own place, the number of the last event that it has read; one that falls too far
behind reads on at the oldest event that is left.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from aiohttp import web

MAX_EVENTS = 100_000
MAX_BYTES = 64 * 1024 * 1024
"""Bounds of what is kept for readers; the oldest goes first."""

KEEP_ALIVE_SECONDS = 15.0
"""Seconds after which an event stream without events sends a comment."""

LOOK_SECONDS = 0.5
"""Seconds between two looks at whether a reader of an event stream has left."""

EVENT_STREAM = "text/event-stream"


class NumberedEvent(Protocol):
    """An event with its place in a stream."""

    @property
    def sequence(self) -> int:
        """Its number, from 1."""

    def to_json(self) -> dict[str, Any]:
        """Return the record of one event."""


E = TypeVar("E", bound=NumberedEvent)


class NumberedStream(Generic[E]):
    """Events in their order; who makes them knows what they are.

    Args:
        max_events: how many are kept.

    Attributes:
        last: number of the newest event; 0 before the first.
    """

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._events: deque[E] = deque()
        self._bytes = 0
        self._readers: set[asyncio.Future[None]] = set()
        self.last: int = 0

    def after(self, sequence: int, limit: int = 1000) -> list[E]:
        """Return the events behind a number, at most ``limit``."""
        if not self._events or sequence >= self.last:
            return []
        skipped = max(0, sequence + 1 - self._events[0].sequence)
        return [self._events[at] for at in range(skipped, min(skipped + limit, len(self._events)))]

    async def wait(self, sequence: int) -> None:
        """Return once there is an event behind a number."""
        while self.last <= sequence:
            reader = asyncio.get_running_loop().create_future()
            self._readers.add(reader)
            try:
                await reader
            finally:
                self._readers.discard(reader)

    async def read(self, after: int | None = None) -> AsyncIterator[E]:
        """Yield events as they come; from now on, or behind a number."""
        sequence = self.last if after is None else after
        while True:
            await self.wait(sequence)
            for event in self.after(sequence):
                sequence = event.sequence
                yield event

    def number(self) -> int:
        """Return the number of the next event, which must be kept at once."""
        self.last += 1
        return self.last

    def keep(self, event: E, size: int) -> None:
        """Take in the event of number ``last``, and let the oldest go if there are too many."""
        self._events.append(event)
        self._bytes += size
        while len(self._events) > self._max_events or self._bytes > MAX_BYTES:
            self._bytes -= self.size(self._events.popleft())
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

    @staticmethod
    def size(event: E) -> int:
        """Return about how many bytes an event takes."""
        return 400


def json_line(event: NumberedEvent) -> str:
    """Return an event as one line of JSON, ASCII."""
    return json.dumps(event.to_json(), separators=(",", ":"))


async def send_events(request: "web.Request", stream: NumberedStream[Any]) -> "web.StreamResponse":
    """Stream what happens: server-sent events, or JSON Lines where they are not asked for.

    From now on, or behind the number in ``Last-Event-ID`` or ``after``; until the reader goes.
    """
    from aiohttp import web

    given = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    known = given.isascii() and given.isdigit() and len(given) < 16
    sequence = int(given) if known else stream.last
    as_lines = EVENT_STREAM not in request.headers.get("Accept", "")
    kind = "application/x-ndjson" if as_lines else EVENT_STREAM
    response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})
    await response.prepare(request)
    with suppress(ConnectionResetError):  # the reader has gone
        await _write_events(request, response, stream, sequence, as_lines=as_lines)
    return response


async def _write_events(
    request: "web.Request",
    response: "web.StreamResponse",
    stream: NumberedStream[Any],
    sequence: int,
    *,
    as_lines: bool,
) -> None:
    await response.write(b"\n" if as_lines else b": ready\n\n")
    quiet = 0.0
    # A handler is not told that its client has left: it has to look.
    while request.transport is not None and not request.transport.is_closing():
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await stream.wait(sequence)
        except TimeoutError:
            quiet += LOOK_SECONDS
            if quiet >= KEEP_ALIVE_SECONDS:
                quiet = 0.0
                await response.write(b"\n" if as_lines else b": \n\n")
            continue
        quiet = 0.0
        parts = []
        for event in stream.after(sequence):
            sequence = event.sequence
            line = json_line(event)
            parts.append(line if as_lines else f"id: {sequence}\ndata: {line}\n")
        await response.write(("\n".join(parts) + "\n").encode())
