"""A message on its way out, and those who wait for its end."""

import asyncio
from collections.abc import Callable, Generator

from ..errors import ConnectionLost, DeliveryUnknown, MqttwsError, RequestTimedOut
from ..hops import Cause
from ..options import WAIT
from ..wire import Publish


class Delivery:
    """A message on its way out.

    Attributes:
        topic: the topic name it is published to.
        payload: its bytes.
        qos: 0, 1 or 2.
        retain: whether the server keeps it.
        error: why it was given up; None while it is under way, and after success.
        accepted: whether it was sent or queued; from then on it has an end.
        sent: whether it was sent on any connection.
        downgraded: whether the server answered QoS 2 with PUBACK: it may arrive more than once.
        number: its place in the queue; 0 before.
        packet_id: its packet identifier while it is in flight; else 0.
        on_cancel: takes it out; None before it was accepted.
    """

    __slots__ = (
        "_done", "_waiters", "accepted", "downgraded", "error", "number", "on_cancel", "packet_id",
        "payload", "qos", "retain", "sent", "topic",
    )  # fmt: skip

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.error: MqttwsError | None = None
        self.accepted: bool = False
        self.sent: bool = False
        self.downgraded: bool = False
        self.number: int = 0
        self.packet_id: int = 0
        self.on_cancel: Callable[[Delivery], None] | None = None
        self._done = False
        self._waiters: list[asyncio.Future[None]] | None = None  # made when there is one

    def __repr__(self) -> str:
        state = "done" if self._done else "under way"
        return f"<{type(self).__name__} {self.topic!r} qos={self.qos} {self.error or state}>"

    @property
    def done(self) -> bool:
        """Whether the message was acknowledged, or has failed."""
        return self._done

    @property
    def awaited(self) -> bool:
        """Whether a caller waits for its end."""
        return bool(self._waiters)

    @property
    def packet(self) -> Publish:
        """The message as the queue keeps it; its packet identifier is a place-holder."""
        packet_id = 1 if self.qos else None
        return Publish(self.topic, self.payload, self.qos, self.retain, packet_id=packet_id)

    def _waiter(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future for a caller that waits; ``_forget`` takes it back before the end."""
        future: asyncio.Future[None] = loop.create_future()
        if self._waiters is None:
            self._waiters = [future]
        else:
            self._waiters.append(future)
        return future

    def _forget(self, waiter: "asyncio.Future[None]") -> None:
        """Drop a future that is not waited for any more."""
        if self._waiters is not None and waiter in self._waiters:
            self._waiters.remove(waiter)

    def _complete(self, error: MqttwsError | None = None) -> None:
        """Wake every caller that waits."""
        if self._done:
            return
        self._done = True
        self.error = error
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)


class Receipt(Delivery):
    """The result of ``publish_nowait``: await it for the server's acknowledgement.

    With QoS 0 it is done when the message is in the outbox.
    """

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        """Wait for its end; a cancelled wait leaves the message under way.

        Raises:
            DeliveryUnknown: it is unknown whether the message arrived; the error carries it.
            DeliveryFailed: the message was cancelled, or the server ends each connection for it.
            ConnectionLost: the client ended before it was sent.
            StoreFailed: it could not be stored.
        """
        if not self._done:
            waiter = self._waiter(asyncio.get_running_loop())
            try:
                yield from waiter.__await__()
            except BaseException:
                self._forget(waiter)
                raise
        elif self.error is not None:
            raise self.error

    async def wait(self, timeout: float | None = None) -> None:
        """Wait for the acknowledgement, ``timeout`` seconds at most; raises as awaiting it does.

        Raises:
            RequestTimedOut: its end did not come in time; it is still under way.
        """
        WAIT.check(locals())
        try:
            async with asyncio.timeout(timeout):
                await self
        except TimeoutError as error:
            if isinstance(error, MqttwsError):
                raise
            raise late(self.topic, timeout or 0.0) from None

    def cancel(self) -> bool:
        """Give the message up: it is not sent, or not sent again.

        Return False if its end has come already. What was sent on the present connection may still
        arrive, with QoS 2 out of its order; its packet identifier stays taken until the answer or
        the session's end. With QoS 2 the exchange is ended on the next connection, in the next
        process too if there is a store.
        """
        if self._done or self.on_cancel is None:
            return False
        self.on_cancel(self)
        return True


def late(topic: str, seconds: float, reason: MqttwsError | None = None) -> MqttwsError:
    """Return the error for a message whose end did not come in time."""
    because = f" (the connection was lost meanwhile: {reason})" if reason is not None else ""
    error = RequestTimedOut(
        f"publish to {topic!r}: no answer within {seconds:g} s; the message stays in flight"
        f"{because}"
    )
    error.__cause__ = reason
    return error


def unknown(delivery: Delivery, why: str, reason: MqttwsError | None) -> DeliveryUnknown:
    """Return the error for a message that was sent, and of which no more is known."""
    lost = reason if isinstance(reason, ConnectionLost) else ConnectionLost()
    error = DeliveryUnknown(
        f"publish to {delivery.topic!r}: unknown whether it arrived: {why}",
        cause=Cause.DELIVERY_UNKNOWN,
        close_code=lost.close_code,
        close_reason=lost.close_reason,
        topic=delivery.topic,
        payload=delivery.payload,
        qos=delivery.qos,
        retain=delivery.retain,
    )
    error.__cause__ = reason
    return error
