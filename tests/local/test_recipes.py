"""The shell's recipes of docs/recipes.md, run as they stand there."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from mqttws import LocalDps, UsageError
from mqttws.local.x509 import Issued

from ..conftest import require_program
from ..recipes import recipes

try:
    from mqttws.local.admin import AdminApi
except UsageError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("aiohttp is not installed: mqttws[admin]", allow_module_level=True)


def run(name: str, **names: object) -> str:
    """Run a recipe in bash with these variables; return what it printed."""
    done = subprocess.run(
        [require_program("bash"), "-euo", "pipefail", "-c", recipes()[name]],
        env={"PATH": os.environ["PATH"], **{name: str(value) for name, value in names.items()}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, 28 if name == "curl-events" else 0), done.stderr
    return done.stdout


def where(dps: LocalDps) -> dict[str, object]:
    root = f"https://127.0.0.1:{dps.wss_port}"
    return {"DPS": root, "CA": dps.ca_file, "SCOPE": dps.id_scope, "PAUSE": 0}


def test_curl_registers_a_device_by_its_key(dps_state: Path, tmp_path: Path) -> None:
    require_program("curl")
    require_program("openssl")
    file = tmp_path / "device.key"
    with LocalDps(state=dps_state, assigning_polls=1) as dps:
        file.write_text(dps.enroll_device("my-device") + "\n")
        answer = json.loads(run("curl-key", **where(dps), KEY_FILE=file))
        assert answer["registrationState"]["deviceId"] == "my-device"
        file.write_text(dps.enroll_device("other") + "\n")
        refused = json.loads(run("curl-key", **where(dps), KEY_FILE=file))
        assert refused["errorCode"] == 401000


def test_curl_registers_a_device_by_its_certificate(dps_state: Path, tmp_path: Path) -> None:
    require_program("curl")
    with LocalDps(state=dps_state) as dps:
        issued: Issued = dps.enroll_certificate("my-device", group="fleet")
        files = {"CHAIN": tmp_path / "chain.pem", "KEY": tmp_path / "key.pem"}
        files["CHAIN"].write_bytes(issued.chain)
        files["KEY"].write_bytes(issued.key)
        begun = json.loads(run("curl-certificate", **where(dps), **files))
        assert begun["status"] == "assigning"
        found = json.loads(run("curl-lookup", **where(dps), **files))
        assert (found["status"], found["deviceId"]) == ("assigned", "my-device")


def test_curl_watches_what_happens(dps_state: Path) -> None:
    require_program("curl")
    with LocalDps(state=dps_state) as dps:
        dps.enroll_device("my-device")
        admin = AdminApi(dps._dps)
        dps.run(admin.start)
        try:
            printed = run("curl-events", ADMIN=admin.url, SECONDS_TO_WATCH=1)
        finally:
            dps.run(admin.stop)
        (event,) = [json.loads(line) for line in printed.splitlines() if line]
        assert (event["event"], event["id"]) == ("enrollment", "my-device")


@pytest.mark.slow  # a Java runtime starts twice
def test_keytool_makes_a_trust_store(dps_state: Path, tmp_path: Path) -> None:
    keytool = require_program("keytool")
    store = tmp_path / "local-dps.p12"
    with LocalDps(state=dps_state) as dps:
        run("keytool", CA=dps.ca_file, STORE=store)
    listed = subprocess.run(
        [keytool, "-list", "-keystore", str(store), "-storepass", "changeit"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "local-dps" in listed.stdout
