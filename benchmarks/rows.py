"""The rows outside the codec: large messages, registrations, imports, memory, the server.

Each is measured in turns with what it is compared with, each time in new processes; the least of
all turns is what the machine can do, whatever else ran in between only adds.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.trees import Trees

DEADLINE = 300.0
"""Seconds that one process is given."""

REGISTERED_AT_ONCE = 1000


@dataclass
class Row:
    """A line of the table: ours beside another, and the goal.

    Attributes:
        title: what is measured, and its unit.
        ours: what was found, one number a turn.
        peer: what it is compared with; empty where the goal is a figure and no ratio.
        theirs: what was found of that.
        goal: at most this part of the peer's; without a peer, at most this.
        command: what measures it anew.
        remark: why it is not reached.
    """

    title: str
    ours: list[float]
    peer: str
    theirs: list[float]
    goal: float
    command: str
    remark: str = field(default="")

    @property
    def ratio(self) -> float:
        """Of the minima; without a peer, the minimum itself."""
        return min(self.ours) / min(self.theirs) if self.theirs else min(self.ours)

    @property
    def reached(self) -> bool:
        """Whether the goal is, as the table shows it: with two decimals."""
        return round(self.ratio, 2) <= self.goal


def three(values: list[float]) -> str:
    """Return minimum, median and maximum."""
    return " / ".join(_short(value) for value in (min(values), median(values), max(values)))


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown; each measured thing has minimum / median / maximum."""
    lines = [
        "| what | mqttws | beside | | ratio | goal | | command |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        sign = "reached" if row.reached else "**not reached**"
        beside = three(row.theirs) if row.theirs else ""
        lines.append(
            f"| {row.title} | {three(row.ours)} | {row.peer} | {beside} | {row.ratio:.2f}"
            f" | ≤ {row.goal:g} | {sign} | `{row.command}` |"
        )
    missed = [row for row in rows if not row.reached and row.remark]
    if missed:
        lines += ["", "Not reached, and why:", ""]
        lines += [f"- {row.title}: {row.ratio:.2f}. {row.remark}" for row in missed]
    return "\n".join(lines) + "\n"


def _job(trees: Trees, tree: Path, *words: object) -> float:
    """Run a job on a tree and return the number that it prints."""
    done = subprocess.run(
        [trees.python, "-P", trees.head / "benchmarks" / "jobs.py", *map(str, words)],
        env=trees.environment(tree),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{words[0]}: {done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _server(trees: Trees) -> Iterator[str]:
    """Run the server half that takes large messages; yields where it is."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [trees.python, "-m", "benchmarks.client_server", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=trees.head,
            env=trees.environment(trees.head),
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def large(trees: Trees, rounds: int) -> list[Row]:
    """1 MiB over wss, out and in, beside the commit before."""
    command = "python -m benchmarks --only large"
    rows = [
        Row("1 MiB publish over wss, CPU ms", [], trees.revision, [], 0.5, command, LARGE_OUT),
        Row("1 MiB received over wss, CPU ms", [], trees.revision, [], 0.7, command, LARGE_IN),
    ]
    with _server(trees) as place:
        for _ in range(rounds):
            for row, job in zip(rows, ("large-out", "large-in"), strict=True):
                row.theirs.append(_job(trees, trees.base, job, place, 40))
                row.ours.append(_job(trees, trees.head, job, place, 40))
    return rows


def sync(trees: Trees, rounds: int) -> list[Row]:
    """A lone publish of ``Client`` beyond one of ``AsyncClient``."""
    title = "`Client`, one QoS 1 publish beyond `AsyncClient`'s, µs"
    row = Row(title, [], "", [], 130, "python -m benchmarks --only sync")
    with _server(trees) as place:
        row.ours += [_job(trees, trees.head, "beyond", place, 1000) for _ in range(rounds)]
    return [row]


SDK = "azure-iot-device"


def registration(trees: Trees, rounds: int) -> list[Row]:
    """A device that registers once, beside azure-iot-device: CPU, memory, imports."""
    from tests.namespace import in_namespace

    jobs = trees.head / "benchmarks" / "jobs.py"
    command = in_namespace([str(trees.python), "-P", str(jobs), "registrations", str(rounds)])
    done = subprocess.run(
        command,
        env=trees.environment(trees.head),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        sys.exit(f"registrations: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    again = "python -m benchmarks --only registration"

    def row(title: str, key: str, goal: float, remark: str) -> Row:
        return Row(title, found[key]["mqttws"], SDK, found[key][SDK], goal, again, remark)

    return [
        row("one registration over wss, CPU ms without imports", "registration", 0.6, ALONE),
        row("the same, with the interpreter and imports", "with imports", 0.8, WITH_IMPORTS),
        row("resident memory after it, MiB", "resident", 0.9, MEMORY),
        *_imports(trees, rounds, found["modules"]["mqttws"]),
    ]


def _imports(trees: Trees, rounds: int, modules: list[str]) -> list[Row]:
    """CPU of fresh interpreters that import; their end, which a device seldom sees, is left out."""
    all_of_them = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    statements = {
        "theirs": "import azure.iot.device",
        "mqttws": "import mqttws",
        "registration": all_of_them,
        "floor": "import asyncio, ssl, websockets.asyncio.client",
    }
    found: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(rounds):
        for name, statement in statements.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [trees.python, "-P", "-c", f"{statement}\nimport os\nos._exit(0)"],
                check=True,
                env=trees.environment(trees.head),
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found[name].append(used * 1000)
    theirs = found["theirs"]
    again = "python -m benchmarks --only registration"
    floor = min(found["floor"]) / min(theirs)
    remark = f"{IMPORTS} asyncio, ssl and websockets alone are {floor:.2f}."
    return [
        Row("`import mqttws`, CPU ms of the process", found["mqttws"], SDK, theirs, 0.15, again),
        Row("all that it imports", found["registration"], SDK, theirs, 0.75, again, remark),
    ]


def server(trees: Trees, rounds: int) -> list[Row]:
    """CPU of the service for a registration, 1000 at once, beside the commit before."""
    from benchmarks.bench_provisioning import measure

    command = "python -m benchmarks --only server"
    title = f"service, CPU ms per registration, {REGISTERED_AT_ONCE} at once"
    row = Row(title, [], trees.revision, [], 0.65, command, SERVER)
    for _ in range(rounds):
        for tree, values in ((trees.base, row.theirs), (trees.head, row.ours)):
            found = measure(
                REGISTERED_AT_ONCE,
                "register",
                "smaller",
                service=(str(trees.python), tree),
                devices=(str(trees.python), trees.head),
            )
            values.append(found["service_ms"])
    return [row]


GROUPS: dict[str, tuple[Callable[[Trees, int], list[Row]], int]] = {
    "large": (large, 7),
    "sync": (sync, 7),
    "registration": (registration, 11),
    "server": (server, 5),
}
"""By name: what measures, and in how many turns."""

LARGE_OUT = "The TLS records and the kernel take most of it in both."
LARGE_IN = (
    "Runs show 1.04 to 1.58, and no cause in the code was found: with MALLOC_TRIM_THRESHOLD_ at 64"
    " MiB both cost the same. Handing a frame on in pieces as it comes spared a copy, and made 0.83"
    " of the commit before with that setting, but 1.4 to 1.7 without it: blocks of 256 KiB cost"
    " page faults."
)
ALONE = "TLS 1.3, asyncio, and what a first registration makes once; not looked into further."
WITH_IMPORTS = "The imports are most of it; see there."
MEMORY = "Python, asyncio, ssl and websockets alone are most of it."
IMPORTS = (
    "A sixth of the time makes the code of some 60 dataclasses (Python 3.13 needs half of that);"
    " websockets reads its version by importlib.metadata, and with it archives and mail. The floor:"
)
SERVER = "Nothing was gained; the TLS handshake of each device is the same in both."
