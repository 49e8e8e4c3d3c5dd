"""MemoryStore: rows that live as long as the process. It never waits."""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from ...dps.store import ABSENT, Check, Loaded, Page, Row, Table, Write
from ...dps.throttle import Throttle


class MemoryStore:
    """A store in memory, for one process.

    Args:
        clock: returns Unix time in seconds.
    """

    shared = False
    recheck: float = 0.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tables: dict[str, dict[str, Row]] = {}
        self._aliases: dict[str, dict[str, set[str]]] = {}
        self._sorted: dict[str, list[str]] = {}
        self._throttles: dict[tuple[int, float], Throttle] = {}
        self._version = 0

    async def open(self) -> None:
        """Do nothing: it is ready."""

    async def close(self) -> None:
        """Do nothing: a store that is opened again still has its rows."""

    async def load(self, *keys: tuple[Table[Any], str]) -> Loaded:
        """Return rows by their keys."""
        tables = self._tables
        rows = []
        for table, key in keys:
            known = tables.get(table.name)
            rows.append(ABSENT if known is None else known.get(key, ABSENT))
        return Loaded(rows, self._clock())

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        """Write all rows and return True; if a version has changed, write none and return False."""
        for table, key, version in checks:
            if self._row(table, key).version != version:
                return False
        for table, key, _, expected in writes:
            if expected is not None and self._row(table, key).version != expected:
                return False
        for write in writes:
            self._write(write)
        return True

    async def take(self, bucket: str, limit: int, seconds: float) -> int:
        """Count one event; the window slides."""
        throttle = self._throttles.get((limit, seconds))
        if throttle is None:
            throttle = self._throttles[limit, seconds] = Throttle(limit, seconds)
        return throttle.take(bucket, self._clock())

    async def page(
        self, table: Table[Any], after: str = "", limit: int = 1000, group: str | None = None
    ) -> Page:
        """Return rows in the order of keys."""
        rows = self._tables.get(table.name, {})
        keys = self._sorted.get(table.name)
        if keys is None:
            keys = self._sorted[table.name] = sorted(rows)
        items: list[tuple[str, Row]] = []
        for at in range(bisect_right(keys, after), len(keys)):
            row = rows[keys[at]]
            if group is None or table.group(row.value) == group:
                if len(items) == limit:
                    return Page(items, True)
                items.append((keys[at], row))
        return Page(items, False)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Do nothing: this process has all the news itself."""

    async def announce(self, news: str) -> None:
        """Do nothing: no one else listens."""

    async def find(self, table: Table[Any], *aliases: str) -> Sequence[tuple[str, Row]]:
        """Return rows by their aliases."""
        known = self._aliases.get(table.name, {})
        keys = {key for alias in aliases for key in known.get(alias, ())}
        return [(key, self._row(table, key)) for key in sorted(keys)]

    def _row(self, table: Table[Any], key: str) -> Row:
        return self._tables.get(table.name, {}).get(key, ABSENT)

    def _write(self, write: Write) -> None:
        table, key, value, _ = write
        rows = self._tables.setdefault(table.name, {})
        aliases = self._aliases.setdefault(table.name, {})
        before = rows.get(key)
        if before is not None:
            old = table.alias(before.value)
            named = aliases.get(old, set())
            named.discard(key)
            if not named:
                aliases.pop(old, None)
        if (before is None) != (value is None):
            self._sorted.pop(table.name, None)
        if value is None:
            rows.pop(key, None)
            return
        self._version += 1
        rows[key] = Row(self._version, value)
        if alias := table.alias(value):
            aliases.setdefault(alias, set()).add(key)
