"""Messages that have come and wait for the application, sorted into its streams.

Knows which stream gets which message, how much waits, and which messages fit no stream. Does not
know connections: what handing a message out means for the server is the client's matter.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from ..errors import UsageError
from ..wire import matches, topic_filter_fault
from .filters import FilterIndex
from .message import ReceivedMessage
from .patience import Patience

logger: logging.Logger = logging.getLogger("mqttws.client")
"""What a client does on its own: reconnecting, and messages that fit no stream."""

MESSAGE_COST = 400
"""Bytes that a waiting message takes beside its topic and payload."""

MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""Bytes of messages that may wait for the application before the socket is left unread."""


def _cost(message: ReceivedMessage) -> int:
    return len(message.payload) + len(message.topic) + MESSAGE_COST


class Buffer:
    """The messages of one stream, and its readers."""

    __slots__ = ("messages", "readers", "unsettled")

    def __init__(self) -> None:
        self.messages: deque[ReceivedMessage] = deque()
        self.readers: deque[asyncio.Future[None]] = deque()
        self.unsettled: bool = False  # whether the last hand-over may not be in the store yet

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
    without a filter. A message that fits no open stream waits for one that is opened later: first
    unacknowledged, while ``patience`` lasts; then acknowledged and kept, the newest ``max_kept`` of
    them.

    Args:
        on_taken: called with each message that is handed out.
        acknowledge: acknowledges a message to the server; one of QoS 0 needs none.
        max_kept: how many acknowledged messages without a stream are kept.
        wait: seconds of ``patience``; None for ever.

    Attributes:
        patience: how long messages without a stream stay unacknowledged.
        on_given_up: called when it is over, and they have been acknowledged.
        count: how many messages wait, those that were given up not counted.
        size: about how many bytes they take.
        unmatched: how many messages were acknowledged, or of QoS 0, and fitted no stream.
        dropped: how many of those were dropped, since there were too many to keep.
        settle: waits until the hand-overs are in the store; None where nothing is stored.
    """

    def __init__(
        self,
        on_taken: Callable[[ReceivedMessage], None],
        acknowledge: Callable[[ReceivedMessage], None],
        max_kept: int,
        wait: float | None,
    ) -> None:
        self.patience: Patience = Patience(wait, self._give_up_waiting)
        self.on_given_up: Callable[[], None] | None = None
        self.count: int = 0
        self.size: int = 0
        self.unmatched: int = 0
        self.dropped: int = 0
        self.settle: Callable[[], Awaitable[None]] | None = None
        self._on_taken = on_taken
        self._acknowledge = acknowledge
        self._max_kept = max_kept
        self._rest = Buffer()  # of the stream without a filter
        self._rest_opened = False
        self._filtered: FilterIndex[Buffer] = FilterIndex()
        self._unmatched: deque[ReceivedMessage] = deque()  # those that still wait unacknowledged
        self._kept: deque[ReceivedMessage] = deque()  # those that were given up
        self._kept_size = 0

    def put(self, message: ReceivedMessage) -> None:
        """Take a message in."""
        if self._filtered:
            buffer = self._filtered.match(message.topic)
            if buffer is None and self._rest_opened:
                buffer = self._rest
        else:
            buffer = self._rest if self._rest_opened else None
        if buffer is None:
            self._put_unmatched(message)
            return
        self.count += 1
        self.size += len(message.payload) + len(message.topic) + MESSAGE_COST  # hot: as _cost
        buffer.messages.append(message)
        if buffer.readers:
            buffer.wake()

    def take(self, buffer: Buffer) -> ReceivedMessage:
        """Hand the oldest message of a stream out."""
        message = buffer.messages.popleft()
        self.count -= 1
        self.size -= len(message.payload) + len(message.topic) + MESSAGE_COST  # hot: as _cost
        self._on_taken(message)
        buffer.unsettled = message.qos == 2 and self.settle is not None
        return message

    def open(self, topic_filter: str | None) -> Buffer:
        """Open a stream, or share the open one with the same filter.

        Raises:
            UsageError: the filter is not valid.
        """
        if topic_filter is None:
            if not self._rest_opened:
                self._rest_opened = True
                self._claim(None, self._rest)
            return self._rest
        if not isinstance(topic_filter, str):
            raise UsageError(f"topic filter {topic_filter!r}; allowed: text")
        if fault := topic_filter_fault(topic_filter):
            rule, found, allowed = fault
            raise UsageError(f"{found}; allowed: {allowed}", rule=rule)
        buffer = self._filtered.get(topic_filter)
        if buffer is None:
            buffer = Buffer()
            self._filtered.add(topic_filter, buffer)
            self._claim(topic_filter, buffer)
        return buffer

    def close(self, topic_filter: str, taken: Iterable[ReceivedMessage] = ()) -> None:
        """Close a stream; what waits in it is sorted again, behind what was ``taken`` ahead."""
        buffer = self._filtered.pop(topic_filter)
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

    def drop(self, unwanted: Callable[[ReceivedMessage], bool]) -> None:
        """Forget the waiting messages that are ``unwanted``; they are not handed out."""
        places = [self._unmatched, *(buffer.messages for buffer in self._buffers())]
        for place in places:
            kept = [message for message in place if not unwanted(message)]
            place.clear()
            place.extend(kept)
        waiting = [message for place in places for message in place]
        self.count = len(waiting)
        self.size = sum(map(_cost, waiting))

    def wake_all(self) -> None:
        """Let every reader look: the client has ended."""
        for buffer in self._buffers():
            buffer.wake_all()

    def _buffers(self) -> list[Buffer]:
        return [self._rest, *self._filtered.values()]

    def _claim(self, topic_filter: str | None, buffer: Buffer) -> None:
        """Move what fitted no stream so far, and fits this one, into it; in its order."""
        if not self._kept and not self._unmatched:
            return

        def fits(message: ReceivedMessage) -> bool:
            return topic_filter is None or matches(topic_filter, message.topic)

        for message in self._kept:
            if fits(message):
                buffer.messages.append(message)
                self._kept_size -= _cost(message)
                self.count += 1
                self.size += _cost(message)
        buffer.messages.extend(filter(fits, self._unmatched))
        self._kept = deque(message for message in self._kept if not fits(message))
        self._unmatched = deque(message for message in self._unmatched if not fits(message))

    def _give_up_waiting(self) -> None:
        waiting, self._unmatched = self._unmatched, deque()
        for message in waiting:
            self.count -= 1
            self.size -= _cost(message)
            self._keep(message)
        if self.on_given_up is not None:
            self.on_given_up()

    def _put_unmatched(self, message: ReceivedMessage) -> None:
        any_open = self._rest_opened or len(self._filtered) > 0
        # Without any stream there is none to hold up: what is too much to keep waits at the server.
        full = len(self._kept) >= self._max_kept or self._kept_size >= MAX_UNREAD_BYTES
        if (self.patience.lasts and (message.qos or not any_open)) or (full and not any_open):
            self.count += 1
            self.size += _cost(message)
            self._unmatched.append(message)
        else:
            self._keep(message)

    def _keep(self, message: ReceivedMessage) -> None:
        """Acknowledge a message without a stream, and keep it for one that is opened later."""
        if not self.unmatched:
            logger.warning(
                "a message to %r fits no open stream; it is acknowledged and kept for a later one"
                " (further ones are only counted)",
                message.topic,
            )
        self.unmatched += 1
        self._acknowledge(message)
        self._kept.append(message)
        self._kept_size += _cost(message)
        while len(self._kept) > self._max_kept or self._kept_size > MAX_UNREAD_BYTES:
            if not self.dropped:
                logger.warning("too many messages fit no open stream: the oldest are dropped")
            self.dropped += 1
            self._kept_size -= _cost(self._kept.popleft())
