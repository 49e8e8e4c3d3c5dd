"""One broker and the cells that are tried on it, one after the other, in a process of its own.

``python -m benchmarks.delivery_lane JSON`` prints one line of JSON for each cell.
"""

import asyncio
import json
import math
import random
import signal
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqttws import AsyncClient, Backoff, MqttwsError
from tests.chaos import DOWN, UP, Connection, Drip, Effect, Fate, Relay, relay
from tests.client.broker_programs import (
    Aedes,
    Amqtt,
    Mosquitto,
    RabbitMq,
    amqtt_python,
    node_modules,
    server_pem,
)
from tests.net.rogue import Certificates

from .delivery_actor import World, number_of
from .delivery_cells import Cell
from .delivery_judge import Ledger, Told, judge

KEEP_ALIVE = 2
REQUEST_TIMEOUT = 20.0
LIMIT = 30.0
"""Seconds within which every call must have ended."""
NOTICED_WITHIN = 1.5
"""Keep-alives within which a dead link must be noticed."""
QUIET = 5.0
"""Seconds without a message after which nothing more is expected."""

ENDLESS = 40.0
"""Seconds after which messages may no longer come."""

EFFECTS = [effect.value for effect in Effect]
DRIPS = [drip.value for drip in Drip]
PUBLISHER = {
    0: [(UP, "PUBLISH"), (UP, "PINGREQ"), (DOWN, "PINGRESP")],
    1: [(UP, "PUBLISH"), (DOWN, "PUBACK")],
    2: [(UP, "PUBLISH"), (DOWN, "PUBREC"), (UP, "PUBREL"), (DOWN, "PUBCOMP")],
}
RECEIVER = {
    0: [(DOWN, "PUBLISH")],
    1: [(DOWN, "PUBLISH"), (UP, "PUBACK")],
    2: [(DOWN, "PUBLISH"), (UP, "PUBREC"), (DOWN, "PUBREL"), (UP, "PUBCOMP")],
}
ALWAYS = [(UP, "CONNECT"), (DOWN, "CONNACK"), (UP, "DISCONNECT")]
SUBSCRIBING = [(UP, "SUBSCRIBE"), (DOWN, "SUBACK")]
ONCE = {"CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "DISCONNECT", "PINGREQ", "PINGRESP"}


def kind_of(fate: Fate) -> str:
    """Return the name of a kind of chaos."""
    if fate.packet is not None:
        return f"{fate.packet} {fate.direction}"
    return fate.drip.value if fate.drip else fate.effect.value


class Fates:
    """Every kind of chaos in turn, in a seeded order, each at a seeded moment."""

    def __init__(self, packets: list[tuple[str, str]], chance: random.Random) -> None:
        self._chance = chance
        self._kinds: list[Any] = []
        self._all = [*EFFECTS, *DRIPS, *packets]
        self.relay: Relay | None = None

    def __call__(self) -> Fate:
        if not self._kinds:
            self._kinds = self._chance.sample(self._all, len(self._all))
        chance, kind = self._chance, self._kinds.pop()
        hold = {
            Effect.PAUSE.value: 1.6 * KEEP_ALIVE,
            Effect.FIN.value: 0.3,
        }.get(kind, (NOTICED_WITHIN + 1) * KEEP_ALIVE)
        end = chance.choice([Effect.RST, Effect.FIN])
        if isinstance(kind, tuple):
            direction, packet = kind
            nth = 1 if packet in ONCE else int(math.exp(chance.uniform(0, math.log(20))))
            return Fate(
                end,
                direction,
                packet=packet,
                nth=nth,
                passed=chance.random() < 0.6,
                patience=4.0 if packet in ("PINGREQ", "DISCONNECT") else 2.0,
            )
        after = int(math.exp(chance.uniform(math.log(300), math.log(1_000_000))))
        direction = chance.choice([UP, DOWN])
        patience = chance.uniform(0.5, 1.5)
        if kind in DRIPS:
            drip = Drip(kind)
            size = 1500 if drip is Drip.SINGLE else 20_000
            return Fate(end, direction, after, patience=2.0, drip=drip, drip_bytes=size)
        return Fate(Effect(kind), direction, after, patience=patience, hold=hold)


class Process:
    """The actor, started, commanded, killed and started again."""

    def __init__(self, world: World, tree: Path) -> None:
        self.world = world
        self.told = Told()
        self.killed = 0
        self._tree = tree
        self._read = 0
        self._half = b""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.world.life = self.killed
        with Path(self.world.folder, "stderr").open("ab") as errors:  # noqa: ASYNC230 - local
            await self._start(errors)

    async def _start(self, errors: Any) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.delivery_actor",
            json.dumps(vars(self.world)),
            cwd=self._tree,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=errors,
        )

    def say(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(command.encode() + b"\n")

    def look(self) -> Told:
        """Read on in the log."""
        with suppress(FileNotFoundError), open(self.world.log, "rb") as log:
            log.seek(self._read)
            data = log.read()
            self._read += len(data)
            *lines, self._half = (self._half + data).split(b"\n")
            for line in lines:
                self.told.line(line.decode())
        return self.told

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        self.look()
        self._half = b""
        self.told.life()
        self.killed += 1
        self.world.messages = max(1, self.world.messages - self.told_of_life(self.killed - 1))

    def told_of_life(self, life: int) -> int:
        return sum(1 for ident in self.told.accepted if ident.startswith(f"{life}-"))

    async def until(self, mark: str, seconds: float) -> bool:
        """Wait for a mark of the present life."""
        ends = time.monotonic() + seconds
        while mark not in self.look().marks:
            assert self._process is not None
            if time.monotonic() > ends or self._process.returncode is not None:
                return mark in self.look().marks
            await asyncio.sleep(0.05)
        return True

    async def end(self, seconds: float) -> int | None:
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        self.look()
        found = self._process.returncode
        if found is None:
            self._process.kill()
            await self._process.wait()
        return found


@dataclass
class Lane:
    """What the cells of one broker share."""

    broker: Any
    name: str
    folder: Path
    certificates: Certificates
    tree: Path
    seed: int
    messages: int
    cuts: int

    async def cell(self, cell: Cell) -> dict[str, Any]:
        """Run one cell and return its row."""
        began = time.monotonic()
        trial = Trial(self, cell)
        async with AsyncExitStack() as stack:
            try:
                row = await trial.run(stack)
            except (MqttwsError, OSError, AssertionError) as error:
                row = {"accepted": 0, "faults": [f"the trial failed: {error!r}"], "broker": []}
        return {"cell": list(cell), **row, "seconds": round(time.monotonic() - began, 1)}


class Trial:
    """One cell."""

    def __init__(self, lane: Lane, cell: Cell) -> None:
        self.lane = lane
        self.cell = cell
        self.chance = random.Random(f"{lane.seed}.{cell.name}")
        self.restart = cell.restart(lane.seed)
        self.sent, self.got = Ledger(UP), Ledger(DOWN)
        self.relays: list[Relay] = []
        self.witness: list[str] = []
        self.hits = 0
        self.leaves = 0
        self.restarting = False
        self.notices: list[float] = []
        self.struck: Counter[str] = Counter()

    async def run(self, stack: AsyncExitStack) -> dict[str, Any]:
        lane, cell = self.lane, self.cell
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=lane.folder)))
        secure = cell.scheme in ("wss", "mqtts")
        urls = {}
        packets = {"p": PUBLISHER[cell.qos], "r": RECEIVER[cell.qos] + SUBSCRIBING}
        for who, ledger in (("p", self.sent), ("r", self.got)):
            carrier = await stack.enter_async_context(
                relay(
                    getattr(lane.broker, cell.scheme),
                    tls=lane.certificates.server() if secure else None,
                    tls_behind=self.behind() if secure else None,
                )
            )
            carrier.watch = ledger.watch
            carrier.fates = Fates([*ALWAYS, *packets[who]], self.chance)
            carrier.on_struck = self.on_struck
            self.relays.append(carrier)
            urls[who] = f"{cell.scheme}://127.0.0.1:{carrier.port}/mqtt"
        tasks = int(math.exp(self.chance.uniform(0, math.log(1001))))
        world = World(
            kind=cell.client,
            urls=urls,
            ca=str(lane.certificates.ca_file),
            username="somebody" if cell.broker == "amqtt" else None,
            qos=cell.qos,
            session=cell.session,
            name=cell.name,
            folder=str(folder),
            log=str(folder / "log"),
            life=0,
            seed=self.chance.randrange(1 << 30),
            tasks=max(1, min(tasks, lane.messages // 2)),
            messages=lane.messages,
            rate=lane.messages / (lane.cuts * 0.8),
            keep_alive=KEEP_ALIVE,
            request_timeout=REQUEST_TIMEOUT,
            limit=LIMIT,
        )
        watching = await self.watch_undisturbed(stack, world)
        actor = Process(world, lane.tree)
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
        row = judge(cell, actor.told, self.witness, (self.sent, self.got), killed)
        row["faults"] += problems
        if not row["accepted"]:
            row["faults"].append((folder / "stderr").read_text()[-2000:])
        return {**row, **self.links(row), "killed": killed, "tasks": world.tasks}

    def behind(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.lane.certificates.ca_file))

    # The undisturbed subscriber

    async def watch_undisturbed(self, stack: AsyncExitStack, world: World) -> Callable[[], Any]:
        client = AsyncClient(
            f"mqtt://127.0.0.1:{self.lane.broker.mqtt}",
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

        stack.callback(reading.cancel)
        return stop

    # Chaos

    def on_struck(self, link: Connection) -> None:
        fate = link.fate
        assert fate is not None
        name = fate.effect.value if link.missed else kind_of(fate)
        self.struck[name] += 1
        if link.hit and fate.effect is not Effect.PAUSE:
            self.hits += 1

    async def disturb(self, actor: Process) -> None:
        """Cut, leave, kill and restart until enough cuts have hit."""
        goal, chance = self.lane.cuts, self.chance
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
        if self.cell.session == "persistent":  # the next client does not know of the old exchanges
            (self.sent if who == "p" else self.got).new_client_next()
        actor.say(f"leave {who}")

    async def kill(self, actor: Process) -> None:
        for carrier in self.relays:
            for link in carrier.history:
                link.ended = link.ended or "killed"
        await actor.kill()
        await actor.start()
        await actor.until("ready", 60)

    async def restart_broker(self) -> None:
        self.restarting = True
        for carrier in self.relays:
            for link in carrier.history:
                link.ended = link.ended or "restart"
        number = signal.SIGTERM if self.restart == "SIGTERM" else signal.SIGKILL
        await self.lane.broker.stop(number)
        await self.lane.broker.start()
        await asyncio.sleep(1.0)
        self.restarting = False

    async def finish(self, actor: Process) -> list[str]:
        """Calm down, and wait until every call has ended and everything has come."""
        problems = []
        for carrier in self.relays:
            carrier.calm()
        actor.say("stop")
        if not await actor.until("published", LIMIT * 2 + 20):
            problems.append(f"publishing did not end within {LIMIT * 2 + 20:.0f} s")
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
            problems.append(f"the process did not end in order: {code}")
        return problems

    def links(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the figures of the connections, and what of them nothing explains."""
        history = [link for carrier in self.relays for link in carrier.history]
        for link in history:
            if link.ended in ("client", "server") and (link.struck.is_set() or not link.greeted):
                link.ended = "pause" if link.struck.is_set() else "opening"
        ends = Counter(link.ended for link in history)
        notices = []
        for carrier in self.relays:
            for link, after in zip(carrier.history, carrier.history[1:], strict=False):
                if link.struck.is_set() and link.ended in ("silence", "half-open"):
                    notices.append(after.opened - link.struck_at)
        late = [one for one in notices if one > (NOTICED_WITHIN + 0.5) * KEEP_ALIVE + 1.0]
        if late:
            row["faults"].append(f"dead links noticed after {max(late):.1f} s")
        if ends["client"]:
            row["faults"].append(f"connections closed by the client, unasked: {ends['client']}")
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


def broker_of(name: str, folder: Path, pem: Path) -> Any:
    """Return a broker that has not been started."""
    match name:
        case "mosquitto":
            return Mosquitto(folder, pem, window=20)
        case "aedes":
            return Aedes(folder, node_modules(), pem)
        case "amqtt":
            return Amqtt(folder, amqtt_python(folder), pem)
    return RabbitMq(folder, pem)


async def run(cells: list[Cell], options: dict[str, Any]) -> None:
    """Run cells of one broker and print their rows."""
    with tempfile.TemporaryDirectory(prefix="delivery-") as home:
        folder = Path(home)
        certificates = Certificates(folder)
        broker = broker_of(cells[0].broker, folder, server_pem(certificates))
        try:
            await broker.start()
            lane = Lane(broker, cells[0].broker, folder, certificates, **options)
            for cell in cells:
                print(json.dumps(await lane.cell(cell)), flush=True)
        finally:
            broker.kill()


def main() -> None:
    """Run a lane."""
    given = json.loads(sys.argv[1])
    cells = [Cell(*one) for one in given.pop("cells")]
    given["tree"] = Path(given["tree"])
    asyncio.run(run(cells, given))


if __name__ == "__main__":
    main()
