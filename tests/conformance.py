"""The conformance matrix: read from conformance.csv, rendered into the page docs/conformance.md.

The documentation calls ``render`` when it is built. The tests that prove a rule are those that are
marked with it: see proven.py.

Columns of the source: ``id``, ``section``, ``party`` (whom the rule binds), ``layer``, ``rule`` in
our words, ``enforced`` (``module:name`` below mqttws, or ``websockets`` for the library that makes
and reads every frame), ``remark`` (why a rule does not apply, or where we depart from it). ``OPEN``
stands where something is still to be filled in.
"""

import ast
import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests import proven
from tests.notes import table
from tests.proven import parse

TESTS = Path(__file__).parent
SOURCE = TESTS / "conformance.csv"
PACKAGE = TESTS.parent / "mqttws"

OPEN = "OPEN"
LIBRARY = "websockets"


@dataclass(frozen=True)
class Rule:
    """One row of the matrix."""

    id: str
    section: str
    party: str
    layer: str
    rule: str
    enforced: tuple[str, ...]
    remark: str

    @property
    def tests(self) -> tuple[str, ...]:
        return proven.tests_of(self.id)

    @property
    def applies(self) -> bool:
        """Whether the rule is enforced here, rather than explained away."""
        return bool(self.enforced)

    @property
    def is_open(self) -> bool:
        """Whether something is still to be filled in."""
        return OPEN in self.enforced


def read() -> list[Rule]:
    """Return the rows of the source, in its order."""
    with SOURCE.open(newline="", encoding="utf-8") as file:
        return [
            Rule(
                row["id"],
                row["section"],
                row["party"],
                row["layer"],
                row["rule"],
                tuple(row["enforced"].split()),
                row["remark"],
            )
            for row in csv.DictReader(file)
        ]


def has_name(where: str) -> bool:
    """Tell whether ``module:name`` is in the package; the name may be empty, or dotted."""
    module, _, name = where.partition(":")
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    if not path.exists():
        return False
    return not name or _finds(parse(path), name.split("."))


def _finds(tree: ast.AST, names: list[str]) -> bool:
    """Tell whether the names lead from one definition to the next; branches are looked into."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _finds(node, names):
            return True
        found = ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = node.target.id
        if found == names[0] and (len(names) == 1 or _finds(node, names[1:])):
            return True
    return False


def render(rules: list[Rule]) -> str:
    """Return a summary and the table as Markdown."""
    counts = Counter(
        "not applicable" if not rule.applies else "open" if rule.is_open else "enforced and proven"
        for rule in rules
    )
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts))
    headings = ("id", "rule", "binds", "enforced in", "proven by", "remark")
    rows = []
    for rule in rules:
        enforced = "<br>".join(f"`{each}`" for each in rule.enforced)
        tests = "<br>".join(f"`{each}`" for each in rule.tests)
        remark = rule.remark if rule.applies else f"not applicable: {rule.remark}"
        rows.append((rule.id, rule.rule, rule.party, enforced, tests, remark))
    return f"{len(rules)} rules: {summary}.\n\n{table(headings, rows)}"
