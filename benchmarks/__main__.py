"""Asks every question here and now: ``python -m benchmarks`` (``--rounds N``, default 200).

Prints the table, keeps the figures of this Python version in results.json, and writes README.md
and ratios.svg from all that are kept there.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

from benchmarks import (
    keywords,
    test_decode_puback,
    test_decode_qos0,
    test_decode_qos1,
    test_encode_keywords,
    test_encode_puback,
    test_encode_qos1,
    test_large_publish,
    test_packet_per_frame,
)
from benchmarks.asking import ask
from benchmarks.candidates import NAMES, candidate, pure_wire
from benchmarks.report import Run, chart, readme, table
from mqttws import wire

QUESTIONS = [
    test_decode_qos1.QUESTION,
    test_decode_qos0.QUESTION,
    test_packet_per_frame.QUESTION,
    test_encode_qos1.QUESTION,
    test_encode_keywords.QUESTION,
    test_decode_puback.QUESTION,
    test_encode_puback.QUESTION,
    test_large_publish.QUESTION,
]

HERE = Path(__file__).parent


def measure(rounds: int) -> Run:
    """Ask every question of every candidate that is installed."""
    found = {name: candidate(name) for name in NAMES}
    candidates = [each for each in found.values() if each is not None]
    for name in (name for name, each in found.items() if each is None):
        print(f"{name}: not installed, skipped", file=sys.stderr)
    figures = {}
    for question in QUESTIONS:
        print(question.title, file=sys.stderr)
        figures[question.column] = ask(question, candidates, rounds)
    return Run(
        python=platform.python_version(),
        machine=f"{platform.system()}, {platform.machine()}",
        packages={each.name: each.version for each in candidates},
        kinds={each.name: each.kind for each in candidates},
        remarks={each.name: each.remark for each in candidates},
        figures=figures,
        keywords={
            f"mqttws ({'compiled' if each.COMPILED else 'pure'})": keywords.measure(each, rounds)
            for each in dict.fromkeys((wire, pure_wire()))
        },
    )


def main() -> None:
    """Measure, print, keep and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--rounds", type=int, default=200, help="how often each is timed")
    rounds = options.parse_args().rounds
    run = measure(rounds)
    print(table(run))
    print(keywords.table(run.keywords))
    kept = HERE / "results.json"
    runs = {}
    if kept.exists():
        runs = {each["python"]: Run(**each) for each in json.loads(kept.read_text())}
    runs[run.python] = run
    ordered = [runs[python] for python in sorted(runs, key=lambda text: text.split("."))]
    kept.write_text(json.dumps([vars(each) for each in ordered], indent=1) + "\n")
    (HERE / "ratios.svg").write_text(chart(ordered[0]))
    (HERE / "README.md").write_text(
        readme(ordered, {each.column: each.title for each in QUESTIONS})
    )


main()
