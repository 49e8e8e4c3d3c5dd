"""What the delivery matrix found in the clients, each as one small case."""

import asyncio
import threading

import pytest

from mqttws import AsyncClient, Backoff, MemoryStore, Will
from mqttws.client.journal import Journal
from mqttws.client.store import Stored
from mqttws.protocol import Change, MessageReceived
from mqttws.wire import ConnAck, Connect, Packet, Publish, PubRec, PubRel

from ..pair import connected_client, events_of, said, say
from .broker import broker
from .relay import relay
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
