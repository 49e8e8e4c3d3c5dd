"""IoT Hub's topics and property bags, as the documents and the SDKs have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws import UsageError
from mqttws.hub.topics import (
    HubUsername,
    MethodCall,
    TwinResponse,
    build_properties,
    build_username,
    devicebound_filter,
    devicebound_topic,
    input_topic,
    inputs_filter,
    method_response_topic,
    method_topic,
    parse_desired_topic,
    parse_devicebound_topic,
    parse_input_topic,
    parse_method_topic,
    parse_properties,
    parse_telemetry_topic,
    parse_twin_response_topic,
    parse_username,
    telemetry_topic,
    twin_get_topic,
    twin_report_topic,
)


def test_telemetry_without_properties_ends_in_a_slash():
    assert telemetry_topic("dev-1") == "devices/dev-1/messages/events/"
    module = "devices/dev-1/modules/m/messages/events/"
    assert telemetry_topic("dev-1", module_id="m") == module


def test_system_properties_come_first_then_the_others_by_name():
    bag = {"b": "2", "a": "x y", "$.ct": "application/json", "$.ce": "utf-8"}
    assert build_properties(bag) == ("%24.ce=utf-8&%24.ct=application%2Fjson&a=x%20y&b=2")
    assert parse_telemetry_topic(telemetry_topic("d", bag)) == ("d", bag)


def test_null_and_empty_are_told_apart_and_plus_is_no_blank():
    assert parse_properties("a&b=&$.mid=1&c=x+y%20z") == {
        "a": None,
        "b": "",
        "$.mid": "1",
        "c": "x+y z",
    }
    assert build_properties({"a": None, "b": ""}) == "a&b="


@given(st.dictionaries(st.text(min_size=1), st.none() | st.text()))
def test_any_bag_survives_its_topic(bag):
    topic = devicebound_topic("dev", bag)
    assert "+" not in topic
    assert "#" not in topic
    assert parse_devicebound_topic(topic) == ("dev", bag)


@given(st.text())
def test_no_topic_breaks_a_parser(topic):
    for parse in (
        parse_telemetry_topic,
        parse_devicebound_topic,
        parse_method_topic,
        parse_twin_response_topic,
        parse_desired_topic,
        parse_username,
    ):
        parse(topic)


@pytest.mark.parametrize(
    "topic",
    ["devices//messages/events/", "devices/d/messages/events", "x/d/messages/events/", "", "a"],
)
def test_what_is_no_telemetry_is_none(topic):
    assert parse_telemetry_topic(topic) is None


def test_methods():
    topic = method_topic("reboot", "7f")
    assert topic == "$iothub/methods/POST/reboot/?$rid=7f"
    assert parse_method_topic(topic) == MethodCall("reboot", "7f")
    assert method_response_topic(200, "7f") == "$iothub/methods/res/200/?$rid=7f"
    for wrong in ("$iothub/methods/POST/reboot/", "$iothub/methods/POST//?$rid=1", "x"):
        assert parse_method_topic(wrong) is None


def test_twins():
    assert twin_get_topic("a b") == "$iothub/twin/GET/?$rid=a%20b"
    assert twin_report_topic("1") == "$iothub/twin/PATCH/properties/reported/?$rid=1"
    parse = parse_twin_response_topic
    assert parse("$iothub/twin/res/204/?$rid=1&$version=5") == TwinResponse(204, "1", 5)
    assert parse("$iothub/twin/res/200/?$rid=a%20b") == TwinResponse(200, "a b")
    assert parse("$iothub/twin/res/OK/?$rid=1") is None
    assert parse_desired_topic("$iothub/twin/PATCH/properties/desired/?$version=12") == 12
    assert parse_desired_topic("$iothub/twin/PATCH/properties/desired/?$version=x") is None


@pytest.mark.rule("DPS-T23/service")
def test_user_names_have_a_question_mark_but_are_read_without():
    name = build_username("my-hub.azure-devices.net", "Dev-1", client_type="py/1 x")
    assert name == (
        "my-hub.azure-devices.net/Dev-1/?api-version=2021-04-12&DeviceClientType=py%2F1%20x"
    )
    parsed = parse_username(name)
    assert parsed is not None
    assert (parsed.hub, parsed.device_id) == ("my-hub.azure-devices.net", "Dev-1")
    assert parsed.properties["DeviceClientType"] == "py/1 x"
    assert parse_username("h/d/api-version=2016-11-14") == HubUsername(
        "h", "d", "", {"api-version": "2016-11-14"}
    )
    assert parse_username("h/d/m/?api-version=1") == HubUsername(
        "h", "d", "m", {"api-version": "1"}
    )
    for wrong in ("", "h/d", "h/d/?", "h//?api-version=1", "a/b/c/d/?api-version=1"):
        assert parse_username(wrong) is None


def test_names_that_break_a_topic_are_refused():
    for name in ("", "a/b", "a#", "a+"):
        with pytest.raises(UsageError):
            devicebound_filter(name)
    with pytest.raises(UsageError):
        build_properties({"": "x"})


def test_a_modules_input_is_read_back():
    assert inputs_filter("d", "m") == "devices/d/modules/m/inputs/#"
    assert input_topic("d", "m", "in", {"a": "b c"}) == "devices/d/modules/m/inputs/in/a=b%20c"
    assert parse_input_topic(input_topic("d", "m", "in", {"a": "b/c"})) == ("in", {"a": "b/c"})
    assert parse_input_topic(input_topic("d", "m", "in")) == ("in", {})
    assert parse_input_topic("devices/d/modules/m/inputs/in") == ("in", {})
    assert parse_input_topic("devices/d/modules/m/inputs/in/a=b/c") == ("in", {"a": "b/c"})
    for wrong in ("outputs/in/", "inputs//", "inputs"):
        assert parse_input_topic(f"devices/d/modules/m/{wrong}") is None


def test_a_user_name_names_module_and_model():
    name = build_username("h", "d", module_id="m", model_id="dtmi:a;1", client_type="x")
    assert name == ("h/d/m/?api-version=2021-04-12&model-id=dtmi%3Aa%3B1&DeviceClientType=x")
    assert parse_username(name).module_id == "m"


@pytest.mark.parametrize("text", ["\ud800", "\ud800" * 65])
def test_a_property_that_has_no_utf8_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^properties: text with a lone surrogate"):
        telemetry_topic("d", {"a": text})
