"""Tables in Markdown, for the pages of the documentation that are made from the tests' own data."""

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [_row(headings), _row(["---"] * len(headings))]
    lines += (_row([cell.replace("|", "\\|") for cell in row]) for row in rows)
    return "\n".join(lines)


def cells(table: str) -> list[list[str]]:
    """Return the rows of a table in Markdown, its head left out."""
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
