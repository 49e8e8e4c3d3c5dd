"""CA certificates that are uploaded, and enrollment groups that refer to them by name."""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from mqttws import AsyncLocalDps, MqttwsError, RegistrationRejected, SymmetricKey, provision_async
from mqttws.local.x509 import DeviceAuthority, read_certificate

from . import x509_world

try:
    from .test_service_door import ask, signed
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)


def referring(name: str, *cas: str) -> dict[str, object]:
    references = dict(zip(("primary", "secondary"), cas, strict=False))
    return {
        "enrollmentGroupId": name,
        "attestation": {"type": "x509", "x509": {"caReferences": references}},
    }


@pytest.mark.operation(
    "Service API: PUT /certificates/{name}",
    "Service API: GET /certificates/{name}",
    "Service API: DELETE /certificates/{name}",
    "Service API: GET /certificates",
)
async def test_a_device_of_an_uploaded_ca_registers_until_the_ca_is_another_one() -> None:
    old, new = DeviceAuthority.root("old"), DeviceAuthority.root("new")
    async with AsyncLocalDps() as dps:
        body = {"properties": {"certificate": base64.b64encode(old.pem.encode()).decode()}}
        status, made = await ask(dps, "PUT", "/certificates/Root", body)
        assert (status, made["properties"]["isVerified"]) == (200, True)
        assert made["properties"]["subject"] == "old"
        status, group = await ask(dps, "PUT", "/enrollmentGroups/g", referring("g", "root"))
        assert status == 200
        assert group["attestation"]["x509"] == {"caReferences": {"primary": "root"}}
        await x509_world.register(dps, old.issue("one"))
        stale = {"If-Match": "other"}
        replaced = {"certificate": new.pem}
        assert (await ask(dps, "PUT", "/certificates/ROOT", replaced, headers=stale))[0] == 412
        assert (await ask(dps, "PUT", "/certificates/ROOT", replaced))[0] == 200
        await x509_world.register(dps, new.issue("two"))
        with pytest.raises(MqttwsError):  # its CA is unknown: TLS ends, before or behind its end
            await x509_world.register(dps, old.issue("three"))
        status, refused = await ask(dps, "DELETE", "/certificates/root")
        assert (status, "'g' refers to it" in refused["message"]) == (409, True)
        assert (await ask(dps, "DELETE", "/enrollmentGroups/g"))[0] == 204
        listed = (await ask(dps, "GET", "/certificates"))[1]["value"]
        assert [of["name"] for of in listed] == ["Root"]
        assert (await ask(dps, "GET", "/certificates/root"))[1] == listed[0]
        assert (await ask(dps, "DELETE", "/certificates/root"))[0] == 204
        assert (await ask(dps, "GET", "/certificates/root"))[0] == 404


async def test_a_group_that_refers_to_an_unknown_ca_is_refused_with_the_way_to_upload_it() -> None:
    async with AsyncLocalDps() as dps:
        status, refused = await ask(dps, "PUT", "/enrollmentGroups/g", referring("g", "root"))
        assert (status, refused["errorCode"]) == (400, 400004)
        assert "PUT /certificates/root" in refused["message"]


async def test_references_and_their_certificates_outlive_a_restart(tmp_path: Path) -> None:
    root = DeviceAuthority.root()
    records = tmp_path / "records"
    async with AsyncLocalDps(records=records) as dps:
        await ask(dps, "PUT", "/certificates/root", {"certificate": root.pem})
        await ask(dps, "PUT", "/enrollmentGroups/g", referring("g", "root"))
    async with AsyncLocalDps(records=records) as dps:
        group = (await ask(dps, "GET", "/enrollmentGroups/g"))[1]
        assert group["attestation"]["x509"] == {"caReferences": {"primary": "root"}}
        await x509_world.register(dps, root.issue("one"))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a b", {"certificate": "x"}),
        ("root", {"certificate": "x"}),
        ("root", {"certificate": base64.b64encode(b"no certificate").decode()}),
        ("root", {}),
        ("root", {"properties": {"certificate": None}}),
    ],
)
async def test_what_is_no_certificate_is_refused(name: str, body: dict[str, object]) -> None:
    async with AsyncLocalDps() as dps:
        assert (await ask(dps, "PUT", f"/certificates/{name}", body))[0] == 400
        assert (await ask(dps, "GET", "/certificates"))[1] == {"value": []}


async def test_certificates_are_a_matter_of_the_service_s_configuration() -> None:
    async with AsyncLocalDps() as dps:
        for policy, status in (("ServiceConfig", 200), ("EnrollmentWrite", 401)):
            token = signed(dps, policy)
            assert (await ask(dps, "GET", "/certificates", token=token))[0] == status


@pytest.mark.operation("Service API: TPM attestation")
async def test_a_tpm_is_kept_and_its_device_refused_over_mqtt_with_a_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    tpm = {"endorsementKey": "RUsx", "storageRootKey": "U1JL"}
    attestation = {"type": "tpm", "tpm": tpm}
    async with AsyncLocalDps() as dps:
        made = (await ask(dps, "PUT", "/enrollments/d", {"attestation": attestation}))[1]
        assert made["attestation"] == attestation
        got = (await ask(dps, "GET", "/enrollments/d"))[1]
        assert got["attestation"] == attestation
        assert (await ask(dps, "PUT", "/enrollments/d", got, headers={"If-Match": "*"}))[0] == 200
        mechanism = (await ask(dps, "POST", "/enrollments/d/attestationmechanism"))[1]
        assert mechanism == attestation
        credential = SymmetricKey("d", "a2V5" * 8)
        with pytest.raises(RegistrationRejected) as caught:
            await provision_async(dps.id_scope, credential, **dps.options)
    assert caught.value.status == 401
    assert any("attested by a TPM" in line for line in caplog.messages)


async def test_a_group_that_is_made_while_its_ca_is_replaced_has_the_new_one() -> None:
    old, new = DeviceAuthority.root("old"), DeviceAuthority.root("new")
    async with AsyncLocalDps() as dps:
        for number in range(5):
            name = f"g{number}"
            assert (await ask(dps, "PUT", "/certificates/r", {"certificate": old.pem}))[0] == 200
            found = await asyncio.gather(
                ask(dps, "PUT", f"/enrollmentGroups/{name}", referring(name, "r")),
                ask(dps, "PUT", "/certificates/r", {"certificate": new.pem}),
            )
            assert [status for status, _ in found] == [200, 200]
            for group in [f"g{before}" for before in range(number + 1)]:
                kept = await dps.directory.group(group)
                assert kept is not None
                assert kept.certificates == (read_certificate(new.pem),)
