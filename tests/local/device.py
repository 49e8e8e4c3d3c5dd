"""A device spoken by hand: the ``websockets`` library's own client, our codec, nothing between."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect

from mqttws import AsyncLocalDps
from mqttws.provisioning.symmetric_key import SymmetricKey
from mqttws.wire import Connect, Decoder, Packet, Publish, Subscribe, Subscription, encode

REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid=1"
RESPONSES = "$dps/registrations/res/#"


class Device:
    """Sends packets in one frame each and reads packets out of whatever frames come."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._decoder = Decoder()

    async def send(self, *packets: Packet) -> None:
        for packet in packets:
            await self.socket.send(encode(packet))

    async def receive(self) -> Packet:
        while (packet := self._decoder.next_packet()) is None:
            data = await self.socket.recv()
            assert isinstance(data, bytes)
            self._decoder.feed(data)
        return packet


def trusting(dps: AsyncLocalDps) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(dps.ca_file))


@asynccontextmanager
async def device(
    dps: AsyncLocalDps,
    *,
    path: str = "/$iothub/websocket",
    subprotocol: str = "mqtt",
    port: int | None = None,
) -> AsyncIterator[Device]:
    async with connect(
        f"wss://127.0.0.1:{port or dps.wss_port}{path}",
        subprotocols=[subprotocol],  # type: ignore[list-item]
        ssl=trusting(dps),
        proxy=None,
    ) as socket:
        yield Device(socket)


def hello(dps: AsyncLocalDps, registration_id: str, key: str, **changes: object) -> Connect:
    """Return the CONNECT of a device that does everything right, but for ``changes``."""
    fields: dict[str, object] = {
        "client_id": registration_id,
        "username": f"{dps.id_scope}/registrations/{registration_id}/api-version=2019-03-31",
        "password": SymmetricKey(registration_id, key).password(dps.id_scope, time.time()).encode(),
    }
    return Connect(**(fields | changes))  # type: ignore[arg-type]


def wish(topic_filter: str = RESPONSES, qos: int = 1) -> Subscribe:
    return Subscribe(1, [Subscription(topic_filter, qos)])


def register(body: bytes = b"", *, qos: int = 1, topic: str = REGISTER) -> Publish:
    return Publish(topic, body, qos, packet_id=2 if qos else None)
