"""Names and TCP: a host's addresses, and the first of them that accepts (RFC 8305).

Knows the operating system's resolver and sockets. Does not know what leads through them.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from ..errors import NameNotResolved, Unreachable
from ..hops import Hop
from .failures import NO_ROUTE, reason_of, translate
from .stream import ByteStream

HEAD_START = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305)."""

Address = tuple[int, int, int, str, Any]
"""What ``getaddrinfo`` returns for one address."""


async def connect(addresses: list[Address], where: str, hop: Hop = Hop.TCP) -> ByteStream:
    """Return a stream to the first address that answers.

    Raises:
        Unreachable: none answered.
    """
    connected = await race(addresses, where, hop)
    try:
        _, stream = await asyncio.get_running_loop().create_connection(ByteStream, sock=connected)
    except BaseException:
        connected.close()
        raise
    return stream


async def resolve(host: str, port: int) -> list[Address]:
    """Return the host's addresses, IPv6 and IPv4 in turn (RFC 8305 section 4).

    The look-up runs in a thread of its own that nothing waits for: the operating system's cannot be
    stopped, and must hold up neither a deadline nor the end of the program.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Address]] = loop.create_future()

    def deliver(addresses: list[Address], error: OSError | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[Address] = []
        failure: OSError | None = None
        try:
            addresses = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failure = error
        except UnicodeError:  # a label that is empty or too long for IDNA
            failure = socket.gaierror(socket.EAI_NONAME, "not a host name")
        with suppress(RuntimeError):  # the loop may have ended meanwhile: nobody waits any more
            loop.call_soon_threadsafe(deliver, addresses, failure)

    threading.Thread(target=look_up, name="mqttws-resolve", daemon=True).start()
    addresses = await found
    if not addresses:
        raise NameNotResolved(f"{host} has no address", hop=Hop.NAME)
    first: list[Address] = []
    other: list[Address] = []
    for address in addresses:
        (first if address[0] == addresses[0][0] else other).append(address)
    mixed: list[Address] = []
    for number in range(max(len(first), len(other))):
        mixed += first[number : number + 1] + other[number : number + 1]
    return mixed


async def race(addresses: list[Address], where: str, hop: Hop = Hop.TCP) -> socket.socket:
    """Return a socket connected to the first address that answers (RFC 8305 section 5).

    Each is given a short head start over the next; the losers are closed.

    Raises:
        Unreachable: none answered; says what each said.
    """
    attempts: dict[asyncio.Task[socket.socket], str] = {}
    failures: list[tuple[str, OSError]] = []
    waiting = list(addresses)
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.pop(0)
                attempts[asyncio.ensure_future(_try_address(address))] = address[4][0]
            done, _ = await asyncio.wait(
                attempts,
                timeout=HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                name = attempts.pop(attempt)
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                if not isinstance(error, OSError):
                    raise error
                failures.append((name, error))
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close_loser)
            attempt.cancel()
    if len(failures) == 1:
        raise translate(failures[0][1], hop, where) from failures[0][1]
    told = "; ".join(f"{name}: {reason_of(error)}" for name, error in failures)
    # A host without IPv6 has no route there, which is nobody's fault where IPv4 failed otherwise.
    errors = [error for _, error in failures]
    telling = next((error for error in errors if error.errno not in NO_ROUTE), errors[0])
    usual = translate(telling, hop, where)
    raise Unreachable(
        f"{hop.value}: {where}: {told}", hop=hop, cause=usual.cause, hint=usual.hint
    ) from telling


async def _try_address(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    attempt = socket.socket(family, kind, protocol)
    try:
        attempt.setblocking(False)
        await asyncio.get_running_loop().sock_connect(attempt, where)
    except BaseException:
        attempt.close()
        raise
    return attempt


def _close_loser(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
