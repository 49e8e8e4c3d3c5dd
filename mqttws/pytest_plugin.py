"""The pytest plugin: fixture ``local_dps``, a running local DPS for a user's own tests.

``local_dps_module`` and ``local_dps_session`` are shared by more tests; ``async_local_dps`` and the
like are the same for coroutines, whatever runs them.

Loaded by every pytest run where mqttws is installed, so nothing is imported until a test asks for
the fixture. Every worker of pytest-xdist has its own service, ports and CA.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .local.dps import AsyncLocalDps
    from .local.hub_running import LocalHub
    from .local.running import LocalDps


@pytest.fixture(scope="session")
def local_dps_options() -> dict[str, Any]:
    """Arguments of ``AsyncLocalDps`` for the fixture ``local_dps``; to be overridden."""
    return {}


@pytest.fixture(scope="session")
def _local_dps_state(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder whose CA serves all tests of one process."""
    return str(tmp_path_factory.mktemp("mqttws-dps"))


@contextmanager
def _running(options: dict[str, Any], state: str) -> "Iterator[LocalDps]":
    from .local.running import LocalDps

    with LocalDps(**{"state": state, **options}) as dps:
        yield dps


def _awaited(dps: "LocalDps") -> "AsyncLocalDps":
    from .local.awaited import AwaitedDps

    return AwaitedDps(dps)  # type: ignore[call-arg, arg-type]


@pytest.fixture
def local_dps(local_dps_options: dict[str, Any], _local_dps_state: str) -> "Iterator[LocalDps]":
    """A running local DPS without enrollments: a fresh one for each test."""
    with _running(local_dps_options, _local_dps_state) as dps:
        yield dps


@pytest.fixture(scope="module")
def local_dps_module(
    local_dps_options: dict[str, Any], _local_dps_state: str
) -> "Iterator[LocalDps]":
    """A running local DPS that the tests of one module share."""
    with _running(local_dps_options, _local_dps_state) as dps:
        yield dps


@pytest.fixture(scope="session")
def local_dps_session(
    local_dps_options: dict[str, Any], _local_dps_state: str
) -> "Iterator[LocalDps]":
    """A running local DPS that all tests of one process share."""
    with _running(local_dps_options, _local_dps_state) as dps:
        yield dps


@pytest.fixture
def async_local_dps(local_dps: "LocalDps") -> "AsyncLocalDps":
    """``local_dps`` for coroutines: its calls are awaited, in any event loop."""
    return _awaited(local_dps)


@pytest.fixture(scope="module")
def async_local_dps_module(local_dps_module: "LocalDps") -> "AsyncLocalDps":
    """``local_dps_module`` for coroutines."""
    return _awaited(local_dps_module)


@pytest.fixture(scope="session")
def async_local_dps_session(local_dps_session: "LocalDps") -> "AsyncLocalDps":
    """``local_dps_session`` for coroutines."""
    return _awaited(local_dps_session)


@pytest.fixture
def local_hub(local_dps: "LocalDps") -> "Iterator[LocalHub]":
    """A running local hub behind the ports of ``local_dps``, which assigns devices to it."""
    from .local.hub_running import LocalHub

    with LocalHub(local_dps) as hub:
        yield hub
