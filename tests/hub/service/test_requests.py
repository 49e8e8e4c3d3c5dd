"""User names and topics, in each spelling that documents, traces and SDKs show."""

import pytest

from mqttws.hub.service.requests import (
    MethodAnswered,
    Names,
    Request,
    TelemetrySent,
    TwinRead,
    TwinReported,
    documented_filters,
    parse_names,
    parse_request,
)

HUB = "h.azure-devices.net"
PYTHON = "azure-iot-device-iothub-py/2.14.0(x)"


@pytest.mark.rule("HUB-2")
@pytest.mark.parametrize(
    ("username", "expected"),
    [
        # the released Python SDK
        (
            f"{HUB}/d/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%28x%29",
            Names(HUB, "d", "", "2019-10-01", "", PYTHON),
        ),
        # the released Node SDK: the model id is not encoded, the parentheses are raw
        (
            f"{HUB}/d/?api-version=2021-04-12&model-id=dtmi:a:b;1&DeviceClientType=x%2F1%20(node)",
            Names(HUB, "d", "", "2021-04-12", "dtmi:a:b;1", "x/1 (node)"),
        ),
        (f"{HUB}/d/m/?api-version=1", Names(HUB, "d", "m", "1")),
        # azure-iot-sdks #1007, mosquitto #953
        (f"{HUB}/d", Names(HUB, "d")),
        (f"{HUB}/d/", Names(HUB, "d")),
        (f"{HUB}/d/api-version=2016-11-14", Names(HUB, "d", "", "2016-11-14")),
        # azure-iot-sdk-csharp pull 185: a raw slash ends the query
        (f"{HUB}/d/?api-version=1&DeviceClientType=a/b", Names(HUB, "d", "", "1", "", "a")),
        (f"{HUB}/D:=$'/?api-version=1", Names(HUB, "D:=$'", "", "1")),
        ("", None),
        (HUB, None),
        (f"{HUB}/", None),
        (f"/{HUB}/d", None),
        (f"{HUB}/d/m/x/?api-version=1", None),
        (f"{HUB}//m/?api-version=1", None),
    ],
)
def test_a_user_name_is_read_in_every_known_spelling(username: str, expected: Names | None) -> None:
    assert parse_names(username) == expected


@pytest.mark.rule("HUB-19")
@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        # iotedge appsettings_hub.json: eight spellings
        ("devices/d/messages/events", TelemetrySent("d", "")),
        ("devices/d/messages/events/", TelemetrySent("d", "")),
        ("devices/d/messages/events/a=b", TelemetrySent("d", "", {"a": "b"})),
        ("devices/d/messages/events/a=b/", TelemetrySent("d", "", {"a": "b"})),
        ("devices/d/messages/events/?a=b", TelemetrySent("d", "", {"a": "b"})),
        ("devices/d/modules/m/messages/events", TelemetrySent("d", "m")),
        ("devices/d/modules/m/messages/events/", TelemetrySent("d", "m")),
        (
            "devices/d/modules/m/messages/events/%24.on=o",
            TelemetrySent("d", "m", {"$.on": "o"}),
        ),
        ("devices/d/messages/events/a+b=c%20d&e&f=", TelemetrySent(
            "d", "", {"a+b": "c d", "e": None, "f": ""})),
        # ids are taken as they stand
        ("devices/a%20b/messages/events/", TelemetrySent("a%20b", "")),
        ("$iothub/twin/GET/?$rid=a%20b", TwinRead("a%20b")),
        ("$iothub/twin/PATCH/properties/reported/?$rid=7", TwinReported("7")),
        ("$iothub/methods/res/200/?$rid=1a", MethodAnswered(200, "1a")),
        ("$iothub/methods/res/-5/?$rid=1a", MethodAnswered(-5, "1a")),
        ("devices/d/messages/eventsx", None),
        ("devices/d/x/m/messages/events/", None),
        ("devices//messages/events/", None),
        ("devices/d/messages/devicebound/", None),
        ("$iothub/twin/GET/", None),
        ("$iothub/twin/GET/?$rid=", None),
        ("$iothub/twin/PUT/?$rid=1", None),
        ("$iothub/methods/res/x/?$rid=1", None),
        ("$iothub/methods/res/99999999999/?$rid=1", None),
        ("anything", None),
    ],
)  # fmt: skip
def test_a_topic_is_read_in_every_known_spelling(topic: str, expected: Request | None) -> None:
    assert parse_request(topic) == expected


def test_a_raw_colon_in_a_property_bag_is_a_fault() -> None:
    """azure-iot-sdk-c #869: the device is disconnected."""
    sent = parse_request("devices/d/messages/events/at=12:30")
    assert isinstance(sent, TelemetrySent)
    assert sent.fault
    assert parse_request("devices/d/messages/events/at=12%3A30") == TelemetrySent(
        "d", "", {"at": "12:30"}
    )


def test_a_module_has_inputs_instead_of_messages_from_the_cloud() -> None:
    assert "devices/d/messages/devicebound/#" in documented_filters("d")
    assert "devices/d/messages/devicebound/#" not in documented_filters("d", "m")
    assert "devices/d/modules/m/inputs/#" in documented_filters("d", "m")
