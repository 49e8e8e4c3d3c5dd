"""Runs mutants: a pytest session that collects once, and tries each mutant in a fork of itself.

The code object of a function is replaced by the mutant's where the function is used already, so
that nothing is imported anew. Which test reaches which function is found out first, by running each
once.
"""

import gc
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from .. import ports
from . import records
from .mutants import Target, mutated
from .records import ROOT, Result

LONGEST = 1.5
"""Seconds: a test that takes longer is not run for a mutant."""

ALL = 3.0
"""Seconds of tests that a mutant gets; those that reach it and are quick come first."""

ROOM_IN_MEMORY = 4 << 30

NOT_BEGUN = 3
"""Exit code of a fork that failed before its first test."""

Key = tuple[str, str, int]
"""File, qualified name and first line of a function."""


@dataclass
class Map:
    """Which tests reach which function, and how long each takes, in seconds."""

    tests: dict[Key, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Child:
    """A fork that tries a mutant; ``looks`` counts the waits for it, of 0.01 s each."""

    number: int
    scratch: str
    limit: float
    report: Callable[[bool], None]
    looks: int = 0


class Campaign:
    """A pytest plugin: tries mutants in place of running the tests.

    Args:
        rooms: rooms of the package, in the order in which they are done.
        jobs: forks side by side.
        until: ``time.monotonic()`` after which nothing is begun; what was begun is finished.
        drawn: None to do what is not done yet; a seed to try again that many of those killed.
    """

    def __init__(
        self, rooms: list[str], jobs: int, until: float, drawn: tuple[int, int] | None = None
    ) -> None:
        self.touched: list[tuple[str, str, int, list[str]]] = []
        self.lost: list[tuple[str, str]] = []
        self.tried = 0
        self.left = 0
        self.unsound: list[str] = []
        self._rooms = rooms
        self._jobs = jobs
        self._until = until
        self._drawn = drawn
        self._running: dict[int, Child] = {}
        self._items: dict[str, pytest.Item] = {}
        self._functions: dict[Key, list[FunctionType]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Have properties try few examples, always the same, and never simplify one that fails."""
        hypothesis.settings.register_profile(
            "mutation",
            hypothesis.settings.get_profile("tests"),
            max_examples=30,
            stateful_step_count=20,
            derandomize=True,
            database=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try the mutants."""
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        self._items = {item.nodeid: item for item in session.items}
        self._functions = functions_in_use()
        gc.collect()
        gc.freeze()
        reached = self._find_out()
        for room in self._rooms:
            self._do(room, reached)
        if self._drawn:
            self._try_again(reached, *self._drawn)
        while self._running:
            self._wait()
        return True

    def _find_out(self) -> Map:
        """Run each test once, in a fork, and see which functions it enters."""
        with tempfile.NamedTemporaryFile("r+") as answer:
            child = os.fork()
            if not child:
                quiet(Path(tempfile.mkdtemp(prefix="mutation-")))
                with suppress(BaseException):
                    found = observe(list(self._items.values()))
                    Path(answer.name).write_text(json.dumps(found))
                os._exit(0)
            os.waitpid(child, 0)
            seconds, reached = json.load(answer)
        tests: dict[Key, list[str]] = {}
        for node in sorted(seconds, key=lambda node: float(seconds[node])):
            for file, name, line in reached[node]:
                tests.setdefault((file, name, line), []).append(node)
        return Map(tests, seconds)

    def _do(self, room: str, reached: Map) -> None:
        """Do what is not done of a room, and keep each function's result as soon as it is there."""
        results = records.read(room)
        todo = []
        current = records.targets_of(room)
        for target in current:
            tests = reached.tests.get(key_of(target), [])
            places = records.tests_of(key_of(target)[0])
            tests = [node for node in tests if is_in(node, places)]
            digest = records.tests_hash(tests)
            old = results.get(target.name)
            if old is None or old.source != target.source:
                todo.append((target, tests, digest, target.mutants))
            elif old.tests != digest and not self._drawn:  # what was killed is drawn by ``check``
                todo.append((target, tests, digest, tuple(old.survived)))
        names = {target.name for target in current}
        for gone in results.keys() - names:
            del results[gone]
        for target, tests, digest, mutants in todo:
            if time.monotonic() > self._until:
                self.left += 1
                continue
            self._function(room, results, target, (tests, digest, mutants), reached)
        while self._running:
            self._wait()
        if not self._drawn:
            records.write(room, results)

    def _function(
        self,
        room: str,
        results: dict[str, Result],
        target: Target,
        chosen: tuple[list[str], str, tuple[str, ...]],
        reached: Map,
    ) -> None:
        tests, digest, mutants = chosen
        ended: dict[str, bool] = {}
        if not mutants:
            results[target.name].tests = digest

        def report(mutant: str, killed: bool) -> None:
            ended[mutant] = killed
            if len(ended) < len(mutants):
                return
            survived = [each for each in mutants if not ended[each]]
            count = len(target.mutants)
            results[target.name] = Result(target.source, digest, count, survived)
            self.touched.append((room, target.name, count, survived))
            print(f"{target.name}: {count - len(survived)} of {count}", flush=True)
            if not self._drawn:
                records.write(room, results)

        sound: list[bool] = []
        if mutants and tests:  # tests that fail in a fork by themselves would notice everything
            self._try(target, None, tests, reached, lambda failed: sound.append(not failed))
            while not sound:
                self._wait()
        if sound == [False]:
            print(f"{target.name}: its tests fail in a fork without any change", flush=True)
            self.unsound.append(target.name)
            results.pop(target.name, None)
            return
        for number, mutant in enumerate(target.mutants):
            if mutant not in mutants:
                continue
            self._try(target, number, tests, reached, lambda killed, m=mutant: report(m, killed))

    def _try_again(self, reached: Map, seed: int, count: int) -> None:
        """Try some of the mutants that were killed, in functions and by tests that are the same."""
        known = []
        for room in self._rooms:
            results = records.read(room)
            for target in records.targets_of(room):
                old = results.get(target.name)
                if old and old.source == target.source:
                    known += [
                        (target, number, mutant)
                        for number, mutant in enumerate(target.mutants)
                        if mutant not in old.survived
                    ]
        for target, number, mutant in random.Random(seed).sample(known, min(count, len(known))):

            def report(killed: bool, name: str = target.name, what: str = mutant) -> None:
                self.tried += 1
                if not killed:
                    self.lost.append((name, what))

            tests = reached.tests.get(key_of(target), [])
            self._try(target, number, tests, reached, report)

    def _try(
        self,
        target: Target,
        number: int | None,
        tests: list[str],
        reached: Map,
        report: Callable[[bool], None],
    ) -> None:
        """Run the tests against a mutant in a fork, as soon as there is room for one.

        ``number`` None runs them against the code as it is written.
        """
        used = self._functions.get(key_of(target))
        if not used or not tests:
            report(False)
            return
        chosen, seconds = [], 0.0
        for node in tests:
            if reached.seconds[node] <= LONGEST and seconds < ALL:
                chosen.append(self._items[node])
                seconds += reached.seconds[node]
        while len(self._running) >= self._jobs:
            self._wait()
        scratch = tempfile.mkdtemp(prefix="mutation-")
        taken = {child.number for child in self._running.values()}
        slot = next(number for number in itertools.count(1) if number not in taken)
        pid = os.fork()
        if not pid:
            code = NOT_BEGUN
            try:
                quiet(Path(scratch))
                ports.take_slice(slot)
                resource.setrlimit(resource.RLIMIT_AS, (ROOM_IN_MEMORY, ROOM_IN_MEMORY))
                replace(target, number, used)
                code = 1
                code = 0 if passes(chosen, reached.seconds) else 1
            except BaseException:
                (Path(scratch) / "why").write_text(traceback.format_exc())
            finally:
                os._exit(code)
        self._running[pid] = Child(slot, scratch, 20 + 8 * seconds, report)

    def _wait(self) -> None:
        """Wait for a fork to end; one that hangs is ended, and its mutant is noticed by that."""
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            child = self._running.pop(pid)
            if os.waitstatus_to_exitcode(status) == NOT_BEGUN:  # nothing was noticed by a test
                raise RuntimeError((Path(child.scratch) / "why").read_text())
            shutil.rmtree(child.scratch, ignore_errors=True)
            child.report(status != 0)
            return
        time.sleep(0.01)
        for pid, child in self._running.items():
            child.looks += 1  # no clock: the whole may be stopped for a while
            if child.looks * 0.01 > child.limit:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def is_in(node: str, places: tuple[str, ...]) -> bool:
    """Tell whether a test, by its node id, is in one of these files and folders."""
    return node.partition("::")[0] in places or node.startswith(
        tuple(f"{each}/" for each in places)
    )


def key_of(target: Target) -> Key:
    """Return what the function's code object has as its place and name."""
    return target.name.partition(":")[0], target.qualname, target.line


def functions_in_use() -> dict[Key, list[FunctionType]]:
    """Return all functions of the package that exist now."""
    found: dict[Key, list[FunctionType]] = {}
    home = f"{ROOT}/mqttws/"
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename.startswith(home):
            code = each.__code__
            file = code.co_filename.removeprefix(f"{ROOT}/")
            found.setdefault((file, code.co_qualname, code.co_firstlineno), []).append(each)
    return found


def replace(target: Target, number: int | None, used: list[FunctionType]) -> None:
    """Have a function run as a mutant; None for the code as it is written."""
    path = ROOT / target.name.partition(":")[0]
    tree = mutated(path.read_text(), target.line, number)
    whole = compile(tree, str(path), "exec")
    for code in codes(whole):
        if (code.co_qualname, code.co_firstlineno) == (target.qualname, target.line):
            for each in used:
                if len(each.__code__.co_freevars) == len(code.co_freevars):
                    each.__code__ = code


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all within it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from codes(each)


def quiet(scratch: Path) -> None:
    """Have this fork print nothing, and keep its files in a folder of its own."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    tempfile.tempdir = str(scratch)


def passes(items: list[pytest.Item], seconds: dict[str, float]) -> bool:
    """Run tests until one fails; tell whether none did. One that takes far longer ends the fork."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        fresh_folder(item)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        limit = int(used + 3 + 5 * seconds[item.nodeid])
        # The hard limit stays: not even root may raise it everywhere, and it may have to rise.
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return False
    return True


def fresh_folder(item: pytest.Item) -> None:
    """Have pytest's temporary folders be this fork's."""
    factory: Any = item.config._tmp_path_factory  # type: ignore[attr-defined]
    if factory._basetemp is None or tempfile.gettempdir() not in str(factory._basetemp):
        factory._basetemp = Path(tempfile.mkdtemp(prefix="pytest-"))


def observe(items: list[pytest.Item]) -> tuple[dict[str, float], dict[str, list[Key]]]:
    """Run each test; return the seconds of those that pass, and the functions that each enters."""
    monitoring = sys.monitoring
    tool, home = monitoring.PROFILER_ID, f"{ROOT}/mqttws/"
    entered: set[Key] = set()

    def enter(code: CodeType, offset: int) -> object:
        if code.co_filename.startswith(home):
            outer = code.co_qualname.partition(".<locals>")[0]
            file = code.co_filename.removeprefix(f"{ROOT}/")
            entered.add((file, outer, code.co_firstlineno if outer == code.co_qualname else 0))
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, "mutation")
    monitoring.register_callback(tool, monitoring.events.PY_START, enter)
    monitoring.set_events(tool, monitoring.events.PY_START)
    seconds: dict[str, float] = {}
    reached: dict[str, list[Key]] = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        entered.clear()
        monitoring.restart_events()
        fresh_folder(item)
        start = time.monotonic()
        reports = runtestprotocol(item, log=False, nextitem=following)
        if all(report.passed for report in reports):
            seconds[item.nodeid] = time.monotonic() - start
            reached[item.nodeid] = sorted(entered)
    return seconds, reached
