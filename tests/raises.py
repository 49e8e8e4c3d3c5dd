"""``python -m tests.raises``: each ``raise`` of the package that the last run did not reach.

Run the whole suite first: the recorder of ``tests/raises_recorder.py`` writes what it sees. A raise
counts as reached where an error was made on one of its lines, or by a function that it calls.
Those in ``tests/raises.csv`` (file, function, text, reason) are explained: each raise of one of
Python's own classes, which the recorder does not see, and which no caller of ours may meet as a
failure. Exit code 1: there are others.
"""

import ast
import builtins
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mqttws

from .raises_recorder import records

NOT_OURS = {
    "click.UsageError",
    "self.error.with_traceback",
    "upkeep.error.with_traceback",
    "self._end",
    "_explained",
}
"""Calls after ``raise`` that make no error of the package: click's, and one made before."""

ROOT = Path(mqttws.__file__).parent
TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Raise:
    """One ``raise`` of an error of the package.

    Attributes:
        file: relative to the package.
        function: in which it stands, dotted.
        text: its source, shortened: with the function it names the raise when lines move.
        first: its first line.
        last: its last line.
    """

    file: str
    function: str
    text: str
    first: int
    last: int


def raises_of(file: str, source: str) -> Iterator[Raise]:
    """Yield each raise of a new error in a file; ``raise error`` raises one made elsewhere."""

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[Raise]:
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = (*names, child.name)
            if isinstance(child, ast.Raise) and child.exc is not None and _makes_one(child.exc):
                text = ast.unparse(child.exc)[:60]
                yield Raise(file, ".".join(inner), text, child.lineno, child.end_lineno or 0)
            yield from walk(child, inner)

    return walk(ast.parse(source), ())


def _makes_one(raised: ast.expr) -> bool:
    """Whether what is raised is a new error, and not one that was made elsewhere."""
    if not isinstance(raised, ast.Call):
        return is_pythons(ast.unparse(raised))
    called = ast.unparse(raised.func)
    made = "" if called in NOT_OURS else called.rpartition(".")[2]
    return made in error_classes() or made.lstrip("_")[:1].islower() or is_pythons(called)


def is_pythons(name: str) -> bool:
    """Whether a name, or what is called, is an exception of Python's own."""
    found = getattr(builtins, name.partition("(")[0], None)
    return isinstance(found, type) and issubclass(found, BaseException)


@cache
def error_classes() -> set[str]:
    """Return the names of the classes of errors, the inner ones too, read from the source."""
    bases = {
        node.name: {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    found = {"MqttwsError", "Rejection", "Refused"}
    while more := {name for name, its in bases.items() if its & found} - found:
        found |= more
    return found


def all_raises() -> list[Raise]:
    """Return each raise of a new error in the package."""
    return [
        one
        for path in sorted(ROOT.rglob("*.py"))
        for one in raises_of(path.relative_to(ROOT).as_posix(), path.read_text())
    ]


def missed(raises: list[Raise], places: set[tuple[str, int]]) -> list[Raise]:
    """Return the raises on whose lines no error was seen."""
    return [
        one
        for one in raises
        if not any((one.file, line) in places for line in range(one.first, one.last + 1))
    ]


def explained() -> dict[tuple[str, str, str], str]:
    """Return the reasons of the table, by file, function and text."""
    with TABLE.open(newline="") as file:
        return {
            (row["file"], row["function"], row["text"]): row["reason"]
            for row in csv.DictReader(file)
        }


def main() -> int:
    """Print the raises that were not reached; return the exit code."""
    found = (one.rpartition(":") for one in records("place"))
    places = {(file, int(line)) for file, _, line in found if line.isdigit()}
    if not places:
        print("no record: run the tests first")
        return 1
    raises = all_raises()
    reasons = explained()
    left = missed(raises, places)
    open_ones = [one for one in left if (one.file, one.function, one.text) not in reasons]
    for one in open_ones:
        print(f"{one.file}:{one.first}\t{one.function}\t{one.text}")
    print(
        f"{sum(map(int, records('count')))} errors; {len(raises)} raises,"
        f" {len(raises) - len(left)} reached, {len(left) - len(open_ones)} explained,"
        f" {len(open_ones)} open"
    )
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main())
