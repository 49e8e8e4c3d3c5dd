"""Arguments of the clients' calls, turned into what the protocol takes."""

from collections.abc import Iterable

from ..errors import UsageError
from ..wire import Subscribe, Subscription

Payload = bytes | bytearray | memoryview | str
"""A message's content; text goes as UTF-8."""


def subscriptions_of(topic_filter: str | Iterable[tuple[str, int]], qos: int) -> list[Subscription]:
    """Return the subscriptions of one filter, or of several (filter, QoS) pairs.

    Raises:
        UsageError: one breaks a rule, or there is none.
    """
    given = [(topic_filter, qos)] if isinstance(topic_filter, str) else _pairs(topic_filter)
    if not given:
        raise UsageError("topic_filter: found none; allowed: at least one")
    subscriptions = [Subscription(*pair) for pair in given]
    Subscribe(1, subscriptions).encode()  # what breaks a rule is refused before it is waited for
    return subscriptions


def _pairs(given: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    try:
        return [(topic_filter, qos) for topic_filter, qos in given]
    except (TypeError, ValueError):
        raise UsageError("topic filters: allowed: one str, or (filter, QoS) pairs") from None


def payload_bytes(payload: object) -> bytes:
    """Return a payload's bytes; text is sent as UTF-8."""
    if isinstance(payload, str):
        try:
            return payload.encode()
        except UnicodeEncodeError:
            raise UsageError("payload: text with a lone surrogate has no UTF-8") from None
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise UsageError(f"payload: found {type(payload).__name__}; allowed: bytes or str")
