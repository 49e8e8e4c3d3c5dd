"""Each operation of DPS's device API and service API: served here, refused with a reason, or not.

``python -m tests.dps.operations`` writes docs/dps-operations.md from operations.csv (columns
``api``, ``operation``, ``local`` (one of ``KINDS``), ``remark``) and from the tests that are marked
``@pytest.mark.operation("<api>: <operation>", ...)``: they are the proofs (see tests/proven.py).
"""

import csv
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests import proven

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


def render(operations: list[Operation]) -> str:
    """Return the page."""
    lines = [HEAD]
    for api, rows in groupby(operations, key=lambda row: row.api):
        lines += [f"## {api}", "", "| operation | local DPS | proven by |", "| --- | --- | --- |"]
        for row in rows:
            kind = f"**{row.local}**" if row.local != KINDS[0] else row.local
            said = f"{kind}: {row.remark}" if row.remark else kind
            tests = "<br>".join(f"`{test}`" for test in proven.tests_of(row.name))
            lines.append(f"| {row.operation} | {said} | {tests} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render(read()), encoding="utf-8")
