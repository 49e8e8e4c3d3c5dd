"""What an order for a fault, and limits, may look like in JSON."""

import pytest

from mqttws import UsageError
from mqttws.hub.service.faults import HubFault, HubFaults, parse_hub_fault
from mqttws.hub.service.throttles import Limits, parse_limits


def test_an_order_goes_through_json() -> None:
    order = HubFault(
        "answer", "dev", "twin-get", times=None, skip=2, seed=7, status=429, retry_after=3
    )
    assert parse_hub_fault(order.to_json()) == order


def never() -> float:
    raise AssertionError("an order with a seed draws its own numbers")


def test_an_order_lets_some_pass_before_it_strikes() -> None:
    faults = HubFaults(never)
    faults.order(HubFault("drop", "dev", "telemetry", skip=2, times=2))
    faults.strike("dev", "twin-get")  # another operation, another device: neither is counted
    faults.strike("other", "telemetry")
    struck = [faults.strike("dev", "telemetry") is not None for _ in range(6)]
    assert struck == [False, False, True, True, False, False]
    assert not faults.standing


def test_an_order_with_a_seed_strikes_the_same_ones_again() -> None:
    def struck(seed: int) -> list[bool]:
        faults = HubFaults(never)
        faults.order(
            HubFault("drop", operation="telemetry", probability=0.3, seed=seed, times=None)
        )
        return [faults.strike(f"dev-{n % 5}", "telemetry") is not None for n in range(300)]

    assert struck(7) == struck(7) != struck(8)
    assert 60 < sum(struck(7)) < 120


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (None, "an object with kind"),
        ({}, "an object with kind"),
        ({"kind": []}, "kind"),
        ({"kind": "rain"}, "allowed: refuse, drop"),
        ({"kind": "drop", "seconds": 1}, "has no 'seconds'"),
        ({"kind": "drop", "skip": -1}, "skip: found -1"),
        ({"kind": "drop", "seed": "x"}, "seed: found 'x'"),
        ({"kind": "delay", "status": 429}, "has no 'status'"),
        ({"kind": "refuse", "operation": "telemetry"}, "allowed: connect"),
        ({"kind": "drop-after", "operation": "connect"}, "operation: found 'connect'"),
    ],
)
def test_a_wrong_order_is_told(members: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_hub_fault(members)


def test_limits_are_read() -> None:
    assert parse_limits({"connects": 0.5, "telemetry": None}) == Limits(connects=0.5)
    assert parse_limits({}) == Limits()


@pytest.mark.parametrize(
    "members", [None, [], {"x": 1}, {"connects": 0}, {"telemetry": "5"}, {"connects": True}]
)
def test_wrong_limits_are_told(members: object) -> None:
    with pytest.raises(UsageError, match="throttles: "):
        parse_limits(members)
