"""Nothing is lost between a device and its hub under cuts and renewals: the benchmark in short."""

import pytest

from benchmarks.hub_delivery import Plan, broken, run


@pytest.mark.timeout(120)
@pytest.mark.parametrize("transport", ["mqtts", "wss"])
async def test_nothing_is_lost_under_cuts_and_renewals(transport: str) -> None:
    plan = Plan(
        telemetry=600, c2d=60, methods=60, patches=60, seed=7, transport=transport,
        token_lifetime=2.0, calm=0.4,
    )  # fmt: skip
    found = await run(plan)
    assert broken(found) == [], found
    assert found["cuts"] >= 2
