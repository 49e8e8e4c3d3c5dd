"""PostgresStore: rows in a PostgreSQL database, for any number of front ends.

Knows PostgreSQL through psycopg 3 and its pool, which make and renew connections. Loads and commits
are batched: what comes while a statement is under way goes into the next one together. Times are
the database's. The extra ``postgres`` installs it.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ...dps.store import ABSENT, Check, Loaded, Page, Row, Table, Write
from ...errors import StoreDamaged, StoreFailed, StoreFull, UsageError
from ...hops import Cause
from ...text import short_line
from . import postgres_schema as sql
from .batching import Batcher
from .decoding import Decoder

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

    from .postgres_news import NewsListener
except ImportError:
    raise UsageError(
        "records in PostgreSQL need psycopg, which is not installed",
        hint="pip install 'mqttws[postgres]'",
    ) from None

logger: logging.Logger = logging.getLogger("mqttws.local")

CONNECTIONS = 6
"""Connections of one front end at most."""

WAIT_FOR_CONNECTION = 2.0
"""Seconds to wait for a connection while the database is away."""

STATEMENT_TIMEOUT = 5.0
"""Seconds within which a statement must be answered; its connection is given up then."""

OPEN_TIMEOUT = 10.0
"""Seconds within which the first connection must be made."""

_DISK_FULL = "53100"
_LOCK = 0x6D717474  # of the schema's migration: "mqtt"
_SESSION = (
    f"-c statement_timeout={STATEMENT_TIMEOUT * 1000:.0f} -c timezone=UTC"
    " -c default_transaction_isolation=read\\ committed"
)
_TCP = {"connect_timeout": "3", "tcp_user_timeout": "5000", "keepalives_idle": "5"}

_Conn = psycopg.AsyncConnection[tuple[Any, ...]]
_T = TypeVar("_T")
_Commit = tuple[list[Write], list[Check]]

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # we say it, once


class PostgresStore:
    """A store in a PostgreSQL database, in its schema ``mqttws``.

    Args:
        url: ``postgresql://user:password@host:port/database``; as libpq reads it.

    Raises:
        UsageError: the URL cannot be read.
    """

    shared = True
    recheck: float = 5.0

    def __init__(self, url: str) -> None:
        try:
            options = conninfo_to_dict(url)
        except psycopg.Error:
            options = None
        if options is None:  # raised out here: the other exception may show the password
            raise UsageError(
                "the URL of the records cannot be read; allowed: postgresql://user@host/database"
            )
        said = f"{options.get('options') or ''} {_SESSION}".strip()
        self._options: dict[str, Any] = {**_TCP, **options, "options": said}
        place = options.get("host") or options.get("hostaddr") or "localhost"
        self._name = f"PostgreSQL at {place}, database {options.get('dbname') or 'the default'}"
        self._pool: AsyncConnectionPool[_Conn] | None = None
        self._decoder = Decoder(self._name)
        self._loads: Batcher[Sequence[tuple[Table[Any], str]], Loaded] = Batcher(
            self._run_loads, lanes=2, limit=100
        )
        self._commits: Batcher[_Commit, bool] = Batcher(self._run_commits, lanes=2, limit=50)
        self._news: Batcher[str, None] = Batcher(self._run_announce, lanes=1, limit=200)
        self._listener = NewsListener(self._options)
        self._failing = False
        self._full = False  # the last failure was for want of room

    def __repr__(self) -> str:
        return f"PostgresStore({self._name!r})"

    async def open(self) -> None:
        """Connect, and bring the schema up to date."""
        if self._pool is not None:
            raise UsageError("the records are open already")
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._options)
                async with connection:
                    await self._warn_of_settings(connection)
                    await self._migrate(connection)
        except (psycopg.Error, OSError) as error:
            first, *_ = [*str(error).splitlines(), ""]  # the others are psycopg's advice
            reason = short_line(first) or type(error).__name__
        else:
            reason = ""
        if reason:
            raise StoreFailed(
                f"the records cannot be used: {self._name}: {reason}",
                cause=Cause.STORE_AWAY,
                hint="check that the database runs, and the URL's host, user and database",
            )
        pool = AsyncConnectionPool(
            kwargs={"autocommit": True, **self._options},
            min_size=1,
            max_size=CONNECTIONS,
            timeout=WAIT_FOR_CONNECTION,
            reconnect_timeout=1.0,  # then the next caller makes it try again
            open=False,
        )
        await pool.open()
        self._pool = pool

    async def close(self) -> None:
        """Answer what waits, and close the connections."""
        await self._listener.close()
        if self._pool is not None:
            await self._loads.close()
            await self._commits.close()
            await self._news.close()
            await self._pool.close(timeout=2.0)
            self._pool = None

    async def load(self, *keys: tuple[Table[Any], str]) -> Loaded:
        """Return rows by their keys, in one statement."""
        return await self._loads.ask(keys)

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        """Write all rows, or nothing if a version has moved; committed when it returns."""
        return await self._commits.ask((list(writes), list(checks)))

    async def take(self, bucket: str, limit: int, seconds: float) -> int:
        """Count one event; the window begins with its first event."""
        values = {"bucket": bucket, "limit": limit, "seconds": seconds}
        count, left = (await self._query(sql.TAKE, values))[0]
        return 0 if count <= limit else max(1, int(left + 0.999))

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with each NOTIFY, over a connection of its own that is made again."""
        self._listener.begin(heard)

    async def announce(self, news: str) -> None:
        """Notify all that listen, with what others announce at the same moment."""
        await self._news.ask(news)

    async def page(
        self, table: Table[Any], after: str = "", limit: int = 1000, group: str | None = None
    ) -> Page:
        """Return rows in the order of keys."""
        if group is None:
            found = await self._query(sql.PAGE, (table.name, after, limit + 1))
        else:
            found = await self._query(sql.PAGE_OF_GROUP, (table.name, after, group, limit + 1))
        items = [
            (key, self._decoder.row(table, key, version, text))
            for key, version, text in found[:limit]
        ]
        return Page(items, len(found) > limit)

    async def find(self, table: Table[Any], *aliases: str) -> Sequence[tuple[str, Row]]:
        """Return rows by their aliases."""
        found = await self._query(sql.FIND, (table.name, list(aliases)))
        return [(row[0], self._decoder.row(table, *row)) for row in found]

    # Statements

    async def _run_loads(self, batch: list[Sequence[tuple[Table[Any], str]]]) -> list[Loaded]:
        keys = [key for asked in batch for key in asked]
        names = [table.name for table, _ in keys] or [""]
        found = await self._query(sql.LOAD, (names, [key for _, key in keys] or [""]))
        rows: list[Row] = [ABSENT] * len(names)
        now = found[0][3]
        for number, version, text, _ in found:
            if version is not None:
                table, key = keys[number - 1]
                rows[number - 1] = self._decoder.row(table, key, version, text)
        answers = []
        at = 0
        for asked in batch:
            answers.append(Loaded(rows[at : at + len(asked)], now))
            at += len(asked)
        return answers

    async def _run_commits(self, batch: list[_Commit]) -> list[bool]:
        """Commit a batch in one transaction; look its outcome up where the answer is lost."""
        written = [_encode(writes, checks) for writes, checks in batch]
        kept = any(write.table.kept(write.key) for writes, _ in batch for write in writes)
        try:
            return await self._call_commit(written, sql.COMMIT_AND_TELL if kept else sql.COMMIT)
        except _AnswerLost:
            pass
        # Each write has a version of its own, so that what stands there now tells whether it took
        # place. The locks make this wait for a transaction that is still going on.
        lookups = [
            {"checks": [[*one["writes"][0][:2], one["writes"][0][2] or 0]], "writes": []}
            for one in written
        ]
        try:
            return await self._call_commit(lookups, sql.COMMIT_AND_TELL if kept else sql.COMMIT)
        except _AnswerLost as lost:
            raise self._failed(str(lost)) from None

    async def _run_announce(self, batch: list[str]) -> list[None]:
        await self._query(sql.ANNOUNCE, (batch,))
        return [None] * len(batch)

    async def _call_commit(self, batch: list[dict[str, Any]], statement: str) -> list[bool]:
        text = json.dumps(batch, separators=(",", ":"))

        async def run(connection: _Conn) -> list[bool]:
            cursor = await connection.execute(statement, (text,), prepare=True)
            row = await cursor.fetchone()
            assert row is not None, "the function returns one row"
            results: list[bool] = row[0]
            return results

        return await self._with_connection(run, writes=True)

    async def _query(self, statement: str, values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that may be repeated."""

        async def run(connection: _Conn) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement, values, prepare=True)).fetchall()

        for last in (False, False, True):  # connections that the database has closed meanwhile
            try:
                return await self._with_connection(run)
            except _AnswerLost as lost:
                if last:
                    raise self._failed(str(lost)) from None
        raise AssertionError("the last attempt returns or raises")

    async def _with_connection(
        self, run: Callable[[_Conn], Awaitable[_T]], *, writes: bool = False
    ) -> _T:
        if self._pool is None:
            raise StoreFailed("the records are closed")
        try:
            async with self._pool.connection() as connection:
                try:
                    async with asyncio.timeout(STATEMENT_TIMEOUT):
                        result = await run(connection)
                except TimeoutError:
                    await connection.close()  # the pool makes another one
                    raise
        except (PoolTimeout, PoolClosed):
            raise self._failed("no connection") from None
        except TimeoutError:
            raise _AnswerLost(f"no answer within {STATEMENT_TIMEOUT:g} s") from None
        except psycopg.OperationalError as error:
            if error.sqlstate == _DISK_FULL:
                raise self._failed("the disk is full", full=True) from None
            raise _AnswerLost(short_line(str(error))) from None
        except psycopg.Error as error:  # the message of the server may hold values
            raise self._failed(f"{type(error).__name__} {error.sqlstate or ''}".strip()) from None
        if self._failing and (writes or not self._full):  # a full disk can be read all the while
            self._failing = False
            logger.info("the records can be used again: %s", self._name)
        return result

    def _failed(self, reason: str, *, full: bool = False) -> StoreFailed:
        """Return the failure; the first of a row is logged."""
        self._full = full
        if not self._failing:
            self._failing = True
            logger.error("the records cannot be used: %s: %s", self._name, reason)
        message = f"the records cannot be used: {self._name}: {reason}"
        return StoreFull(message) if full else StoreFailed(message, cause=Cause.STORE_AWAY)

    # Opening

    async def _warn_of_settings(self, connection: _Conn) -> None:
        for name in ("fsync", "synchronous_commit"):
            row = await (await connection.execute(f"SHOW {name}")).fetchone()
            if row is not None and row[0] == "off":
                logger.warning(
                    "%s: %s is off: what was answered may be lost in a crash", self._name, name
                )

    async def _migrate(self, connection: _Conn) -> None:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute("CREATE SCHEMA IF NOT EXISTS mqttws")
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS mqttws.schema_version (version integer NOT NULL)"
            )
            cursor = await connection.execute("SELECT version FROM mqttws.schema_version")
            row = await cursor.fetchone()
            version = 0 if row is None else row[0]
            if version > sql.SCHEMA_VERSION:
                raise StoreDamaged(
                    f"the records cannot be used: {self._name}: schema {version};"
                    f" this program knows schema {sql.SCHEMA_VERSION}",
                    hint="use the newer mqttws that wrote them, or name another database",
                )
            if version == 0:
                await connection.execute(sql.SCHEMA)
                await connection.execute(
                    "INSERT INTO mqttws.schema_version VALUES (%s)", (sql.SCHEMA_VERSION,)
                )
            elif version < sql.SCHEMA_VERSION:
                await connection.execute(
                    "UPDATE mqttws.schema_version SET version = %s", (sql.SCHEMA_VERSION,)
                )


class _AnswerLost(Exception):
    """The connection broke: whether the statement took place is not known."""


def _encode(writes: Sequence[Write], checks: Sequence[Check]) -> dict[str, Any]:
    """Return a commit as the function takes it."""
    known = [[table.name, key, version] for table, key, version in checks]
    known += [[w.table.name, w.key, w.expected] for w in writes if w.expected is not None]
    rows: list[list[Any]] = []
    for table, key, value, _ in writes:
        if value is None:
            rows.append([table.name, key, None])
        else:
            version = secrets.randbits(62) + 1  # another one than ever before
            text = table.encode(value)
            rows.append([table.name, key, version, text, table.group(value), table.alias(value)])
    return {"checks": known, "writes": rows}
