"""``mqttws demo``: the whole job on this machine, both ends of it.

Knows how to put a local DPS and a device together. Everything else is the public API.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import click

import mqttws

from ..local.hub_base import MethodResult
from ..provisioning.assignment import Assignment
from .common import debug_option, json_option
from .exits import EXIT_CODES, Command
from .output import (
    STEP_HEADER,
    Progress,
    print_assignment,
    print_json,
    print_line,
    reported,
    success,
)

DEVICE = "demo-device"


_EPILOG = f"""\b
Examples:
  mqttws demo
  mqttws demo --json

\b
With --json, one object on standard output:
  status        "assigned"; "error" if it failed
  assigned_hub  host name of the hub
  device_id     the device's name there
  substatus     how it came to be assigned, such as initialAssignment
  telemetry     what the device published to its hub
  received      what the hub sent the device
  method        the device's answer to a direct method, {{status, payload}}
  twin          the device's twin at the end, {{desired, reported}}
  steps         list of {{hop, outcome, detail, started_ms, took_ms}}

{EXIT_CODES}"""


@click.command(
    cls=Command, epilog=_EPILOG, short_help="See the whole job on this machine, step by step."
)
@json_option("Print one JSON object instead of the steps.")
@debug_option
def demo(*, as_json: bool) -> None:
    """See the whole job: a device is provisioned over a secure WebSocket.

    Starts a local DPS in this process, on a free port of the loopback interface,
    with TLS from a development CA that is made for it and thrown away afterwards.
    Enrolls a device, and provisions it through the public API over wss://. Then the
    device goes on to its hub, which is local too: telemetry, a message from the cloud,
    a direct method, and a change of its twin. Each step is
    printed as soon as it has ended: when that was, how long it took, and what was
    found. No network, no cloud account and no rights are needed, and
    nothing is left behind. It takes some three seconds; two of them are the
    retry-after of two answers that say: ask again in a second.
    """
    progress = Progress(shown=not as_json, err=False)
    with reported(progress, as_json=as_json):
        done = asyncio.run(_demonstrate(progress, verbose=not as_json))
    if as_json:
        exchanged = {
            "telemetry": done.telemetry,
            "received": done.received,
            "method": {"status": done.method.status, "payload": done.method.payload},
            "twin": done.twin,
        }
        print_json(success(done.assignment, progress) | exchanged)
    else:
        print_line()
        print_assignment(done.assignment)
        print_line(f"telemetry     {done.telemetry}, taken by the hub")
        print_line(f"received      {done.received}, sent by the hub")
        answer = json.dumps(done.method.payload)
        print_line(f"method        measure, answered {done.method.status} {answer}")
        twin = {name: json.dumps(done.twin[name]) for name in ("desired", "reported")}
        print_line(f"twin          desired {twin['desired']}, reported {twin['reported']}")


@dataclass(frozen=True)
class _Done:
    """The demonstration's results."""

    assignment: Assignment
    telemetry: str
    received: str
    method: MethodResult
    twin: dict[str, Any]


async def _demonstrate(progress: Progress, *, verbose: bool) -> _Done:
    began = time.monotonic()
    # One poll is answered 202, so that a wait and a second poll are seen.
    async with (
        mqttws.AsyncLocalDps(mqtts_port=None, retry_after=1, assigning_polls=1) as dps,
        mqttws.AsyncLocalHub(dps) as hub,
    ):
        credential = mqttws.SymmetricKey(DEVICE, await dps.enroll_device(DEVICE))
        if verbose:
            ready = (time.monotonic() - began) * 1000
            print_line(f"Local DPS with a fresh development CA at wss://{dps.host}:{dps.wss_port}")
            print_line(
                f"ready after {ready:.0f} ms; id scope {dps.id_scope}, enrolled device {DEVICE}"
            )
            print_line()
            print_line(STEP_HEADER, "dim")
        trust = mqttws.TlsConfig(ca=dps.ca_file, only_ca=True)
        assignment = await mqttws.provision_async(
            dps.id_scope,
            credential,
            host=dps.host,
            port=dps.wss_port,
            tls=trust,
            timeout=30.0,
            on_step=progress.on_step,
        )
        async with asyncio.timeout(30.0):
            device = mqttws.AsyncHubClient(
                assignment.assigned_hub,
                assignment.device_id,
                credential,
                host=hub.host,
                port=hub.wss_port,
                tls=trust,
            )
            return await _exchange(assignment, device, hub)


async def _exchange(
    assignment: Assignment, device: mqttws.AsyncHubClient, hub: mqttws.AsyncLocalHub
) -> _Done:
    """Do with the hub what devices do: telemetry, a message, a method, a change of the twin."""

    @device.method("measure")
    def measure(request: object) -> dict[str, float]:
        return {"temperature": 21.5}

    messages, changes = device.messages(), device.desired_changes()
    async with device:
        await device.send_telemetry({"temperature": 21.5})
        telemetry = await hub.next_telemetry()
        await hub.send(DEVICE, b"hello, device")
        received = await anext(messages)
        method = await hub.invoke(DEVICE, "measure", connect_timeout=10.0)
        await hub.patch_twin(DEVICE, desired={"interval": 10})
        async for change in changes:
            if "interval" in change.patch:
                await device.patch_reported({"interval": change.patch["interval"]})
                break
    properties = (await hub.twin(DEVICE))["properties"]
    twin = {name: {"interval": properties[name]["interval"]} for name in ("desired", "reported")}
    return _Done(assignment, telemetry.payload.decode(), received.body.decode(), method, twin)
