"""The released SDKs, against a local DPS on the ports that they insist on."""

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from mqttws import SymmetricKey

from ..conftest import peer_missing, require_program
from .session import ID_SCOPE
from .world import ASSIGNED, PORTS, World

HERE = Path(__file__).parent

Outcomes = dict[tuple[str, int], dict[str, Any]]


@pytest.fixture(scope="module")
def python_sdk(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    if importlib.util.find_spec("azure.iot.device") is None:
        peer_missing("azure-iot-device is not installed")
    world = World(tmp_path_factory.mktemp("python-sdk"))
    command = [sys.executable, str(HERE / "python_device.py")]
    return world.outcomes(world.run(world.batches(command)))


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> str:
    modules = os.environ.get("MQTTWS_NODE_MODULES")  # a node_modules folder that is there already
    if modules is not None:
        return modules
    if os.environ.get("CI") != "true":
        peer_missing("MQTTWS_NODE_MODULES names no folder with the Node SDK")
    npm = require_program("npm")
    folder = tmp_path_factory.mktemp("node-modules")
    shutil.copy(HERE / "package.json", folder)
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, check=True, timeout=240)
    return str(folder / "node_modules")


def run_node(folder: Path, modules: str, *arguments: str) -> Outcomes:
    world = World(folder)
    command = [require_program("node"), str(HERE / "node_device.js"), *arguments]
    return world.outcomes(world.run(world.batches(command, env={"NODE_PATH": modules})))


@pytest.fixture(scope="module")
def node_sdk(tmp_path_factory: pytest.TempPathFactory, node_modules: str) -> Outcomes:
    return run_node(tmp_path_factory.mktemp("node-sdk"), node_modules)


@pytest.fixture(scope="module")
def node_https(tmp_path_factory: pytest.TempPathFactory, node_modules: str) -> Outcomes:
    if not Path(node_modules, "azure-iot-provisioning-device-http").exists():
        peer_missing("the Node SDK's HTTP transport is not installed")
    return run_node(tmp_path_factory.mktemp("node-https"), node_modules, "https")


@pytest.fixture(scope="module")
def paho(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    python = os.environ.get("MQTTWS_PAHO_PYTHON")  # an interpreter that has paho-mqtt 2
    world = World(tmp_path_factory.mktemp("paho"))
    if python is None:
        if os.environ.get("CI") != "true":
            peer_missing("MQTTWS_PAHO_PYTHON names no interpreter with paho-mqtt 2")
        # The Python SDK needs paho-mqtt 1, so this one lives in an environment of its own.
        venv.create(world.folder / "venv", with_pip=True)
        python = str(world.folder / "venv/bin/python")
        install = [python, "-m", "pip", "install", "-q", "paho-mqtt>=2,<3"]
        subprocess.run(install, check=True, timeout=240)
    cases = []
    for outcome in ("key", "wrong-key"):
        for port in PORTS:
            case = dict(world.cases[outcome, port])
            key = case.pop("key")
            case["password"] = SymmetricKey(case["id"], key).password(ID_SCOPE, 3_000_000_000)
            cases.append(case)
    (found,) = world.run([{"command": [python, str(HERE / "paho_device.py")], "cases": cases}])
    names = [(outcome, port) for outcome in ("key", "wrong-key") for port in PORTS]
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("sdk", ["python_sdk", "node_sdk"])
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("outcome", ASSIGNED)
def test_a_device_is_assigned(
    request: pytest.FixtureRequest, sdk: str, outcome: str, port: int
) -> None:
    assert request.getfixturevalue(sdk)[outcome, port] == {
        "status": "assigned",
        "hub": "local-hub.azure-devices.net",
        "device": "Own" if outcome == "certificate" else f"{outcome}-{port}",
    }


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("wrong-key", "401"),
        ("wrong-certificate", "401"),
        ("unknown", "404"),
        ("failed", "failed"),
        ("disabled", "disabled"),
    ],
)
def test_the_python_sdk_is_told_why_not(
    python_sdk: Outcomes, outcome: str, told: str, port: int
) -> None:
    errors = python_sdk[outcome, port]["errors"]
    assert errors[0].startswith("ClientError")
    assert told in errors[1]


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    ("outcome", "told", "code"),
    [
        ("wrong-key", "UnauthorizedError", 401000),
        ("wrong-certificate", "UnauthorizedError", 401002),
        ("unknown", "DeviceNotFoundError", 404201),
        ("failed", "ProvisioningRegistrationFailedError", None),
        ("disabled", "disabled", None),
    ],
)
def test_the_node_sdk_is_told_why_not(
    node_sdk: Outcomes, outcome: str, told: str, code: int | None, port: int
) -> None:
    found = node_sdk[outcome, port]
    assert told in found["errors"][0]
    if code is not None:
        assert found["result"]["errorCode"] == code


@pytest.mark.operation(
    "Device API: PUT /{idScope}/registrations/{id}/register (HTTPS)",
    "Device API: GET /{idScope}/registrations/{id}/operations/{operationId} (HTTPS)",
)
@pytest.mark.parametrize("outcome", ["key", "group-key", "certificate", "group-certificate"])
def test_the_node_sdks_http_transport_is_assigned(node_https: Outcomes, outcome: str) -> None:
    assert node_https[outcome, 443] == {
        "status": "assigned",
        "hub": "local-hub.azure-devices.net",
        "device": "Own" if outcome == "certificate" else f"{outcome}-443",
    }


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("wrong-key", 'UnauthorizedError: Error: {"errorCode":401000'),
        ("wrong-certificate", 'UnauthorizedError: Error: {"errorCode":401002'),
        ("unknown", "Not found"),
        ("throttled", 'ThrottlingError: Error: {"errorCode":429001'),
        ("server-error", "InternalServerError"),
        ("failed", "ProvisioningRegistrationFailedError"),
        ("disabled", "disabled"),
    ],
)
def test_the_node_sdks_http_transport_is_told_why_not(
    node_https: Outcomes, outcome: str, told: str
) -> None:
    """It asks nothing again, whatever the status: its HTTP client makes an error of each."""
    assert told in node_https[outcome, 443]["errors"][0]


@pytest.mark.parametrize("port", PORTS)
def test_paho_2_registers_by_hand(paho: Outcomes, port: int) -> None:
    found = paho["key", port]
    assert found["version"].startswith("2.")
    connected, subscribed, accepted, ended = found["seen"]
    assert connected == ["connect", 0]
    assert subscribed == ["subscribe", 1]
    assert accepted[1][0] == "$dps/registrations/res/202/?$rid=1&retry-after=1"
    topic, body = ended[1]
    assert topic == "$dps/registrations/res/200/?$rid=2"
    assert body["registrationState"]["assignedHub"] == "local-hub.azure-devices.net"


@pytest.mark.parametrize("port", PORTS)
def test_paho_2_is_told_401_at_register(paho: Outcomes, port: int) -> None:
    topic, body = paho["wrong-key", port]["seen"][2][1]
    assert topic == "$dps/registrations/res/401/?$rid=1"
    assert body["errorCode"] == 401000
