"""Cloud-to-device messages as a device receives them (``iot-hub-devguide-messages-c2d.md``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..topics import parse_devicebound_topic, parse_input_topic

_SYSTEM = {
    "$.mid": "message_id",
    "$.cid": "correlation_id",
    "$.uid": "user_id",
    "$.ct": "content_type",
    "$.ce": "content_encoding",
    "$.to": "to",
    "$.exp": "expiry",
    "iothub-ack": "feedback",
}
"""System properties on the wire, and the attributes that they become."""


@dataclass
class CloudMessage:
    """A message from the cloud to this device, or on a module's input.

    It can be kept, copied and pickled; only the one that the stream returned can be acknowledged.

    Attributes:
        body: its bytes.
        properties: the sender's own, by name; None for a name without a value.
        message_id: as the sender set it; empty without one.
        correlation_id: as the sender set it.
        user_id: of the sender.
        content_type: as the sender set it, such as ``application/json``.
        content_encoding: as the sender set it, such as ``utf-8``.
        to: ``/devices/{id}/messages/deviceBound``.
        expiry: ISO 8601; empty without one.
        feedback: what the sender asked for: ``none``, ``positive``, ``negative``, ``full``, or
            empty.
        input: a module's input; empty for a cloud-to-device message.
        repeated: whether the hub may have sent it before.
    """

    body: bytes
    properties: Mapping[str, str | None] = field(default_factory=dict)
    message_id: str = ""
    correlation_id: str = ""
    user_id: str = ""
    content_type: str = ""
    content_encoding: str = ""
    to: str = ""
    expiry: str = ""
    feedback: str = ""
    input: str = ""
    repeated: bool = False
    _acknowledge: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def ack(self) -> None:
        """Complete the message at the hub, where ``manual_ack`` was asked for.

        Without it the hub delivers the message again on the next connection. Twice does no harm.
        """
        acknowledge, self._acknowledge = self._acknowledge, None
        if acknowledge is not None:
            acknowledge()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_acknowledge": None}


def parse_cloud_message(topic: str, body: bytes, *, repeated: bool = False) -> CloudMessage | None:
    """Return a message from the cloud, or on a module's input; None for another topic."""
    found = parse_input_topic(topic)
    name = ""
    if found is not None:
        name, properties = found
    else:
        devicebound = parse_devicebound_topic(topic)
        if devicebound is None:
            return None
        properties = devicebound[1]
    own: dict[str, str | None] = {}
    system: dict[str, Any] = {}
    for key, value in properties.items():
        if key in _SYSTEM:
            system[_SYSTEM[key]] = value or ""
        else:
            own[key] = value
    return CloudMessage(body, own, input=name, repeated=repeated, **system)
