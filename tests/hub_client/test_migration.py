"""The page "from azure-iot-device": its three programs do the same, and its names exist."""

import asyncio
import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

import mqttws
from mqttws import AsyncLocalHub

from ..conftest import peer_missing
from ..namespace import in_namespace

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "from-azure-iot-device.md"
DEVICE = "device-1"
TWIN = {"properties": {"desired": {"interval": 5}}}


def program(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\s+```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


async def by_connection_string(hub: AsyncLocalHub) -> dict[str, str]:
    """Create the device at the hub; return the environment from which a program finds it."""
    await hub.create_device(DEVICE, initial_twin=TWIN)
    return {"CONNECTION_STRING": await hub.connection_string(DEVICE)}


async def by_dps(hub: AsyncLocalHub) -> dict[str, str]:
    """Enroll the device; return the environment with which a program registers it."""
    key = b64encode(b"a key of the device").decode()
    keys = {"primaryKey": key, "secondaryKey": key}
    attestation = {"type": "symmetricKey", "symmetricKey": keys}
    enrollment = {"registrationId": DEVICE, "attestation": attestation, "initialTwin": TWIN}
    await hub.dps.enroll(enrollment)
    return {"ID_SCOPE": hub.dps.id_scope, "REGISTRATION_ID": DEVICE, "DEVICE_KEY": key}


async def serve(name: str) -> dict[str, Any]:
    """Be the service of one run: everything that a hub is for, and its results."""
    code = program(name)
    async with AsyncLocalHub(host="localhost", wss_port=443, mqtts_port=8883) as hub:
        place = await (by_dps(hub) if name == "asyncio" else by_connection_string(hub))
        environment = os.environ | place | {"CA_FILE": str(hub.dps.ca_file)}
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environment)
        telemetry = await hub.next_telemetry(30)
        await reported(hub, "interval", 5)
        answer = await hub.invoke(DEVICE, "echo", {"a": 1}, connect_timeout=10)
        await hub.send(DEVICE, b"hello")
        await reported(hub, "message", "hello")
        await hub.patch_twin(DEVICE, desired={"interval": 9})
        await reported(hub, "interval", 9)
        last = await hub.invoke(DEVICE, "stop")
        code_of_exit = await asyncio.wait_for(process.wait(), 30)
        return {
            "telemetry": json.loads(telemetry.payload),
            "properties": dict(telemetry.properties),
            "system": dict(telemetry.system_properties),
            "answers": [answer.status, answer.payload, last.status],
            "exit": code_of_exit,
        }


async def reported(hub: AsyncLocalHub, name: str, value: Any) -> None:
    async with asyncio.timeout(30):
        while (await hub.twin(DEVICE))["properties"]["reported"].get(name) != value:
            await asyncio.sleep(0.02)


@pytest.mark.apart
@pytest.mark.parametrize("name", ["azure", "mqttws", "asyncio"])
def test_all_programs_do_the_same(name: str) -> None:
    if name == "azure":
        try:
            import azure.iot.device  # noqa: F401
        except ImportError:
            peer_missing("azure-iot-device is not installed")
    done = subprocess.run(
        in_namespace([sys.executable, "-m", "tests.hub_client.test_migration", name]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    system = found.pop("system")
    assert found == {
        "telemetry": {"temperature": 21.5},
        "properties": {"room": "kitchen"},
        "answers": [200, {"was": {"a": 1}}, 200],
        "exit": 0,
    }
    for value in ("1", "application/json", "utf-8"):
        assert value in system.values()


def test_each_of_our_names_on_the_page_exists() -> None:
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    ours = " ".join(line.rsplit(" | ", 1)[1] for line in table)
    for name in re.findall(r"`(?:@client\.|client\.|assignment\.)?(\w+)\(", ours):
        homes = (mqttws, mqttws.HubClient, mqttws.AsyncHubClient, mqttws.Assignment)
        assert any(hasattr(home, name) for home in homes), name


def test_each_of_their_calls_is_on_the_page() -> None:
    sdk = pytest.importorskip("azure.iot.device")
    page = PAGE.read_text()
    for kind in ("IoTHubDeviceClient", "IoTHubModuleClient", "ProvisioningDeviceClient"):
        for name in dir(getattr(sdk, kind)):
            assert name.startswith("_") or name in page, f"{kind}.{name}"


if __name__ == "__main__":
    print(json.dumps(asyncio.run(serve(sys.argv[1]))))
