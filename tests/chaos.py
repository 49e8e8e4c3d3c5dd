"""A TCP relay that does to connections what networks and their boxes do, with seeds.

It cuts (RST, FIN), falls silent, leaves one end half open, trickles, throttles, pauses beyond the
keep-alive, and does each of it at a chosen byte or at a chosen MQTT packet of a chosen direction,
within WebSocket frames too. TLS ends at the relay and begins anew behind it, so that it sees the
packets of ``wss`` and ``mqtts``.

A test uses it in one of two ways: by hand (``stall``, ``resume``, ``cut``, ``cut_after``,
``split``), or with a ``Fate`` for each connection.
"""

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from operator import attrgetter

from tests.listeners import close_listeners

from .chaos_tap import Seen, Tap

UP, DOWN = "up", "down"
"""From the client to the server, and back."""

SLOW_BYTES_PER_SECOND = 20_000

FIN_HOLD = 0.5
"""Seconds for which a connection's bytes are still read after its FIN, so that no RST follows."""

LAST_BYTES = 3.0
"""Seconds for which what an end sent before it went is still passed on."""


class Effect(Enum):
    """The end of a connection, or the middle of it."""

    RST = "RST"
    """Both ends get a reset."""
    FIN = "FIN"
    """Both ends get an end of stream, at any byte; what they still send is read and dropped."""
    SILENCE = "silence"
    """Both ends' bytes are taken and dropped, as a hung box does."""
    HALF_OPEN = "half-open"
    """The server's end is reset; the client's bytes are not even taken."""
    PAUSE = "pause"
    """Nothing passes for a while; then all of it does, though the client may have left."""


class Drip(Enum):
    """The first bytes of a connection."""

    SINGLE = "single bytes"
    SLOW = "20 kB/s"


@dataclass(frozen=True)
class Fate:
    """What happens to one connection, and when.

    Attributes:
        effect: what.
        direction: whose bytes or packets are counted.
        after: it happens after this many bytes,
        packet: or at a packet of this kind (``"PUBREC"``),
        nth: the how many-th of them.
        passed: whether that packet is still passed on.
        patience: seconds after which it happens though the moment never came.
        hold: seconds that silence, a half-open connection or a pause lasts.
        drip: how the first ``drip_bytes`` pass, in each direction.
    """

    effect: Effect
    direction: str = UP
    after: int | None = None
    packet: str | None = None
    nth: int = 1
    passed: bool = True
    patience: float = 5.0
    hold: float = 5.0
    drip: Drip | None = None
    drip_bytes: int = 1500


@dataclass(eq=False)
class Connection:
    """One connection through the relay.

    Attributes:
        number: 1 for the relay's first.
        client_id: of its CONNECT; empty until that has come.
        carried: bytes passed on, by direction.
        unfinished: exchanges of QoS 1 and 2 that have begun and not ended here, by the direction
            of their PUBLISH and its packet identifier.
        fate: what will happen to it.
        struck: set when that has happened, and
        missed: whether it happened for want of patience.
        hit: how many exchanges were unfinished then, or messages of QoS 0 had passed.
        ended: why it ended: an effect's name; ``left`` after DISCONNECT, ``client`` or ``server``
            for one that closed without being asked to; ``refused`` where the server's port was
            closed; empty while it is open.
        opened, struck_at: times of the event loop.
        greeted: whether CONNACK has come, and
        left: whether DISCONNECT has.
        gone: the end that takes no more bytes; empty while both do.
    """

    number: int
    opened: float
    fate: Fate | None = None
    client_id: str = ""
    carried: dict[str, int] = field(default_factory=lambda: {UP: 0, DOWN: 0})
    unfinished: set[tuple[str, int]] = field(default_factory=set)
    messages: int = 0  # of QoS 0
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    struck_at: float = 0.0
    missed: bool = False
    hit: int = 0
    ended: str = ""
    greeted: bool = False
    left: bool = False
    gone: str = ""
    count: int = 0  # packets of the kind that the fate waits for
    dropping: bool = False
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    ends: dict[str, asyncio.StreamWriter] = field(default_factory=dict)  # by where they lead

    def note(self, way: str, seen: Seen, passed: bool) -> None:
        """Follow the exchanges."""
        other = DOWN if way == UP else UP
        match seen.kind:
            case "CONNECT":
                self.client_id = seen.client_id
            case "PUBLISH":
                if seen.qos:
                    self.unfinished.add((way, seen.packet_id))
                else:
                    self.messages += 1
            case "PUBREL":
                self.unfinished.add((way, seen.packet_id))
            case "PUBACK" | "PUBCOMP" if passed:
                self.unfinished.discard((other, seen.packet_id))
            case "CONNACK":
                self.greeted = True
            case "DISCONNECT":
                self.left = True


class Relay:
    """Carries every connection to one port.

    Attributes:
        port: where clients connect.
        target: where they are carried to; may change between connections.
        carried: bytes that the newest connection has carried, by direction.
        cut_after: by direction, after how many bytes the next connections are closed; None: never.
        next_cut: if set, called at each new connection for its ``cut_after``.
        split: the largest piece in bytes that is passed on at once; None for whatever comes.
        fates: if set, called at each new connection for its ``Fate``; None spares that one.
        watch: if set, called with each packet, and whether it is passed on.
        on_struck: if set, called when a connection's fate has come.
        connections: how many there have been.
        history: all connections, if there are fates or a watch.
    """

    def __init__(self, target: int, chance: random.Random | None = None) -> None:
        self.target = target
        self.port = 0
        self.carried = {UP: 0, DOWN: 0}
        self.cut_after: dict[str, int | None] = {UP: None, DOWN: None}
        self.next_cut: Callable[[], dict[str, int | None]] | None = None
        self.split: int | None = None
        self.fates: Callable[[], Fate | None] | None = None
        self.watch: Callable[[Connection, str, Seen, bool], None] | None = None
        self.on_struck: Callable[[Connection], None] | None = None
        self.connections = 0
        self.history: list[Connection] = []
        self.tls_behind: ssl.SSLContext | None = None
        self._chance = chance
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # By hand

    def stall(self) -> None:
        """Pass nothing on any more, and end nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on again what comes."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for one in list(self._open):
            one.ended = one.ended or "RST"
            for writer in list(one.ends.values()):
                reset(writer)

    def calm(self) -> None:
        """Spare all connections, those that are open too."""
        self.fates = None
        for one in self._open:
            if not one.struck.is_set():
                one.fate = None

    # One connection

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side, its fate or the test ends it."""
        self.connections += 1
        loop = asyncio.get_running_loop()
        fate = self.fates() if self.fates else None
        link = Connection(self.connections, loop.time(), fate)
        link.flowing.set()
        self.carried = link.carried
        limits = dict(self.next_cut() if self.next_cut else self.cut_after)
        if self.fates or self.watch:
            self.history.append(link)
        self._open.add(link)
        link.ends[DOWN] = writer
        try:
            answers, far = await asyncio.open_connection(
                "127.0.0.1",
                self.target,
                ssl=self.tls_behind,
                server_hostname="localhost" if self.tls_behind else None,
            )
            link.ends[UP] = far
            ways = [
                asyncio.ensure_future(self._carry(link, UP, reader, far, limits[UP])),
                asyncio.ensure_future(self._carry(link, DOWN, answers, writer, limits[DOWN])),
                asyncio.ensure_future(self._live_out(link)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                if link.gone:  # what it said last, perhaps DISCONNECT, may stand behind a drip
                    said = ways[0] if link.gone == "client" else ways[1]
                    await asyncio.wait(
                        [said, ways[2]], timeout=LAST_BYTES, return_when=asyncio.FIRST_COMPLETED
                    )
                    link.ended = link.ended or ("left" if link.left else link.gone)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            link.ended = link.ended or "refused"
        finally:
            self._open.discard(link)
            link.ended = link.ended or "stopped"
            for one in link.ends.values():
                one.close()

    async def _carry(
        self,
        link: Connection,
        way: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: int | None,
    ) -> None:
        tap = Tap() if link.fate or self.watch else None
        carried = link.carried
        while limit is None or carried[way] < limit:
            await self._may_flow(link)
            try:
                data = await reader.read(
                    self._piece(None if limit is None else limit - carried[way])
                )
            except OSError:  # a reset: asyncio's reader withholds what had come before it
                data = bytes(reader._buffer)  # type: ignore[attr-defined]
                reader._buffer.clear()  # type: ignore[attr-defined]
            if link.dropping:
                if not data:
                    await asyncio.sleep(link.fate.hold if link.fate else 0)  # the other end stays
                continue
            await self._may_flow(link)
            if not data:
                gone = "client" if way == UP else "server"
                link.ended = link.ended or ("left" if link.left else gone)
                return
            strikes = False
            if tap is not None:
                data, strikes = self._read_over(link, way, tap, data)
            try:
                await self._pass(link, way, writer, data)
            except OSError:
                link.gone = link.gone or ("server" if way == UP else "client")
                return
            if strikes and not link.struck.is_set():
                self._strike(link)
        # What was passed on arrives; then both ends learn that there is no more.

    def _read_over(self, link: Connection, way: str, tap: Tap, data: bytes) -> tuple[bytes, bool]:
        """Return what is passed on of ``data``, and whether the fate's moment has come.

        Packets of one WebSocket frame pass together or not at all: the frame is what is passed on.
        """
        before = link.carried[way]
        stop = whole = before + len(data)
        fate = None if link.struck.is_set() else link.fate
        pause = fate is not None and fate.effect is Effect.PAUSE  # goes on behind what has come
        strikes = False
        if fate is not None and fate.after is not None and fate.direction == way:
            strikes = whole >= fate.after
            stop = min(whole, max(before, fate.after)) if strikes and not pause else whole
        last = before
        for end, frame in groupby(tap.feed(data), key=attrgetter("end")):
            together = list(frame)
            moment = any(self._is_moment(link, way, one) for one in together)
            if fate is not None and moment and not pause:
                stop = end if fate.passed else last
            for one in together:
                if self.watch is not None:
                    self.watch(link, way, one, end <= stop)
                link.note(way, one, end <= stop)
            strikes = strikes or moment
            if moment and not pause:
                break
            last = end
        return data[: stop - before], strikes

    @staticmethod
    def _is_moment(link: Connection, way: str, seen: Seen) -> bool:
        fate = link.fate
        if (
            fate is None
            or link.struck.is_set()
            or fate.direction != way
            or fate.packet != seen.kind
        ):
            return False
        link.count += 1
        return link.count >= fate.nth

    async def _pass(
        self, link: Connection, way: str, writer: asyncio.StreamWriter, data: bytes
    ) -> None:
        fate = link.fate
        if fate is not None and fate.drip is not None:
            left = max(0, fate.drip_bytes - link.carried[way])
            step = 1 if fate.drip is Drip.SINGLE else SLOW_BYTES_PER_SECOND // 20
            for at in range(0, min(left, len(data)), step):
                piece = data[at : min(at + step, left)]
                writer.write(piece)
                link.carried[way] += len(piece)
                await writer.drain()
                await asyncio.sleep(0 if fate.drip is Drip.SINGLE else 0.05)
            data = data[left:]
        if data:
            writer.write(data)
            link.carried[way] += len(data)
            await writer.drain()

    async def _may_flow(self, link: Connection) -> None:
        await self._flowing.wait()
        await link.flowing.wait()

    def _piece(self, left: int | None) -> int:
        size = self.split or 65536
        if self._chance is not None and self.split is not None:
            size = self._chance.randint(1, self.split)
        return size if left is None else min(size, left)

    # Its fate

    def _strike(self, link: Connection) -> None:
        """Let the fate come."""
        fate = link.fate
        assert fate is not None
        link.struck_at = asyncio.get_running_loop().time()
        link.hit = len(link.unfinished) or link.messages
        if fate.effect is Effect.PAUSE:
            link.flowing.clear()
        else:
            link.ended = fate.effect.value
            link.dropping = True
        if fate.effect is Effect.HALF_OPEN:
            link.flowing.clear()
            if UP in link.ends:
                reset(link.ends[UP])
        elif fate.effect is Effect.FIN:
            for writer in link.ends.values():
                with suppress(OSError):
                    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        link.struck.set()
        if self.on_struck is not None:
            self.on_struck(link)

    async def _live_out(self, link: Connection) -> None:
        """Wait for the fate, and for the end that it brings."""
        fate = link.fate
        try:
            async with asyncio.timeout(fate.patience if fate else None):
                await link.struck.wait()
        except TimeoutError:
            if link.fate is not None:
                link.missed = True
                self._strike(link)
        if fate is None or not link.struck.is_set():  # spared
            await asyncio.get_running_loop().create_future()
        assert fate is not None
        if fate.effect is Effect.PAUSE:
            await asyncio.sleep(fate.hold)
            link.flowing.set()
            await asyncio.get_running_loop().create_future()
        if fate.effect is Effect.FIN:
            await asyncio.sleep(min(fate.hold, FIN_HOLD))
            return
        if fate.effect is not Effect.RST:
            await asyncio.sleep(fate.hold)
        for writer in link.ends.values():
            reset(writer)

    # The program

    def started(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        task = asyncio.get_running_loop().create_task(self.serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a socket with RST, as a lost host's does."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def relay(
    target: int,
    chance: random.Random | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    tls_behind: ssl.SSLContext | None = None,
) -> AsyncIterator[Relay]:
    """Run a relay to a port on this machine.

    Args:
        target: the port.
        chance: for the sizes of pieces, if ``split`` is set.
        tls: to be the server of TLS for the clients; None for none.
        tls_behind: to be a client of TLS to the server.
    """
    made = Relay(target, chance)
    made.tls_behind = tls_behind
    server = await asyncio.start_server(made.started, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await close_listeners([server])
        await made.stop()
