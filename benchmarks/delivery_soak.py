"""Asks whether the clients grow: ``python -m benchmarks.delivery_soak --minutes 60``.

An asyncio client and a threaded one publish to themselves at a steady rate through the chaos relay,
each in a process of its own, with random cuts, for an hour or as long as is asked for. Memory,
descriptors, threads and tasks of each process are written down every few seconds, and drawn; they
must be flat: no more in the last quarter than in the second one. Every message is accounted for as
in the matrix. Writes delivery_soak.svg and delivery_soak.json.

glibc keeps what a program has freed, in an arena and a cache for each of its threads, and keeps the
more of it the larger the messages were that met by chance. So that resident memory is the client's,
the processes run with an allocator that gives back what is free; ``GLIBC_TUNABLES=`` in front of
the command leaves glibc as it is.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos import Fate
from tests.net.rogue import Certificates
from tests.peers.brokers import Mosquitto, server_pem

from .delivery_cells import Cell
from .delivery_fates import Fates
from .delivery_process import Process
from .delivery_report import machine, versions
from .delivery_trial import Place, Trial

HERE = Path(__file__).parent
EVERY = 5.0
"""Seconds between two samples."""
TASKS = 20
CALM = (5.0, 20.0)
"""Seconds that a connection is left alone before its fate comes."""
GROWTH = {
    "memory (KiB)": 1024,
    "Python's blocks": 5000,
    "descriptors": 2,
    "threads": 2,
    "tasks": 2,
}
"""By how much the last quarter's median may be above the second one's."""
ALLOCATOR = ":".join(
    f"glibc.malloc.{setting}"
    for setting in (
        "arena_max=1", "tcache_count=0", "mmap_threshold=131072", "trim_threshold=131072"
    )
)  # fmt: skip


class Soak(Trial):
    """A cell that lasts for a given time.

    Attributes:
        samples: the seconds since the beginning and each figure.
    """

    def __init__(self, place: Place, cell: Cell, seconds: float) -> None:
        super().__init__(place, cell, "")
        self.seconds = seconds
        self.samples: list[dict[str, float]] = []

    def tasks(self) -> int:
        return TASKS

    def least(self) -> int:
        return 1

    def rate(self) -> float:
        return self.place.messages / self.seconds

    def fates(self, packets: list[tuple[str, str]]) -> Callable[[], Fate]:
        kinds = Fates(packets, self.chance)

        def seldom() -> Fate:
            kind = kinds()
            return Fate(kind.effect, kind.direction, patience=self.chance.uniform(*CALM))

        return seldom

    async def disturb(self, actor: Process) -> None:
        """Let time pass, and look."""
        began = time.monotonic()
        next_leave = began + 60
        while (now := time.monotonic()) < began + self.seconds:
            actor.say("count")
            await asyncio.sleep(EVERY)
            if now > next_leave:
                next_leave = now + self.chance.uniform(30, 90)
                self.leave(actor, self.chance.choice("pr"))
            tasks, threads, blocks = actor.look().counts
            self.samples.append(
                {
                    "seconds": round(now - began, 1),
                    "memory (KiB)": memory(actor.pid),
                    "Python's blocks": blocks,
                    "descriptors": len(os.listdir(f"/proc/{actor.pid}/fd")),
                    "threads": threads,
                    "tasks": tasks,
                }
            )


def memory(pid: int) -> int:
    """Return a process's resident memory in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def growth(samples: list[dict[str, float]]) -> dict[str, float]:
    """Return by how much the last quarter's median of each figure is above the second one's."""
    quarter = max(1, len(samples) // 4)
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return {
        name: statistics.median(one[name] for one in last)
        - statistics.median(one[name] for one in second)
        for name in GROWTH
    }


async def soak(minutes: float, rate: float, seed: int) -> dict[str, Any]:
    """Run both clients beside each other; return their rows."""
    with tempfile.TemporaryDirectory(prefix="soak-") as home:
        folder = Path(home)
        certificates = Certificates(folder)
        broker = Mosquitto(folder, server_pem(certificates), window=20)
        try:
            await broker.start()
            place = Place(
                broker, folder, certificates, HERE.parent, seed,
                messages=int(minutes * 60 * rate), cuts=0,
            )  # fmt: skip
            trials = {
                "async, wss": Soak(
                    place, Cell("async", 1, "persistent", "mosquitto", "wss"), minutes * 60
                ),
                "sync, mqtt": Soak(
                    place, Cell("sync", 2, "persistent", "mosquitto", "mqtt"), minutes * 60
                ),
            }

            async def run(name: str, trial: Soak) -> tuple[str, dict[str, Any]]:
                async with AsyncExitStack() as stack:
                    row = await trial.run(stack)
                row["growth"] = growth(trial.samples)
                row["samples"] = trial.samples
                return name, row

            return dict(await asyncio.gather(*(run(*one) for one in trials.items())))
        finally:
            broker.kill()


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the samples."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(GROWTH), 1, sharex=True, figsize=(8, 9))
    for axis, name in zip(axes, GROWTH, strict=True):
        for client, row in found.items():
            minutes = [one["seconds"] / 60 for one in row["samples"]]
            axis.plot(minutes, [one[name] for one in row["samples"]], label=client, linewidth=1)
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    axes[0].legend()
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Soak, draw, judge."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.delivery_soak", description=__doc__
    )
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--rate", type=float, default=100.0, help="messages a second, each client")
    options.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = options.parse_args()
    if importlib.util.find_spec("matplotlib") is None:
        options.error("the picture needs matplotlib: pip install '.[benchmarks]'")
    commit = versions()["commit"]
    os.environ.setdefault("GLIBC_TUNABLES", ALLOCATOR)  # of the processes that are started
    found = asyncio.run(soak(given.minutes, given.rate, given.seed))
    wrong = []
    for name, row in found.items():
        print(
            f"{name}: {row['accepted']} accepted, {row['done']} done, {row['arrived']} arrived,"
            f" lost {row['lost']}, {row['connections']} connections {row['ends']}; growth"
            f" {row['growth']}; {row['faults'] + row['broker'] or 'no fault'}"
        )
        wrong += row["faults"]
        wrong += [
            f"{name}: {figure} grew by {by}"
            for figure, by in row["growth"].items()
            if by > GROWTH[figure]
        ]
    result = {
        "seed": given.seed,
        "minutes": given.minutes,
        "rate": given.rate,
        "allocator": os.environ["GLIBC_TUNABLES"] or "glibc's defaults",
        "machine": machine(),
        "commit": commit,
        "day": f"{datetime.now(UTC):%d %B %Y}",
        "clients": found,
    }
    (HERE / "delivery_soak.json").write_text(json.dumps(result) + "\n")
    draw(found, HERE / "delivery_soak.svg")
    raise SystemExit("; ".join(wrong) or 0)


if __name__ == "__main__":
    main()
