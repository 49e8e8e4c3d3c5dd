"""Enrollments as public samples, SDKs' serializers and exports have them, each with its source.

``enrollment_bodies.json``: names of people, hosts and keys are replaced; ``@KEY@`` and the like
stand for keys and certificates made by the test. Each body is taken and comes back the same, or is
refused with the cloud's status and the reason.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncLocalDps
from mqttws.local.x509 import DeviceAuthority, read_certificate

try:
    from .test_service_door import ask
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

ROWS = json.loads(Path(__file__).with_name("enrollment_bodies.json").read_text())
MADE_BY_THE_SERVICE = ("etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc")


def replacements() -> dict[str, str]:
    roots = [DeviceAuthority.root(name) for name in ("one", "two")]
    leaves = [roots[0].issue(name).certificate.decode() for name in ("one", "two")]
    one_line = base64.b64encode(read_certificate(roots[0].pem)).decode()
    return {
        "@KEY@": base64.b64encode(b"k" * 64).decode(),
        "@KEY2@": base64.b64encode(b"l" * 64).decode(),
        "@LEAF@": leaves[0],
        "@LEAF2@": leaves[1],
        "@LEAF_DER@": base64.b64encode(read_certificate(leaves[0])).decode(),
        "@LEAF_TEXT@": f"Certificate:\n    Data:\n        Version: 3 (0x2)\n{leaves[0]}",
        "@CA@": roots[0].pem,
        "@CA2@": roots[1].pem,
        "@CA_ONE_LINE@": f"-----BEGIN CERTIFICATE-----{one_line}-----END CERTIFICATE-----",
    }


GIVEN = replacements()


def filled(value: Any) -> Any:
    """Return a body with its replacements, without members that are null."""
    if isinstance(value, dict):
        return {name: filled(of) for name, of in value.items() if of is not None}
    if isinstance(value, list):
        return [filled(of) for of in value]
    return GIVEN.get(value, value) if isinstance(value, str) else value


def assert_holds(found: Any, sent: Any, path: str = "") -> None:
    """Assert that all of what was sent is in what was found."""
    if isinstance(sent, dict):
        for name, value in sent.items():
            if path == "" and name in MADE_BY_THE_SERVICE:
                continue
            if name == "info":
                assert found[name].keys() == value.keys()  # made anew from the certificate
                continue
            assert name in found, f"{path}.{name}"
            assert_holds(found[name], value, f"{path}.{name}")
    elif path.endswith(".certificate"):
        assert found.startswith("-----BEGIN CERTIFICATE-----\n")
        body = sent.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0] or sent
        assert read_certificate(found) == base64.b64decode("".join(body.split())), path
    else:
        assert found == sent, path


def test_there_are_enough_bodies_and_each_names_its_source() -> None:
    assert len(ROWS) >= 30
    assert all(row["source"] for row in ROWS)


async def test_each_enrollment_comes_back_the_same_or_is_refused_with_the_reason(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        await ask(dps, "PUT", "/certificates/uploaded", {"certificate": GIVEN["@CA@"]})
        for row in ROWS:
            try:
                await try_row(dps, row)
            except (AssertionError, KeyError) as error:
                raise AssertionError(f"{row['source']}: {error!r}") from error


async def try_row(dps: AsyncLocalDps, row: dict[str, Any]) -> None:
    body = row["body"]
    member = "registrationId" if "registrationId" in body else "enrollmentGroupId"
    kind = "enrollments" if member == "registrationId" else "enrollmentGroups"
    path = f"/{kind}/{body[member]}"
    status, answer = await ask(dps, "PUT", path, with_nulls(body))
    if "refused" in row:
        code, reason = row["refused"]
        assert (status, answer["errorCode"]) == (code // 1000, code)
        assert reason in answer["message"]
        return
    assert status == 200, answer
    expected = filled(body)
    assert_holds(answer, expected)
    got = (await ask(dps, "GET", path))[1]
    if expected["attestation"]["type"] == "symmetricKey":
        assert got["attestation"] == {"type": "symmetricKey"}
        mechanism = (await ask(dps, "POST", f"{path}/attestationmechanism"))[1]
        assert mechanism == answer["attestation"]
        del expected["attestation"]
    assert_holds(got, expected)
    again = await ask(dps, "PUT", path, got, headers={"If-Match": f'"{got["etag"]}"'})
    assert again[0] == 200
    changed = {name for name in answer if again[1][name] != answer[name]}
    assert changed <= {"etag", "lastUpdatedDateTimeUtc"}
    assert (await ask(dps, "DELETE", path))[0] == 204


def with_nulls(value: Any) -> Any:
    """Return a body with its replacements, nulls and all, as it goes over the wire."""
    if isinstance(value, dict):
        return {name: with_nulls(of) for name, of in value.items()}
    if isinstance(value, list):
        return [with_nulls(of) for of in value]
    return GIVEN.get(value, value) if isinstance(value, str) else value
