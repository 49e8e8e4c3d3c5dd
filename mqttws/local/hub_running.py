"""LocalHub: a local hub in a thread, for programs and tests that are not async.

It lives in the loop of a ``LocalDps``; every wait is bounded.
"""

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ..dps.issuance import CredentialPolicy
from ..dps.store import Store
from ..dps.tables import AnyEnrollment
from ..hub.service.access import Policy
from ..hub.service.queue import LOCK_SECONDS
from ..hub.service.records import HubStore
from ..hub.service.throttles import Limits
from ..loop_thread import LoopThread
from ..options import SYNC_LOCAL_HUB
from .dps import DEFAULT_HUB, DEFAULT_ID_SCOPE
from .hub import AsyncLocalHub, own_dps_options
from .hub_running_calls import SyncDeviceCalls
from .running import LocalDps
from .threaded import TIMEOUT, Threaded

_T = TypeVar("_T")


class LocalHub(SyncDeviceCalls, Threaded):
    """An IoT hub behind the ports of a local DPS, in its thread; see ``AsyncLocalHub``.

    >>> with LocalDps() as dps, LocalHub(dps) as hub:
    ...     key = hub.create_device("my-device")
    ...     answer = hub.invoke("my-device", "reboot")

    Args:
        dps: running; None starts one for this hub alone, in ``thread`` if there is one.

    The others are those of ``AsyncLocalHub``; ``retry_after`` is 0 where it is not given.
    """

    def __init__(
        self,
        dps: LocalDps | None = None,
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
        retry_after: int = 0,
        assigning_polls: int = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
        lenient: bool = False,
        credential_policies: Sequence[CredentialPolicy] = (),
        issuing_ca: str | os.PathLike[str] | None = None,
        connection_profiles: Mapping[str, str] | None = None,
        thread: LoopThread | None = None,
    ) -> None:
        given = SYNC_LOCAL_HUB.check(locals())
        options = own_dps_options(SYNC_LOCAL_HUB, given) | {"thread": thread}
        self._owns_dps = dps is None
        self.dps: LocalDps = LocalDps(hubs=(name,), **options) if dps is None else dps
        of_hub = {one: given[one] for one in given if one not in options and one != "dps"}
        self._hub = AsyncLocalHub(self.dps._dps, **of_hub)
        super().__init__(self._hub)

    @property
    def name(self) -> str:
        """The hub's host name."""
        return self._hub.name

    def __repr__(self) -> str:
        return f"<LocalHub {self.name} at {self.dps!r}>"

    # Where it is

    def connection_string(self, device_id: str, module_id: str = "") -> str:
        """Return a device's connection string; see ``AsyncLocalHub.connection_string``."""
        return self.run(lambda: self._hub.connection_string(device_id, module_id))

    def service_connection_string(self, policy: str = "iothubowner") -> str:
        """Return a service's connection string."""
        return self._hub.service_connection_string(policy)

    # Devices

    def create_device(
        self,
        device_id: str,
        *,
        module_id: str = "",
        key: str | None = None,
        certificate: bytes | str | None = None,
        ca_signed: bool = False,
        initial_twin: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a device or module; see ``AsyncLocalHub.create_device``."""
        create = partial(
            self._hub.create_device,
            device_id,
            module_id=module_id,
            key=key,
            certificate=certificate,
            ca_signed=ca_signed,
            initial_twin=initial_twin,
        )
        return self.dps.run(create)

    def trust_ca(self, certificate: bytes | str) -> None:
        """Trust a CA, PEM or DER; see ``AsyncLocalHub.trust_ca``."""

        async def trust() -> None:
            self._hub.trust_ca(certificate)

        self.run(trust)

    def delete_device(self, device_id: str, module_id: str = "") -> None:
        """Delete a device or module; its connection ends."""
        self.run(lambda: self._hub.delete_device(device_id, module_id))

    def disable_device(self, device_id: str, *, enabled: bool = False) -> None:
        """Disable a device, whose connection ends; or enable it again."""
        self.run(lambda: self._hub.disable_device(device_id, enabled=enabled))

    def is_connected(self, device_id: str, module_id: str = "") -> bool:
        """Whether a device is connected now."""
        return self._hub.is_connected(device_id, module_id)

    def drop(self, device_id: str | None = None) -> int:
        """Cut the connection of a device, or of all; return how many there were."""

        async def drop() -> int:
            return self._hub.drop(device_id)

        return self.run(drop)

    def run(
        self, work: Callable[[], Coroutine[Any, Any, _T]], timeout: float | None = TIMEOUT
    ) -> _T:
        """Run a coroutine in the service's loop; see ``LocalDps.run``."""
        return self.dps.run(work, timeout)

    def _begin(self) -> None:
        if self._owns_dps:
            self.dps.start()

    def _end(self) -> None:
        if self._owns_dps:
            self.dps.stop()

    def _is_running(self) -> bool:
        return self.dps._is_running()
