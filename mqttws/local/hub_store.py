"""The memory store of a hub's records."""

from collections.abc import Iterable

from ..hub.service.records import Key, Record, stored


class MemoryHubStore:
    """Records in memory: they end with the process."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}

    async def load(self, key: Key) -> Record | None:
        """Return a record; None for none."""
        return self._records.get(key)

    async def commit(self, key: Key, before: Record | None, after: Record | None) -> bool:
        """Write a record if the stored one is still ``before``; return whether it was."""
        found = self._records.get(key)
        if (found.version if found else None) != (before.version if before else None):
            return False
        if after is None:
            self._records.pop(key, None)
        else:
            self._records[key] = stored(after)
        return True

    async def list(
        self, hub: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> list[Record]:
        """Return records in the order of device id and module id, behind ``after``."""
        keys: Iterable[Key] = (
            key for key in self._records if key.hub == hub and (key[1], key[2]) > after
        )
        return [self._records[key] for key in sorted(keys)[:limit]]

    async def close(self) -> None:
        """Do nothing: memory needs no end."""
