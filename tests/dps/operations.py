"""Each operation of DPS's device API and service API: served here, refused with a reason, or not.

``python -m tests.dps.operations`` writes docs/dps-operations.md from operations.csv (columns
``api``, ``operation``, ``local`` (one of ``KINDS``), ``remark``) and from the tests that are marked
``@pytest.mark.operation("<api>: <operation>", ...)``: they are the proofs.
"""

import ast
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

TESTS = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name("operations.csv")
PAGE = TESTS.parent / "docs" / "dps-operations.md"
KINDS = ("served", "refused with a reason", "not served")

HEAD = """\
# Operations of the local DPS

Each operation of DPS's device API and service API beside the local service, with the tests that
prove it. Written by `python -m tests.dps.operations` from `tests/dps/operations.csv` and from the
tests' marks.
"""


@dataclass(frozen=True)
class Operation:
    """One row of the source."""

    api: str
    operation: str
    local: str
    remark: str

    @property
    def name(self) -> str:
        """Return the name by which a test's mark means it."""
        return f"{self.api}: {self.operation}"


def read() -> list[Operation]:
    """Return the rows, in their order."""
    with SOURCE.open(newline="", encoding="utf-8") as file:
        return [
            Operation(row["api"], row["operation"], row["local"], row["remark"] or "")
            for row in csv.DictReader(file)
        ]


@cache
def proofs() -> dict[str, list[str]]:
    """Return the tests, as node names below tests/, by the operation that their marks name."""
    found: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.operation" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for name in _marked(node):
                    test = f"{file.relative_to(TESTS).as_posix()}::{node.name}"
                    found.setdefault(name, []).append(test)
    return found


def _marked(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.operation":
            yield from (ast.literal_eval(argument) for argument in mark.args)


def render(operations: list[Operation], found: dict[str, list[str]]) -> str:
    """Return the page."""
    lines = [HEAD]
    for api, rows in groupby(operations, key=lambda row: row.api):
        lines += [f"## {api}", "", "| operation | local DPS | proven by |", "| --- | --- | --- |"]
        for row in rows:
            kind = f"**{row.local}**" if row.local != KINDS[0] else row.local
            said = f"{kind}: {row.remark}" if row.remark else kind
            tests = "<br>".join(f"`{test}`" for test in found.get(row.name, ()))
            lines.append(f"| {row.operation} | {said} | {tests} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render(read(), proofs()), encoding="utf-8")
