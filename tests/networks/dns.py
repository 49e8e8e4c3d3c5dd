"""A name server by script: each name has its answers, silences and delays."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


@dataclass
class Name:
    """The answers for one name.

    Attributes:
        v4: addresses.
        v6: addresses.
        code: response code; ``code6`` for AAAA, None for the same.
        silent: the question types that are not answered.
        delay: seconds before an answer.
    """

    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    code: int = NOERROR
    code6: int | None = None
    silent: frozenset[int] = frozenset()
    delay: float = 0.0


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Answers what stands in ``names``; NXDOMAIN else."""

    names: dict[str, Name] = field(default_factory=dict)
    default: Name = field(default_factory=lambda: Name(code=NXDOMAIN))
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: object) -> None:
        labels, position = [], 12
        while size := data[position]:
            labels.append(data[position + 1 : position + 1 + size].decode())
            position += size + 1
        end = position + 5
        (kind,) = struct.unpack_from(">H", data, position + 1)
        name = self.names.get(".".join(labels).lower(), self.default)
        if kind in name.silent:
            return
        answer = self._answer(data, end, kind, name)
        loop = asyncio.get_running_loop()
        loop.call_later(name.delay, self.transport.sendto, answer, addr)  # type: ignore[union-attr]

    @staticmethod
    def _answer(data: bytes, end: int, kind: int, name: Name) -> bytes:
        code = name.code if kind != AAAA or name.code6 is None else name.code6
        family, addresses = {
            A: (socket.AF_INET, name.v4),
            AAAA: (socket.AF_INET6, name.v6),
        }.get(kind, (socket.AF_INET, ()))
        if code != NOERROR:
            addresses = ()
        records = b""
        for address in addresses:
            raw = socket.inet_pton(family, address)
            records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 1, len(raw)) + raw
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
        return head + data[12:end] + records
