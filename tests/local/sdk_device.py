"""A device that uses the official Python SDK; run as a program by ``test_python_sdk``.

Arguments: CA file, id scope, registration id, ``443`` or ``8883``; the key is read from standard
input. Prints what the SDK returned, or the errors it raised, as JSON.
"""

import json
import sys
from pathlib import Path

from azure.iot.device import ProvisioningDeviceClient


def causes(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return found


def main() -> None:
    ca_file, id_scope, registration_id, port = sys.argv[1:]
    client = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host="localhost",
        registration_id=registration_id,
        id_scope=id_scope,
        symmetric_key=sys.stdin.read().strip(),
        websockets=port == "443",
        server_verification_cert=Path(ca_file).read_text(),
    )
    try:
        result = client.register()
    except Exception as error:  # the test judges it
        print(json.dumps({"errors": causes(error)}), flush=True)
    else:
        state = result.registration_state
        print(
            json.dumps(
                {
                    "status": result.status,
                    "assigned_hub": state.assigned_hub,
                    "device_id": state.device_id,
                    "sub_status": state.sub_status,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
