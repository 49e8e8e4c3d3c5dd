"""A small MQTT broker from our own server half: what one client publishes, the matching get.

For tests of the client where no real broker is needed; over ws, wss, mqtt and mqtts.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mqttws.dps.certificates import Chain
from mqttws.errors import MqttwsError
from mqttws.local.link import ServerLink
from mqttws.local.listening import FixedTls, Listener
from mqttws.net.stream import Receiver, Stream
from mqttws.protocol import (
    ConnectionClosed,
    ConnectReceived,
    Event,
    MessageReceived,
    Session,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
)
from mqttws.wire import DEFAULT_MAX_PACKET_SIZE, REFUSED, Connect, matches


class Broker:
    """Takes connections until the context ends.

    Attributes:
        refuse_with: CONNACK code for the next clients; 0 accepts.
        forbidden: topic filters that SUBACK refuses.
        mute: events after which the broker says nothing more.
        sessions: by client id, the sessions of clients that asked for one.
        owed: by client id, messages for a session whose client is away.
        retained: by topic, the message that is kept for later subscribers.
        heard: every message that a client published, in order.
    """

    def __init__(self) -> None:
        self.refuse_with = 0
        self.forbidden: set[str] = set()
        self.mute: type | None = None
        self.sessions: dict[str, Session] = {}
        self.owed: dict[str, list[MessageReceived]] = {}
        self.retained: dict[str, MessageReceived] = {}
        self.heard: list[MessageReceived] = []
        self.connects: list[Connect] = []
        self.links: list[Link] = []
        self.closed: list[MqttwsError | None] = []
        self.port = 0

    @property
    def last(self) -> "Link":
        """The newest connection."""
        return self.links[-1]

    def cut(self) -> None:
        """Drop every client without a word."""
        for link in self.links:
            link.stream.abort()

    def forget(self) -> None:
        """Lose every session, as a broker does that keeps nothing."""
        self.sessions.clear()
        self.owed.clear()

    def route(self, message: MessageReceived) -> None:
        """Give a message to everybody who asked for it, now or later."""
        self.heard.append(message)
        if message.retain:
            self.retained[message.topic] = message
            if not message.payload:
                del self.retained[message.topic]
        here = [link for link in self.links if link.protocol.state is State.CONNECTED]
        for link in here:
            link.protocol.publish(message.topic, message.payload, message.qos)
        for client_id, session in self.sessions.items():
            away = all(link.protocol.session is not session for link in here)
            if away and any(matches(wish, message.topic) for wish in session.granted):
                self.owed.setdefault(client_id, []).append(message)

    def pump(self) -> None:
        """Send what every client is owed."""
        for link in self.links:
            link.pump()


class Link:
    """The handler of one client's connection."""

    def __init__(self, broker: Broker, stream: Stream, label: str) -> None:
        self.broker = broker
        self.stream = Noted(stream)
        self.link = ServerLink(self.stream, label, max_packet_size=DEFAULT_MAX_PACKET_SIZE)
        self.protocol = self.link.protocol
        self._muted = False
        broker.links.append(self)
        self.link.begin(self)

    @property
    def chunks(self) -> list[bytes]:
        """What the client sent, as it came."""
        return self.stream.chunks

    def pump(self) -> None:
        self.link.pump()

    def handle(self, event: Event) -> None:  # noqa: PLR0912 - one branch for each thing asked
        if self.broker.mute is not None and isinstance(event, self.broker.mute):
            self._muted = True
        if isinstance(event, ConnectionClosed):
            self.broker.closed.append(event.error)
        if self._muted:
            return
        if isinstance(event, ConnectReceived):
            self.broker.connects.append(event.connect)
            if self.broker.refuse_with:
                self.protocol.refuse(self.broker.refuse_with)
            else:
                self._accept(event.connect, self.link.loop.time())
        elif isinstance(event, SubscribeReceived):
            codes = [
                REFUSED if wish.topic_filter in self.broker.forbidden else wish.qos
                for wish in event.subscriptions
            ]
            self.protocol.suback(event.packet_id, codes)
            for message in self.broker.retained.values():
                if any(matches(w.topic_filter, message.topic) for w in event.subscriptions):
                    self.protocol.publish(message.topic, message.payload, message.qos, retain=True)
        elif isinstance(event, UnsubscribeReceived):
            self.protocol.unsuback(event.packet_id)
        elif isinstance(event, MessageReceived):
            if event.packet_id is not None:
                if self.protocol.state is State.CONNECTED:
                    self.protocol.acknowledge(event.packet_id)
                elif event.qos == 2:
                    self.protocol.acknowledge_earlier(event.packet_id)
                else:
                    return  # it is not ours: the client sends it again
            self.broker.route(event)
            for link in self.broker.links:
                if link is not self:
                    link.pump()

    def _accept(self, connect: Connect, now: float) -> None:
        """Let a client in, with its session if it has one, and give it what it is owed."""
        kept = self.broker.sessions.pop(connect.client_id, None)
        owed = self.broker.owed.pop(connect.client_id, [])
        for other in self.broker.links:
            if other is not self and kept is not None and other.protocol.session is kept:
                other.stream.abort()  # [MQTT-3.1.4-2]
                other.protocol.close()
        if connect.clean_session:
            self.protocol.accept(now)
            return
        session = self.broker.sessions[connect.client_id] = kept or Session()
        self.protocol.accept(now, session=session, session_present=kept is not None)
        for message in owed:
            self.protocol.publish(message.topic, message.payload, message.qos)


class Noted:
    """A stream that keeps what it has brought."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.chunks: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._stream.attach(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self._receiver.data_received(data)

    def stream_ended(self, cause: MqttwsError) -> None:
        self._receiver.stream_ended(cause)

    def writing_paused(self, paused: bool) -> None:
        pass  # a broker of tests reads on, whatever its client does


@asynccontextmanager
async def broker(*, websocket: bool, tls: ssl.SSLContext | None = None) -> AsyncIterator[Broker]:
    """Run a broker on a free loopback port."""
    made = Broker()
    listener = Listener(None if tls is None else FixedTls(tls))

    def take(stream: Stream, label: str, chain: Chain) -> None:
        Link(made, stream, label)

    made.port = await listener.listen(
        "127.0.0.1",
        0,
        "broker",
        take,
        websocket=websocket,
        paths=("/mqtt",),
        max_message_size=2**20,
    )
    try:
        yield made
    finally:
        await listener.stop()
        await asyncio.gather(*(link.stream.close() for link in made.links))
