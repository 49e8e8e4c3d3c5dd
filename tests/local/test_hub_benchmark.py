"""The benchmark of the hub still runs and loses nothing; its report is made from its figures."""

import json

import pytest

from benchmarks import bench_hub


@pytest.mark.slow
async def test_a_few_devices_lose_nothing_though_their_connections_are_cut() -> None:
    row = await bench_hub.measure(20, 4.0, 0.1, seed=1)
    assert row["lost"] == 0
    assert row["messages"] >= 60
    assert row["cuts"] > 0
    assert row["kept"] == 20


def test_the_report_shows_what_was_kept() -> None:
    kept = json.loads(bench_hub.HERE.joinpath("hub.json").read_text())
    assert bench_hub.render(kept) == bench_hub.HERE.joinpath("hub.md").read_text()
