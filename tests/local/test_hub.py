"""The local hub as a device and a service see it, over real TLS and MQTT."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mqttws import (
    AsyncClient,
    AsyncLocalDps,
    AsyncLocalHub,
    ConnectionLost,
    ConnectRefused,
    RequestTimedOut,
    SymmetricKey,
    UsageError,
    X509Certificate,
    provision_async,
)
from mqttws.errors import HubRequestRejected
from mqttws.hub.service.queue import MAX_MESSAGES
from mqttws.hub.service.throttles import Limits
from mqttws.hub.topics import (
    METHODS_FILTER,
    build_username,
    devicebound_filter,
    method_response_topic,
    parse_devicebound_topic,
    parse_method_topic,
    telemetry_topic,
)
from mqttws.local.x509 import DeviceAuthority
from mqttws.net.tls import TlsConfig
from mqttws.wire import ConnAck, Will

from . import x509_world
from .hub_world import Transport, client, subscribe_all, token

DEADLINE = 10.0


async def next_of(device: AsyncClient) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await anext(device.messages())


async def gone(device: AsyncClient) -> ConnectionLost:
    """Return the error with which the hub has closed a device's connection."""
    with pytest.raises(ConnectionLost) as lost:
        await next_of(device)
    return lost.value


# Through DPS


@pytest.mark.rule("DPS-T23/device", "HUB-12")
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize("kind", ["key", "group key", "certificate", "group certificate"])
async def test_a_device_goes_from_dps_to_the_hub_on_the_same_ports(
    kind: str, transport: Transport
) -> None:
    async with AsyncLocalDps(retry_after=0) as dps, AsyncLocalHub(dps) as hub:
        twin = {"tags": {"floor": 1}, "properties": {"desired": {"interval": 5}}}
        credential = await enroll(dps, kind, twin)
        tls = TlsConfig(ca=dps.ca_file, only_ca=True)
        port = dps.wss_port if transport == "wss" else dps.mqtts_port
        assignment = await provision_async(
            dps.id_scope, credential, host=dps.host, port=port, transport=transport, tls=tls
        )
        found = await hub.twin(assignment.device_id)
        assert found["tags"] == {"floor": 1}
        assert found["properties"]["desired"]["interval"] == 5
        way: Any = {"transport": transport, "host": dps.host, "port": port, "tls": tls}
        async with assignment.client_async(**way) as device:
            await device.publish(telemetry_topic(assignment.device_id), b"here", qos=1)
            assert (await hub.next_telemetry(DEADLINE)).payload == b"here"


async def enroll(dps: AsyncLocalDps, kind: str, twin: dict[str, Any]) -> Any:
    group_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": group_key}}
    if kind == "key":
        await dps.enroll({"registrationId": "dev", "attestation": keys, "initialTwin": twin})
        return SymmetricKey("dev", group_key)
    if kind == "group key":
        await dps.enroll({"enrollmentGroupId": "fleet", "attestation": keys, "initialTwin": twin})
        return SymmetricKey.from_group_key("dev", group_key)
    root = DeviceAuthority.root()
    issued = root.issue("dev")
    if kind == "certificate":
        record = x509_world.individual("dev", issued.certificate, deviceId="Own")
    else:
        record = x509_world.group("fleet", root)
    await dps.enroll(record | {"initialTwin": twin})
    return X509Certificate(issued.chain, issued.key)


@pytest.mark.rule("HUB-12")
async def test_an_assigned_device_moves_with_its_twin_to_another_hub() -> None:
    names = ("one.azure-devices.net", "two.azure-devices.net")
    async with (
        AsyncLocalDps(retry_after=0, hubs=names) as dps,
        AsyncLocalHub(dps, name=names[0]) as one,
        AsyncLocalHub(dps, name=names[1]) as two,
    ):
        hubs = {names[0]: one, names[1]: two}
        key = await dps.enroll_device("dev")
        first = await _provision(dps, key)
        here = hubs.pop(first)
        await here.patch_twin("dev", tags={"room": 7}, desired={"a": 1})
        ((other, there),) = hubs.items()
        record = {
            "registrationId": "dev",
            "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}},
            "iotHubs": [other],
        }
        await dps.enroll(record, replace=True)
        assert await _provision(dps, key) == other
        assert (await there.twin("dev"))["tags"] == {"room": 7}
        with pytest.raises(HubRequestRejected):
            await here.twin("dev")


async def _provision(dps: AsyncLocalDps, key: str) -> str:
    assignment = await provision_async(
        dps.id_scope,
        SymmetricKey("dev", key),
        host=dps.host,
        port=dps.wss_port,
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
    )
    return assignment.assigned_hub


async def test_several_hubs_share_the_ports_and_are_told_apart_by_the_user_name() -> None:
    async with (
        AsyncLocalDps() as dps,
        AsyncLocalHub(dps, name="a.azure-devices.net") as a,
        AsyncLocalHub(dps, name="b.azure-devices.net") as b,
    ):
        key_a, key_b = await a.create_device("dev"), await b.create_device("dev")
        async with client(a, key_a) as at_a, client(b, key_b) as at_b:
            await at_a.publish(telemetry_topic("dev"), b"a", qos=1)
            await at_b.publish(telemetry_topic("dev"), b"b", qos=1)
            assert (await a.next_telemetry(DEADLINE)).payload == b"a"
            assert (await b.next_telemetry(DEADLINE)).payload == b"b"
        with pytest.raises(ConnectRefused):
            await client(a, key_b).connect()
        with pytest.raises(UsageError):
            await AsyncLocalHub(dps, name="B.azure-devices.net").start()


# CONNECT


@pytest.mark.rule("HUB-1")
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_telemetry_arrives_with_its_properties(transport: Transport) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        properties = {"$.ct": "application/json", "room": "a b"}
        async with client(hub, key, transport=transport) as device:
            await device.publish(telemetry_topic("dev", properties), b'{"t":21}', qos=1)
            found = await hub.next_telemetry(DEADLINE)
    assert (found.device_id, found.payload, found.properties) == (
        "dev",
        b'{"t":21}',
        {"room": "a b"},
    )
    assert found.system_properties["content-type"] == "application/json"
    assert found.system_properties["iothub-connection-device-id"] == "dev"


@pytest.mark.rule("DPS-T20/service", "DPS-T23/service", "HUB-5")
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "DEV"},
        {"client_id": "other", "username": build_username("local-hub.azure-devices.net", "other")},
        {"username": build_username("elsewhere.azure-devices.net", "dev")},
        {"username": "nonsense"},
        {"password": "SharedAccessSignature sr=x&sig=y&se=1"},
        {"password": "text"},
        {"password": None},
        {"will": Will("devices/other/messages/events/", b"")},
    ],
)
async def test_a_wrong_connect_is_refused_with_5(changes: dict[str, Any]) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        with pytest.raises(ConnectRefused) as refused:
            await client(hub, key, **changes).connect()
    assert refused.value.return_code == 5


async def test_a_device_may_name_this_machine_instead_of_the_hub() -> None:
    async with AsyncLocalHub(host="localhost") as hub:
        key = await hub.create_device("dev")
        password = token(hub, "dev", key, at="localhost")
        username = build_username("localhost", "dev")
        async with client(hub, key, username=username, password=password) as device:
            await device.publish(telemetry_topic("dev"), b"", qos=1)


@pytest.mark.rule("HUB-4")
async def test_certificates_are_judged_by_thumbprint_or_by_ca() -> None:
    root, other = DeviceAuthority.root(), DeviceAuthority.root("another root")
    mine, signed, strange = root.issue("mine"), root.issue("signed"), other.issue("signed")
    async with AsyncLocalHub() as hub:
        await hub.create_device("named-otherwise", certificate=mine.chain)
        await hub.create_device("signed", ca_signed=True)
        hub.trust_ca(root.pem)
        for device_id, issued, good in (
            ("named-otherwise", mine, True),
            ("signed", signed, True),
            ("named-otherwise", signed, False),
            ("signed", mine, False),
            ("signed", strange, False),
        ):
            shown = {"certificate": issued.chain, "key": issued.key}
            device = client(hub, device_id=device_id, tls=shown)
            if good:
                async with device:
                    await device.publish(telemetry_topic(device_id), b"", qos=1)
            else:
                with pytest.raises(ConnectRefused):
                    await device.connect()


@pytest.mark.rule("HUB-11")
async def test_modules_connect_beside_their_device() -> None:
    async with AsyncLocalHub() as hub:
        with pytest.raises(HubRequestRejected):
            await hub.create_device("dev", module_id="mod")
        key = await hub.create_device("dev")
        module_key = await hub.create_device("dev", module_id="mod")
        module = client(
            hub,
            client_id="dev/mod",
            username=f"{hub.name}/dev/mod/?api-version=2021-04-12",
            password=token(hub, "dev/modules/mod", module_key),
        )
        async with client(hub, key) as device, module:
            await device.publish(telemetry_topic("dev"), b"d", qos=1)
            await module.publish(telemetry_topic("dev", module_id="mod"), b"m", qos=1)
            found = [await hub.next_telemetry(DEADLINE) for _ in range(2)]
        assert [(of.module_id, of.payload) for of in found] == [("", b"d"), ("mod", b"m")]
        await hub.delete_device("dev")
        with pytest.raises(HubRequestRejected):
            await hub.twin("dev", "mod")


@pytest.mark.rule("HUB-6")
async def test_a_new_connection_takes_over_and_the_old_one_ends_first() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as older:
            await older.subscribe(METHODS_FILTER)
            call = asyncio.create_task(hub.invoke("dev", "m"))
            await next_of(older)
            async with client(hub, key) as newer:
                await gone(older)
                with pytest.raises(HubRequestRejected) as refused:
                    await call
                assert refused.value.error_code == 400027
                await newer.publish(telemetry_topic("dev"), b"", qos=1)


@pytest.mark.rule("HUB-7")
@pytest.mark.parametrize("how", ["disable", "delete"])
async def test_a_disabled_or_deleted_device_is_cut_and_refused(how: str) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await (hub.disable_device("dev") if how == "disable" else hub.delete_device("dev"))
            await gone(device)
        with pytest.raises(ConnectRefused):
            await client(hub, key).connect()
        if how == "disable":
            await hub.disable_device("dev", enabled=True)
            async with client(hub, key):
                pass


@pytest.mark.rule("HUB-8")
async def test_a_token_ends_its_connection_when_it_expires() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key, password=token(hub, "dev", key, 1.5)) as device:
            await gone(device)


@pytest.mark.rule("HUB-10")
async def test_a_will_is_telemetry_unless_the_device_disconnects() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        will = Will(telemetry_topic("dev", {"a": "b"}), b"lost")
        async with client(hub, key, will=will):
            pass
        async with client(hub, key, will=will):
            hub.drop("dev")
            found = await hub.next_telemetry(DEADLINE)
        assert (found.payload, found.properties) == (
            b"lost",
            {"a": "b", "iothub-MessageType": "Will"},
        )
        with pytest.raises(RequestTimedOut):
            await hub.next_telemetry(0.05)


@pytest.mark.rule("HUB-18")
@pytest.mark.parametrize(
    ("topic", "qos"),
    [("devices/other/messages/events/", 1), ("anything", 1), (telemetry_topic("dev"), 2)],
)
async def test_a_message_that_no_device_may_send_ends_the_connection(topic: str, qos: Any) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            with pytest.raises(ConnectionLost):
                await device.publish(topic, b"x", qos=qos)


@pytest.mark.rule("HUB-16")
async def test_a_wrong_filter_ends_the_connection_without_suback() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            with pytest.raises(ConnectionLost):
                await device.subscribe("devices/other/messages/devicebound/#")


@pytest.mark.rule("HUB-22")
async def test_a_large_message_passes_and_a_larger_one_ends_the_connection() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await device.publish(telemetry_topic("dev"), b"x" * 262144, qos=1)
            with pytest.raises(ConnectionLost):
                await device.publish(telemetry_topic("dev"), b"x" * 262145, qos=1)


# Sessions


def record_in(seen: list[Any]) -> Callable[..., None]:
    return lambda *about: seen.extend(about)


def present(seen: list[Any]) -> list[bool]:
    """Return SessionPresent of each CONNACK."""
    return [of.session_present for of in seen if isinstance(of, ConnAck)]


@pytest.mark.rule("HUB-14")
async def test_all_subscriptions_outlive_the_connection() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        seen: list[Any] = []
        async with client(hub, key, on_packet=record_in(seen)) as device:
            assert present(seen) == [False]
            await subscribe_all(device)
        await hub.send("dev", b"while you were away")
        await hub.patch_twin("dev", desired={"never": "kept for an absent device"})
        async with client(hub, key, on_packet=record_in(seen)) as device:
            assert present(seen) == [False, True]
            message = await next_of(device)
            assert message.payload == b"while you were away"
            await device.publish("$iothub/twin/GET/?$rid=1", b"", qos=1)
            assert (await next_of(device)).topic == "$iothub/twin/res/200/?$rid=1"
            await hub.patch_twin("dev", desired={"a": 1})
            message = await next_of(device)
            assert json.loads(message.payload) == {"a": 1, "$version": 3}
            await answer_one(hub, device)


async def answer_one(hub: AsyncLocalHub, device: AsyncClient) -> None:
    call = asyncio.create_task(hub.invoke("dev", "m", {"a": 1}))
    message = await next_of(device)
    method = parse_method_topic(message.topic)
    assert method is not None
    assert json.loads(message.payload) == {"a": 1}
    await device.publish(method_response_topic(201, method.request_id), b'{"b":2}', qos=1)
    result = await call
    assert (result.status, result.payload) == (201, {"b": 2})


@pytest.mark.rule("HUB-15")
async def test_clean_session_1_keeps_the_queue_and_forgets_the_subscriptions() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await subscribe_all(device)
        await hub.send("dev", b"kept")
        seen: list[Any] = []
        async with client(hub, key, clean_session=True, on_packet=record_in(seen)) as device:
            assert present(seen) == [False]
            with pytest.raises(HubRequestRejected) as refused:
                await hub.invoke("dev", "m")
            assert refused.value.error_code == 404103
            await device.subscribe(devicebound_filter("dev"), qos=1)
            assert (await next_of(device)).payload == b"kept"


# Methods


@pytest.mark.rule("HUB-35")
async def test_a_call_waits_for_a_device_that_connects_and_subscribes() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        call = asyncio.create_task(hub.invoke("dev", "m", connect_timeout=DEADLINE))
        async with client(hub, key) as device:
            await device.subscribe(METHODS_FILTER)
            method = parse_method_topic((await next_of(device)).topic)
            assert method is not None
            await device.publish(method_response_topic(200, "unknown"), b"", qos=1)
            await device.publish(method_response_topic(200, method.request_id), b"", qos=0)
            assert (await call).payload is None


@pytest.mark.rule("HUB-36")
@pytest.mark.parametrize(
    ("subscribed", "options", "status", "code"),
    [
        (False, {}, 404, 404103),
        (False, {"connect_timeout": 0.05}, 404, 404103),
        (True, {"response_timeout": 0.05}, 504, 504101),
    ],
)
async def test_a_call_that_is_not_answered_has_an_end(
    subscribed: bool, options: dict[str, float], status: int, code: int
) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            if subscribed:
                await device.subscribe(METHODS_FILTER)
            with pytest.raises(HubRequestRejected) as refused:
                await hub.invoke("dev", "m", **options)
    assert (refused.value.status, refused.value.error_code) == (status, code)


# Messages to devices


@pytest.mark.rule("HUB-26")
async def test_the_51st_message_is_refused() -> None:
    async with AsyncLocalHub() as hub:
        await hub.create_device("dev")
        for number in range(MAX_MESSAGES):
            await hub.send("dev", str(number).encode())
        with pytest.raises(HubRequestRejected) as refused:
            await hub.send("dev", b"one too many")
    assert refused.value.error_code == 403004


@pytest.mark.rule("HUB-29")
async def test_messages_come_in_order_with_their_properties_and_feedback() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await device.subscribe(devicebound_filter("dev"), qos=1)
            for number in range(5):
                await hub.send(
                    "dev",
                    b"",
                    {"n": str(number), "none": None},
                    message_id=f"m{number}",
                    ack="full",
                )
            for number in range(5):
                parsed = parse_devicebound_topic((await next_of(device)).topic)
                assert parsed is not None
                assert parsed[1]["n"] == str(number)
                assert parsed[1]["none"] is None
                assert parsed[1]["$.to"] == "/devices/dev/messages/deviceBound"
        assert await hub.waiting("dev") == 0
        assert [(of.message_id, of.status) for of in hub.feedback()] == [
            (f"m{number}", "Success") for number in range(5)
        ]
        assert hub.feedback() == []


@pytest.mark.rule("HUB-27")
async def test_a_message_without_puback_comes_again_after_its_lock_and_at_reconnect() -> None:
    async with AsyncLocalHub(lock_seconds=0.05) as hub:
        key = await hub.create_device("dev")
        async with client(hub, key, manual_ack=True) as device:
            await device.subscribe(devicebound_filter("dev"), qos=1)
            await hub.send("dev", b"again")
            assert [(await next_of(device)).payload for _ in range(2)] == [b"again"] * 2
        async with client(hub, key) as device:
            assert (await next_of(device)).payload == b"again"
            while await hub.waiting("dev"):
                await asyncio.sleep(0)


@pytest.mark.rule("HUB-28")
async def test_with_counted_deliveries_a_message_is_given_up() -> None:
    async with AsyncLocalHub(lock_seconds=0.005, count_deliveries=True) as hub:
        key = await hub.create_device("dev")
        async with client(hub, key, manual_ack=True) as device:
            await device.subscribe(devicebound_filter("dev"), qos=1)
            await hub.send("dev", b"", message_id="m", ack="negative")
            async for event in hub.events(0):
                if getattr(event, "kind", "") == "messageEnded":
                    break
        assert [of.status for of in hub.feedback()] == ["DeliveryCountExceeded"]


@pytest.mark.rule("HUB-26")
async def test_an_expired_message_ends_without_any_device() -> None:
    async with AsyncLocalHub() as hub:
        await hub.create_device("dev")
        await hub.send("dev", b"", message_id="m", ack="full", expires_in=0.05)
        async with asyncio.timeout(DEADLINE):
            async for event in hub.events(0):
                if getattr(event, "kind", "") == "messageEnded":
                    break
        assert [of.status for of in hub.feedback()] == ["Expired"]
        assert await hub.waiting("dev") == 0


@pytest.mark.rule("HUB-27")
async def test_a_qos_0_subscription_completes_a_message_when_it_is_sent() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await device.subscribe(devicebound_filter("dev"), qos=0)
            await hub.send("dev", b"x")
            assert (await next_of(device)).qos == 0
            assert await hub.waiting("dev") == 0


# Throttles and faults


@pytest.mark.rule("HUB-33")
async def test_twin_requests_beyond_the_limit_are_answered_429() -> None:
    async with AsyncLocalHub(limits=Limits(twin_reads=1)) as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await subscribe_all(device)
            for number in range(2):
                await device.publish(f"$iothub/twin/GET/?$rid={number}", b"", qos=1)
            topics = [(await next_of(device)).topic for _ in range(2)]
    assert topics == ["$iothub/twin/res/200/?$rid=0", "$iothub/twin/res/429/?$rid=1"]


@pytest.mark.rule("HUB-41")
async def test_telemetry_beyond_the_limit_is_late_and_then_ends_the_connection() -> None:
    async with AsyncLocalHub(limits=Limits(telemetry=1000)) as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            for _ in range(10):
                await device.publish(telemetry_topic("dev"), b"", qos=1)
    async with AsyncLocalHub(limits=Limits(telemetry=0.1)) as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            with pytest.raises(ConnectionLost):
                await device.publish(telemetry_topic("dev"), b"", qos=1)


@pytest.mark.rule("HUB-41")
async def test_connects_beyond_the_limit_get_connack_3() -> None:
    async with AsyncLocalHub(limits=Limits(connects=1)) as hub:
        key = await hub.create_device("dev")
        async with client(hub, key):
            with pytest.raises(ConnectRefused) as refused:
                await client(hub, key).connect()
    assert refused.value.return_code == 3


@pytest.mark.rule("HUB-33", "HUB-42")
async def test_faults_strike_what_was_ordered() -> None:
    async with AsyncLocalHub(fault_seed=1) as hub:
        key = await hub.create_device("dev")
        hub.fault("refuse", "dev", return_code=3)
        with pytest.raises(ConnectRefused):
            await client(hub, key).connect()
        hub.fault("answer", operation="twin-get", status=503)
        hub.fault("drop-after", operation="telemetry")
        async with client(hub, key) as device:
            await subscribe_all(device)
            await device.publish("$iothub/twin/GET/?$rid=1", b"", qos=1)
            message = await next_of(device)
            assert message.topic == "$iothub/twin/res/503/?$rid=1"
            assert json.loads(message.payload)["errorCode"] == 503001
            await device.publish(telemetry_topic("dev"), b"kept", qos=1)
            await gone(device)
        assert (await hub.next_telemetry(DEADLINE)).payload == b"kept"
        hub.fault("drop", operation="telemetry")
        async with client(hub, key) as device:
            with pytest.raises(ConnectionLost):
                await device.publish(telemetry_topic("dev"), b"lost", qos=1)
        for wrong in (
            {"kind": "x"},
            {"kind": "refuse", "return_code": 9},
        ):
            with pytest.raises(UsageError):
                hub.fault(**wrong)
        assert not hub.cancel_faults()


async def test_no_key_and_no_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            await subscribe_all(device)
        with pytest.raises(ConnectRefused):
            await client(hub, key, password=token(hub, "dev", "x" * 40)).connect()
    assert key not in caplog.text
    assert "sig=" not in caplog.text
    assert "fits none of the keys" in caplog.text


async def test_a_hub_can_be_started_again_and_keeps_its_records() -> None:
    hub = AsyncLocalHub()
    async with hub:
        key = await hub.create_device("dev")
    async with hub:
        async with client(hub, key) as device:
            await device.publish(telemetry_topic("dev"), b"", qos=1)
        record = await hub.core.load(hub.core.key("dev"))
        assert record is not None
        assert replace(record.identity, revision=1) == record.identity
