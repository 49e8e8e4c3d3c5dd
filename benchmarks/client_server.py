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

from mqttws.local.certificates import prepare_certificates
from mqttws.net.stream import ByteStream
from mqttws.net.upgrade import accept_websocket
from mqttws.net.websocket import WebSocketStream
from mqttws.protocol import ConnectReceived, MessageReceived, ServerProtocol


class Half:
    """One connection: takes CONNECT, and acknowledges what is published."""

    def __init__(self, stream: WebSocketStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(self._loop.time())
        stream.attach(self)

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        protocol = self._protocol
        protocol.receive_data(data, now)
        while (event := protocol.next_event()) is not None:
            if isinstance(event, ConnectReceived):
                protocol.accept(now)
            elif isinstance(event, MessageReceived) and event.packet_id is not None:
                protocol.acknowledge(event.packet_id)
        answer = protocol.data_to_send(now)
        if answer:
            self._stream.write(answer)

    def stream_ended(self, cause: Exception) -> None:
        self._stream.abort()

    def writing_paused(self, paused: bool) -> None:
        pass


async def serve_mqtt(tls: ssl.SSLContext | None) -> asyncio.Server:
    """Serve our own half."""
    tasks: set[asyncio.Task[None]] = set()
    halves: list[Half] = []

    async def greet(stream: ByteStream) -> None:
        if tls is None:
            stream.resume_reading()
        else:
            await stream.start_tls(tls, None, 30)
        halves.append(Half(await accept_websocket(stream, lambda path: True, 2**20)))

    def connected(stream: ByteStream) -> None:
        task = asyncio.get_running_loop().create_task(greet(stream))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return await asyncio.get_running_loop().create_server(
        lambda: ByteStream(connected), "127.0.0.1", 0, backlog=500
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
        server = await serve_mqtt(context)
        servers.append(server)
        ports["mqtt" + name] = server.sockets[0].getsockname()[1]
        bare = await serve(
            echo, "127.0.0.1", 0, ssl=context, compression=None, ping_interval=None, backlog=500
        )
        servers.append(bare.server)
        ports["echo" + name] = next(iter(bare.sockets)).getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
