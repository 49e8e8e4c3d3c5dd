"""Custom allocation over a real HTTP webhook on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    RegistrationFailed,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.local.webhook import ask_webhook

from .device import device, hello, wish
from .device import register as register_packet

HUB = "local-hub.azure-devices.net"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@asynccontextmanager
async def webhook(
    answer: Callable[[dict[str, Any]], bytes],
) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Serve HTTP; ``answer`` turns the question into the raw answer."""
    asked: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length")
        )
        asked.append(json.loads(await reader.readexactly(length)))
        writer.write(answer(asked[-1]))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/allocate?code=s", asked


def ok(body: object) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(body).encode()


async def register(dps: AsyncLocalDps, url: str, payload: object = None) -> Assignment:
    await dps.enroll(
        {
            "registrationId": "dev",
            "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY}},
            "allocationPolicy": "custom",
            "customAllocationDefinition": {"webhookUrl": url, "apiVersion": "2019-03-31"},
        },
        replace=True,
    )
    return await provision_async(
        dps.id_scope,
        SymmetricKey("dev", KEY),
        host=dps.host,
        port=dps.wss_port,
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
        payload=payload,
    )


async def test_the_webhook_chooses_the_hub_and_speaks_to_the_device(dps_state: Any) -> None:
    hubs = ["a.azure-devices.net", "b.azure-devices.net"]
    async with (
        webhook(lambda _: ok({"iotHubHostName": hubs[1], "payload": {"hall": 7}})) as (url, asked),
        AsyncLocalDps(state=dps_state, retry_after=0, hubs=hubs) as dps,
    ):
        assignment = await register(dps, url, {"model": "m1"})
        again = await register(dps, url)
    assert assignment.assigned_hub == hubs[1]
    assert assignment.payload == {"hall": 7}
    assert again.substatus == "initialAssignment"  # as api-version 2019-03-31 has it
    first, second = asked
    assert first["linkedHubs"] == hubs
    assert first["individualEnrollment"]["registrationId"] == "dev"
    assert first["deviceRuntimeContext"]["payload"] == {"model": "m1"}
    assert first["deviceRuntimeContext"]["currentIotHubHostName"] is None
    assert second["deviceRuntimeContext"]["currentIotHubHostName"] == hubs[1]
    assert KEY not in json.dumps(asked)


@pytest.mark.rule("DPS-T11/service")
async def test_a_payload_of_null_is_none(local_dps: AsyncLocalDps) -> None:
    """The Python SDK always sends one."""
    answer = ok({"iotHubHostName": HUB, "payload": None})
    async with webhook(lambda _: answer) as (url, asked), local_dps:
        await register(local_dps, url)
        async with device(local_dps) as peer:
            await peer.send(hello(local_dps, "dev", KEY), wish())
            await peer.send(register_packet(b'{"payload": null, "registrationId": "dev"}', qos=0))
            while len(asked) < 2:
                await asyncio.sleep(0.01)
    assert [question["deviceRuntimeContext"]["payload"] for question in asked] == [None, None]


@pytest.mark.rule("DPS-S200-failed/service", "DPS-E400207/service", "DPS-E401001/service")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 500 Oh\r\n\r\n", 400207),
        (b"nonsense", 400207),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", 400207),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", 400207),  # cut off
        (ok({"iotHubHostName": HUB, "payload": "x" * 200_000}), 400207),  # too long
        (ok({"iotHubHostName": HUB}) + b"}", 400207),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 50_000, 400207),
        (ok({"iotHubHostName": [HUB]}), 400207),
        (ok("text"), 400207),
        (ok({}), 400207),
        (ok({"iotHubHostName": HUB, "initialTwin": 7}), 400207),
        (ok({"iotHubHostName": "elsewhere.azure-devices.net"}), 401001),
    ],
)
async def test_a_webhook_that_fails_ends_the_registration(
    local_dps: AsyncLocalDps, answer: bytes, code: int
) -> None:
    async with webhook(lambda _: answer) as (url, _), local_dps:
        with pytest.raises(RegistrationFailed) as failed:
            await register(local_dps, url)
    assert failed.value.error_code == code
    assert "code=s" not in str(failed.value)


@pytest.mark.rule("DPS-E400207/service")
async def test_nobody_there_is_an_outcome_too(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps:
        with pytest.raises(RegistrationFailed) as failed:
            await register(local_dps, "http://127.0.0.1:1/?code=s")
    assert failed.value.error_code == 400207
    assert "dev: the webhook cannot be reached: " in caplog.text
    assert "code=s" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "gave no answer within 0.1 s"),
        (ok({"payload": "x" * 200_000}), "longer than 98304 bytes"),
        (b"nonsense\r\n\r\n", "not HTTP, or was cut off"),
    ],
)
async def test_the_log_says_why_a_webhook_counts_as_none(answer: bytes, told: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer:
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        outcome = await ask_webhook(f"http://127.0.0.1:{port}/", b"{}", 5.0 if answer else 0.1)
    assert outcome.status == 0
    assert told in outcome.reason


async def test_a_hubs_name_is_the_same_in_any_case(local_dps: AsyncLocalDps) -> None:
    async with webhook(lambda _: ok({"iotHubHostName": HUB.upper()})) as (url, _), local_dps:
        assert (await register(local_dps, url)).assigned_hub == HUB


async def test_polls_are_answered_while_a_slow_webhook_thinks(local_dps: AsyncLocalDps) -> None:
    thinking, told = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        thinking.set()
        await told.wait()
        writer.write(ok({"iotHubHostName": HUB}))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, local_dps as dps:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        waiting = asyncio.create_task(register(dps, url))
        await thinking.wait()
        key = await dps.enroll_device("other")
        other = await provision_async(
            dps.id_scope,
            SymmetricKey("other", key),
            host=dps.host,
            port=dps.wss_port,
            tls=TlsConfig(ca=dps.ca_file, only_ca=True),
        )
        assert other.device_id == "other"
        assert not waiting.done()
        told.set()
        assert (await waiting).assigned_hub == HUB


async def test_a_service_that_ends_does_not_wait_for_its_webhooks(local_dps: AsyncLocalDps) -> None:
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with local_dps as dps:
            waiting = asyncio.create_task(register(dps, url))
            await asked.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
            async with asyncio.timeout(2):
                await dps.stop()


async def test_a_silent_webhook_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcome = await ask_webhook(url, b"{}", timeout=0.05)
        assert outcome == (0, b"", "gave no answer within 0.05 s")
