"""A device's user name and topics, read as requests to the hub.

The inverse of ``topics`` for the hub's side, and as lenient as the real hub: every spelling that
azure-docs or a released SDK uses is read. Ids in topics are not percent-encoded and are taken as
they stand (azure-iot-sdk-python ``pipeline/mqtt_topic_iothub.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..credentials import CREDENTIALS_FILTER, parse_issue_topic
from ..topics import (
    DESIRED_FILTER,
    METHODS_FILTER,
    TWIN_RESPONSE_FILTER,
    parse_properties,
    parse_raw,
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names in a CONNECT's user name.

    Attributes:
        hub: host name, as written.
        device_id: case counts.
        module_id: empty for the device itself.
        api_version: empty where there is none; such a device cannot report properties.
        model_id: of IoT Plug and Play; empty for none.
        client_type: the device software's name for itself.
    """

    hub: str
    device_id: str
    module_id: str = ""
    api_version: str = ""
    model_id: str = ""
    client_type: str = ""

    @property
    def client_id(self) -> str:
        """The ClientId that belongs to this user name."""
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id


def parse_names(username: str) -> Names | None:
    """Return the names in a hub's user name; None for one that is none.

    ``{hub}/{device}[/{module}]`` and a query: with ``?``, without it (mosquitto #953), or none at
    all (azure-iot-sdks #1007). A slash inside the query ends it (azure-iot-sdk-csharp pull 185).
    """
    hub, separator, rest = username.partition("/")
    parts = rest.split("/")
    ids, query = parts, ""
    for at, part in enumerate(parts[1:], 1):
        if part.startswith(("?", "api-version=")):
            ids, query = parts[:at], part.removeprefix("?")
            break
    if ids[-1:] == [""] and len(ids) > 1:
        ids = ids[:-1]
    if not separator or not hub or len(ids) > 2 or not all(ids):
        return None
    values = parse_properties(query)
    return Names(
        hub,
        ids[0],
        ids[1] if len(ids) == 2 else "",
        values.get("api-version") or "",
        values.get("model-id") or "",
        values.get("DeviceClientType") or "",
    )


@dataclass(frozen=True, slots=True)
class TelemetrySent:
    """A device, or a module of it, publishes telemetry."""

    device_id: str
    module_id: str
    properties: Mapping[str, str | None] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class TwinRead:
    """A device reads its twin; ``request_id`` is echoed exactly as it came."""

    request_id: str


@dataclass(frozen=True, slots=True)
class TwinReported:
    """A device reports properties; ``request_id`` is echoed exactly as it came."""

    request_id: str


@dataclass(frozen=True, slots=True)
class MethodAnswered:
    """A device answers a direct method."""

    status: int
    request_id: str


@dataclass(frozen=True, slots=True)
class CertificateAsked:
    """A device asks for another certificate; ``request_id`` may be empty or no allowed one."""

    request_id: str


Request = TelemetrySent | TwinRead | TwinReported | MethodAnswered | CertificateAsked


def parse_request(topic: str) -> Request | None:
    """Return the request in a PUBLISH's topic; None for a topic that the hub does not have."""
    if topic.startswith("devices/"):
        return _telemetry(topic)
    asked = parse_issue_topic(topic)
    if asked is not None:
        return CertificateAsked(asked)
    head, _, bag = topic.partition("/?")
    request_id = parse_raw(bag).get("$rid", "")
    if not request_id:
        return None
    if head == "$iothub/twin/GET":
        return TwinRead(request_id)
    if head == "$iothub/twin/PATCH/properties/reported":
        return TwinReported(request_id)
    status = head.removeprefix("$iothub/methods/res/")
    digits = status.removeprefix("-")
    if status != head and digits.isascii() and digits.isdigit() and len(digits) < 10:
        return MethodAnswered(int(status), request_id)
    return None


def _telemetry(topic: str) -> TelemetrySent | None:
    """Read a telemetry topic: eight spellings, as iotedge ``appsettings_hub.json`` has them."""
    head, separator, rest = topic.partition("/messages/events")
    parts = head.split("/")
    if not separator or len(parts) not in (2, 4) or not all(parts):
        return None
    if len(parts) == 4 and parts[2] != "modules":
        return None
    if rest and not rest.startswith(("/", "?")):
        return None
    bag = rest.removeprefix("/").removeprefix("?").removesuffix("/")
    # azure-iot-sdk-c #869: such a character raw in a value disconnects the device.
    fault = "a ':' that is not percent-encoded in the property bag" if ":" in bag else ""
    module_id = parts[3] if len(parts) == 4 else ""
    return TelemetrySent(parts[1], module_id, parse_properties(bag), fault)


def documented_filters(device_id: str, module_id: str = "") -> tuple[str, ...]:
    """Return the topic filters that a device, or a module, may subscribe to."""
    common = (METHODS_FILTER, TWIN_RESPONSE_FILTER, DESIRED_FILTER)
    if not module_id:
        return (*common, CREDENTIALS_FILTER, f"devices/{device_id}/messages/devicebound/#")
    module = f"devices/{device_id}/modules/{module_id}"  # iotedge doc/edgehub-api.md
    return (*common, f"{module}/inputs/#", f"{module}/#")


def twin_answer_topic(status: int, request_id: str, version: int | None = None) -> str:
    """Return the topic of an answer about the twin; the request id as it came."""
    topic = f"$iothub/twin/res/{status}/?$rid={request_id}"
    return topic if version is None else f"{topic}&$version={version}"


def desired_topic(version: int) -> str:
    """Return the topic of a change of the desired properties."""
    return f"$iothub/twin/PATCH/properties/desired/?$version={version}"
