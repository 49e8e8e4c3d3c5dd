"""A server of MQTT packets that does, on each connection, what a test's script says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from mqttws.wire import (
    ConnAck,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    encode,
)

from ..net.rogue import listening
from .relay import reset

DEADLINE = 20.0
"""Seconds within which a packet must come."""


class Peer:
    """One client's connection, seen from the server.

    Attributes:
        number: 1 for the server's first connection.
        connect: its CONNECT.
    """

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.connect: Connect | None = None
        self._decoder = Decoder(300_000_000, strict=False)

    async def packet(self) -> Packet | None:
        """Return the next packet; None at the end."""
        while (packet := self._decoder.next_packet()) is None:
            async with asyncio.timeout(DEADLINE):
                data = await self.reader.read(65536)
            if not data:
                return None
            self._decoder.feed(data)
        return packet

    async def publish(self) -> Publish:
        """Return the next PUBLISH."""
        while not isinstance(packet := await self.packet(), Publish):
            assert packet is not None, "the client left"
        return packet

    def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(map(encode, packets)))

    async def greet(self, session_present: bool = False) -> Connect:
        packet = await self.packet()
        assert isinstance(packet, Connect)
        self.connect = packet
        self.send(ConnAck(session_present))
        return packet

    def answer(self, packet: Packet) -> None:
        """Do what a good server does."""
        match packet:
            case Publish(qos=1, packet_id=int(packet_id)):
                self.send(PubAck(packet_id))
            case Publish(qos=2, packet_id=int(packet_id)):
                self.send(PubRec(packet_id))
            case PubRel(packet_id):
                self.send(PubComp(packet_id))
            case PubRec(packet_id):
                self.send(PubRel(packet_id))
            case Subscribe(packet_id, subscriptions):
                self.send(SubAck(packet_id, [one.qos for one in subscriptions]))
            case Unsubscribe(packet_id):
                self.send(UnsubAck(packet_id))
            case PingReq():
                self.send(PingResp())

    async def serve(self, heard: list[Packet] | None = None) -> None:
        """Answer everything until the client leaves."""
        while (packet := await self.packet()) is not None:
            if heard is not None:
                heard.append(packet)
            if isinstance(packet, Disconnect):
                return
            self.answer(packet)

    def reset(self) -> None:
        """Cut the connection with RST."""
        reset(self.writer)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """Run ``script`` on each connection; yields the port."""
    count = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        with suppress(ConnectionError, TimeoutError):
            await script(Peer(count, reader, writer))

    async with listening(handler) as port:
        yield port
