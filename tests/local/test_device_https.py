"""Devices that speak HTTPS: the decisions of MQTT behind the device API's paths."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mqttws import AsyncLocalDps, SymmetricKey, UsageError
from mqttws.local.x509 import DeviceAuthority, Issued

from . import x509_world

try:
    import aiohttp

    import mqttws.local.device_door  # noqa: F401 - with it the extra
except (ImportError, UsageError):
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

NOW = 1_900_000_000.0
"""Tokens are signed at this time: they are good for long."""


class Answer:
    """What one request was answered."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class HttpDevice:
    """A device without an SDK."""

    def __init__(self, dps: AsyncLocalDps, name: str, key: str | None, **tls: Any) -> None:
        context = ssl.create_default_context(cafile=dps.ca_file)
        if tls:
            context.load_cert_chain(**tls)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        self.headers = {"Content-Type": "application/json; charset=utf-8"}
        if key is not None:
            self.headers["Authorization"] = SymmetricKey(name, key).password(dps.id_scope, NOW)
        self.root = f"https://127.0.0.1:{dps.wss_port}/{dps.id_scope}/registrations/{quote(name)}"

    async def ask(
        self, method: str, path: str = "", body: object = None, version: str = "2021-06-01"
    ) -> Answer:
        query = {"api-version": version} if version else {}
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        async with self.session.request(
            method, f"{self.root}{path}", params=query, data=data, headers=self.headers
        ) as response:
            text = await response.read()
            try:
                found = json.loads(text)
            except ValueError:
                found = text
            return Answer(response.status, found, response.headers)

    async def registered(self) -> Any:
        """Register as the documents say; return the registration state."""
        answer = await self.ask("PUT", "/register")
        while answer.status == 202:
            operation_id = answer.body["operationId"]
            answer = await self.ask("GET", f"/operations/{operation_id}")
        assert answer.status == 200, answer.body
        return answer.body["registrationState"]


@asynccontextmanager
async def device(
    dps: AsyncLocalDps, name: str = "dev", key: str | None = "", **tls: Any
) -> AsyncIterator[HttpDevice]:
    """A device; with the key of an enrollment that is made for it, unless one is given."""
    if key == "":
        key = await dps.enroll_device(name)
    made = HttpDevice(dps, name, key, **tls)
    try:
        yield made
    finally:
        await made.session.close()


def files_of(issued: Issued, folder: Path) -> dict[str, Path]:
    files = {"certfile": folder / "chain.pem", "keyfile": folder / "key.pem"}
    files["certfile"].write_bytes(issued.chain)
    files["keyfile"].write_bytes(issued.key)
    return files


@pytest.mark.operation(
    "Device API: PUT /{idScope}/registrations/{id}/register (HTTPS)",
    "Device API: GET /{idScope}/registrations/{id}/operations/{operationId} (HTTPS)",
    "Device API: POST /{idScope}/registrations/{id} (HTTPS)",
)
async def test_a_device_registers_by_its_key(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, device(dps, "Dev:1") as it:
        begun = await it.ask("PUT", "/register", {"registrationId": "Dev:1"})
        assert begun.status == 202
        assert begun.body["status"] == "assigning"
        assert begun.headers["Retry-After"] == "0"
        assert begun.headers["Location"].endswith("/registrations/Dev:1/register")
        state = await it.registered()
        assert (state["deviceId"], state["substatus"]) == (
            "Dev:1",
            "reprovisionedToInitialAssignment",
        )
        looked_up = await it.ask("POST", "", {"registrationId": "Dev:1"})
        assert (looked_up.status, looked_up.body["assignedHub"]) == (200, state["assignedHub"])
        assert looked_up.body["status"] == "assigned"


@pytest.mark.operation("Device API: client certificate (HTTPS)")
async def test_a_device_registers_by_its_certificate(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    root = DeviceAuthority.root()
    async with local_dps as dps:
        await dps.enroll(x509_world.group("fleet", root))
        async with device(dps, key=None, **files_of(root.issue("dev"), tmp_path)) as it:
            state = await it.registered()
    assert state["x509"] == {"enrollmentGroupId": "fleet"}


async def test_another_names_certificate_is_refused(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    root = DeviceAuthority.root()
    async with local_dps as dps:
        await dps.enroll(x509_world.group("fleet", root))
        async with device(dps, key=None, **files_of(root.issue("other"), tmp_path)) as it:
            refused = await it.ask("PUT", "/register")
    assert (refused.status, refused.body["errorCode"]) == (401, 401002)


@pytest.mark.operation("Device API: device updates (2026-11-15-preview)")
async def test_what_is_refused_has_the_clouds_shape_and_one_log_line(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps, device(dps) as it, device(dps, key="AAAA" * 8) as liar:
        operation_id = "/operations/5.0.0"
        for who, method, path, body, version, code, logged in (
            (liar, "PUT", "/register", {}, "2021-06-01", 401000, "fits none"),
            (liar, "GET", operation_id, {}, "2021-06-01", 401000, "fits none"),
            (liar, "POST", "", {}, "2021-06-01", 401000, "fits none"),
            (it, "GET", operation_id, {}, "2021-06-01", 404203, "unknown operation"),
            (it, "POST", "", {}, "2021-06-01", 404202, "lookup 404"),
            (it, "POST", "", {"csr": "MIIB"}, "2026-11-01", 400004, "csr belongs"),
            (it, "PUT", "/register", {"modelId": "x"}, "2021-06-01", 400012, "'modelId'"),
            (it, "PUT", "/register", {"payload": "x"}, "2021-06-01", 400012, "no JSON object"),
            (it, "PUT", "/register", b"{", "2021-06-01", 400004, "not a JSON object"),
            (it, "PUT", "/register", {}, "garbage", 400004, "api-version 'garbage'"),
            (it, "PUT", "/register", {}, "", 400004, "no api-version"),
            (it, "PUT", "/register", b" " * 100_000, "2021-06-01", 413000, "At most 98304"),
            (it, "GET", "/register", {}, "2021-06-01", 404000, "no such operation"),
            (it, "POST", "/getDeviceUpdate", {}, "2026-11-15-preview", 404000, "no such operation"),
            (it, "PUT", "/x/y/z", {}, "2021-06-01", 404000, "no such operation"),
        ):
            caplog.clear()
            refused = await who.ask(method, path, body, version)
            assert (refused.status, refused.body["errorCode"]) == (code // 1000, code), logged
            assert list(refused.body) == ["errorCode", "trackingId", "message", "timestampUtc"]
            (line,) = [one for one in caplog.messages if str(refused.status) in one]
            assert logged in line
        it.root = it.root.replace(dps.id_scope, "0ne00OTHER")
        refused = await it.ask("PUT", "/register")
        assert (refused.status, refused.body["message"]) == (404, "ID scope not found.")


async def test_a_poll_may_have_any_body(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, device(dps) as it:
        begun = await it.ask("PUT", "/register")
        path = f"/operations/{begun.body['operationId']}"
        for body in (b"", b" ", b"oops", b'{"registrationId":"x"}'):
            assert (await it.ask("GET", path, body)).body["status"] == "assigned"


async def test_mqtt_and_https_share_their_registrations(local_dps: AsyncLocalDps) -> None:
    import mqttws

    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        options = dict(dps.options)
        await mqttws.provision_async(dps.id_scope, SymmetricKey("dev", key), **options)  # type: ignore[arg-type]
        async with device(dps, key=key) as it:
            assert (await it.ask("POST")).body["substatus"] == "initialAssignment"


@pytest.mark.parametrize("kind", ["delay", "trickle", "slow"])
async def test_a_slow_answer_is_whole(local_dps: AsyncLocalDps, kind: str) -> None:
    pace = {"bytes_per_second": 10_000} if kind == "slow" else {"seconds": 0.001}
    async with local_dps as dps, device(dps) as it:
        await dps.fault(kind, "dev", times=None, **pace)
        assert (await it.registered())["status"] == "assigned"


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "cut", "restart", "close-websocket"])
async def test_a_cut_answer_ends_the_connection(local_dps: AsyncLocalDps, kind: str) -> None:
    async with local_dps as dps, device(dps) as it:
        pace = {"seconds": 0.01} if kind == "restart" else {}
        times = 1 if kind in ("drop-after", "restart") else 2  # aiohttp asks for a PUT twice
        await dps.fault(kind, "dev", hop="register", times=times, **pace)
        if kind == "drop-after":
            assert (await it.ask("PUT", "/register")).status == 202
        else:
            with pytest.raises(aiohttp.ClientError):
                await it.ask("PUT", "/register")
        for _ in range(100):  # the service may still be away
            try:
                assert (await it.registered())["status"] == "assigned"
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.01)


async def test_an_ordered_answer_and_a_spoilt_one(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, device(dps) as it:
        await dps.fault("answer", "dev", status=429, retry_after=7, error_code=429002)
        refused = await it.ask("PUT", "/register")
        assert (refused.status, refused.body["errorCode"]) == (429, 429002)
        assert refused.headers["Retry-After"] == "7"
        assert refused.headers["x-ms-error-code"] == "429002"
        await dps.fault("answer", "dev", hop="lookup", status=503, body="oops")
        assert (await it.ask("POST")).body == b"oops"
        await dps.fault("bad-json", "dev")
        assert isinstance((await it.ask("PUT", "/register")).body, bytes)


async def test_a_silent_request_ends_with_its_client(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, device(dps) as it:
        await dps.fault("silence", "dev", hop="register")
        asking = asyncio.create_task(it.ask("PUT", "/register"))
        await dps.wait_for("assigned", "dev")  # it has been served, and gets no answer
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await it.registered())["substatus"] == "reprovisionedToInitialAssignment"


async def test_throttles_are_those_of_mqtt(dps_state: Path) -> None:
    async with (
        AsyncLocalDps(state=dps_state, registers_per_minute=1, retry_after=0) as dps,
        device(dps) as it,
    ):
        assert (await it.ask("PUT", "/register")).status == 202
        refused = await it.ask("PUT", "/register")
        assert refused.status == 429
        assert int(refused.headers["Retry-After"]) > 0
