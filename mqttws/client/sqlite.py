"""A session in an SQLite file, which survives a crash.

Knows how a session is written down. Loaded only when asked for: SQLite takes its time to load.
"""

import os
import sqlite3
from collections.abc import Sequence
from os import PathLike

from ..errors import MqttwsError, UsageError, store_failed
from ..wire import Publish, PubRel, decode, encode
from .store import Queued, Step, Stored, Unqueued

_SCHEMA = """
CREATE TABLE IF NOT EXISTS client (client_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outgoing (
    packet_id INTEGER PRIMARY KEY, place INTEGER NOT NULL, packet BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS received (packet_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS queue (number INTEGER PRIMARY KEY, packet BLOB NOT NULL);
"""


class SqliteStore:
    """A session in an SQLite file: it survives the end of the process, however it comes.

    In-flight messages of QoS 1 and 2, the identifiers of received QoS 2 messages, and the queue of
    messages that were never sent are kept. Whatever a packet depends on is in the file before the
    packet is sent. One file holds one client's session, and one client at a time opens it; only its
    owner can read it, for payloads are in it.

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
        if synchronous not in ("FULL", "NORMAL"):
            raise UsageError(f"synchronous {synchronous!r}; allowed: 'FULL' or 'NORMAL'")
        self._path = os.fspath(path)
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._database: sqlite3.Connection | None = None
        self._place = 0

    def __repr__(self) -> str:
        return f"SqliteStore({self._path!r})"

    def load(self, client_id: str) -> Stored:
        """Open the file for one client and return what it holds.

        Raises:
            StoreFailed: it cannot be opened, or is held by another client.
            UsageError: it is another client's.
        """
        try:
            self._database = self._open()
            return self._read(client_id)
        except (OSError, sqlite3.Error, MqttwsError) as error:
            self.close()
            if isinstance(error, UsageError):
                raise
            raise store_failed(
                f"the session store {self._path} cannot be opened: {error}",
                error,
                hint="see that the folder is there, and that no other client uses the file",
            ) from error

    def save(self, steps: Sequence[Step]) -> None:
        """Write all of it in one transaction, synced as was asked for.

        Raises:
            StoreFailed: nothing of it was written.
        """
        assert self._database is not None, "it is loaded before it is written"
        try:
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN")
                for step in steps:
                    self._database.execute(*self._statement(step))
        except sqlite3.Error as error:
            raise store_failed(
                f"the session store {self._path} cannot be written: {error}",
                error,
                hint="see whether the disk is full, or the file was taken away",
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(
            self._path,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            database.execute("PRAGMA locking_mode=EXCLUSIVE")  # one client at a time
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(f"PRAGMA synchronous={self._synchronous}")
            # A statement each, so that the exclusive lock is taken here and not at the first write.
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database

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
        rows = database.execute("SELECT packet_id, place, packet FROM outgoing ORDER BY place")
        for packet_id, place, raw in rows:
            packet = decode(raw)
            if isinstance(packet, Publish | PubRel):
                stored.session.outgoing[packet_id] = packet
            self._place = place
        for (packet_id,) in database.execute("SELECT packet_id FROM received"):
            stored.session.received.add(packet_id)
        for number, raw in database.execute("SELECT number, packet FROM queue ORDER BY number"):
            packet = decode(raw)
            if isinstance(packet, Publish):
                stored.queue[number] = packet
        return stored

    def _statement(self, step: Step) -> tuple[str, tuple[object, ...]]:
        """Return the SQL of one step."""
        if isinstance(step, Queued):
            return "INSERT OR REPLACE INTO queue VALUES (?, ?)", (step.number, encode(step.packet))
        if isinstance(step, Unqueued):
            return "DELETE FROM queue WHERE number = ?", (step.number,)
        if step.kind == "put":
            assert step.packet is not None
            self._place += 1
            values = (step.packet_id, self._place, encode(step.packet))
            return "INSERT OR REPLACE INTO outgoing VALUES (?, ?, ?)", values
        if step.kind == "delete":
            return "DELETE FROM outgoing WHERE packet_id = ?", (step.packet_id,)
        if step.kind == "received":
            return "INSERT OR REPLACE INTO received VALUES (?)", (step.packet_id,)
        if step.kind == "released":
            return "DELETE FROM received WHERE packet_id = ?", (step.packet_id,)
        if step.kind == "forget":
            return "DELETE FROM received", ()
        return "DELETE FROM outgoing", ()  # clear
