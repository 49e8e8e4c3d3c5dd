"""AsyncLocalHub: an IoT hub on this machine, which the official device SDKs work against.

Assembles a hub's core, its place behind the ports of a local DPS, and the calls that a test or a
program makes on the service's side. The rules are ``hub.service``'s.
"""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ..dps.issuance import CredentialPolicy
from ..dps.store import Store
from ..dps.tables import AnyEnrollment
from ..errors import UsageError
from ..hub.service.access import Policy
from ..hub.service.queue import LOCK_SECONDS
from ..hub.service.records import HubStore
from ..hub.service.throttles import Limits
from ..loop_thread import AsyncOnly
from ..options import LOCAL_HUB, OWN_DPS, Table
from .dps import DEFAULT_HUB, DEFAULT_ID_SCOPE, AsyncLocalDps
from .hub_base import Settings
from .hub_calls import DeviceCalls
from .hub_core import Hub
from .hub_door import Hubs
from .hub_registry import RegistryCalls
from .hub_store import StoredRecords


def own_dps_options(table: Table, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a hub's own DPS among those of the hub.

    Raises:
        UsageError: one is set, though a DPS is given.
    """
    options = {name: given[name] for name in OWN_DPS}
    changed = [name for name in OWN_DPS if given[name] != table[name].default]
    if given["dps"] is not None and changed:
        raise UsageError(f"{', '.join(changed)}: options of the DPS, which is given already")
    return options


class AsyncLocalHub(RegistryCalls, DeviceCalls, AsyncOnly):
    """An IoT hub behind the ports of a local DPS; the user name of a CONNECT names the service.

    >>> async with AsyncLocalDps() as dps, AsyncLocalHub(dps) as hub:
    ...     telemetry = await hub.next_telemetry()
    ...     await hub.send("my-device", b"hello", {"reason": "greeting"})
    ...     answer = await hub.invoke("my-device", "reboot", {"delay": 5})

    Devices that the DPS assigns to it have an identity with their enrollment's credential and
    initial twin; others are created with ``create_device``.

    Args:
        dps: running; None starts one for this hub alone, with ``options``.
        name: the hub's host name, by which the DPS assigns devices to it.
        store: of its records; None for the DPS's.
        policies: shared access policies; None for those of a new hub, with fresh keys.
        limits: throttles; None for none.
        lock_seconds: seconds after which a message without PUBACK is delivered again.
        count_deliveries: whether such a delivery counts towards ``maxDeliveryCount``; Azure's
            documentation said so until about 2025.
        fault_seed: for faults that strike at random; the same seed strikes the same operations.

    The others are those of ``AsyncLocalDps``, for the one that is started where none is given.

    Attributes:
        name: the hub's host name.
        dps: whose ports it shares.
        core: the hub's work, for REST and for other services of this machine.
    """

    def __init__(
        self,
        dps: AsyncLocalDps | None = None,
        *,
        name: str = DEFAULT_HUB,
        store: HubStore | None = None,
        policies: list[Policy] | None = None,
        limits: Limits | None = None,
        lock_seconds: float = LOCK_SECONDS,
        count_deliveries: bool = False,
        fault_seed: int | None = None,
        host: str = "127.0.0.1",
        wss_port: int | None = 0,
        mqtts_port: int | None = 0,
        state: str | os.PathLike[str] | None = None,
        id_scope: str = DEFAULT_ID_SCOPE,
        enrollments: Sequence[AnyEnrollment] = (),
        first_enrollments: Sequence[AnyEnrollment] = (),
        records: str | os.PathLike[str] | Store | None = None,
        retry_after: int = 3,
        assigning_polls: int = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
        lenient: bool = False,
        credential_policies: Sequence[CredentialPolicy] = (),
        issuing_ca: str | os.PathLike[str] | None = None,
        connection_profiles: Mapping[str, str] | None = None,
    ) -> None:
        options = own_dps_options(LOCAL_HUB, LOCAL_HUB.check(locals()))
        self.name = name
        self.dps: AsyncLocalDps = dps or AsyncLocalDps(hubs=(name,), **options)
        self._owns_dps = dps is None
        self.core: Hub = Hub(
            name,
            StoredRecords(self.dps.store) if store is None else store,
            policies=policies,
            settings=Settings(limits or Limits(), lock_seconds, count_deliveries),
            fault_seed=fault_seed,
        )

    # Start and stop

    @property
    def host(self) -> str:
        """The address that it listens on: the DPS's."""
        return self.dps.host

    @property
    def wss_port(self) -> int | None:
        """The port for MQTT over WebSocket."""
        return self.dps.wss_port

    @property
    def mqtts_port(self) -> int | None:
        """The port for MQTT over TLS."""
        return self.dps.mqtts_port

    async def start(self) -> None:
        """Serve.

        Raises:
            UsageError: as for ``AsyncLocalDps.start``, or a hub of this name is served already.
        """
        hubs = self.dps.front.hub
        if not isinstance(hubs, Hubs):
            hubs = self.dps.front.hub = Hubs(self.dps)
        if self._owns_dps:
            await self.dps.start()
        self.core.ca = self.dps.issuing
        await hubs.join(self)
        await self.core.start()

    async def stop(self) -> None:
        """Close every connection and stop serving; bounded in time."""
        hubs = self.dps.front.hub
        if isinstance(hubs, Hubs):
            await hubs.leave(self)
        for connection in list(self.core.connections.values()):
            connection.close("the hub has ended")
        await self.core.stop()
        if self._owns_dps:
            await self.dps.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()
