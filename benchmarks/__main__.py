"""Measures all that has a goal, here and now: ``python -m benchmarks``.

Builds this tree and the commit before (``--base REVISION``) in a temporary folder, both with the
codec compiled, prints each row with minimum, median and maximum, and the verdict by the minimum,
and writes results.json, README.md and ratios.svg. ``--only GROUP`` measures one group of rows,
prints it and writes nothing. Takes some 12 minutes on two cores; needs git, a C compiler, and
Linux with network namespaces for the official SDK's ports.
"""

import argparse
import json
import os
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


def keep(run: Run, rows: list[Row], note: str) -> None:
    """Write the results and the pages from all that are kept."""
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    runs = {each["python"]: Run(**each) for each in kept.get("codec", [])} | {run.python: run}
    ordered = [runs[python] for python in sorted(runs, key=lambda text: text.split("."))]
    kept = {
        "note": note,
        "rows": [vars(row) for row in rows],
        "codec": [vars(each) for each in ordered],
    }
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "ratios.svg").write_text(chart(run))
    (HERE / "README.md").write_text(readme(note, rows, ordered))


def main() -> None:
    """Measure, print, keep and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--rounds", type=int, default=200, help="of each question to the codec")
    options.add_argument("--base", default=BASE, help="the commit before, for what has no peer")
    options.add_argument("--only", choices=["codec", *GROUPS], help="one group of rows")
    given = options.parse_args()
    began, load = time.time(), os.getloadavg()[0]
    run, rows = None, []
    with built(given.base) as trees:
        if given.only in (None, "codec"):
            run = codec_run(trees, given.rounds)
            rows += codec_rows(run)
        for name, (measure, turns) in GROUPS.items():
            if given.only in (None, name):
                print(name, file=sys.stderr)
                rows += measure(trees, turns)
    head = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    ).stdout.strip()
    note = (
        f"{time.strftime('%Y-%m-%d')}, commit {head} beside {given.base}, Python"
        f" {sys.version.split()[0]}, {os.uname().sysname} {os.uname().machine},"
        f" {os.cpu_count()} cores; load {load:.1f} at the beginning and {os.getloadavg()[0]:.1f}"
        f" at the end; {(time.time() - began) / 60:.0f} minutes"
    )
    print(rows_table(rows))
    if run is not None:
        print(table(run))
    print(note)
    if run is not None and given.only is None:
        keep(run, rows, note)


if __name__ == "__main__":
    main()
