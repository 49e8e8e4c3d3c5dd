"""provision_fleet(): many devices registered from one process, and not faster than DPS allows.

Knows how many may be on their way at once, that a 429 for one is meant for all, and that a proxy
login refused to one is refused to all. Each device is ``provision_async``'s matter.
"""

import asyncio
import math
import os
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..client.trace import OnPacket
from ..dps.names import DEFAULT_API_VERSION
from ..dps.registration import DEFAULT_RETRY_AFTER, MAX_RETRY_AFTER
from ..errors import MqttwsError, RequestTimedOut, StoreFailed
from ..hops import Cause, Hop
from ..loop_thread import run_to_the_end
from ..net.hops import Step
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.tls import Tls
from ..options import FLEET, PROVISION, PROVISIONING_HOST, WEBSOCKET_PATH
from ..retry import MIN_ATTEMPT, fit, is_forbidden, is_refused_login
from .assignment import Assignment
from .credentials import Credential
from .plan import Pipelined, Transport
from .provision import provision_async

BUSY = frozenset({429, 503})
"""Statuses whose Retry-After is meant for all devices."""

DEFAULT_JITTER = 1.0
"""Seconds, at most, that are added to each wait, so that a fleet does not come back as one."""

_BEHIND_A_PROXY = frozenset({Hop.TLS, Hop.UPGRADE, Hop.CONNECT})
"""Hops that are only walked once a proxy has let a connection through, or where there is none."""


@dataclass(frozen=True, slots=True)
class FleetResult:
    """The result of one device.

    Attributes:
        registration_id: the device's.
        assignment: None where it failed.
        error: why; None where it did not.
    """

    registration_id: str
    assignment: Assignment | None = None
    error: MqttwsError | None = field(default=None, repr=False)


def provision_fleet(
    id_scope: str,
    credentials: Iterable[Credential],
    on_result: Callable[[FleetResult], None],
    *,
    concurrency: int = 10,
    payloads: Mapping[str, object] | None = None,
    total_timeout: float | None = None,
    host: str = PROVISIONING_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    timeout: float = 600.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    api_version: str = DEFAULT_API_VERSION,
    jitter: float = DEFAULT_JITTER,
    max_retry_after: float = MAX_RETRY_AFTER,
    pipelined: Pipelined = None,
    wait_for_network: bool = False,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_packet: OnPacket | None = None,
) -> None:
    """Register many devices; a device that fails does not stop the others.

    For synchronous programs; arguments and errors are those of ``provision_fleet_async``.

    Raises:
        UsageError: called inside a running event loop.
    """
    options = FLEET.check(locals())
    run_to_the_end("provision_fleet", lambda: provision_fleet_async(**options))


async def provision_fleet_async(
    id_scope: str,
    credentials: Iterable[Credential],
    on_result: Callable[[FleetResult], None],
    *,
    concurrency: int = 10,
    payloads: Mapping[str, object] | None = None,
    total_timeout: float | None = None,
    host: str = PROVISIONING_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    timeout: float = 600.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    api_version: str = DEFAULT_API_VERSION,
    jitter: float = DEFAULT_JITTER,
    max_retry_after: float = MAX_RETRY_AFTER,
    pipelined: Pipelined = None,
    wait_for_network: bool = False,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_packet: OnPacket | None = None,
) -> None:
    """Register many devices; a device that fails does not stop the others.

    When DPS answers one of them 429 or 503, no other begins before the time that it names has
    passed. The first device goes ahead alone until the way is open, so that a wrong proxy login is
    sent once and not once for each device; a login that is refused ends the whole fleet.

    Args:
        id_scope: of the DPS instance.
        credentials: one for each device; taken one by one, as there is room.
        on_result: called with the result of each device when it is done.
        concurrency: how many are on their way at once.
        payloads: for the enrollments' custom allocation, by registration id as the credential has
            it; a device that is not in it sends none.
        total_timeout: seconds for all devices together; None for no limit. Devices that have not
            begun by then have no result; those on their way have a ``RequestTimedOut`` that says
            so, with the device's own state as its cause.
        jitter: seconds; up to so much is added to each wait, at random.
        timeout: seconds for each device; longer than for one alone, as DPS slows a fleet down.
        cache: a folder, which is there, that keeps one file for each device.

    The others are those of ``provision_async``, for each device.

    What ``on_result`` raises ends it all, and is raised from here.

    Raises:
        ProxyRefused: the proxy refused the login, or this host; no other device was tried.
        RequestTimedOut: ``total_timeout`` has passed before all devices had begun.
        UsageError: an argument is invalid.
        StoreFailed: ``cache`` is no folder that is there.
    """
    options = FLEET.check(locals())
    each = {name: options[name] for name in PROVISION if name in options}
    _check_folder(cache)
    gate = _Gate(jitter, total_timeout)
    waiting = iter(credentials)

    async def work() -> None:
        for credential in waiting:
            left = await gate.enter()
            if left <= 0:
                return
            own = each | {
                "credential": credential,
                "payload": (payloads or {}).get(credential.registration_id),
                "timeout": min(timeout, left),
                "wait_for_network": wait_for_network or gate.open,
                "cache": cache and _file_of(cache, credential),
            }
            try:
                result = await _provision(own, gate, whole=left >= timeout)
            finally:
                gate.leave()
            on_result(result)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as ended:
        raise ended.exceptions[0] from None  # the first one has ended the others
    if gate.is_late:
        raise RequestTimedOut(
            f"the fleet was not done within {total_timeout:g} s",
            cause=Cause.OUT_OF_TIME,
            hint="run it again for the devices that have no result",
        )


async def _provision(options: dict[str, Any], gate: "_Gate", *, whole: bool) -> FleetResult:
    """Register one device.

    Args:
        options: of ``provision_async``.
        gate: knows the time for all devices.
        whole: whether this one has all the time that one device may take.

    Raises:
        ProxyRefused: the proxy would refuse every other device too.
    """
    name = options["credential"].registration_id
    try:
        assignment = await provision_async(on_step=gate.on_step, **options)
    except MqttwsError as error:
        if is_refused_login(error) or is_forbidden(error):
            raise
        if error.retryable and (gate.is_over or (error.cause is Cause.OUT_OF_TIME and not whole)):
            return FleetResult(name, error=_cut_off(error))
        return FleetResult(name, error=error)
    return FleetResult(name, assignment)


def _cut_off(error: MqttwsError) -> RequestTimedOut:
    """Return the error of a device that the end of the time for all has cut off."""
    cut = RequestTimedOut(
        f"the time for all devices was over before this one was done: {error}",
        hop=error.hop,
        cause=Cause.OUT_OF_TIME,
        hint="run it again for this device",
    )
    cut.__cause__ = error
    return cut


def _check_folder(cache: str | os.PathLike[str] | None) -> None:
    if cache is not None and not os.path.isdir(cache):
        raise StoreFailed(
            f"cache {os.fspath(cache)}: no such folder; nothing was sent", hint="make it first"
        )


def _file_of(folder: str | os.PathLike[str], credential: Credential) -> Path:
    return Path(folder) / f"{quote(credential.registration_id.lower(), safe='')}.json"


class _Gate:
    """Lets devices begin: one alone until the way is open, none while DPS wants to be left alone.

    Args:
        jitter: seconds; up to so much is added to each wait, at random.
        total_timeout: seconds for all devices together; None for no limit.

    Attributes:
        open: whether a connection has got past the proxy, or there is none.
        is_late: whether a device was refused because the time for all of them was over.
    """

    def __init__(self, jitter: float, total_timeout: float | None) -> None:
        self.open = False
        self.is_late = False
        self._now = asyncio.get_running_loop().time
        self._until = math.inf if total_timeout is None else self._now() + total_timeout
        self._opens = 0.0
        self._jitter = jitter
        self._scouting = False
        self._changed = asyncio.Event()

    def on_step(self, step: Step) -> None:
        """Note that the way is open, or that DPS has answered that it is busy."""
        if step.hop in _BEHIND_A_PROXY and not self.open:
            self.open = True
            self._changed.set()
        if step.ended is not None and step.status in BUSY:
            seconds = DEFAULT_RETRY_AFTER if step.retry_after is None else step.retry_after
            self._opens = max(self._opens, self._now() + seconds)

    async def enter(self) -> float:
        """Wait until a device may begin; return how many seconds are left for it, 0 for too few.

        No wait outlasts the time for all devices, and a place is only taken where one begins.
        """
        while (left := self._until - self._now()) >= MIN_ATTEMPT:
            if self._scouting and not self.open:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if left == math.inf else left - MIN_ATTEMPT):
                        await self._changed.wait()
            elif (busy := self._opens - self._now()) > 0:
                spread = random.uniform(0, self._jitter)  # noqa: S311 - spread, not secrecy
                pause = fit(busy + spread, busy, left)
                if pause is None:
                    break
                await asyncio.sleep(pause)
            else:
                self._scouting = True
                return left
        self.is_late = True
        return 0.0

    @property
    def is_over(self) -> bool:
        """Whether the time for all devices is too short for another attempt."""
        return self._until - self._now() < MIN_ATTEMPT

    def leave(self) -> None:
        """Let another device go ahead, if this one has not got through."""
        if not self.open:
            self._scouting = False
            self._changed.set()
