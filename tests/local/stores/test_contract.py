"""What every store promises, and each one alone: files, schemas, settings."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mqttws import StoreFailed, UsageError
from mqttws.dps.store import ABSENT, Check, Row, Store, Table, Write
from mqttws.dps.tables import DEVICES
from mqttws.errors import StoreDamaged
from mqttws.local.stores import open_store, sqlite_file
from mqttws.local.stores import sqlite as sqlite_module

from .cluster import Cluster
from .conftest import MakeStore, clear, opened

THINGS: Table[Any] = Table(
    "thing",
    json.dumps,
    json.loads,
    group=lambda thing: str(thing.get("group", "")),
    alias=lambda thing: str(thing.get("alias", "")),
)


async def row(store: Store, key: str) -> Row:
    return (await store.load((THINGS, key))).rows[0]


async def test_a_row_is_absent_then_there_then_changed_then_gone(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        assert await row(store, "a") == ABSENT
        assert await store.commit([Write(THINGS, "a", {"n": 1}, 0)])
        first = await row(store, "a")
        assert (first.value, first.version > 0) == ({"n": 1}, True)
        assert await store.commit([Write(THINGS, "a", {"n": 2}, first.version)])
        second = await row(store, "a")
        assert second.value == {"n": 2}
        assert second.version not in (0, first.version)
        assert await store.commit([Write(THINGS, "a", None, second.version)])
        assert await row(store, "a") == ABSENT


async def test_what_has_moved_is_not_written_and_nothing_with_it(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        assert await store.commit([Write(THINGS, "a", {"n": 1}, 0)])
        version = (await row(store, "a")).version
        for writes, checks in (
            ([Write(THINGS, "b", {}, 0), Write(THINGS, "a", {"n": 9}, version + 1)], []),
            ([Write(THINGS, "b", {}, 0), Write(THINGS, "a", {"n": 9}, 0)], []),
            ([Write(THINGS, "b", {}, None)], [Check(THINGS, "a", version + 1)]),
            ([Write(THINGS, "b", {}, None)], [Check(THINGS, "c", version)]),
            ([Write(THINGS, "b", {}, None), Write(THINGS, "a", None, version + 1)], []),
        ):
            assert not await store.commit(writes, checks)
            assert await row(store, "b") == ABSENT
            assert (await row(store, "a")).value == {"n": 1}
        checks = [Check(THINGS, "a", version), Check(THINGS, "c", 0)]
        assert await store.commit([Write(THINGS, "b", {}, None)], checks)


async def test_a_deleted_row_that_comes_back_has_another_version(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        assert await store.commit([Write(THINGS, "a", {"n": 1}, 0)])
        version = (await row(store, "a")).version
        assert await store.commit([Write(THINGS, "a", None)])
        assert await store.commit([Write(THINGS, "a", {"n": 1}, 0)])
        assert not await store.commit([Write(THINGS, "a", {"n": 2}, version)])


async def test_rows_of_one_load_come_in_order_and_with_the_time(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        await store.commit([Write(THINGS, key, {"key": key}) for key in ("a", "ü", 'q"\n\\')])
        keys = ["x", 'q"\n\\', "a", "a", "ü"]
        loaded = await store.load(*((THINGS, key) for key in keys))
        assert [found.value and found.value["key"] for found in loaded.rows] == [None, *keys[1:]]
        again = await store.load()
        assert not again.rows
        assert 1_600_000_000 < loaded.now <= again.now


async def test_of_two_front_ends_one_is_faster(make_store: MakeStore) -> None:
    async with opened(make_store()) as one, opened(make_store()) as other:
        for turn in range(20):
            before = await row(one, "a")
            assert (await row(other, "a")).version == before.version
            done = await asyncio.gather(
                one.commit([Write(THINGS, "a", {"by": 1, "n": turn}, before.version)]),
                other.commit([Write(THINGS, "a", {"by": 2, "n": turn}, before.version)]),
            )
            assert sorted(done) == [False, True]
            found = (await row(one, "a")).value
            assert found == {"by": 1 if done[0] else 2, "n": turn}


async def test_counters_of_many_writers_lose_nothing(make_store: MakeStore) -> None:
    async with opened(make_store()) as one, opened(make_store()) as other:

        async def count(store: Store, times: int) -> None:
            for _ in range(times):
                while True:
                    before = await row(store, "n")
                    n = (before.value or {"n": 0})["n"] + 1
                    if await store.commit([Write(THINGS, "n", {"n": n}, before.version)]):
                        break

        await asyncio.gather(*(count(store, 10) for store in (one, other) * 4))
        assert (await row(one, "n")).value == {"n": 80}


async def test_writers_and_checkers_of_each_others_rows_do_not_lock_up(
    make_store: MakeStore,
) -> None:
    async with opened(make_store()) as one, opened(make_store()) as other:

        async def work(store: Store, mine: str, theirs: str) -> None:
            for _ in range(20):
                version = (await row(store, theirs)).version
                await store.commit([Write(THINGS, mine, {})], [Check(THINGS, theirs, version)])

        async with asyncio.timeout(30):
            await asyncio.gather(
                *(work(one, "a", "b") for _ in range(4)), *(work(other, "b", "a") for _ in range(4))
            )


async def test_pages_follow_the_keys(make_store: MakeStore) -> None:
    keys = [f"k{number:03}" for number in range(25)]
    async with opened(make_store()) as store:
        await store.commit(
            [
                Write(THINGS, key, {"group": "even" if n % 2 == 0 else ""})
                for n, key in enumerate(keys)
            ]
        )
        seen, after, more = [], "", True
        while more:
            items, more = await store.page(THINGS, after, 10)
            seen += [key for key, _ in items]
            after = seen[-1]
        assert seen == keys
        items, more = await store.page(THINGS, "k003", 3, group="even")
        assert ([key for key, _ in items], more) == (["k004", "k006", "k008"], True)
        items, more = await store.page(THINGS, "k019", 3, group="even")
        assert ([key for key, _ in items], more) == (["k020", "k022", "k024"], False)
        await store.commit([Write(THINGS, "k004", None)])
        assert (await store.page(THINGS, "k003", 1)).items[0][0] == "k005"


async def test_rows_are_found_by_their_aliases(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        named = {"c": "hub\ndev", "a": "hub\ndev", "b": "", "d": 'q"\\'}
        await store.commit([Write(THINGS, key, {"alias": name}) for key, name in named.items()])
        found = await store.find(THINGS, "hub\ndev")
        assert list(found) == [("a", await row(store, "a")), ("c", await row(store, "c"))]
        both = await store.find(THINGS, 'q"\\', "none", "hub\ndev", 'q"\\')
        assert [key for key, _ in both] == ["a", "c", "d"]
        assert not list(await store.find(THINGS, ""))
        assert not list(await store.find(THINGS))
        await store.commit([Write(THINGS, "a", {"alias": "other"})])
        assert [key for key, _ in await store.find(THINGS, "hub\ndev")] == ["c"]
        await store.commit([Write(THINGS, "a", None), Write(THINGS, "c", {"n": 1})])
        assert not list(await store.find(THINGS, "other", "hub\ndev"))


async def test_a_throttle_counts_for_all_front_ends(make_store: MakeStore) -> None:
    async with opened(make_store()) as one, opened(make_store()) as other:
        taken = [await store.take("register", 5, 60) for store in (one, other) * 4]
        assert taken[:5] == [0] * 5
        assert all(1 <= wait <= 60 for wait in taken[5:])
        assert await one.take("poll dev", 5, 10) == 0
        assert await other.take("short", 1, 0.2) == 0
        assert await one.take("short", 1, 0.2) == 1
        await asyncio.sleep(0.25)
        assert await one.take("short", 1, 0.2) == 0


async def test_everything_is_there_after_a_restart(
    make_store: MakeStore, request: pytest.FixtureRequest
) -> None:
    async with opened(make_store()) as store:
        await store.commit([Write(THINGS, f"k{n}", {"n": n}) for n in range(2500)])
        before = await store.page(THINGS, limit=5000)
    async with opened(make_store()) as store:
        assert (await store.page(THINGS, limit=5000)) == before


async def test_a_damaged_row_is_named_and_others_are_served(make_store: MakeStore) -> None:
    broken: Table[Any] = Table("device", str, lambda text: text)
    async with opened(make_store()) as store, opened(make_store()) as other:
        if not store.shared:
            return  # values in memory are never decoded
        for text in ('{"registration":{"x":1},"operations":[]}', "[" * 100_000, '{"operations":7}'):
            await other.commit([Write(broken, "dev", text)])
            with pytest.raises(StoreDamaged, match="device 'dev'"):
                await store.load((DEVICES, "dev"))
        assert (await store.load((DEVICES, "other"))).rows == [ABSENT]


async def test_a_row_is_what_another_user_has_made_of_it_since(make_store: MakeStore) -> None:
    """A store may keep what it has written, under the version that it gave it, and no longer."""
    async with opened(make_store()) as store, opened(make_store()) as other:
        await store.commit([Write(THINGS, "a", {"n": 1}, 0)])
        (row,) = (await store.load((THINGS, "a"))).rows
        assert row.value == {"n": 1}
        assert await other.commit([Write(THINGS, "a", {"n": 2}, row.version)])
        assert not await store.commit([Write(THINGS, "a", {"n": 3}, row.version)])
        (row,) = (await store.load((THINGS, "a"))).rows
        assert row.value == {"n": 2}
        assert await store.commit([Write(THINGS, "a", None)])
        assert await store.commit([Write(THINGS, "a", {"n": 4}, 0)], [Check(THINGS, "b", 0)])
        assert not await store.commit([Write(THINGS, "a", {"n": 5})], [Check(THINGS, "b", 1)])
        for one in (store, other):
            assert (await one.load((THINGS, "a"))).rows[0].value == {"n": 4}


async def test_a_closed_store_says_so(make_store: MakeStore) -> None:
    store = make_store()
    if store.shared:
        with pytest.raises(StoreFailed, match="closed"):
            await store.load((THINGS, "a"))
        with pytest.raises(StoreFailed, match="closed"):
            await store.commit([Write(THINGS, "a", {})])


# SQLite alone


async def test_a_file_is_for_its_owner_alone_and_never_a_link(tmp_path: Path) -> None:
    file = tmp_path / "dps.sqlite"
    file.touch(mode=0o644)
    async with opened(open_store(file)) as store:
        await store.commit([Write(THINGS, "a", {})])
        for path in map(Path, os.scandir(tmp_path)):
            assert path.stat().st_mode & 0o777 == 0o600, path
    assert os.listdir(tmp_path) == ["dps.sqlite"]
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(StoreFailed, match="records cannot be used"):
        await open_store(tmp_path / "link").open()


@pytest.mark.parametrize("damage", ["text", "folder", "nowhere", "cut", "newer", "foreign"])
async def test_a_file_that_cannot_be_used_is_told_and_left_as_it_is(
    tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "dps.sqlite"
    async with opened(open_store(file)) as store:
        await store.commit([Write(THINGS, f"k{n}", {"secret": "c2VjcmV0"}) for n in range(500)])
    said = "records cannot be used"
    if damage == "text":
        file.write_text("this is no database, but a long enough text " * 40)
        said = "no SQLite database"
    elif damage == "folder":
        file = tmp_path
    elif damage == "nowhere":
        file = tmp_path / "no" / "such"
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:3000])
        said = "damaged"
    else:
        statement = "PRAGMA user_version = 9" if damage == "newer" else "PRAGMA user_version = 0"
        with closing(sqlite3.connect(file)) as database:
            database.execute(statement)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        said = "schema 9" if damage == "newer" else "another program's database"
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(StoreFailed, match=said) as refused:
        await open_store(file).open()
    assert str(refused.value).count("\n") == 0
    assert "c2VjcmV0" not in str(refused.value)
    assert (file.read_bytes() if file.is_file() else b"") == before


async def test_records_of_schema_1_are_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "dps.sqlite"
    key = {"type": "symmetricKey", "symmetricKey": {"primaryKey": "AAECAwQFBgcICQoLDA0ODw=="}}
    registration = {
        "registration_id": "Dev-1", "assigned_hub": "hub", "device_id": "d", "substatus": "x",
        "created": "t", "last_updated": "t", "etag": "e", "enrollment_group_id": "Grp",
        "key_name": "primary", "payload": {"a": [1]},
    }  # fmt: skip
    with closing(sqlite3.connect(file)) as database:
        database.executescript(
            "CREATE TABLE enrollments (kind TEXT NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL,"
            " PRIMARY KEY (kind, id));"
            "CREATE TABLE registrations (id TEXT PRIMARY KEY, record TEXT NOT NULL);"
            "PRAGMA user_version = 1"
        )
        rows = [
            ("individual", "one", json.dumps({"registrationId": "One", "attestation": key})),
            ("group", "grp", json.dumps({"enrollmentGroupId": "Grp", "attestation": key})),
        ]
        database.executemany("INSERT INTO enrollments VALUES (?, ?, ?)", rows)
        database.execute(
            "INSERT INTO registrations VALUES ('dev-1', ?)", (json.dumps(registration),)
        )
        database.commit()
    from mqttws import AsyncLocalDps

    dps = AsyncLocalDps(records=file)
    async with opened(dps.store):
        one = await dps.directory.individual("ONE")
        assert one is not None
        assert one.registration_id == "One"
        assert await dps.directory.group("grp") is not None
        found = await dps.registration("dev-1")
        assert found is not None
        assert (found.assigned_hub, found.payload) == ("hub", {"a": [1]})
        assert await dps.directory.assigned("hub", "d") == found
        items = (await dps.store.page(DEVICES, group="grp")).items
        assert [key for key, _ in items] == ["dev-1"]


async def test_another_process_that_writes_for_long_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "LOCK_TIMEOUT", 0.05)
    file = tmp_path / "dps.sqlite"
    async with opened(open_store(file)) as store:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreFailed, match="another process uses them"):
                await store.commit([Write(THINGS, "a", {})])
            assert await row(store, "a") == ABSENT  # reading waits for nobody
        assert await store.commit([Write(THINGS, "a", {})])


async def test_a_commit_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "COMMIT_TIMEOUT", 0.05)
    file = tmp_path / "dps.sqlite"
    async with opened(open_store(file)) as store:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreFailed, match=r"nothing is written within 0\.05 s"):
                await store.commit([Write(THINGS, "a", {})])


# PostgreSQL alone


async def test_a_newer_schema_is_refused_with_its_number(postgres: Cluster) -> None:
    import psycopg

    clear(postgres)
    async with opened(open_store(postgres.url)):
        pass
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("UPDATE mqttws.schema_version SET version = 7")
    with pytest.raises(StoreFailed, match="schema 7; this program knows schema 2"):
        await open_store(postgres.url).open()
    clear(postgres)


async def test_two_front_ends_may_make_the_schema_at_once(postgres: Cluster) -> None:
    clear(postgres)
    stores = [open_store(postgres.url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


async def test_settings_that_can_lose_commits_are_warned_of(
    postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.url + "?options=-c%20synchronous_commit%3Doff"
    async with opened(open_store(url)):
        assert "synchronous_commit is off" in caplog.text
    assert "s3cret-word" not in caplog.text


@pytest.mark.parametrize(
    "change",
    [("s3cret-word", "s3cret-wrong"), ("/postgres", "/nowhere"), ("127.0.0.1:", "127.0.0.1:1")],
)
async def test_a_database_that_cannot_be_used_is_told_without_its_password(
    postgres: Cluster, change: tuple[str, str]
) -> None:
    store = open_store(postgres.url.replace(*change))
    with pytest.raises((StoreFailed, UsageError)) as refused:
        await store.open()
    assert str(refused.value).count("\n") == 0
    said = f"{refused.value!r} {refused.value.__cause__!r} {store!r}"
    assert "s3cret" not in said


def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    for url in (
        "postgresql://u:s3cret@[::1",
        "postgresql://u:s3cret@h/d?no=such",
        "mysql://u:s3cret@h",
    ):
        with pytest.raises(UsageError) as refused:
            open_store(url)
        assert "s3cret" not in f"{refused.value!r} {refused.value.__context__!r}"


def test_sqlite_finds_rows_by_their_index(tmp_path: Path) -> None:
    """Each request reads rows by their keys: that must not take longer the more there are."""
    database = sqlite_file.connect(str(tmp_path / "records"))
    sqlite_file.prepare(database, "records")
    for statement, values, index in (
        (sqlite_module.LOAD, ("[]",), "PRIMARY KEY"),
        (sqlite_module.FIND, ("device", "[]"), "INDEX rows_by_alias"),
    ):
        steps = [step[3] for step in database.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        assert any(step.startswith(f"SEARCH rows USING {index}") for step in steps), steps
        assert not any("SCAN rows" in step for step in steps), steps
    database.close()


async def test_any_number_of_rows_comes_in_one_load(make_store: MakeStore) -> None:
    async with opened(make_store()) as store:
        assert await store.commit([Write(THINGS, str(n), {"n": n}) for n in range(0, 3000, 2)])
        loaded = await store.load(*((THINGS, str(n)) for n in range(3000)))
        values = [row.value for row in loaded.rows]
        assert values == [None if n % 2 else {"n": n} for n in range(3000)]
