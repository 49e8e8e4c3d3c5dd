"""Devices that do what MQTT allows and nobody expects, spoken by hand; the service stays whole."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mqttws import (
    AsyncLocalDps,
    ConnectionLost,
    SymmetricKey,
    TlsConfig,
    UsageError,
    provision_async,
)
from mqttws.dps import registration
from mqttws.dps.topics import poll_topic
from mqttws.local.device import DpsDevice
from mqttws.wire import (
    ConnAck,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    encode,
)

from .device import RESPONSES, Device, device, hello, register, wish

PUT = "$dps/registrations/PUT/iotdps-register/?"


@asynccontextmanager
async def subscribed(dps: AsyncLocalDps, key: str, name: str = "dev") -> AsyncIterator[Device]:
    async with device(dps) as peer:
        await peer.send(hello(dps, name, key), wish())
        assert await peer.receive() == ConnAck(False, 0)
        assert await peer.receive() == SubAck(1, [1])
        yield peer


async def answer(peer: Device, *, acknowledge: bool = True) -> tuple[str, Any]:
    """Return topic and body of the next answer."""
    packet = await peer.receive()
    assert isinstance(packet, Publish), packet
    if acknowledge and packet.packet_id is not None:
        await peer.send(PubAck(packet.packet_id))
    return packet.topic, json.loads(packet.payload)


async def ask(peer: Device, topic: str, body: bytes = b"") -> tuple[str, Any]:
    await peer.send(Publish(topic, body, 0))
    return await answer(peer)


async def nothing_comes(peer: Device) -> None:
    """Check that nothing has been sent to the device but what it has read."""
    await peer.send(PingReq())
    assert await peer.receive() == PingResp()


async def serves(dps: AsyncLocalDps) -> None:
    """Check that another device is assigned."""
    key = await dps.enroll_device("another")
    assignment = await provision_async(
        dps.id_scope,
        SymmetricKey("another", key),
        host=dps.host,
        port=dps.wss_port,
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
    )
    assert assignment.device_id == "another"


async def test_a_device_that_comes_twice_goes_on_over_its_newer_connection(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with subscribed(dps, key) as first:
            _, begun = await ask(first, PUT + "$rid=1")
            async with subscribed(dps, key) as second:
                # What the older one has begun, the newer may ask about; both operations end well.
                _, again = await ask(second, PUT + "$rid=1")
                with pytest.raises(ConnectionClosed):  # the newer one has proved its identity
                    await first.receive()
                assert again["operationId"] != begun["operationId"]
                for operation in (begun, again):
                    topic, body = await ask(second, poll_topic("2", operation["operationId"]))
                    assert topic == "$dps/registrations/res/200/?$rid=2"
                    assert body["registrationState"]["deviceId"] == "dev"
        await serves(dps)


async def test_an_operation_is_nobody_elses_and_is_not_there_before_it_begins(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        keys = {name: await dps.enroll_device(name) for name in ("one", "two")}
        async with subscribed(dps, keys["one"], "one") as one:
            async with subscribed(dps, keys["two"], "two") as two:
                topic, body = await ask(one, poll_topic("0", "5.x.y"))
                assert topic == "$dps/registrations/res/404/?$rid=0"
                assert body["errorCode"] == 404203
                operation = (await ask(one, PUT + "$rid=1"))[1]["operationId"]
                topic, body = await ask(two, poll_topic("1", operation))
                assert topic == "$dps/registrations/res/404/?$rid=1"
                assert body["errorCode"] == 404203
                assert "/200/" in (await ask(one, poll_topic("2", operation)))[0]


@pytest.mark.rule("DPS-T16/service")
async def test_a_huge_request_id_is_echoed_and_one_that_no_topic_can_hold_ends_the_connection(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with subscribed(dps, key) as peer:
            longest = "r" * (65_000 - len(PUT + "$rid="))
            topic, _ = await ask(peer, f"{PUT}$rid={longest}")
            assert topic == f"$dps/registrations/res/202/?$rid={longest}&retry-after=0"
            await peer.send(Publish(f"{PUT}$rid={longest}r", b"", 0))
            with pytest.raises(ConnectionClosed):
                await peer.receive()
        await serves(dps)


async def test_who_has_unsubscribed_gets_puback_and_no_answer(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with subscribed(dps, key) as peer:
            await peer.send(Unsubscribe(3, [RESPONSES]), register())
            assert await peer.receive() == UnsubAck(3)
            assert await peer.receive() == PubAck(2)
            await nothing_comes(peer)
            # The registration is made all the same; it can be asked about after all.
            await peer.send(wish())
            assert await peer.receive() == SubAck(1, [1])
            await nothing_comes(peer)  # what was lost is lost
            record = await dps.registration("dev")
            assert record is not None


@pytest.mark.parametrize("together", [True, False])
async def test_who_subscribes_twice_is_answered_once(
    local_dps: AsyncLocalDps, together: bool
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with subscribed(dps, key) as peer:
            wishes = [Subscription(RESPONSES, 1), Subscription(RESPONSES, 1)]
            if together:
                await peer.send(Subscribe(4, wishes))
                assert await peer.receive() == SubAck(4, [1, 1])
            else:
                await peer.send(wish())
                assert await peer.receive() == SubAck(1, [1])
            assert "/202/" in (await ask(peer, PUT + "$rid=1"))[0]
            await nothing_comes(peer)


async def test_one_refused_filter_among_good_ones_ends_the_connection(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            wishes = [Subscription(RESPONSES, 1), Subscription("$dps/registrations/+/#", 1)]
            await peer.send(hello(dps, "dev", key), Subscribe(1, wishes))
            assert await peer.receive() == ConnAck(False, 0)
            assert await peer.receive() == SubAck(1, [1, 0x80])
            with pytest.raises(ConnectionClosed):
                await peer.receive()


async def test_a_retained_request_is_a_request_and_nothing_is_retained(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with subscribed(dps, key) as peer:
            await peer.send(Publish(PUT + "$rid=1", b"", 0, retain=True))
            packet = await peer.receive()
            assert isinstance(packet, Publish)
            assert "/202/" in packet.topic
            assert not packet.retain
        async with subscribed(dps, key) as peer:
            await nothing_comes(peer)


async def test_a_request_that_is_sent_again_is_answered_again(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with subscribed(dps, key) as peer:
            for dup in (False, True):
                await peer.send(Publish(PUT + "$rid=1", b"", 1, packet_id=7, dup=dup))
                assert await peer.receive() == PubAck(7)
                assert "/202/" in (await answer(peer))[0]


@pytest.mark.parametrize("politely", [True, False])
async def test_a_will_is_nobodys_business(local_dps: AsyncLocalDps, politely: bool) -> None:
    async with local_dps as dps:
        keys = {name: await dps.enroll_device(name) for name in ("dev", "watcher")}
        async with subscribed(dps, keys["watcher"], "watcher") as watcher:
            async with device(dps) as peer:
                topic = "$dps/registrations/res/200/?$rid=1"
                await peer.send(hello(dps, "dev", keys["dev"], will=Will(topic, b"gone", 1)))
                assert await peer.receive() == ConnAck(False, 0)
                if politely:
                    await peer.send(Disconnect())
                else:
                    peer.socket.transport.abort()
                await peer.socket.wait_closed()
            await nothing_comes(watcher)
        await serves(dps)


async def test_who_leaves_in_the_middle_is_registered_all_the_same(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            # One frame: the service reads on although the device will not.
            packets: list[Packet] = [hello(dps, "dev", key), wish(), register(), Disconnect()]
            await peer.socket.send(b"".join(map(encode, packets)))
            await peer.socket.wait_closed()
        await dps.wait_for("assigned", "dev")  # a commit takes its time; the device has gone
        assert await dps.registration("dev") is not None
        await serves(dps)


async def test_what_comes_after_disconnect_is_not_read(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            packets: list[Packet] = [hello(dps, "dev", key), Disconnect(), register()]
            await peer.socket.send(b"".join(map(encode, packets)))
            await peer.socket.wait_closed()
        assert await dps.registration("dev") is None


@pytest.mark.rule("DPS-B-registration-id/service")
@pytest.mark.parametrize("name", ["dev.", "de v", "dév", "d" * 129])
async def test_a_registration_id_outside_the_rules_is_connack_2(
    local_dps: AsyncLocalDps, name: str
) -> None:
    async with local_dps as dps:
        username = f"{dps.id_scope}/registrations/{name}/api-version=2019-03-31"
        async with device(dps) as peer:
            key = await dps.enroll_device("dev")
            await peer.send(hello(dps, "dev", key, client_id=name, username=username))
            assert await peer.receive() == ConnAck(False, 2)
        await serves(dps)


@pytest.mark.rule("DPS-T17/device")
async def test_an_answer_that_comes_before_puback_is_an_answer(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our service sends PUBACK first, yet a device need not rely on it."""

    def carry_out(connection: Any, served: Any, event: Any) -> None:
        normal(connection, served, replace(event, packet_id=None))
        if event.packet_id is not None:
            connection.link.protocol.acknowledge(event.packet_id)

    async with local_dps as dps:
        normal: Any = DpsDevice._carry_out
        monkeypatch.setattr(DpsDevice, "_carry_out", carry_out)
        await serves(dps)


@pytest.mark.rule("DPS-B-oversize/device")
async def test_a_payload_that_is_too_large_is_an_error_and_not_asked_again(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        options: dict[str, Any] = {
            "host": dps.host,
            "port": dps.wss_port,
            "tls": TlsConfig(ca=dps.ca_file, only_ca=True),
            "payload": "x" * 200_000,
        }
        with pytest.raises(UsageError, match="98304"):
            await provision_async(dps.id_scope, SymmetricKey("dev", key), **options)
        # A service that takes less than we think says so by closing.
        monkeypatch.setattr(registration, "MAX_BODY", 10**6)
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionLost) as lost:
                await provision_async(dps.id_scope, SymmetricKey("dev", key), **options)
        assert lost.value.close_code == 1009
        await serves(dps)
