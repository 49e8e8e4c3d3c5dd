"""The other end for one lone client: our own server half, and a bare ``websockets`` echo beside it.

Run as a process: prints the four ports as JSON, with and without TLS, and ends with its standard
input.
"""

import asyncio
import json
import ssl
import sys
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve

from mqttws.dps.certificates import Chain
from mqttws.local.certificates import prepare_certificates
from mqttws.local.link import ServerLink
from mqttws.local.listening import FixedTls, Listener
from mqttws.net.stream import Stream
from mqttws.protocol import ConnectReceived, Event, MessageReceived, SubscribeReceived

LARGE = bytes(range(256)) * 4096
"""1 MiB."""

MAX_SIZE = 4 * len(LARGE)

listeners: list[Listener] = []


class Half:
    """One connection: takes CONNECT, and acknowledges what is published.

    All that it subscribes to is granted; a message to the topic ``send`` brings one of 1 MiB.
    """

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        self._protocol = link.protocol

    def handle(self, event: Event) -> None:
        if isinstance(event, ConnectReceived):
            self._protocol.accept(self._link.loop.time())
        elif isinstance(event, MessageReceived):
            if event.packet_id is not None:
                self._protocol.acknowledge(event.packet_id)
            elif event.topic == "send":
                self._protocol.publish("large", LARGE)
        elif isinstance(event, SubscribeReceived):
            codes = [subscription.qos for subscription in event.subscriptions]
            self._protocol.suback(event.packet_id, codes)


def take(stream: Stream, label: str, chain: Chain) -> None:
    link = ServerLink(stream, label, max_packet_size=MAX_SIZE)
    link.begin(Half(link))


async def serve_mqtt(tls: ssl.SSLContext | None) -> int:
    """Serve our own half; return its port."""
    listener = Listener(None if tls is None else FixedTls(tls))
    listeners.append(listener)
    return await listener.listen(
        "127.0.0.1",
        0,
        "mqtt",
        take,
        websocket=True,
        paths=("/", "/mqtt"),
        max_message_size=MAX_SIZE,
    )


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main(folder: Path) -> None:
    """Serve until standard input ends."""
    certificates = prepare_certificates(folder)
    ports: dict[str, object] = {"ca": str(certificates.ca_file)}
    servers = []
    for name, context in (("", None), (" tls", certificates.context())):
        ports["mqtt" + name] = await serve_mqtt(context)
        bare = await serve(
            echo, "127.0.0.1", 0, ssl=context, compression=None, ping_interval=None, backlog=500
        )
        servers.append(bare.server)
        ports["echo" + name] = next(iter(bare.sockets)).getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
