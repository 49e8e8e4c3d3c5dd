"""Names and TCP: a host's addresses, and the first of them that accepts (RFC 8305).

Knows the operating system's resolver and sockets. Does not know what leads through them.
"""

import _thread
import asyncio
import ipaddress
import socket
from contextlib import suppress
from typing import Any

from ..errors import ConnectFailed, Unreachable
from ..hops import Hop
from .failures import NO_ROUTE, name_blocked, name_failure, reason_of, unreachable
from .names import plain_host
from .stream import ByteStream

HEAD_START = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305)."""

RESOLUTION_DELAY = 0.25
"""Seconds that IPv4 addresses, once known, wait for IPv6 ones (RFC 8305 section 3)."""

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


# Names


async def resolve(host: str, port: int, hop: Hop = Hop.NAME) -> list[Address]:
    """Return the host's addresses, IPv6 and IPv4 in turn (RFC 8305 section 4).

    Both families are asked for at once, each by itself: a name server that swallows questions for
    IPv6 must not hold up an IPv4 address that is known.

    Raises:
        NameNotResolved: there is no address, or the name server answers with one that blocks.
        OSError: ``socket.gaierror`` of the look-up that tells more.
    """
    if (known := _numeric(host, port)) is not None:
        return known
    six, four = (_look_up(host, port, family) for family in (socket.AF_INET6, socket.AF_INET))
    await asyncio.wait({six, four}, return_when=asyncio.FIRST_COMPLETED)
    if four.done() and not four.exception() and four.result() and not six.done():
        await asyncio.wait({six}, timeout=RESOLUTION_DELAY)
    elif not (six.done() and four.done()):
        await asyncio.wait({six, four})
    done = [found for found in (six, four) if found.done()]
    families = [found.result() for found in done if not found.exception() and found.result()]
    if not families:
        failures = [error for found in done if isinstance(error := found.exception(), OSError)]
        raise name_failure(host, failures, hop)
    if all(_blocks(address) for family in families for address in family):
        raise name_blocked(host, families[0][0][4][0], hop)
    if len(families) > 1 and not has_route(families[0][0]):
        families.reverse()  # as RFC 6724 rule 1 has it: what cannot be reached comes last
    first, other = families[0], families[1] if len(families) > 1 else []
    mixed: list[Address] = []
    for number in range(max(len(first), len(other))):
        mixed += first[number : number + 1] + other[number : number + 1]
    return mixed


def _numeric(host: str, port: int) -> list[Address] | None:
    """Return the address that a host already is; None where it is a name."""
    if ":" not in host and not host[-1:].isdigit():  # hot: names seldom end in a digit
        return None
    try:
        ipaddress.ip_address(host.partition("%")[0])
        return list(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        )
    except (ValueError, OSError):
        return None


def _look_up(host: str, port: int, family: int) -> "asyncio.Future[list[Address]]":
    """Ask the operating system for addresses of one family, in a thread that nothing waits for.

    The system's look-up cannot be stopped, and must hold up neither a deadline nor the program's
    end.
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
            found.exception()  # read here: the other family's answer may be all that counts

    def look_up() -> None:
        addresses: list[Address] = []
        failure: OSError | None = None
        try:
            addresses = list(socket.getaddrinfo(plain_host(host), port, family, socket.SOCK_STREAM))
        except OSError as error:
            failure = error
        except UnicodeError:  # a label that is empty or too long for IDNA
            failure = socket.gaierror(socket.EAI_NONAME, "not a host name")
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(deliver, addresses, failure)

    # A threading.Thread costs five times as much: its start waits until the thread runs.
    _thread.start_new_thread(look_up, ())
    return found


def _blocks(address: Address) -> bool:
    """Whether an answer is no address but a filter's sign that the name is blocked."""
    return ipaddress.ip_address(address[4][0].partition("%")[0]).is_unspecified


def has_route(address: Address) -> bool:
    """Whether this machine itself knows a way to an address; sends no packet."""
    family, _, _, _, where = address
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(where)
    except OSError:
        return False
    return True


# TCP


async def race(addresses: list[Address], where: str, hop: Hop = Hop.TCP) -> socket.socket:
    """Return a socket connected to the first address that answers (RFC 8305 section 5).

    Each is given a short head start over the next; the losers are closed.

    Raises:
        Unreachable: none answered; says what each said.
    """
    if len(addresses) == 1:  # nothing to race with: no task for it
        try:
            return await _try_address(addresses[0])
        except OSError as refused:
            raise _none_answered([(addresses[0], refused)], where, hop) from refused
    attempts: dict[asyncio.Task[socket.socket], Address] = {}
    failures: list[tuple[Address, OSError]] = []
    waiting = list(addresses)
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.pop(0)
                attempts[asyncio.ensure_future(_try_address(address))] = address
            done, _ = await asyncio.wait(
                attempts,
                timeout=HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                tried = attempts.pop(attempt)
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                if not isinstance(error, OSError):
                    raise error
                failures.append((tried, error))
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close_loser)
            attempt.cancel()
    raise _none_answered(failures, where, hop) from failures[0][1]


def _none_answered(failures: list[tuple[Address, OSError]], where: str, hop: Hop) -> ConnectFailed:
    """Return the error where no address answered, by the most specific failure."""
    # A host without IPv6 has no route there, which means nothing where IPv4 failed otherwise.
    telling = next((pair for pair in failures if pair[1].errno not in NO_ROUTE), failures[0])
    address, error = telling
    judged = unreachable(
        error,
        hop,
        where,
        routed=has_route(address),
        only_ipv6=all(tried[0] == socket.AF_INET6 for tried, _ in failures),
        addresses=[tried[4][0] for tried, _ in failures],
    )
    if len(failures) == 1:
        return judged
    told = "; ".join(f"{tried[4][0]}: {reason_of(error)}" for tried, error in failures)
    return Unreachable(
        f"{hop.value}: {where}: {told}",
        hop=hop,
        cause=judged.cause,
        party=judged.party,
        hint=judged.hint,
    )


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
