"""Draws networks by a seed, for a reader's test: ``python -m tests.networks.draw SEED FOLDER``.

A reader who sees nothing but the doctor's output must name the team to call and what to ask of it.
The outputs go to ``01.txt`` and so on; ``key.txt`` holds the networks and the parties.
"""

import argparse
import random
from pathlib import Path

from .examine import FAMILIES, rows_of
from .row import Row
from .test_networks import run_family

COUNT = 20


def draw(seed: int, count: int = COUNT) -> list[tuple[str, Row]]:
    """Return networks in which the doctor finds a failure, with their families."""
    failing = [
        (family, row) for family in FAMILIES for row in rows_of(family) if row.hop is not None
    ]
    return random.Random(seed).sample(failing, count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    drawn = draw(given.seed)
    found = {}
    for family in {family for family, _ in drawn}:
        names = [row.name for of, row in drawn if of == family]
        found |= {(family, each["row"]): each for each in run_family(family, *names)}
    key = []
    for number, (family, row) in enumerate(drawn, 1):
        each = found[family, row.name]
        (given.folder / f"{number:02}.txt").write_text(each["text"], encoding="utf-8")
        parties = each["party"] + (f", or {each['also']}" if each["also"] else "")
        key.append(f"{number:02}  {family}: {row.name}: {parties} ({each['cause']})")
    (given.folder / "key.txt").write_text("\n".join([*key, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
