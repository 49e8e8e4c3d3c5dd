"""The hub's service API over TLS on the WebSocket's port: by hand, and with the released SDK."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from yarl import URL

from mqttws import AsyncLocalHub
from mqttws.dps.sas import sign_token
from mqttws.hub.topics import (
    DESIRED_FILTER,
    METHODS_FILTER,
    devicebound_filter,
    method_response_topic,
    parse_devicebound_topic,
    parse_method_topic,
    telemetry_topic,
)
from mqttws.net.tls import TlsConfig

from .hub_world import client

DEADLINE = 10.0


def authorization(hub: AsyncLocalHub, policy: str = "iothubowner", seconds: int = 60) -> str:
    key = next(of.keys[0] for of in hub.core.policies if of.name == policy)
    return sign_token(f"{hub.host}:{hub.wss_port}", key, int(time.time()) + seconds, policy)


def tls_of(hub: AsyncLocalHub) -> ssl.SSLContext:
    return TlsConfig(ca=hub.dps.ca_file, only_ca=True).context()


async def ask(
    hub: AsyncLocalHub,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any, Any]:
    url = f"https://{hub.host}:{hub.wss_port}{path}"
    sent = {"Authorization": authorization(hub) if token is None else token} | (headers or {})
    data: dict[str, Any] = {"data": BytesIO(body)} if isinstance(body, bytes) else {"json": body}
    async with aiohttp.ClientSession() as session:
        async with session.request(
            method, URL(url, encoded=True), headers=sent, ssl=tls_of(hub), **data
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None, answer.headers


@pytest.mark.rule("HUB-43")
async def test_a_device_is_created_read_changed_and_deleted() -> None:
    async with AsyncLocalHub() as hub:
        status, made, headers = await ask(hub, "PUT", "/devices/d%201", {"deviceId": "d 1"})
        assert (status, made["errorCode"]) == (400, 400004)  # a blank is not allowed
        status, made, headers = await ask(hub, "PUT", "/devices/d%3A1?api-version=2021-04-12", {})
        assert status == 200
        assert made["deviceId"] == "d:1"
        assert headers["ETag"] == f'"{made["etag"]}"'
        keys = made["authentication"]["symmetricKey"]
        status, refused, headers = await ask(hub, "PUT", "/devices/d:1", {})
        assert (status, headers["iothub-errorcode"]) == (409, "DeviceAlreadyExists")
        changed = made | {"status": "disabled", "authentication": None}
        etag = {"If-Match": f'"{made["etag"]}"'}
        status, again, _ = await ask(hub, "PUT", "/devices/d:1", changed, headers=etag)
        assert (status, again["status"]) == (200, "disabled")
        assert again["authentication"]["symmetricKey"] == keys
        status, _, _ = await ask(hub, "PUT", "/devices/d:1", changed, headers=etag)
        assert status == 412
        assert (await ask(hub, "GET", "/devices?top=10"))[1][0]["deviceId"] == "d:1"
        status, found, _ = await ask(hub, "GET", "/statistics/devices")
        assert found == {"totalDeviceCount": 1, "enabledDeviceCount": 0, "disabledDeviceCount": 1}
        status, _, _ = await ask(hub, "DELETE", "/devices/d:1", headers={"If-Match": '"*"'})
        assert status == 204
        status, refused, _ = await ask(hub, "GET", "/devices/d:1")
        assert status == 404
        assert refused["Message"].startswith("ErrorCode:DeviceNotFound;")


@pytest.mark.rule("HUB-46")
@pytest.mark.parametrize(
    ("policy", "method", "path", "status"),
    [
        ("registryRead", "GET", "/devices", 200),
        ("registryRead", "PUT", "/devices/x", 401),
        ("service", "GET", "/devices", 401),
        ("service", "GET", "/twins/x", 404),
        ("device", "GET", "/twins/x", 401),
    ],
)
async def test_a_policy_opens_its_own_paths(
    policy: str, method: str, path: str, status: int
) -> None:
    async with AsyncLocalHub() as hub:
        token = authorization(hub, policy)
        assert (await ask(hub, method, path, {}, token=token))[0] == status


@pytest.mark.rule("HUB-46")
@pytest.mark.parametrize("how", ["none", "expired", "other key", "other host"])
async def test_a_wrong_signature_is_401(how: str) -> None:
    async with AsyncLocalHub() as hub, AsyncLocalHub() as other:
        token = {
            "none": "",
            "expired": authorization(hub, seconds=-1),
            "other key": authorization(other),
            "other host": sign_token("elsewhere", b"x" * 32, 2**32, "iothubowner"),
        }[how]
        assert (await ask(hub, "GET", "/devices", token=token))[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("GET", "/nothing", None, 404),
        ("PUT", "/devices/x", [], 400),
        ("PUT", "/devices/x", b"{", 400),
        ("PUT", "/devices/x", b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}", 400),
        ("PUT", "/devices/x", b" " * (1024 * 1024 + 1), 413),
        ("POST", "/devices/query", {"query": "DELETE FROM devices"}, 400),
        ("POST", "/devices/query", {}, 400),
        ("POST", "/twins/x/methods", {"methodName": "m"}, 404),
        ("DELETE", "/messages/serviceBound/feedback/none", None, 412),
    ],
)
async def test_odd_requests_are_refused_in_json(
    method: str, path: str, body: object, status: int
) -> None:
    async with AsyncLocalHub() as hub:
        found, refused, headers = await ask(hub, method, path, body)
        assert found == status
        assert refused["errorCode"] // 1000 == status
        assert headers["iothub-errorcode"]


@pytest.mark.rule("HUB-29")
async def test_twins_methods_and_messages_reach_the_device() -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            for topic_filter in (DESIRED_FILTER, METHODS_FILTER, devicebound_filter("dev")):
                await device.subscribe(topic_filter, qos=1)
            messages = device.messages()
            patch = {"tags": {"t": 1}, "properties": {"desired": {"a": 1}}}
            status, twin, _ = await ask(hub, "PATCH", "/twins/dev", patch)
            assert (status, twin["connectionState"]) == (200, "Connected")
            assert json.loads((await anext(messages)).payload) == {"a": 1, "$version": 2}
            status, _, _ = await ask(hub, "PUT", "/twins/dev", {}, headers={"If-Match": '"stale"'})
            assert status == 412
            call = asyncio.create_task(
                ask(hub, "POST", "/twins/dev/methods", {"methodName": "m", "payload": [1]})
            )
            message = await anext(messages)
            method = parse_method_topic(message.topic)
            assert method is not None
            await device.publish(method_response_topic(200, method.request_id), message.payload)
            assert (await call)[:2] == (200, {"status": 200, "payload": [1]})
            headers = {
                "iothub-messageid": "m1",
                "iothub-ack": "full",
                "iothub-app-room": "a%20b",
                "iothub-expiry": "2099-01-01T00:00:00Z",
            }
            path = "/devices/dev/messages/devicebound"
            assert (await ask(hub, "POST", path, b"x", headers=headers))[0] == 400  # too late
            headers["iothub-expiry"] = str(time.time() + 60)
            assert (await ask(hub, "POST", path, b"hello", headers=headers))[0] == 200
            message = await anext(messages)
            parsed = parse_devicebound_topic(message.topic)
            assert parsed is not None
            assert (message.payload, parsed[1]["room"], parsed[1]["$.mid"]) == (
                b"hello",
                "a b",
                "m1",
            )
            while await hub.waiting("dev"):
                await asyncio.sleep(0)
            status, batch, headers = await ask(hub, "GET", "/messages/serviceBound/feedback")
            assert [of["statusCode"] for of in batch] == ["Success"]
            done = "/messages/serviceBound/feedback/" + headers["iothub-locktoken"]
            assert (await ask(hub, "DELETE", done))[0] == 204
            assert (await ask(hub, "GET", "/messages/serviceBound/feedback"))[0] == 204


@pytest.mark.rule("HUB-24")
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_events_are_streamed_from_a_number_on(accept: str) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device, aiohttp.ClientSession() as session:
            await device.publish(telemetry_topic("dev", {"a": "b"}), b"first", qos=1)
            headers = {"Authorization": authorization(hub), "Accept": accept, "Last-Event-ID": "0"}
            url = f"https://{hub.host}:{hub.wss_port}/messages/events"
            async with session.get(url, headers=headers, ssl=tls_of(hub)) as answer:
                assert answer.content_type == accept
                found = [await next_event(answer) for _ in range(2)]
                assert [of["event"] for of in found] == ["deviceConnected", "telemetry"]
                assert (found[1]["body"], found[1]["properties"]) == ("first", {"a": "b"})
                await device.publish(telemetry_topic("dev"), b"\xff", qos=1)
                assert (await next_event(answer))["bodyBase64"] == "/w=="


async def next_event(answer: aiohttp.ClientResponse) -> Any:
    async with asyncio.timeout(DEADLINE):
        async for line in answer.content:
            text = line.decode().strip().removeprefix("data: ")
            if text.startswith("{"):
                return json.loads(text)
    raise AssertionError


async def test_a_reader_that_leaves_and_a_request_that_is_none_leave_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        url = f"https://{hub.host}:{hub.wss_port}/messages/events"
        headers = {"Authorization": authorization(hub)}
        async with client(hub, key) as device:
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, headers=headers, ssl=tls_of(hub)) as answer,
            ):
                await answer.content.readline()
            for _ in range(20):
                await device.publish(telemetry_topic("dev"), b"x" * 1000, qos=1)
        reader, writer = await asyncio.open_connection(hub.host, hub.wss_port, ssl=tls_of(hub))
        writer.write(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    assert "Traceback" not in caplog.text


@pytest.mark.rule("HUB-44")
async def test_queries_come_in_pages() -> None:
    async with AsyncLocalHub() as hub:
        for number in range(5):
            await hub.create_device(f"d{number}", initial_twin={"tags": {"odd": number % 2 == 1}})
        query = {"query": "SELECT * FROM devices WHERE tags.odd = false"}
        size = {"x-ms-max-item-count": "2"}
        _, first, headers = await ask(hub, "POST", "/devices/query", query, headers=size)
        more = size | {"x-ms-continuation": headers["x-ms-continuation"]}
        _, second, headers = await ask(hub, "POST", "/devices/query", query, headers=more)
        assert [of["deviceId"] for of in (*first, *second)] == ["d0", "d2", "d4"]
        assert "x-ms-continuation" not in headers


@pytest.mark.rule("HUB-43", "HUB-44")
async def test_the_released_service_sdk_works_unaltered(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_sdk = pytest.importorskip("azure.iot.hub", reason="azure-iot-hub is not installed")
    models = pytest.importorskip("azure.iot.hub.models")
    async with AsyncLocalHub(host="localhost") as hub:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hub.dps.ca_file))
        text = hub.service_connection_string()
        registry = await asyncio.to_thread(hub_sdk.IoTHubRegistryManager, text)

        async def call(name: str, *arguments: object) -> Any:
            method: Callable[..., Any] = getattr(registry, name)
            return await asyncio.to_thread(method, *arguments)

        primary, secondary = "cHBw" * 10, "c3Nz" * 10
        device = await call("create_device_with_sas", "dev", primary, secondary, "enabled")
        assert device.authentication.symmetric_key.primary_key == primary
        device = await call(
            "update_device_with_sas", "dev", device.etag, primary, secondary, "disabled"
        )
        assert device.status == "disabled"
        await call("update_device_with_sas", "dev", device.etag, primary, secondary, "enabled")
        await call("create_device_with_x509", "x", "AB" * 20, "CD" * 20, "enabled")
        await call("create_device_with_certificate_authority", "ca", "enabled")
        module = await call("create_module_with_sas", "dev", "mod", "me", primary, secondary)
        assert module.module_id == "mod"
        assert len(await call("get_modules", "dev")) == 1
        assert len(await call("get_devices")) == 3
        twin = await call("get_twin", "dev")
        patch = models.Twin(tags={"a": 1}, properties=models.TwinProperties(desired={"b": 2}))
        twin = await call("update_twin", "dev", patch, twin.etag)
        assert (twin.tags, twin.properties.desired["b"]) == ({"a": 1}, 2)
        twin = await call("replace_twin", "dev", patch)
        await call("update_module_twin", "dev", "mod", patch, "*")
        query = models.QuerySpecification(query="SELECT * FROM devices WHERE tags.a = 1")
        found = await call("query_iot_hub", query)
        assert [item.device_id for item in found.items] == ["dev"]
        statistics = await call("get_device_registry_statistics")
        assert statistics.total_device_count == 3
        async with client(hub, primary) as connected:
            await connected.subscribe(METHODS_FILTER)
            invoke = asyncio.create_task(
                call(
                    "invoke_device_method",
                    "dev",
                    models.CloudToDeviceMethod(method_name="m", payload={"a": 1}),
                )
            )
            message = await anext(connected.messages())
            method = parse_method_topic(message.topic)
            assert method is not None
            await connected.publish(method_response_topic(200, method.request_id), b'{"b":2}')
            assert (await invoke).payload == {"b": 2}
        await call("delete_module", "dev", "mod")
        await call("delete_device", "dev")
        with pytest.raises(Exception, match=r"NotFound|Not Found|404"):
            await call("get_device", "dev")


async def test_the_connection_string_names_this_machine() -> None:
    async with AsyncLocalHub() as hub:
        parts = dict(parse_qsl(hub.service_connection_string("service").replace(";", "&")))
    assert parts["HostName"] == f"{hub.host}:{hub.wss_port}"
    assert parts["SharedAccessKeyName"] == "service"
