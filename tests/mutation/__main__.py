"""``python -m tests.mutation``: changes of the code that some test must notice.

    run [ROOM ...]   try what has not been tried since the function changed, and what survived once
                     more where its tests changed; ends by itself, may be interrupted at any moment,
                     and goes on where it was
    report           what is recorded: figures, and the survivors that nobody has explained
    check            what CI runs: the functions that changed since they were recorded, or have no
                     record, and then a hundred mutants drawn by a seed from those that were killed

Needs Python 3.12 or later, and the codec as it is written (MQTTWS_PURE=1). ``check`` ends with 1
where a mutant of what changed survives and is not explained, where a function that changed was not
reached in time or has tests that fail without a change, or where more than five in a hundred of
those drawn are no longer killed. A fork that fails before its first test ends the whole.
"""

import argparse
import sys
import time

import pytest

import mqttws.wire

from . import records
from .campaign import Campaign
from .records import ROOMS


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("command", choices=("run", "report", "check"))
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; else all")
    parser.add_argument("--jobs", type=int, default=2, help="forks side by side")
    parser.add_argument(
        "--minutes", type=float, help="begin no function afterwards; check: 20 unless given"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()) // 86400, help="of the hundred"
    )
    parser.add_argument("--count", type=int, default=100, help="how many check draws")
    options = parser.parse_intermixed_args()
    rooms = options.rooms or list(ROOMS)
    if unknown := set(rooms) - set(ROOMS):
        parser.error(f"{', '.join(sorted(unknown))}: no room; there are {', '.join(ROOMS)}")
    if options.jobs < 1 or options.count < 1:
        parser.error("--jobs and --count are 1 or more")
    if not hasattr(sys, "monitoring"):  # nor are the hashes of functions those of the record
        sys.exit("this is Python 3.11: mutation needs Python 3.12 or later")
    if options.command == "report":
        return report(rooms)
    if mqttws.wire.COMPILED:
        sys.exit("the codec is compiled: set MQTTWS_PURE=1 and install again")
    check = options.command == "check"
    minutes = options.minutes if options.minutes is not None else 20 if check else 24 * 60
    campaign = Campaign(
        rooms,
        options.jobs,
        time.monotonic() + 60 * minutes,
        (options.seed, options.count) if check else None,
    )
    files = {target.name.partition(":")[0] for room in rooms for target in records.targets_of(room)}
    places = sorted({place for file in files for place in records.tests_of(file)})
    quiet = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--no-summary"]
    quiet += [
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]  # this is one of the tests' modules
    ended = pytest.main([*quiet, *places], plugins=[campaign])
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(ended)
    return judged(campaign, options.seed) if check else report(rooms)


def report(rooms: list[str]) -> int:
    """Print what is recorded."""
    reasons = records.explained()
    for room in rooms:
        results = records.read(room)
        targets = records.targets_of(room)
        total = sum(len(target.mutants) for target in targets)
        fresh = [
            (target.name, results[target.name])
            for target in targets
            if target.name in results and results[target.name].source == target.source
        ]
        done = sum(result.mutants for _, result in fresh)
        survived = [(name, each) for name, result in fresh for each in result.survived]
        open_ = [pair for pair in survived if pair not in reasons]
        killed = done - len(survived)
        share = 100 * killed / max(1, done)
        print(
            f"{room}: {done} of {total} mutants tried, {killed} killed ({share:.1f} %), "
            f"{len(survived) - len(open_)} explained, {len(open_)} open"
        )
        for name, mutant in open_:
            print(f"    {name}    {mutant}")
    return 0


def judged(campaign: Campaign, seed: int) -> int:
    """Print what ``check`` found; return the exit code."""
    reasons = records.explained()
    new = sum(count for _, _, count, _ in campaign.touched)
    survived = [
        (name, mutant)
        for _, name, _, survivors in campaign.touched
        for mutant in survivors
        if (name, mutant) not in reasons
    ]
    print(f"{len(campaign.touched)} functions changed: {new} mutants, {len(survived)} survive")
    for name, mutant in survived:
        print(f"    survives: {name}    {mutant}")
    if survived:
        print("kill each with a test, or explain it in explained.csv; then `run` records the room")
    if campaign.left:
        print(f"{campaign.left} more functions that changed were not reached in time")
    print(f"seed {seed}: {campaign.tried} mutants that were killed were tried again")
    for name, mutant in campaign.lost:
        print(f"    no longer noticed: {name}    {mutant}")
    bad = [survived, campaign.left, campaign.unsound, not campaign.tried]
    return int(any(bad) or len(campaign.lost) > 0.05 * campaign.tried)


if __name__ == "__main__":
    sys.exit(main())
