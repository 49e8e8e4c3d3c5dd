"""What an order for a fault, and limits, may look like in JSON."""

import pytest

from mqttws import UsageError
from mqttws.hub.service.faults import HubFault, parse_hub_fault
from mqttws.hub.service.throttles import Limits, parse_limits


def test_an_order_goes_through_json() -> None:
    order = HubFault("answer", "dev", "twin-get", times=None, status=429, retry_after=3)
    assert parse_hub_fault(order.to_json()) == order


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (None, "an object with kind"),
        ({}, "an object with kind"),
        ({"kind": []}, "kind"),
        ({"kind": "rain"}, "allowed: refuse, drop"),
        ({"kind": "drop", "seconds": 1}, "has no 'seconds'"),
        ({"kind": "delay", "status": 429}, "has no 'status'"),
        ({"kind": "refuse", "operation": "telemetry"}, "allowed: connect"),
        ({"kind": "drop-after", "operation": "connect"}, "operation 'connect'"),
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
