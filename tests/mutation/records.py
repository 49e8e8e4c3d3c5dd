"""What was found so far: a file of results for each room, and the survivors that are explained.

``results/ROOM.json`` has for each function a hash of its source, one of the tests that were run for
it, and how each mutant ended. A function is done where both hashes are those of today.
``explained.csv`` has a line for each survivor that no test can or need notice: ``function``,
``mutant``, ``reason``.
"""

import ast
import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ..commit import short_commit
from ..whole import write_whole
from .mutants import Target, fingerprint, functions, targets

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results")
EXPLAINED = Path(__file__).with_name("explained.csv")

ROOMS = {
    "wire": ("tests/wire", "tests/protocol"),
    "protocol": ("tests/protocol",),
    "dps": ("tests/dps",),
    "hub": ("tests/hub",),
    "provisioning": ("tests/provisioning",),
}
"""The folders of tests that must notice a change, by room of the package."""

BEYOND = {
    "mqttws/dps/": (
        "tests/local/test_admin.py",
        "tests/local/test_device_https.py",
        "tests/local/test_service_door.py",
        "tests/local/test_webhook.py",
        "tests/local/test_x509.py",
    ),
    "mqttws/dps/group_index.py": ("tests/local/stores/test_group_index.py",),
    "mqttws/dps/known_groups.py": ("tests/local/stores/test_group_index.py",),
    "mqttws/hub/": ("tests/local/test_hub.py", "tests/local/test_hub_rest.py"),
    "mqttws/provisioning/x509.py": ("tests/local/test_x509.py",),
}
"""Quick tests of other rooms that count as well, by file or folder of the package: a decision is
also proven by the service that does what was decided."""

COMPILED_ALONE = "mqttws/wire/calls.py"
"""Imported by the compiled codec, in which nothing can be replaced."""


@dataclass
class Result:
    """What became of a function's mutants.

    Attributes:
        source: the function's hash.
        tests: that of the tests that reach it.
        mutants: how many there are.
        survived: those that no test noticed.
    """

    source: str
    tests: str
    mutants: int
    survived: list[str] = field(default_factory=list)


def read(room: str) -> dict[str, Result]:
    """Return the results of a room by function."""
    path = RESULTS / f"{room}.json"
    if not path.exists():
        return {}
    return {name: Result(**row) for name, row in json.loads(path.read_text())["functions"].items()}


def write(room: str, results: dict[str, Result]) -> None:
    """Keep the results of a room, with the commit and the day."""
    RESULTS.mkdir(exist_ok=True)
    rows = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(asdict(results[name]), ensure_ascii=False)}"
        for name in sorted(results)
    )
    head = f'"commit": {json.dumps(short_commit())}, "date": "{datetime.now(UTC):%Y-%m-%d}"'
    write_whole(RESULTS / f"{room}.json", f'{{{head}, "functions": {{\n{rows}\n}}}}\n')


def explained() -> dict[tuple[str, str], str]:
    """Return the reasons by function and mutant."""
    with EXPLAINED.open(newline="", encoding="utf-8") as file:
        return {(row["function"], row["mutant"]): row["reason"] for row in csv.DictReader(file)}


def tests_of(file: str) -> tuple[str, ...]:
    """Return the files and folders of tests that must notice a change in a file of the package."""
    room = file.split("/")[1]
    beyond = [each for place, tests in BEYOND.items() if file.startswith(place) for each in tests]
    return (*ROOMS[room], *beyond)


def targets_of(room: str) -> list[Target]:
    """Return the functions of a room."""
    return [
        target
        for path in sorted((ROOT / "mqttws" / room).rglob("*.py"))
        if path != ROOT / COMPILED_ALONE
        for target in targets(path.relative_to(ROOT).as_posix(), path.read_text())
    ]


@cache
def _functions_of(path: Path) -> dict[str, str]:
    tree = ast.parse(path.read_text())
    return {name: fingerprint(node) for node, name in functions(tree)}


def tests_hash(nodes: Iterable[str]) -> str:
    """Return a hash of tests by their node ids; of the whole file where one is no function."""
    parts = set()
    for node in nodes:
        path, _, name = node.partition("::")
        name = name.partition("[")[0].replace("::", ".")
        known = _functions_of(ROOT / path)
        parts.add(f"{path} {name} {known.get(name) or hash_of(ROOT / path)}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:12]


@cache
def hash_of(path: Path) -> str:
    """Return a hash of a whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
