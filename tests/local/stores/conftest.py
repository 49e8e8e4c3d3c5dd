from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mqttws.dps.store import Store
from mqttws.local.stores import open_store
from tests.conftest import peer_missing

from .cluster import Cluster, cluster

MakeStore = Callable[[], Store]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Returns a store each time, all over the same rows; in memory, the same one."""
    if request.param == "memory":
        store = open_store(None)
        return lambda: store
    if request.param == "sqlite":
        return lambda: open_store(tmp_path / "records.sqlite")
    running: Cluster = request.getfixturevalue("postgres")
    clear(running)
    return lambda: open_store(running.url)


def clear(running: Cluster) -> None:
    try:
        import psycopg
    except ImportError:
        peer_missing("psycopg is not installed: mqttws[postgres]")
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS mqttws CASCADE")


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()
