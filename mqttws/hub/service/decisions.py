"""The hub's decisions about a device's messages: record and message in, record and effects out.

No store, no clock, no connection: the caller loads the record, asks, commits the new one, and only
then carries the effects out. The rules of the parts stand beside their sources in ``twin``,
``queue``, ``session`` and ``telemetry``.
"""

from dataclasses import dataclass, replace
from typing import Any

from ...dps.json_text import build_json, parse_json
from ...text import shown
from ..topics import TWIN_RESPONSE_FILTER
from .access import Admitted
from .codes import Code, Fault, error_body
from .methods import MAX_PAYLOAD
from .records import Record
from .requests import (
    MethodAnswered,
    Names,
    TelemetrySent,
    TwinRead,
    TwinReported,
    desired_topic,
    parse_request,
    twin_answer_topic,
)
from .telemetry import MAX_SIZE, Telemetry, size_of, stamped
from .twin import device_view, report


@dataclass(frozen=True, slots=True)
class Send:
    """A message to the device, at most at this QoS; lost where it has not subscribed."""

    topic: str
    payload: bytes
    qos: int = 1
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    """The end of the connection: the hub's answer to whatever a device may not send."""

    reason: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Telemetry for the consumers."""

    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Answered:
    """A device's answer to a direct method."""

    request_id: str
    status: int
    payload: Any
    fault: str = ""


@dataclass(frozen=True, slots=True)
class TwinChanged:
    """The reported properties have changed, by this patch."""

    patch: Any


Effect = Send | Close | Publish | Answered | TwinChanged


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a message.

    Attributes:
        record: as it is to be stored; the very record that was given where nothing changes.
        effects: to be carried out once it is stored, in order.
    """

    record: Record
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """The device at the other end of a connection.

    Attributes:
        names: of its CONNECT.
        admitted: its identity and how it proved it.
    """

    names: Names
    admitted: Admitted


@dataclass(frozen=True, slots=True)
class Incoming:
    """A PUBLISH from a device."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


def on_publish(
    record: Record, peer: Peer, message: Incoming, now: float, tracking_id: str
) -> Decision:
    """Decide what a device's PUBLISH does."""
    if message.qos > 1:  # azure-docs iot-mqtt-connect-to-iot-hub.md: the connection is closed
        return Decision(record, (Close("a PUBLISH with QoS 2"),))
    request = parse_request(message.topic)
    match request:
        case TelemetrySent():
            return Decision(record, (_telemetry(peer, request, message, now),))
        case TwinRead(request_id):
            view = build_json(device_view(record.twin))
            return Decision(record, _answer(record, request_id, 200, view))
        case TwinReported(request_id):
            return _reported(record, peer, request_id, message.payload, now, tracking_id)
        case MethodAnswered(status, request_id):
            return Decision(record, (_method_answer(status, request_id, message.payload),))
    reason = f"a PUBLISH to {shown(message.topic)}, which is no topic of the hub"
    return Decision(record, (Close(reason),))


def _telemetry(peer: Peer, sent: TelemetrySent, message: Incoming, now: float) -> Effect:
    identity = peer.admitted.identity
    if (sent.device_id, sent.module_id) != (identity.device_id, identity.module_id):
        return Close(f"telemetry under the name of {shown(sent.device_id)}")
    if sent.fault:
        return Close(sent.fault)
    size = size_of(message.payload, sent.properties)
    if size > MAX_SIZE:  # no word is said: azure-iot-sdk-node #501
        return Close(f"a message of {size} bytes; allowed: {MAX_SIZE}")
    return Publish(
        stamped(sent, message.payload, peer.admitted, peer.names, now, retain=message.retain)
    )


def on_will(peer: Peer, topic: str, payload: bytes, now: float) -> Telemetry | None:
    """Return the telemetry that a will becomes; None where its topic is not the device's own."""
    sent = parse_request(topic)
    identity = peer.admitted.identity
    if not isinstance(sent, TelemetrySent) or sent.fault:
        return None
    if (sent.device_id, sent.module_id) != (identity.device_id, identity.module_id):
        return None
    marked = replace(sent, properties={**sent.properties, "iothub-MessageType": "Will"})
    return stamped(marked, payload, peer.admitted, peer.names, now)


def will_fault(names: Names, topic: str, qos: int) -> str | None:
    """Return the reason why a CONNECT with this will is refused; None if it is not."""
    sent = parse_request(topic)
    own = (names.device_id, names.module_id)
    if not isinstance(sent, TelemetrySent) or (sent.device_id, sent.module_id) != own:
        return f"a will for {shown(topic)}; allowed: the device's telemetry topic"
    return "a will with QoS 2" if qos > 1 else None


def _reported(  # noqa: PLR0917 - in the order of ``on_publish``
    record: Record, peer: Peer, request_id: str, payload: bytes, now: float, tracking_id: str
) -> Decision:
    if not peer.names.api_version:  # andriyadi/AzureIoTHubMQTTClient pull 5
        fault = Fault(Code.ArgumentInvalid, "the user name of the CONNECT has no api-version")
        return Decision(record, twin_refusal(record, request_id, fault, now, tracking_id))
    try:
        patch = parse_json(payload)
    except ValueError:
        fault = Fault(Code.ArgumentInvalid, "the reported properties are not JSON")
        return Decision(record, twin_refusal(record, request_id, fault, now, tracking_id))
    twin = report(record.twin, patch, now)
    if isinstance(twin, Fault):
        return Decision(record, twin_refusal(record, request_id, twin, now, tracking_id))
    effects = (
        *_answer(record, request_id, 204, b"", twin.reported.version),
        TwinChanged(patch),
    )
    return Decision(replace(record, twin=twin), effects)


def twin_refusal(
    record: Record, request_id: str, fault: Fault, now: float, tracking_id: str
) -> tuple[Effect, ...]:
    """Return the answer that refuses a request about the twin.

    There always is one, with a JSON body: the Python SDK waits for it without a time limit.
    """
    body = build_json(error_body(fault.code, fault.message, now, tracking_id))
    return _answer(record, request_id, fault.code.status, body, reason=fault.message)


def _answer(
    record: Record,
    request_id: str,
    status: int,
    body: bytes,
    version: int | None = None,
    *,
    reason: str = "",
) -> tuple[Effect, ...]:
    topic = twin_answer_topic(status, request_id, version)
    if TWIN_RESPONSE_FILTER not in record.session.subscriptions:
        reason = "lost: the device has not subscribed to answers about its twin"
    return (Send(topic, body, 1, f"twin: {status}{', ' * bool(reason)}{reason}"),)


def _method_answer(status: int, request_id: str, payload: bytes) -> Effect:
    if len(payload) > MAX_PAYLOAD:
        return Answered(request_id, status, None, f"an answer of {len(payload)} bytes")
    try:
        return Answered(request_id, status, parse_json(payload) if payload.strip() else None)
    except ValueError:
        return Answered(request_id, status, None, "an answer that is not JSON")


def desired_message(desired: Any, version: int) -> Send:
    """Return the message that tells a connected device of its changed desired properties."""
    return Send(desired_topic(version), build_json(desired), 1, f"desired version {version}")
