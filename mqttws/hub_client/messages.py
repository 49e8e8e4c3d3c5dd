"""Messages from the cloud as a stream, acknowledged when a reader has taken them."""

import asyncio
from collections.abc import AsyncIterator

from ..client.streams import MessageStream
from ..errors import RequestTimedOut
from ..hub.device.messages import CloudMessage, parse_cloud_message
from ..options import WAIT
from ..text import shown
from .upkeep import logger


class CloudMessageStream(AsyncIterator[CloudMessage]):
    """Cloud-to-device messages as they come: ``async for message in client.messages()``.

    For a module: the messages on its inputs. Each message is acknowledged when it is handed out, or
    by ``message.ack()`` with ``manual_ack``. One that is not acknowledged comes again on the next
    connection, so a message may come twice, and none is lost. Several readers share the messages.
    """

    def __init__(self, stream: MessageStream, manual_ack: bool) -> None:
        self._stream = stream
        self._manual_ack = manual_ack

    async def __anext__(self) -> CloudMessage:
        """Wait for the next message.

        Raises:
            MqttwsError: why the client ended, if it was not asked to.
        """
        while True:
            received = await anext(self._stream)
            message = parse_cloud_message(received.topic, received.payload, repeated=received.dup)
            if message is not None:
                if self._manual_ack:
                    message._acknowledge = received.ack
                return message
            logger.warning("a message to %s cannot be read", shown(received.topic))
            received.ack()

    async def next(self, timeout: float | None = None) -> CloudMessage:
        """Wait for the next message, ``timeout`` seconds at most; a late one is not lost.

        Raises:
            RequestTimedOut: there was none in time.
            StopAsyncIteration: the client was disconnected.
        """
        WAIT.check(locals())
        try:
            async with asyncio.timeout(timeout):
                return await anext(self)
        except TimeoutError:
            raise RequestTimedOut(f"no message within {timeout:g} s") from None
