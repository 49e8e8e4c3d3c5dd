"""Streams of numbered events, bounded, in memory, and how they are sent over HTTP.

A reader keeps its own place, the number of the last event that it has read. The oldest events go
where there are too many, of one device or in all: a reader that falls too far behind reads on at
the oldest that is left, and sees by the numbers how many it has missed.
"""

import asyncio
import json
import sys
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from aiohttp import web

MAX_EVENTS = 50_000
"""Events that are kept for readers, of all devices."""

MAX_OF_DEVICE = 5_000
"""Events of one device that are kept, so that one that is loud leaves the others' in place."""

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of memory that the events may take, of all devices."""

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

    @property
    def source(self) -> str:
        """The device that it is about; empty for none."""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes; the same whenever it is asked for."""

    def to_json(self) -> dict[str, Any]:
        """Return the record of one event."""


E = TypeVar("E", bound=NumberedEvent)


class NumberedStream(Generic[E]):
    """Events in their order, and of them the latest; who makes them knows what they are.

    Args:
        max_events: how many are kept.
        max_of_device: how many of one device are kept.
        max_bytes: how many bytes they may take.

    Attributes:
        last: number of the newest event; 0 before the first.
    """

    def __init__(
        self,
        max_events: int = MAX_EVENTS,
        max_of_device: int = MAX_OF_DEVICE,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._max_events = max_events
        self._max_of_device = max_of_device
        self._max_bytes = max_bytes
        self._events: dict[int, E] = {}
        self._numbers: list[int] = []  # ascending; some have no event any more
        self._oldest = 0  # the place in it before which none has one
        self._of: dict[str, list[int]] = {}  # by device
        self._bytes = 0
        self._readers: set[asyncio.Future[None]] = set()
        self.last: int = 0

    def after(self, sequence: int, limit: int = 1000) -> list[E]:
        """Return the events behind a number, at most ``limit``."""
        if sequence >= self.last:
            return []
        found: list[E] = []
        for at in range(bisect_right(self._numbers, sequence), len(self._numbers)):
            event = self._events.get(self._numbers[at])
            if event is not None:
                found.append(event)
                if len(found) == limit:
                    break
        return found

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

    def keep(self, event: E) -> None:
        """Take in the event of number ``last``, and let the oldest go if there are too many."""
        number = event.sequence
        self._events[number] = event
        self._numbers.append(number)
        self._bytes += event.size
        numbers = self._of.setdefault(event.source, [])
        numbers.append(number)
        if len(numbers) > self._max_of_device:
            self._drop(numbers[0])
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            while self._numbers[self._oldest] not in self._events:
                self._oldest += 1
            self._drop(self._numbers[self._oldest])
        if len(self._numbers) > 2 * len(self._events) + 100:
            self._numbers = list(self._events)
            self._oldest = 0
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

    def _drop(self, number: int) -> None:
        """Forget an event, its device's oldest."""
        event = self._events.pop(number)
        self._bytes -= event.size
        numbers = self._of[event.source]
        del numbers[0]
        if not numbers:
            del self._of[event.source]


def memory_of(value: object) -> int:
    """Return how many bytes of memory a JSON value takes."""
    total = sys.getsizeof(value)
    if isinstance(value, dict):
        total += sum(memory_of(name) + memory_of(inner) for name, inner in value.items())
    elif isinstance(value, list):
        total += sum(map(memory_of, value))
    return total


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
    # aiohttp does not end a handler whose client has left: it has to look.
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
