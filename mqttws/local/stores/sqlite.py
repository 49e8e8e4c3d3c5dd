"""SqliteStore: rows in one SQLite file, which several processes on one machine may share.

WAL with ``synchronous=FULL``: a commit is on the disk when it returns. Commits that come while one
is being written go into the next transaction together. Rows are read by their keys in the event
loop: that is a few microseconds, and readers wait for no writer in WAL.
"""

import asyncio
import contextlib
import json
import logging
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ...dps.store import ABSENT, Check, Loaded, Page, Row, Table, Write
from ...errors import StoreFailed, UsageError, store_failed
from ...hops import Cause
from .decoding import Decoder
from .sqlite_file import connect, prepare, reason_of

logger: logging.Logger = logging.getLogger("mqttws.local")

COMMIT_TIMEOUT = 15.0
"""Seconds within which a commit must be on the disk."""

MAX_BATCH = 200
"""Commits that go into one transaction at most."""

GATHERING = 0.002
"""Seconds in which commits gather for the next transaction, where the last one had several: under
load more of them share one flush of the disk, and a lone one does not wait."""

LOAD = """
SELECT asked.id, version, value FROM
    (SELECT key AS id, json_extract(value, '$[0]') AS tbl, json_extract(value, '$[1]') AS key
     FROM json_each(?)) AS asked
    CROSS JOIN rows ON rows.tbl = asked.tbl AND rows.key = asked.key
"""
"""Rows by their keys, any number of them, each found by the index; all of one moment."""

MOVED = """
SELECT EXISTS (SELECT 1 FROM
    (SELECT json_extract(value, '$[0]') AS tbl, json_extract(value, '$[1]') AS key,
            json_extract(value, '$[2]') AS version
     FROM json_each(?)) AS expected
    LEFT JOIN rows ON rows.tbl = expected.tbl AND rows.key = expected.key
    WHERE ifnull(rows.version, 0) <> expected.version)
"""
"""Whether any of some rows has another version than expected, in one statement: each step of one
hands the interpreter's lock to the loop and back."""

FIND = """
SELECT key, version, value FROM rows INDEXED BY rows_by_alias
WHERE tbl = ? AND alias IN (SELECT value FROM json_each(?)) AND alias <> '' ORDER BY key
"""

_T = TypeVar("_T")


class _Job(NamedTuple):
    """Work for the writer's thread.

    Attributes:
        run: does it, within a transaction.
        done: gets its result, in the event loop.
    """

    run: Callable[[sqlite3.Connection], Any]
    done: "asyncio.Future[Any]"


def _deliver(jobs: Sequence[_Job], results: Sequence[object]) -> None:
    """Hand out results, exceptions among them."""
    for job, result in zip(jobs, results, strict=True):
        if job.done.done():  # the caller has given up
            continue
        if isinstance(result, BaseException):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)


class SqliteStore:
    """A store in one SQLite file; it holds keys, and is made, and kept, with mode 0600.

    Args:
        path: of the file, made if need be; ``:memory:`` for none.
    """

    shared = True
    recheck: float = 0.25  # a look takes some 30 microseconds, and there is no other news

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._decoder = Decoder(self._path)
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._failing = False

    def __repr__(self) -> str:
        return f"SqliteStore({self._path!r})"

    async def open(self) -> None:
        """Open the file, and bring its schema up to date."""
        if self._reader is not None:
            raise UsageError(f"the records are open already: {self._path}")
        await asyncio.to_thread(self._open)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="mqttws-records", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._reader is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, COMMIT_TIMEOUT)
        self._writer.close()
        if self._reader is not self._writer:
            self._reader.close()
        self._reader = None

    async def load(self, *keys: tuple[Table[Any], str]) -> Loaded:
        """Return rows by their keys, in one statement."""
        now = time.time()
        if not keys:
            return Loaded((), now)
        named = json.dumps([(table.name, key) for table, key in keys])
        try:
            found = self._read.execute(LOAD, (named,)).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from None
        rows = [ABSENT] * len(keys)
        for number, version, text in found:
            table, key = keys[number]
            rows[number] = self._decoder.row(table, key, version, text)
        return Loaded(rows, now)

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        """Write all rows, or nothing if a version has moved; on the disk when it returns."""
        expected = [(table.name, key, version) for table, key, version in checks]
        expected += [
            (write.table.name, write.key, write.expected)
            for write in writes
            if write.expected is not None
        ]
        rows = [_row_of(write) for write in writes]
        named = json.dumps(expected)

        def run(database: sqlite3.Connection) -> bool:
            if expected and database.execute(MOVED, (named,)).fetchone()[0]:
                return False
            for row in rows:
                if len(row) == 2:
                    database.execute("DELETE FROM rows WHERE tbl = ? AND key = ?", row)
                else:
                    database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", row)
            return True

        done = await self._ask(run)
        if done:
            for write, row in zip(writes, rows, strict=True):
                if write.value is not None:
                    self._decoder.keep(write.table, write.key, Row(row[2], write.value))
        return done

    async def take(self, bucket: str, limit: int, seconds: float) -> int:
        """Count one event; the window begins with its first event."""
        now = time.time()

        def run(database: sqlite3.Connection) -> int:
            found = database.execute(
                "SELECT began, count FROM throttles WHERE bucket = ?", (bucket,)
            ).fetchone()
            began, count = found or (now, 0)
            if not began <= now < began + seconds:
                began, count = now, 0
                database.execute("DELETE FROM throttles WHERE began < ?", (now - 3600,))
            if count >= limit:
                return max(1, int(began + seconds - now + 0.999))
            row = (bucket, began, count + 1)
            database.execute("INSERT OR REPLACE INTO throttles VALUES (?, ?, ?)", row)
            return 0

        return await self._ask(run)

    async def page(
        self, table: Table[Any], after: str = "", limit: int = 1000, group: str | None = None
    ) -> Page:
        """Return rows in the order of keys; read by the writer's thread, since it may take long."""
        grouped = "" if group is None else "AND grp = ?"
        values = (table.name, *(() if group is None else (group,)), after, limit + 1)

        def run(database: sqlite3.Connection) -> list[tuple[str, int, str]]:
            return database.execute(
                f"SELECT key, version, value FROM rows WHERE tbl = ? {grouped} AND key > ?"  # noqa: S608 - no values
                " ORDER BY key LIMIT ?",
                values,
            ).fetchall()

        found = await self._ask(run)
        items = [
            (key, self._decoder.row(table, key, version, text))
            for key, version, text in found[:limit]
        ]
        return Page(items, len(found) > limit)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Do nothing: a file carries no news."""

    async def announce(self, news: str) -> None:
        """Do nothing: a file carries no news."""

    async def find(self, table: Table[Any], *aliases: str) -> Sequence[tuple[str, Row]]:
        """Return rows by their aliases."""
        try:
            found = self._read.execute(FIND, (table.name, json.dumps(aliases))).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from None
        return [(row[0], self._decoder.row(table, *row)) for row in found]

    def _open(self) -> None:
        try:
            self._writer = connect(self._path)
            try:
                prepare(self._writer, self._path)
            except BaseException:
                self._writer.close()
                raise
            self._reader = self._writer if self._path == ":memory:" else connect(self._path)
        except (sqlite3.Error, OSError) as error:
            raise store_failed(
                f"the records cannot be used: {self._path}: {reason_of(error)}", error
            ) from None

    # Reading and writing

    @property
    def _read(self) -> sqlite3.Connection:
        if self._reader is None:
            raise StoreFailed(f"the records are closed: {self._path}")
        return self._reader

    async def _ask(self, run: Callable[[sqlite3.Connection], _T]) -> _T:
        """Have something done in the writer's next transaction."""
        if self._reader is None:
            raise StoreFailed(f"the records are closed: {self._path}")
        job = _Job(run, self._loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                result: _T = await job.done
                return result
        except TimeoutError:
            raise StoreFailed(
                f"the records: nothing is written within {COMMIT_TIMEOUT:g} s: {self._path}",
                cause=Cause.OUT_OF_TIME,
            ) from None
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def _work(self) -> None:
        """Do jobs as they come, until None comes; the thread's whole life."""
        going_on, several = True, False
        while going_on:
            taken = [self._jobs.get()]
            if several:
                time.sleep(GATHERING)
            while len(taken) < MAX_BATCH:
                try:
                    taken.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            jobs = [job for job in taken if job is not None and not job.done.done()]
            going_on, several = None not in taken, len(jobs) > 1
            if jobs:
                self._transact(jobs)

    def _transact(self, jobs: list[_Job]) -> None:
        database = self._writer
        try:
            database.execute("BEGIN IMMEDIATE")
            results = [job.run(database) for job in jobs]
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            if len(jobs) > 1:  # one of them may be too large for the room that is left
                for job in jobs:
                    self._transact([job])
                return
            results = [error]
        except BaseException as error:  # the thread goes on, and the caller is answered
            if database.in_transaction:
                database.execute("ROLLBACK")
            results = [error] * len(jobs)
        if self._failing and not isinstance(results[0], BaseException):
            self._failing = False
            logger.info("the records are written again: %s", self._path)
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(_deliver, jobs, results)

    def _failed(self, error: sqlite3.Error) -> StoreFailed:
        """Return the failure; the first of a row is logged. SQLite's error holds no values."""
        reason = reason_of(error)
        if not self._failing:
            self._failing = True
            logger.error("the records cannot be used: %s: %s", self._path, reason)
        return store_failed(f"the records cannot be used: {self._path}: {reason}", error)


def _row_of(write: Write) -> tuple[Any, ...]:
    """Return the columns of a row; only its key where it is deleted."""
    table, key, value, _ = write
    if value is None:
        return table.name, key
    version = secrets.randbits(62) + 1  # another one than ever before, in all processes
    text = table.encode(value)
    return table.name, key, version, text, table.group(value), table.alias(value)
