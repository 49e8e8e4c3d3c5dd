"""A hub's records in the store that the DPS uses too: memory, SQLite or PostgreSQL.

Two rows hold a record: one the identity, twin and session, the other the queue, so that messages
are not written again with each report. Knows rows and versions; what a record means is
``hub.service.records``' matter.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..dps.json_text import parse_json
from ..dps.store import Check, Row, Store, Table, Write
from ..hub.service.queue import Queue
from ..hub.service.records import (
    Key,
    Record,
    parts_of,
    queue_from_json,
    queue_to_json,
    record_from_json,
)


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _decode_record(text: str) -> Record:
    return record_from_json(parse_json(text))


def _decode_queue(text: str) -> Queue:
    return queue_from_json(parse_json(text))


RECORDS: Table[Record] = Table("hub", lambda record: _dump(parts_of(record)), _decode_record)
"""Identity, twin and session, by hub, device id and module id."""

QUEUES: Table[Queue] = Table("hub queue", lambda queue: _dump(queue_to_json(queue)), _decode_queue)
"""Messages to devices, by the same key; no row for an empty queue that has never been used."""


class StoredRecords:
    """The records of hubs over a store, which is open.

    Args:
        store: shared with the DPS.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self, key: Key) -> Record | None:
        """Return a record; None for none."""
        text = _text(key)
        loaded = await self._store.load((RECORDS, text), (QUEUES, text))
        return _joined(*loaded.rows)

    async def commit(self, key: Key, before: Record | None, after: Record | None) -> bool:
        """Write a record if the stored one is still ``before``; return whether it was."""
        text = _text(key)
        version, queue_version = (0, 0) if before is None else before.versions
        writes, checks = [], []
        if after is None:
            writes.append(Write(RECORDS, text, None, version))
            writes.append(Write(QUEUES, text, None, queue_version))
        elif before is None or not after.differs_in_queue_alone(before):
            writes.append(Write(RECORDS, text, after, version))
        else:
            checks.append(Check(RECORDS, text, version))
        if after is not None and (before is None or after.queue is not before.queue):
            writes.append(Write(QUEUES, text, after.queue, queue_version))
        return await self._store.commit(writes, checks)

    async def list(
        self, hub: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> list[Record]:
        """Return records in the order of device id and module id, behind ``after``."""
        behind = _text(Key(hub, *after)) if any(after) else f"{hub.lower()}\n"
        page = await self._store.page(RECORDS, behind, limit)
        keys = [text for text, _ in page.items if text.startswith(f"{hub.lower()}\n")]
        queues = await self._store.load(*((QUEUES, text) for text in keys))
        rows = dict(page.items)
        found = [_joined(rows[text], queue) for text, queue in zip(keys, queues.rows, strict=True)]
        return [record for record in found if record is not None]


def _text(key: Key) -> str:
    return "\n".join((key.hub.lower(), key.device_id, key.module_id))


def _joined(row: Row, queue: Row) -> Record | None:
    record: Record | None = row.value
    if record is None:
        return None
    return replace(record, queue=queue.value or Queue(), versions=(row.version, queue.version))
