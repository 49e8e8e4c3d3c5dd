"""A session in an SQLite file, which survives a crash.

Knows how a session is written down, and takes nothing in a file for granted: what cannot be there
is ``StoreDamaged``, with file and row. Loaded only when asked for: SQLite takes its time to load.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from os import PathLike

from ..errors import MqttwsError, StoreDamaged, StoreFailed, UsageError, store_failed
from ..hops import Cause
from ..options import LOAD, SAVE, SQLITE_STORE
from ..protocol import Change
from ..sqlite_file import open_private
from ..wire import Publish, PubRel, decode, encode
from .store import Failed, FailedForgotten, Queued, Step, Stored, Unqueued

_VERSION = 3
"""The schema's, in ``user_version``. 0 was written before there was one: it has no message beside a
PUBREL, and no failed messages. Before 3, received messages have no digest."""

_TABLES = {
    "client": "client_id TEXT NOT NULL",
    "outgoing": "packet_id INTEGER PRIMARY KEY, place INTEGER NOT NULL, packet BLOB NOT NULL,"
    " message BLOB",
    "received": "packet_id INTEGER PRIMARY KEY, digest INTEGER",
    "queue": "number INTEGER PRIMARY KEY, packet BLOB NOT NULL",
    "failed": "number INTEGER PRIMARY KEY, packet BLOB NOT NULL, reason TEXT NOT NULL",
}

MAX_FAILED = 1000
"""Messages in the list of those that were given up; the oldest leave it."""

_DAMAGED = "name another file, or remove this one: its messages are lost with it"


class SqliteStore:
    """A session in an SQLite file: it survives the end of the process, a crash included.

    In-flight messages of QoS 1 and 2, the identifiers of received QoS 2 messages, the queue of
    messages that were never sent and the list of those that were given up are kept. Whatever a
    packet depends on is in the file before the packet is sent. One file holds one client's session,
    and one client at a time opens it; only its owner can read it, for payloads are in it.

    Args:
        path: the file; made if it is not there. SQLite keeps ``-wal`` beside it.
        synchronous: ``FULL`` syncs the file before each group of packets that depend on it, so that
            nothing is lost when the machine fails. ``NORMAL`` does not sync each time: nothing is
            lost when the process fails, but the newest of it may be when the machine does.
        busy_timeout: seconds to wait for another process that holds the file.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: str = "FULL",
        busy_timeout: float = 2.0,
    ) -> None:
        SQLITE_STORE.check(locals())
        self._path = os.fspath(path)
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._place = 0

    def __repr__(self) -> str:
        return f"SqliteStore({self._path!r})"

    def load(self, client_id: str) -> Stored:
        """Open the file for one client and return what it holds.

        Raises:
            StoreFailed: it cannot be opened, is held by another client, or is damaged; the error
                names the file, and the row where one is to blame.
            UsageError: it is another client's.
        """
        LOAD.check(locals())
        try:
            self._database = self._open()
            return self._read(client_id)
        except MqttwsError:
            self.close()
            raise
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise store_failed(
                f"the session store {self._path} cannot be opened: {error}", error
            ) from error

    def save(self, steps: Sequence[Step]) -> None:
        """Write all of it in one transaction, synced as was asked for.

        Raises:
            StoreFailed: nothing of it was written.
        """
        SAVE.check(locals())
        if self._database is None:
            raise UsageError(
                f"the session store {self._path} is not open",
                cause=Cause.WRONG_MOMENT,
                hint="load it first",
            )
        try:
            if self._file != self._identity():
                raise StoreFailed(
                    f"the session store {self._path} was removed or replaced while it was open",
                    hint="what is not acknowledged yet cannot be kept: start again",
                )
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN")
                for step in steps:
                    self._database.execute(*self._statement(step))
        except (OSError, sqlite3.Error) as error:
            raise store_failed(
                f"the session store {self._path} cannot be written: {error}", error
            ) from error

    def close(self) -> None:
        """Close the file."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    # Inside

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        database = open_private(self._path, timeout=self._busy_timeout)
        self._file = self._identity()
        try:
            database.execute("PRAGMA locking_mode=EXCLUSIVE")  # one client at a time
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(f"PRAGMA synchronous={self._synchronous}")
            # The exclusive lock is taken here and not at the first write.
            database.execute("BEGIN IMMEDIATE")
            self._make_tables(database)
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database

    def _make_tables(self, database: sqlite3.Connection) -> None:
        """Make the tables of a new file, and those that an older version did not have."""
        (version,) = database.execute("PRAGMA user_version").fetchone()
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if version not in (0, 2, _VERSION):
            raise self._damaged(f"its schema is version {version}; allowed: {_VERSION}")
        expected = set() if not there else set(_TABLES)
        if there and version == 0:
            expected.discard("failed")
        if missing := expected - there:
            raise self._damaged(f"it has no table {sorted(missing)[0]}")
        if there and version == 0:
            database.execute("ALTER TABLE outgoing ADD COLUMN message BLOB")
        if there and version < 3:
            database.execute("ALTER TABLE received ADD COLUMN digest INTEGER")
        for name, columns in _TABLES.items():
            if name not in there:
                database.execute(f"CREATE TABLE {name} ({columns})")
        database.execute(f"PRAGMA user_version={_VERSION}")

    def _read(self, client_id: str) -> Stored:
        database = self._database
        assert database is not None
        owner = database.execute("SELECT client_id FROM client").fetchone()
        if owner is None:
            database.execute("INSERT INTO client VALUES (?)", (client_id,))
        elif owner[0] != client_id:
            raise UsageError(
                f"the session store {self._path} is of client {owner[0]!r}, not of {client_id!r}",
                hint="use one file for each client",
            )
        stored = Stored()
        session = stored.session
        rows = database.execute(
            "SELECT packet_id, place, packet, message FROM outgoing ORDER BY place"
        )
        for packet_id, place, raw, message in rows:
            where = f"table outgoing, packet_id {packet_id!r}"
            self._check_id(packet_id, where)
            packet = self._packet(raw, where, packet_id, (Publish, PubRel))
            if isinstance(packet, PubRel) and message is not None:
                accepted = self._packet(message, where, packet_id, (Publish,))
                assert isinstance(accepted, Publish)
                session.accepted[packet_id] = accepted
            session.outgoing[packet_id] = packet
            self._place = self._number(place, where)
        for packet_id, digest in database.execute("SELECT packet_id, digest FROM received"):
            where = f"table received, packet_id {packet_id!r}"
            self._check_id(packet_id, where)
            if digest is not None and type(digest) is not int:
                raise self._damaged(f"{where}: found {type(digest).__name__} for a digest")
            session.received[packet_id] = digest
        for number, raw in database.execute("SELECT number, packet FROM queue ORDER BY number"):
            where = f"table queue, number {number!r}"
            packet = self._packet(raw, where, None, (Publish,))
            assert isinstance(packet, Publish)
            stored.queue[self._number(number, where)] = packet
        rows = database.execute("SELECT number, packet, reason FROM failed ORDER BY number")
        for number, raw, reason in rows:
            where = f"table failed, number {number!r}"
            packet = self._packet(raw, where, None, (Publish,))
            assert isinstance(packet, Publish)
            stored.failed[self._number(number, where)] = (packet, str(reason))
        return stored

    def _packet(
        self, raw: object, where: str, packet_id: int | None, allowed: tuple[type, ...]
    ) -> Publish | PubRel:
        """Return the packet of a row, which is to have an identifier if one is given."""
        if not isinstance(raw, bytes):
            raise self._damaged(f"{where}: found {type(raw).__name__}; allowed: bytes")
        try:
            packet = decode(raw)
        except MqttwsError as error:
            raise self._damaged(f"{where}: no packet: {error}") from error
        if not isinstance(packet, Publish | PubRel) or type(packet) not in allowed:
            raise self._damaged(f"{where}: found {type(packet).__name__}, which cannot wait there")
        if packet_id is not None and packet.packet_id != packet_id:
            raise self._damaged(f"{where}: the packet's identifier is {packet.packet_id}")
        return packet

    def _check_id(self, packet_id: object, where: str) -> None:
        if type(packet_id) is not int or not 1 <= packet_id <= 65535:
            raise self._damaged(f"{where}; allowed: 1 to 65535")

    def _number(self, number: object, where: str) -> int:
        if type(number) is not int:
            raise self._damaged(f"{where}: found {type(number).__name__} for a place; allowed: int")
        return number

    def _damaged(self, what: str) -> StoreDamaged:
        return StoreDamaged(f"the session store {self._path} is damaged: {what}", hint=_DAMAGED)

    def _statement(self, step: Step) -> tuple[str, tuple[object, ...]]:
        """Return the SQL of one step."""
        return _STATEMENTS[type(step)](self, step)

    def _queued(self, step: Queued) -> tuple[str, tuple[object, ...]]:
        values = (step.number, encode(step.packet))
        return "INSERT OR REPLACE INTO queue VALUES (?, ?)", values

    def _unqueued(self, step: Unqueued) -> tuple[str, tuple[object, ...]]:
        return "DELETE FROM queue WHERE number = ?", (step.number,)

    def _failed(self, step: Failed) -> tuple[str, tuple[object, ...]]:
        # One statement for both: the oldest one's place is the new one's.
        values = (step.number, encode(step.packet), step.reason)
        return "INSERT OR REPLACE INTO failed VALUES (?, ?, ?)", values

    def _failed_forgotten(self, step: FailedForgotten) -> tuple[str, tuple[object, ...]]:
        return "DELETE FROM failed", ()

    def _change(self, step: Change) -> tuple[str, tuple[object, ...]]:
        if step.kind == "put" and step.packet is not None:
            self._place += 1
            if isinstance(step.packet, PubRel):
                # The message is kept beside it: a server that loses the session needs it anew.
                return (
                    "INSERT OR REPLACE INTO outgoing SELECT ?, ?, ?,"
                    " (SELECT coalesce(message, packet) FROM outgoing WHERE packet_id = ?)",
                    (step.packet_id, self._place, encode(step.packet), step.packet_id),
                )
            values = (step.packet_id, self._place, encode(step.packet))
            return "INSERT OR REPLACE INTO outgoing VALUES (?, ?, ?, NULL)", values
        if step.kind == "delete":
            return "DELETE FROM outgoing WHERE packet_id = ?", (step.packet_id,)
        if step.kind == "received":
            known = (step.packet_id, step.digest)
            return "INSERT OR REPLACE INTO received VALUES (?, ?)", known
        if step.kind == "released":
            return "DELETE FROM received WHERE packet_id = ?", (step.packet_id,)
        if step.kind == "forget":
            return "DELETE FROM received", ()
        return "DELETE FROM outgoing", ()  # clear


_STATEMENTS: dict[type, Callable[..., tuple[str, tuple[object, ...]]]] = {
    Queued: SqliteStore._queued,
    Unqueued: SqliteStore._unqueued,
    Failed: SqliteStore._failed,
    FailedForgotten: SqliteStore._failed_forgotten,
    Change: SqliteStore._change,
}
