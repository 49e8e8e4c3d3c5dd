"""SqliteRecords: enrollments and registrations in one SQLite file.

Everything is also kept in memory, so that reading never waits for a disk; what changes is written
by a thread of its own, in order, many changes in one transaction. So the event loop never waits
either. The file is whole after any crash, and lacks at most what changed in the moments before
it: a device whose registration that is registers again, as it does after any loss of its
operation. ``flush`` waits until all is on the disk.
"""

import json
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import asdict
from types import TracebackType
from typing import Self

from ..dps.enrollment_json import enrollment_to_json, parse_enrollments
from ..dps.records import EnrollmentGroup, IndividualEnrollment, RegistrationRecord
from ..dps.store import MemoryRecords
from ..errors import StoreFailed, UsageError, store_failed
from ..hops import Cause

logger = logging.getLogger("mqttws.local")

SCHEMA_VERSION = 1

LOCK_TIMEOUT = 2.0
"""Seconds to wait for another service, which is just ending, to let go of the file."""

MAX_BATCH = 1000
"""Changes that go into one transaction at most."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS enrollments (
    kind TEXT NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS registrations (id TEXT PRIMARY KEY, record TEXT NOT NULL);
"""

_Change = tuple[str, tuple[str, ...]]


class SqliteRecords(MemoryRecords):
    """Records that outlive the process, in one file; it holds keys, and is made with mode 0600.

    >>> with SqliteRecords("dps.sqlite") as records:
    ...     dps = AsyncLocalDps(records=records)

    Args:
        path: of the file, made if need be; ``:memory:`` for none.

    Raises:
        StoreFailed: the file cannot be used, or is none of ours.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = os.fspath(path)
        self._changes: queue.SimpleQueue[_Change | threading.Event | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        try:
            self._database = self._connect()
            try:
                self._prepare()
                self._load()
            except BaseException:
                self._database.close()
                raise
        except (sqlite3.Error, OSError, ValueError, TypeError, UsageError) as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            hint = "name another file, or remove this one"
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                reason = "another service uses them"
                hint = "end it, or name another file"
            raise store_failed(
                f"the records cannot be used: {self._path}: {reason}", error, hint=hint
            ) from None  # the other exception may hold what stands in the file
        self._writer = threading.Thread(target=self._write, name="mqttws-records", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        if self._path != ":memory:":
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        # Opened and read here, and used by the writer's thread alone from then on.
        return sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=LOCK_TIMEOUT
        )

    def _prepare(self) -> None:
        database = self._database
        # The file is this service's alone, until it ends, however it ends: two that each keep all
        # in memory would not see what the other one writes.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise UsageError(f"schema {version}")
        # One file: the rollback journal is there only while something is being written.
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = FULL")
        if version == 0:
            if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise UsageError("another program's database")
            database.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )

    def _load(self) -> None:
        rows = self._database.execute("SELECT record FROM enrollments ORDER BY rowid")
        text = f"[{','.join(row[0] for row in rows)}]"
        for enrollment in parse_enrollments(text, self._path):
            super().put(enrollment)
        for row in self._database.execute("SELECT record FROM registrations ORDER BY rowid"):
            super().put_registration(RegistrationRecord(**json.loads(row[0])))

    # What changes

    def add(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep a new enrollment."""
        super().add(enrollment)
        self._put_enrollment(enrollment)

    def put(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep an enrollment, in place of the one that has its id."""
        super().put(enrollment)
        self._put_enrollment(enrollment)

    def remove(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Forget the enrollment that has this one's id; the device's registration stays."""
        super().remove(enrollment)
        self._changes.put(("DELETE FROM enrollments WHERE kind = ? AND id = ?", _key(enrollment)))

    def put_registration(self, record: RegistrationRecord) -> None:
        """Remember a device, in place of what was remembered of it."""
        super().put_registration(record)
        self._changes.put(
            (
                "INSERT INTO registrations VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET record = excluded.record",
                (record.registration_id.lower(), json.dumps(asdict(record))),
            )
        )

    def remove_registration(self, registration_id: str) -> None:
        """Forget a device; one that is not known is forgotten already."""
        super().remove_registration(registration_id)
        self._changes.put(("DELETE FROM registrations WHERE id = ?", (registration_id.lower(),)))

    def _put_enrollment(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        self._changes.put(
            (
                "INSERT INTO enrollments VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET record = excluded.record",
                (*_key(enrollment), json.dumps(enrollment_to_json(enrollment))),
            )
        )

    # Writing

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until all that has changed is on the disk.

        Args:
            timeout: seconds.

        Raises:
            StoreFailed: it could not be written, or not within ``timeout``.
        """
        written = threading.Event()
        self._changes.put(written)
        if not written.wait(timeout):
            raise StoreFailed(
                f"the records are not written after {timeout:g} s: {self._path}",
                cause=Cause.OUT_OF_TIME,
            )
        if self._failure is not None:
            raise store_failed(
                f"the records cannot be written: {self._path}: {type(self._failure).__name__}",
                self._failure,
            )

    def close(self) -> None:
        """Write what waits, and close the file; nothing is kept in it from then on."""
        self._changes.put(None)
        self._writer.join()

    def __enter__(self) -> Self:
        """Return the records."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _write(self) -> None:
        """Write changes as they come, until None comes; the thread's whole life."""
        going_on = True
        while going_on:
            taken = [self._changes.get()]
            while len(taken) < MAX_BATCH:
                try:
                    taken.append(self._changes.get_nowait())
                except queue.Empty:
                    break
            self._commit(item for item in taken if isinstance(item, tuple))
            for item in taken:
                if isinstance(item, threading.Event):
                    item.set()
            going_on = None not in taken
        self._database.close()

    def _commit(self, changes: Iterable[_Change]) -> None:
        try:
            self._database.execute("BEGIN")
            for statement, values in changes:
                self._database.execute(statement, values)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            # The service goes on from memory; only what is kept suffers.
            self._failure = error
            # No traceback: it would hold the statement's values, and keys are among them.
            logger.error(  # noqa: TRY400
                "the records cannot be written: %s: %s", self._path, type(error).__name__
            )
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")


def _key(enrollment: IndividualEnrollment | EnrollmentGroup) -> tuple[str, str]:
    if isinstance(enrollment, IndividualEnrollment):
        return "individual", enrollment.registration_id.lower()
    return "group", enrollment.enrollment_group_id.lower()
