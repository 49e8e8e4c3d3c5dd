"""The table of networks as a page: ``python -m tests.networks.table`` writes docs/networks.md."""

import importlib
from pathlib import Path

from .examine import FAMILIES, rows_of

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"

HEAD = """\
# Networks

Each of these networks is made by a test (`tests/networks`), with real programs where there are any
and scripted peers else. `mqttws doctor` must find what the table says; where it says *through*,
`mqttws provision` must register a device. This page is generated: `python -m tests.networks.table`.
"""


def render() -> str:
    """Return the page."""
    lines = [HEAD]
    total = 0
    for family in FAMILIES:
        told = (importlib.import_module(f"tests.networks.{family}").__doc__ or "").strip()
        lines += [f"## {family.replace('_', ' ').capitalize()}", "", told, ""]
        lines += [
            "| network | hop that fails | cause | who must act |",
            "| --- | --- | --- | --- |",
        ]
        for row in rows_of(family):
            total += 1
            if row.refused:
                cells = ["*refused*", "argument", "the caller"]
            elif row.hop is None:
                cells = ["*through*", "", ""]
            else:
                assert row.cause is not None, row.name
                assert row.party is not None, row.name
                cells = [row.hop.value, row.cause.value, row.party.value]
            lines.append(f"| {' | '.join([row.name, *cells])} |")
        lines.append("")
    lines.append(f"{total} networks.")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
