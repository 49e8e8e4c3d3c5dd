"""kill -9 at random points, under devices and admin clients: nothing acknowledged may be lost.

``python -m tests.local.kills RECORDS COUNT [SEED [PROCESSES]]``, with a file's path,
``postgresql://…``, or ``postgres`` for a cluster of its own: runs ``mqttws serve``, kills it, or a
random one of its ``PROCESSES`` front ends, ``COUNT`` times, and compares what was answered with
what is there. The records must be empty: devices that an earlier run has enrolled would be refused.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from mqttws import MqttwsError, Step, SymmetricKey, TlsConfig, UsageError, provision_async
from mqttws.dps.directory import Directory
from mqttws.local.stores import open_store
from tests.ports import free_port

from .stores.cluster import cluster

DEVICES = 6
ADMINS = 3
DEADLINE = 120.0
"""Seconds within which a device must be assigned, whatever happens to the service."""

BURST = 30.0
"""Seconds of kills in a row. Then the service is left alone until every device that is registering
has been assigned: one whose attempts fell between kills waits up to 30 s for the next, and no
deadline would be fair without a time in which an attempt can succeed."""

PATIENCE = 20.0
"""Seconds after which a registration's steps are worth printing."""


@dataclass
class Ledger:
    """What was answered.

    Attributes:
        etags: of enrollments whose PUT was answered 200, and nothing was asked since.
        deleted: ids whose DELETE was answered 204, and nothing was asked since.
        hubs: by device, the hub that it was assigned to.
        slowest: seconds that the slowest registration took.
        steps: of that one, with the second at which each ended.
        under_way: one for each registration that has begun and not ended.
        faults: what must not be.
    """

    etags: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    hubs: dict[str, str] = field(default_factory=dict)
    puts: int = 0
    deletes: int = 0
    assignments: int = 0
    slowest: float = 0.0
    steps: str = ""
    under_way: set[asyncio.Future[None]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.puts} PUT and {self.deletes} DELETE acknowledged, {self.assignments} devices"
            f" assigned (slowest {self.slowest:.1f} s); {len(self.faults)} faults"
        )


class Served:
    """``mqttws serve`` on fixed ports, which can be killed and started again."""

    def __init__(
        self, folder: Path, records: str, hubs: tuple[str, ...], processes: int = 1
    ) -> None:
        self.mqtts, self.wss, self.admin = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.admin}"
        self.ca = folder / "ca.pem"
        self._words = [
            *(sys.executable, "-m", "mqttws", "serve", "--json", "--retry-after", "0"),
            *("--mqtts-port", str(self.mqtts), "--wss-port", str(self.wss)),
            *("--admin-port", str(self.admin), "--state", str(folder), "--records", records),
            *("--processes", str(processes)),
            *(word for hub in hubs for word in ("--hub", hub)),
        ]
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with open(self._log, "ab") as log:  # noqa: ASYNC230 - opened once for each start
            self._process = await asyncio.create_subprocess_exec(
                *self._words, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            line = await self._process.stdout.readline()
        if b'"serving"' not in line:
            raise RuntimeError(self._log.read_text()[-2000:])

    def kill_one(self, chance: random.Random) -> None:
        """Kill a front end; the supervisor replaces it."""
        assert self._process is not None
        pid = self._process.pid
        front_ends = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if front_ends:
            os.kill(int(chance.choice(front_ends)), signal.SIGKILL)

    async def end(self, number: int = signal.SIGKILL) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        async with asyncio.timeout(30):
            return await self._process.wait()


async def be_admin(
    name: str, served: Served, ledger: Ledger, chance: random.Random, over: asyncio.Event
) -> None:
    """Create, replace and delete enrollments."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        while not over.is_set():
            device = f"{name}-{chance.randrange(200)}"
            path = f"{served.url}/enrollments/{device}"
            ledger.etags.pop(device, None)
            ledger.deleted.discard(device)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                if chance.random() < 0.7:
                    body = {"attestation": {"type": "symmetricKey"}}
                    async with session.put(path, json=body) as answer:
                        if answer.status == 200:
                            ledger.etags[device] = (await answer.json())["etag"]
                            ledger.puts += 1
                else:
                    async with session.delete(path) as answer:
                        if answer.status in (204, 404):
                            ledger.deleted.add(device)
                            ledger.deletes += answer.status == 204
                continue
            await asyncio.sleep(0.05)


async def be_device(
    name: str, served: Served, ledger: Ledger, chance: random.Random, over: asyncio.Event
) -> None:
    """Register new devices, and old ones again."""
    keys: dict[str, str] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        while not over.is_set():
            device = f"{name}-{chance.randrange(1000)}"
            if device not in keys:
                key = b64encode(chance.randbytes(32)).decode()
                keys_of = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}
                path = f"{served.url}/enrollments/{device}"
                try:
                    async with session.put(path, json={"attestation": keys_of}) as answer:
                        if answer.status != 200:
                            continue
                except (aiohttp.ClientError, TimeoutError, OSError):
                    await asyncio.sleep(0.05)
                    continue
                keys[device] = key
            await register(device, keys[device], served, ledger)


async def register(device: str, key: str, served: Served, ledger: Ledger) -> None:
    """Register a device by one call, which must bear whatever happens to the service."""
    began = time.monotonic()
    steps: list[str] = []

    def note(step: Step) -> None:
        if step.outcome != "open":
            said = f" {step.error}" if step.error else f" {step.detail}"
            steps.append(f"{time.monotonic() - began:.1f} {step.name} {step.outcome}{said}")

    ended = asyncio.get_running_loop().create_future()
    ledger.under_way.add(ended)
    try:
        found = await provision_async(
            "0ne00LOCAL",
            SymmetricKey(device, key),
            host="127.0.0.1",
            port=served.mqtts,
            transport="mqtts",
            tls=TlsConfig(ca=served.ca, only_ca=True),
            timeout=DEADLINE,
            wait_for_network=True,
            on_step=note,
        )
    except MqttwsError as error:
        after = f"after {time.monotonic() - began:.1f} s"
        trace = "".join(f"\n    {step}" for step in steps)
        ledger.faults.append(f"{device}: {after}: {type(error).__name__}: {error}{trace}")
        return
    finally:
        ledger.under_way.discard(ended)
        ended.set_result(None)
    ledger.assignments += 1
    took = time.monotonic() - began
    if took > ledger.slowest:
        ledger.slowest, ledger.steps = took, "\n    ".join([device, *steps])
    known = ledger.hubs.setdefault(device, found.assigned_hub)
    if known != found.assigned_hub:
        ledger.faults.append(f"{device}: at {known}, then at {found.assigned_hub}")


async def read_all(served: Served, session: aiohttp.ClientSession) -> dict[str, str]:
    """Return the etags of all enrollments."""
    found: dict[str, str] = {}
    headers: dict[str, str] = {}
    while True:
        url, body = f"{served.url}/enrollments/query", {"query": "SELECT * FROM enrollments"}
        async with session.post(url, json=body, headers=headers) as answer:
            found |= {one["registrationId"]: one.get("etag", "") for one in await answer.json()}
            if "x-ms-continuation" not in answer.headers:
                return found
            headers = {"x-ms-continuation": answer.headers["x-ms-continuation"]}


async def compare(served: Served, ledger: Ledger) -> None:
    """Compare what was answered with what is there."""
    async with aiohttp.ClientSession() as session:
        there = await read_all(served, session)
        for device, etag in ledger.etags.items():
            if there.get(device) != etag:
                ledger.faults.append(f"{device}: PUT acknowledged, {there.get(device)} is there")
        for device in ledger.deleted & there.keys():
            ledger.faults.append(f"{device}: DELETE acknowledged, and it is there")
        for device, hub in ledger.hubs.items():
            async with session.get(f"{served.url}/registrations/{device}") as answer:
                body: Any = await answer.json()
            if body.get("assignedHub") != hub:
                ledger.faults.append(f"{device}: assigned to {hub}, the records say {body}")


async def refuse_used(records: str) -> None:
    """Refuse records that hold anything, or have held it.

    Raises:
        UsageError: they do.
    """
    store = open_store(records)
    await store.open()
    try:
        empty = await Directory(store).is_empty()
    finally:
        await store.close()
    if not empty:
        raise UsageError(
            "the records are not empty: devices are enrolled in them already, and none would be"
            " assigned",
            hint="name a new file or an empty database",
        )


async def run(records: str, count: int, seed: int = 1, processes: int = 1) -> Ledger:
    """Kill the service ``count`` times; return what was answered and what was wrong.

    Raises:
        UsageError: the records are not empty.
    """
    await refuse_used(records)
    chance = random.Random(seed)
    ledger, over = Ledger(), asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="mqttws-kills-") as folder:
        served = Served(
            Path(folder), records, tuple(f"hub-{n}.example" for n in range(3)), processes
        )
        await served.start()
        work = [
            asyncio.create_task(be_device(f"dev{n}", served, ledger, random.Random(n), over))
            for n in range(DEVICES)
        ]
        work += [
            asyncio.create_task(be_admin(f"adm{n}", served, ledger, random.Random(-n), over))
            for n in range(ADMINS)
        ]
        calm_at = time.monotonic() + BURST
        for number in range(count):
            await asyncio.sleep(chance.uniform(0.05, 2.5))
            if processes > 1:
                served.kill_one(chance)
            else:
                await served.end()
                await served.start()
            if time.monotonic() > calm_at:
                await asyncio.gather(*ledger.under_way)
                calm_at = time.monotonic() + BURST
            if (number + 1) % 20 == 0:
                print(f"{number + 1} kills: {ledger}", flush=True)
        over.set()
        await asyncio.gather(*work)
        if ledger.slowest > PATIENCE:
            print("the slowest registration:", ledger.steps)
        if not ledger.assignments:
            ledger.faults.append("no device was assigned: the run shows nothing")
        await compare(served, ledger)
        if await served.end(signal.SIGTERM) != 0:
            ledger.faults.append("SIGTERM did not end it with 0")
    return ledger


if __name__ == "__main__":
    where, *numbers = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        if where == "postgres":
            where = stack.enter_context(cluster()).url
        try:
            done = asyncio.run(run(where, *map(int, numbers)))
        except UsageError as error:
            sys.exit(f"{error}; {error.hint}")
    print(f"after {numbers[0]} kills: {done}", *done.faults, sep="\n  ")
    sys.exit(bool(done.faults) or os.EX_OK)
