"""Enrollments of every kind, devices for them, and how a session with an SDK is run."""

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mqttws.dps.sas import decode_key, derive_device_key
from mqttws.local.x509 import DeviceAuthority, Issued
from tests.local.stores.cluster import cluster

from ..local import x509_world
from ..namespace import in_namespace

DEVICE_KEY = base64.b64encode(bytes(range(64))).decode()
GROUP_KEY = base64.b64encode(bytes(range(64, 128))).decode()
PORTS = (443, 8883)

OUTCOMES = (
    "key",
    "group-key",
    "certificate",
    "group-certificate",
    "wrong-key",
    "wrong-certificate",
    "throttled",
    "throttled-poll",
    "server-error",
    "failed",
    "disabled",
)


def keyed(name: str, key: str = DEVICE_KEY, **members: object) -> dict[str, Any]:
    keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}
    return {"registrationId": name, "attestation": keys, **members}


class World:
    """What one session is made of.

    Args:
        folder: for certificates, keys and the service's state.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = DeviceAuthority.root("fleet root")
        line = root.intermediate("line")
        self.enrollments: list[dict[str, Any]] = [
            {"enrollmentGroupId": "keys"} | {"attestation": keyed("x", GROUP_KEY)["attestation"]},
            x509_world.group("certificates", root),
        ]
        self.faults: list[dict[str, Any]] = []
        self.cases: dict[tuple[str, int], dict[str, Any]] = {}
        for port in PORTS:
            for outcome in OUTCOMES:
                self._add(outcome, port, line)

    def _add(self, outcome: str, port: int, line: DeviceAuthority) -> None:
        name = f"{outcome}-{port}"
        case: dict[str, Any] = {"id": name, "port": port}
        if "certificate" in outcome:
            case |= self._files(name, line.issue(name))
        elif outcome == "group-key":
            key = derive_device_key(decode_key(GROUP_KEY), name)
            case["key"] = base64.b64encode(key).decode()
        else:
            case["key"] = GROUP_KEY if outcome == "wrong-key" else DEVICE_KEY
        if outcome == "certificate":
            own = Path(case["chain_file"]).read_bytes().split(b"-----END CERTIFICATE-----\n")[0]
            pem = own + b"-----END CERTIFICATE-----\n"
            self.enrollments.append(x509_world.individual(name, pem, deviceId="Own"))
        elif outcome == "wrong-certificate":
            self.enrollments.append(x509_world.individual(name, line.issue(name).certificate))
        elif outcome == "failed":
            hubs = ["a.example", "b.example"]
            self.enrollments.append(keyed(name, allocationPolicy="static", iotHubs=hubs))
        elif outcome == "disabled":
            self.enrollments.append(keyed(name, provisioningStatus="disabled"))
        elif not outcome.startswith("group"):
            self.enrollments.append(keyed(name))
        if outcome in ("throttled", "throttled-poll", "server-error"):
            status = 500 if outcome == "server-error" else 429
            hop = "poll" if outcome == "throttled-poll" else "register"
            order = {"kind": "answer", "device": name, "status": status, "retry_after": 1}
            self.faults.append(order | {"hop": hop})
        self.cases[outcome, port] = case

    def _files(self, name: str, device: Issued) -> dict[str, str]:
        chain_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain_file.write_bytes(device.chain)
        key_file.write_bytes(device.key)
        return {"chain_file": str(chain_file), "key_file": str(key_file)}

    def run(self, batches: list[dict[str, Any]]) -> list[Any]:
        """Run a session, on the records of MQTTWS_TEST_RECORDS; return what each batch printed."""
        where = os.environ.get("MQTTWS_TEST_RECORDS")
        with contextlib.ExitStack() as stack:
            records = None
            if where == "postgres":
                records = stack.enter_context(cluster()).local_url
            elif where == "sqlite":
                records = str(self.folder / "records.sqlite")
            return self._run(batches, records)

    def _run(self, batches: list[dict[str, Any]], records: str | None) -> list[Any]:
        order = {
            "records": records,
            "state": str(self.folder / "state"),
            "enrollments": self.enrollments,
            "faults": self.faults,
            "batches": batches,
        }
        command = in_namespace([sys.executable, "-m", "tests.sdk.session"])
        done = subprocess.run(
            command,
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=Path(__file__).parent.parent.parent,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, list)
        return found

    def batches(self, command: list[str], **members: object) -> list[dict[str, Any]]:
        """Return every case for one SDK, and a second batch of devices that nobody knows."""
        unknown = [{"id": f"unknown-{port}", "port": port, "key": DEVICE_KEY} for port in PORTS]
        common = {"command": command, **members}
        return [
            common | {"cases": list(self.cases.values())},
            common | {"cases": unknown, "bare": True},
        ]

    def outcomes(self, found: list[Any]) -> dict[tuple[str, int], dict[str, Any]]:
        """Return what came of each case."""
        known, unknown = found
        outcomes = dict(zip(self.cases, known, strict=True))
        outcomes |= {("unknown", port): result for port, result in zip(PORTS, unknown, strict=True)}
        return outcomes


ASSIGNED = [
    "key",
    "group-key",
    "certificate",
    "group-certificate",
    "throttled",
    "throttled-poll",
    "server-error",
]
