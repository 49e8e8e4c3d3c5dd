"""The official Python SDK, as released, registers against ``mqttws serve``."""

import base64
import importlib.util
import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from mqttws.dps.sas import decode_key, derive_device_key

from ..conftest import peer_missing
from ..namespace import in_namespace

GROUP_KEY = base64.b64encode(secrets.token_bytes(64)).decode()
DEVICE_KEY = base64.b64encode(secrets.token_bytes(64)).decode()


def attestation(key: str) -> dict[str, object]:
    other = base64.b64encode(secrets.token_bytes(64)).decode()
    return {"type": "symmetricKey", "symmetricKey": {"primaryKey": key, "secondaryKey": other}}


ENROLLMENTS = [
    {"registrationId": "alone", "deviceId": "Alone-1", "attestation": attestation(DEVICE_KEY)},
    {
        "registrationId": "switched-off",
        "provisioningStatus": "disabled",
        "attestation": attestation(DEVICE_KEY),
    },
    {"enrollmentGroupId": "fleet", "attestation": attestation(GROUP_KEY)},
]


def derived(registration_id: str) -> str:
    return base64.b64encode(derive_device_key(decode_key(GROUP_KEY), registration_id)).decode()


DEVICES = [
    (name, key, port)
    for port in (443, 8883)
    for name, key in (
        ("alone", DEVICE_KEY),
        ("member", derived("member")),
        ("alone", GROUP_KEY),
        ("switched-off", DEVICE_KEY),
    )
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    if importlib.util.find_spec("azure.iot.device") is None:
        peer_missing("azure-iot-device is not installed")
    folder = tmp_path_factory.mktemp("sdk")
    enrollments = folder / "enrollments.json"
    enrollments.write_text(json.dumps(ENROLLMENTS))
    session = subprocess.run(
        in_namespace(
            [
                sys.executable,
                str(Path(__file__).with_name("sdk_session.py")),
                str(folder / "state"),
                str(enrollments),
            ]
        ),
        input=json.dumps(DEVICES),
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(session.stdout)
    assert isinstance(found, list)
    return found


def outcome(outcomes: list[dict[str, object]], number: int, port: int) -> dict[str, object]:
    return outcomes[number + (0 if port == 443 else 4)]


@pytest.mark.parametrize("port", [443, 8883])
def test_the_sdk_registers_with_an_individual_enrollment(
    outcomes: list[dict[str, object]], port: int
) -> None:
    again = port == 8883  # the same device registers a second time
    assert outcome(outcomes, 0, port) == {
        "status": "assigned",
        "assigned_hub": "local-hub.azure-devices.net",
        "device_id": "Alone-1",
        "sub_status": "reprovisionedToInitialAssignment" if again else "initialAssignment",
    }


@pytest.mark.parametrize("port", [443, 8883])
def test_the_sdk_registers_with_a_key_derived_from_a_groups(
    outcomes: list[dict[str, object]], port: int
) -> None:
    assert outcome(outcomes, 1, port)["status"] == "assigned"
    assert outcome(outcomes, 1, port)["device_id"] == "member"


@pytest.mark.parametrize("port", [443, 8883])
def test_the_sdk_reports_a_wrong_key_as_401(outcomes: list[dict[str, object]], port: int) -> None:
    errors = outcome(outcomes, 2, port)["errors"]
    assert isinstance(errors, list)
    assert errors[0].startswith("ClientError")
    assert "401" in errors[1]


@pytest.mark.parametrize("port", [443, 8883])
def test_the_sdk_reports_a_disabled_enrollment(
    outcomes: list[dict[str, object]], port: int
) -> None:
    errors = outcome(outcomes, 3, port)["errors"]
    assert isinstance(errors, list)
    assert "disabled" in errors[1]
