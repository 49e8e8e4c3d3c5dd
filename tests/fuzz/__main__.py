"""``python -m tests.fuzz``: inputs that are made up, guided by the branches that they reach.

    run [TARGET ...]   fuzz until each target has had 10 million inputs or 20 minutes of a core; may
                       be interrupted at any moment, and goes on where it was
    report             how far each target has come, and which share of its branches was reached
    quick              the same 8,000 inputs of each target each time; with --seconds, from the same
                       start on for so long (CI: a minute of each)
    planted            shows that each target sees: a fault is planted in a copy of the code

Needs atheris (``pip install atheris``, Linux). An input that breaks an invariant is printed and kept
in ``.fuzz``, which holds what a campaign has found so far; ``results.json`` and ``corpus`` beside this
file are its record. Exit code 1: something was found (``planted``: was not found).
"""

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..commit import short_commit
from ..mutation.mutants import fingerprint
from ..whole import write_whole
from .one import CORPUS, ROOT, TARGETS, files_of, seeds

RESULTS = Path(__file__).with_name("results.json")
STATE = ROOT / ".fuzz"

INPUTS, SECONDS = 10_000_000, 20 * 60
"""A target is done with either."""

QUICK_INPUTS = 8000

SLICE = 120
"""Seconds of a clock after which the state is written: what an interrupted run loses at most."""


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("command", choices=("run", "report", "quick", "planted"))
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=1, help="of quick and planted")
    parser.add_argument("--jobs", type=int, default=1, help="targets of quick side by side")
    parser.add_argument(
        "--anew", action="store_true", help="run: count from nothing; inputs are kept"
    )
    options = parser.parse_intermixed_args()
    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"{', '.join(sorted(unknown))}: no target; there are {', '.join(TARGETS)}")
    if options.jobs < 1 or (options.seconds is not None and options.seconds < 1):
        parser.error("--jobs and --seconds are 1 or more")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends what was started, too
    if options.command == "run":
        if options.anew:
            write({name: row for name, row in results().items() if name not in names})
        return max(campaign(name, options.seconds or 10 * SECONDS) for name in names)
    if options.command == "quick":
        with ThreadPoolExecutor(options.jobs) as pool:
            return max(pool.map(lambda name: quick(name, options.seconds, options.seed), names))
    if options.command == "planted":
        return max(planted(name, options.seconds or 60, options.seed) for name in names)
    return report(names)


def results() -> dict[str, dict[str, Any]]:
    """Return the record by target."""
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def write(record: dict[str, dict[str, Any]]) -> None:
    """Write the record, whole or not at all."""
    write_whole(RESULTS, json.dumps(record, indent=1) + "\n")


def campaign(name: str, seconds: int) -> int:
    """Go on with a target until it is done, or for so many seconds; return the exit code."""
    work = STATE / name
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done = results().get(name, {"inputs": 0, "seconds": 0})
        if done["inputs"] >= INPUTS or done["seconds"] >= SECONDS:
            break
        for_now = min(SLICE, int(until - time.monotonic()) + 1, SECONDS - done["seconds"])
        seed = 1 + done["seconds"]
        before = core_seconds()
        ended = fuzz(name, work, ROOT, for_now, seed, INPUTS - done["inputs"])
        if ended.returncode:
            print(what_was_found(ended))
            return 1
        count, took = counted(ended.stderr), max(1, round(core_seconds() - before))
        keep(name, work, {"inputs": done["inputs"] + count, "seconds": done["seconds"] + took})
    return report([name])


def fuzz(
    name: str, work: Path, home: Path, seconds: int, seed: int, runs: int = -1
) -> "subprocess.CompletedProcess[str]":
    """Run the fuzzer for a while; what it finds worth keeping is in ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(name)):
        (work / f"seed-{number}").write_bytes(data)
    command = [sys.executable, "-m", "tests.fuzz.one", "guided", name, str(work)]
    command += [f"-max_total_time={seconds}", f"-seed={seed}", f"-runs={runs}"]
    command += [f"-max_len={TARGETS[name].largest}", f"-artifact_prefix={work.parent}/{name}-"]
    if words := TARGETS[name].words.split():
        dictionary = work.parent / f"{name}-words"
        dictionary.write_text("".join(f'"{quoted(word)}"\n' for word in words))
        command += [f"-dict={dictionary}"]
    command += ["-timeout=900", "-rss_limit_mb=2048", "-print_final_stats=1"]
    fixed = os.environ | {"PYTHONHASHSEED": "0"}  # the same inputs with the same seed
    return subprocess.run(
        command, cwd=home, env=fixed, capture_output=True, text=True, errors="replace", check=False
    )


def quoted(word: str) -> str:
    """Return a word as the fuzzer's dictionary has it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def what_was_found(ended: "subprocess.CompletedProcess[str]") -> str:
    """Return the exception and the input of a run that failed, without the fuzzer's progress."""
    lines = [
        line for line in ended.stderr.splitlines() if not line.startswith(("#", "INFO", "stat::"))
    ]
    return "\n".join([ended.stdout[-4000:], *lines])[-6000:]


def core_seconds() -> float:
    """Return the seconds of a core that the programs have taken that were started here."""
    times = os.times()
    return times.children_user + times.children_system


def counted(text: str) -> int:
    """Return how many inputs the fuzzer tried."""
    found = re.search(r"Done (\d+) runs? in ", text)
    return int(found[1]) if found else 0


def keep(name: str, work: Path, row: dict[str, Any]) -> None:
    """Record how far a target has come, its branches, and a small corpus that reaches them."""
    looked_through = work.parent / f"{name}-looked-through"
    since = looked_through.read_text() if looked_through.exists() else "0"
    with tempfile.TemporaryDirectory() as folder:
        now, out = time.time_ns(), Path(folder) / "reached.json"
        command = [sys.executable, "-m", "tests.fuzz.one", "reached", name]
        command += [str(work), str(out), since]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(out.read_text())
    CORPUS.mkdir(exist_ok=True)
    write_whole(CORPUS / f"{name}.txt", "".join(f"{each}\n" for each in found["kept"]))
    row |= {
        "branches": found["branches"],
        "code": code_of(name),
        "commit": short_commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    write(results() | {name: row})
    looked_through.write_text(str(now))


def code_of(name: str) -> str:
    """Return a hash of the modules of a target, without their comments and docstrings."""
    prints = [fingerprint(ast.parse(path.read_text())) for path in files_of(TARGETS[name])]
    return hashlib.sha256("".join(prints).encode()).hexdigest()[:12]


def report(names: list[str]) -> int:
    """Print how far each target has come."""
    for name in names:
        row = results().get(name)
        if row is None:
            print(f"{name}: not begun")
            continue
        reached, total = row["branches"]
        print(
            f"{name}: {row['inputs']:,} inputs in {row['seconds'] / 60:.1f} minutes; "
            f"{reached} of {total} branches ({100 * reached / max(1, total):.0f} %) of "
            f"{', '.join(TARGETS[name].modules)}; {row['date']}, {row['commit']}"
            f"{'' if row.get('code') == code_of(name) else '; its code has changed since'}"
        )
    return 0


def quick(name: str, seconds: int | None, seed: int) -> int:
    """Fuzz a target with so many inputs, or for so many seconds; return the exit code."""
    limits = (60, QUICK_INPUTS) if seconds is None else (seconds, -1)
    with tempfile.TemporaryDirectory() as folder:
        ended = fuzz(name, Path(folder) / name, ROOT, limits[0], seed, limits[1])
    count = counted(ended.stderr)
    good = not ended.returncode and count > 0
    print(f"{name}: {count} inputs, {'ok' if good else 'FAILED'}", flush=True)
    if not good:
        print(what_was_found(ended))
    return int(not good)


def planted(name: str, seconds: int, seed: int) -> int:
    """Plant a target's fault in a copy of the code; return 0 if the fuzzer finds it."""
    file, text, fault = TARGETS[name].fault
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "copy"
        shutil.copytree(
            ROOT / "mqttws", home / "mqttws", ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
        os.symlink(ROOT / "tests", home / "tests")
        source = (home / file).read_text()
        if text not in source:
            print(f"{name}: {file} no longer has the text {text!r}")
            return 1
        (home / file).write_text(source.replace(text, fault, 1))
        start = time.monotonic()
        ended = fuzz(name, Path(folder) / name, home, seconds, seed)
        took = time.monotonic() - start
        broken = [str(path) for path in Path(folder).glob(f"{name}-crash-*")]
        seen = bool(broken) and holds(name, broken)
    print(
        f"{name}: {'found' if seen else 'NOT found'} in {took:.1f} s: {fault!r} for {text!r}",
        flush=True,
    )
    if not seen:
        print(ended.stderr[-2000:])
    return int(not seen)


def holds(name: str, inputs: list[str]) -> bool:
    """Tell whether the code as it is written keeps the invariant for inputs that broke it."""
    command = [sys.executable, "-m", "tests.fuzz.one", "guided", name, *inputs]
    return not subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
