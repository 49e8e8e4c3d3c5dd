"""Is anything of a device lost between it and its hub? ``python -m benchmarks.hub_delivery``.

One device program on ``AsyncHubClient`` and a local hub, with a relay between them that cuts the
connection at random bytes and times, while tokens live a few seconds. All at once: telemetry,
messages from the cloud, direct methods, reported and desired properties. At the end everything is
counted: what was accepted and did not arrive, what came twice, calls that did not end, handlers
that ran twice for a call, and whether both sides hold the same twin.

Prints one line of JSON; the exit code is 1 if a promise was broken. The last full run is kept:
``python -m benchmarks.hub_delivery > benchmarks/hub_delivery.json``. It takes some two minutes.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from mqttws import (
    AsyncHubClient,
    AsyncLocalHub,
    Backoff,
    CloudMessage,
    HubRequestRejected,
    MethodRequest,
    RequestTimedOut,
    TlsConfig,
)
from mqttws.hub.device.twin import merged
from tests.chaos import DOWN, UP, Effect, Fate, Relay, relay

DEVICE = "device-1"
ENDINGS = (404103, 504101)
"""The hub's errors that may end a method call: not online, and no answer in time."""


@dataclass
class Plan:
    """How much, and how bad.

    Attributes:
        telemetry: messages that the device sends.
        c2d: messages that the cloud sends.
        methods: calls from the cloud.
        patches: of the twin: half reported by the device, half desired by the cloud.
        seed: of all that is random.
        transport: ``wss`` or ``mqtts``.
        token_lifetime: seconds.
        calm: mean seconds between cuts.
        manual_ack: whether the application acknowledges messages by itself.
    """

    telemetry: int = 100_000
    c2d: int = 10_000
    methods: int = 10_000
    patches: int = 10_000
    seed: int = 1
    transport: str = "mqtts"
    token_lifetime: float = 6.0
    calm: float = 1.5
    manual_ack: bool = True


class Count:
    """What happened.

    Attributes:
        sent: bodies of telemetry that were confirmed.
        taken: how often each message from the cloud was taken.
        ran: how often a handler ran, by the number of the call.
        ends: how calls ended.
        state: the desired properties, as the changes made them.
    """

    def __init__(self) -> None:
        self.sent: set[int] = set()
        self.telemetry: Counter[int] = Counter()
        self.taken: Counter[int] = Counter()
        self.ran: Counter[int] = Counter()
        self.ends: Counter[str] = Counter()
        self.wrong_answers = 0
        self.reported: dict[str, Any] = {}
        self.late_reports = 0
        self.state: dict[str, Any] = {}
        self.changes = 0


def fates(chance: random.Random, calm: float) -> Fate:
    """Return the fate of one connection: some die in the handshake, most after a while."""
    if chance.random() < 0.15:
        return Fate(Effect.RST, direction=chance.choice((UP, DOWN)), after=chance.randint(0, 6000))
    patience = chance.expovariate(1 / calm)
    kind = chance.random()
    if kind < 0.6:
        return Fate(Effect.RST, patience=patience)
    if kind < 0.9:
        return Fate(Effect.FIN, patience=patience)
    return Fate(Effect.SILENCE, patience=patience, hold=1.0)


class Device:
    """The program of the device."""

    def __init__(self, client: AsyncHubClient, plan: Plan, count: Count) -> None:
        self.client = client
        self.plan = plan
        self.count = count

    async def send_telemetry(self) -> None:
        """Send every number, some with properties, up to 500 on their way at a time."""
        room = asyncio.Semaphore(500)

        async def send(number: int) -> None:
            try:
                properties = {"n": str(number)} if number % 7 == 0 else None
                while True:
                    try:
                        await self.client.send_telemetry(b"%d" % number, properties=properties)
                    except RequestTimedOut as error:
                        if "nothing" in str(error):
                            continue  # it was not accepted: this call sends it again
                    break
                self.count.sent.add(number)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            for number in range(self.plan.telemetry):
                await room.acquire()
                group.create_task(send(number))

    async def report(self) -> None:
        """Report one property after the other."""
        for number in range(self.plan.patches // 2):
            patch = {"last": number, f"p{number % 20}": number}
            self.count.reported = merged(self.count.reported, patch)
            while True:
                try:
                    await self.client.patch_reported(patch)
                except RequestTimedOut:
                    self.count.late_reports += 1
                    continue
                break

    async def take_messages(self) -> None:
        """Take what the cloud sends."""

        async def one(message: CloudMessage) -> None:
            self.count.taken[int(message.body)] += 1
            message.ack()

        async for message in self.client.messages():
            await one(message)

    async def follow(self) -> None:
        """Apply every change of the desired properties."""
        async for change in self.client.desired_changes():
            self.count.state = merged(self.count.state, change.patch)
            assert self.count.state == change.desired
            self.count.changes += 1

    async def method(self, request: MethodRequest) -> Any:
        """Answer with the call's number."""
        self.count.ran[request.payload] += 1
        return {"number": request.payload}


class Cloud:
    """The service's side."""

    def __init__(self, hub: AsyncLocalHub, plan: Plan, count: Count) -> None:
        self.hub = hub
        self.plan = plan
        self.count = count

    async def read_telemetry(self) -> None:
        """Count what has arrived."""
        async for telemetry in self.hub.telemetry():
            self.count.telemetry[int(telemetry.payload)] += 1

    async def send_messages(self) -> None:
        """Send every number; the hub holds 50 at a time."""
        for number in range(self.plan.c2d):
            while True:
                try:
                    await self.hub.send(DEVICE, b"%d" % number)
                except HubRequestRejected:
                    await asyncio.sleep(0.005)
                    continue
                break

    async def call_methods(self) -> None:
        """Call, ten at a time; each call ends once."""
        numbers = iter(range(self.plan.methods))

        async def caller() -> None:
            for number in numbers:
                try:
                    answer = await self.hub.invoke(DEVICE, "work", number, response_timeout=5.0)
                except HubRequestRejected as error:
                    self.count.ends[str(error.error_code)] += 1
                    if error.error_code == ENDINGS[0]:
                        await asyncio.sleep(0.02)
                    continue
                self.count.ends[str(answer.status)] += 1
                if answer.status != 200 or answer.payload != {"number": number}:
                    self.count.wrong_answers += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(caller())

    async def change_twin(self) -> None:
        """Change desired properties, and remove some."""
        for number in range(self.plan.patches // 2):
            gone = {f"p{(number + 10) % 20}": None}
            patch = {"last": number, f"p{number % 20}": {"value": number, "odd": number % 2 == 1}}
            await self.hub.patch_twin(DEVICE, desired=patch | gone)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def world(plan: Plan, count: Count) -> AsyncIterator[tuple[AsyncLocalHub, Relay, Device]]:
    """Run hub, relay and device."""
    chance = random.Random(plan.seed)
    async with AsyncLocalHub(wss_port=0, mqtts_port=0) as hub:
        key = await hub.create_device(DEVICE)
        port = hub.wss_port if plan.transport == "wss" else hub.mqtts_port
        assert port is not None
        async with relay(port, chance) as made:
            client = AsyncHubClient(
                hub.name,
                DEVICE,
                key,
                transport=plan.transport,  # type: ignore[arg-type]
                host="127.0.0.1",
                port=made.port,
                tls=TlsConfig(ca=hub.dps.ca_file, only_ca=True),
                token_lifetime=plan.token_lifetime,
                keep_alive=2,
                hop_timeout=5.0,
                reconnect=Backoff(0.05, 0.5),
                manual_ack=plan.manual_ack,
                request_timeout=120.0,
            )
            device = Device(client, plan, count)
            client.on_method("work", device.method)
            client.messages()
            client.desired_changes()
            async with client:
                made.fates = lambda: fates(chance, plan.calm)
                made.cut()
                yield hub, made, device


async def settle(hub: AsyncLocalHub, device: Device) -> None:
    """Wait until nothing is on its way any more."""
    async with asyncio.timeout(60):
        while True:
            twin = await hub.twin(DEVICE)
            desired = {
                name: value
                for name, value in twin["properties"]["desired"].items()
                if not name.startswith("$")
            }
            if desired == device.count.state and not await hub.waiting(DEVICE):
                return
            await asyncio.sleep(0.05)


async def run(plan: Plan) -> dict[str, Any]:
    """Run it all, and return what was counted."""
    count = Count()
    began = time.monotonic()
    async with world(plan, count) as (hub, made, device):
        cloud = Cloud(hub, plan, count)
        serving = [
            asyncio.create_task(work)
            for work in (device.take_messages(), device.follow(), cloud.read_telemetry())
        ]
        async with asyncio.TaskGroup() as group:
            for work in (
                device.send_telemetry(),
                device.report(),
                cloud.send_messages(),
                cloud.call_methods(),
                cloud.change_twin(),
            ):
                group.create_task(work)
        cuts = sum(1 for one in made.history if one.struck.is_set())
        made.calm()
        try:
            await settle(hub, device)
            converged = True
        except TimeoutError:
            converged = False
        await asyncio.sleep(0.2)
        twin = await hub.twin(DEVICE)
        reported = twin["properties"]["reported"]
        for task in serving:
            if task.done() and not task.cancelled():
                task.result()
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    lost = count.sent - count.telemetry.keys()
    return {
        "plan": asdict(plan),
        "seconds": round(time.monotonic() - began, 1),
        "connections": made.connections,
        "cuts": cuts,
        "telemetry_lost": len(lost),
        "telemetry_doubled": sum(count.telemetry.values()) - len(count.telemetry),
        "c2d_lost": plan.c2d - len(count.taken),
        "c2d_doubled": sum(count.taken.values()) - len(count.taken),
        "method_ends": dict(sorted(count.ends.items())),
        "methods_unended": plan.methods - sum(count.ends.values()),
        "methods_run_twice": sum(1 for times in count.ran.values() if times > 1),
        "methods_wrong": count.wrong_answers,
        "methods_ended_otherwise": sum(
            times for end, times in count.ends.items() if end not in {"200", *map(str, ENDINGS)}
        ),
        "reported_wrong": sum(
            1 for name, value in count.reported.items() if reported.get(name) != value
        ),
        "reports_late": count.late_reports,
        "desired_converged": converged,
        "desired_changes": count.changes,
    }


def broken(found: dict[str, Any]) -> list[str]:
    """Return the promises that were broken."""
    nothing = (
        "telemetry_lost", "c2d_lost", "methods_unended", "methods_run_twice", "methods_wrong",
        "methods_ended_otherwise", "reported_wrong",
    )  # fmt: skip
    faults = [name for name in nothing if found[name]]
    return faults if found["desired_converged"] else [*faults, "desired_converged"]


def main() -> int:
    """Run with the command line's plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in asdict(Plan()).items():
        if isinstance(value, bool):
            continue
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    plan = Plan(**vars(parser.parse_args()))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    made = {"date": time.strftime("%Y-%m-%d %H:%M"), "commit": commit.stdout.strip()}
    found = made | asyncio.run(run(plan))
    print(json.dumps(found))
    faults = broken(found)
    if faults:
        print(f"broken: {', '.join(faults)}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
