"""Arguments of the clients' calls, turned into what the protocol takes."""

from collections.abc import Iterable

from ..errors import UsageError
from ..utf8 import utf8
from ..wire import Subscribe, Subscription

Filters = str | Iterable[str | tuple[str, int]]
"""One topic filter, or several; each with its QoS where it is not the one of all."""

Payload = bytes | bytearray | memoryview | str
"""A message's content; text goes as UTF-8."""


def subscriptions_of(topic_filter: Filters, qos: int) -> list[Subscription]:
    """Return the subscriptions of one filter, or of several filters or (filter, QoS) pairs.

    Raises:
        UsageError: one breaks a rule, or there is none.
    """
    given = _pairs([topic_filter] if isinstance(topic_filter, str) else topic_filter, qos)
    if not given:
        raise UsageError("topic_filter: found none; allowed: at least one")
    subscriptions = [Subscription(*pair) for pair in given]
    Subscribe(1, subscriptions).encode()  # what breaks a rule is refused before it is waited for
    return subscriptions


def _pairs(given: Iterable[str | tuple[str, int]], qos: int) -> list[tuple[str, int]]:
    pairs = []
    try:
        for each in given:
            topic_filter, its_qos = (each, qos) if isinstance(each, str) else each
            pairs.append((topic_filter, its_qos))
    except (TypeError, ValueError):
        raise UsageError(
            "topic filters: allowed: one str, several, or (filter, QoS) pairs"
        ) from None
    return pairs


def payload_bytes(payload: object) -> bytes:
    """Return a payload's bytes; text is sent as UTF-8."""
    if isinstance(payload, str):
        return utf8(payload, "payload")
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise UsageError(f"payload: found {type(payload).__name__}; allowed: bytes or str")
