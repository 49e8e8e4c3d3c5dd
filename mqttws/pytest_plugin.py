"""The pytest plugin: fixture ``local_dps``, a running local DPS for a user's own tests.

Loaded by every pytest run where mqttws is installed, so nothing is imported until a test asks for
the fixture. Every worker of pytest-xdist has its own service, ports and CA.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
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


@pytest.fixture
def local_dps(local_dps_options: dict[str, Any], _local_dps_state: str) -> "Iterator[LocalDps]":
    """A running local DPS, with nobody enrolled: a fresh one for each test."""
    from .local.running import LocalDps

    with LocalDps(**{"state": _local_dps_state, **local_dps_options}) as dps:
        yield dps


@pytest.fixture
def local_hub(local_dps: "LocalDps") -> "Iterator[LocalHub]":
    """A running local hub behind the ports of ``local_dps``, which assigns devices to it."""
    from .local.hub_running import LocalHub

    with LocalHub(local_dps) as hub:
        yield hub
