"""A DPS over MQTT and TLS that answers, on each connection, as a test's script says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from mqttws import Assignment, SymmetricKey, TlsConfig, provision_async
from mqttws.wire import PubAck, Publish, SubAck, Subscribe

from ..client.scripted import Peer
from ..net.rogue import Certificates, listening

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

ASSIGNED = {
    "operationId": "op",
    "status": "assigned",
    "registrationState": {"assignedHub": "a-hub.azure-devices.net", "deviceId": "dev"},
}


class Service:
    """The connections so far, and one of them.

    Attributes:
        peer: the connection.
        requests: the topics of all requests, on all connections.
    """

    def __init__(self, peer: Peer, requests: list[str]) -> None:
        self.peer = peer
        self.requests = requests

    async def welcome(self) -> None:
        """Answer CONNECT and SUBSCRIBE."""
        await self.peer.greet()
        packet = await self.peer.packet()
        assert isinstance(packet, Subscribe)
        self.peer.send(SubAck(packet.packet_id, [1]))

    async def request(self, *, acknowledged: bool = True) -> str:
        """Return the next request's ``$rid``, which answers it."""
        packet = await self.peer.publish()
        self.requests.append(packet.topic)
        if acknowledged:
            assert packet.packet_id is not None
            self.peer.send(PubAck(packet.packet_id))
        return packet.topic.partition("$rid=")[2].partition("&")[0]

    def answer(self, status: int, body: object, query: str) -> None:
        """Publish an answer; ``body`` is JSON, or bytes as they are."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.peer.send(Publish(f"$dps/registrations/res/{status}/?{query}", payload))


Script = Callable[[Service], Awaitable[None]]


class Scripted:
    """A running service.

    Attributes:
        port: where it listens.
        connections: how many there were.
        requests: the topics of all requests.
    """

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.requests: list[str] = []


@asynccontextmanager
async def scripted_dps(certificates: Certificates, script: Script) -> AsyncIterator[Scripted]:
    """Run a service whose connections each follow ``script``."""
    seen = Scripted()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        with suppress(ConnectionError, TimeoutError, AssertionError):
            await script(Service(Peer(seen.connections, reader, writer), seen.requests))

    async with listening(handler, certificates.server()) as seen.port:
        yield seen


async def registered(seen: Scripted, certificates: Certificates, **options: Any) -> Assignment:
    """Register with a scripted service."""
    given = {"timeout": 10.0, "hop_timeout": 2.0, "request_timeout": 1.0}
    return await provision_async(
        "0ne00SCRIPT",
        SymmetricKey("dev", KEY),
        host="127.0.0.1",
        port=seen.port,
        transport="mqtts",
        tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
        proxy=None,
        **given | options,
    )
