"""Both clients against real brokers: every QoS, sessions, restarts, and cuts in chosen places."""

import asyncio
import random

import pytest

from mqttws import Backoff, ClientState, Will

from .relay import DOWN, UP, relay
from .sites import WAYS, Sites, lengths_of, session
from .test_reconnect import States, until
from .threaded import BOTH


@pytest.mark.rule("MQTT-3.1.2-4", "MQTT-7.1.2-1")
@pytest.mark.parametrize("kind", list(BOTH))
@pytest.mark.parametrize("way", WAYS)
async def test_the_whole_of_mqtt(site: Sites, way: str, kind: str) -> None:
    async with site(way) as place:
        will = Will("will/a", b"lost", 1)
        async with place.client(kind, "a", clean_session=False, will=will) as client:
            await client.publish("kept", b"retained", qos=1, retain=True)
            await client.subscribe([("kept", 1), ("t/#", 2)])
            messages = client.messages()
            message = await anext(messages)
            assert (message.payload, message.retain) == (b"retained", True)
            for qos in (0, 1, 2):
                for payload in (b"", b"x" * 100, bytes(range(256)) * 300):
                    await client.publish(f"t/{qos}", payload, qos=qos)
                    message = await anext(messages)
                    came_with = 2 if place.broker.raises else qos
                    assert (message.topic, message.payload) == (f"t/{qos}", payload)
                    assert message.qos == came_with
            await client.publish("kept", b"", qos=1, retain=True)
            assert (await anext(messages)).payload == b""
        async with place.client(kind, "b") as other:
            await other.subscribe("will/#", qos=1)
            for n in range(10):
                await other.publish("t/away", b"%d" % n, qos=1 + n % 2)
            async with relay(place.port) as way_in:
                options = {"clean_session": False, "will": will, "reconnect": None}
                again = place.client(kind, "a", port=way_in.port, **options)
                messages = again.messages()
                await again.connect()
                assert again.session_present
                seen = [(await anext(messages)).payload for _ in range(10)]
                assert sorted(seen) == [b"%d" % n for n in range(10)]
                way_in.cut()
                assert (await anext(other.messages())).payload == b"lost"
                await again.disconnect()


@pytest.mark.parametrize("kind", list(BOTH))
@pytest.mark.parametrize("way", WAYS)
async def test_a_broker_that_is_restarted(site: Sites, way: str, kind: str) -> None:
    states = States()
    async with site(way) as place:
        async with place.client(kind, "a", clean_session=False, on_state=states) as client:
            await client.subscribe("t", qos=2)
            await client.publish("t", b"0", qos=2)
            messages = client.messages()
            seen = [] if place.broker.outlived else [(await anext(messages)).payload]
            await place.broker.stop()
            await states.wait_for(ClientState.RECONNECTING)
            receipts = [client.publish_nowait("t", b"%d" % n, qos=2) for n in range(1, 6)]
            await place.broker.start()
            for receipt in receipts:
                await receipt.wait(20)
            while len(seen) < 6:
                seen.append((await anext(messages)).payload)
            assert seen == [b"%d" % n for n in range(6)]


@pytest.mark.parametrize("way", WAYS)
async def test_cuts_at_a_dozen_seeded_offsets(site: Sites, way: str) -> None:
    await cut_at_offsets(site, way, 12)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
async def test_cuts_at_100_seeded_offsets(site: Sites, way: str) -> None:
    await cut_at_offsets(site, way, 100)


async def cut_at_offsets(site: Sites, way: str, times: int) -> None:
    chance = random.Random(way)
    async with site(way) as place:
        lengths = await lengths_of(place, "measure")
        for number in range(times):
            async with relay(place.port) as carrier:
                direction = chance.choice([UP, DOWN])
                carrier.cut_after[direction] = chance.randrange(1, lengths[direction])
                await session(place, carrier, f"cut{number}")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_1000_random_cuts_under_load(site: Sites) -> None:
    await cuts_under_load(site, 1000)


@pytest.mark.rule("MQTT-4.3.2-1")
async def test_40_random_cuts_under_load(site: Sites) -> None:
    await cuts_under_load(site, 40)


async def cuts_under_load(site: Sites, cuts: int) -> None:
    chance = random.Random(1000)
    async with site("mosquitto-mqtt") as place, relay(place.port) as way:
        way.next_cut = lambda: {
            UP: chance.randrange(200, 4000) if way.connections < cuts else None,
            DOWN: chance.randrange(200, 4000) if way.connections < cuts else None,
        }
        seen: list[int] = []
        receipts = []
        client = place.client(
            "async", "load", port=way.port, clean_session=False, reconnect=Backoff(0, 0.001)
        )
        async with client:
            await client.subscribe([("t/1", 1), ("t/2", 2)])

            async def read() -> None:
                async for message in client.messages():
                    seen.append(int(message.payload))

            reading = asyncio.ensure_future(read())
            n = 0
            while way.connections < cuts or n % 50:
                receipts.append(client.publish_nowait(f"t/{1 + n % 2}", b"%d" % n, qos=1 + n % 2))
                n += 1
                if n % 10 == 0:
                    await receipts[-10].wait(20)
            for receipt in receipts:
                await receipt.wait(20)
            async with asyncio.timeout(20):
                await until(lambda: set(seen) == set(range(n)))
        await reading
        twos = [one for one in seen if one % 2]
        assert len(twos) == len(set(twos)), "QoS 2 came twice"
