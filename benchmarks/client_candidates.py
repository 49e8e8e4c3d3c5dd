"""The clients that are compared, each in the way that its documentation shows.

All of them speak MQTT 3.1.1 over WebSocket without TLS. What is not installed is left out.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

IN_FLIGHT = 100
"""Publishes of QoS 1 that are under way at a time."""

TOPIC = "plant/7/line/3/sensor/21"
PAYLOAD = bytes(range(64))


class Asyncio:
    """A client on an event loop; the functions are called once for each message."""

    publish_0: Callable[[], Awaitable[Any]]
    publish_1: Callable[[], Awaitable[Any]]
    receive: Callable[[], Awaitable[Any]]

    async def open(self, port: int, topic: str) -> None:
        """Connect to ``ws://127.0.0.1:port/mqtt`` and subscribe to ``topic`` with QoS 0."""
        raise NotImplementedError

    async def close(self) -> None:
        """Leave."""


class Threaded:
    """A client whose calls block, or that calls back from a thread of its own."""

    def open(self, port: int, topic: str) -> None:
        raise NotImplementedError

    def publish_0(self, count: int) -> None:
        raise NotImplementedError

    def publish_1(self, count: int) -> None:
        raise NotImplementedError

    def receive(self, count: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Leave."""


class Mqttws(Asyncio):
    async def open(self, port: int, topic: str) -> None:
        import mqttws

        client = self.client = mqttws.AsyncClient(f"ws://127.0.0.1:{port}/mqtt", max_queued=20_000)
        await client.connect()
        await client.subscribe(topic)
        self.publish_0 = lambda: client.publish(TOPIC, PAYLOAD)
        self.publish_1 = lambda: client.publish(TOPIC, PAYLOAD, qos=1)
        self.receive = client.messages().__anext__

    async def close(self) -> None:
        await self.client.disconnect()


class MqttwsSync(Threaded):
    def open(self, port: int, topic: str) -> None:
        import mqttws

        self.client = mqttws.Client(f"ws://127.0.0.1:{port}/mqtt", max_queued=20_000)
        self.client.connect()
        self.client.subscribe(topic)
        self.messages = self.client.messages()

    def publish_0(self, count: int) -> None:
        for _ in range(count):
            self.client.publish(TOPIC, PAYLOAD)

    def publish_1(self, count: int) -> None:
        from collections import deque

        under_way: deque[Any] = deque()
        for _ in range(count):
            if len(under_way) == IN_FLIGHT:
                under_way.popleft().wait(30)
            under_way.append(self.client.publish_nowait(TOPIC, PAYLOAD, qos=1))
        for receipt in under_way:
            receipt.wait(30)

    def receive(self, count: int) -> None:
        for _ in range(count):
            next(self.messages)

    def close(self) -> None:
        self.client.disconnect()


class Mqttium(Asyncio):
    async def open(self, port: int, topic: str) -> None:
        from mqttium.api import AsyncClient

        client = self.client = AsyncClient("mqttium")
        await client.connect_ws(f"ws://127.0.0.1:{port}/mqtt")
        await client.subscribe(topic)

        async def publish_1() -> None:
            receipt = await client.publish(TOPIC, PAYLOAD, qos=1)
            await receipt.wait()

        self.publish_0 = lambda: client.publish(TOPIC, PAYLOAD)
        self.publish_1 = publish_1
        self.receive = client.messages().__anext__

    async def close(self) -> None:
        await self.client.disconnect()


class Aiomqtt(Asyncio):
    async def open(self, port: int, topic: str) -> None:
        import aiomqtt

        client = self.client = aiomqtt.Client(
            "127.0.0.1",
            port,
            transport="websockets",
            websocket_path="/mqtt",
            max_inflight_messages=IN_FLIGHT,
        )
        await client.__aenter__()
        await client.subscribe(topic)
        self.publish_0 = lambda: client.publish(TOPIC, PAYLOAD)
        self.publish_1 = lambda: client.publish(TOPIC, PAYLOAD, qos=1)
        self.receive = client.messages.__anext__

    async def close(self) -> None:
        await self.client.__aexit__(None, None, None)


class Amqtt(Asyncio):
    async def open(self, port: int, topic: str) -> None:
        from amqtt.client import MQTTClient

        client = self.client = MQTTClient(config={"auto_reconnect": False})
        await client.connect(f"ws://127.0.0.1:{port}/mqtt")
        await client.subscribe([(topic, 0)])
        self.publish_0 = lambda: client.publish(TOPIC, PAYLOAD, 0)
        self.publish_1 = lambda: client.publish(TOPIC, PAYLOAD, 1)
        self.receive = client.deliver_message

    async def close(self) -> None:
        await self.client.disconnect()


class Paho(Threaded):
    def open(self, port: int, topic: str) -> None:
        import paho.mqtt.client as paho

        self.free = threading.Semaphore(IN_FLIGHT)
        self.left = 0
        self.done = threading.Event()
        ready = threading.Event()
        client = self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, "paho", transport="websockets"
        )
        client.ws_set_options(path="/mqtt")
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_connect = lambda *_: client.subscribe(topic)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = self.count_down
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert ready.wait(20)

    def count_down(self, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()

    def publish_0(self, count: int) -> None:
        for _ in range(count):
            self.client.publish(TOPIC, PAYLOAD)

    def publish_1(self, count: int) -> None:
        self.client.on_publish = lambda *_: self.free.release()
        for _ in range(count):
            self.free.acquire()
            self.client.publish(TOPIC, PAYLOAD, 1)
        for _ in range(IN_FLIGHT):
            assert self.free.acquire(timeout=30)
        for _ in range(IN_FLIGHT):
            self.free.release()
        self.client.on_publish = None

    def receive(self, count: int) -> None:
        assert self.done.wait(60)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Websockets(Asyncio):
    """``websockets`` alone: made packets go in a frame each, received frames are counted."""

    async def open(self, port: int, topic: str) -> None:
        from websockets.asyncio.client import connect

        from mqttws.wire import Connect, Publish, Subscribe, Subscription

        socket = self.socket = await connect(
            f"ws://127.0.0.1:{port}/mqtt", subprotocols=["mqtt"], compression=None, max_queue=None
        )
        await socket.send(Connect("websockets").encode())
        assert (await socket.recv())[0] == 0x20
        await socket.send(Subscribe(1, [Subscription(topic, 0)]).encode())
        assert (await socket.recv())[0] == 0x90
        packet = Publish(TOPIC, PAYLOAD).encode()
        asked = Publish(TOPIC, PAYLOAD, 1, packet_id=1).encode()

        async def publish_1() -> None:
            await socket.send(asked)
            assert (await socket.recv())[0] == 0x40

        self.publish_0 = lambda: socket.send(packet)
        self.publish_1 = publish_1
        self.batch = lambda: socket.send(packet * IN_FLIGHT)
        self.receive = socket.recv

    async def close(self) -> None:
        await self.socket.close()


KINDS: dict[str, tuple[str, type[Asyncio] | type[Threaded]]] = {
    "mqttws": ("mqttws", Mqttws),
    "mqttws, sync": ("mqttws", MqttwsSync),
    "mqttium": ("mqttium", Mqttium),
    "paho-mqtt": ("paho-mqtt", Paho),
    "amqtt": ("amqtt", Amqtt),
    "aiomqtt": ("aiomqtt", Aiomqtt),
    "websockets alone": ("websockets", Websockets),
}
"""By name: the package that a candidate needs, and its class."""


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def in_flight(publish: Callable[[], Awaitable[Any]], count: int) -> None:
    """Publish ``count`` messages from ``IN_FLIGHT`` tasks."""
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await publish()

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
