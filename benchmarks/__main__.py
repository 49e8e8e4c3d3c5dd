"""Measures all that has a goal, here and now: ``python -m benchmarks``.

Builds this tree and the commit before (``--base REVISION``) in a temporary folder, both with the
codec compiled, prints each row with minimum, median and maximum, and the verdict by the minimum,
and writes results.json, README.md and ratios.svg. ``--only GROUP`` measures one group of rows,
and leaves the others as they were. Takes some 12 minutes on two cores; needs git, a C compiler, and
Linux with network namespaces for the official SDK's ports.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Run, chart, codec_rows, readme, table
from benchmarks.rows import GROUPS, Row
from benchmarks.rows import table as rows_table
from benchmarks.trees import BASE, Trees, built

HERE = Path(__file__).parent
KEPT = HERE / "results.json"


def codec_run(trees: Trees, rounds: int) -> Run:
    """Ask the questions of the codec in a process of its own, on this tree as it was built."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec", str(rounds), str(trees.base)],
        cwd=trees.head,
        stdout=subprocess.PIPE,
        check=True,
    )
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def keep(group: str, note: str, rows: list[Row], run: Run | None) -> None:
    """Put what a group showed into the results, and write the pages from all that are kept."""
    kept: dict[str, Any] = {"groups": {}, "codec": []}
    if KEPT.exists():
        kept = json.loads(KEPT.read_text())
    kept["groups"][group] = {"note": note, "rows": [vars(row) for row in rows]}
    runs = {each["python"]: Run(**each) for each in kept["codec"]}
    if run is not None:
        runs[run.python] = run
    ordered = [runs[python] for python in sorted(runs, key=lambda text: text.split("."))]
    kept["codec"] = [vars(each) for each in ordered]
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    groups = {name: kept["groups"][name] for name in ("codec", *GROUPS) if name in kept["groups"]}
    tables = [
        (found["note"], rows_table([Row(**row) for row in found["rows"]]))
        for found in groups.values()
    ]
    if ordered:
        (HERE / "ratios.svg").write_text(chart(run or ordered[0]))
    (HERE / "README.md").write_text(readme(tables, ordered))


def main() -> None:
    """Measure, print, keep and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--rounds", type=int, default=200, help="of each question to the codec")
    options.add_argument("--turns", type=int, help="of the other rows; each has its own number")
    options.add_argument("--base", default=BASE, help="the commit before, for what has no peer")
    options.add_argument("--only", choices=["codec", *GROUPS], help="one group of rows")
    options.add_argument("--trees", type=Path, help="keep what is built here, and use it again")
    given = options.parse_args()
    head = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with built(given.base, given.trees) as trees:
        for group in ("codec", *GROUPS):
            if given.only not in (None, group):
                continue
            began, load = time.time(), os.getloadavg()[0]
            run = None
            if group == "codec":
                run = codec_run(trees, given.rounds)
                rows = codec_rows(run)
            else:
                measure, turns = GROUPS[group]
                rows = measure(trees, given.turns or turns)
            note = (
                f"{time.strftime('%Y-%m-%d %H:%M')}, commit {head} beside {given.base}, Python"
                f" {platform.python_version()}, {platform.system()} {platform.machine()},"
                f" {os.cpu_count()} cores, load {load:.0f} to {os.getloadavg()[0]:.0f},"
                f" {len(rows[-1].ours) if run is None else given.rounds} turns in"
                f" {(time.time() - began) / 60:.1f} minutes"
            )
            print(f"{rows_table(rows)}\n{note}\n", flush=True)
            if run is not None:
                print(table(run), flush=True)
            keep(group, note, rows, run)


if __name__ == "__main__":
    main()
