"""What all tests share: coroutines as tests, real peers that must be there in CI, one CA for all.

A test that is a coroutine function runs in an event loop of its own, in asyncio's debug mode,
within a time limit, and fails if it leaves a task behind. PYTHONASYNCIODEBUG=1 has asyncio's
errors show where a task comes from with the whole stack.
"""

import asyncio
import inspect
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from mqttws import AsyncLocalDps

if "PYTHONASYNCIODEBUG" not in os.environ:
    # In debug mode asyncio keeps the stack of each callback that is scheduled: whole, they take
    # most of a turn of the loop. The line that scheduled it, which errors show, is kept.
    asyncio.constants.DEBUG_STACK_DEPTH = 1

# How long an example takes is the machine's affair: one that is busy fails no property.
settings.register_profile(
    "tests", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

pytest_plugins = ("tests.raises_recorder", "tests.tables", "tests.workers")

TEST_TIMEOUT = 60.0
"""Seconds within which a coroutine test must have ended."""


HANGING, SLOW_TEST_TIMEOUT = 60.0, 840.0
"""Seconds more, for any test and for a slow one, after which it is ended from outside."""


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; tests send it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # a proxy of the machine that runs the tests is none of theirs
    config.addinivalue_line(
        "markers", "rule(*ids): the statements of a standard that the test proves"
    )
    config.addinivalue_line("markers", "only_async: says nothing of the sync client")
    config.addinivalue_line(
        "markers", "timeout(seconds): time limit of a coroutine test, other than the usual one"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Have a test that hangs fail, with the stack that shows where."""
    marker = item.get_closest_marker("timeout")
    limit = (marker.args[0] if marker else TEST_TIMEOUT) + HANGING
    if item.get_closest_marker("slow"):
        limit += SLOW_TEST_TIMEOUT

    def hangs(*_: object) -> None:
        pytest.fail(f"hangs: not ended within {limit:g} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, limit, limit)  # again, for the next row of a table
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    marker = pyfuncitem.get_closest_marker("timeout")
    limit = marker.args[0] if marker else TEST_TIMEOUT

    async def run() -> None:
        # A busy machine is not what a test is about.
        asyncio.get_running_loop().slow_callback_duration = limit
        async with asyncio.timeout(limit):
            await pyfuncitem.obj(**arguments)
        # What has been told to end may take a few turns of the loop to do so.
        for _ in range(100):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                return await hang_up_peers()
            await asyncio.wait(left, timeout=0.05)
        pytest.fail(f"tasks are left behind: {left}")

    asyncio.run(run(), debug=True)
    return True


async def hang_up_peers() -> None:
    """Close what the test's own servers left open: a peer that it plays need not be tidy.

    Connections of the library itself are not touched: one that is left open is a failure.
    """
    loop = asyncio.get_running_loop()
    for transport in list(getattr(loop, "_transports", {}).values()):
        protocol = transport.get_protocol()
        owner = getattr(protocol, "_app_protocol", protocol)
        if isinstance(owner, asyncio.StreamReaderProtocol):
            transport.abort()
    for _ in range(5):  # an abort takes effect in the next turns of the loop
        await asyncio.sleep(0)


def peer_missing(what: str) -> None:
    """Skip for want of a peer program on a user's machine; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI every peer must be there: {what}")
    pytest.skip(what)


def require_program(name: str) -> str:
    """Return the path of a peer program, or skip (in CI: fail)."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        peer_missing(f"{name} is not installed")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def dps_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder for local services: its CA is made once for all tests."""
    return tmp_path_factory.mktemp("dps-state")


@pytest.fixture(scope="session")
def _cluster() -> Iterator[object]:
    """A PostgreSQL for the run in which every service keeps its records there."""
    if os.environ.get("MQTTWS_TEST_RECORDS") != "postgres":
        yield None
        return
    from tests.local.stores.cluster import cluster

    with cluster() as running:
        yield running


@pytest.fixture
def dps_records(_cluster: Any, tmp_path: Path) -> str | None:
    """Where services keep their records, by MQTTWS_TEST_RECORDS: memory, sqlite or postgres."""
    if _cluster is not None:
        from tests.local.stores.conftest import clear

        clear(_cluster)
        return str(_cluster.local_url)
    if os.environ.get("MQTTWS_TEST_RECORDS") == "sqlite":
        return str(tmp_path / "service-records.sqlite")
    return None


@pytest.fixture
def local_dps(dps_state: Path, dps_records: str | None) -> AsyncLocalDps:
    """A local DPS that has not been started: ``async with local_dps: ...``; it never lets wait."""
    return AsyncLocalDps(state=dps_state, retry_after=0, records=dps_records)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A CA of the tests' own, made once."""
    from tests.net.rogue import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))
