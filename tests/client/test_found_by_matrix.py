"""What the delivery matrix found in the clients, each as one small case."""

import asyncio
import random
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.delivery_judge import Ledger
from mqttws import AsyncClient, Backoff, MemoryStore, Will
from mqttws.client.journal import Journal
from mqttws.client.store import Stored
from mqttws.protocol import Change, MessageReceived
from mqttws.wire import (
    ConnAck,
    Connect,
    Packet,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    encode,
)

from ..chaos import DOWN, Connection
from ..chaos_tap import Seen
from ..pair import connected_client, events_of, said, say
from .broker import broker
from .relay import relay
from .scripted import Peer, scripted
from .test_reconnect import until


@pytest.mark.parametrize("turns", range(4))
async def test_leaving_between_connack_and_the_first_use_sends_disconnect(turns: int) -> None:
    leaving: list[asyncio.Future[None]] = []
    async with broker(websocket=True) as server, relay(server.port) as way:
        way.watch = lambda *packet: None

        async def leave() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await client.disconnect()

        def on_packet(direction: str, packet: Packet, *rest: object) -> None:
            if isinstance(packet, ConnAck) and way.connections == 2 and not leaving:
                leaving.append(asyncio.ensure_future(leave()))

        client = AsyncClient(
            f"ws://127.0.0.1:{way.port}/mqtt",
            client_id="c",
            will=Will("will", b"lost"),
            reconnect=Backoff(0, 0),
            on_packet=on_packet,
        )
        await client.connect()
        way.cut()
        await until(lambda: leaving)
        await leaving[0]
        assert way.history[1].left, "DISCONNECT was sent"


async def test_a_stored_message_whose_end_is_unknown_is_kept_where_no_call_waits_for_it() -> None:
    store = MemoryStore()
    message = Publish("t", b"x", 2, packet_id=5)
    store.stored.session.outgoing[5] = PubRel(5)
    store.stored.session.accepted[5] = message
    async with broker(websocket=True) as server:
        url = f"ws://127.0.0.1:{server.port}/mqtt"
        async with AsyncClient(url, client_id="c", store=store) as client:  # a clean session
            ((kept, reason),) = client.failed()
            assert (kept.topic, kept.payload, kept.qos) == ("t", b"x", 2)
            assert "unknown whether it arrived" in reason
        assert not server.heard


def test_a_message_that_is_released_unread_and_sent_again_is_acknowledged_twice() -> None:
    client = connected_client(Connect("c", clean_session=False))
    sent_twice = Publish("t", b"x", 2, packet_id=7)
    say(client, sent_twice, PubRel(7), sent_twice)
    assert sum(isinstance(event, MessageReceived) for event in events_of(client)) == 2
    said(client)
    client.acknowledge(7)
    client.acknowledge(7)
    assert said(client) == [PubRec(7), PubRec(7)]


class SlowStore:
    """A store whose writes take longer than leaving waits."""

    def __init__(self) -> None:
        self.writing = threading.Event()
        self.goes_on = threading.Event()

    def load(self, client_id: str) -> Stored:
        return Stored()

    def save(self, steps: object) -> None:
        self.writing.set()
        self.goes_on.wait(10)

    def close(self) -> None:
        pass


async def test_a_store_that_is_slower_than_leaving_raises_nothing_in_the_loop() -> None:
    heard: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: heard.append(context))
    store = SlowStore()
    journal = Journal(store, heard.append)
    await journal.open("c")
    journal.submit([Change("delete", 1)], lambda: None)
    journal.submit([Change("delete", 2)], lambda: None)  # waits for the first
    await journal.close(0.01)
    store.goes_on.set()
    await until(lambda: not journal._writing)
    assert not heard


class Sender:
    """A server's half of a session: QoS 2 messages in order, each until it is acknowledged."""

    def __init__(self, count: int, seed: int) -> None:
        self.waiting: dict[int, int] = {}  # numbers by packet identifier, without a PUBREC
        self.released: set[int] = set()
        self._next = 0
        self._count = count
        self._chance = random.Random(seed)

    async def script(self, peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        peer.send(*[self.message(one, dup=True) for one in self.waiting])
        peer.send(*map(PubRel, sorted(self.released)))
        for _ in range(self._chance.randint(3, 40)):
            while self._next < self._count and len(self.waiting) + len(self.released) < 10:
                taken = self.waiting.keys() | self.released
                packet_id = next(one for one in range(1, 100) if one not in taken)
                self.waiting[packet_id] = self._next
                self._next += 1
                peer.send(self.message(packet_id))
            match await peer.packet():
                case None:
                    return
                case PubRec(packet_id):
                    self.waiting.pop(packet_id, None)
                    self.released.add(packet_id)
                    peer.send(PubRel(packet_id))
                case PubComp(packet_id):
                    self.released.discard(packet_id)
                case Subscribe() as packet:
                    peer.answer(packet)  # behind the messages of the session
                case packet:
                    peer.answer(packet)
        peer.reset()

    def message(self, packet_id: int, dup: bool = False) -> Publish:
        return Publish("d/1", b"%d" % self.waiting[packet_id], 2, dup=dup, packet_id=packet_id)


RECEIVER = """
import asyncio, os, sys
from mqttws import AsyncClient, Backoff, Client, SqliteStore

kind, port, path = sys.argv[1:]
options = dict(client_id="c", clean_session=False, store=SqliteStore(path, synchronous="NORMAL"),
               reconnect=Backoff(0.0, 0.0))

def seen(message):
    os.write(1, message.payload + b"\\n")

async def receive():
    async with AsyncClient(f"mqtt://127.0.0.1:{port}", **options) as client:
        await client.subscribe("d/#", 2)
        async for message in client.messages():
            seen(message)

if kind == "async":
    asyncio.run(receive())
with Client(f"mqtt://127.0.0.1:{port}", **options) as client:
    client.subscribe("d/#", 2)
    for message in client.messages():
        seen(message)
"""


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 9))]
)
async def test_what_is_handed_out_stays_in_order_over_cuts_and_killed_processes(
    tmp_path: Path, kind: str, seed: int
) -> None:
    chance, count = random.Random(seed), 80
    seen: list[int] = []
    lives = 0
    async with scripted(Sender(count, seed).script) as port:
        while count - 1 not in seen:
            lives += 1
            patience = chance.randint(1, count // 2)
            receiver = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RECEIVER, kind, str(port), str(tmp_path / "s"),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert receiver.stdout is not None
            async with asyncio.timeout(30):
                while patience and count - 1 not in seen:
                    seen.append(int(await receiver.stdout.readline()))
                    patience -= 1
            receiver.kill()
            seen += map(int, (await receiver.stdout.read()).split())
            await receiver.wait()
    assert list(dict.fromkeys(seen)) == list(range(count))
    assert len(seen) < count + lives, "only the last one before a kill may come again"


def test_a_server_that_sends_a_later_message_first_is_seen_over_connections() -> None:
    def watch(number: int, ident: str, packet_id: int) -> None:
        body = encode(Publish("d/1", ident.encode().ljust(24), 2, packet_id=packet_id))[2:]
        ledger.watch(Connection(number, 0.0), DOWN, Seen("PUBLISH", 4, body, 0), True)

    ledger = Ledger(DOWN)
    watch(1, "2-39-2", 3)
    watch(2, "2-39-2", 3)
    assert not ledger.disordered
    for count in range(2):
        watch(3, f"2-39-{count}", 4 + count)
    watch(3, "2-39-3", 9)
    assert ledger.disordered == {"2-39-0", "2-39-1", "2-39-3"}  # and 2 is owed before 3
