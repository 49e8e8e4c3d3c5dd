"""The rows of the codec: every question asked of every candidate, and the goals.

``python -m benchmarks.codec ROUNDS [FOLDER]`` prints a run as JSON; FOLDER holds an earlier commit.
"""

import json
import os
import platform
import sys
import time
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
from benchmarks.candidates import NAMES, before, candidate, pure_wire
from benchmarks.report import Run, summary
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


def measure(rounds: int, earlier: Path | None = None) -> Run:
    """Ask every question of every candidate that is installed."""
    found = {name: candidate(name) for name in NAMES}
    candidates = [each for each in found.values() if each is not None]
    for name in (name for name, each in found.items() if each is None):
        print(f"{name}: not installed, skipped", file=sys.stderr)
    if earlier is not None:
        candidates.append(before(earlier))
    figures = {}
    for question in QUESTIONS:
        print(question.title, file=sys.stderr)
        asked = ask(question, candidates, rounds)
        figures[question.column] = {name: summary(spent) for name, spent in asked.items()}
    return Run(
        python=platform.python_version(),
        machine=f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores",
        date=time.strftime("%Y-%m-%d"),
        packages={each.name: each.version for each in candidates},
        kinds={each.name: each.kind for each in candidates},
        remarks={each.name: each.remark for each in candidates},
        figures=figures,
        keywords={
            f"mqttws ({'compiled' if each.COMPILED else 'pure'})": keywords.measure(each, rounds)
            for each in dict.fromkeys((wire, pure_wire()))
        },
    )


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(vars(measure(int(sys.argv[1]), folder))))
