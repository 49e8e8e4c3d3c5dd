"""The stream of a hub's events for its consumers: telemetry, connections, twin changes, feedback.

Numbered, bounded, in memory, as ``numbered`` has it: the latest 50,000 events, 5,000 of one device,
64 MiB. So is feedback about messages: the latest 10,000.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..hub.service.codes import timestamp
from ..hub.service.queue import Feedback
from ..hub.service.telemetry import Telemetry
from .numbered import NumberedStream, memory_of

MAX_FEEDBACK = 10_000
"""Feedback that waits for a reader; the oldest goes first."""


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

    @property
    def source(self) -> str:
        """The device."""
        return self.device_id

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 500 + sum(map(memory_of, self.data.values()))

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


class EventStream(NumberedStream[Event]):
    """The events of one hub."""

    def add_telemetry(self, telemetry: Telemetry) -> None:
        """Take in what a device has published."""
        self.keep(replace(telemetry, sequence=self.number()))

    def add(self, kind: str, device_id: str, module_id: str = "", **data: Any) -> None:
        """Take in another event."""
        self.keep(HubEvent(kind, device_id, module_id, data, self.number(), time.time()))


class FeedbackBox:
    """Feedback about messages to devices, handed out in batches that are locked until completed."""

    def __init__(self) -> None:
        self._waiting: deque[Feedback] = deque()
        self._locked: dict[str, tuple[float, list[Feedback]]] = {}

    def add(self, feedback: Feedback) -> None:
        """Take in what became of a message."""
        if len(self._waiting) >= MAX_FEEDBACK:
            self._waiting.popleft()
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
