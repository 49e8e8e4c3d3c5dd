"""What devices and services get wrong about DPS, and which test proves that we do not.

Read from proofs.csv, rendered into the page docs/dps-proofs.md when that is built. Columns:
``id``, ``fact`` in our words, ``remark``: why a side has no test, or where it departs. Ids: T for
traps, S for the statuses of answers, E for error codes, B for bad input. The tests of the service
and of the device are those that are marked ``DPS-ID/service`` and ``DPS-ID/device``: see proven.py.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from tests import proven
from tests.notes import table

SOURCE = Path(__file__).with_name("proofs.csv")


@dataclass(frozen=True)
class Proof:
    """One row. Its tests are looked for when asked for: all files of tests are read then."""

    id: str
    fact: str
    remark: str

    @property
    def service(self) -> tuple[str, ...]:
        return proven.tests_of(f"DPS-{self.id}/service")

    @property
    def device(self) -> tuple[str, ...]:
        return proven.tests_of(f"DPS-{self.id}/device")


def read() -> list[Proof]:
    """Return the rows, in their order."""
    with SOURCE.open(newline="", encoding="utf-8") as file:
        return [Proof(row["id"], row["fact"], row["remark"]) for row in csv.DictReader(file)]


def render(proofs: list[Proof]) -> str:
    """Return the table as Markdown."""
    headings = ("id", "fact", "service proven by", "device proven by", "remark")
    rows = []
    for proof in proofs:
        sides = (
            "<br>".join(f"`{test}`" for test in side) for side in (proof.service, proof.device)
        )
        rows.append((proof.id, proof.fact, *sides, proof.remark))
    return table(headings, rows)
