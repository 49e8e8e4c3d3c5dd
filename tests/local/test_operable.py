"""Keeping a service running: health and readiness, figures, and a reset between tests."""

import os
import ssl
import sys
from typing import Any

import pytest

from mqttws import AsyncLocalDps
from mqttws.errors import StoreFailed

try:
    import aiohttp

    from mqttws.local.admin import AdminApi
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

from tests.conftest import peer_missing

from .test_service import provisioned

TOKEN = {"Authorization": "Bearer word"}


async def asked(
    url: str, method: str = "GET", *, ca: object = None, token: bool = False
) -> tuple[int, str]:
    context: Any = ssl.create_default_context(cafile=str(ca)) if ca else True
    headers = TOKEN if token else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.request(method, url, ssl=context) as answer:
            return answer.status, await answer.text()


async def test_health_and_readiness_need_no_token_and_follow_the_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with AsyncLocalDps() as dps, AdminApi(dps, token="word") as admin:
        places = [(admin.url, None), (f"https://127.0.0.1:{dps.wss_port}", dps.ca_file)]
        for url, ca in places:
            for path in ("healthz", "readyz"):
                assert await asked(f"{url}/{path}", ca=ca) == (200, "ok\n")
                assert (await asked(f"{url}/{path}", "POST", ca=ca))[0] == 405
        assert (await asked(f"{admin.url}/faults"))[0] == 401

        async def load(*keys: object) -> None:
            raise StoreFailed("the records are away")

        monkeypatch.setattr(dps.store, "load", load)
        for url, ca in places:
            assert (await asked(f"{url}/readyz", ca=ca))[0] == 503
            assert (await asked(f"{url}/healthz", ca=ca))[0] == 200
        monkeypatch.undo()


async def test_metrics_without_their_package_are_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "mqttws.local.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with AsyncLocalDps() as dps, AdminApi(dps, token="word") as admin:
        status, text = await asked(f"{admin.url}/metrics", token=True)
    assert status == 501
    assert "prometheus_client" in text


def figures(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_what_happens_is_counted_without_any_id() -> None:
    async with AsyncLocalDps(retry_after=0) as dps, AdminApi(dps, token="word") as admin:
        key = await dps.enroll_device("dev")
        await provisioned(dps, key)
        await dps.fault("answer", "dev", status=429, hop="register", times=1)
        await provisioned(dps, key)
        assert (await asked(f"{admin.url}/metrics"))[0] == 401
        status, text = await asked(f"{admin.url}/metrics", token=True)
        if status == 501:
            peer_missing("prometheus_client is not installed: mqttws[metrics]")
        found = figures(text)
        assert found['mqttws_dps_requests_total{request="register",status="202"}'] == 2
        assert found['mqttws_dps_requests_total{request="register",status="429"}'] == 1
        assert found['mqttws_dps_assigned_total{substatus="initialAssignment"}'] == 1
        assert found['mqttws_dps_faults_total{fault="answer"}'] == 1
        assert found["mqttws_dps_request_seconds_count"] == 4
        assert found["mqttws_dps_connections"] == 0
        assert "dev" not in text.replace("device", "")


async def test_a_reset_forgets_devices_and_faults_and_no_enrollment() -> None:
    async with AsyncLocalDps(retry_after=0) as dps, AdminApi(dps) as admin:
        key = await dps.enroll_device("dev")
        await provisioned(dps, key)
        await dps.fault("silence", "dev")
        assert await asked(f"{admin.url}/reset", "POST") == (200, '{"devices":1}')
        assert await dps.registration("dev") is None
        assert not await dps.faults.orders()
        again: Any = await provisioned(dps, key)
        assert again.substatus == "initialAssignment"
        assert (await asked(f"{admin.url}/reset"))[0] in (404, 405)
