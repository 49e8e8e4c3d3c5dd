"""Streams: the application's side of the inbox."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from .inbox import Inbox
from .message import ReceivedMessage


class MessageStream(AsyncIterator[ReceivedMessage]):
    """Messages as they come: ``async for message in client.messages("sensors/#")``.

    Cancelling a wait loses no message and does not end the stream. ``close`` (or leaving
    ``with client.messages("sensors/#") as stream:``) closes a stream with a filter.

    Args:
        inbox: where the messages wait.
        topic_filter: None for what no other stream gets.
        ended: says that nothing more will come; raises the reason, if it was not on purpose.
    """

    __slots__ = ("_buffer", "_closed", "_ended", "_filter", "_inbox")

    def __init__(self, inbox: Inbox, topic_filter: str | None, ended: Callable[[], bool]) -> None:
        self._inbox = inbox
        self._filter = topic_filter
        self._ended = ended
        self._closed = False
        self._buffer = inbox.open(topic_filter)

    async def __anext__(self) -> ReceivedMessage:
        """Wait for the next message.

        Raises:
            UsageError: the client was never connected.
            MqttwsError: the reason for the client's end, if that was not asked for.
        """
        buffer = self._buffer
        if buffer.unsettled and self._inbox.settle is not None:
            # After a crash only the last message handed over may come again [MQTT-4.3.3-2].
            await self._inbox.settle()
            buffer.unsettled = False
        while not buffer.messages:
            if self._closed or self._ended():
                raise StopAsyncIteration
            reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            buffer.readers.append(reader)
            try:
                await reader
            except BaseException:
                if reader.done() and not reader.cancelled():
                    buffer.wake()  # what it was woken for is for another
                elif reader in buffer.readers:
                    buffer.readers.remove(reader)
                raise
        return self._inbox.take(buffer)

    @property
    def _more(self) -> bool:
        """Whether a message waits."""
        return bool(self._buffer.messages)

    @property
    def _stored(self) -> bool:
        """Whether hand-overs are written to a store."""
        return self._inbox.settle is not None

    def close(self) -> None:
        """Close the stream; messages that wait in it go to another that is open."""
        self._close(())

    def _close(self, taken: Iterable[ReceivedMessage]) -> None:
        """Close; ``taken`` are the oldest of those, where they were taken ahead and not used."""
        self._closed = True
        if self._filter is not None:
            self._inbox.close(self._filter, taken)

    def __enter__(self) -> "MessageStream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
