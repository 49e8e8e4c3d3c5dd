"""``mqttws serve`` on its own ports, and a program that uses a service SDK against it.

Run as a program inside a network namespace by ``test_service_sdks``. Standard input is JSON:
``options`` of serve, and the ``program`` with its arguments. The program's standard input is JSON:
the connection string that serve has printed, and the command line by which a device registers. Its
standard output is passed on, with what serve has logged.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

DEADLINE = 90.0


def main() -> None:
    order = json.load(sys.stdin)
    log = Path(order["log"])
    mqttws = [sys.executable, "-m", "mqttws"]
    command = [*mqttws, "serve", "--json", "--retry-after", "0", "--admin-port", "0"]
    command += order["options"]
    with log.open("wb") as errors:
        service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert service.stdout is not None
    try:
        place = json.loads(service.stdout.readline())  # it listens once it says so
        ca = place["ca_file"]
        upload = ["enroll", "--admin", place["admin"], "ca", "uploaded", order["ca"]]
        subprocess.run([*mqttws, *upload], check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE)
        given = {
            "connection_string": place["connection_string"],
            "provision": [*mqttws, "provision", "--json", "--id-scope", place["id_scope"],
                          "--host", place["host"], "--ca", ca],
            **order["given"],
        }  # fmt: skip
        trusting = os.environ | {"NODE_EXTRA_CA_CERTS": ca, "REQUESTS_CA_BUNDLE": ca}
        program = subprocess.run(
            order["program"],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env=trusting,
        )
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(DEADLINE)
        service.stdout.close()
    found = {"out": program.stdout, "err": program.stderr, "code": program.returncode}
    print(json.dumps(found | {"service": code, "log": log.read_text(), "place": place}))


if __name__ == "__main__":
    main()
