"""The record of one identity, its form in a store, and the store's protocol.

One record holds all that the hub keeps of a device or module: identity, twin, session and queue.
A decision is a function of the record; its outcome is another record, which the store takes if
no other write came in between.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from .identity import Credentials, Identity
from .issuance import Issuance
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
        issuance: its request for a certificate; None for none.
        versions: of what is stored: of the record, and of its queue; 0 for what is not.
    """

    identity: Identity
    twin: Twin = field(default_factory=Twin)
    session: Session = field(default_factory=Session)
    queue: Queue = field(default_factory=Queue)
    versions: tuple[int, int] = (0, 0)
    issuance: Issuance | None = None

    def differs_in_queue_alone(self, other: "Record") -> bool:
        """Return whether everything but the queue is the very same."""
        return (
            self.identity is other.identity
            and self.twin is other.twin
            and self.session is other.session
            and self.issuance is other.issuance
        )


class HubStore(Protocol):
    """The store of a hub's records. Every method raises ``StoreFailed`` where it cannot serve."""

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


# The form in a store


def parts_of(record: Record) -> dict[str, Any]:
    """Return a record without its queue as a JSON object."""
    identity = asdict(record.identity)
    credentials = identity["credentials"]
    for name in ("keys", "certificates"):
        credentials[name] = [_encode(data) for data in credentials[name]]
    return {
        "identity": identity,
        "twin": {
            "desired": _section(record.twin.desired),
            "reported": _section(record.twin.reported),
            "tags": record.twin.tags,
            "version": record.twin.version,
            "revision": record.twin.revision,
        },
        "session": {
            "kept": record.session.kept,
            "subscriptions": dict(record.session.subscriptions),
        },
        "issuance": None if record.issuance is None else asdict(record.issuance),
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "values": section.values,
        "metadata": section.metadata,
        "version": section.version,
    }


def record_from_json(parts: Mapping[str, Any]) -> Record:
    """Return the record that ``parts_of`` has written, with an empty queue."""
    identity, issuance = dict(parts["identity"]), parts.get("issuance")
    credentials = identity.pop("credentials")
    twin = dict(parts["twin"])
    return Record(
        Identity(
            **identity,
            credentials=Credentials(
                credentials["kind"],
                tuple(base64.b64decode(key) for key in credentials["keys"]),
                tuple(credentials["thumbprints"]),
                tuple(base64.b64decode(der) for der in credentials["certificates"]),
                credentials.get("common_name", ""),
                credentials.get("policy", ""),
            ),
        ),
        Twin(**twin | {name: Section(**twin[name]) for name in ("desired", "reported")}),
        Session(**parts["session"]),
        issuance=None if issuance is None else Issuance(**issuance),
    )


def queue_from_json(queue: Mapping[str, Any]) -> Queue:
    """Return the queue that ``queue_to_json`` has written."""
    messages = (
        CloudMessage(**{**message, "payload": base64.b64decode(message["payload"])})
        for message in queue["messages"]
    )
    return Queue(tuple(messages), queue["sequence"])


def queue_to_json(queue: Queue) -> dict[str, Any]:
    """Return a queue as a JSON object."""
    messages = [
        {name: getattr(message, name) for name in _MESSAGE} | {"payload": _encode(message.payload)}
        for message in queue.messages
    ]
    return {"sequence": queue.sequence, "messages": messages}


_MESSAGE = [of.name for of in fields(CloudMessage)]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
