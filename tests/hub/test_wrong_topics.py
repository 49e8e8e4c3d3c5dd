"""Names and bags that a topic cannot hold: one error that names the member; slashes are encoded."""

from typing import Any

import pytest

from mqttws import UsageError
from mqttws.hub import topics


@pytest.mark.parametrize(
    ("call", "arguments", "told"),
    [
        (topics.telemetry_topic, (1,), "device id: found int; allowed: a str"),
        (topics.telemetry_topic, ([],), "device id: found list; allowed: a str"),
        (topics.telemetry_topic, ("d", [1]), "properties: found list; allowed: a mapping"),
        (topics.telemetry_topic, ("d", {"a": 1}), "properties: 'a': found int; allowed: a str"),
        (topics.telemetry_topic, ("d", {1: "a"}), "properties"),
        (topics.build_properties, ([1],), "properties: found list; allowed: a mapping"),
        (topics.build_properties, ({"a": 1},), "properties: 'a': found int; allowed: a str"),
        (topics.devicebound_filter, (1,), "device id: found int; allowed: a str"),
        (topics.parse_properties, (1,), "text: found int; allowed: a str"),
        (topics.parse_raw, (1,), "text: found int; allowed: a str"),
        (topics.method_response_topic, ("200", "1"), "status: found str; allowed: a whole number"),
        (topics.method_response_topic, (True, "1"), "status: found bool; allowed: a whole number"),
        (topics.parse_username, (1,), "text: found int; allowed: a str"),
    ],
)
def test_a_wrong_argument_is_named(call: Any, arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(UsageError, match=f"^{told}"):
        call(*arguments)


def test_a_modules_id_is_text() -> None:
    with pytest.raises(UsageError, match=r"^module id: found list; allowed: a str"):
        topics.telemetry_topic("d", module_id=[])  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["model_id", "client_type", "module_id"])
@pytest.mark.parametrize("value", [None, 1])
def test_each_part_of_a_user_name_is_text(part: str, value: object) -> None:
    told = f"^{part.replace('_', ' ')}: found {type(value).__name__}; allowed: a str"
    with pytest.raises(UsageError, match=told):
        topics.build_username("h", "d", **{part: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("character", ["/", "+", "#", "\0"])
def test_a_name_has_no_sign_of_a_topic(character: str) -> None:
    with pytest.raises(UsageError, match="device id"):
        topics.devicebound_filter(f"d{character}")
    assert topics.devicebound_filter("X") == "devices/X/messages/devicebound/#"


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_a_slash_is_encoded_in_texts_of_any_length(size: int) -> None:
    text = "/" * size
    assert topics.build_properties({text: text}) == "%2F" * size + "=" + "%2F" * size


def test_system_properties_come_first() -> None:
    bag = {"Z": "1", "X": "2", "$.mid": "m", "!": "3"}
    assert topics.build_properties(bag) == "%24.mid=m&%21=3&X=2&Z=1"
