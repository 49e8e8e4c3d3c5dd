"""One cell: two clients, a relay for each, an undisturbed subscriber, and what is done to them."""

import asyncio
import math
import random
import shutil
import signal
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqttws import AsyncClient, Backoff, MqttwsError
from tests.chaos import DOWN, UP, Connection, Effect, Fate, Relay, relay
from tests.chaos_tap import Seen
from tests.net.rogue import Certificates

from .delivery_cells import Cell
from .delivery_fates import (
    ALWAYS,
    KEEP_ALIVE,
    NOTICED_WITHIN,
    PUBLISHER,
    RECEIVER,
    SUBSCRIBING,
    Fates,
    kind_of,
)
from .delivery_judge import Ledger, judge, note
from .delivery_process import Process
from .delivery_world import World, number_of

REQUEST_TIMEOUT = 20.0
LIMIT = 30.0
"""Seconds within which every call must have ended."""
SLACK = 3.0
"""Seconds by which a busy machine may be late, and the wait before the next attempt."""
WINDOW = 20
"""Exchanges of QoS 2 that may be under way: as many unanswered ones stop a client."""
MUTE = 5
"""Connections without PINGRESP, though PINGREQ had passed, after which a broker counts as stuck."""
LONGEST_LEAVE = 4.0
UNREAD_SINCE = 0.05
"""Seconds after which a message that has come, and was not handed out, waits for the receiver."""
UNREAD_WAIT = 3.0
"""Seconds for which a kill waits for a moment at which something is lost if it can be."""
QUIET = 5.0
"""Seconds without a message after which nothing more is expected."""

STANDSTILL = LIMIT + 10
"""Seconds in which at least one call must have ended while there are calls."""
LONGEST = 600.0
"""Seconds in which a cell's messages are published, however slow the machine is."""
ENDLESS = 40.0
"""Seconds after which messages may no longer come."""


@dataclass
class Place:
    """What the cells of one broker share.

    Attributes:
        broker: a started one, of ``tests/peers/brokers.py``.
        folder: for files.
        certificates: with whose CA the relays speak TLS.
        tree: the project whose clients are tried.
        messages, cuts: for each cell.
        keep: the folder into which the logs of a red cell go; None keeps none.
        only: the packets at which connections are cut; all kinds of chaos for none.
    """

    broker: Any
    folder: Path
    certificates: Certificates
    tree: Path
    seed: int
    messages: int
    cuts: int
    keep: str | None = None
    only: tuple[str, ...] = ()


def packet_line(who: str, link: Connection, way: str, seen: Seen, passed: bool) -> str:
    """Return a packet at a relay as a line for the logs of a red cell."""
    number = number_of(seen.topic, seen.payload) if seen.kind == "PUBLISH" else ""
    present = "session present" if seen.kind == "CONNACK" and seen.session_present else ""
    what = f"{who} {link.number} {way} {seen.kind} {seen.packet_id or ''} {number}{present}"
    return f"{time.monotonic():.3f} {what}{'' if passed else ' stopped'}"


class Trial:
    """One cell."""

    def __init__(self, place: Place, cell: Cell, restart: str, attempt: int = 0) -> None:
        self.place = place
        # What an earlier attempt has left with the broker is not for this one.
        self.name = f"{cell.name}-{attempt}" if attempt else cell.name
        self.cell = cell
        self.chance = random.Random(f"{place.seed}.{cell.name}")
        self.restart = restart
        self.sent, self.got = Ledger(UP), Ledger(DOWN)
        self.relays: list[Relay] = []
        self.witness: list[str] = []
        self.unanswered: set[Connection] = set()  # a PINGREQ that the broker has not answered
        self.came: dict[str, tuple[Connection, float]] = {}  # messages to the receiver
        self.used: set[Connection] = set()  # the client has sent more than CONNECT
        self.hits = 0
        self.leaves = 0
        self.departures: list[float] = []
        self.struck: Counter[str] = Counter()
        self.subscribing: set[Connection] = set()  # a SUBSCRIBE that the broker has not answered
        self.starving = False  # the broker answers nothing on a connection that lives
        self.forced = False  # the process did not end by itself
        self.passed: list[str] = []  # each packet at the relays, for the logs of a red cell

    async def run(self, stack: AsyncExitStack) -> dict[str, Any]:
        place, cell = self.place, self.cell
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place.folder)))
        secure = cell.scheme in ("wss", "mqtts")
        urls = {}
        packets = {"p": PUBLISHER[cell.qos], "r": RECEIVER[cell.qos] + SUBSCRIBING}
        for who, ledger in (("p", self.sent), ("r", self.got)):
            carrier = await stack.enter_async_context(
                relay(
                    getattr(place.broker, cell.scheme),
                    tls=place.certificates.server() if secure else None,
                    tls_behind=self.behind() if secure else None,
                )
            )
            carrier.watch = self.watcher(ledger)
            carrier.fates = self.fates([*ALWAYS, *packets[who]])
            carrier.on_struck = self.on_struck
            self.relays.append(carrier)
            urls[who] = f"{cell.scheme}://127.0.0.1:{carrier.port}/mqtt"
        world = World(
            kind=cell.client,
            urls=urls,
            ca=str(place.certificates.ca_file),
            username="somebody" if cell.broker == "amqtt" else None,
            qos=cell.qos,
            session=cell.session,
            name=self.name,
            folder=str(folder),
            log=str(folder / "log"),
            life=0,
            seed=self.chance.randrange(1 << 30),
            tasks=self.tasks(),
            messages=self.least(),
            rate=self.rate(),
            keep_alive=KEEP_ALIVE,
            request_timeout=REQUEST_TIMEOUT,
            limit=LIMIT,
        )
        watching = await self.watch_undisturbed(stack, world)
        actor = Process(world, place.tree)
        problems: list[str] = []
        await actor.start()
        try:
            if not await actor.until("ready", 60):
                problems.append("the clients did not connect within 60 s")
            await self.disturb(actor)
            problems += await self.finish(actor)
        finally:
            await actor.end(0)
        await watching()
        killed = actor.killed if cell.session == "stored" else 0
        row = judge(
            cell, actor.told, self.witness, (self.sent, self.got), killed, stuck=self.starving
        )
        if not row["accepted"]:
            row["faults"].append((folder / "stderr").read_text()[-2000:])
        row = {**row, **self.links(row), "killed": killed, "tasks": world.tasks}
        # A broker that lets connection after connection starve keeps its clients from ending.
        mute = row["ends"].get("no PINGRESP", 0) >= MUTE or self.starving
        row["broker" if mute else "faults"] += problems
        if place.keep is not None and row["faults"]:
            kept = Path(place.keep, cell.name)
            await asyncio.to_thread(shutil.copytree, folder, kept, dirs_exist_ok=True)
            (kept / "witness").write_text("\n".join(self.witness))
            (kept / "packets").write_text("\n".join(self.passed))
        return row

    def tasks(self) -> int:
        """Return how many tasks or threads publish: 1 to 1000, as often few as many."""
        some = int(math.exp(self.chance.uniform(0, math.log(1001))))
        return max(1, min(some, self.place.messages // 2))

    def least(self) -> int:
        """Return how many messages are published at least."""
        return self.place.messages

    def rate(self) -> float:
        """Return the messages per second to aim at: so many that cuts find some under way."""
        return self.place.messages / (self.place.cuts * 0.8)

    def behind(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.place.certificates.ca_file))

    # The undisturbed subscriber

    async def watch_undisturbed(self, stack: AsyncExitStack, world: World) -> Callable[[], Any]:
        client = AsyncClient(
            f"mqtt://127.0.0.1:{self.place.broker.mqtt}",
            client_id=f"w-{world.name}",
            username=world.username,
            clean_session=False,
            reconnect=Backoff(0.02, 0.2),
            max_queued=100_000,
            proxy=None,
        )
        await client.connect()
        await client.subscribe(f"d/{world.name}/#", max(1, self.cell.qos))
        messages = client.messages()

        async def read() -> None:
            async for message in messages:
                self.witness.append(number_of(message.topic, message.payload))

        reading = asyncio.ensure_future(read())

        async def stop() -> None:
            with suppress(MqttwsError):
                await client.disconnect()
            await reading

        stack.push_async_callback(stop)
        return stop

    # Chaos

    def watcher(self, ledger: Ledger) -> Callable[[Connection, str, Seen, bool], None]:
        def watch(link: Connection, way: str, seen: Seen, passed: bool) -> None:
            if way == UP and seen.kind != "CONNECT":
                self.used.add(link)
            if way == DOWN and seen.kind == "PUBLISH" and passed and ledger is self.got:
                self.came[number_of(seen.topic, seen.payload)] = link, time.monotonic()
            if seen.kind == "PINGREQ":
                self.unanswered.add(link)
            elif seen.kind == "PINGRESP":
                self.unanswered.discard(link)
            if seen.kind == "SUBSCRIBE":
                self.subscribing.add(link)
            elif seen.kind == "SUBACK":
                self.subscribing.discard(link)
            if self.place.keep is not None:
                self.passed.append(
                    packet_line("p" if ledger is self.sent else "r", link, way, seen, passed)
                )
            ledger.watch(link, way, seen, passed)

        return watch

    def on_struck(self, link: Connection) -> None:
        fate = link.fate
        assert fate is not None
        name = fate.effect.value if link.missed else kind_of(fate)
        self.struck[name] += 1
        if link.hit and fate.effect is not Effect.PAUSE:
            self.hits += 1

    def fates(self, packets: list[tuple[str, str]]) -> Callable[[], Fate]:
        return Fates(packets, self.chance, self.place.only)

    async def disturb(self, actor: Process) -> None:
        """Cut, leave, kill and restart until enough cuts have hit."""
        goal, chance = self.place.cuts, self.chance
        kills = [goal * (n + 1) // 4 for n in range(3)] if self.cell.session == "stored" else []
        restart_at = goal // 2 if self.restart else None
        ends = time.monotonic() + 30 + goal * 3
        next_leave = time.monotonic() + chance.uniform(0.5, 4)
        while self.hits < goal and time.monotonic() < ends:
            await asyncio.sleep(0.05)
            if kills and self.hits >= kills[0]:
                kills.pop(0)
                await self.kill(actor)
            elif restart_at is not None and self.hits >= restart_at:
                restart_at = None
                await self.restart_broker()
            elif time.monotonic() > next_leave:
                next_leave = time.monotonic() + chance.uniform(1, 5)
                self.leave(actor, chance.choice("pr"))
            for who, carrier in zip("pr", self.relays, strict=True):
                waits_for_leave = any(
                    link.fate and link.fate.packet == "DISCONNECT" and link.client_id
                    for link in carrier.history[-1:]
                    if not link.ended and not link.struck.is_set()
                )
                if waits_for_leave and chance.random() < 0.05:
                    self.leave(actor, who)

    def leave(self, actor: Process, who: str) -> None:
        self.leaves += 1
        self.departures.append(asyncio.get_running_loop().time())
        if self.cell.session == "persistent":  # the next client does not know of the old exchanges
            (self.sent if who == "p" else self.got).new_client_next()
        actor.say(f"leave {who}")

    async def kill(self, actor: Process) -> None:
        await self.some_unread(actor)
        self.mark_open("killed")
        now = asyncio.get_running_loop().time()
        self.departures.append(now)
        await actor.kill()
        for carrier in self.relays:  # one that waited to be accepted
            for link in carrier.history:
                if link.opened >= now and link.ended in ("", "client"):
                    link.ended = "killed"
        await actor.start()
        await actor.until("ready", 60)

    async def some_unread(self, actor: Process) -> None:
        """Wait until the receiver has a message that it has not handed out, a while at most."""
        ends = time.monotonic() + UNREAD_WAIT
        while time.monotonic() < ends:
            handed_out = {ident for ident, _ in actor.look().received}
            before = time.monotonic() - UNREAD_SINCE
            if any(
                came < before and not link.ended and ident not in handed_out
                for ident, (link, came) in self.came.items()
            ):
                return
            await asyncio.sleep(0.01)

    def mark_open(self, reason: str) -> None:
        """Note why the connections that are open now end."""
        for carrier in self.relays:
            for link in carrier.history:
                link.ended = link.ended or reason

    async def restart_broker(self) -> None:
        self.mark_open("restart")
        number = signal.SIGTERM if self.restart == "SIGTERM" else signal.SIGKILL
        await self.place.broker.stop(number)
        await self.place.broker.start()

    async def finish(self, actor: Process) -> list[str]:
        """Calm down, and wait until every call has ended and everything has come."""
        problems = []
        for carrier in self.relays:
            carrier.calm()
        actor.say("stop")
        # However slow the machine is, each call has its own limit: what counts is that calls end.
        ends, ended = time.monotonic() + LONGEST, -1
        while not await actor.until("published", STANDSTILL):
            told = actor.look()
            if (now := len(told.done) + len(told.errors)) == ended or time.monotonic() > ends:
                problems.append(f"publishing stood still for {STANDSTILL:.0f} s")
                # Such as amqtt, which answers no PUBREL whose exchange it has forgotten, although
                # the standard wants PUBCOMP [MQTT-4.3.3-2]: then the window stays full.
                self.starving = self.sent.starved >= WINDOW
                break
            ended = now
        newest, count, ends = time.monotonic(), -1, time.monotonic() + ENDLESS
        while True:
            told = actor.look()
            expected = told.done if self.cell.qos else set()
            here = {ident for ident, _ in told.received}
            owed = (expected | set(self.witness)) - here if self.cell.session != "clean" else set()
            if not owed and not (expected - set(self.witness)) and self.cell.qos:
                break
            if (now := len(told.received) + len(self.witness)) != count:
                newest, count = time.monotonic(), now
            if time.monotonic() - newest > (QUIET if self.cell.qos else 1.0):
                break
            if time.monotonic() > ends:
                problems.append(f"messages still came {ENDLESS:.0f} s after the last publish")
                break
            await asyncio.sleep(0.1)
        actor.say("quit")
        if (code := await actor.end(LIMIT + 10)) != 0:
            self.forced = True
            problems.append(f"the process did not end in order: {code}")
        return problems

    @staticmethod
    def described(link: Connection) -> str:
        kind = kind_of(link.fate) if link.fate else "spared"
        up, down = link.carried[UP], link.carried[DOWN]
        return f"{link.client_id} no. {link.number}: {kind}, {up} bytes up, {down} down"

    def links(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the figures of the connections, and what of them nothing explains."""
        history = [link for carrier in self.relays for link in carrier.history]
        for link in history:
            begun = link.greeted and link in self.used
            if link.ended in ("client", "server") and (link.struck.is_set() or not begun):
                link.ended = "pause" if link.struck.is_set() else "opening"
            elif link.ended in ("client", "server") and link in self.unanswered:
                link.ended = "no PINGRESP"
        ends = Counter(link.ended for link in history)
        notices = []
        for carrier in self.relays:
            for link, after in zip(carrier.history, carrier.history[1:], strict=False):
                unseen = link.struck.is_set() and link.ended in ("silence", "half-open")
                since = link.struck_at - LONGEST_LEAVE  # a client that leaves need not notice
                if unseen and not any(since < one < after.opened for one in self.departures):
                    notices.append(after.opened - link.struck_at)
        late = [one for one in notices if one > NOTICED_WITHIN * KEEP_ALIVE + SLACK]
        if late:
            row["faults"].append(f"dead links noticed after {max(late):.1f} s")
        ended_with_it = [
            carrier.history[-1] for carrier in self.relays if self.forced and carrier.history
        ]
        odd = [
            self.described(link)
            for link in history
            if link.ended == "client" and link not in ended_with_it
        ]
        note(row["faults"], "connections closed by the client, unasked", odd)
        if ends["no PINGRESP"]:
            row["broker"].append(f"PINGRESP came too late: {ends['no PINGRESP']}")
        # mosquitto over WebSocket sends what waits, one message in 40 ms, before SUBACK.
        given_up = [link for link in self.subscribing & self.unanswered if link.ended == "left"]
        if given_up:
            row["broker"].append(f"SUBACK and PINGRESP did not come until left: {len(given_up)}")
        self.starving = self.starving or len(given_up) >= MUTE
        if ends["server"]:
            row["broker"].append(f"connections closed by the broker: {ends['server']}")
        return {
            "connections": len(history),
            "ends": dict(ends),
            "hits": self.hits,
            "leaves": self.leaves,
            "restart": self.restart,
            "kinds": dict(self.struck),
            "noticed": round(max(notices, default=0.0), 2),
        }
