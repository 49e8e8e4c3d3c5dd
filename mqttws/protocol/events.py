"""Events of a connection, in the past tense.

Packets say what was on the wire; events say what it means. PUBREC, PUBREL, PUBCOMP and PINGRESP
stay inside. An answer carries the packet identifier of its question.
"""

from dataclasses import dataclass

from ..errors import MqttwsError, UnexpectedPacket
from ..wire import Connect, Subscription, Will


@dataclass(slots=True)
class Connected:
    """The server accepted the connection.

    Attributes:
        session_present: whether the server kept the session.
    """

    session_present: bool


@dataclass(slots=True)
class ConnectRejected:
    """The server refused the connection; it is closed.

    Attributes:
        return_code: of CONNACK, 1 to 5.
    """

    return_code: int


@dataclass(slots=True)
class MessageReceived:
    """A message arrived. With QoS 1 and 2 it waits for ``acknowledge(packet_id)``.

    Attributes:
        topic: topic name.
        payload: bytes, perhaps none.
        qos: 0, 1 or 2.
        retain: whether the server had kept it before this client subscribed.
        dup: whether it was sent before.
        packet_id: 1 to 65535; None with QoS 0.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int | None


@dataclass(slots=True)
class PublishCompleted:
    """The peer owns the message of QoS 1 or 2; its packet identifier is free again.

    Attributes:
        packet_id: of the PUBLISH.
        downgraded: whether the peer ended a QoS 2 exchange with PUBACK: delivery is at least once.
    """

    packet_id: int
    downgraded: bool = False


@dataclass(slots=True)
class PublishRestarted:
    """The peer lost a QoS 2 message that it had accepted; it is published anew.

    The messages of the session that it had not accepted are published anew without an event.

    Attributes:
        packet_id: of the PUBLISH.
    """

    packet_id: int


@dataclass(slots=True)
class AnswerIgnored:
    """An acknowledgement that fits no exchange came.

    It was answered where the standard has an answer (PUBREL for PUBREC), and changed nothing.

    Attributes:
        packet_id: of the acknowledgement.
        error: what does not fit.
    """

    packet_id: int
    error: UnexpectedPacket


@dataclass(slots=True)
class RequestFailed:
    """The answer to a SUBSCRIBE does not fit it. The request has ended.

    Attributes:
        packet_id: of the SUBSCRIBE.
        error: what does not fit.
    """

    packet_id: int
    error: UnexpectedPacket


@dataclass(slots=True)
class MessageDiscarded:
    """A message over the size limit was acknowledged, and its payload dropped as it came.

    Attributes:
        topic: topic name.
        size: of the whole packet, in bytes.
        qos: 0, 1 or 2.
    """

    topic: str
    size: int
    qos: int


@dataclass(slots=True)
class SubscribeCompleted:
    """The server answered a SUBSCRIBE.

    Attributes:
        packet_id: of the SUBSCRIBE.
        return_codes: for each filter the granted QoS, or ``REFUSED`` (0x80).
    """

    packet_id: int
    return_codes: list[int]


@dataclass(slots=True)
class UnsubscribeCompleted:
    """The server answered an UNSUBSCRIBE.

    Attributes:
        packet_id: of the UNSUBSCRIBE.
    """

    packet_id: int


@dataclass(slots=True)
class ConnectionClosed:
    """The connection is over, and this is its last event.

    Attributes:
        error: the reason; None where one side left on purpose.
    """

    error: MqttwsError | None


@dataclass(slots=True)
class ConnectReceived:
    """A client asked for a connection; it waits for ``accept`` or ``refuse``.

    Attributes:
        connect: the CONNECT packet, with ``client_id``, ``username`` and ``password``.
    """

    connect: Connect


@dataclass(slots=True)
class SubscribeReceived:
    """A client asked for messages; it waits for ``suback``.

    Attributes:
        packet_id: of the SUBSCRIBE, for ``suback``.
        subscriptions: each has a ``topic_filter`` and the ``qos`` that was asked for.
    """

    packet_id: int
    subscriptions: list[Subscription]


@dataclass(slots=True)
class UnsubscribeReceived:
    """A client has sent UNSUBSCRIBE; it waits for ``unsuback``.

    Attributes:
        packet_id: of the UNSUBSCRIBE, for ``unsuback``.
        topic_filters: as they were sent.
    """

    packet_id: int
    topic_filters: list[str]


@dataclass(slots=True)
class WillDue:
    """A client with a will was lost without DISCONNECT: the will is to be published.

    Attributes:
        will: has ``topic``, ``payload``, ``qos`` and ``retain``.
    """

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
