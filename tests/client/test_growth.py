"""A client that lives long: neither messages nor reconnections leave objects behind."""

import asyncio
import gc
from collections import Counter

from mqttws import AsyncClient

from .broker import Broker, broker
from .test_reconnect import client_of
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

ROUNDS = 10
"""Reconnections between two counts, and messages of each QoS on each connection."""
FEW = 5
TIMERS = {"asyncio.events.TimerHandle", "_contextvars.Context", "traceback.StackSummary"}
"""Left out: asyncio keeps cancelled timers until there are a hundred of them, or their time."""


def objects() -> Counter[str]:
    """Return how many objects of each kind live, of the kinds that can hold others."""
    gc.collect()
    names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(name for name in names if name not in TIMERS)


async def use(client: AsyncClient) -> None:
    """Send messages of each QoS, awaited and not."""
    for qos in range(3):
        await client.publish("d", b"x" * 100, qos=qos)
    receipts = [client.publish_nowait("d", b"x", qos=n % 3) for n in range(ROUNDS)]
    for receipt in receipts:
        await receipt


async def reconnected(client: AsyncClient, server: Broker) -> None:
    before = len(server.links)
    server.last.stream.abort()
    while len(server.links) == before or not client.connected:
        await asyncio.sleep(0.001)


async def read(client: AsyncClient) -> None:
    async for _ in client.messages():
        pass


async def test_messages_and_reconnections_leave_no_objects_behind() -> None:
    async with broker(websocket=True) as server:
        async with client_of(server.port, clean_session=False) as client:
            await client.subscribe("d", 2)
            reading = asyncio.ensure_future(read(client))
            counts = []
            for _ in range(3):
                for _ in range(ROUNDS):
                    await reconnected(client, server)
                    await use(client)
                for kept in (server.heard, server.connects, server.closed):
                    kept.clear()
                del server.links[:-1]
                counts.append(objects())
        await reading
    more = counts[2] - counts[1]
    assert {name: number for name, number in more.items() if number > FEW} == {}
