"""``mqttws serve`` on the ports that the official SDK insists on, and devices that use that SDK.

Run as a program inside a network namespace by ``test_python_sdk``. Arguments: state folder and
enrollment file; standard input is a JSON list of ``[registration id, key, port]``. Prints a JSON
list of what each device printed.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

ID_SCOPE = "0ne00SDKTEST"
DEADLINE = 30.0


def wait_for(port: int) -> None:
    """Return when the port takes connections."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)  # the kernel has no way to tell when a port is taken
        else:
            return


def main() -> None:
    state, enrollments = sys.argv[1:]
    ports = ["--wss-port", "443", "--mqtts-port", "8883"]
    service = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mqttws",
            "serve",
            *ports,
            "--id-scope",
            ID_SCOPE,
            "--state",
            state,
            "--enrollments",
            enrollments,
            "--retry-after",
            "1",
        ],
        stdout=sys.stderr,
    )
    results = []
    try:
        for port in (443, 8883):
            wait_for(port)
        for registration_id, key, port in json.load(sys.stdin):
            device = subprocess.run(
                [
                    sys.executable,
                    str(Path(__file__).with_name("sdk_device.py")),
                    str(Path(state, "ca.pem")),
                    ID_SCOPE,
                    registration_id,
                    str(port),
                ],
                input=key,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            sys.stderr.write(device.stderr)
            results.append(json.loads(device.stdout))
    finally:
        service.terminate()
        service.wait(DEADLINE)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
