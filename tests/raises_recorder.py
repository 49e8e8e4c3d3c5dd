"""A pytest plugin that records each MqttwsError of a run: its fields, and the line that raised it.

``recording.error_record`` does it, in this process and in each Python program that a test starts;
``python -m tests.raises`` puts the records together.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

import mqttws

from .recording.error_record import FOLDER_VARIABLE, WATCHED, Recorder, folder

RECORDING = str(Path(__file__).parent / "recording")
"""The folder that makes a Python program record its errors, where PYTHONPATH has it."""

_recorder = Recorder()
for _module, _kind in WATCHED.items():
    with suppress(mqttws.UsageError):  # a package for it is not installed
        _recorder = _recorder.watch(getattr(import_module(_module), _kind))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        for old in () if FOLDER_VARIABLE in os.environ else place.glob("*.txt"):
            old.unlink()
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if RECORDING not in others:
        os.environ["PYTHONPATH"] = os.pathsep.join([RECORDING, *filter(None, others)])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the rest, and fail the run for an error with fields that are wrong.

    Under xdist the workers have ended, and written, before the controller comes here.
    """
    _recorder.end()
    if not hasattr(session.config, "workerinput") and (faults := sorted(set(records("fault")))):
        sys.stderr.write("\nerrors with fields that are not set sensibly:\n")
        sys.stderr.writelines(f"  {fault}\n" for fault in faults)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def records(kind: str) -> Iterator[str]:
    """Yield what the processes of the last run have written: ``place``, ``fault`` or ``count``."""
    for path in sorted(folder().glob("*.txt")):
        for line in path.read_text().splitlines():
            found, _, text = line.partition("\t")
            if found == kind:
                yield text
