"""An SQLite file of records: opened, checked, migrated; and its failures in words."""

import sqlite3

from ...errors import StoreDamaged, StoreFailed
from ...sqlite_file import open_private

SCHEMA_VERSION = 3
"""2 had the same tables, without the rows by which groups are found (``dps.group_index``)."""

LOCK_TIMEOUT = 5.0
"""Seconds to wait while another process writes to the file."""

_SCHEMA = """
CREATE TABLE rows (
    tbl TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,
    grp TEXT NOT NULL DEFAULT '', alias TEXT NOT NULL DEFAULT '', PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE INDEX rows_by_group ON rows (tbl, grp, key) WHERE grp <> '';
CREATE INDEX rows_by_alias ON rows (tbl, alias) WHERE alias <> '';
CREATE TABLE throttles (bucket TEXT PRIMARY KEY, began REAL NOT NULL, count INTEGER NOT NULL);
"""

_FROM_1 = """
INSERT INTO rows SELECT kind, id, abs(random() % 9007199254740991) + 1, record,
    CASE WHEN json_extract(record, '$.attestation.type') = 'x509' THEN 'x509' ELSE '' END, ''
    FROM enrollments;
INSERT INTO rows SELECT 'device', id, abs(random() % 9007199254740991) + 1,
    '{"registration":' || record || ',"operations":[]}',
    lower(json_extract(record, '$.enrollment_group_id')),
    json_extract(record, '$.assigned_hub') || char(10) || json_extract(record, '$.device_id')
    FROM registrations;
INSERT INTO rows SELECT 'mark', 'group', 1, '1', '', '' WHERE EXISTS
    (SELECT 1 FROM enrollments WHERE kind = 'group');
DROP TABLE enrollments;
DROP TABLE registrations;
"""
"""From schema 1, which had a table for each kind."""


def connect(path: str) -> sqlite3.Connection:
    """Return a connection to the file, which is made if need be."""
    database = open_private(path, timeout=LOCK_TIMEOUT)
    try:
        database.execute("PRAGMA synchronous = FULL")
    except BaseException:  # a damaged file is found out here
        database.close()
        raise
    return database


def prepare(database: sqlite3.Connection, path: str) -> None:
    """Bring the schema up to date.

    Raises:
        StoreDamaged: another program's file, or a newer schema.
    """
    _check_version(database, path)
    if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] not in ("wal", "memory"):
        raise StoreFailed(
            f"the records cannot be used: {path}: the file system has no shared memory",
            hint="name a file on a local disk",
        )
    database.execute("BEGIN IMMEDIATE")  # another process may start on the same file
    try:
        version = _check_version(database, path)
        if version < SCHEMA_VERSION:
            steps = {0: _SCHEMA, 1: _SCHEMA + _FROM_1}.get(version, "")
            for statement in steps.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def _check_version(database: sqlite3.Connection, path: str) -> int:
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise StoreDamaged(
            f"the records cannot be used: {path}: schema {version};"
            f" this program knows schema {SCHEMA_VERSION}",
            hint="use the newer mqttws that wrote them, or name another file",
        )
    if version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreDamaged(
            f"the records cannot be used: {path}: another program's database",
            hint="name another file",
        )
    return version


_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another process uses them",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_READONLY: "the file may not be written",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk fails",
}


def reason_of(error: BaseException) -> str:
    """Return why a call failed; never what stands in the file."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    code = int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # without the extended part
    return _REASONS.get(code, type(error).__name__)
