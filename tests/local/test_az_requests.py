"""Requests as ``az iot dps enrollment …`` sends them with ``--login CONNECTION_STRING``.

The shapes are those of azure-iot-cli-extension (``azext_iot/operations/dps.py`` and its tests):
every member of a model is written, null where it has no value; an update reads the record, fetches
the keys, changes members and sends all of it back with If-Match.
"""

import os
from typing import Any

import pytest

from mqttws import AsyncLocalDps
from mqttws.local.x509 import DeviceAuthority

from . import x509_world

try:
    from .test_service_door import ask
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)

NOTHING: dict[str, Any] = {
    "deviceId": None,
    "registrationState": None,
    "optionalDeviceInformation": None,
    "initialTwin": None,
    "etag": None,
    "capabilities": {"iotEdge": False},
    "provisioningStatus": "enabled",
    "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
    "allocationPolicy": None,
    "iotHubs": None,
    "customAllocationDefinition": None,
}
HEADERS = {"x-ms-client-request-id": "1", "accept-language": "en-US", "Accept": "application/json"}


def mechanism(kind: str, **given: Any) -> dict[str, Any]:
    return {"type": kind, "tpm": None, "x509": None, "symmetricKey": None, **given}


async def test_an_enrollment_is_created_shown_listed_updated_and_deleted() -> None:
    async with AsyncLocalDps() as dps:

        async def az(method: str, path: str, body: object = None, etag: str = "") -> Any:
            headers = HEADERS | ({"If-Match": etag} if etag else {})
            status, answer = await ask(dps, method, path, body, headers=headers)
            assert status in (200, 204), answer
            return answer

        create = NOTHING | {
            "registrationId": "az-device",
            "attestation": mechanism("symmetricKey"),
            "initialTwin": {"tags": {"a": 1}, "properties": {"desired": {"b": 2}}},
        }
        made = await az("PUT", "/enrollments/az-device", create)
        shown = await az("GET", "/enrollments/az-device")
        assert shown["attestation"] == {"type": "symmetricKey"}
        keys = await az("POST", "/enrollments/az-device/attestationmechanism")
        assert keys == made["attestation"]
        update = NOTHING | shown | {"attestation": mechanism("symmetricKey", **keys)}
        update |= {"deviceId": "az-name", "registrationState": None}
        changed = await az("PUT", "/enrollments/az-device", update, shown["etag"])
        assert (changed["deviceId"], changed["attestation"]) == ("az-name", made["attestation"])
        listed = await az("POST", "/enrollments/query", {"query": "SELECT *"})
        assert [of["registrationId"] for of in listed] == ["az-device"]
        await az("DELETE", "/enrollments/az-device", etag="*")
        assert await az("POST", "/enrollments/query", {"query": "SELECT *"}) == []


async def test_a_group_s_certificates_are_replaced_and_removed_one_by_one() -> None:
    one, two = DeviceAuthority.root("one"), DeviceAuthority.root("two")
    async with AsyncLocalDps() as dps:
        path = "/enrollmentGroups/az-group"
        signing = {"primary": {"certificate": one.pem}, "secondary": {"certificate": two.pem}}
        x509 = {"clientCertificates": None, "signingCertificates": signing, "caReferences": None}
        create = {"enrollmentGroupId": "az-group", "attestation": mechanism("x509", x509=x509)}
        status, made = await ask(dps, "PUT", path, NOTHING | create, headers=HEADERS)
        assert status == 200
        # An update knows the certificates by their info alone: those keep their text.
        places = made["attestation"]["x509"]["signingCertificates"]
        known = {"secondary": {"info": places["secondary"]["info"]}}
        without = {"attestation": mechanism("x509", x509={"signingCertificates": known})}
        headers = HEADERS | {"If-Match": made["etag"]}
        status, changed = await ask(dps, "PUT", path, made | without, headers=headers)
        assert status == 200
        assert changed["attestation"]["x509"] == {
            "signingCertificates": {"secondary": places["secondary"]}
        }
        await x509_world.register(dps, two.issue("kept"))


async def test_a_group_s_references_are_removed_one_by_one() -> None:
    root = DeviceAuthority.root()
    async with AsyncLocalDps() as dps:
        await ask(dps, "PUT", "/certificates/uploaded", {"certificate": root.pem})
        references = {"caReferences": {"primary": None, "secondary": "uploaded"}}
        body = {"enrollmentGroupId": "g", "attestation": mechanism("x509", x509=references)}
        status, made = await ask(dps, "PUT", "/enrollmentGroups/g", NOTHING | body)
        assert status == 200
        kept = {"caReferences": {"secondary": "uploaded"}}
        assert made["attestation"]["x509"] == kept
        assert (await ask(dps, "GET", "/enrollmentGroups/g"))[1]["attestation"]["x509"] == kept
        await x509_world.register(dps, root.issue("device"))


async def test_registrations_are_listed_shown_and_deleted() -> None:
    root = DeviceAuthority.root()
    async with AsyncLocalDps() as dps:
        group = x509_world.group("g", root)
        assert (await ask(dps, "PUT", "/enrollmentGroups/g", NOTHING | group))[0] == 200
        await x509_world.register(dps, root.issue("member"))
        listed = (await ask(dps, "POST", "/registrations/g/query", headers=HEADERS))[1]
        assert [of["registrationId"] for of in listed] == ["member"]
        shown = (await ask(dps, "GET", "/registrations/member", headers=HEADERS))[1]
        assert shown == listed[0]
        headers = HEADERS | {"If-Match": shown["etag"]}
        assert (await ask(dps, "DELETE", "/registrations/member", headers=headers))[0] == 204
        assert (await ask(dps, "GET", "/registrations/member"))[0] == 404
