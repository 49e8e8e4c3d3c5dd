"""Messages that have come and wait for the application, sorted into its streams.

Knows which stream gets which message, and how much waits. Does not know connections: what handing a
message out means for the server is the client's matter.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from ..wire import matches, topic_filter_fault

logger = logging.getLogger("mqttws.client")
"""What a client does on its own: reconnecting, and messages that no stream wanted."""


@dataclass(slots=True)
class ReceivedMessage:
    """A message that a subscription brought.

    Attributes:
        topic: the topic name it was published to.
        payload: its bytes.
        qos: 0, 1 or 2, as it was sent to us.
        retain: whether it was sent because the server had kept it.
        dup: whether the server may have sent it before.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    _packet_id: int | None = field(default=None, repr=False, compare=False)
    _link: Any = field(default=None, repr=False, compare=False)
    _acknowledge: Callable[["ReceivedMessage"], None] | None = field(
        default=None, repr=False, compare=False
    )

    def ack(self) -> None:
        """Tell the server that this message is ours now, where ``manual_ack`` was asked for.

        Twice does no harm, nor does it where messages are acknowledged automatically. After a lost
        connection the server sends a message of QoS 1 again, whatever was acknowledged meanwhile.
        """
        acknowledge, self._acknowledge = self._acknowledge, None
        if acknowledge is not None:
            acknowledge(self)


MESSAGE_COST = 400
"""Bytes that a waiting message takes beside its topic and payload."""


def _cost(message: ReceivedMessage) -> int:
    return len(message.payload) + len(message.topic) + MESSAGE_COST


class Buffer:
    """The messages of one stream, and who waits for them."""

    __slots__ = ("messages", "opened", "readers", "unsettled")

    def __init__(self) -> None:
        self.messages: deque[ReceivedMessage] = deque()
        self.readers: deque[asyncio.Future[None]] = deque()
        self.opened = False
        self.unsettled = False  # whether the last hand-over may not be in the store yet

    def wake(self) -> None:
        """Let one reader look."""
        while self.readers:
            reader = self.readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return

    def wake_all(self) -> None:
        """Let every reader look."""
        while self.readers:
            self.wake()


class Inbox:
    """Sorts messages into streams.

    A message goes to exactly one stream: the first opened whose filter matches, else the one
    without a filter. If streams with filters are open and none without one ever was, what matches
    none of them is passed over.

    Args:
        on_left: told of each message that leaves, and whether it was handed to the application
            (True) or passed over.

    Attributes:
        count: how many messages wait.
        size: about how many bytes they take.
        unmatched: how many were passed over.
        settle: waits until what was handed over is in the store; None where nothing is stored.
    """

    def __init__(self, on_left: Callable[[ReceivedMessage, bool], None]) -> None:
        self.count = 0
        self.size = 0
        self.unmatched = 0
        self.settle: Callable[[], Awaitable[None]] | None = None
        self._on_left = on_left
        self._rest = Buffer()
        self._filtered: dict[str, Buffer] = {}

    def put(self, message: ReceivedMessage) -> None:
        """Take a message in."""
        self.count += 1
        self.size += len(message.payload) + len(message.topic) + MESSAGE_COST  # hot: as _cost
        buffer = self._buffer_for(message.topic) if self._filtered else self._rest
        if buffer is None:
            self._pass_over(message)
            return
        buffer.messages.append(message)
        if buffer.readers:
            buffer.wake()

    def take(self, buffer: Buffer) -> ReceivedMessage:
        """Hand the oldest message of a stream out."""
        message = buffer.messages.popleft()
        self.count -= 1
        self.size -= len(message.payload) + len(message.topic) + MESSAGE_COST  # hot: as _cost
        self._on_left(message, True)
        buffer.unsettled = message.qos == 2 and self.settle is not None
        return message

    def open(self, topic_filter: str | None) -> Buffer:
        """Open a stream, or share the open one with the same filter.

        Raises:
            UsageError: the filter is not valid.
        """
        if topic_filter is None:
            self._rest.opened = True
            return self._rest
        if not isinstance(topic_filter, str):
            raise UsageError(f"topic filter {topic_filter!r}; allowed: text")
        if fault := topic_filter_fault(topic_filter):
            rule, found, allowed = fault
            raise UsageError(f"{found}; allowed: {allowed}", rule=rule)
        if topic_filter not in self._filtered:
            buffer = self._filtered[topic_filter] = Buffer()
            self._claim(topic_filter, buffer)
        return self._filtered[topic_filter]

    def close(self, topic_filter: str, taken: Iterable[ReceivedMessage] = ()) -> None:
        """Close a stream; what waits in it is sorted again, behind what was ``taken`` ahead."""
        buffer = self._filtered.pop(topic_filter, None)
        for message in taken:
            self.put(message)
        if buffer is None:
            return
        left = list(buffer.messages)
        buffer.messages.clear()
        buffer.wake_all()
        for message in left:
            self.count -= 1
            self.size -= _cost(message)
            self.put(message)

    def sweep(self) -> None:
        """Pass over what waits for a stream without a filter that nobody opened."""
        if self._filtered and not self._rest.opened:
            left = list(self._rest.messages)
            self._rest.messages.clear()
            for message in left:
                self._pass_over(message)

    def drop(self, unwanted: Callable[[ReceivedMessage], bool]) -> None:
        """Forget the waiting messages that are ``unwanted``; they are not handed out."""
        for buffer in self._buffers():
            kept = [message for message in buffer.messages if not unwanted(message)]
            buffer.messages.clear()
            buffer.messages.extend(kept)
        waiting = [message for buffer in self._buffers() for message in buffer.messages]
        self.count = len(waiting)
        self.size = sum(_cost(message) for message in waiting)

    def wake_all(self) -> None:
        """Let everybody who waits look: the client has ended."""
        for buffer in self._buffers():
            buffer.wake_all()

    def _buffers(self) -> list[Buffer]:
        return [self._rest, *self._filtered.values()]

    def _buffer_for(self, topic: str) -> Buffer | None:
        for topic_filter, buffer in self._filtered.items():
            if matches(topic_filter, topic):
                return buffer
        return self._rest if self._rest.opened else None

    def _claim(self, topic_filter: str, buffer: Buffer) -> None:
        """Move what came before any stream was opened and belongs to this one."""
        if self._rest.opened:
            return
        waiting = list(self._rest.messages)
        self._rest.messages.clear()
        for message in waiting:
            mine = matches(topic_filter, message.topic)
            (buffer if mine else self._rest).messages.append(message)

    def _pass_over(self, message: ReceivedMessage) -> None:
        if not self.unmatched:
            logger.warning("a message to %r matches no open stream; told once", message.topic)
        self.unmatched += 1
        self.count -= 1
        self.size -= _cost(message)
        self._on_left(message, False)


class MessageStream(AsyncIterator[ReceivedMessage]):
    """Messages as they come: ``async for message in client.messages("sensors/#")``.

    Cancelling a wait loses no message and does not end the stream. ``close`` (or leaving
    ``with client.messages("sensors/#") as stream:``) closes a stream with a filter.

    Args:
        inbox: where the messages wait.
        topic_filter: None for what no other stream gets.
        ended: says that nothing more will come; raises why, if it was not on purpose.
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
            MqttwsError: why the client ended, if it was not asked to.
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
    def more(self) -> bool:
        """Whether a message waits."""
        return bool(self._buffer.messages)

    @property
    def stored(self) -> bool:
        """Whether hand-overs are written to a store."""
        return self._inbox.settle is not None

    def close(self, taken: Iterable[ReceivedMessage] = ()) -> None:
        """Close the stream; messages that wait in it go to another that is open.

        Args:
            taken: the oldest of them, where they were taken ahead and not handed to anybody.
        """
        self._closed = True
        if self._filter is not None:
            self._inbox.close(self._filter, taken)

    def __enter__(self) -> "MessageStream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
