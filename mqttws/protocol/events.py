"""Events of a connection, in the past tense.

Packets say what was on the wire; events say what it means. PUBREC, PUBREL, PUBCOMP and PINGRESP
stay inside. An answer carries the packet identifier of its question.
"""

from dataclasses import dataclass

from ..errors import MqttwsError, UnexpectedPacket
from ..wire import Connect, Subscription, Will


@dataclass(slots=True)
class Connected:
    """The server accepted the connection; ``session_present`` says that it kept the session."""

    session_present: bool


@dataclass(slots=True)
class ConnectRejected:
    """The server refused the connection with CONNACK code 1 to 5; it is closed."""

    return_code: int


@dataclass(slots=True)
class MessageReceived:
    """A message arrived. With QoS 1 and 2 it waits for ``acknowledge(packet_id)``."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int | None


@dataclass(slots=True)
class PublishCompleted:
    """The peer owns the message of QoS 1 or 2; its packet identifier is free again.

    ``downgraded`` says that it ended a QoS 2 exchange with PUBACK: delivery is at least once.
    """

    packet_id: int
    downgraded: bool = False


@dataclass(slots=True)
class PublishRestarted:
    """The peer lost a QoS 2 message that it had accepted; it is published anew.

    The messages of the session that it had not accepted are published anew without an event.
    """

    packet_id: int


@dataclass(slots=True)
class AnswerIgnored:
    """An acknowledgement that fits no exchange came; ``error`` says what does not fit.

    It was answered where the standard has an answer (PUBREL for PUBREC), and changed nothing.
    """

    packet_id: int
    error: UnexpectedPacket


@dataclass(slots=True)
class RequestFailed:
    """The answer to a SUBSCRIBE does not fit it; ``error`` says why. The request has ended."""

    packet_id: int
    error: UnexpectedPacket


@dataclass(slots=True)
class MessageDiscarded:
    """A message over the size limit was acknowledged, and its payload dropped as it came.

    ``size`` is the whole packet's in bytes.
    """

    topic: str
    size: int
    qos: int


@dataclass(slots=True)
class SubscribeCompleted:
    """The server answered a SUBSCRIBE: for each filter the granted QoS, or 0x80 for refused."""

    packet_id: int
    return_codes: list[int]


@dataclass(slots=True)
class UnsubscribeCompleted:
    """The server answered an UNSUBSCRIBE."""

    packet_id: int


@dataclass(slots=True)
class ConnectionClosed:
    """The connection is over, and this is its last event: ``error`` says why, None on purpose."""

    error: MqttwsError | None


@dataclass(slots=True)
class ConnectReceived:
    """A client asked for a connection; it waits for ``accept`` or ``refuse``."""

    connect: Connect


@dataclass(slots=True)
class SubscribeReceived:
    """A client asked for messages; it waits for ``suback``."""

    packet_id: int
    subscriptions: list[Subscription]


@dataclass(slots=True)
class UnsubscribeReceived:
    """A client has sent UNSUBSCRIBE; it waits for ``unsuback``."""

    packet_id: int
    topic_filters: list[str]


@dataclass(slots=True)
class WillDue:
    """A client with a will was lost without DISCONNECT: the will is to be published."""

    will: Will


Event = (
    Connected
    | ConnectRejected
    | MessageReceived
    | MessageDiscarded
    | PublishCompleted
    | PublishRestarted
    | AnswerIgnored
    | RequestFailed
    | SubscribeCompleted
    | UnsubscribeCompleted
    | ConnectionClosed
    | ConnectReceived
    | SubscribeReceived
    | UnsubscribeReceived
    | WillDue
)
"""Anything that can happen on a connection."""
