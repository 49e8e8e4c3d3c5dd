"""``python -m tests.flakes``: tests that fail now and then.

Runs the whole suite again and again, then the tests of concurrency alone; prints each failure and a
count at the end. ``--suite 20 --concurrent 200`` are the usual numbers; ``--minutes`` ends it
sooner.
Exit code 1: something failed.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONCURRENT = (
    "tests/test_loop_thread.py",
    "tests/client/test_together.py",
    "tests/client/test_streams.py",
    "tests/client/test_leaving.py",
    "tests/client/test_reconnect.py",
    "tests/dps/test_interleavings.py",
    "tests/provisioning/test_pipelined.py",
    "tests/local/test_numbered.py",
    "tests/local/test_peers.py",
)
"""Tests in which threads, tasks or processes meet."""


def main() -> int:
    """Run the tests; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.flakes")
    parser.add_argument("--suite", type=int, default=20, help="runs of the whole suite")
    parser.add_argument("--concurrent", type=int, default=200, help="runs of each concurrent test")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="begin nothing afterwards")
    parser.add_argument("-n", "--workers", default="2", help="as of pytest-xdist")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    failed: dict[str, int] = {}
    counts = {}
    for name, times, files in (
        ("the whole suite", options.suite, ("tests",)),
        ("concurrent tests", options.concurrent, CONCURRENT),
    ):
        done = tests = 0
        while done < times and time.monotonic() < until:
            passed, failures = run(files, options.workers)
            done, tests = done + 1, tests + passed + len(failures)
            for failure in failures:
                failed[failure] = failed.get(failure, 0) + 1
                print(f"run {done} of {name}: {failure}", flush=True)
        counts[name] = (done, times, tests)
    for name, (done, times, tests) in counts.items():
        print(f"{name}: {done} of {times} runs, {tests} tests")
    for failure, number in sorted(failed.items()):
        print(f"    failed {number} times: {failure}")
    return int(bool(failed))


def run(files: tuple[str, ...], workers: str) -> tuple[int, list[str]]:
    """Run tests once; return how many passed, and which failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--dist", "worksteal", *files]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    passed = re.search(r"(\d+) passed", ended.stdout)
    failures = re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    if ended.returncode and not failures:
        failures = [f"pytest ended with {ended.returncode}: {json.dumps(ended.stdout[-300:])}"]
    return int(passed[1]) if passed else 0, failures


if __name__ == "__main__":
    sys.exit(main())
