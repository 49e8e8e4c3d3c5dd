"""The record of one identity, its form in a store, and the store's protocol.

One record holds all that the hub keeps of a device or module: identity, twin, session and queue.
A decision is a function of the record; its outcome is another record, which the store takes if
nobody has written one in between.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from .identity import Credentials, Identity
from .queue import CloudMessage, Queue
from .session import Session
from .twin import Section, Twin


class Key(NamedTuple):
    """The place of a record: hub, device, and module (empty for the device itself)."""

    hub: str
    device_id: str
    module_id: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """All that a hub keeps of one identity.

    Attributes:
        identity: of the registry.
        twin: tags, desired and reported properties.
        session: subscriptions.
        queue: messages to the device.
        version: of the stored record; 0 for one that is not stored.
    """

    identity: Identity
    twin: Twin = field(default_factory=Twin)
    session: Session = field(default_factory=Session)
    queue: Queue = field(default_factory=Queue)
    version: int = 0


PARTS = ("identity", "twin", "session", "queue")
"""The parts of a record, each stored by itself, so that a change writes no other."""


class HubStore(Protocol):
    """The store of a hub's records. Every method raises ``ServiceFailed`` where it cannot serve."""

    async def load(self, key: Key) -> Record | None:
        """Return a record; None for none."""
        ...

    async def commit(self, key: Key, before: Record | None, after: Record | None) -> bool:
        """Write a record if the stored one is still ``before``; return whether it was.

        ``before`` None creates, ``after`` None deletes. It is durable when this returns.
        """
        ...

    async def list(
        self, hub: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> list[Record]:
        """Return records in the order of device id and module id, behind ``after``."""
        ...

    async def close(self) -> None:
        """Let the store go."""
        ...


# The form in a store


def part_to_json(record: Record, part: str) -> dict[str, Any]:
    """Return one part of a record as a JSON object."""
    if part == "identity":
        identity = asdict(record.identity)
        credentials = identity["credentials"]
        for name in ("keys", "certificates"):
            credentials[name] = [_encode(data) for data in credentials[name]]
        return identity
    if part == "queue":
        messages = [asdict(message) for message in record.queue.messages]
        for message in messages:
            message["payload"] = _encode(message["payload"])
        return {"sequence": record.queue.sequence, "messages": messages}
    return asdict(record.twin if part == "twin" else record.session)


def record_from_json(parts: Mapping[str, Mapping[str, Any]], version: int) -> Record:
    """Return the record whose parts were stored by ``part_to_json``."""
    identity = dict(parts["identity"])
    credentials = identity.pop("credentials")
    twin = dict(parts["twin"])
    queue = parts["queue"]
    return Record(
        Identity(
            **identity,
            credentials=Credentials(
                credentials["kind"],
                tuple(base64.b64decode(key) for key in credentials["keys"]),
                tuple(credentials["thumbprints"]),
                tuple(base64.b64decode(der) for der in credentials["certificates"]),
            ),
        ),
        Twin(**twin | {name: Section(**twin[name]) for name in ("desired", "reported")}),
        Session(**parts["session"]),
        Queue(
            tuple(
                CloudMessage(**{**message, "payload": base64.b64decode(message["payload"])})
                for message in queue["messages"]
            ),
            queue["sequence"],
        ),
        version,
    )


def stored(record: Record) -> Record:
    """Return the record under the version that it has once it is stored."""
    return replace(record, version=record.version + 1)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
