"""The results of the synchronous client's calls: receipts, and streams of messages.

Knows threads; the work is done on the client's loop.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Self

from ..errors import ConnectionLost, MqttwsError, RequestTimedOut, ServiceFailed, UsageError
from ..hops import Cause
from ..loop_thread import wait_for
from ..options import WAIT
from .message import ReceivedMessage
from .receipt import Delivery, late
from .streams import MessageStream

if TYPE_CHECKING:
    from .sync import Client

BATCH = 100
"""Messages that a thread takes over from the loop at a time; each is acknowledged by itself."""


class SyncReceipt(Delivery):
    """The result of ``Client.publish_nowait``: wait for it for the server's acknowledgement.

    With QoS 0 it is done when the message is in the outbox.
    """

    __slots__ = ("_client", "_events")

    def __init__(
        self, topic: str, payload: bytes, qos: int, retain: bool, client: "Client"
    ) -> None:
        super().__init__(topic, payload, qos, retain)
        self._client = client
        self._events: list[threading.Event] = []

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the acknowledgement, ``timeout`` seconds at most; as ``Receipt.wait``."""
        WAIT.check(locals())
        if not self._done:
            if self._client._thread.is_current:
                raise UsageError(
                    "a wait in the client's own thread would never end", cause=Cause.WRONG_MOMENT
                )
            event = threading.Event()
            self._events.append(event)
            try:
                # Completing it sets _done first and then looks for events: one of us sees both.
                if not self._done and not wait_for(event, timeout):
                    raise late(self.topic, timeout or 0.0)
            finally:
                self._events.remove(event)
        if self.error is not None:
            raise self.error

    def cancel(self) -> bool:
        """Give the message up; as ``Receipt.cancel``."""
        if self._done:
            return False
        return self._client._call(self._cancel)

    async def _cancel(self) -> bool:
        if self._done or self.on_cancel is None:
            return False
        self.on_cancel(self)
        return True

    def _complete(self, error: MqttwsError | None = None) -> None:
        """Wake every thread that waits."""
        super()._complete(error)
        for event in tuple(self._events):
            event.set()

    @property
    def awaited(self) -> bool:
        """Whether a thread waits for its end."""
        return bool(self._events)


class SyncMessageStream(Iterator[ReceivedMessage]):
    """Messages as they come: ``for message in client.messages("sensors/#")``.

    Several threads may share one; ``close`` as ``MessageStream.close``.
    """

    def __init__(
        self,
        client: "Client",
        stream: MessageStream,
        topic_filter: str | None,
        batch: deque[ReceivedMessage],
    ) -> None:
        self._client = client
        self._stream = stream
        self._topic_filter = topic_filter
        self._batch = batch

    def __next__(self) -> ReceivedMessage:
        """Wait for the next message."""
        return self.next()

    def next(self, timeout: float | None = None) -> ReceivedMessage:
        """Wait for the next message, ``timeout`` seconds at most.

        Raises:
            StopIteration: the client was disconnected.
            RequestTimedOut: there was none in time.
            MqttwsError: why the client ended, if it was not asked to.
        """
        client = self._client
        while True:
            try:
                message = self._batch.popleft()
            except IndexError:
                self._refill(timeout)
                continue
            if message._packet_id is not None and client._left_with_server:
                continue
            message._acknowledge = client._acknowledge
            if not client._manual_ack:
                message.ack()
            return message

    def close(self) -> None:
        """Close the stream; messages that wait in it go to another that is open."""

        async def close() -> None:
            taken: list[ReceivedMessage] = []
            if self._topic_filter is not None:
                while self._batch:
                    taken.append(self._batch.popleft())
            self._stream._close(taken)

        self._client._call(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _refill(self, timeout: float | None) -> None:
        WAIT.check(locals())
        try:
            self._client._call(partial(self._take, timeout))
        except StopAsyncIteration:
            raise StopIteration from None
        except (ConnectionLost, ServiceFailed, UsageError):
            # Another thread has left meanwhile: the wait was cut off, or not begun any more.
            if self._client._engine.ended():
                raise StopIteration from None
            raise

    async def _take(self, timeout: float | None) -> None:
        """Wait for one message, and take those that have come with it.

        They go into the batch here, so that none is lost where the thread was interrupted.
        """
        batch = self._batch
        try:
            async with asyncio.timeout(timeout):
                batch.append(await anext(self._stream))
        except TimeoutError as error:
            if isinstance(error, MqttwsError):
                raise
            raise RequestTimedOut(f"no message within {timeout:g} s") from None
        # With a store, one at a time: each hand-over is written before the next.
        while len(batch) < BATCH and self._stream._more and not self._stream._stored:
            batch.append(await anext(self._stream))
