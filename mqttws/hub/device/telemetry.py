"""Telemetry of a device or module: its topic with the property bag, and the hub's limits.

Sources: azure-docs ``iot-hub-devguide-messages-construct.md`` and ``iot-hub-devguide-quotas-``
``throttling.md``. Does not know how a message is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from ...errors import UsageError
from ...text import shown
from ...utf8 import utf8
from ..topics import telemetry_topic

MAX_MESSAGE_SIZE = 256 * 1024
"""Bytes of a message: body, values of system properties, names and values of the others."""

MAX_TOPIC_SIZE = 65_535
"""Bytes of a topic, as MQTT limits it; the properties travel in the topic."""

MAX_MESSAGE_ID = 128
"""Characters of a message id."""

_SYSTEM = {
    "message_id": "$.mid",
    "correlation_id": "$.cid",
    "user_id": "$.uid",
    "content_type": "$.ct",
    "content_encoding": "$.ce",
    "output": "$.on",
    "interface_id": "$.ifid",
    "component": "$.sub",
}
"""The attributes that become system properties, and their names on the wire."""

_CREATION_TIME = "iothub-creation-time-utc"


@dataclass(frozen=True, slots=True)
class TelemetryMessage:
    """One device-to-cloud message.

    Attributes:
        body: bytes, at most 256 KB together with the properties.
        properties: the application's own, by name; None for a name without a value.
        content_type: such as ``application/json``; with ``content_encoding`` ``utf-8`` the hub can
            route on the body.
        content_encoding: such as ``utf-8``.
        message_id: at most 128 characters.
        correlation_id: what the message answers or belongs to.
        user_id: who made it.
        creation_time: with a time zone; sent as ``iothub-creation-time-utc``.
        output: a module's output, for the routes of an edge device.
        component: of a Plug and Play model (``dt-subject``).
        interface_id: marks security messages.
    """

    body: bytes = b""
    properties: Mapping[str, str | None] = field(default_factory=dict)
    content_type: str = ""
    content_encoding: str = ""
    message_id: str = ""
    correlation_id: str = ""
    user_id: str = ""
    creation_time: datetime | None = None
    output: str = ""
    component: str = ""
    interface_id: str = ""

    def bag(self) -> dict[str, str | None]:
        """Return all properties by their names on the wire.

        Raises:
            UsageError: a property is not text, or is given twice; or the properties are none.
        """
        bag: dict[str, str | None] = {}
        for attribute, name in _SYSTEM.items():
            value = getattr(self, attribute)
            if value != "":
                bag[name] = _text(attribute, value)
        if self.creation_time is not None:
            bag[_CREATION_TIME] = _utc(self.creation_time)
        if not isinstance(self.properties, Mapping):
            kind = type(self.properties).__name__
            raise UsageError(f"telemetry: properties: found {kind}; allowed: a mapping")
        for name, own in self.properties.items():
            if name in bag:
                raise UsageError(f"telemetry: property {shown(name)} is given twice")
            bag[_text("properties: a name", name)] = (
                None if own is None else _text(f"properties: {shown(name)}", own)
            )
        return bag

    def topic(self, device_id: str, module_id: str = "") -> str:
        """Return the topic that the message is published to; its size is checked.

        Raises:
            UsageError: the message or its topic is too large, or it or a property has a wrong type.
        """
        if not isinstance(self.body, bytes):
            raise UsageError(f"telemetry: body: found {type(self.body).__name__}; allowed: bytes")
        named = isinstance(device_id, str) and isinstance(module_id, str)
        known = self._remembered(device_id, module_id) if named else None
        topic, size = known or self._address(device_id, module_id)
        size += len(self.body)
        if size > MAX_MESSAGE_SIZE:
            raise UsageError(
                f"telemetry: {size} bytes with its properties; the hub allows {MAX_MESSAGE_SIZE}",
                hint="send it in parts; larger data goes to a blob by the hub's file upload",
            )
        return topic

    def _remembered(self, device_id: str, module_id: str) -> tuple[str, int] | None:
        """Return topic and size of the properties of a message that has no more than its kind.

        Hot: a device has few kinds of messages. None for all others.
        """
        kind, encoding = self.content_type, self.content_encoding
        if (
            type(kind) is type(encoding) is str
            and not self.properties
            and type(self.properties) is dict
            and self.message_id == self.correlation_id == self.user_id == self.output == ""
            and self.component == self.interface_id == ""
            and self.creation_time is None
        ):
            return _kind(device_id, module_id, kind, encoding)
        return None

    def _address(self, device_id: str, module_id: str) -> tuple[str, int]:
        """Return the topic and the size of the properties in bytes; all is checked."""
        bag = self.bag()
        if len(self.message_id) > MAX_MESSAGE_ID:
            raise UsageError(
                f"telemetry: a message id of {len(self.message_id)} characters;"
                f" allowed: {MAX_MESSAGE_ID}"
            )
        size = message_size(b"", bag)
        if size > MAX_MESSAGE_SIZE:  # before its topic is built
            return "", size
        topic = telemetry_topic(device_id, bag, module_id=module_id)
        # Percent-encoding makes a topic ASCII but for the ids, so that this is nearly always cheap.
        if len(topic) * 4 > MAX_TOPIC_SIZE and len(topic.encode()) > MAX_TOPIC_SIZE:
            raise UsageError(
                f"telemetry: the properties make a topic of {len(topic.encode())} bytes;"
                f" MQTT allows {MAX_TOPIC_SIZE}",
                hint="move some of them into the body",
            )
        return topic, size


@lru_cache(maxsize=16)
def _kind(device_id: str, module_id: str, kind: str, encoding: str) -> tuple[str, int]:
    message = TelemetryMessage(content_type=kind, content_encoding=encoding)
    return message._address(device_id, module_id)


def message_size(body: bytes, bag: Mapping[str, str | None]) -> int:
    """Return a message's size in bytes as the hub counts it."""
    size = len(body)
    for name, value in bag.items():
        size += 0 if value is None else len(value.encode(errors="replace"))
        size += 0 if name.startswith("$.") else len(name.encode(errors="replace"))
    return size


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"telemetry: {what}: found {type(value).__name__}; allowed: str")
    utf8(value, f"telemetry: {what}")
    return value


def _utc(moment: datetime) -> str:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise UsageError("telemetry: creation_time; allowed: a datetime with a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
