"""The released Python SDK against ``mqttws serve`` as it starts by itself: the program's part.

What each SDK makes of each answer is ``test_sdks``'s matter.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from ..conftest import peer_missing
from ..namespace import in_namespace
from .world import DEVICE_KEY, GROUP_KEY, PORTS, keyed


def test_the_shells_service_serves_the_sdk_on_both_ports(tmp_path: Path) -> None:
    if importlib.util.find_spec("azure.iot.device") is None:
        peer_missing("azure-iot-device is not installed")
    cases = [
        {"id": f"{name}-{port}", "port": port, "key": key}
        for port in PORTS
        for name, key in (("good", DEVICE_KEY), ("bad", GROUP_KEY))
    ]
    enrollments = [keyed(case["id"], deviceId=f"Device-{case['port']}") for case in cases]
    file = tmp_path / "enrollments.json"
    file.write_text(json.dumps(enrollments))
    order = {
        "options": ["--state", str(tmp_path / "state"), "--enrollments", str(file)],
        "cases": cases,
    }
    session = subprocess.run(
        in_namespace([sys.executable, str(Path(__file__).with_name("serve_session.py"))]),
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert session.returncode == 0, session.stderr
    done = json.loads(session.stdout)
    assert done["code"] == 0
    for port, (good, bad) in zip(PORTS, (done["found"][:2], done["found"][2:]), strict=True):
        hub = "local-hub.azure-devices.net"
        assert good == {"status": "assigned", "hub": hub, "device": f"Device-{port}"}
        assert "401" in bad["errors"][1]
