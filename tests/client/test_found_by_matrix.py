"""What the delivery matrix found in the clients, each as one small case."""

import asyncio

import pytest

from mqttws import AsyncClient, Backoff, MemoryStore, Will
from mqttws.wire import ConnAck, Packet, Publish, PubRel

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
