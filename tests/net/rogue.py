"""Servers that do as they are told, above all what they must not: raw bytes on loopback."""

import asyncio
import base64
import datetime
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from mqttws.local.certificates import make_ca, make_server_certificate
from tests.listeners import close_listeners

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve ``handler`` on a free loopback port; yields the port."""
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has left: it is what is being tested
        finally:
            writer.close()

    def started(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks[task] = writer
        task.add_done_callback(tasks.pop)

    server = await asyncio.start_server(started, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await close_listeners([server])
        begun = dict(tasks)
        for task, writer in begun.items():
            task.cancel()
            writer.close()  # a task that has not begun yet would not do it
        await asyncio.gather(*begun, return_exceptions=True)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and say nothing, for as long as the client likes."""
    while await reader.read(65536):
        pass


def says(answer: bytes, *, then_close: bool = True) -> Handler:
    """Read an HTTP request, answer with these bytes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not then_close:
            await silent(reader, writer)

    return handler


async def upgrade(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    headers: Iterable[str] = ("Sec-WebSocket-Protocol: mqtt",),
    accept: str | None = None,
) -> None:
    """Answer the opening handshake (RFC 6455 section 4.2.2), with these headers."""
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(
        line.split(": ", 1)[1]
        for line in request.splitlines()
        if line.lower().startswith("sec-websocket-key")
    )
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}",
        *headers,
        "",
        "",
    ]
    writer.write("\r\n".join(lines).encode())


def frame(payload: bytes, opcode: int = 2, *, masked: bool = False, final: bool = True) -> bytes:
    """Return a WebSocket frame (RFC 6455 section 5.2) as a server sends it, or as it must not."""
    assert len(payload) < 65536
    first = (0x80 if final else 0) | opcode
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes((first, mask_bit | len(payload)))
    else:
        head = bytes((first, mask_bit | 126)) + len(payload).to_bytes(2, "big")
    return head + (bytes(4) if masked else b"") + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return opcode and unmasked payload of a client's frame."""
    first, second = await reader.readexactly(2)
    size = second & 127
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    return first & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Certificates:
    """A CA of the test's own and server certificates from it, in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.datetime.now(datetime.UTC)
        self._ca, self._ca_key = make_ca(self._now)
        self.ca_file = folder / "test-ca.pem"
        self.ca_file.write_bytes(self._ca.public_bytes(serialization.Encoding.PEM))

    def server(self, *hosts: str, age: datetime.timedelta = datetime.timedelta()) -> ssl.SSLContext:
        """Return a server's context for ``hosts`` with a certificate made ``age`` ago."""
        certificate, key = make_server_certificate(
            self._ca, self._ca_key, hosts or ("127.0.0.1", "localhost"), self._now - age
        )
        chain_file = self._folder / f"server-{certificate.serial_number}.pem"
        chain_file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain_file)
        return context
