"""A network in a namespace of its own: name server, firewall, a DPS on its real ports, scripts.

Everything runs as root in fresh network and mount namespaces, so that the ports, the resolver's
file and the firewall are this world's alone.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from mqttws import AsyncLocalDps, TlsConfig
from mqttws.local.alerts import handshake_of
from mqttws.local.certificates import prepare_certificates

from .dns import NXDOMAIN, Name, NameServer
from .pki import Pki

HOST = "dps.test"
PUBLIC = "global.azure-devices-provisioning.net"
UMLAUT = "xn--strae-oqa.test"
NAME_SERVER = "127.0.0.53"
INNER_WSS, INNER_MQTTS = 10443, 18883
SYN = "tcp flags & (syn | ack) == syn"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class World:
    """The peers of one process.

    Attributes:
        dps: a DPS on inner ports; ``good`` opens 443 and 8883 in front of it.
        key: of the enrolled device.
        ca: the file of its CA.
        names: what the name server answers.
        pki: for servers with other certificates.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pki = Pki(folder)
        self.name_server = NameServer()
        self.dps: AsyncLocalDps
        self.key = ""
        self._resolv = folder / "resolv.conf"
        self._hosts = folder / "hosts"

    @property
    def names(self) -> dict[str, Name]:
        return self.name_server.names

    @property
    def ca(self) -> Path:
        return self.dps.ca_file

    @property
    def trust(self) -> TlsConfig:
        """Trust in the DPS's CA, as ``--ca`` has it."""
        return TlsConfig(ca=self.ca)

    @property
    def field_trust(self) -> TlsConfig:
        """Trust in the root of ``pki``."""
        return TlsConfig(ca=self.pki.root.pem)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        _own_files({"/etc/resolv.conf": self._resolv, "/etc/hosts": self._hosts})
        subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
        _cut_packets_here("lo")
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self.name_server, local_addr=(NAME_SERVER, 53))
        named = (HOST, PUBLIC, UMLAUT, "both.test", "127.0.0.1", "::1", os.uname().nodename)
        prepare_certificates(self.folder, named)
        self.dps = AsyncLocalDps(
            state=self.folder, wss_port=INNER_WSS, mqtts_port=INNER_MQTTS, retry_after=0
        )
        async with self.dps:
            self.key = await self.dps.enroll_device("my-device")
            self.reset()
            yield self

    def reset(self) -> None:
        """Return to a network without faults."""
        self.name_server.names = {
            HOST: Name(("127.0.0.1",)),
            PUBLIC: Name(("127.0.0.1",)),
            UMLAUT: Name(("127.0.0.1",)),
            "both.test": Name(("127.0.0.1",), ("::1",)),
            "proxy.test": Name(("127.0.0.1",)),
        }
        self.name_server.default = Name(code=NXDOMAIN)
        self.resolv(NAME_SERVER)
        self._hosts.write_text("127.0.0.1 localhost\n")
        self.firewall()

    def resolv(self, *servers: str, options: str = "timeout:1 attempts:1") -> None:
        """Write the resolver's file."""
        lines = [f"nameserver {server}" for server in servers]
        self._resolv.write_text("\n".join([*lines, f"options {options}", ""]))

    def firewall(self, *rules: str, hook: str = "output") -> None:
        """Set the rules for packets; on loopback each leaves (``output``) and arrives (``input``).

        What is dropped as it leaves is told to the sender's own TCP; a loss on the way is
        ``input``.
        """
        text = "table inet world\ndelete table inet world\ntable inet world {\n"
        text += f"chain rules {{\n type filter hook {hook} priority 0;\n"
        text += "\n".join(rules) + "\n}\n}\n"
        subprocess.run(["/usr/sbin/nft", "-f", "-"], input=text, text=True, check=True)

    @asynccontextmanager
    async def good(self, *ports: int, host: str = "127.0.0.1") -> AsyncIterator[None]:
        """Open the DPS's real ports."""
        async with contextlib.AsyncExitStack() as stack:
            for port in ports or (443, 8883):
                inner = INNER_MQTTS if port == 8883 else INNER_WSS
                await stack.enter_async_context(serving(relay(inner), port, host=host))
            yield

    @asynccontextmanager
    async def fronted(self, context: ssl.SSLContext) -> AsyncIterator[None]:
        """Open 443 and 8883 with another TLS context in front of the DPS."""
        async with (
            serving(relay(INNER_WSS, inside=True), 443, context),
            serving(relay(INNER_MQTTS, inside=True), 8883, context),
        ):
            yield


def _own_files(files: dict[str, Path]) -> None:
    """Lay files of our own over those of the system, in a mount namespace of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for there, here in files.items():
        here.write_text("")
        here.chmod(0o644)
        subprocess.run(["mount", "--bind", str(here), os.path.realpath(there)], check=True)


def _cut_packets_here(interface: str) -> None:
    """Have TCP make the packets itself, as they would be on a wire (ethtool -K tso off gso off)."""
    for command in (0x1F, 0x24, 0x2C):  # ETHTOOL_STSO, _SGSO, _SGRO (linux/ethtool.h)
        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
        request = struct.pack("16sP8x", interface.encode(), ctypes.addressof(value))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, 0x8946, request)  # SIOCETHTOOL


# Servers by script


@asynccontextmanager
async def serving(
    handler: Handler,
    port: int,
    tls: ssl.SSLContext | None = None,
    *,
    host: str = "127.0.0.1",
) -> AsyncIterator[None]:
    """Serve ``handler`` on a port; what it leaves open is closed at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if tls is not None:
                with handshake_of(writer.transport):  # so that it sends its alert
                    await writer.start_tls(tls)
            await handler(reader, writer)
        with suppress(Exception):
            writer.close()

    def started(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(started, host, port, limit=1 << 20)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def relay(port: int, *, inside: bool = False) -> Handler:
    """Return a handler that joins a client to the DPS; ``inside`` TLS of its own."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = None
        if inside:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        await join(reader, writer, there_reader, there_writer)

    return handler


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there_reader: asyncio.StreamReader,
    there_writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes on both ways until either side ends."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

    ways = [
        asyncio.ensure_future(pump(reader, there_writer)),
        asyncio.ensure_future(pump(there_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        there_writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and say nothing."""
    while await reader.read(65536):
        pass


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the first bytes."""
    await reader.read(65536)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first bytes with a reset."""
    await reader.read(1)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def says(answer: bytes, *, first: bool = False, then_close: bool = True) -> Handler:
    """Answer the first bytes (or nothing at all: ``first``) with these bytes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.read(65536)
        writer.write(answer)
        await writer.drain()
        if not then_close:
            await silent(reader, writer)
        elif writer.can_write_eof():
            writer.write_eof()
            await reader.read(65536)

    return handler


def answers(answer: bytes, *, then_close: bool = True) -> Handler:
    """Answer an HTTP request's head with these bytes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not then_close:
            await silent(reader, writer)

    return handler


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables of this process for a while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
