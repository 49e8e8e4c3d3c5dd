"""The name servers of this host, asked one by one for a name that could not be resolved.

The operating system's look-up gives one code for many faults. A question of our own to each server
tells them apart: an unknown name, a broken or refusing server, a silent one, a name without an
address.
"""

import asyncio
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
ASK_TIMEOUT = 2.0
"""Seconds for an answer; all servers are asked at once."""

MAX_SERVERS = 3
"""Name servers that the C library uses (resolv.conf(5))."""

_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
"""Response codes (RFC 1035 section 4.1.1)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A name server's answer to a question for a name's address.

    Attributes:
        server: its address.
        code: ``NXDOMAIN``, ``SERVFAIL``, ``REFUSED``, ``NOERROR`` …; ``silent`` for none,
            ``closed`` where nothing listens there.
        addresses: how many addresses stood in it.
    """

    server: str
    code: str
    addresses: int = 0

    def __str__(self) -> str:
        if self.code == "silent":
            return f"{self.server} does not answer"
        if self.code == "closed":
            return f"{self.server}: no name server runs there"
        if self.code == "NOERROR" and not self.addresses:
            return f"{self.server} knows the name, without an address"
        return f"{self.server} answers {self.code}"


def name_servers(path: Path = RESOLV_CONF) -> list[str]:
    """Return the addresses of this host's name servers; none where they stand elsewhere."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
    found = [line.split()[1] for line in lines if line.split()[:1] == ["nameserver"] and line[10:]]
    return found[:MAX_SERVERS]


async def ask_all(host: str, servers: list[str], timeout: float = ASK_TIMEOUT) -> list[Answered]:
    """Ask each server for a host's IPv4 address; none is asked for what can be no name."""
    try:
        _build_question(host, 0)
    except (UnicodeError, ValueError):
        return []
    return list(await asyncio.gather(*(_ask(host, server, timeout) for server in servers)))


class _Question(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take the answer."""
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """Take the operating system's word that nothing listens there."""
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask(host: str, server: str, timeout: float) -> Answered:
    number = secrets.randbits(16)
    question = _build_question(host, number)
    try:
        transport, asked = await asyncio.get_running_loop().create_datagram_endpoint(
            _Question, remote_addr=(server, 53)
        )
    except (OSError, ValueError):
        return Answered(server, "closed")
    try:
        transport.sendto(question)
        async with asyncio.timeout(timeout):
            data = await asked.answer
    except TimeoutError:
        return Answered(server, "silent")
    except OSError:
        return Answered(server, "closed")
    finally:
        transport.close()
    if len(data) < 12 or data[:2] != number.to_bytes(2, "big"):
        return Answered(server, "FORMERR")
    flags, _, answers = struct.unpack_from(">HHH", data, 2)
    return Answered(server, _CODES.get(flags & 15, f"code {flags & 15}"), answers)


def _build_question(host: str, number: int) -> bytes:
    """Return a query for an A record, with recursion (RFC 1035 section 4.1)."""
    labels = host.rstrip(".").encode("ascii").split(b".")
    if not all(1 <= len(label) <= 63 for label in labels):
        raise ValueError("not a host name")
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)
