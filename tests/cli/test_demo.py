"""``mqttws demo``: the whole job, and nothing needed for it."""

import json
import re
import time
from pathlib import Path

from .shell import run_process


def test_the_demo_prints_every_step_and_ends_with_the_assignment(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run_process("demo", TMPDIR=str(tmp_path))
    assert time.monotonic() - began < 10
    assert done.returncode == 0
    assert done.stderr == ""
    steps = re.findall(r"^ *[\d.]+ s +\d+ ms  (\w+) +(.*)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in steps] == (
        ["name", "TCP", "TLS", "upgrade", "CONNECT", "SUBSCRIBE", "register", "poll", "poll"]
    )
    details = [detail for _, detail in steps]
    assert details[2].startswith("TLSv1.")
    assert details[3:6] == [
        "101, subprotocol mqtt",
        "CONNACK 0, accepted",
        "SUBACK, QoS 1 for $dps/registrations/res/#",
    ]
    assert details[6:] == [
        "202 assigning, ask again in 1 s",
        "202 assigning, ask again in 1 s",
        "200 assigned",
    ]
    assert done.stdout.splitlines()[-7:] == [
        "assigned hub  local-hub.azure-devices.net",
        "device id     demo-device",
        "substatus     initialAssignment",
        'telemetry     {"temperature":21.5}, taken by the hub',
        "received      hello, device, sent by the hub",
        'method        measure, answered 200 {"temperature": 21.5}',
        'twin          desired {"interval": 10}, reported {"interval": 10}',
    ]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_the_demo_as_json_is_one_object_and_nothing_else() -> None:
    done = run_process("demo", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["status"] == "assigned"
    assert found["assigned_hub"] == "local-hub.azure-devices.net"
    assert found["device_id"] == "demo-device"
    assert found["substatus"] == "initialAssignment"
    assert [step["hop"] for step in found["steps"]] == (
        ["name", "tcp", "tls", "upgrade", "connect", "subscribe", "register", "poll", "poll"]
    )
    assert {step["outcome"] for step in found["steps"]} == {"ok"}
