"""A message on its way out, and who waits for its end."""

import asyncio
from collections.abc import Generator

from ..errors import MqttwsError, RequestTimedOut
from ..wire import Publish


class Delivery:
    """A message on its way out.

    Attributes:
        topic: the topic name it is published to.
        payload: its bytes.
        qos: 0, 1 or 2.
        retain: whether the server keeps it.
        error: why the client gave it up; None while it is under way, and after success.
    """

    __slots__ = (
        "_done", "_waiters", "accepted", "error", "number", "payload", "qos", "retain", "topic"
    )  # fmt: skip

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.error: MqttwsError | None = None
        self.accepted = False  # sent or queued; from here on it has an end
        self.number = 0  # its place in the queue
        self._done = False
        self._waiters: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        state = "done" if self._done else "under way"
        return f"<{type(self).__name__} {self.topic!r} qos={self.qos} {self.error or state}>"

    @property
    def done(self) -> bool:
        """Whether its end has come, good or bad."""
        return self._done

    @property
    def packet(self) -> Publish:
        """The message as the queue keeps it; its packet identifier is a place-holder."""
        packet_id = 1 if self.qos else None
        return Publish(self.topic, self.payload, self.qos, self.retain, packet_id=packet_id)

    def waiter(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future of its own for somebody who waits."""
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.append(future)
        return future

    def complete(self, error: MqttwsError | None = None) -> None:
        """Wake everybody who waits."""
        if self._done:
            return
        self._done = True
        self.error = error
        for future in self._waiters:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)


class Receipt(Delivery):
    """What ``publish_nowait`` returns: await it to learn that the server has the message.

    With QoS 0 it is done when the message is in the outbox.
    """

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        """Wait for its end; a cancelled wait leaves the message under way.

        Raises:
            ConnectionLost: the client ended first; it is unknown whether the message arrived.
            StoreFailed: it could not be stored.
        """
        if not self._done:
            yield from self.waiter(asyncio.get_running_loop()).__await__()
        elif self.error is not None:
            raise self.error

    async def wait(self, timeout: float | None = None) -> None:
        """Wait for its end, ``timeout`` seconds at most; raises as awaiting it does.

        Raises:
            RequestTimedOut: its end did not come in time; it is still under way.
        """
        try:
            async with asyncio.timeout(timeout):
                await self
        except TimeoutError:
            raise late(self.topic, timeout or 0.0) from None


def late(topic: str, seconds: float) -> MqttwsError:
    """Return the error for a message whose end did not come in time."""
    return RequestTimedOut(
        f"publish to {topic!r}: no answer within {seconds:g} s; the message stays in flight"
    )
