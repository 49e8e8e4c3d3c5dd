"""Clients are ordinary objects: order, other loops and threads, files that are damaged."""

import asyncio
import gc
import os
import sqlite3
import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqttws import (
    AsyncClient,
    Client,
    ConnectFailed,
    SqliteStore,
    StoreDamaged,
    StoreFailed,
    UsageError,
)
from mqttws.client.connector import checked_headers
from mqttws.client.store import Queued
from mqttws.protocol import Change
from mqttws.wire import Packet, PingReq, Publish, PubRel, encode

from ..net.rogue import listening
from .broker import broker

# Order


@pytest.fixture
def restless() -> Iterator[None]:
    """Have threads take turns after 50 µs: a race that needs luck happens then."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(50e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize(("threads", "count", "times"), [(2, 400, 1), (20, 60, 6)])
async def test_each_threads_publishes_are_sent_in_its_order(
    threads: int, count: int, times: int
) -> None:
    seen: dict[bytes, list[int]] = defaultdict(list)

    def note(direction: str, packet: Packet) -> None:
        if direction == ">" and isinstance(packet, Publish):
            thread, _, number = packet.payload.partition(b" ")
            seen[thread].append(int(number))

    def run(port: int) -> None:
        def work(client: Client, name: int) -> None:
            for number in range(count):
                client.publish("t", b"%d %d" % (name, number), qos=number % 2)

        with Client(f"mqtt://127.0.0.1:{port}", on_packet=note) as client:
            workers = [
                threading.Thread(target=work, args=(client, name)) for name in range(threads)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    for _ in range(times):
        async with broker(websocket=False) as server:
            await asyncio.to_thread(run, server.port)
        assert len(seen) == threads
        assert all(numbers == list(range(count)) for numbers in seen.values())
        seen.clear()


async def test_each_tasks_publishes_are_sent_in_its_order() -> None:
    async with broker(websocket=False) as server:
        async with AsyncClient(f"mqtt://127.0.0.1:{server.port}", max_outgoing=10) as client:

            async def work(name: int) -> None:
                for number in range(60):
                    await client.publish("t", b"%d %d" % (name, number), qos=number % 3)

            await asyncio.gather(*(work(name) for name in range(20)))
        seen: dict[bytes, list[int]] = defaultdict(list)
        for message in server.heard:
            thread, _, number = message.payload.partition(b" ")
            seen[thread].append(int(number))
    assert all(numbers == list(range(60)) for numbers in seen.values())


# Other loops and threads


def test_a_client_says_at_once_that_it_lives_in_another_loop() -> None:
    async def begin() -> tuple[AsyncClient, object]:
        made = broker(websocket=False)
        server = await made.__aenter__()
        client = AsyncClient(f"mqtt://127.0.0.1:{server.port}")
        await client.connect()
        return client, made

    async def go_on(client: AsyncClient) -> None:
        for call in (
            lambda: client.publish("t"),
            lambda: client.publish("t", qos=1),
            lambda: client.subscribe("t"),
            lambda: client.unsubscribe("t"),
            client.disconnect,
        ):
            with pytest.raises(UsageError, match="another event loop"):
                await call()
        with pytest.raises(UsageError, match="another event loop"):
            client.publish_nowait("t", qos=1)

    with asyncio.Runner() as first:
        client, made = first.run(begin())
        asyncio.run(go_on(client))
        first.run(client.publish("t", qos=1))  # nothing was harmed
        first.run(client.disconnect())
        first.run(made.__aexit__(None, None, None))  # type: ignore[attr-defined]


def test_a_client_says_that_asyncio_does_not_run() -> None:
    coroutine = AsyncClient("mqtt://127.0.0.1:1").connect()
    with pytest.raises(UsageError, match="no asyncio event loop"):  # as trio would step it
        coroutine.send(None)


async def test_a_call_from_another_thread_is_refused_and_harms_nothing() -> None:
    async with broker(websocket=False) as server:
        async with AsyncClient(f"mqtt://127.0.0.1:{server.port}") as client:

            def elsewhere() -> None:
                with pytest.raises(UsageError, match="another event loop"):
                    asyncio.run(client.publish("t", b"x"))

            await asyncio.to_thread(elsewhere)
            await client.publish("t", b"y", qos=1)
            assert [message.payload for message in server.heard] == [b"y"]


async def test_a_dropped_client_warns_and_leaves_nothing_open() -> None:
    async with broker(websocket=False) as server:
        client = AsyncClient(f"mqtt://127.0.0.1:{server.port}")
        await client.connect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
        assert any("dropped without disconnect" in str(one.message) for one in caught)
        async with asyncio.timeout(5):
            while not server.closed:
                await asyncio.sleep(0.01)


# The web's habits


async def test_headers_and_urls_may_be_made_for_each_connection() -> None:
    requests: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    count = 0

    async def url() -> str:
        nonlocal count
        count += 1
        return f"ws://127.0.0.1:{port}/mqtt?X-Amz-Signature=secret{count}"

    async with listening(handler) as port:
        made = AsyncClient(url, headers=lambda: {"Authorization": f"Bearer token{count}"})
        fixed = AsyncClient(f"ws://127.0.0.1:{port}/", headers={"X-Key": "k", "User-Agent": "me"})
        for client in (made, made, fixed):
            with pytest.raises(ConnectFailed) as caught:
                await client.connect()
            shown = repr(client) + str(caught.value) + repr(caught.value) + client.url
            assert "secret" not in shown
            assert "token" not in shown
    for number in (1, 2):
        assert f"GET /mqtt?X-Amz-Signature=secret{number} " in requests[number - 1]
        assert f"Authorization: Bearer token{number}\r\n" in requests[number - 1]
    assert "X-Key: k\r\n" in requests[2]
    assert requests[2].count("User-Agent: ") == 1


@pytest.mark.parametrize(
    "headers",
    [{"Upgrade": "x"}, {"sec-websocket-key": "x"}, {"a b": "x"}, {"A": "secret\r\nB: x"},
     {"A": "secret\0"}, {"A": 5}, ["A"]],
)  # fmt: skip
def test_headers_that_cannot_be_sent_are_refused_without_their_values(headers: object) -> None:
    with pytest.raises(UsageError) as caught:
        checked_headers(headers)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
    if isinstance(headers, dict):
        with pytest.raises(UsageError):
            AsyncClient("ws://127.0.0.1/", headers=headers)


async def test_a_function_for_the_url_that_fails_is_told() -> None:
    def url() -> str:
        raise KeyError("region")

    with pytest.raises(ConnectFailed, match="function for the URL failed: KeyError"):
        await AsyncClient(url).connect()


# Files


def store_with(path: Path, *statements: tuple[str, tuple[object, ...]]) -> SqliteStore:
    store = SqliteStore(path)
    store.load("c")
    packet = Publish("t", b"x", 2, packet_id=1)
    store.save([Change("put", 1, packet), Queued(1, Publish("t", b"y", 1, packet_id=1))])
    store.close()
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(*statement)
    database.commit()
    database.close()
    return store


PUBLISH = encode(Publish("t", b"x", 1, packet_id=3))


@pytest.mark.parametrize(
    ("statement", "values", "where"),
    [
        ("INSERT INTO outgoing VALUES (3, 9, ?, NULL)", (b"\x32\x05garb",), "packet_id 3"),
        ("INSERT INTO outgoing VALUES (3, 9, ?, NULL)", ("text",), "outgoing, packet_id 3"),
        ("INSERT INTO outgoing VALUES (3, 9, ?, NULL)", (b"",), "outgoing, packet_id 3"),
        ("INSERT INTO outgoing VALUES (4, 9, ?, NULL)", (PUBLISH,), "identifier is 3"),
        ("INSERT INTO outgoing VALUES (70000, 9, ?, NULL)", (PUBLISH,), "70000"),
        ("INSERT INTO outgoing VALUES (-5, 9, ?, NULL)", (PUBLISH,), "-5"),
        ("INSERT INTO outgoing VALUES (3, 9, ?, NULL)", (encode(PingReq()),), "PingReq"),
        ("INSERT INTO outgoing VALUES (3, 9, ?, ?)", (encode(PubRel(3)), b"?"), "packet_id 3"),
        ("INSERT INTO queue VALUES (7, ?)", (b"",), "queue, number 7"),
        ("INSERT INTO queue VALUES (7, ?)", (encode(PubRel(3)),), "queue, number 7"),
        ("INSERT INTO received VALUES (0, NULL)", (), "received, packet_id 0"),
        ("INSERT INTO received VALUES (3, 'x')", (), "received, packet_id 3"),
        ("INSERT INTO failed VALUES (7, ?, 'why')", (b"?",), "failed, number 7"),
        ("DROP TABLE queue", (), "no table queue"),
        ("PRAGMA user_version=99", (), "version 99"),
    ],
)  # fmt: skip
def test_a_damaged_row_or_table_is_named(
    tmp_path: Path, statement: str, values: tuple[object, ...], where: str
) -> None:
    store = store_with(tmp_path / "s", (statement, values))
    with pytest.raises(StoreDamaged) as caught:
        store.load("c")
    assert where in str(caught.value)
    assert str(tmp_path / "s") in str(caught.value)
    assert caught.value.hint


async def test_a_damaged_file_ends_connect_and_leaves_it_free(tmp_path: Path) -> None:
    store = store_with(tmp_path / "s", ("UPDATE queue SET packet = 5", ()))
    for _ in range(2):
        client = AsyncClient("mqtt://127.0.0.1:1", client_id="c", clean_session=False, store=store)
        with pytest.raises(StoreDamaged, match="queue, number 1"):
            await client.connect()


def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "s")
    database.executescript(
        """
        CREATE TABLE client (client_id TEXT NOT NULL);
        CREATE TABLE outgoing (
            packet_id INTEGER PRIMARY KEY, place INTEGER NOT NULL, packet BLOB NOT NULL);
        CREATE TABLE received (packet_id INTEGER PRIMARY KEY);
        CREATE TABLE queue (number INTEGER PRIMARY KEY, packet BLOB NOT NULL);
        INSERT INTO client VALUES ('c');
        """
    )
    database.execute("INSERT INTO outgoing VALUES (3, 1, ?)", (PUBLISH,))
    database.commit()
    database.close()
    store = SqliteStore(tmp_path / "s")
    assert list(store.load("c").session.outgoing) == [3]
    store.save([Change("put", 4, Publish("t", b"", 2, packet_id=4)), Change("put", 4, PubRel(4))])
    store.close()
    session = store.load("c").session
    store.close()
    assert (session.outgoing[4], session.accepted[4].packet_id) == (PubRel(4), 4)


def test_a_file_that_is_removed_under_way_is_noticed(tmp_path: Path) -> None:
    store = store_with(tmp_path / "s")
    store.load("c")
    (tmp_path / "s").unlink()
    with pytest.raises(StoreFailed, match="removed or replaced"):
        store.save([Change("delete", 1)])
    store.close()


def test_a_path_that_cannot_be_one_is_refused_and_an_open_file_is_made_private(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="path"):
        SqliteStore("a\0b")
    path = tmp_path / "s"
    path.touch(0o644)
    store = SqliteStore(path)
    store.load("c")
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system cannot open without links")
def test_a_store_is_not_opened_through_a_link(tmp_path: Path) -> None:
    """A link could lead to a file of somebody else, whose mode would be changed."""
    (tmp_path / "other").touch(0o644)
    (tmp_path / "s").symlink_to(tmp_path / "other")
    with pytest.raises(StoreFailed, match="cannot be opened"):
        SqliteStore(tmp_path / "s").load("c")
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o644
