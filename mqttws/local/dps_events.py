"""The events of a local DPS, for tests and for programs that watch it.

Knows the events. No key, password or signature is in any of them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from ..dps.answers import timestamp
from ..dps.effects import Answer
from .numbered import NumberedStream

MAX_EVENTS = 20_000
"""Events that are kept, the latest: a few thousand registrations, in about 14 MB. Of one device,
and of connections without a name, 5,000 are (``numbered.MAX_OF_DEVICE``)."""

EventKind = Literal[
    "connected",
    "refused",
    "request",
    "fault",
    "assigned",
    "disconnected",
    "enrollment",
]
"""Kinds of events, with the members of their own:

- ``connected``: a device's CONNECT was accepted: ``apiVersion``.
- ``refused``: a connection was: ``hop``, ``reason``; ``returnCode`` of CONNACK.
- ``request``: a device was answered: ``request`` (register, poll, lookup), ``status``,
  ``errorCode`` (0 for none), ``reason`` as in the log.
- ``fault``: an ordered fault struck: ``hop``, ``fault`` (its kind).
- ``assigned``: a registration ended well: ``assignedHub``, ``deviceId``, ``substatus``.
- ``disconnected``: a device's connection has ended: ``reason``.
- ``enrollment``: who may register was changed: ``change`` (put, deleted), ``id``.
"""


class DpsEvent(NamedTuple):
    """Something that happened at a local DPS.

    Attributes:
        kind: see ``EventKind``.
        device: the registration id; empty where there is none.
        connection: the connection's name in the log, such as ``#1 wss 127.0.0.1:40000``.
        data: members of its own.
        sequence: its number in the stream.
        at: Unix time in seconds.
    """

    kind: EventKind
    device: str = ""
    connection: str = ""
    data: Mapping[str, Any] = {}
    sequence: int = 0
    at: float = 0.0

    @property
    def source(self) -> str:
        """The device."""
        return self.device

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 700 + len(self.data.get("reason", ""))

    def to_json(self) -> dict[str, Any]:
        """Return the record of one event."""
        record: dict[str, Any] = {"event": self.kind}
        if self.device:
            record["registrationId"] = self.device
        if self.connection:
            record["connection"] = self.connection
        times = {"timeUtc": timestamp(self.at), "sequenceNumber": self.sequence}
        return {**record, **self.data, **times}


class DpsEvents(NumberedStream[DpsEvent]):
    """The events of one local DPS.

    Attributes:
        on_event: is given each event as it happens; None for no call.
    """

    on_event: Callable[[DpsEvent], None] | None = None

    def add(self, kind: EventKind, device: str = "", connection: str = "", **data: Any) -> None:
        """Take in an event."""
        event = DpsEvent(kind, device, connection, data, self.number(), time.time())
        self.keep(event)
        if self.on_event is not None:
            self.on_event(event)

    def find(
        self, kind: str | None = None, device: str | None = None, after: int = 0
    ) -> list[DpsEvent]:
        """Return the events so far of a kind and a device; None for any."""
        return [
            event
            for event in self.after(after, limit=self.last)
            if kind in (None, event.kind) and device in (None, event.device)
        ]

    async def wait_for(self, kind: str, device: str | None = None, after: int = 0) -> DpsEvent:
        """Return the first event of a kind and a device behind a number, once there is one."""
        while not (found := self.find(kind, device, after)):
            await self.wait(self.last)
        return found[0]


def note_answer(events: DpsEvents, device: str, connection: str, answer: Answer) -> None:
    """Take in that a device was answered."""
    request, _, _ = answer.reason.partition(" ")
    events.add(
        "request",
        device,
        connection,
        request=request,
        status=answer.status,
        errorCode=answer.error_code,
        reason=answer.reason,
    )
