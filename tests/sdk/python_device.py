"""Devices that use the official Python SDK; run as a program by ``session``.

Reads a JSON object from standard input: CA file, id scope and cases; prints what came of each.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure.iot.device import X509, ProvisioningDeviceClient


def causes(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return found


def register(order: dict, case: dict) -> dict:
    common = {
        "provisioning_host": "localhost",
        "registration_id": case["id"],
        "id_scope": order["id_scope"],
        "websockets": case["port"] == 443,
        "server_verification_cert": Path(order["ca_file"]).read_text(),
    }
    if "key" in case:
        client = ProvisioningDeviceClient.create_from_symmetric_key(
            symmetric_key=case["key"], **common
        )
    else:
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            x509=X509(cert_file=case["chain_file"], key_file=case["key_file"]), **common
        )
    try:
        result = client.register()
    except Exception as error:  # the test judges it
        return {"errors": causes(error)}
    state = result.registration_state
    return {"status": result.status, "hub": state.assigned_hub, "device": state.device_id}


def main() -> None:
    order = json.load(sys.stdin)
    # All at once: the SDK waits for two seconds before each first poll.
    with ThreadPoolExecutor(len(order["cases"])) as devices:
        found = list(devices.map(lambda case: register(order, case), order["cases"]))
    print(json.dumps(found), flush=True)
    os._exit(0)  # after an error the SDK keeps its connection and threads


if __name__ == "__main__":
    main()
