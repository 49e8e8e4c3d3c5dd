"""Stores for sessions: what is written and read back, and the store in memory.

Does not know event loops: ``load``, ``save`` and ``close`` block, and the journal calls them from a
thread of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..protocol import Change, Session
from ..wire import Publish


class Queued(NamedTuple):
    """A message that waits to be sent takes its place in the queue."""

    number: int
    packet: Publish


class Unqueued(NamedTuple):
    """A message has left the queue: it is in flight now, or was sent with QoS 0."""

    number: int


class Failed(NamedTuple):
    """A message was given up, and no caller waited for it."""

    number: int
    packet: Publish
    reason: str


class FailedForgotten(NamedTuple):
    """The list of messages that were given up was emptied."""


Step = Change | Queued | Unqueued | Failed | FailedForgotten
"""One change for a store."""


@dataclass(slots=True)
class Stored:
    """The contents of a store for one client.

    Attributes:
        session: unfinished exchanges of QoS 1 and 2. A PUBREL in ``session.outgoing`` without its
            message in ``session.accepted`` is of a message that was given up: the server may hold
            its packet identifier until it has been released.
        queue: by place, the messages that were never sent.
        failed: by number, the messages that were given up, and why.
    """

    session: Session = field(default_factory=Session)
    queue: dict[int, Publish] = field(default_factory=dict)
    failed: dict[int, tuple[Publish, str]] = field(default_factory=dict)


class Store(Protocol):
    """The interface of a store that survives a crash; each method may block.

    A ``put`` of a PUBREL takes the place of the PUBLISH, whose message is kept beside it until
    ``delete``, for ``Stored.session.accepted``. A QoS 2 message that is given up comes as
    ``delete`` and ``put`` of its PUBREL: no message is kept beside that one, and its packet
    identifier is, until the next ``delete``.
    """

    def load(self, client_id: str) -> Stored:
        """Open the store for one client alone, and return its session."""

    def save(self, steps: Sequence[Step]) -> None:
        """Write all of it or nothing, so that it survives a crash, before returning."""

    def close(self) -> None:
        """Let go of it."""


class MemoryStore:
    """Sessions that end with the process. Pass one on to let another client go on with a session.

    Attributes:
        stored: what the last client left; one client at a time uses it.
    """

    def __init__(self) -> None:
        self.stored: Stored = Stored()
