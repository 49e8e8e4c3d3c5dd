"""The session of a device: the subscriptions that outlive its connection.

With CleanSession 0 **all** of them are kept: after a reconnect the released Python SDK sends no
SUBSCRIBE at all, and Node's only some of them; both work against the real hub. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...text import shown
from .identity import Identity
from .requests import documented_filters

MAX_SUBSCRIPTIONS = 5
"""Subscriptions of one device (azure-docs ``iot-mqtt-connect-to-iot-hub.md``)."""


@dataclass(frozen=True, slots=True)
class Session:
    """The state that the hub keeps of a device between connections.

    Attributes:
        kept: whether a connection with CleanSession 0 has made it; the next such connection
            receives SessionPresent 1.
        subscriptions: the QoS that was granted, by topic filter.
    """

    kept: bool = False
    subscriptions: Mapping[str, int] = field(default_factory=dict)


def opened(session: Session, *, clean: bool) -> tuple[Session, bool]:
    """Return the session with which a connection begins, and SessionPresent.

    Args:
        session: as stored.
        clean: the CONNECT's CleanSession.
    """
    if clean:
        return Session(), False
    return (session, True) if session.kept else (Session(kept=True), False)


def subscribed(
    session: Session, identity: Identity, wanted: Sequence[tuple[str, int]]
) -> tuple[Session, list[int]] | str:
    """Return the session with more subscriptions, and the granted QoS of each.

    A reason instead ends the connection: the hub closes it and sends no SUBACK with 0x80
    (azure-iot-middleware-freertos pull 89). QoS 2 is granted as 1.
    """
    allowed = documented_filters(identity.device_id, identity.module_id)
    subscriptions = dict(session.subscriptions)
    codes = []
    for topic_filter, qos in wanted:
        if topic_filter not in allowed:
            return f"the topic filter {shown(topic_filter)}, which is not a documented one"
        codes.append(min(qos, 1))
        subscriptions[topic_filter] = codes[-1]
    if len(subscriptions) > MAX_SUBSCRIPTIONS:
        return f"{len(subscriptions)} subscriptions; allowed: {MAX_SUBSCRIPTIONS}"
    return Session(session.kept, subscriptions), codes


def unsubscribed(session: Session, topic_filters: Sequence[str]) -> Session:
    """Return the session without some subscriptions."""
    left = {
        topic_filter: qos
        for topic_filter, qos in session.subscriptions.items()
        if topic_filter not in topic_filters
    }
    return Session(session.kept, left)
