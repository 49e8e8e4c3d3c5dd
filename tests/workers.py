"""A pytest plugin that has the workers of pytest-xdist share the work of reading the tests.

Every worker collects every test, and pytest rewrites each assertion of each module that it loads:
seconds of work, done in a fresh clone by all of them side by side. What pytest makes of a module is
kept beside it, as bytecode is; so each worker begins with other modules, and comes upon those that
the rest have done. That is kept even where Python may write no bytecode.
"""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Load the test modules, each worker from another one on, where all of them will be run."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or [Path(each).resolve() for each in session.config.args] != [TESTS]:
        return
    sys.dont_write_bytecode = False
    modules = sorted(
        ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
        for path in TESTS.rglob("test_*.py")
    )
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    first = len(modules) * number // count
    for module in modules[first:] + modules[:first]:
        with suppress(Exception, pytest.skip.Exception):  # the collection says what is wrong
            importlib.import_module(module)
