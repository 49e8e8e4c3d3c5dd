"""The benchmark of provisioning still runs, and its report is rendered from what it keeps."""

import json
from pathlib import Path

import pytest

from benchmarks import bench_provisioning

REPORT = Path(bench_provisioning.__file__).with_name("provisioning.md")


@pytest.mark.slow
@pytest.mark.parametrize("order", ["register", "stay"])
def test_a_few_devices_are_measured(order: str) -> None:
    row = bench_provisioning.measure(10, order, "smaller")
    assert row["devices"] == 10
    assert row["service_ms"] > 0
    assert row["device_ms"] > 0


def test_the_report_shows_what_was_kept() -> None:
    kept = json.loads(REPORT.with_suffix(".json").read_text())
    assert bench_provisioning.render(kept) == REPORT.read_text()
