"""The actor of the delivery matrix with paho-mqtt instead of mqttws, as a control.

It shows whether a broker breaks its promise to another client too. One thread publishes; it never
leaves. Log and commands are those of ``delivery_actor``.
"""

import json
import ssl
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt import client as paho

from .delivery_world import Log, World, Writer, number_of

SETTLED_WITHIN = 30.0


class Control:
    """A publisher and a receiver."""

    def __init__(self, world: World, log: Log) -> None:
        self.world = world
        self.log = log
        self.enough = threading.Event()
        self.waiting: dict[int, str] = {}
        self.subscribed = threading.Event()
        self.publisher = self.client("p")
        self.receiver = self.client("r")

    def client(self, who: str) -> Any:
        """Return a client that connects, and connects again."""
        world, url = self.world, urlsplit(self.world.urls[who])
        made = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            f"{who}-{world.name}",
            clean_session=world.session == "clean",
            transport="websockets" if url.scheme.startswith("ws") else "tcp",
        )
        if url.scheme in ("wss", "mqtts"):
            made.tls_set_context(ssl.create_default_context(cafile=world.ca))
        if world.username:
            made.username_pw_set(world.username, "")
        made.reconnect_delay_set(1, 1)
        if made._transport == "websockets":
            made.ws_set_options("/mqtt")

        def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            topic = f"d/{world.name}/#" if who == "r" else f"nothing/{world.name}"
            client.subscribe(topic, world.qos)

        def on_subscribe(client: Any, data: Any, mid: int, *rest: Any) -> None:
            if who == "r":
                self.subscribed.set()

        def on_message(client: Any, data: Any, message: Any) -> None:
            self.log("r", number_of(message.topic, message.payload))

        made.on_connect, made.on_subscribe, made.on_message = on_connect, on_subscribe, on_message
        made.connect_async(url.hostname, url.port, world.keep_alive)
        made.loop_start()
        return made

    def publish(self) -> None:
        """Publish until it is enough, then wait for what is open."""
        writer, begun = Writer(self.world, 0), 0
        open_ones: list[tuple[str, Any]] = []
        while not self.enough.is_set() or begun < self.world.messages:
            count, rest = writer.burst()
            for _ in range(count):
                ident, topic, payload = writer.message()
                begun += 1
                self.log("a", ident, len(payload))
                open_ones.append((ident, self.publisher.publish(topic, payload, self.world.qos)))
            time.sleep(rest / self.world.tasks)
            open_ones = self.ended(open_ones)
        until = time.monotonic() + SETTLED_WITHIN
        while open_ones and time.monotonic() < until:
            time.sleep(0.05)
            open_ones = self.ended(open_ones)
        for ident, _ in open_ones:
            self.log("e", ident, "NotInTime")
        self.log("x", "published")

    def ended(self, open_ones: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Write down those that have ended and return the others."""
        left = []
        for ident, info in open_ones:
            try:
                done = info.is_published()
            except (RuntimeError, ValueError) as error:  # it was not accepted
                self.log("e", ident, type(error).__name__, error)
                continue
            if done:
                self.log("d", ident)
            else:
                left.append((ident, info))
        return left

    def run(self) -> None:
        """Obey."""
        self.subscribed.wait(20)
        threading.Thread(target=self.publish, daemon=True).start()
        self.log("x", "ready")
        for line in sys.stdin:
            if line.strip() == "stop":
                self.enough.set()
            elif line.strip() == "quit":
                break
        for client in (self.publisher, self.receiver):
            client.disconnect()
            client.loop_stop()


if __name__ == "__main__":
    given = World(**json.loads(sys.argv[1]))
    Control(given, Log(given.log)).run()
