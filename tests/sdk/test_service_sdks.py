"""The released service SDKs, unaltered, over their whole surface against ``mqttws serve``.

They take the connection string that serve prints, on the ports that it takes by itself.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from mqttws.local.x509 import DeviceAuthority, Issued

from ..conftest import peer_missing, require_program
from ..namespace import in_namespace

HERE = Path(__file__).parent
PYTHON_PACKAGE = "azure-iot-deviceprovisioning==1.0.0b1"
INFO = [
    "issuerName",
    "notAfterUtc",
    "notBeforeUtc",
    "serialNumber",
    "sha1Thumbprint",
    "sha256Thumbprint",
    "subjectName",
    "version",
]


def run(
    folder: Path, who: str, program: list[str], env: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a program beside serve; return the outcome of its steps, and of the session."""
    root, uploaded = DeviceAuthority.root("fleet"), DeviceAuthority.root("uploaded")
    (folder / "uploaded.pem").write_text(uploaded.pem)
    order = {
        "ca": str(folder / "uploaded.pem"),
        "options": ["--state", str(folder / "state"), "--hub", "a.azure-devices.net"],
        "log": str(folder / "log"),
        "program": program,
        "given": {
            "folder": str(folder),
            "root": root.pem,
            **_written(folder, "leaf", DeviceAuthority.root().issue(f"{who}-leaf")),
            **_written(folder, "member", root.issue("member")),
            **_written(folder, "referred", uploaded.issue("referred")),
        },
    }
    session = subprocess.run(
        in_namespace([sys.executable, str(HERE / "service_session.py")]),
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=HERE.parent.parent,
        env=os.environ | (env or {}),
    )
    assert session.returncode == 0, session.stderr
    done: dict[str, Any] = json.loads(session.stdout)
    assert done["code"] == 0, done["err"] + done["log"]
    return done | {"steps": json.loads(done["out"])}


def _written(folder: Path, name: str, issued: Issued) -> dict[str, str]:
    (folder / f"{name}.pem").write_bytes(issued.chain)
    (folder / f"{name}.key.pem").write_bytes(issued.key)
    return {
        name: issued.certificate.decode(),
        f"{name}_file": str(folder / f"{name}.pem"),
        f"{name}_key_file": str(folder / f"{name}.key.pem"),
    }


def check(done: dict[str, Any], who: str) -> None:
    """Check what both SDKs have found; ``who`` begins each name that they use."""
    steps = done["steps"]
    assert {"attestation", "etag", "createdDateTimeUtc", "registrationId"} <= set(steps["made"])
    assert steps["got"][:2] == [{"type": "symmetricKey"}, True]
    assert (steps["mechanism"], steps["keys stay"], steps["group's keys"]) == (True, True, True)
    kinds = ("registered", "leaf registered", "member registered", "referred registered")
    assert [steps[name] for name in kinds] == ["assigned"] * 4
    assert steps["stale etag"] == steps["bad delete"] == [412, 412000]
    assert steps["no etag"] == [409, 409001]
    assert steps["none"] == steps["deleted"] == [404, 404201]
    assert steps["state deleted"] == [404, 404202]
    assert steps["unknown CA"] == [400, 400004]
    assert steps["state"] == "assigned"
    assert steps["leaf"] == INFO
    assert steps["tpm"] == {"type": "tpm", "tpm": {"endorsementKey": "RUsx"}}
    assert steps["bulk"] == steps["bulk delete"] == {"isSuccessful": True, "errors": []}
    assert steps["bulk again"] == [409001] * 7
    names = {f"{who}-{number}" for number in (*range(7), "keys", "leaf", "tpm")}
    assert set(steps["queried"]) == names | {"example-device"}
    assert steps["pages"] == [3, 3, 3, 2]
    assert steps["group's states"] == ["member"]
    assert steps["groups"] == [f"{who}-group", f"{who}-keyed", f"{who}-refers"]
    assert steps["references"] == {"caReferences": {"primary": "uploaded"}}
    assert done["service"] == 0
    key = done["place"]["connection_string"].partition("SharedAccessKey=")[2]
    assert len(key) > 40
    assert key not in done["log"]


@pytest.mark.slow  # two programs and six registrations each
def test_the_node_service_sdk_works_over_its_whole_surface(tmp_path: Path) -> None:
    node = require_program("node")
    modules = os.environ.get("MQTTWS_NODE_MODULES")
    if modules is None or not Path(modules, "azure-iot-provisioning-service").exists():
        peer_missing("MQTTWS_NODE_MODULES names no folder with azure-iot-provisioning-service")
    done = run(
        tmp_path, "node", [node, str(HERE / "service_node.js")], {"NODE_PATH": modules or ""}
    )
    check(done, "node")
    assert done["steps"]["got"][2:] == [
        {"tags": {"a": 1}, "properties": {"desired": {"b": 2}}},
        {"c": 3},
    ]
    assert done["steps"]["group deleted"] == [404, 404201]


@pytest.mark.slow
def test_the_python_service_sdk_works_over_its_whole_surface(tmp_path: Path) -> None:
    python = os.environ.get("MQTTWS_DPS_SERVICE_PYTHON")
    if python is None:
        if os.environ.get("CI") != "true":
            peer_missing("MQTTWS_DPS_SERVICE_PYTHON names no interpreter with the service SDK")
        # Its package shares azure.iot with azure-iot-hub's: an environment of its own.
        venv.create(tmp_path / "venv", with_pip=True)
        python = str(tmp_path / "venv/bin/python")
        install = [python, "-m", "pip", "install", "-q", PYTHON_PACKAGE]
        subprocess.run(install, check=True, timeout=240)
    done = run(tmp_path, "py", [python, str(HERE / "service_python.py")])
    check(done, "py")
    steps = done["steps"]
    assert "401000" in steps["tpm refused"]["message"]
    assert "attested by a TPM" in done["log"]
    assert steps["state in the enrollment"] == "a.azure-devices.net"
    assert steps["group"] == ["signingCertificates"]
    assert (steps["group bulk"], steps["token"]) == (True, True)
