"""A hub that ends and begins again on the same store: all that it has kept."""

import asyncio
import json

import pytest

from mqttws import AsyncLocalHub
from mqttws.hub.topics import telemetry_topic

from .hub_world import client, subscribe_all
from .stores.conftest import MakeStore, make_store, postgres  # noqa: F401 - fixtures
from .test_hub import next_of

DEADLINE = 10.0


@pytest.mark.rule("HUB-47")
async def test_a_restart_keeps_identities_sessions_queues_and_twins(
    make_store: MakeStore,  # noqa: F811 - the fixture
) -> None:
    async with AsyncLocalHub(records=make_store()) as hub:
        key = await hub.create_device("dev", initial_twin={"tags": {"floor": 1}})
        await hub.create_device("dev", module_id="mod")
        async with client(hub, key) as device:
            await subscribe_all(device)
            await device.publish(
                "$iothub/twin/PATCH/properties/reported/?$rid=1", b'{"a":[1,"\xc3\xbc"]}', qos=1
            )
            await next_of(device)
        await hub.patch_twin("dev", desired={"b": 2})
        for number in range(3):
            await hub.send("dev", str(number).encode(), {"n": None}, message_id=f"m{number}")
        before = await hub.twin("dev")
    async with AsyncLocalHub(records=make_store()) as hub:
        assert await hub.twin("dev") == before
        assert (await hub.twin("dev", "mod"))["deviceId"] == "dev"
        async with client(hub, key) as device:
            assert [(await next_of(device)).payload for _ in range(3)] == [b"0", b"1", b"2"]
            await device.publish("$iothub/twin/GET/?$rid=2", b"", qos=1)
            answer = await next_of(device)
            assert json.loads(answer.payload)["reported"]["a"] == [1, "ü"]
            await device.publish(telemetry_topic("dev"), b"", qos=1)
            async with asyncio.timeout(DEADLINE):
                while await hub.waiting("dev"):
                    await asyncio.sleep(0.01)
