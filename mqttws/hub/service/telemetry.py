"""Telemetry as consumers receive it: body, properties, and the properties that the hub stamps.

Names as azure-docs ``iot-hub-devguide-messages-construct.md`` has them. Pure.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .access import Admitted
from .codes import timestamp
from .requests import Names, TelemetrySent

MAX_SIZE = 256 * 1024
"""Bytes of a message: body, values of system properties, names and values of the others."""

RETAIN_PROPERTY = "mqtt-retain"
"""Set on a message published with RETAIN; nothing is retained."""

SYSTEM_NAMES = {
    "$.mid": "message-id",
    "$.cid": "correlation-id",
    "$.uid": "user-id",
    "$.to": "to",
    "$.ct": "content-type",
    "$.ce": "content-encoding",
    "$.exp": "absolute-expiry-time",
    "$.on": "iothub-outputname",
    "$.ifid": "iothub-interface-id",
    "$.sub": "dt-subject",
    "$.cdid": "iothub-connection-device-id",
    "$.cmid": "iothub-connection-module-id",
}
"""System properties: the name on the wire, and the one that consumers read."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A message that a device, or a module of it, has published.

    Attributes:
        device_id: the device's name at the hub.
        payload: as it came.
        properties: the device's own; None is a name without ``=``.
        system_properties: those of the device and those that the hub stamped, by the names that
            consumers read, such as ``content-type`` and ``iothub-enqueuedtime``.
        module_id: empty for the device itself.
        sequence: its number in the hub's stream, from 1.
        enqueued_at: Unix time in seconds.
    """

    device_id: str
    payload: bytes
    properties: Mapping[str, str | None] = field(default_factory=dict)
    system_properties: Mapping[str, str | None] = field(default_factory=dict)
    module_id: str = ""
    sequence: int = 0
    enqueued_at: float = 0.0

    @property
    def source(self) -> str:
        """The device."""
        return self.device_id

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        total = 500 + len(self.payload) + 60 * len(self.system_properties)
        for name, value in self.properties.items():
            total += 120 + len(name) + len(value or "")
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the record of one message; a body that is not UTF-8 stands in base64."""
        try:
            body: dict[str, Any] = {"body": self.payload.decode()}
        except UnicodeDecodeError:
            body = {"bodyBase64": base64.b64encode(self.payload).decode()}
        record = {"event": "telemetry", "deviceId": self.device_id}
        if self.module_id:
            record["moduleId"] = self.module_id
        return {
            **record,
            **body,
            "properties": dict(self.properties),
            "systemProperties": dict(self.system_properties),
            "enqueuedTimeUtc": timestamp(self.enqueued_at),
            "sequenceNumber": self.sequence,
            "offset": str(self.sequence),
            "partitionKey": self.device_id,
        }


def size_of(payload: bytes, properties: Mapping[str, str | None]) -> int:
    """Return a message's size in bytes as the hub counts it."""
    size = len(payload)
    for name, value in properties.items():
        size += len((value or "").encode(errors="replace"))
        if name not in SYSTEM_NAMES:
            size += len(name.encode(errors="replace"))
    return size


def stamped(
    sent: TelemetrySent,
    payload: bytes,
    admitted: Admitted,
    names: Names,
    now: float,
    *,
    retain: bool = False,
    source: str = "Telemetry",
) -> Telemetry:
    """Return a message with what the hub adds to it."""
    own: dict[str, str | None] = {}
    system: dict[str, str | None] = {}
    for name, value in sent.properties.items():
        known = SYSTEM_NAMES.get(name)
        if known is None:
            own[name] = value
        else:
            system[known] = value
    if retain:
        own[RETAIN_PROPERTY] = "true"
    identity = admitted.identity
    system["iothub-enqueuedtime"] = timestamp(now)
    system["iothub-connection-device-id"] = identity.device_id
    if identity.module_id:
        system["iothub-connection-module-id"] = identity.module_id
    system["iothub-connection-auth-generation-id"] = identity.generation_id
    system["iothub-connection-auth-method"] = admitted.method
    if names.model_id:
        system["dt-dataschema"] = names.model_id
    system["iothub-message-source"] = source
    return Telemetry(identity.device_id, payload, own, system, identity.module_id, enqueued_at=now)
