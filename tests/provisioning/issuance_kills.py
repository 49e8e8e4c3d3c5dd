"""Devices that are killed (SIGKILL) in every step of having a certificate issued and renewed.

A life: register by key unless a certificate is stored, connect to the hub, send a message, renew,
send another. The steps of a life are counted: each packet sent and received, and each operation on
a file. A life is killed at one step; the next one starts from what is on the disk. After each kill
the device must have a working identity: what is stored connects, or nothing was stored yet and DPS
takes its key. Run as a program it is the devices' side, which forks a process for each life.
"""

import asyncio
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mqttws import CertificateStore, SymmetricKey, TlsConfig, provision_async
from mqttws.provisioning import files, issued, issued_chain  # noqa: F401 - loaded before the forks

FILE_STEPS = ("os.open", "os.fsync", "os.replace", "os.rename", "os.unlink", "os.mkdir", "open")
"""Audit events, and what has none, of which each occurrence in the device's folder is a step."""


class Steps:
    """Counts steps, and ends the process at one of them.

    Args:
        last: the step at which it is killed; 0 for never.
        folder: whose files count.
    """

    def __init__(self, last: int, folder: str) -> None:
        self.count = 0
        self._last = last
        self._folder = folder
        self._fsync = os.fsync

    def take(self, *_: Any) -> None:
        """Count a step; the process may end here."""
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(self) -> None:
        """Count operations on files too: before each of them, and before each fsync."""

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event in FILE_STEPS and any(self._is_ours(one) for one in arguments[:2]):
                self.take()

        def fsync(opened: int) -> None:
            self.take()
            self._fsync(opened)

        sys.addaudithook(audit)
        os.fsync = fsync

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._folder)


async def live(world: dict[str, Any], folder: str, steps: Steps) -> None:
    """Live one life, from what is in the folder."""
    tls = TlsConfig(ca=world["ca"], only_ca=True)
    store = CertificateStore(folder)
    assignment = await provision_async(
        world["id_scope"],
        SymmetricKey(world["device"], world["key"]),
        issue=store,
        host=world["host"],
        port=world["wss_port"],
        tls=tls,
        on_packet=steps.take,
    )
    transport = random.choice(("wss", "mqtts"))
    async with assignment.hub_client_async(
        host=world["host"],
        port=world[f"{transport}_port"],
        transport=transport,
        tls=tls,
        on_packet=steps.take,
    ) as device:
        await device.send_telemetry(b"alive")
        await device.renew_certificate(timeout=20)
        await device.send_telemetry(b"renewed")


async def prove(world: dict[str, Any], folder: str) -> str:
    """Return how the device is let in: by what is stored, or by its key alone.

    Raises:
        Exception: it is let in by nothing.
    """
    tls = TlsConfig(ca=world["ca"], only_ca=True)
    store = CertificateStore(folder)
    found = store.load()
    if found is None:
        assert not (Path(folder) / issued.FILE).exists(), "a stored pair is damaged"
        key = SymmetricKey(world["device"], world["key"])
        way = {"host": world["host"], "port": world["wss_port"], "tls": tls}
        await provision_async(world["id_scope"], key, **way)
        return "key"
    assert found.assignment is not None
    async with found.assignment.hub_client_async(
        store, host=world["host"], port=world["wss_port"], tls=tls
    ) as device:
        await device.send_telemetry(b"proved")
    return "certificate"


def in_a_process(work: Callable[[], Any]) -> tuple[int, str]:
    """Run something in a process of its own; return its end (0, or a signal's number) and words."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, str(work()).encode())
            os._exit(0)
        except BaseException:
            os.write(writing, traceback.format_exc()[-3000:].encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        words = told.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return abs(status), words


def life(world: dict[str, Any], folder: str, last: int, seed: int) -> tuple[int, str]:
    """Live a life that is killed at a step; 0 for one that is not."""

    def work() -> int:
        random.seed(seed)
        steps = Steps(last, folder)
        steps.begin()
        asyncio.run(asyncio.wait_for(live(world, folder, steps), 30))
        return steps.count

    return in_a_process(work)


class Fleet:
    """The devices that are killed, one after the other.

    Args:
        world: where the services are.
        seed: of the order of the kills, and of what the devices choose.
    """

    def __init__(self, world: dict[str, Any], seed: int) -> None:
        self.world = world
        self.faults: list[str] = []
        self.killed = 0
        self.let_in_by = {"key": 0, "certificate": 0}
        self._seed = seed
        self._chance = random.Random(seed)
        self._number = 0
        self._folder = ""

    def replace_device(self) -> None:
        """Go on with a device that has never registered."""
        self._number += 1
        devices = self.world["devices"]
        self.world["device"], self.world["key"] = devices[self._number % len(devices)]
        self._folder = f"{self.world['folder']}/{self._number}"

    def count_steps(self) -> tuple[int, int]:
        """Return how many steps a first life has, and a later one."""
        self.replace_device()
        lengths = []
        for _ in range(2):
            end, words = life(self.world, self._folder, 0, self._seed)
            if end:
                raise RuntimeError(words)
            lengths.append(int(words))
        return lengths[0], lengths[1]

    def kill(self, step: int) -> None:
        """Let the device live up to a step, and prove that it is let in then."""
        world, folder = self.world, self._folder
        self._seed += 1
        end, words = life(world, folder, step, self._seed)
        if end == signal.SIGKILL:
            self.killed += 1
        elif end:
            self.faults.append(f"the life up to step {step} failed: {words}")
        end, words = in_a_process(lambda: asyncio.run(asyncio.wait_for(prove(world, folder), 30)))
        if end:
            self.faults.append(f"killed at step {step}: no working identity: {words}")
        else:
            self.let_in_by[words] += 1

    def run(self, kills: int) -> dict[str, Any]:
        """Kill each step of a first life and of a later one once, the rest at random."""
        first, later = self.count_steps()
        plan = [(True, step) for step in range(1, first + 1)]
        plan += [(False, step) for step in range(1, later + 1)]
        self._chance.shuffle(plan)
        while self.killed < kills and len(self.faults) < 10:
            begins = self._chance.random() < 0.5
            at_random = begins, self._chance.randint(1, first if begins else later)
            begins, step = plan.pop() if plan else at_random
            if begins:
                self.replace_device()
            self.kill(step)
        return {"first": first, "later": later, "left": len(plan), **self.found()}

    def found(self) -> dict[str, Any]:
        """Return what was seen."""
        return {"killed": self.killed, "let_in_by": self.let_in_by, "faults": self.faults}


def main(world: dict[str, Any], kills: int, seed: int) -> None:
    """Kill devices, and print what was found as JSON."""
    print(json.dumps(Fleet(world, seed).run(kills)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
