"""A pytest plugin that records each MqttwsError of a run: its fields, and the line that raised it.

``MqttwsError.__init__`` is wrapped: its fields must be right from the beginning. Where an error was
made is read from the stack: files and lines of the package. One file for each process of the run;
``python -m tests.raises`` puts them together. A program that a test starts is not looked at.
"""

import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import mqttws
from mqttws import Cause, Hop, MqttwsError, Party
from mqttws import errors as tree

PACKAGE = f"{Path(mqttws.__file__).parent}{os.sep}"
FOLDER = Path(__file__).parent.parent / ".pytest_cache" / "raises"
"""The place of the files, one for each process of a run."""

DEPTH = 6
"""Frames above an error's making that are noted: a function may make it for the one who raises."""


def faults_of(error: MqttwsError) -> list[str]:
    """Return each of the five fields that is not what its class allows."""
    faults = []
    if not (error.hop is None or isinstance(error.hop, Hop)):
        faults.append("hop")
    if isinstance(error, tree.ConnectFailed | tree.SubscribeRefused) and error.hop is None:
        faults.append("hop is None")
    if not isinstance(error.cause, Cause):
        faults.append("cause")
    if not (error.party is None or isinstance(error.party, Party)):
        faults.append("party")
    if not isinstance(error.retryable, bool):
        faults.append("retryable")
    if not isinstance(error.hint, str):
        faults.append("hint")
    if isinstance(error, tree.UsageError) and (error.party, error.retryable) != (
        Party.CALLER,
        False,
    ):
        faults.append("a UsageError that is not the caller's, or can succeed later")
    if isinstance(error, tree.StoreFailed | tree.ServiceFailed) and error.party not in (
        Party.HOST,
        Party.SERVER,
        None,
    ):
        faults.append("a local failure of another party")
    return faults


class Recorder:
    """Records the errors of one process.

    Attributes:
        places: file and line of the package, of each frame in which an error was made.
        faults: of the errors seen, with their places.
    """

    def __init__(self) -> None:
        self.places: set[tuple[str, int]] = set()
        self.faults: set[str] = set()
        self.seen: set[tuple[Any, ...]] = set()
        self.count = 0
        self._usual = MqttwsError.__init__

    def start(self) -> None:
        """Look at each error that is made from now on."""
        usual = self._usual

        def init(error: MqttwsError, *arguments: Any, **fields: Any) -> None:
            usual(error, *arguments, **fields)
            self.note(error, sys._getframe(1))

        MqttwsError.__init__ = init  # type: ignore[method-assign]

    def stop(self) -> None:
        """Look no longer."""
        MqttwsError.__init__ = self._usual  # type: ignore[method-assign]

    def note(self, error: MqttwsError, frame: FrameType | None) -> None:
        """Note where an error is made, and judge the first ones of each kind at each place."""
        if tracemalloc.is_tracing():  # a test measures memory, which must not be ours
            return
        self.count += 1
        first = None
        for _ in range(DEPTH):
            if frame is None:
                break
            name = frame.f_code.co_filename
            if name.startswith(PACKAGE) and not name.startswith(f"{PACKAGE}errors{os.sep}"):
                place = (name[len(PACKAGE) :], frame.f_lineno)
                self.places.add(place)
                first = first or place
            frame = frame.f_back
        if first is None:  # a test made it, for its own ends
            return
        key = (type(error), first, error.hop, error.cause, error._party, error._retryable)
        if key not in self.seen:
            self.seen.add(key)
            self.faults |= {
                f"{first[0]}:{first[1]}: {type(error).__name__}: {one}" for one in faults_of(error)
            }

    def write(self, path: Path) -> None:
        """Write what was seen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {
            "places": sorted(self.places),
            "faults": sorted(self.faults),
            "errors": self.count,
        }
        path.write_text(json.dumps(found))


_recorder = Recorder()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        for old in FOLDER.glob("*.json") if FOLDER.is_dir() else ():
            old.unlink()
    _recorder.start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what this process has seen, and fail the run for an error with fields that are wrong.

    Under xdist the workers have ended, and written, before the controller comes here.
    """
    _recorder.stop()
    worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
    _recorder.write(FOLDER / f"{worker}.json")
    if worker == "main" and (faults := all_faults()):
        sys.stderr.write("\nerrors with fields that are not set sensibly:\n")
        sys.stderr.writelines(f"  {fault}\n" for fault in faults)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def records() -> Iterator[dict[str, Any]]:
    """Yield what each process of the last run has written."""
    for path in sorted(FOLDER.glob("*.json")):
        yield json.loads(path.read_text())


def all_faults() -> list[str]:
    """Return the faults of all processes."""
    return sorted({fault for record in records() for fault in record["faults"]})
