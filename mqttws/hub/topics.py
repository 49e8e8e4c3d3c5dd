"""IoT Hub's MQTT topics (azure-docs ``articles/iot/iot-mqtt-connect-to-iot-hub.md``).

Knows the text of the topics, of the property bags in them, and of the user name. Does not know
what travels under them. Values are percent-encoded; ``+`` is a plus sign, never a blank.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote

from ..errors import UsageError
from ..text import shown
from ..utf8 import percent_encoded

DEFAULT_API_VERSION = "2021-04-12"
"""Of the user name, as the documents have it now."""

METHODS_FILTER = "$iothub/methods/POST/#"
TWIN_RESPONSE_FILTER = "$iothub/twin/res/#"
DESIRED_FILTER = "$iothub/twin/PATCH/properties/desired/#"
"""What a device subscribes to for methods, for answers about its twin, and for its changes."""

_METHOD = "$iothub/methods/POST/"
_METHOD_RESPONSE = "$iothub/methods/res/"
_TWIN_RESPONSE = "$iothub/twin/res/"
_DESIRED = "$iothub/twin/PATCH/properties/desired/"

Properties = Mapping[str, str | None]
"""A property bag; None is a name without ``=``, as the hub writes null."""


def _name(text: str, what: str) -> str:
    """Return a name that may stand in a topic."""
    if not isinstance(text, str):
        raise UsageError(f"{what}: found {type(text).__name__}; allowed: a str")
    if not text or any(character in text for character in "/+#\0"):
        raise UsageError(f"{what} {text!a}; allowed: one without /, + and #")
    return text


def _text(text: str, what: str = "topic") -> str:
    """Return what is text."""
    if not isinstance(text, str):
        raise UsageError(f"{what}: found {type(text).__name__}; allowed: a str")
    return text


# Property bags


def build_properties(properties: Properties) -> str:
    """Return a property bag; system properties such as ``$.ct`` first, then the others by name.

    The order is the Python SDK's; it has no meaning.
    """
    try:
        names = sorted(properties, key=lambda name: (not name.startswith("$"), name))
        return "&".join(_pair(name, properties[name]) for name in names)
    except (AttributeError, TypeError):
        kind = type(properties).__name__
    raise UsageError(f"properties: found {kind}; allowed: a mapping from names to text or None")


def _pair(name: str, value: str | None) -> str:
    if not name:
        raise UsageError("properties: found one without a name; allowed: names of some text")
    if value is not None:
        _text(value, f"properties: {shown(name)}")
    quoted = _quoted(name)
    return quoted if value is None else f"{quoted}={_quoted(value)}"


def _quoted(text: str) -> str:
    """Return text percent-encoded; short texts are remembered, as most come again and again."""
    return _quoted_short(text) if len(text) <= 64 else percent_encoded(text, "properties")


@lru_cache(maxsize=512)
def _quoted_short(text: str) -> str:
    return percent_encoded(text, "properties")


def parse_properties(text: str) -> dict[str, str | None]:
    """Return the properties of a bag; of two alike the first counts.

    The ``$`` of system names may come as it is or as ``%24``.
    """
    properties: dict[str, str | None] = {}
    for pair in _text(text, "text").split("&"):
        name, separator, value = pair.partition("=")
        if name:
            properties.setdefault(unquote(name), unquote(value) if separator else None)
    return properties


# Telemetry and messages to the device


def telemetry_topic(
    device_id: str, properties: Properties | None = None, *, module_id: str = ""
) -> str:
    """Return the topic under which a device, or a module of it, publishes telemetry.

    Args:
        device_id: the device's name at the hub.
        properties: of the message; ``{"$.ct": "application/json", "$.ce": "utf-8"}`` lets the hub
            look into the body.
        module_id: empty for the device itself.
    """
    _text(device_id, "device id")
    _text(module_id, "module id")
    try:
        return _telemetry_topic(device_id, tuple((properties or {}).items()), module_id)
    except (AttributeError, TypeError):  # not even a mapping, or values of an odd type
        kind = type(properties).__name__
    raise UsageError(f"properties: found {kind}; allowed: a mapping from names to text or None")


@lru_cache(maxsize=16)
def _telemetry_topic(
    device_id: str, properties: tuple[tuple[str, str | None], ...], module_id: str
) -> str:
    """Return the topic; the last ones are remembered, as a device has few kinds of messages."""
    return _device(device_id, module_id) + "messages/events/" + build_properties(dict(properties))


def _device(device_id: str, module_id: str = "") -> str:
    module = f"modules/{_name(module_id, 'module id')}/" if module_id else ""
    return f"devices/{_name(device_id, 'device id')}/{module}"


def devicebound_filter(device_id: str) -> str:
    """Return what a device subscribes to for the messages that the cloud sends it."""
    return _device(device_id) + "messages/devicebound/#"


def devicebound_topic(device_id: str, properties: Properties | None = None) -> str:
    """Return the topic of a message that the cloud sends to a device."""
    return _device(device_id) + "messages/devicebound/" + build_properties(properties or {})


def parse_telemetry_topic(topic: str) -> tuple[str, dict[str, str | None]] | None:
    """Return device id and properties of telemetry; None for another topic.

    The slash before the properties is demanded, as by the hub.
    """
    return _parse_message_topic(topic, "/messages/events/")


def parse_devicebound_topic(topic: str) -> tuple[str, dict[str, str | None]] | None:
    """Return device id and properties of a message from the cloud; None for another topic."""
    return _parse_message_topic(topic, "/messages/devicebound/")


def inputs_filter(device_id: str, module_id: str) -> str:
    """Return what a module subscribes to for the messages that are routed to its inputs."""
    return _device(device_id, _text(module_id, "module id")) + "inputs/#"


def input_topic(
    device_id: str, module_id: str, name: str, properties: Properties | None = None
) -> str:
    """Return the topic of a message on a module's input."""
    bag = build_properties(properties or {})
    place = _device(device_id, _text(module_id, "module id"))
    return f"{place}inputs/{_name(name, 'input name')}/{bag}"


def parse_input_topic(topic: str) -> tuple[str, dict[str, str | None]] | None:
    """Return an input's name and the properties of a message on it; None for another topic."""
    parts = _text(topic).split("/", 6)
    if len(parts) < 6 or (parts[0], parts[2], parts[4]) != ("devices", "modules", "inputs"):
        return None
    if not all(parts[:6]):
        return None
    return parts[5], parse_properties(parts[6] if len(parts) == 7 else "")


def _parse_message_topic(topic: str, middle: str) -> tuple[str, dict[str, str | None]] | None:
    head, separator, bag = _text(topic).partition(middle)
    device_id = head.removeprefix("devices/")
    if not separator or device_id == head or not device_id:
        return None
    return device_id, parse_properties(bag)


# Direct methods


@dataclass(frozen=True, slots=True)
class MethodCall:
    """The cloud calls a method of the device.

    Attributes:
        name: the method's.
        request_id: exactly as received, for the answer.
    """

    name: str
    request_id: str


def method_topic(name: str, request_id: str) -> str:
    """Return the topic of a method call; the hub's side."""
    return f"{_METHOD}{_name(name, 'method name')}/?$rid={_text(request_id, 'request id')}"


def parse_method_topic(topic: str) -> MethodCall | None:
    """Return which method is called; None for another topic."""
    name, _, bag = _text(topic).removeprefix(_METHOD).partition("/?")
    request_id = parse_raw(bag).get("$rid")
    if not topic.startswith(_METHOD) or not name or not request_id:
        return None
    return MethodCall(unquote(name), request_id)


def method_response_topic(status: int, request_id: str) -> str:
    """Return the topic of a method's answer.

    Args:
        status: any whole number; the caller in the cloud gets it.
        request_id: of the call.
    """
    if type(status) is not int:
        raise UsageError(f"status: found {type(status).__name__}; allowed: a whole number")
    return f"{_METHOD_RESPONSE}{status}/?$rid={_text(request_id, 'request id')}"


# Twins


@dataclass(frozen=True, slots=True)
class TwinResponse:
    """The hub answers a question about the twin.

    Attributes:
        status: 200 with the twin, 204 after a report, 400, 429 or 5xx.
        request_id: of the question.
        version: of the reported properties after a report; None where there is none.
    """

    status: int
    request_id: str
    version: int | None = None


def twin_get_topic(request_id: str) -> str:
    """Return the topic that asks for the whole twin; its message is empty."""
    return (
        f"$iothub/twin/GET/?$rid={percent_encoded(_text(request_id, 'request id'), 'request id')}"
    )


def twin_report_topic(request_id: str) -> str:
    """Return the topic under which the device reports properties, JSON."""
    return f"$iothub/twin/PATCH/properties/reported/?{_rid(request_id)}"


def _rid(request_id: str) -> str:
    return f"$rid={percent_encoded(_text(request_id, 'request id'), 'request id')}"


def parse_twin_response_topic(topic: str) -> TwinResponse | None:
    """Return what the hub answers; None for another topic."""
    status, _, bag = _text(topic).removeprefix(_TWIN_RESPONSE).partition("/")
    properties = parse_raw(bag.removeprefix("?"))
    request_id = properties.get("$rid")
    if not topic.startswith(_TWIN_RESPONSE) or not _digits(status) or not request_id:
        return None
    version = properties.get("$version", "")
    return TwinResponse(
        int(status), unquote(request_id), int(version) if _digits(version) else None
    )


def parse_desired_topic(topic: str) -> int | None:
    """Return the version of desired properties that have changed; None for another topic."""
    version = parse_raw(_text(topic).removeprefix(_DESIRED).removeprefix("?")).get("$version", "")
    return int(version) if topic.startswith(_DESIRED) and _digits(version) else None


def parse_raw(text: str) -> dict[str, str]:
    """Return pairs by name, values as they stand, so that they can be echoed."""
    pairs = (pair.partition("=") for pair in _text(text, "text").split("&"))
    return {unquote(name): value for name, separator, value in pairs if separator}


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


# The user name


@dataclass(frozen=True, slots=True)
class HubUsername:
    """The parts of a device's user name at its hub.

    Attributes:
        hub: host name.
        device_id: case counts.
        module_id: empty for the device itself.
        properties: such as ``api-version``.
    """

    hub: str
    device_id: str
    module_id: str = ""
    properties: Mapping[str, str | None] = field(default_factory=dict)


def build_username(
    hub: str,
    device_id: str,
    api_version: str = DEFAULT_API_VERSION,
    *,
    client_type: str = "",
    module_id: str = "",
    model_id: str = "",
) -> str:
    """Return the user name for CONNECT: with a ``?``, unlike DPS's.

    Args:
        hub: host name.
        device_id: the device's name there.
        api_version: of the hub's API.
        client_type: what the device calls its software; left out when empty.
        module_id: empty for the device itself.
        model_id: Plug and Play model that the device implements (``dtmi:...``); empty for none.
    """
    properties = f"api-version={percent_encoded(_text(api_version, 'api version'), 'api version')}"
    _text(model_id, "model id")
    _text(client_type, "client type")
    _text(module_id, "module id")
    if model_id:
        properties += f"&model-id={percent_encoded(model_id, 'model id')}"
    if client_type:
        properties += f"&DeviceClientType={percent_encoded(client_type, 'client type')}"
    module = f"{_name(module_id, 'module id')}/" if module_id else ""
    return f"{_name(hub, 'hub')}/{_name(device_id, 'device id')}/{module}?{properties}"


def parse_username(text: str) -> HubUsername | None:
    """Return what a user name says; None if it cannot be read. The C SDK leaves the ``?`` out."""
    parts = _text(text, "text").split("/")
    if len(parts) not in (3, 4) or not all(parts):
        return None
    properties = parse_properties(parts[-1].removeprefix("?"))
    if not properties.get("api-version"):
        return None
    return HubUsername(parts[0], parts[1], parts[2] if len(parts) == 4 else "", properties)
