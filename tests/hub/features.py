"""Each feature of the hub's device endpoint and service API beside the cloud's.

Read from features.csv, rendered into docs/hub-features.md by ``python -m tests.hub.features``.
Columns: ``id``, ``area``, ``feature``, ``cloud`` (one of ``KINDS``), ``remark``. The tests that
prove a feature are those that are marked with its id: see tests/proven.py.
"""

import csv
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests import proven

SOURCE = Path(__file__).with_name("features.csv")
PAGE = Path(__file__).parents[2] / "docs" / "hub-features.md"
KINDS = ("as the cloud", "with a difference", "not served")

HEAD = """\
# The local hub beside the cloud's

Each feature of the device endpoint and of the service API, with the tests that prove it. Written
by `python -m tests.hub.features` from `tests/hub/features.csv` and from the tests' marks. The rules
and their sources stand beside each other in `mqttws/hub/service/`.
"""


@dataclass(frozen=True)
class Feature:
    """One row."""

    id: str
    area: str
    feature: str
    cloud: str
    remark: str

    @property
    def tests(self) -> tuple[str, ...]:
        return proven.tests_of(self.id)


def read() -> list[Feature]:
    """Return the rows, in their order."""
    with SOURCE.open(newline="", encoding="utf-8") as file:
        return [
            Feature(
                row["id"],
                row["area"],
                row["feature"],
                row["cloud"],
                row["remark"] or "",
            )
            for row in csv.DictReader(file)
        ]


def render(features: list[Feature]) -> str:
    """Return the page."""
    lines = [HEAD]
    for area, rows in groupby(features, key=lambda row: row.area):
        lines += [f"## {area}", "", "| feature | local hub | proven by |", "| --- | --- | --- |"]
        for row in rows:
            kind = f"**{row.cloud}**" if row.cloud != KINDS[0] else row.cloud
            said = f"{kind}: {row.remark}" if row.remark else kind
            lines.append(f"| {row.feature} | {said} | {_proofs(row.tests)} |")
        lines.append("")
    return "\n".join(lines)


def _proofs(tests: tuple[str, ...]) -> str:
    return "<br>".join(f"`{test}`" for test in tests)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(read()), encoding="utf-8")
