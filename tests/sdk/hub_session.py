"""A local hub on the ports that the official SDKs insist on, and devices that use them.

Run as a program inside a network namespace. Standard input is JSON: state folder, the devices'
program, enrollments and cases. The service's side asks each device for everything that a hub is
for, cuts its connection, asks again, and waits for its token to be renewed. Prints what was seen.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mqttws import AsyncLocalDps, AsyncLocalHub
from mqttws.hub.service.telemetry import Telemetry

ID_SCOPE = "0ne00SDKTEST"
HUB = "my-hub.azure-devices.net"
DEADLINE = 45.0


class Watch:
    """The events of one device, in order."""

    def __init__(self, hub: AsyncLocalHub, device_id: str) -> None:
        self.hub = hub
        self.device_id = device_id
        self._events = self._of_device()

    async def _of_device(self) -> AsyncIterator[Any]:
        async for event in self.hub.events(0):
            if event.device_id == self.device_id:
                yield event

    async def next_event(self, kind: str) -> Any:
        async for event in self._events:
            if getattr(event, "kind", "telemetry") == kind:
                return event
        raise AssertionError

    async def told(self, name: str) -> Any:
        """Return the next thing of this name that the device has told by telemetry."""
        while True:
            event = await self.next_event("telemetry")
            try:
                body = json.loads(event.payload)
            except ValueError:
                continue
            if name in body:
                return body


def read(file: str) -> bytes:
    return Path(file).read_bytes()


def is_hello(event: Any) -> bool:
    return isinstance(event, Telemetry) and event.payload == b"hello"


async def exercise(hub: AsyncLocalHub, case: dict[str, Any]) -> dict[str, Any]:
    """Ask one device for everything; return what it did."""
    device_id, watch = case["device_id"], Watch(hub, case["device_id"])
    seen: dict[str, Any] = {"twin": (await watch.told("twin"))["twin"]}
    while not is_hello(event := await watch.next_event("telemetry")):
        pass
    seen["hello"] = event.to_json()
    seen["first"] = await talk(hub, watch, 1)
    hub.drop(device_id)
    await watch.next_event("deviceDisconnected")
    await watch.next_event("deviceConnected")
    seen["after a cut"] = await talk(hub, watch, 2)
    if "key_file" not in case:
        first = expiry(hub, device_id)
        while expiry(hub, device_id) == first:
            await watch.next_event("deviceConnected")
        seen["after a renewal"] = await talk(hub, watch, 3)
    await hub.invoke(device_id, "quit", response_timeout=DEADLINE)
    return seen


def expiry(hub: AsyncLocalHub, device_id: str) -> float | None:
    """Return when the token of a device's connection ends."""
    connection: Any = hub.core.connections.get((device_id, ""))
    return None if connection is None else connection.expires_at


async def talk(hub: AsyncLocalHub, watch: Watch, number: int) -> dict[str, Any]:
    device_id = watch.device_id
    echo = await hub.invoke(
        device_id, "echo", {"n": number}, response_timeout=DEADLINE, connect_timeout=DEADLINE
    )
    fail = await hub.invoke(device_id, "fail", None, response_timeout=DEADLINE)
    await hub.patch_twin(device_id, desired={"n": number})
    while (patch := await watch.told("patch"))["patch"]["n"] != number:
        pass
    await hub.send(device_id, b"go", {"n": str(number), "ü /": "=&"}, message_id=f"m{number}")
    message = await watch.told("message")
    report = await hub.invoke(device_id, "report", {"n": number}, response_timeout=DEADLINE)
    twin = await hub.invoke(device_id, "twin", response_timeout=DEADLINE)
    return {
        "echo": [echo.status, echo.payload],
        "fail": fail.status,
        "patch": patch["patch"],
        "message": message,
        "report": report.status,
        "reported": (await hub.twin(device_id))["properties"]["reported"]["n"],
        "read": [twin.payload["desired"]["n"], twin.payload["reported"]["n"]],
        "waiting": await hub.waiting(device_id),
    }


async def prepare(hub: AsyncLocalHub, case: dict[str, Any]) -> None:
    """Create a device that does not come through DPS."""
    twin = {"properties": {"desired": {"initial": True}}}
    if case["dps"]:
        return
    certificate = read(case["chain_file"]) if "key_file" in case else None
    await hub.create_device(case["id"], certificate=certificate, initial_twin=twin)
    case["connection_string"] = await hub.connection_string(case["id"])


async def main() -> None:
    logging.basicConfig(level=logging.INFO)  # shown where a session fails
    order = json.load(sys.stdin)
    async with (
        AsyncLocalDps(
            host="localhost",
            wss_port=443,
            mqtts_port=8883,
            state=order["state"],
            id_scope=ID_SCOPE,
            retry_after=1,
            hubs=(HUB,),
        ) as dps,
        AsyncLocalHub(dps, name=HUB) as hub,
    ):
        for record in order["enrollments"]:
            await dps.enroll(record)
        for case in order["cases"]:
            await prepare(hub, case)
        devices = await asyncio.create_subprocess_exec(
            *order["command"],
            stdin=asyncio.subprocess.PIPE,
            stdout=sys.stderr,
            env=os.environ | {"NODE_EXTRA_CA_CERTS": str(dps.ca_file)} | order.get("env", {}),
        )
        assert devices.stdin is not None
        told = {"id_scope": ID_SCOPE, "ca_file": str(dps.ca_file), "cases": order["cases"]}
        devices.stdin.write(json.dumps(told).encode())
        devices.stdin.close()
        try:
            async with asyncio.timeout(DEADLINE):
                seen = await asyncio.gather(*(exercise(hub, case) for case in order["cases"]))
                await devices.wait()
        finally:
            if devices.returncode is None:
                devices.kill()
                await devices.wait()
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
