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
"""Seconds after which each family is asked for by itself too (RFC 8305 section 3)."""

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

    Raises:
        NameNotResolved: there is no address, or the name server answers with one that blocks.
        OSError: ``socket.gaierror`` of the look-up that tells more.
    """
    if (known := _numeric(host, port)) is not None:
        return known
    look_ups = _LookUps(host, port)
    look_ups.ask(socket.AF_UNSPEC)
    late = asyncio.get_running_loop().call_later(RESOLUTION_DELAY, look_ups.ask_each)
    try:
        found = await look_ups.found
    finally:
        late.cancel()
    if not found:
        raise name_failure(host, look_ups.failures, hop)
    if all(_blocks(address) for address in found):
        raise name_blocked(host, found[0][4][0], hop)
    six, four = (
        [address for address in found if address[0] == family]
        for family in (socket.AF_INET6, socket.AF_INET)
    )
    # As RFC 6724 rule 1 has it: what cannot be reached comes last.
    first, other = (six, four) if six and (not four or has_route(six[0])) else (four, six)
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


class _LookUps:
    """The operating system's look-ups of one name, each in a thread that nothing waits for.

    They cannot be stopped, and must hold up neither a deadline nor the program's end. One that asks
    for both families costs least. A name server that swallows or refuses questions for IPv6 must
    not hold up an IPv4 address: each family is asked for by itself where the one look-up fails, or
    is late. Addresses of one family that this machine has no route to wait for the other look-ups.

    Attributes:
        found: the first addresses that come; none after the last failure.
        failures: of the look-ups, as they came.
    """

    def __init__(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.found: asyncio.Future[list[Address]] = self._loop.create_future()
        self.failures: list[OSError] = []
        self._host = host
        self._port = port
        self._pending = 0
        self._asked_each = False
        self._without_route: list[Address] = []

    def ask(self, *families: int) -> None:
        """Begin a look-up for each of the families."""
        self._pending += len(families)
        for family in families:
            # A threading.Thread costs five times as much: its start waits until the thread runs.
            _thread.start_new_thread(self._look_up, (family,))

    def ask_each(self) -> None:
        """Begin one for each family by itself; once."""
        if not self._asked_each:
            self._asked_each = True
            self.ask(socket.AF_INET6, socket.AF_INET)

    def _look_up(self, family: int) -> None:
        addresses: list[Address] = []
        failure: OSError | None = None
        try:
            addresses = list(
                socket.getaddrinfo(plain_host(self._host), self._port, family, socket.SOCK_STREAM)
            )
        except OSError as error:
            failure = error
        except UnicodeError:  # a label that is empty or too long for IDNA
            failure = socket.gaierror(socket.EAI_NONAME, "not a host name")
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            self._loop.call_soon_threadsafe(self._deliver, family, addresses, failure)

    def _deliver(self, family: int, addresses: list[Address], failure: OSError | None) -> None:
        self._pending -= 1
        if failure is not None:
            self.failures.append(failure)
        if self.found.done():
            return
        if addresses and (family == socket.AF_UNSPEC or has_route(addresses[0])):
            self.found.set_result(addresses)
            return
        self._without_route += addresses
        if not self._asked_each:
            self.ask_each()
        elif not self._pending:
            self.found.set_result(self._without_route)


def _blocks(address: Address) -> bool:
    """Whether an answer is no address but a filter's sign that the name is blocked."""
    return address[4][0].partition("%")[0] in ("0.0.0.0", "::")  # noqa: S104 - as they are spelled


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
