"""Packets before CONNACK at real brokers."""

import asyncio
import json
from collections.abc import Iterator
from typing import Literal

import pytest

from mqttws import AsyncClient, SymmetricKey, TlsConfig, provision_async
from mqttws.hops import Hop
from mqttws.net.dial import dial
from mqttws.net.hops import Step, Walk
from mqttws.net.target import parse_url
from mqttws.provisioning import plan
from mqttws.provisioning.conversation import Conversation
from mqttws.wire import Connect

from ..client.sites import Sites, site  # noqa: F401 - a fixture
from ..net.rogue import Certificates
from .scripted_dps import ASSIGNED, KEY

REQUESTS = "$dps/registrations/PUT/#"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    plan._in_turn.clear()
    yield
    plan._in_turn.clear()


async def answer_all(client: AsyncClient) -> None:
    async for message in client.messages(REQUESTS):
        request_id = message.topic.partition("$rid=")[2]
        await client.publish(f"$dps/registrations/res/200/?$rid={request_id}", json.dumps(ASSIGNED))


@pytest.mark.parametrize("way", ["mosquitto-mqtts", "mosquitto-ws", "amqtt-mqtts", "amqtt-ws"])
async def test_a_broker_takes_subscribe_before_its_connack(site: Sites, way: str) -> None:  # noqa: F811
    async with site(way) as place:
        target = parse_url(f"{place.scheme}://127.0.0.1:{place.port}/mqtt")
        walk = Walk(timeout=10.0, hop_timeout=5.0)
        stream = await dial(target, walk, tls=place.tls, proxy=None, max_message_size=2**20)
        packets: list[str] = []
        conversation = Conversation(
            Connect("dev", "somebody"),
            answer_timeout=5.0,
            pipelined=True,
            on_packet=lambda arrow, packet: packets.append(f"{arrow} {type(packet).__name__}"),
        )
        try:
            await conversation.open(stream)
            assert await conversation.subscribed() == 1
        finally:
            await conversation.leave(1.0)
    assert packets[:4] == ["> Connect", "> Subscribe", "< ConnAck", "< SubAck"]


@pytest.mark.parametrize("pipelined", ["subscribe", "register"])
@pytest.mark.parametrize("way", ["mosquitto-mqtts"])  # amqtt carries no topics that begin with $
async def test_a_registration_goes_through_a_broker_in_one_connection(
    site: Sites,  # noqa: F811
    certificates: Certificates,
    way: str,
    pipelined: Literal["subscribe", "register"],
) -> None:
    steps: list[Step] = []
    async with site(way) as place, place.client("async", "dps") as service:
        await service.subscribe(REQUESTS)
        answering = asyncio.ensure_future(answer_all(service))
        try:
            assigned = await provision_async(
                "0ne00BROKER",
                SymmetricKey("dev", KEY),
                host="127.0.0.1",
                port=place.port,
                transport="mqtts",
                pipelined=pipelined,
                tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
                proxy=None,
                timeout=15.0,
                on_step=steps.append,
            )
        finally:
            answering.cancel()
    assert assigned.device_id == "dev"
    assert sum(step.hop is Hop.CONNECT for step in steps) == 2  # begun and ended: one connection
