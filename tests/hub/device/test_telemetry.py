"""Telemetry: topics with all system properties, sizes as the hub counts them; C2D as it comes."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mqttws import UsageError
from mqttws.hub.device.messages import CloudMessage, parse_cloud_message
from mqttws.hub.device.telemetry import MAX_MESSAGE_SIZE, TelemetryMessage, message_size
from mqttws.hub.topics import devicebound_topic, input_topic, parse_properties

EVENTS = "devices/dev-1/messages/events/"


@pytest.mark.parametrize(
    ("message", "bag"),
    [
        (TelemetryMessage(), ""),
        (
            TelemetryMessage(content_type="application/json", content_encoding="utf-8"),
            "%24.ce=utf-8&%24.ct=application%2Fjson",
        ),
        (
            TelemetryMessage(message_id="m 1", correlation_id="c", user_id="u"),
            "%24.cid=c&%24.mid=m%201&%24.uid=u",
        ),
        (TelemetryMessage(properties={"a": "1:2", "b": None, "c": ""}), "a=1%3A2&b&c="),
        (TelemetryMessage(output="out", component="thermostat"), "%24.on=out&%24.sub=thermostat"),
        (
            TelemetryMessage(creation_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            "iothub-creation-time-utc=2026-01-02T03%3A04%3A05.000Z",
        ),
        (
            TelemetryMessage(
                creation_time=datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
            ),
            "iothub-creation-time-utc=2026-01-02T01%3A00%3A00.000Z",
        ),
    ],
)
def test_the_topic_holds_the_properties(message: TelemetryMessage, bag: str):
    assert message.topic("dev-1") == EVENTS + bag
    assert message.topic("dev-1", "m") == f"devices/dev-1/modules/m/messages/events/{bag}"
    assert parse_properties(bag) == message.bag()


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (TelemetryMessage(b"12345"), 5),
        (TelemetryMessage(b"12345", message_id="abc"), 8),  # a system property: its value
        (TelemetryMessage(b"12345", {"name": "abc"}), 12),  # another one: name and value
        (TelemetryMessage(b"12345", {"näme": None}), 10),
    ],
)
def test_sizes_are_counted_as_the_hub_counts(message: TelemetryMessage, size: int):
    assert message_size(message.body, message.bag()) == size


def test_the_largest_message_goes_and_one_byte_more_does_not():
    properties = {"ab": "cd"}
    TelemetryMessage(bytes(MAX_MESSAGE_SIZE - 4), properties).topic("d")
    with pytest.raises(UsageError, match="262145 bytes with its properties; the hub allows 262144"):
        TelemetryMessage(bytes(MAX_MESSAGE_SIZE - 3), properties).topic("d")


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (TelemetryMessage(message_id="x" * 129), "a message id of 129 characters"),
        (TelemetryMessage(properties={"a": 1}), "properties: 'a': found int; allowed: str"),  # type: ignore[dict-item]
        (TelemetryMessage(properties={1: "a"}), "properties: a name: found int"),  # type: ignore[dict-item]
        (TelemetryMessage(properties={"a": "\ud800"}), "lone surrogate"),
        (TelemetryMessage(properties={"": "a"}), "properties: found one without a name"),
        (TelemetryMessage(properties={"$.ct": "a"}, content_type="b"), "is given twice"),
        (TelemetryMessage(properties={"a": "%" * 30_000}), "MQTT allows 65535"),
        (TelemetryMessage(creation_time=datetime(2026, 1, 1)), "with a time zone"),  # noqa: DTZ001
    ],
)
def test_what_the_hub_would_not_take_is_refused(message: TelemetryMessage, fault: str):
    with pytest.raises(UsageError, match=fault):
        message.topic("dev-1")


def test_a_message_from_the_cloud_has_its_system_properties_by_name():
    bag = {
        "$.to": "/devices/dev-1/messages/deviceBound",
        "$.mid": "m",
        "$.cid": "c",
        "$.uid": "u",
        "$.ct": "text/plain",
        "$.ce": "utf-8",
        "$.exp": "2026-01-01T00:00:00Z",
        "iothub-ack": "full",
        "own": "1 + 1",
        "nothing": None,
    }
    found = parse_cloud_message(devicebound_topic("dev-1", bag), b"hi", repeated=True)
    assert found == CloudMessage(
        b"hi",
        {"own": "1 + 1", "nothing": None},
        message_id="m",
        correlation_id="c",
        user_id="u",
        content_type="text/plain",
        content_encoding="utf-8",
        to="/devices/dev-1/messages/deviceBound",
        expiry="2026-01-01T00:00:00Z",
        feedback="full",
        repeated=True,
    )


def test_a_message_on_an_input_names_it():
    found = parse_cloud_message(input_topic("dev-1", "m", "in1", {"a": "b"}), b"x")
    assert found == CloudMessage(b"x", {"a": "b"}, input="in1")
    assert parse_cloud_message("devices/dev-1/modules/m/inputs/in1", b"") == CloudMessage(
        b"", input="in1"
    )
    for topic in ("a/b", "devices/d/messages/events/", "devices/d/modules/m/inputs/", "$iothub/x"):
        assert parse_cloud_message(topic, b"") is None


def test_a_message_can_be_pickled_and_acknowledged_once():
    acknowledged = []
    message = CloudMessage(b"x", _acknowledge=lambda: acknowledged.append(1))
    copy = pickle.loads(pickle.dumps(message))
    assert copy == message
    copy.ack()
    message.ack()
    message.ack()
    assert acknowledged == [1]


def test_a_property_that_has_no_utf8_is_named() -> None:
    with pytest.raises(UsageError, match=r"^telemetry: message_id: text with a lone surrogate"):
        TelemetryMessage(b"", message_id="\ud800").bag()
