"""A few of the kills of ``tests.local.kills``, which runs as many as it is told."""

from pathlib import Path

import pytest

from mqttws import UsageError
from mqttws.dps.directory import Directory
from mqttws.dps.records import IndividualEnrollment
from mqttws.local.stores import open_store

from .kills import Ledger, run
from .stores.cluster import cluster
from .stores.conftest import clear, opened, postgres  # noqa: F401 - a fixture


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


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_records_of_an_earlier_run_are_refused(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """Its devices are enrolled already: none would be assigned, and no fault be found."""
    records = str(tmp_path / "records.sqlite")
    if kind == "postgres":
        running = request.getfixturevalue("postgres")
        clear(running)
        records = running.url
    async with opened(open_store(records)) as store:
        assert await Directory(store).add(IndividualEnrollment("dev0-1", primary_key=b"k" * 32))
    with pytest.raises(UsageError, match="not empty") as refused:
        await run(records, 1)
    assert "new file" in refused.value.hint
    assert "s3cret" not in str(refused.value)


async def test_a_run_in_which_no_device_was_assigned_is_not_called_good(tmp_path: Path) -> None:
    ledger = await run(str(tmp_path / "records.sqlite"), 0)  # over before any device has come
    assert ledger.faults == ["no device was assigned: the run shows nothing"]
