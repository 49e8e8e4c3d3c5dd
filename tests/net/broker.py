"""A small MQTT broker from our own server half: what one client publishes, the matching get.

For tests of the client where no real broker is needed; over ws, wss, mqtt and mqtts.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws.errors import MqttwsError, ProtocolError, UpgradeRefused
from mqttws.net.stream import ByteStream, Stream
from mqttws.net.websocket import accept_websocket
from mqttws.protocol import (
    ConnectReceived,
    MessageReceived,
    ServerProtocol,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
)
from mqttws.wire import REFUSED


class Broker:
    """Takes connections until the context ends.

    Attributes:
        refuse_with: CONNACK code for the next clients; 0 accepts.
        forbidden: topic filters that SUBACK refuses.
        mute: events after which the broker says nothing more.
        answer_messages: whether it acknowledges and routes messages.
    """

    def __init__(self) -> None:
        self.refuse_with = 0
        self.forbidden: set[str] = set()
        self.mute: type | None = None
        self.links: list[Link] = []
        self.closed: list[MqttwsError | None] = []
        self.port = 0

    @property
    def last(self) -> "Link":
        """The newest connection."""
        return self.links[-1]


class Link:
    def __init__(self, broker: Broker, stream: Stream) -> None:
        self.broker = broker
        self.stream = stream
        self.chunks: list[bytes] = []
        self.protocol = ServerProtocol(asyncio.get_running_loop().time())
        self._muted = False
        stream.attach(self)

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self.protocol.receive_data(data, asyncio.get_running_loop().time())
        self.pump()

    def stream_ended(self, cause: MqttwsError) -> None:
        if isinstance(cause, ProtocolError):
            self.protocol.close(cause)
        self.broker.closed.append(cause)

    def writing_paused(self, paused: bool) -> None:
        pass

    def pump(self) -> None:  # noqa: PLR0912 - one branch for each thing a client may ask
        now = asyncio.get_running_loop().time()
        while (event := self.protocol.next_event()) is not None:
            if self.broker.mute is not None and isinstance(event, self.broker.mute):
                self._muted = True
            if self._muted:
                continue
            if isinstance(event, ConnectReceived):
                if self.broker.refuse_with:
                    self.protocol.refuse(self.broker.refuse_with)
                else:
                    self.protocol.accept(now)
            elif isinstance(event, SubscribeReceived):
                codes = [
                    REFUSED if wish.topic_filter in self.broker.forbidden else wish.qos
                    for wish in event.subscriptions
                ]
                self.protocol.suback(event.packet_id, codes)
            elif isinstance(event, UnsubscribeReceived):
                self.protocol.unsuback(event.packet_id)
            elif isinstance(event, MessageReceived):
                if event.packet_id is not None:
                    self.protocol.acknowledge(event.packet_id)
                for link in self.broker.links:
                    if link.protocol.state is State.CONNECTED:
                        link.protocol.publish(event.topic, event.payload, event.qos)
                        if link is not self:
                            link.pump()
        data = self.protocol.data_to_send(now)
        if data:
            self.stream.write(data)


@asynccontextmanager
async def broker(*, websocket: bool, tls: ssl.SSLContext | None = None) -> AsyncIterator[Broker]:
    """Run a broker on a free loopback port."""
    made = Broker()
    tasks: dict[asyncio.Task[None], ByteStream] = {}

    async def greet(stream: ByteStream) -> None:
        try:
            if tls is not None:
                await stream.start_tls(tls, None, 10)
            else:
                stream.resume_reading()
            carried: Stream = stream
            if websocket:
                carried = await accept_websocket(stream, lambda path: path == "/mqtt", 2**20)
            made.links.append(Link(made, carried))
        except UpgradeRefused:
            await stream.close()
        except OSError:
            stream.abort()

    def connected(stream: ByteStream) -> None:
        task = asyncio.get_running_loop().create_task(greet(stream))
        tasks[task] = stream
        task.add_done_callback(tasks.pop)

    server = await asyncio.get_running_loop().create_server(
        lambda: ByteStream(connected), "127.0.0.1", 0
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        greeting = dict(tasks)
        for task, stream in greeting.items():
            task.cancel()
            stream.abort()
        await asyncio.gather(*greeting, return_exceptions=True)
        await asyncio.gather(*(link.stream.close() for link in made.links))
