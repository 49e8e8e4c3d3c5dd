"""``mqttws serve`` on the ports it takes by itself, and programs of docs/recipes.md beside it.

Run as a program inside a network namespace by ``test_recipes``. Standard input is JSON: the state
folder, and commands with their environment. Prints what each printed.
"""

import json
import os
import signal
import subprocess
import sys

DEADLINE = 60.0


def main() -> None:
    order = json.load(sys.stdin)
    command = [sys.executable, "-m", "mqttws", "serve", "--json", *order["options"]]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    found = []
    try:
        json.loads(service.stdout.readline())  # it listens once it says so
        for arguments, environment in order["commands"]:
            done = subprocess.run(
                arguments,
                env=os.environ | environment,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            found.append([done.returncode, done.stdout, done.stderr])
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(DEADLINE)
        service.stdout.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
