"""What the delivery matrix found in the clients, each as one small case."""

import asyncio

import pytest

from mqttws import AsyncClient, Backoff, Will
from mqttws.wire import ConnAck, Packet

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
