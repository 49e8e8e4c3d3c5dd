"""The SDKs' recipes of docs/recipes.md and docs/compose.md, run as they stand there."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from ..conftest import peer_missing, require_program
from ..namespace import in_namespace
from ..recipes import recipes
from .test_sdks import node_modules
from .world import DEVICE_KEY, keyed

__all__ = ["node_modules"]


def run(folder: Path, command: list[str], **environment: str) -> str:
    """Run a program beside ``serve``; return what it printed."""
    enrollments = folder / "enrollments.json"
    enrollments.write_text(json.dumps([keyed("my-device")]))
    key_file, state = folder / "my-device.key", folder / "state"
    key_file.write_text(DEVICE_KEY + "\n")
    common = {"ID": "my-device", "KEY_FILE": str(key_file), "CA": str(state / "ca.pem")}
    options = ["--with-hub", "--state", str(state), "--enrollments", str(enrollments)]
    order = {"options": options, "commands": [[command, common | environment]]}
    session = subprocess.run(
        in_namespace([sys.executable, str(Path(__file__).with_name("recipe_session.py"))]),
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert session.returncode == 0, session.stderr
    ((code, printed, errors),) = json.loads(session.stdout)
    assert code == 0, errors
    return str(printed)


def test_the_python_sdk_trusts_the_local_ca(tmp_path: Path) -> None:
    if importlib.util.find_spec("azure.iot.device") is None:
        peer_missing("azure-iot-device is not installed")
    program = tmp_path / "register.py"
    program.write_text(recipes()["python"])
    printed = run(tmp_path, [sys.executable, str(program)])
    assert printed.strip() == "local-hub.azure-devices.net"


def test_the_node_sdk_trusts_the_local_ca(tmp_path: Path, node_modules: str) -> None:
    program = tmp_path / "device.js"
    program.write_text(recipes()["node"])
    trust = str(tmp_path / "state" / "ca.pem")
    printed = run(
        tmp_path,
        [require_program("node"), str(program)],
        NODE_EXTRA_CA_CERTS=trust,
        NODE_PATH=node_modules,
        PROVISIONING_HOST="localhost",
        ID_SCOPE="0ne00LOCAL",
    )
    assert printed.split() == ["local-hub.azure-devices.net", "sent"]
