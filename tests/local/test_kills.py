"""A few of the kills of ``tests.local.kills``, which runs as many as it is told."""

from pathlib import Path

import pytest

from .kills import Ledger, run
from .stores.cluster import cluster


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("records", ["sqlite", "postgres"])
async def test_nothing_acknowledged_is_lost_by_kills(tmp_path: Path, records: str) -> None:
    if records == "sqlite":
        ledger = await run(str(tmp_path / "records.sqlite"), 15)
    else:
        with cluster() as running:
            ledger = await run(running.url, 15)
    check(ledger)


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_nothing_acknowledged_is_lost_by_kills_of_one_front_end_of_two() -> None:
    with cluster() as running:
        check(await run(running.url, 12, processes=2), least=5)


def check(ledger: Ledger, least: int = 50) -> None:
    assert not ledger.faults, "\n".join(ledger.faults)
    assert ledger.puts > least
    assert ledger.assignments > least // 4
