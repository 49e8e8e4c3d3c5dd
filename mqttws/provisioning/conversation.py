"""One connection to DPS at work: opened, subscribed, and read message by message.

Knows the client's link and that a register request may go out before CONNACK. Does not know what
the messages mean, nor whether there is another connection behind this one.
"""

import asyncio
from collections import deque

from ..client.link import Link
from ..client.store import Step as StoreStep
from ..client.trace import OnPacket, tracer_for
from ..dps.topics import RESPONSE_FILTER, Message
from ..errors import ConnectionLost, MqttwsError, SubscribeRefused
from ..net.stream import Stream
from ..protocol import ClientProtocol, Event, MessageReceived, PublishCompleted
from ..wire import DEFAULT_MAX_PACKET_SIZE, REFUSED, Connect, Subscription


class Conversation:
    """One connection; it owns its link.

    Args:
        connect: the CONNECT packet, of a clean session.
        answer_timeout: seconds within which CONNACK must come.
        pipelined: whether SUBSCRIBE goes out before CONNACK.
        on_packet: called with each packet sent and received.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        answer_timeout: float,
        pipelined: bool,
        on_packet: OnPacket | None,
    ) -> None:
        protocol = ClientProtocol(connect, answer_timeout=answer_timeout, pipelined=pipelined)
        tracer = tracer_for(DEFAULT_MAX_PACKET_SIZE, on_packet)
        self._link = Link(protocol, self, journal=None, tracer=tracer, number=1)
        self._pipelined = pipelined
        self._granted: asyncio.Future[list[int]] | None = None
        self._messages: deque[Message] = deque()
        self._news: asyncio.Future[None] | None = None
        self._ended = False
        self._error: MqttwsError | None = None

    async def open(self, stream: Stream, request: Message | None = None) -> None:
        """Send CONNECT over ``stream`` and wait for CONNACK.

        Args:
            stream: to the server.
            request: a first request to send before CONNACK; only where it is pipelined.

        Raises:
            ConnectFailed: the server refused, or its answer was not MQTT.
        """
        self._link.begin(stream)
        if self._pipelined:
            self._subscribe()
        if request is not None:
            self.send(request)
        await self._link.opened()

    async def subscribed(self) -> int:
        """Subscribe to the answers, and wait for SUBACK; return the QoS that was granted.

        Raises:
            SubscribeRefused: the server refused.
            MqttwsError: why the connection ended first.
        """
        granted = self._granted or self._subscribe()
        code = (await granted)[0]
        if code == REFUSED:
            raise SubscribeRefused(
                f"subscribe: the server refused topic filter {RESPONSE_FILTER!r}",
                topic_filter=RESPONSE_FILTER,
                hint="it is not a DPS endpoint: check the host",
            )
        return code

    def _subscribe(self) -> "asyncio.Future[list[int]]":
        wanted = [Subscription(RESPONSE_FILTER, 1)]
        self._granted = self._link.begin_request(lambda protocol: protocol.subscribe(wanted))
        return self._granted

    def send(self, message: Message) -> None:
        """Publish a message with QoS 1.

        Its PUBACK is not awaited, since the answer to the request says more.

        Raises:
            MqttwsError: why the connection has ended.
        """
        if self._ended:
            raise self._end()
        self._link.protocol.publish(message.topic, message.payload, 1)
        self._link.flush_soon()

    async def next_message(self, timeout: float | None = None) -> Message | None:
        """Return the next message; None if there is none within ``timeout`` seconds.

        Raises:
            MqttwsError: why the connection has ended, once all messages have been returned.
        """
        if not self._messages and not self._ended:
            self._news = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._news], timeout=timeout)
        if self._messages:
            return self._messages.popleft()
        if self._ended:
            raise self._end()
        return None

    async def leave(self, timeout: float) -> None:
        """Send DISCONNECT and close, without waiting for the server's close."""
        try:
            await self._link.finish(timeout)
        finally:
            closing = self._link.closing
            if closing is not None:  # the link has ended for an error, and said so
                await asyncio.sleep(0)
                closing.cancel()
                await asyncio.gather(closing, return_exceptions=True)

    def _end(self) -> MqttwsError:
        return self._error or ConnectionLost("the connection was closed")

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # What the link tells

    def on_connected(self, link: Link, session_present: bool) -> None:
        """Nothing is kept in a clean session."""

    def on_message(self, link: Link, event: MessageReceived) -> None:
        """Keep a message, and acknowledge it."""
        self._messages.append(Message(event.topic, event.payload))
        if event.packet_id is not None:
            link.protocol.acknowledge(event.packet_id)  # the link sends it after its events
        self._wake()

    def on_completed(self, event: PublishCompleted) -> None:
        """A PUBACK says less than the answer."""

    def on_oddity(self, link: Link, event: Event) -> None:
        """An acknowledgement that fits nothing changes nothing."""

    def on_ready(self, link: Link) -> None:
        """Nothing waits to be sent."""

    def take_steps(self) -> list[StoreStep]:
        """Nothing is stored."""
        return []

    def on_end(self, link: Link, error: MqttwsError | None) -> None:
        """Note why the connection has ended."""
        self._ended = True
        self._error = error
        self._wake()
