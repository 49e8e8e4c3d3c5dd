"""Small promises of the device's side that nothing else depends on."""

from itertools import combinations
from typing import Any

import pytest

from mqttws import UsageError
from mqttws.hub.device.connection_string import parse_connection_string
from mqttws.hub.device.messages import parse_cloud_message
from mqttws.hub.device.methods import MethodRequest, MethodResponse, MethodTable, OpenCalls
from mqttws.hub.device.renewal import Rehoming
from mqttws.hub.device.requests import LONGEST_WAIT, wait_before
from mqttws.hub.device.telemetry import (
    MAX_MESSAGE_ID,
    MAX_MESSAGE_SIZE,
    MAX_TOPIC_SIZE,
    TelemetryMessage,
    message_size,
)
from mqttws.hub.device.twin import DesiredTracker, twin_from_json

KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="


def test_a_connection_string_may_have_empty_parts() -> None:
    text = f"HostName=h.example;;DeviceId=d; ;SharedAccessKey={KEY}"
    assert parse_connection_string(text).device_id == "d"
    with pytest.raises(UsageError, match="has no DeviceId"):
        parse_connection_string("HostName=h.example;")


def test_a_property_without_a_value_is_an_empty_system_property() -> None:
    message = parse_cloud_message("devices/d/messages/devicebound/%24.mid&%24.cid=c", b"")
    assert message is not None
    assert (message.message_id, message.correlation_id) == ("", "c")


@pytest.mark.parametrize("name", ["a/b", "a+", "#"])
def test_a_method_has_no_sign_of_a_topic(name: str) -> None:
    with pytest.raises(UsageError, match="allowed: text without"):
        MethodTable[object]().add(name, print, 1.0)


def test_a_method_may_have_any_other_letter() -> None:
    table = MethodTable[object]()
    table.add("X", print, 300.0)
    assert table.find("X") is not None


def test_a_call_is_answered_once_and_told_so() -> None:
    calls = OpenCalls(1)
    request = MethodRequest("m", None, "1")
    calls.on_connection(1)
    older = calls.begin(request)
    calls.on_connection(2)
    newer = calls.begin(request)
    assert older is not None
    assert newer is not None
    assert calls.finish(older) is False
    assert calls.finish(newer) is True


def test_dps_is_asked_at_least_once_a_minute() -> None:
    rehoming = Rehoming(20)
    assert [rehoming.on_asked() for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_the_longest_wait_stays_the_longest() -> None:
    for attempt in (20, 31, 32, 5000):
        assert wait_before(attempt, 1.0) == LONGEST_WAIT


def test_a_lone_surrogate_counts_as_one_byte() -> None:
    assert message_size(b"x", {"\ud800": "\ud800", "$.mid": "\ud800"}) == 4


def test_the_version_is_that_of_the_last_section() -> None:
    tracker = DesiredTracker()
    assert tracker.version is None
    tracker.on_connected()
    twin = twin_from_json({"desired": {"a": 1, "$version": 7}, "reported": {"$version": 1}})
    tracker.on_twin(twin)
    assert tracker.version == 7


SYSTEM = ("message_id", "correlation_id", "user_id", "output", "component", "interface_id")


@pytest.mark.parametrize(
    "names", [each for n in (1, 2, 3, 4, 6) for each in combinations(SYSTEM, n)]
)
def test_each_system_property_is_in_the_topic(names: tuple[str, ...]) -> None:
    plain = TelemetryMessage(b"x", content_type="c", content_encoding="e")
    assert plain.topic("d") == plain.topic("d")  # the second time it is remembered
    message = TelemetryMessage(
        b"x", content_type="c", content_encoding="e", **dict.fromkeys(names, "z")
    )
    assert message.topic("d").count("=z") == len(names)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"body": "text"}, "body: found str; allowed: bytes"),
        ({"properties": []}, "properties: found list; allowed: a mapping"),
        ({"properties": None}, "properties: found NoneType; allowed: a mapping"),
        ({"content_type": ["c"]}, "content_type: found list; allowed: str"),
        ({"content_type": ["c"], "content_encoding": ["e"]}, "found list; allowed: str"),
        ({"properties": {"a": "x" * (MAX_MESSAGE_SIZE - 1)}}, "MQTT allows 65535"),
        ({"properties": {"a": "x" * MAX_MESSAGE_SIZE}}, "the hub allows 262144"),
    ],
)
def test_a_message_that_is_none_is_refused(members: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        TelemetryMessage(**members).topic("d")


def test_a_devices_id_is_text() -> None:
    for ids in (([], ""), ("d", []), (1, "")):
        with pytest.raises(UsageError):
            TelemetryMessage().topic(*ids)  # type: ignore[arg-type]


def test_a_topic_has_65535_bytes_at_most() -> None:
    room = MAX_TOPIC_SIZE - len(TelemetryMessage(properties={"a": "x"}).topic("d")) + 1
    assert len(TelemetryMessage(properties={"a": "x" * room}).topic("d")) == MAX_TOPIC_SIZE
    with pytest.raises(UsageError, match="a topic of 65536 bytes"):
        TelemetryMessage(properties={"a": "x" * (room + 1)}).topic("d")
    with pytest.raises(UsageError, match="MQTT allows"):
        TelemetryMessage().topic("\U0001f600" * 16_400)
    TelemetryMessage(message_id="m" * MAX_MESSAGE_ID).topic("d")


def test_an_answer_is_json() -> None:
    assert MethodResponse(200, {"a": [1, None]}).payload == {"a": [1, None]}
    with pytest.raises(UsageError, match="payload"):
        MethodResponse(200, object())  # type: ignore[arg-type]
