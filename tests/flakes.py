"""``python -m tests.flakes``: tests that fail now and then.

    run      run the whole suite 20 times, each test of concurrency 200 times; may be interrupted
             at any moment, and goes on where it was
    report   print how far it has come, and what failed

Needs pytest-repeat (extra ``flakes``). The record is ``flakes.json`` beside this file: for each
commit what was run, and which tests failed how often. After a failure was mended, ``run --anew``
counts from nothing; what was run before stays on the record. Exit code 1: something failed, and was
not left behind so.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from .commit import short_commit
from .whole import write_whole

ROOT = Path(__file__).resolve().parents[1]
RECORD = Path(__file__).with_suffix(".json")

CONCURRENT = (
    "tests/test_loop_thread.py",
    "tests/client/test_found_by_matrix.py",
    "tests/client/test_together.py",
    "tests/client/test_streams.py",
    "tests/client/test_leaving.py",
    "tests/client/test_reconnect.py",
    "tests/client/test_suspect.py",
    "tests/dps/test_interleavings.py",
    "tests/hub_client/test_sync.py",
    "tests/provisioning/test_pipelined.py",
    "tests/local/stores/test_batching.py",
    "tests/local/stores/test_contract.py",
    "tests/local/test_numbered.py",
    "tests/local/test_peers.py",
    "tests/local/test_processes.py",
)
"""Files with tests in which threads, tasks or processes meet."""

ALONE = (
    "tests/local/test_processes.py::test_a_taken_port_is_an_error_before_anything_starts",
    "tests/local/test_processes.py::test_the_variable_of_front_ends_is_no_ones_else",
    "tests/local/test_processes.py::test_what_front_ends_cannot_share_is_refused",
    "tests/local/test_numbered.py::test_the_bytes_that_are_counted_are_those_of_the_memory",
    "tests/local/stores/test_contract.py::test_a_row_is_absent_then_there_then_changed_then_gone",
    "tests/local/stores/test_contract.py::test_everything_is_there_after_a_restart",
    "tests/local/stores/test_contract.py::test_any_number_of_rows_comes_in_one_load",
    "tests/local/stores/test_contract.py::test_pages_follow_the_keys",
)
"""The longest tests of these files in which nothing meets."""

UNNAMED = "a test that pytest does not name"


@dataclass(frozen=True)
class Kind:
    """Tests that are run again and again, so often; ``at_once`` times within one pytest.

    What a kind of ``including`` has run counts, left behind or not, where none of ``files`` failed
    in it: these tests are among its own.
    """

    title: str
    files: tuple[str, ...]
    times: int
    at_once: int
    without: tuple[str, ...] = ()
    including: tuple[str, ...] = ()


KINDS = {
    "suite": Kind("the whole suite", ("tests",), 20, 1),
    "concurrent": Kind("tests of concurrency", CONCURRENT, 200, 20, ALONE, ("suite",)),
}


@dataclass
class Runs:
    """The runs of a kind at a commit; ``failed`` has how often by test.

    ``before`` says that its kind was begun anew afterwards.
    """

    kind: str
    commit: str
    date: str
    times: int = 0
    tests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    before: bool = False


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.flakes")
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; else all")
    parser.add_argument("--anew", action="store_true", help="leave behind what was run before")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="begin nothing afterwards")
    parser.add_argument("-n", "--workers", default="4", help="as of pytest-xdist")
    options = parser.parse_intermixed_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}: no kind; there are {', '.join(KINDS)}")
    names = options.kinds or list(KINDS)
    if options.command == "run":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends what was started, too
        if options.anew:
            keep([replace(row, before=row.before or row.kind in names) for row in record()])
        until = time.monotonic() + 60 * options.minutes
        for name in names:
            campaign(name, until, options.workers)
    return report(names)


def record() -> list[Runs]:
    """Return what was run, in the order of time."""
    return [Runs(**row) for row in json.loads(RECORD.read_text())] if RECORD.exists() else []


def keep(rows: list[Runs]) -> None:
    """Write the record, whole or not at all."""
    write_whole(RECORD, json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def campaign(name: str, until: float, workers: str) -> None:
    """Go on with a kind until it was run as often as it has to be."""
    kind = KINDS[name]
    while time.monotonic() < until:
        rows = record()
        left = kind.times - times_of(name, rows)
        if left <= 0:
            return
        times = min(kind.at_once, left)
        passed, failures = run(kind, times, workers)
        commit, date = short_commit(), f"{datetime.now(UTC):%Y-%m-%d}"
        now = rows[-1] if rows else None
        if now is None or now.before or (now.kind, now.commit) != (name, commit):
            now = Runs(name, commit, date)
            rows.append(now)
        now.date, now.times, now.tests = date, now.times + times, now.tests + passed + len(failures)
        for failure in failures:
            print(f"{kind.title}: {failure}", flush=True)
            now.failed[failure] = now.failed.get(failure, 0) + 1
        keep(rows)


def times_of(name: str, rows: list[Runs]) -> int:
    """Return how often the tests of a kind were run."""
    kind = KINDS[name]
    own = [row for row in rows if row.kind == name and not row.before]
    within = [
        row
        for row in rows
        if row.kind in kind.including
        and not any(each == UNNAMED or each.startswith(kind.files) for each in row.failed)
    ]
    return sum(row.times for row in own + within)


def run(kind: Kind, times: int, workers: str) -> tuple[int, list[str]]:
    """Run tests so often; return how many passed, and which failed.

    Where they cannot be run at all the program ends, and nothing is recorded.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--dist", "worksteal"]
    command += [*kind.files, *(f"--deselect={each}" for each in kind.without)]
    if times > 1:
        command.append(f"--count={times}")  # of pytest-repeat
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        sys.exit(
            f"{ended.stdout[-2000:]}{ended.stderr[-2000:]}pytest ended with {ended.returncode}"
        )
    passed = re.search(r"(\d+) passed", ended.stdout)
    failures = re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    if times > 1:
        which = re.compile(rf"(?:\[|-)\d+-{times}(\]?)$")  # of the repetitions
        failures = [which.sub(lambda m: "" if m[0][0] == "[" else m[1], each) for each in failures]
    if ended.returncode:
        print(ended.stdout, flush=True)  # with the reason
        failures = failures or [UNNAMED]
    return int(passed[1]) if passed else 0, failures


def report(names: list[str]) -> int:
    """Print how far each kind has come, and what failed; return the exit code."""
    for name in names:
        rows = [row for row in record() if row.kind == name]
        kind, times = KINDS[name], times_of(name, record())
        print(f"{kind.title}: {times} of {kind.times} times", end="")
        print("".join(f" (with those of {KINDS[each].title})" for each in kind.including))
        for row in rows:
            before = "before, " if row.before else ""
            print(f"    {before}{row.date}, {row.commit}: {row.times} times, {row.tests:,} tests")
            for failure, number in sorted(row.failed.items()):
                print(f"        failed {number} times: {failure}")
    return int(any(row.failed and not row.before for row in record() if row.kind in names))


if __name__ == "__main__":
    sys.exit(main())
