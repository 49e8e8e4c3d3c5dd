"""``python -m tests.stalls [options] [arguments of pytest]``: tests on a machine that stands still.

A virtual machine stands still for a moment now and then: every process, while the clock goes on.
A test whose bounds of time leave no room for that fails once in many runs. Here it happens every
few seconds, and such a test shows at once. pytest runs in a control group of its own with all that
the tests start, brokers and databases too, and the group is frozen. A test that fails here on one
seed and not without has too small a margin, or waits for a time where it could wait for an event.

Needs Linux with cgroup v2, and root. Exit code: pytest's.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stalls")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--length", type=float, default=0.7, help="seconds of a stall")
    parser.add_argument("--apart", type=float, default=3.0, help="seconds between two, on average")
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends what was started, too
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    chance = random.Random(options.seed)
    count = 0
    with control_group() as group:
        running = subprocess.Popen([sys.executable, "-c", ENTER, str(group), *command], cwd=ROOT)
        while not ended(running, chance.uniform(0.5, 1.5) * options.apart):
            freeze(group, options.length)
            count += 1
    print(f"stood still {count} times for {options.length:g} s, seed {options.seed}")
    return running.returncode


ENTER = """
import os, pathlib, sys
(pathlib.Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def control_group() -> Iterator[Path]:
    """Make a control group; end what is left in it, and remove it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    if not roots:
        sys.exit("there is no cgroup v2 on this machine")
    group = roots[0] / f"mqttws-stalls-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        sys.exit(f"no control group can be made, are you root? {error}")
    try:
        yield group
    finally:
        for _ in range(100):
            for process in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(process), 9)
            with suppress(OSError):  # a process is there still
                group.rmdir()
                break
            time.sleep(0.05)


def ended(running: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait so long; return whether the process has ended."""
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def freeze(group: Path, seconds: float) -> None:
    """Let everything in the group stand still so long."""
    switch = group / "cgroup.freeze"
    switch.write_text("1")
    try:
        time.sleep(seconds)
    finally:
        switch.write_text("0")


if __name__ == "__main__":
    sys.exit(main())
