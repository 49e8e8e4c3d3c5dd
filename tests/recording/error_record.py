"""Records each error of the package that a process makes: its fields, and the lines that made it.

``MqttwsError.__init__`` is wrapped: its fields must be right from the beginning. So are the inner
exceptions that become an answer to a peer; they have no fields. Where an error was made is read
from the stack: files and lines of the package. A line is written for what is new, at once, since a
test may kill the process; one file for each process. Imports next to nothing, so that a program
that is recorded loads no more than it would by itself.
"""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER_VARIABLE = "RECORDED_ERRORS"
"""The environment variable that names another folder, whose records are kept from run to run."""

WATCHED = {
    "mqttws.errors.base": "MqttwsError",
    "mqttws.dps.answers": "Rejection",
    "mqttws.local.hub_request": "Refused",
    "mqttws.local.http_answers": "Refused",
}
"""Modules, and the class of each whose instances are noted."""

DEPTH = 6
"""Frames above an error's making that are noted: a function may make it for the one who raises."""


def folder() -> Path:
    """Return the place of the files."""
    usual = Path(__file__).parent.parent.parent / ".pytest_cache" / "raises"
    return Path(os.environ.get(FOLDER_VARIABLE) or usual)


def faults_of(error: Any) -> list[str]:
    """Return each of the five fields that is not what its class allows."""
    from mqttws import Cause, Hop, Party
    from mqttws import errors as tree

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
    """Records the errors of one process."""

    def __init__(self) -> None:
        self._package = f"{Path(sys.modules['mqttws'].__file__ or '').parent}{os.sep}"
        self._written: set[str] = set()
        self._seen: set[tuple[Any, ...]] = set()
        self._count = 0

    def watch(self, kind: type[Any]) -> "Recorder":
        """Look at each instance that is made from now on; return the recorder that does."""
        usual = kind.__init__
        if hasattr(usual, "recorder"):
            there: Recorder = usual.recorder
            return there

        def init(error: Any, *arguments: Any, **fields: Any) -> None:
            usual(error, *arguments, **fields)
            self.note(error, sys._getframe(1))

        init.recorder = self  # type: ignore[attr-defined]
        kind.__init__ = init
        return self

    def note(self, error: Any, frame: FrameType | None) -> None:
        """Note where an error is made, and judge the first ones of each kind at each place."""
        memory = sys.modules.get("tracemalloc")
        if memory is not None and memory.is_tracing():  # a test measures memory, not ours
            return
        self._count += 1
        first = None
        for _ in range(DEPTH):
            if frame is None:
                break
            name = frame.f_code.co_filename
            if name.startswith(self._package):
                place = f"{name[len(self._package) :]}:{frame.f_lineno}"
                if not place.startswith(f"errors{os.sep}"):
                    self._write("place", place)
                    first = first or place
            frame = frame.f_back
        if first is None or not hasattr(error, "_party"):  # a test's own, or without fields
            return
        key = (type(error), first, error.hop, error.cause, error._party, error._retryable)
        if key not in self._seen:
            self._seen.add(key)
            for fault in faults_of(error):
                self._write("fault", f"{first}: {type(error).__name__}: {fault}")

    def end(self) -> None:
        """Write how many there were."""
        self._write("count", str(self._count))
        self._count = 0

    def _write(self, kind: str, text: str) -> None:
        line = f"{kind}\t{text}\n"
        if line in self._written and kind != "count":
            return
        self._written.add(line)
        try:
            with open(folder() / f"{os.getpid()}.txt", "a") as file:
                file.write(line)
        except OSError:  # a test has filled the disk, or taken the rights away
            self._written.discard(line)
