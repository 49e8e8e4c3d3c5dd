"""The report of the benchmark beside azure-iot-device is rendered from what it keeps."""

import json

from benchmarks import hub_client, hub_delivery


def test_the_report_shows_what_was_kept() -> None:
    kept = json.loads(hub_client.RESULTS.read_text())
    assert hub_client.render(kept) == hub_client.REPORT.read_text()


def test_the_full_run_of_deliveries_broke_no_promise() -> None:
    kept = json.loads(hub_client.HERE.joinpath("hub_delivery.json").read_text())
    assert kept["plan"]["telemetry"] == 100_000
    assert hub_delivery.broken(kept) == []
