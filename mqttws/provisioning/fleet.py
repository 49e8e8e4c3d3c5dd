"""provision_fleet() and its asyncio twin: many devices registered from one process.

Knows how many may register at once, not faster than DPS allows, and that a 429 for one is meant for
all. Each device is ``provision_async``'s matter.
"""

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..client.trace import OnPacket
from ..dps.names import DEFAULT_API_VERSION
from ..dps.registration import DEFAULT_RETRY_AFTER, MAX_RETRY_AFTER
from ..errors import MqttwsError
from ..net.hops import Step
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.tls import Tls
from ..options import FLEET, PROVISION, PROVISIONING_HOST, WEBSOCKET_PATH
from .assignment import Assignment
from .credentials import Credential
from .provision import Transport, provision_async, run_to_the_end

TOO_MANY_REQUESTS = 429

DEFAULT_JITTER = 1.0
"""Seconds, at most, that are added to each wait, so that a fleet does not come back as one."""


@dataclass(frozen=True, slots=True)
class FleetResult:
    """What became of one device.

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
    host: str = PROVISIONING_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    timeout: float = 120.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    api_version: str = DEFAULT_API_VERSION,
    jitter: float = DEFAULT_JITTER,
    max_retry_after: float = MAX_RETRY_AFTER,
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
    host: str = PROVISIONING_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    timeout: float = 120.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    api_version: str = DEFAULT_API_VERSION,
    jitter: float = DEFAULT_JITTER,
    max_retry_after: float = MAX_RETRY_AFTER,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_packet: OnPacket | None = None,
) -> None:
    """Register many devices; a device that fails does not stop the others.

    When DPS answers one of them 429, no other begins before the time that it names has passed.

    Args:
        id_scope: of the DPS instance.
        credentials: one for each device; taken one by one, as there is room.
        on_result: told of each device when it is done.
        concurrency: how many are on their way at once.
        jitter: seconds; up to so much is added to each wait, at random.
        payloads: for the enrollments' custom allocation, by registration id as the credential has
            it; a device that is not in it sends none.
        The others are those of ``provision_async``.

    What ``on_result`` raises ends it all, and is raised from here.

    Raises:
        UsageError: an argument cannot be right.
    """
    options = FLEET.check(locals())
    each = {name: options[name] for name in PROVISION if name in options}
    gate = _Gate(jitter)
    waiting = iter(credentials)

    async def work() -> None:
        for credential in waiting:
            await gate.wait()
            payload = (payloads or {}).get(credential.registration_id)
            own = each | {"payload": payload}
            on_result(await _provision(credential, gate, own))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as ended:
        raise ended.exceptions[0] from None  # one says it: nobody else was told of anything


async def _provision(
    credential: Credential,
    gate: "_Gate",
    options: dict[str, Any],
) -> FleetResult:
    name = credential.registration_id
    try:
        assignment = await provision_async(credential=credential, on_step=gate.on_step, **options)
    except MqttwsError as error:
        return FleetResult(name, error=error)
    return FleetResult(name, assignment)


class _Gate:
    """Closed while DPS wants to be left alone."""

    def __init__(self, jitter: float) -> None:
        self._opens = 0.0
        self._jitter = jitter

    def on_step(self, step: Step) -> None:
        """Close, if DPS has answered that there are too many requests."""
        if step.ended is not None and step.status == TOO_MANY_REQUESTS:
            seconds = DEFAULT_RETRY_AFTER if step.retry_after is None else step.retry_after
            self._opens = max(self._opens, asyncio.get_running_loop().time() + seconds)

    async def wait(self) -> None:
        """Wait until the gate is open; it may close again meanwhile."""
        now = asyncio.get_running_loop().time
        while (left := self._opens - now()) > 0:  # noqa: ASYNC110 - a time is awaited
            await asyncio.sleep(left + random.uniform(0, self._jitter))  # noqa: S311
