"""Figures, names and limits of the hub that its other tests take as they come."""

import pytest

from mqttws.dps.sas import sign_token
from mqttws.errors import UsageError
from mqttws.hub.credentials import retry_after
from mqttws.hub.device.identity import HubIdentity
from mqttws.hub.service.access import Policy, covers, service_fault
from mqttws.hub.service.queue import Feedback
from mqttws.hub.service.telemetry import Telemetry
from mqttws.hub.service.throttles import MAX_DELAY, Limits, Throttle, parse_limits
from mqttws.hub.topics import devicebound_filter, parse_twin_response_topic


def test_a_throttle_lets_a_second_through_and_then_puts_off() -> None:
    throttle = Throttle(2)
    assert [throttle.delay(100.0) for _ in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert throttle.delay(101.0) == 1.0
    assert throttle.delay(200.0) == 0.0
    waits = [throttle.delay(200.0) for _ in range(20)]
    assert waits[10] == MAX_DELAY
    assert waits[11:] == [MAX_DELAY + 0.5] * 9  # refused, and not counted
    assert Throttle(None).delay(1.0) == 0.0


def test_a_throttle_that_puts_nothing_off_refuses() -> None:
    throttle = Throttle(2)
    assert [throttle.take(100.0) for _ in range(4)] == [True, True, False, False]
    assert [throttle.take(100.5) for _ in range(2)] == [True, False]
    assert [throttle.take(200.0) for _ in range(3)] == [True, True, False]
    assert Throttle(None).take(1.0) is True


def test_a_limit_is_above_0_and_a_billion_at_most() -> None:
    assert parse_limits({"connects": 10**9, "telemetry": 0.5, "twin_reads": None}) == Limits(
        10**9, 0.5
    )
    for rate in (0, -1, 10**9 + 1, True, "1"):
        with pytest.raises(UsageError, match="connects"):
            parse_limits({"connects": rate})


def test_telemetry_says_what_it_is() -> None:
    message = Telemetry(
        "d", b"\xff", {"a": "bc", "n": None}, {"content-type": "x"}, "m", 3, 1_700_000_000.0
    )
    assert message.source == "d"
    assert message.size == 500 + 1 + 60 + (120 + 1 + 2) + (120 + 1)
    assert message.to_json() == {
        "event": "telemetry",
        "deviceId": "d",
        "moduleId": "m",
        "bodyBase64": "/w==",
        "properties": {"a": "bc", "n": None},
        "systemProperties": {"content-type": "x"},
        "enqueuedTimeUtc": message.to_json()["enqueuedTimeUtc"],
        "sequenceNumber": 3,
        "offset": "3",
        "partitionKey": "d",
    }
    assert message.to_json()["enqueuedTimeUtc"].startswith("2023-11-14T22:13:20")
    assert "moduleId" not in Telemetry("d", b"x").to_json()


def test_feedback_has_the_members_of_the_endpoint() -> None:
    record = Feedback("m1", "success", 1_700_000_000.0, "d", "g").to_json()
    assert record.pop("enqueuedTimeUtc").startswith("2023-11-14T22:13:20")
    assert record == {
        "originalMessageId": "m1",
        "statusCode": "success",
        "description": "success",
        "deviceId": "d",
        "deviceGenerationId": "g",
    }


def test_an_identity_has_its_names() -> None:
    device, module = HubIdentity("h.example", "d"), HubIdentity("h.example", "d", "m")
    assert (device.client_id, module.client_id) == ("d", "d/m")
    assert device.resource == "h.example/devices/d"
    assert module.resource == "h.example/devices/d/modules/m"
    assert device.message_filter == devicebound_filter("d") == "devices/d/messages/devicebound/#"
    assert module.message_filter == "devices/d/modules/m/inputs/#"
    for hub in ("", "h/x", "h:1", "h@x", "h?", "h#", "h x", "h\t"):
        with pytest.raises(UsageError, match=r"^hub "):
            HubIdentity(hub, "d")
    for names, wrong in (
        ((1, "d", ""), "hub"),
        (("h", 1, ""), "device_id"),
        (("h", "d", 1), "module_id"),
    ):
        with pytest.raises(UsageError, match=f"^{wrong}: found int"):
            HubIdentity(*names)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        HubIdentity("h", "d#")


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("h", "h/devices/d", True),
        ("H", "h/devices/d", True),
        ("h/", "h/devices/d", True),
        ("h%2Fdevices%2Fd", "h/devices/d", True),
        ("h/devices/d/", "h/devices/d", True),
        ("h/devices/d/?api-version=1", "h/devices/d", True),
        ("h/devices/d/api-version=1", "h/devices/d", True),
        ("h/api-version=1", "h/devices/d", True),
        ("h/devices/D", "h/devices/d", False),
        ("h/devices/D/", "h/devices/d", False),
        ("h/devices/D/?api-version=1", "h/devices/d", False),
        ("h/devices/d/modules/m", "h/devices/d", False),
        ("h/dev", "h/devices/d", False),
        ("x/devices/d", "h/devices/d", False),
        ("api-version=1", "api-version=1/devices/d", True),
        ("", "h/devices/d", False),
    ],
)
def test_a_token_opens_whole_segments(given: str, wanted: str, expected: bool) -> None:
    assert covers(given, wanted) is expected


def test_a_services_token_is_refused_with_the_reason() -> None:
    key = b"k" * 32
    policy = Policy("owner", (key,), frozenset({"read"}))

    def fault(
        resource: str = "h", by: bytes = key, until: int = 200, name: str = "owner"
    ) -> object:
        token = sign_token(resource, by, until, name)
        return service_fault(token, ["h", "h:1"], "read", [policy], 100.0)

    assert fault() is None
    assert service_fault(sign_token("h", key, 200, "owner"), ["h"], "write", [policy], 100.0) == (
        "policy 'owner' has no right write"
    )
    assert fault("x") == "the token is for 'x'"
    assert fault(name="other") == "the token's skn 'other' is no policy of the service"
    assert fault(by=b"x" * 32) == "the token's signature fits none of the policy's keys"
    assert fault(until=100) == "the token expired 0 s ago"
    assert fault(until=90) == "the token expired 10 s ago"
    assert service_fault("Bearer x", ["h"], "read", [policy], 1.0) is not None


def test_retry_after_is_a_day_at_most() -> None:
    for value, expected in ((0, 0.0), (86400, 86400.0), (86401, None), (-1, None), ("1", None)):
        assert retry_after({"retryAfter": value}) == expected


def test_a_status_has_fewer_than_16_digits() -> None:
    assert parse_twin_response_topic(f"$iothub/twin/res/{'1' * 15}/?$rid=1") is not None
    assert parse_twin_response_topic(f"$iothub/twin/res/{'1' * 16}/?$rid=1") is None
