"""Session stores: what is kept, in which order it is written, and what a killed process loses."""

import asyncio
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mqttws import (
    AsyncClient,
    Backoff,
    ClientState,
    ConnectionLost,
    SqliteStore,
    StoreFailed,
    UsageError,
)
from mqttws.client.store import Queued, Stored, Unqueued
from mqttws.protocol import Change
from mqttws.wire import Publish, PubRel

from ..conftest import require_program
from .broker import Broker, broker
from .relay import relay
from .test_reconnect import States, until


def client_of(port: int, path: Path, **options: object) -> AsyncClient:
    options.setdefault("clean_session", False)
    return AsyncClient(
        f"ws://127.0.0.1:{port}/mqtt",
        client_id="c",
        reconnect=Backoff(0, 0),
        store=SqliteStore(path),
        **options,  # type: ignore[arg-type]
    )


def left_in(path: Path) -> Stored:
    store = SqliteStore(path)
    try:
        return store.load("c")
    finally:
        store.close()


def publish(n: int, qos: int = 1) -> Publish:
    return Publish("t", b"%d" % n, qos, packet_id=n if qos else None)


def test_a_store_that_is_not_open_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not open"):
        SqliteStore(tmp_path / "me.db").save([])


def test_what_is_saved_is_loaded_in_its_order(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    assert not store.load("c").session.outgoing
    store.save([Change("put", n, publish(n, 2)) for n in (3, 1, 2)])
    store.save([Change("put", 3, PubRel(3)), Change("delete", 1), Change("received", 9)])
    store.save([Change("received", 8), Change("released", 8)])
    store.save([Queued(5, publish(1)), Queued(-1, publish(2, 0)), Queued(7, publish(3))])
    store.save([Unqueued(7)])
    store.close()
    found = left_in(tmp_path / "s")
    assert list(found.session.outgoing.items()) == [(2, publish(2, 2)), (3, PubRel(3))]
    assert found.session.received == {9: None}
    assert list(found.queue.items()) == [(-1, publish(2, 0)), (5, publish(1))]


def test_the_digest_of_what_was_received_is_kept_and_a_file_without_digests_is_taken(
    tmp_path: Path,
) -> None:
    store = SqliteStore(tmp_path / "s")
    store.load("c")
    store.save([Change("received", 9, digest=2**32 - 1)])
    store.close()
    assert left_in(tmp_path / "s").session.received == {9: 2**32 - 1}
    with closing(sqlite3.connect(tmp_path / "s")) as database:
        database.execute("ALTER TABLE received DROP COLUMN digest")
        database.execute("PRAGMA user_version=2")
        database.commit()
    assert left_in(tmp_path / "s").session.received == {9: None}


def test_a_session_that_is_cleared_is_gone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    store.load("c")
    store.save([Change("put", 1, publish(1)), Change("received", 9), Queued(1, publish(2))])
    store.save([Change("clear"), Change("forget")])
    store.close()
    found = left_in(tmp_path / "s")
    assert (found.session.outgoing, found.session.received) == ({}, {})
    assert len(found.queue) == 1


def test_a_file_belongs_to_one_client_and_to_one_at_a_time(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    store.load("c")
    with pytest.raises(StoreFailed, match="locked"):
        SqliteStore(tmp_path / "s", busy_timeout=0.01).load("c")
    store.close()
    with pytest.raises(UsageError, match="'c'"):
        SqliteStore(tmp_path / "s").load("other")
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    with pytest.raises(StoreFailed):
        SqliteStore(tmp_path / "no" / "s").load("c")
    (tmp_path / "text").write_text("this is no database" * 100)
    with pytest.raises(StoreFailed):
        SqliteStore(tmp_path / "text").load("c")
    with pytest.raises(UsageError):
        SqliteStore(tmp_path / "s", synchronous="OFF")


async def test_a_store_that_cannot_be_opened_fails_connect(tmp_path: Path) -> None:
    async with broker(websocket=True) as server:
        client = client_of(server.port, tmp_path / "no" / "s")
        with pytest.raises(StoreFailed):
            await client.connect()
        assert client.state is ClientState.NEW
        assert not server.links


@pytest.mark.rule("MQTT-4.1.0-1", "MQTT-4.4.0-1")
async def test_what_was_left_goes_out_with_the_next_client(tmp_path: Path) -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(way.port, tmp_path / "s", on_state=states) as client:
            way.stall()
            receipt = client.publish_nowait("t", b"1", qos=2)
            await client.flush()
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            client.publish_nowait("t", b"2", qos=1)
            await client.publish("t", b"3")
            await client.flush()
        with pytest.raises(ConnectionLost):
            await receipt
        way.resume()
        async with client_of(way.port, tmp_path / "s") as client:
            await client.publish("t", b"4", qos=1)
        assert [message.payload for message in server.heard] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("clean_session", [True, False])
async def test_a_store_serves_both_kinds_of_session(tmp_path: Path, clean_session: bool) -> None:
    async with broker(websocket=True) as server, relay(server.port, random.Random(1)) as way:
        chance = random.Random(2)
        way.next_cut = lambda: {
            "up": 400 + chance.randrange(400) if way.connections < 10 else None,
            "down": None,
        }
        path = tmp_path / "s"
        async with client_of(way.port, path, clean_session=clean_session) as client:
            receipts = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(60)]
            for receipt in receipts:
                await receipt.wait(40)
        assert {int(message.payload) for message in server.heard} == set(range(60))
    found = left_in(path)
    assert (found.session.outgoing, found.queue) == ({}, {})


async def test_a_store_that_fails_ends_the_client(tmp_path: Path) -> None:
    class Failing(SqliteStore):
        def save(self, steps: object) -> None:
            raise StoreFailed("the disk is full")

    async with broker(websocket=True) as server:
        client = client_of(server.port, tmp_path / "s")
        client._engine._options.store = Failing(tmp_path / "s")
        async with client:
            with pytest.raises(StoreFailed, match="full"):
                await client.publish("t", b"x", qos=1)
            assert client.state is ClientState.CLOSED
        assert not server.heard, "what is not stored is not sent"


# Killed processes

PROGRAM = """
import asyncio, os, sys
from mqttws import AsyncClient, Backoff, SqliteStore

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once: no kill cuts a line off

async def main(port, path, kind, first):
    client = AsyncClient(f"ws://127.0.0.1:{port}/mqtt", client_id="c", clean_session=False,
                         store=SqliteStore(path), reconnect=Backoff(0, 0.01))
    async with client:
        if kind == "receive":
            await client.subscribe("t", qos=2)
            tell("ready", os.getpid())
            async for message in client.messages():
                tell("got", int(message.payload), int(message.dup))
        qos = int(kind)
        tell("ready", os.getpid())
        for n in range(first, first + 100000):
            receipt = client.publish_nowait("t", str(n).encode(), qos=qos)
            await client.flush()
            tell("accepted", n)
            if n % 5 == 0:
                await receipt

for line in sys.stdin:  # Python starts once: each process that is to be killed is forked from here
    port, path, kind, first = line.split()
    child = os.fork()
    if not child:
        asyncio.run(main(int(port), path, kind, int(first)))
        os._exit(0)
    os.waitpid(child, 0)
    tell("ended")
"""


class Victims:
    """Runs the program's processes, one after another, and kills them."""

    def __init__(self, port: int, path: Path) -> None:
        self._where = f"{port} {path}"
        self._parent: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Victims":
        self._parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._parent is not None
        self._parent.kill()
        await self._parent.communicate()

    async def run_and_kill(self, kind: str, first: int, seconds: float) -> list[str]:
        """Run one, kill it so long after it is ready, and return what it printed."""
        assert self._parent is not None
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{self._where} {kind} {first}\n".encode())
        word, _, pid = (await self._parent.stdout.readline()).decode().partition(" ")
        assert word == "ready"
        await asyncio.sleep(seconds)
        os.kill(int(pid), signal.SIGKILL)
        lines = []
        while (line := (await self._parent.stdout.readline()).decode().strip()) != "ended":
            assert line, "the parent ended"
            lines.append(line)
        return lines


async def publish_through_kills(server: Broker, path: Path, kind: str, times: int) -> None:
    chance = random.Random(f"publish {kind}")
    accepted: set[int] = set()
    first = 0
    async with Victims(server.port, path) as victims:
        for _ in range(times):
            lines = await victims.run_and_kill(kind, first, chance.uniform(0.0, 0.08))
            told = [int(line.split()[1]) for line in lines]
            accepted.update(told)
            first = max(told, default=first) + 1000
    async with client_of(server.port, path) as client:
        await client.publish("fence", qos=int(kind))
    heard = [int(m.payload) for m in server.heard if m.topic == "t"]
    assert accepted <= set(heard), "lost"
    if kind == "2":
        assert len(heard) == len(set(heard)), "twice"


async def receive_through_kills(server: Broker, path: Path, times: int) -> None:
    chance = random.Random("receive")
    got: list[tuple[int, bool]] = []
    interrupted: set[int] = set()
    count = 0
    source = AsyncClient(f"ws://127.0.0.1:{server.port}/mqtt", client_id="source")

    async def run(seconds: float) -> None:
        lines = await victims.run_and_kill("receive", 0, seconds)
        told = [(int(n), dup == "1") for _, n, dup in (line.split() for line in lines)]
        got.extend(told)
        interrupted.update(n for n, _ in told[-1:])

    async with Victims(server.port, path) as victims, source:
        for _ in range(times):
            running = asyncio.ensure_future(run(chance.uniform(0, 0.08)))
            await until(lambda: "c" in server.sessions and server.sessions["c"].granted)
            for _ in range(20):
                await source.publish("t", b"%d" % count, qos=2)
                count += 1
            await running
        for _ in range(60):  # what the kills have left over
            if {n for n, _ in got} == set(range(count)):
                break
            await run(0.5)
    numbers = [n for n, _ in got]
    assert set(numbers) == set(range(count)), "lost"
    seen: set[int] = set()
    for n, dup in got:
        if n in seen:
            assert dup, f"{n} came again without its mark"
            assert n in interrupted, f"{n} came again, and its hand-over was not interrupted"
        seen.add(n)


@pytest.mark.rule("MQTT-4.3.2-1", "MQTT-4.3.3-1")
@pytest.mark.parametrize("kind", ["1", "2"])
async def test_a_killed_publisher_loses_nothing(tmp_path: Path, kind: str) -> None:
    async with broker(websocket=True) as server:
        await publish_through_kills(server, tmp_path / "s", kind, 6)


@pytest.mark.rule("MQTT-4.3.3-2")
async def test_a_killed_receiver_gets_again_only_what_was_interrupted(tmp_path: Path) -> None:
    async with broker(websocket=True) as server:
        await receive_through_kills(server, tmp_path / "s", 6)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["1", "2", "receive"])
async def test_200_kills(tmp_path: Path, kind: str) -> None:
    async with broker(websocket=True) as server:
        if kind == "receive":
            await receive_through_kills(server, tmp_path / "s", 200)
        else:
            await publish_through_kills(server, tmp_path / "s", kind, 200)


ONE_MESSAGE = """
import asyncio, sys
from mqttws import AsyncClient, SqliteStore

async def main():
    client = AsyncClient(f"mqtt://127.0.0.1:{sys.argv[1]}", client_id="c", clean_session=False,
                         store=SqliteStore(sys.argv[2]))
    async with client:
        await client.publish("t", b"the-payload", qos=2)

asyncio.run(main())
"""


async def test_the_file_is_synced_before_what_depends_on_it_is_sent(tmp_path: Path) -> None:
    strace = require_program("strace")
    log = tmp_path / "strace.log"
    async with broker(websocket=False) as server:
        process = await asyncio.create_subprocess_exec(
            strace, "-f", "-o", str(log), "-s", "5000",
            "-e", "trace=fdatasync,fsync,pwrite64,sendto,write,sendmsg",
            sys.executable, "-c", ONE_MESSAGE, str(server.port), str(tmp_path / "s"),
        )  # fmt: skip
        assert await process.wait() == 0
    calls = log.read_text().splitlines()
    stored = position(calls, r"pwrite64\(.*the-payload")
    sent = position(calls, r"send(to|msg)\(.*the-payload")
    released = position(calls, r"send(to|msg)\(\d+, \"b\\0*2")
    synced = [at for at, call in enumerate(calls) if re.search(r"f(data)?sync\(.*\) += 0", call)]
    resumed = [at for at, call in enumerate(calls) if re.search(r"f(data)?sync resumed", call)]
    assert any(stored < at < sent for at in synced + resumed), "\n".join(calls)
    assert any(sent < at < released for at in synced + resumed), "\n".join(calls)


def position(calls: list[str], pattern: str) -> int:
    found = [at for at, call in enumerate(calls) if re.search(pattern, call)]
    assert found, "\n".join(calls)
    return found[0]


def test_nothing_but_the_session_is_written(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    store.load("c")
    store.close()
    database = sqlite3.connect(tmp_path / "s")
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    finally:
        database.close()
    assert tables == {"client", "outgoing", "received", "queue", "failed"}
