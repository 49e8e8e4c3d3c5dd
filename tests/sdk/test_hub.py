"""The released device SDKs, unaltered, against a local hub: all that a hub is for.

Each SDK over both transports, with a key and with a certificate, through DPS and by a connection
string whose gateway is this machine.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mqttws.local.x509 import DeviceAuthority

from ..conftest import peer_missing, require_program
from ..local import x509_world
from ..namespace import in_namespace
from .hub_session import HUB
from .world import DEVICE_KEY, PORTS, keyed

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
WAYS = [
    f"{way}-{credential}-{port}"
    for way in ("dps", "string")
    for credential in ("key", "certificate")
    for port in PORTS
]
TWIN = {"properties": {"desired": {"initial": True}}}


def run(folder: Path, command: list[str], env: dict[str, str], token: tuple[int, int]) -> Any:
    """Run a session with one SDK; return what was seen of each device."""
    root = DeviceAuthority.root("fleet root")
    enrollments: list[dict[str, Any]] = [
        x509_world.group("certificates", root) | {"initialTwin": TWIN}
    ]
    cases = []
    for name in WAYS:
        way, credential, port = name.split("-")
        case: dict[str, Any] = {
            "id": name,
            "device_id": name,
            "hub": HUB,
            "dps": way == "dps",
            "port": int(port),
            "token_seconds": token[0],
            "token_margin": token[1],
        }
        if credential == "certificate":
            issued = root.issue(name)
            chain_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
            chain_file.write_bytes(issued.chain)
            key_file.write_bytes(issued.key)
            case |= {"chain_file": str(chain_file), "key_file": str(key_file)}
        elif way == "dps":
            case["key"] = DEVICE_KEY
            enrollments.append(keyed(name, initialTwin=TWIN))
        cases.append(case)
    order = {
        "state": str(folder / "state"),
        "command": command,
        "env": env,
        "enrollments": enrollments,
        "cases": cases,
    }
    done = subprocess.run(
        in_namespace([sys.executable, "-m", "tests.sdk.hub_session"]),
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=HERE.parent.parent,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return dict(zip(WAYS, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def python_sdk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if importlib.util.find_spec("azure.iot.device") is None:
        peer_missing("azure-iot-device is not installed")
    command = [sys.executable, str(HERE / "hub_python_device.py")]
    # The SDK renews a token 120 s before it ends.
    return run(tmp_path_factory.mktemp("hub-python"), command, {}, (126, 120))


@pytest.fixture(scope="module")
def node_sdk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    node = require_program("node")
    folder = tmp_path_factory.mktemp("hub-node")
    modules = os.environ.get("MQTTWS_NODE_MODULES")
    if modules is None or not (Path(modules) / "azure-iot-device-mqtt").exists():
        if os.environ.get("CI") != "true":
            peer_missing("MQTTWS_NODE_MODULES names no folder with azure-iot-device-mqtt")
        npm = require_program("npm")
        shutil.copy(HERE / "package.json", folder)
        install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(install, cwd=folder, check=True, timeout=240)
        modules = str(folder / "node_modules")
    command = [node, str(HERE / "hub_node_device.js")]
    return run(folder, command, {"NODE_PATH": modules}, (30, 24))


@pytest.mark.rule("HUB-1")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sdk", ["python_sdk", "node_sdk"])
def test_a_released_sdk_is_served_as_by_the_cloud(
    request: pytest.FixtureRequest, sdk: str, way: str
) -> None:
    seen = request.getfixturevalue(sdk)[way]
    assert seen["twin"]["desired"]["initial"] is True
    assert seen["twin"]["desired"]["$version"] == 1
    hello = seen["hello"]
    assert hello["properties"] == {"a b": "c=d&e", "ü": "/+%"}
    system = hello["systemProperties"]
    assert system["iothub-connection-device-id"] == way
    assert {name: system[name] for name in ("message-id", "correlation-id", "user-id")} == {
        "message-id": "m:1",
        "correlation-id": "c/2",
        "user-id": "u 3",
    }
    assert (system["content-type"], system["content-encoding"]) == ("text/plain", "utf-8")
    for number, step in enumerate(("first", "after a cut", "after a renewal"), 1):
        if step == "after a renewal" and "certificate" in way:
            continue
        told = seen[step]
        assert told["echo"] == [200, {"n": number}]
        assert told["fail"] == 418
        assert told["patch"]["n"] == number
        assert told["message"]["message"] == "go"
        assert told["message"]["properties"]["n"] == str(number)
        assert told["message"]["properties"]["ü /"] == "=&"
        assert told["message"]["id"] == f"m{number}"
        assert told["report"] == 200
        assert told["reported"] == number
        assert told["read"] == [number, number]
        assert told["waiting"] == 0
