"""``mqttws serve`` on the ports it takes by itself, and devices that use the official Python SDK.

Run as a program inside a network namespace by ``test_serve``. Standard input is JSON: options of
``serve`` and cases. Prints what came of each case, and the service's exit code.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

ID_SCOPE = "0ne00LOCAL"
DEADLINE = 60.0


def main() -> None:
    order = json.load(sys.stdin)
    command = [sys.executable, "-m", "mqttws", "serve", "--json", *order["options"]]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    try:
        place = json.loads(service.stdout.readline())  # it listens once it says so
        cases = {"id_scope": ID_SCOPE, "ca_file": place["ca_file"], "cases": order["cases"]}
        devices = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("python_device.py"))],
            input=json.dumps(cases),
            stdout=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(DEADLINE)
        service.stdout.close()
    print(json.dumps({"found": json.loads(devices.stdout), "code": code}))


if __name__ == "__main__":
    main()
