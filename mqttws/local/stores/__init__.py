"""Stores: memory, SQLite and PostgreSQL behind the protocol ``dps.store.Store``."""

import os

from ...dps.store import Store
from ...errors import UsageError

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


def open_store(records: str | os.PathLike[str] | Store | None) -> Store:
    """Return the store that is named; it has not been opened yet.

    Args:
        records: None for memory, the path of an SQLite file, ``postgresql://…``, or a store.

    Raises:
        UsageError: the URL cannot be read, or its driver is not installed.
    """
    if records is None:
        from .memory import MemoryStore

        return MemoryStore()
    if not isinstance(records, str | os.PathLike):
        return records
    name = os.fspath(records)
    if name.startswith(POSTGRES_SCHEMES):
        from .postgres import PostgresStore  # needs the extra

        return PostgresStore(name)
    if "://" in name:
        scheme = name.partition("://")[0][:20]
        raise UsageError(
            f"records {scheme!r}://...; allowed: a file's path, or postgresql://user@host/database"
        )
    from .sqlite import SqliteStore

    return SqliteStore(name)
