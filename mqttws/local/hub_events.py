"""The stream of a hub's events for its consumers: telemetry, connections, twin changes, feedback.

Numbered, bounded, in memory. A reader keeps its own place, the number of the last event that it has
read; one that falls too far behind reads on at the oldest event that is left.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..hub.service.codes import timestamp
from ..hub.service.queue import Feedback
from ..hub.service.telemetry import Telemetry

MAX_EVENTS = 100_000
MAX_BYTES = 64 * 1024 * 1024
"""Bounds of what is kept for readers; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class HubEvent:
    """Something that happened to a device, other than telemetry.

    Attributes:
        kind: such as ``deviceConnected``.
        device_id: the device's.
        module_id: empty for the device itself.
        data: members of its own.
        sequence: its number in the stream.
        at: Unix time in seconds.
    """

    kind: str
    device_id: str
    module_id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the record of one event."""
        record: dict[str, Any] = {"event": self.kind, "deviceId": self.device_id}
        if self.module_id:
            record["moduleId"] = self.module_id
        return {
            **record,
            **self.data,
            "timeUtc": timestamp(self.at),
            "sequenceNumber": self.sequence,
        }


Event = Telemetry | HubEvent


def json_line(event: Event) -> str:
    """Return an event as one line of JSON, ASCII."""
    return json.dumps(event.to_json(), separators=(",", ":"))


class EventStream:
    """The events of one hub."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._readers: set[asyncio.Future[None]] = set()
        self.last: int = 0
        """Number of the newest event; 0 before the first."""

    def add_telemetry(self, telemetry: Telemetry) -> None:
        """Take in what a device has published."""
        self.last += 1
        self._keep(replace(telemetry, sequence=self.last))

    def add(self, kind: str, device_id: str, module_id: str = "", **data: Any) -> None:
        """Take in another event."""
        self.last += 1
        self._keep(HubEvent(kind, device_id, module_id, data, self.last, time.time()))

    def after(self, sequence: int, limit: int = 1000) -> list[Event]:
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

    async def read(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield events as they come; from now on, or behind a number."""
        sequence = self.last if after is None else after
        while True:
            await self.wait(sequence)
            for event in self.after(sequence):
                sequence = event.sequence
                yield event

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._bytes += _size(event)
        while len(self._events) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._bytes -= _size(self._events.popleft())
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)


def _size(event: Event) -> int:
    return 200 + (len(event.payload) if isinstance(event, Telemetry) else 200)


class FeedbackBox:
    """Feedback about messages to devices, handed out in batches that are locked until completed."""

    def __init__(self) -> None:
        self._waiting: deque[Feedback] = deque()
        self._locked: dict[str, tuple[float, list[Feedback]]] = {}

    def add(self, feedback: Feedback) -> None:
        """Take in what became of a message."""
        self._waiting.append(feedback)

    def lock(self, token: str, now: float, seconds: float = 60.0) -> list[Feedback]:
        """Return a batch of at most 64, which comes again unless it is completed in time."""
        for name, (until, batch) in list(self._locked.items()):
            if until <= now:
                self._waiting.extendleft(reversed(batch))
                del self._locked[name]
        batch = [self._waiting.popleft() for _ in range(min(64, len(self._waiting)))]
        if batch:
            self._locked[token] = (now + seconds, batch)
        return batch

    def complete(self, token: str) -> bool:
        """Forget a batch; return whether it was locked under this token."""
        return self._locked.pop(token, None) is not None

    def abandon(self, token: str) -> bool:
        """Put a batch back at once; return whether it was locked under this token."""
        _, batch = self._locked.pop(token, (0.0, []))
        self._waiting.extendleft(reversed(batch))
        return bool(batch)
