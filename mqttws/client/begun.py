"""A publish that is begun on the loop for a thread: the future of its end, without a task.

Knows the client and its engine; does not know threads.
"""

from asyncio import Future
from collections.abc import Coroutine
from typing import Any

from ..errors import MqttwsError
from .client import AsyncClient
from .receipt import Receipt, late


def begin_publish(
    client: AsyncClient, topic: str, payload: bytes, qos: int, retain: bool = False
) -> Future[None] | Coroutine[Any, Any, None]:
    """Send a message of QoS 1 or 2; return the future of its end, as ``publish`` would end.

    Where there is no room for it, return the coroutine that waits for some.

    Raises:
        UsageError: nothing was sent.
        MqttwsError: the client has ended.
    """
    engine = client._engine
    troubles = engine.troubles.count

    def too_late() -> MqttwsError:
        return late(topic, client._request_timeout, engine.troubles.since(troubles))

    begun = engine.begin_publish(Receipt(topic, payload, qos, retain), too_late)
    return client.publish(topic, payload, qos=qos, retain=retain) if begun is None else begun
