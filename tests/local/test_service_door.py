"""The service API over TLS with shared access signatures, on the port of MQTT over WebSocket."""

import json
import os
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncLocalDps, AsyncLocalHub, StoreDamaged, UsageError
from mqttws.dps.sas import decode_key, sign_token

try:
    import aiohttp
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

KEYED = {"attestation": {"type": "symmetricKey"}}
LIST = {"query": "SELECT * FROM enrollments"}


def parts_of(connection_string: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in connection_string.split(";"))


def signed(dps: AsyncLocalDps, policy: str = "provisioningserviceowner", seconds: int = 60) -> str:
    parts = parts_of(dps.service_connection_string(policy))
    key = decode_key(parts["SharedAccessKey"])
    return sign_token(parts["HostName"], key, int(time.time()) + seconds, policy)


async def ask(
    dps: AsyncLocalDps,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    version: str | None = "2021-10-01",
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Send a request as a service SDK does; return status and body."""
    context = ssl.create_default_context(cafile=dps.ca_file)
    token = signed(dps) if token is None else token
    sent = {"Authorization": token} | (headers or {}) if token else headers
    url = f"https://{dps.host}:{dps.wss_port}{path}"
    query = {} if version is None else {"api-version": version}
    async with aiohttp.ClientSession() as session:
        asked = session.request(method, url, json=body, headers=sent, ssl=context, params=query)
        async with asked as response:
            text = await response.read()
            return response.status, json.loads(text) if text else None


@pytest.mark.operation(
    "Service API: SharedAccessSignature of a policy", "Service API: PUT /enrollments/{id}"
)
async def test_an_enrollment_is_made_read_and_deleted_with_a_signature() -> None:
    async with AsyncLocalDps() as dps:
        status, made = await ask(dps, "PUT", "/enrollments/d", KEYED)
        assert (status, made["registrationId"]) == (200, "d")
        assert (await ask(dps, "GET", "/enrollments/D"))[1]["etag"] == made["etag"]
        assert (await ask(dps, "POST", "/enrollments/query", LIST))[1][0]["registrationId"] == "d"
        assert (await ask(dps, "DELETE", "/enrollments/d"))[0] == 204


async def test_hub_and_service_api_share_the_port() -> None:
    async with AsyncLocalDps() as dps, AsyncLocalHub(dps) as hub:
        await hub.create_device("dev")
        parts = parts_of(hub.service_connection_string())
        key = decode_key(parts["SharedAccessKey"])
        token = sign_token(parts["HostName"], key, 2**32, "iothubowner")
        assert (await ask(dps, "GET", "/devices/dev", token=token))[0] == 200
        assert (await ask(dps, "GET", "/enrollments/dev", token=token))[0] == 401
        assert (await ask(dps, "GET", "/enrollments/dev"))[1]["errorCode"] == 404201


@pytest.mark.operation("Service API: Bearer token of Microsoft Entra ID")
@pytest.mark.parametrize("how", ["none", "bearer", "expired", "other key", "other host", "skn"])
async def test_a_wrong_signature_is_401_and_its_reason_is_in_the_log(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with AsyncLocalDps() as dps:
        token, reason = {
            "none": ("", "no Authorization header"),
            "bearer": ("Bearer x", "SharedAccessSignature"),
            "expired": (signed(dps, seconds=-1), "expired"),
            "other key": (
                sign_token(f"{dps.host}:{dps.wss_port}", b"x" * 32, 2**32, "EnrollmentRead"),
                "fits none of the policy's keys",
            ),
            "other host": (sign_token("elsewhere", b"x" * 32, 2**32, "x"), "is for 'elsewhere'"),
            "skn": (
                sign_token(f"{dps.host}:{dps.wss_port}", b"x" * 32, 2**32, "nobody"),
                "is no policy",
            ),
        }[how]
        status, body = await ask(dps, "GET", "/enrollments/d", token=token)
    assert (status, body["errorCode"], body["message"]) == (401, 401002, "Unauthorized")
    (line,) = [line for line in caplog.messages if "401002" in line]
    assert reason in line
    assert "sig=" not in line


@pytest.mark.parametrize(
    ("policy", "method", "path", "status"),
    [
        ("EnrollmentRead", "GET", "/enrollments/d", 200),
        ("EnrollmentRead", "POST", "/enrollmentGroups/query", 200),
        ("EnrollmentRead", "PUT", "/enrollments/d", 401),
        ("EnrollmentRead", "POST", "/enrollments/d/attestationmechanism", 401),
        ("EnrollmentRead", "GET", "/registrations/d", 401),
        ("EnrollmentWrite", "PUT", "/enrollments/other", 200),
        ("EnrollmentWrite", "POST", "/enrollments/d/attestationmechanism", 200),
        ("EnrollmentWrite", "GET", "/enrollments/d", 401),
        ("RegistrationStatusRead", "GET", "/registrations/d", 404),
        ("RegistrationStatusRead", "DELETE", "/registrations/d", 401),
        ("RegistrationStatusWrite", "DELETE", "/registrations/d", 404),
        ("ServiceConfig", "GET", "/enrollments/d", 401),
    ],
)
async def test_a_policy_has_its_own_right_alone(
    policy: str, method: str, path: str, status: int
) -> None:
    async with AsyncLocalDps() as dps:
        await dps.enroll_device("d")
        body = LIST if path.endswith("query") else KEYED
        found = await ask(dps, method, path, body, token=signed(dps, policy))
        assert found[0] == status


@pytest.mark.operation("Service API: api-version")
@pytest.mark.parametrize(
    ("version", "status"),
    [
        (None, 400),
        ("garbage", 400),
        ("1999-01-01", 400),
        ("2018-09-01-preview", 200),
        ("2021-10-01", 200),
        ("2031-01-01", 200),
    ],
)
async def test_the_api_version_is_checked_as_in_the_cloud(version: str | None, status: int) -> None:
    async with AsyncLocalDps() as dps:
        await dps.enroll_device("d")
        found, body = await ask(dps, "GET", "/enrollments/d", version=version)
        assert (found, body.get("errorCode", 200_000) // 1000) == (status, status)


async def test_a_connection_string_stays_good_over_a_restart(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        async with AsyncLocalDps(state=tmp_path, wss_port=0) as dps:
            texts.append(parts_of(dps.service_connection_string())["SharedAccessKey"])
    assert texts[0] == texts[1]
    assert (tmp_path / "dps-policies.json").stat().st_mode & 0o777 == 0o600


async def test_all_front_ends_of_one_service_take_the_same_keys(tmp_path: Path) -> None:
    records = tmp_path / "records"
    texts = []
    for number in range(2):
        async with AsyncLocalDps(state=tmp_path / str(number), records=records) as dps:
            texts.append(parts_of(dps.service_connection_string())["SharedAccessKey"])
    assert texts[0] == texts[1]


async def test_a_damaged_file_of_policies_is_named(tmp_path: Path) -> None:
    (tmp_path / "dps-policies.json").write_text(
        '{"dps": {"provisioningserviceowner": ["c2hvcnQ="]}}'
    )
    with pytest.raises(StoreDamaged, match=r"dps-policies\.json") as caught:
        await AsyncLocalDps(state=tmp_path).start()
    assert "c2hvcnQ" not in str(caught.value)


async def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    async with AsyncLocalDps() as dps:
        with pytest.raises(UsageError, match="EnrollmentRead"):
            dps.service_connection_string("nobody")


@pytest.mark.operation(
    "Service API: GET /enrollmentGroups/{id}",
    "Service API: DELETE /enrollmentGroups/{id}",
    "Service API: POST /enrollmentGroups",
)
async def test_groups_are_made_in_bulk_read_and_deleted() -> None:
    async with AsyncLocalDps() as dps:
        some = [{"enrollmentGroupId": name, **KEYED} for name in ("a", "b")]
        body = {"mode": "create", "enrollmentGroups": some}
        assert (await ask(dps, "POST", "/enrollmentGroups", body))[1]["isSuccessful"]
        status, group = await ask(dps, "GET", "/enrollmentGroups/A")
        assert (status, group["enrollmentGroupId"]) == (200, "a")
        stale = {"If-Match": '"other"'}
        assert (await ask(dps, "DELETE", "/enrollmentGroups/a", headers=stale))[0] == 412
        assert (await ask(dps, "DELETE", "/enrollmentGroups/a"))[0] == 204
        assert (await ask(dps, "GET", "/enrollmentGroups/a"))[0] == 404
