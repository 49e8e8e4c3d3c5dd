"""The queue of messages from the cloud to one device: expiry, order, completion and feedback.

Source: azure-docs ``iot-hub-devguide-messages-c2d.md``. Pure: a queue and the time go in, a new
queue and feedback records come out. The minute for which a delivered message is invisible is the
connection's matter: it ends with the connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..topics import devicebound_topic
from .codes import Code, Fault, timestamp

MAX_MESSAGES = 50
"""Messages that wait for one device; the next is refused to its sender (403004)."""

MAX_SIZE = 64 * 1024
"""Bytes of a message's payload and properties."""

DEFAULT_LIFE = 3600.0
"""Seconds until a message without an expiry of its own expires."""

MAX_LIFE = 2 * 86400.0
LOCK_SECONDS = 60.0
"""Seconds after which a delivered message without PUBACK is delivered again."""

MAX_DELIVERIES = 10
"""The hub's default ``maxDeliveryCount``."""

ACKS = ("none", "positive", "negative", "full")

SUCCESS, EXPIRED, EXCEEDED, PURGED = "Success", "Expired", "DeliveryCountExceeded", "Purged"


@dataclass(frozen=True, slots=True)
class CloudMessage:
    """A message to a device.

    Attributes:
        payload: bytes.
        properties: the sender's own, by name; None is a name without a value.
        system: system properties by their name on the wire, such as ``$.mid``.
        ack: the feedback that the sender wants: none, positive, negative or full.
        expires_at: Unix time in seconds.
        sequence: its number in the queue; 0 until it is queued.
        enqueued_at: Unix time in seconds.
        deliveries: how often it was delivered.
    """

    payload: bytes
    properties: Mapping[str, str | None] = field(default_factory=dict)
    system: Mapping[str, str] = field(default_factory=dict)
    ack: str = "none"
    expires_at: float = 0.0
    sequence: int = 0
    enqueued_at: float = 0.0
    deliveries: int = 0

    @property
    def message_id(self) -> str:
        """The message id; empty for none."""
        return self.system.get("$.mid", "")

    def topic(self, device_id: str) -> str:
        """Return the topic under which it is delivered.

        ``$.to`` is always there, with a capital B (iotedge ``doc/edgehub-api.md``).
        """
        bag: dict[str, str | None] = {"$.to": f"/devices/{device_id}/messages/deviceBound"}
        bag |= self.system
        if self.ack != "none":
            bag["iothub-ack"] = self.ack
        return devicebound_topic(device_id, bag | dict(self.properties))


@dataclass(frozen=True, slots=True)
class Queue:
    """Messages that wait for a device or for its PUBACK, in order; ``sequence`` is the last one."""

    messages: tuple[CloudMessage, ...] = ()
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Feedback:
    """The outcome of a message, for its sender."""

    message_id: str
    status: str
    enqueued_at: float
    device_id: str
    generation_id: str

    def to_json(self) -> dict[str, Any]:
        """Return the record as the feedback endpoint has it."""
        return {
            "originalMessageId": self.message_id,
            "enqueuedTimeUtc": timestamp(self.enqueued_at),
            "statusCode": self.status,
            "description": self.status,
            "deviceId": self.device_id,
            "deviceGenerationId": self.generation_id,
        }


def enqueue(queue: Queue, message: CloudMessage, now: float) -> Queue | Fault:
    """Put a message at the end of the queue.

    Expired messages must have been taken out before.
    """
    if message.ack not in ACKS:
        return Fault(Code.ArgumentInvalid, f"ack: allowed are {', '.join(ACKS)}")
    bags = (*message.properties.items(), *message.system.items())
    size = len(message.payload) + sum(
        len(text.encode(errors="replace")) for pair in bags for text in pair if text
    )
    if size > MAX_SIZE:
        return Fault(Code.MessageTooLarge, f"a message of {size} bytes; allowed: {MAX_SIZE}")
    if len(queue.messages) >= MAX_MESSAGES:
        return Fault(Code.DeviceMaximumQueueDepthExceeded, f"{MAX_MESSAGES} messages wait already")
    expires_at = message.expires_at or now + DEFAULT_LIFE
    if not now < expires_at <= now + MAX_LIFE:
        return Fault(Code.ArgumentInvalid, "expiry: allowed is a time within the next two days")
    sequence = queue.sequence + 1
    queued = replace(message, expires_at=expires_at, sequence=sequence, enqueued_at=now)
    return Queue((*queue.messages, queued), sequence)


@dataclass(frozen=True, slots=True)
class Ended:
    """A queue after some messages have left it, and how each of them ended."""

    queue: Queue
    ended: tuple[tuple[CloudMessage, str], ...] = ()


def expire(queue: Queue, now: float) -> Ended:
    """Take out the messages whose time has passed."""
    return _end(queue, {m.sequence: EXPIRED for m in queue.messages if m.expires_at <= now})


def complete(queue: Queue, sequence: int) -> Ended:
    """Take out a message that its device has acknowledged: PUBACK is the completion."""
    return _end(queue, {sequence: SUCCESS})


def purge(queue: Queue) -> Ended:
    """Take out all messages."""
    return _end(queue, {message.sequence: PURGED for message in queue.messages})


def redeliver(queue: Queue, sequence: int, *, counted: bool) -> Ended:
    """Put a delivered message back whose lock has ended.

    Args:
        queue: with the message.
        sequence: of the message.
        counted: whether this counts towards ``maxDeliveryCount``: so in azure-docs until about
            2025; in the text of 02/2026 only an explicit abandon does, which MQTT does not have.
    """
    if not counted:
        return Ended(queue)
    raised = tuple(
        replace(m, deliveries=m.deliveries + 1) if m.sequence == sequence else m
        for m in queue.messages
    )
    over = {m.sequence: EXCEEDED for m in raised if m.deliveries >= MAX_DELIVERIES}
    return _end(replace(queue, messages=raised), over)


def _end(queue: Queue, outcomes: Mapping[int, str]) -> Ended:
    if not outcomes:
        return Ended(queue)
    left = tuple(m for m in queue.messages if m.sequence not in outcomes)
    ended = tuple((m, outcomes[m.sequence]) for m in queue.messages if m.sequence in outcomes)
    return Ended(replace(queue, messages=left), ended)


def feedback_wanted(message: CloudMessage, status: str) -> bool:
    """Return whether the sender of a message wants to know of its end."""
    if message.ack == "full":
        return True
    return message.ack == ("positive" if status == SUCCESS else "negative")
