"""Messages that are cancelled while their answer is under way: both ends agree on identifiers.

A server that holds an identifier of QoS 2 takes the next message under it for a repeat, and drops
it; and what it holds takes a place of its window.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mqttws import AsyncClient, Backoff, DeliveryFailed, MemoryStore, SqliteStore
from mqttws.client import session_keeper
from mqttws.wire import Packet, Publish, PubRel, Subscribe

from ..chaos import DOWN, UP, Effect, Fate, Relay, relay
from ..net.rogue import Certificates
from ..peers.brokers import Aedes, Mosquitto, Program, node_modules, server_pem
from .scripted import Peer, scripted
from .test_field import running, watching
from .test_reconnect import until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

AT_ONCE = Backoff(0.0, 0.0)
STORES = ["none", "memory", "sqlite"]


def client_of(port: int, **options: object) -> AsyncClient:
    options.setdefault("client_id", "c")
    options.setdefault("reconnect", AT_ONCE)
    options.setdefault("clean_session", False)
    return AsyncClient(f"mqtt://127.0.0.1:{port}", **options)  # type: ignore[arg-type]


def store_of(name: str, path: Path) -> Any:
    return {"none": None, "memory": MemoryStore(), "sqlite": SqliteStore(path)}[name]


@pytest.fixture
def first_identifiers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sessions of this test begin with the newest in this list; at random while it is empty."""
    chosen: list[int] = []

    def randrange(end: int) -> int:
        return (chosen[-1] - 1) % end if chosen else random.randrange(end)

    monkeypatch.setattr(session_keeper, "random", SimpleNamespace(randrange=randrange))
    return chosen


@pytest.mark.parametrize("had_pubrec", [False, True])
@pytest.mark.parametrize("store", STORES)
async def test_a_cancelled_message_is_released_on_the_next_connection(
    tmp_path: Path, store: str, had_pubrec: bool, first_identifiers: list[int]
) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        if peer.number == 1:
            packet = await peer.publish()
            if had_pubrec:
                peer.answer(packet)
                heard.append(packet)
                assert isinstance(await peer.packet(), PubRel)
            heard.append(packet)
            await cancelled.wait()
            peer.reset()
            return
        await peer.serve(heard)

    cancelled = asyncio.Event()
    first_identifiers.append(7)
    async with scripted(script) as port:
        async with client_of(port, store=store_of(store, tmp_path / "s")) as client:
            receipt = client.publish_nowait("t", b"cancelled", qos=2)
            await until(lambda: len(heard) == 1 + had_pubrec)
            assert receipt.cancel()
            with pytest.raises(DeliveryFailed, match="cancelled"):
                await receipt
            heard.clear()
            cancelled.set()
            await until(lambda: heard)
            await client.publish("t", b"next", qos=2)
    assert heard[0] == PubRel(7), "ahead of every new message"
    assert [one.payload for one in heard if isinstance(one, Publish)] == [b"next"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_the_next_client_of_a_store_releases_what_was_cancelled(
    tmp_path: Path, store: str, first_identifiers: list[int]
) -> None:
    held: set[int] = set()
    taken: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish) and packet.qos == 2:
                assert packet.packet_id is not None
                if packet.packet_id not in held:
                    taken.append(packet.payload)
                held.add(packet.packet_id)
            elif isinstance(packet, PubRel):
                held.discard(packet.packet_id)
            if peer.number > 1 or not isinstance(packet, Publish):
                peer.answer(packet)

    kept = store_of(store, tmp_path / "s")
    async with scripted(script) as port:
        first_identifiers.append(7)
        async with client_of(port, store=kept) as client:
            receipts = [client.publish_nowait("t", b"cancelled", qos=qos) for qos in (2, 1, 2)]
            await until(lambda: held == {7, 9})
            for receipt in receipts:
                receipt.cancel()
            await client.flush()
        async with client_of(port, store=kept) as client:
            for n in range(3):
                await client.publish("t", b"%d" % n, qos=2)
        assert not held
        loop = asyncio.get_running_loop()
        async with client_of(port, store=kept) as client:
            began = loop.time()
        assert loop.time() - began < 2.5, "not the 3 s for leaving"
    assert taken == [b"cancelled", b"cancelled", b"0", b"1", b"2"]


async def test_what_was_cancelled_is_over_when_the_server_has_lost_the_session(
    tmp_path: Path, first_identifiers: list[int]
) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.serve(heard) if peer.number > 1 else await peer.publish()
        while peer.number == 1 and await peer.packet() is not None:
            pass

    async with scripted(script) as port:
        first_identifiers.append(7)
        async with client_of(port, store=SqliteStore(tmp_path / "s")) as client:
            client.publish_nowait("t", b"cancelled", qos=2).cancel()
            await client.flush()
        async with client_of(port, store=SqliteStore(tmp_path / "s")) as client:
            await client.publish("t", b"next", qos=2)
    assert heard[:2] == [Publish("t", b"next", 2, packet_id=7), PubRel(7)]
    store = SqliteStore(tmp_path / "s")
    assert not store.load("c").session.outgoing
    store.close()


async def test_a_clean_session_knows_nothing_of_what_was_cancelled(tmp_path: Path) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        while peer.number == 1 and await peer.packet() is not None:
            pass
        await peer.serve(heard)

    async with scripted(script) as port:
        async with client_of(port, store=SqliteStore(tmp_path / "s")) as client:
            client.publish_nowait("t", b"cancelled", qos=2).cancel()
            await client.flush()
        async with client_of(port, store=SqliteStore(tmp_path / "s"), clean_session=True) as client:
            await client.publish("t", b"next", qos=1)
            assert client.failed() == []
    assert [type(one) for one in heard[:1]] == [Publish]


async def test_a_server_that_leaves_for_a_release_is_not_asked_for_ever() -> None:
    connections, taken = 0, []

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections = peer.number
        await peer.greet(session_present=peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, PubRel):
                return  # FIN: against the standard
            if isinstance(packet, Publish):
                taken.append(packet)
                if packet.payload == b"cancelled":
                    continue
            peer.answer(packet)

    async with scripted(script) as port, client_of(port) as client:
        receipt = client.publish_nowait("t", b"cancelled", qos=2)
        await until(lambda: taken)
        receipt.cancel()
        await client.reconnect()
        others = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(3)]
        for other in others:
            await other.wait(20)
        await until(lambda: client.connected)
        await client.publish("t", b"last", qos=1)
    assert connections <= 9
    assert {one.payload for one in taken} == {b"cancelled", b"0", b"1", b"2", b"last"}


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_suspect_that_is_cancelled_offline_holds_up_none(qos: int) -> None:
    heard: list[bytes] = []
    down = asyncio.Event()

    async def script(peer: Peer) -> None:
        if peer.number > 3:
            await down.wait()
        await peer.greet(session_present=peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish):
                heard.append(packet.payload)
                if peer.number <= 3:
                    if packet.payload == b"2":
                        peer.reset()
                        return
                    continue
            peer.answer(packet)

    async with scripted(script) as port, client_of(port) as client:
        bad, *others = [client.publish_nowait("t", b"%d" % n, qos=qos) for n in range(3)]
        await until(lambda: heard.count(b"2") == 3 and not client.connected)
        bad.cancel()
        heard.clear()
        down.set()
        for other in others:
            await other.wait(5)
    assert heard == [b"1", b"2"]


async def test_a_cancelled_subscribe_keeps_its_identifier_until_its_answer(
    first_identifiers: list[int],
) -> None:
    asked: list[Subscribe] = []
    sent: list[int | None] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe):
                asked.append(packet)
                continue
            if isinstance(packet, Publish):
                sent.append(packet.packet_id)
            peer.answer(packet)

    first_identifiers.append(7)
    async with scripted(script) as port:
        client = AsyncClient(f"mqtt://127.0.0.1:{port}", client_id="c")
        async with client:
            task = asyncio.ensure_future(client.subscribe("t"))
            await until(lambda: asked)
            task.cancel()
            client._engine.keeper.session.begin_anew(6)
            await client.publish("t", b"x", qos=1)
    assert (asked[0].packet_id, sent) == (7, [8])


# Real servers


@pytest.fixture(params=["mosquitto", "aedes"])
def server(request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates) -> Program:
    if request.param == "aedes":
        return Aedes(tmp_path, node_modules(), server_pem(certificates))
    return Mosquitto(tmp_path, server_pem(certificates), window=20)


@asynccontextmanager
async def through_cuts(server: Any) -> AsyncIterator[Relay]:
    """Carry to a server; each connection but every second falls silent at its first PUBREL."""
    async with running(server), relay(server.mqtt) as way:
        way.fates = lambda: (
            Fate(Effect.SILENCE, UP, packet="PUBREL", passed=False, patience=60, hold=60)
            if way.connections % 2
            else None
        )
        yield way


async def test_what_is_cancelled_over_cuts_leaves_the_server_s_window_open(server: Any) -> None:
    async with through_cuts(server) as way, watching(server.mqtt, "t", 2) as seen:
        async with client_of(way.port) as client:
            await client.subscribe("unused")  # aedes: a session without subscriptions is no session
            for n in range(6):
                link = way.history[-1]
                receipts = [
                    client.publish_nowait("t", b"%d cancelled %d" % (n, m), qos=2) for m in range(5)
                ]
                await asyncio.wait_for(link.struck.wait(), 10)
                for receipt in receipts:
                    receipt.cancel()
                for _ in range(2):
                    count = way.connections
                    way.cut()
                    await until(lambda count=count: way.connections > count and client.connected)  # type: ignore[misc]
                    if way.connections % 2 == 0:
                        await client.publish("t", b"fence", qos=1)
            way.calm()
            way.cut()  # this one may be silent already, for a PUBREL that is sent again
            for n in range(30):
                await client.publish("t", b"%d" % n, qos=2)
        await until(lambda: {b"%d" % n for n in range(30)} <= seen.keys())
    assert all(times == 1 for payload, times in seen.items() if payload != b"fence")


VICTIM = """
import asyncio, os, sys
from mqttws import AsyncClient, SqliteStore

async def main(port, path, packet_way):
    def on_packet(way, packet):
        if way == ">" and type(packet).__name__ == packet_way:
            asked.set()

    asked = asyncio.Event()
    client = AsyncClient(f"mqtt://127.0.0.1:{port}", client_id="c", clean_session=False,
                         store=SqliteStore(path), on_packet=on_packet)
    async with client:
        await client.subscribe("unused")
        receipt = client.publish_nowait("t", b"go", qos=2)
        packet_id = receipt.packet_id
        await asked.wait()
        receipt.cancel()
        await client.flush()
        os.write(1, b"%d\\n" % packet_id)
        await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3]))
"""


@pytest.mark.parametrize("at", ["PUBREC", "PUBREL"])
async def test_a_killed_process_leaves_no_identifier_that_swallows_a_message(
    tmp_path: Path, server: Any, at: str, first_identifiers: list[int]
) -> None:
    way_of = {"PUBREC": DOWN, "PUBREL": UP}[at]
    async with running(server), watching(server.mqtt, "t", 2) as seen:
        async with relay(server.mqtt) as way:
            way.fates = lambda: Fate(
                Effect.SILENCE, way_of, packet=at, passed=False, patience=60, hold=60
            )
            victim = await asyncio.create_subprocess_exec(
                sys.executable, "-c", VICTIM, str(way.port), str(tmp_path / "s"),
                "Publish" if at == "PUBREC" else "PubRel",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert victim.stdout is not None
            try:
                packet_id = int(await asyncio.wait_for(victim.stdout.readline(), 20))
                await asyncio.wait_for(way.history[0].struck.wait(), 20)
            finally:
                os.kill(victim.pid, signal.SIGKILL)
                await victim.wait()
        first_identifiers.append(packet_id)
        async with client_of(server.mqtt, store=SqliteStore(tmp_path / "s")) as client:
            await client.publish("t", b"go", qos=2)
            await client.publish("t", b"end", qos=2)
        await until(lambda: seen[b"end"])
    assert seen[b"go"] == 2, "the one that the server had when it was cancelled, and the new one"
