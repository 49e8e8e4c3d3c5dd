"""A publisher and a receiver in a process of their own, which may be killed at any moment.

``python -m benchmarks.delivery_actor JSON``: publishes numbered messages from many tasks or threads
through one client, receives them through another, and writes what happens to each into a log, line
by line, before anything else can happen. Commands come as lines on standard input: ``leave p``,
``leave r``, ``stop`` (publish no more than the least), ``count`` (tasks, threads,
``sys.getallocatedblocks``), ``quit``.

The log's lines: ``a ID SIZE`` publish begins, ``d ID`` it returned, ``e ID ERROR`` it failed,
``r ID`` received, ``T ID`` a call that did not end in time, ``X WORDS`` an error that may not be,
``s WHO STATE REASON``, ``n TASKS THREADS BLOCKS``, ``x WORDS`` for the rest.
"""

import asyncio
import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mqttws import AsyncClient, Backoff, Client, MqttwsError, Receipt, SqliteStore, TlsConfig

from .delivery_world import Log, World, Writer, number_of

PAUSES, LONGEST_PAUSE = 1 / 60, 0.6
"""How often the receiver rests after a message, and for how many seconds at most: messages wait
unread when it leaves or is killed."""


def options(world: World, who: str, log: Log) -> dict[str, Any]:
    """Return a client's arguments."""
    store = SqliteStore(Path(world.folder) / f"{who}.db") if world.session == "stored" else None
    return {
        "client_id": f"{who}-{world.name}",
        "username": world.username,
        "clean_session": world.session == "clean",
        "keep_alive": world.keep_alive,
        "tls": TlsConfig(ca=world.ca, only_ca=True),
        "connect_timeout": 10.0,
        "hop_timeout": 5.0,
        "request_timeout": world.request_timeout,
        "reconnect": Backoff(0.02, 0.2),
        "store": store,
        "proxy": None,
        "on_state": lambda state, reason: log("s", who, state.value, repr(reason)),
    }


class Actor:
    """What both kinds share: when to stop, and commands."""

    def __init__(self, world: World, log: Log) -> None:
        self.world = world
        self.log = log
        self.begun = 0  # messages, in this life
        self.enough = False  # cuts, says the driver
        self.quitting = False
        self.chance = random.Random(f"{world.seed}.{world.life}")

    def goes_on(self) -> bool:
        return not self.enough or self.begun < self.world.messages

    def count(self, tasks: int) -> None:
        self.log("n", tasks, threading.active_count(), sys.getallocatedblocks())

    def wrong(self, where: str, error: BaseException) -> None:
        self.log("X", where, repr(error))


class AsyncActor(Actor):
    """Tasks on one event loop."""

    def __init__(self, world: World, log: Log) -> None:
        super().__init__(world, log)
        self.gate = asyncio.Event()
        self.publisher = self.receiver = None  # type: AsyncClient | None
        self.busy = asyncio.Lock()

    async def joined(self, who: str, ready: Callable[[AsyncClient], Awaitable[Any]]) -> AsyncClient:
        while True:
            client = AsyncClient(self.world.urls[who], **options(self.world, who, self.log))
            try:
                await client.connect()
                await ready(client)
            except MqttwsError as error:
                self.log("x", "join", who, repr(error))
                await client.disconnect()
                await asyncio.sleep(0.05)
            else:
                return client

    async def anchor(self, client: AsyncClient) -> None:
        """Subscribe: some brokers keep the exchanges of those only who have subscribed."""
        await client.subscribe(f"nothing/{self.world.name}", self.world.qos)

    async def ended(self, ident: str, call: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self.world.limit):
                await call
        except MqttwsError as error:
            self.log("e", ident, type(error).__name__, error)
        except TimeoutError:
            self.log("T", ident)
        except Exception as error:
            self.wrong(f"publish {ident}", error)
        else:
            self.log("d", ident)

    async def publish(self, task: int) -> None:
        writer = Writer(self.world, task)
        waiting: list[tuple[str, Receipt]] = []
        while self.goes_on():
            count, rest = writer.burst()
            for _ in range(count):
                await self.gate.wait()
                client = self.publisher
                assert client is not None
                ident, topic, payload = writer.message()
                self.begun += 1
                self.log("a", ident, len(payload))
                if writer.chance.random() < 0.3:
                    try:
                        receipt = client.publish_nowait(topic, payload, qos=self.world.qos)
                        waiting.append((ident, receipt))
                    except MqttwsError as error:
                        self.log("e", ident, type(error).__name__, error)
                else:
                    await self.ended(ident, client.publish(topic, payload, qos=self.world.qos))
                if len(waiting) > 20:
                    await self.settle(*waiting.pop(0))
            await asyncio.sleep(rest)
        for one in waiting:
            await self.settle(*one)

    async def settle(self, ident: str, receipt: Receipt) -> None:
        """Wait for a receipt; its message may be under way for as long as the broker is silent."""
        await self.ended(ident, receipt.wait(self.world.request_timeout))

    async def receive(self) -> None:
        wish = f"d/{self.world.name}/#"
        while not self.quitting:

            async def ready(client: AsyncClient) -> None:
                await client.subscribe(wish, self.world.qos)

            client = await self.joined("r", ready)
            self.receiver = client
            if self.quitting:  # the one before was left meanwhile
                messages = client.messages()  # of those that waited for a stream
                await self.leave("r")
                async for message in messages:
                    self.log("r", number_of(message.topic, message.payload))
                return
            self.log("x", "subscribed")
            try:
                async for message in client.messages():
                    self.log("r", number_of(message.topic, message.payload))
                    if self.chance.random() < PAUSES:
                        await asyncio.sleep(self.chance.uniform(0, LONGEST_PAUSE))
            except MqttwsError as error:
                self.log("x", "receive", repr(error))
            except Exception as error:
                self.wrong("receive", error)
            await asyncio.sleep(self.chance.uniform(0, 0.2))

    async def leave(self, who: str) -> None:
        async with self.busy:
            client = self.publisher if who == "p" else self.receiver
            if client is None:
                return
            self.gate.clear() if who == "p" else None
            self.log("x", "leaves", who)
            try:
                async with asyncio.timeout(self.world.limit):
                    await client.disconnect()
            except Exception as error:
                self.wrong(f"disconnect {who}", error)
            self.log("x", "left", who)
            if who == "p" and not self.quitting:
                self.publisher = await self.joined("p", self.anchor)
                self.gate.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(self.receive())
        while self.receiver is None:
            await asyncio.sleep(0.01)
        self.publisher = await self.joined("p", self.anchor)
        self.gate.set()
        commands: asyncio.Queue[str] = asyncio.Queue()

        def read() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(commands.put_nowait, line.strip())
            os._exit(3)  # the driver has ended

        threading.Thread(target=read, daemon=True).start()
        self.log("x", "ready")

        async def obey() -> None:
            while not self.quitting:
                await self.obey(await commands.get())

        obeying = asyncio.ensure_future(obey())
        await asyncio.gather(*map(self.publish, range(self.world.tasks)))
        self.log("x", "published")
        async with self.busy:
            pass
        await obeying
        await self.leave("p")
        await self.leave("r")
        await receiving

    async def obey(self, command: str) -> None:
        match command.split():
            case ["leave", who]:
                await self.leave(who)
            case ["stop"]:
                self.enough = True
            case ["count"]:
                self.count(len(asyncio.all_tasks()))
            case ["quit"]:
                self.quitting = True


class SyncActor(Actor):
    """Threads."""

    def __init__(self, world: World, log: Log) -> None:
        super().__init__(world, log)
        self.gate = threading.Event()
        self.publisher = self.receiver = None  # type: Client | None

    def joined(self, who: str, ready: Callable[[Client], Any]) -> Client:
        while True:
            client = Client(self.world.urls[who], **options(self.world, who, self.log))
            try:
                client.connect()
                ready(client)
            except MqttwsError as error:
                self.log("x", "join", who, repr(error))
                client.disconnect()
                time.sleep(0.05)
            else:
                return client

    def anchor(self, client: Client) -> None:
        """Subscribe, as in ``AsyncActor``."""
        client.subscribe(f"nothing/{self.world.name}", self.world.qos)

    def ended(self, ident: str, call: Callable[[], Any]) -> None:
        began = time.monotonic()
        try:
            call()
        except MqttwsError as error:
            self.log("e", ident, type(error).__name__, error)
        except Exception as error:
            self.wrong(f"publish {ident}", error)
        else:
            self.log("d", ident)
        if time.monotonic() - began > self.world.limit:
            self.log("T", ident)

    def publish(self, task: int) -> None:
        writer = Writer(self.world, task)
        waiting: list[tuple[str, Any]] = []
        while self.goes_on():
            count, rest = writer.burst()
            for _ in range(count):
                self.gate.wait()
                client = self.publisher
                assert client is not None
                ident, topic, payload = writer.message()
                self.begun += 1
                self.log("a", ident, len(payload))
                if writer.chance.random() < 0.3:
                    try:
                        receipt = client.publish_nowait(topic, payload, qos=self.world.qos)
                        waiting.append((ident, receipt))
                    except MqttwsError as error:
                        self.log("e", ident, type(error).__name__, error)
                else:
                    self.ended(
                        ident,
                        lambda client=client, topic=topic, payload=payload: client.publish(
                            topic, payload, qos=self.world.qos
                        ),
                    )
                if len(waiting) > 20:
                    self.settle(*waiting.pop(0))
            time.sleep(rest)
        for one in waiting:
            self.settle(*one)

    def settle(self, ident: str, receipt: Any) -> None:
        self.ended(ident, lambda: receipt.wait(self.world.request_timeout))

    def receive(self) -> None:
        wish = f"d/{self.world.name}/#"
        while not self.quitting:
            client = self.joined("r", lambda client: client.subscribe(wish, self.world.qos))
            self.receiver = client
            if self.quitting:  # the one before was left meanwhile
                messages = client.messages()  # of those that waited for a stream
                self.leave("r")
                for message in messages:
                    self.log("r", number_of(message.topic, message.payload))
                return
            self.log("x", "subscribed")
            try:
                for message in client.messages():
                    self.log("r", number_of(message.topic, message.payload))
                    if self.chance.random() < PAUSES:
                        time.sleep(self.chance.uniform(0, LONGEST_PAUSE))
            except MqttwsError as error:
                self.log("x", "receive", repr(error))
            except Exception as error:
                self.wrong("receive", error)
            time.sleep(self.chance.uniform(0, 0.2))

    def leave(self, who: str) -> None:
        client = self.publisher if who == "p" else self.receiver
        if client is None:
            return
        if who == "p":
            self.gate.clear()
        self.log("x", "leaves", who)
        began = time.monotonic()
        try:
            client.disconnect()
        except Exception as error:
            self.wrong(f"disconnect {who}", error)
        if time.monotonic() - began > self.world.limit:
            self.log("T", "disconnect", who)
        self.log("x", "left", who)
        if who == "p" and not self.quitting:
            self.publisher = self.joined("p", self.anchor)
            self.gate.set()

    def run(self) -> None:
        receiving = threading.Thread(target=self.receive, daemon=True)
        receiving.start()
        while self.receiver is None:
            time.sleep(0.01)
        self.publisher = self.joined("p", self.anchor)
        self.gate.set()
        threads = [
            threading.Thread(target=self.publish, args=(task,), daemon=True)
            for task in range(self.world.tasks)
        ]
        for thread in threads:
            thread.start()
        self.log("x", "ready")

        def watch() -> None:
            for thread in threads:
                thread.join()
            self.log("x", "published")

        threading.Thread(target=watch, daemon=True).start()
        for line in sys.stdin:
            match line.split():
                case ["leave", who]:
                    self.leave(who)
                case ["stop"]:
                    self.enough = True
                case ["count"]:
                    self.count(0)
                case ["quit"]:
                    self.quitting = True
                    break
        else:
            os._exit(3)  # the driver has ended
        self.leave("p")
        self.leave("r")
        receiving.join(self.world.limit)


def main() -> None:
    """Live one life."""
    world = World(**json.loads(sys.argv[1]))
    log = Log(world.log)
    logging.basicConfig(filename=str(Path(world.folder) / "actor.log"), level=logging.INFO)
    threading.stack_size(256 * 1024)
    with suppress(KeyboardInterrupt):
        if world.kind == "async":
            asyncio.run(AsyncActor(world, log).run())
        else:
            SyncActor(world, log).run()
    log("x", "end")


if __name__ == "__main__":
    main()
