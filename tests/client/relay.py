"""A small TCP relay that does to a connection what networks do: cut, stall, trickle, split.

Everything is decided by what the test sets, or by a seeded ``Random`` that the test passes in.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mqttws.local.listeners import close_listeners

UP, DOWN = "up", "down"
"""From the client to the server, and back."""


class Relay:
    """Carries every connection to one port.

    Attributes:
        port: where clients connect.
        target: where they are carried to; may change between connections.
        carried: bytes that the newest connection has carried, by direction.
        cut_after: by direction, after how many bytes the next connections are cut; None for never.
        next_cut: if set, asked at each new connection for its ``cut_after``.
        split: the largest piece in bytes that is passed on at once; None for whatever comes.
        connections: how many there have been.
    """

    def __init__(self, target: int, chance: random.Random | None = None) -> None:
        self.target = target
        self.port = 0
        self.carried = {UP: 0, DOWN: 0}
        self.cut_after: dict[str, int | None] = {UP: None, DOWN: None}
        self.next_cut: Callable[[], dict[str, int | None]] | None = None
        self.split: int | None = None
        self.connections = 0
        self._chance = chance
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def stall(self) -> None:
        """Pass nothing on any more, and tell nobody."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on again what comes."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side, or the test, ends it."""
        self.connections += 1
        carried = self.carried = {UP: 0, DOWN: 0}
        limits = dict(self.next_cut() if self.next_cut else self.cut_after)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            answers, far = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(far)
            ways = [
                asyncio.ensure_future(self._carry(UP, reader, far, carried, limits[UP])),
                asyncio.ensure_future(self._carry(DOWN, answers, writer, carried, limits[DOWN])),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in (writer, far):
                if one is not None:
                    self._writers.discard(one)
                    one.close()

    async def _carry(
        self,
        way: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        carried: dict[str, int],
        limit: int | None,
    ) -> None:
        while limit is None or carried[way] < limit:
            await self._flowing.wait()
            data = await reader.read(self._piece(None if limit is None else limit - carried[way]))
            if not data:
                return
            await self._flowing.wait()
            writer.write(data)
            carried[way] += len(data)
            await writer.drain()
        # What was passed on arrives; then both ends learn that there is no more.

    def _piece(self, left: int | None) -> int:
        size = self.split or 65536
        if self._chance is not None and self.split is not None:
            size = self._chance.randint(1, self.split)
        return size if left is None else min(size, left)

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
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def relay(target: int, chance: random.Random | None = None) -> AsyncIterator[Relay]:
    """Run a relay to a port on this machine."""
    made = Relay(target, chance)
    server = await asyncio.start_server(made.started, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await close_listeners([server])
        await made.stop()
