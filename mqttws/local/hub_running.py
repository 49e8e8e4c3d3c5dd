"""LocalHub: a local hub in a thread, for programs and tests that are not async.

It lives in the loop of a ``LocalDps``; every wait is bounded.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from ..hub.service.queue import Feedback
from ..hub.service.telemetry import Telemetry
from .dps import DEFAULT_HUB
from .hub import AsyncLocalHub
from .hub_base import MethodResult
from .hub_events import Event
from .running import LocalDps
from .threaded import TIMEOUT, Threaded

_T = TypeVar("_T")


class LocalHub(Threaded):
    """An IoT hub behind the ports of a local DPS, in its thread; see ``AsyncLocalHub``.

    >>> with LocalDps() as dps, LocalHub(dps) as hub:
    ...     key = hub.create_device("my-device")
    ...     answer = hub.invoke("my-device", "reboot")

    Args:
        dps: running; None starts one for this hub alone.
        name: the hub's host name.
        dps_options: of ``LocalDps``, where none is given.
        **options: of ``AsyncLocalHub``.
    """

    def __init__(
        self,
        dps: LocalDps | None = None,
        *,
        name: str = DEFAULT_HUB,
        dps_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._owns_dps = dps is None
        self.dps: LocalDps = (
            LocalDps(**{"hubs": (name,), **(dps_options or {})}) if dps is None else dps
        )
        self._hub = AsyncLocalHub(self.dps._dps, name=name, **options)
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

    def create_device(self, device_id: str, **options: Any) -> str:
        """Create a device or module; see ``AsyncLocalHub.create_device``."""
        return self.run(lambda: self._hub.create_device(device_id, **options))

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

    # Twins, methods, messages

    def twin(self, device_id: str, module_id: str = "") -> dict[str, Any]:
        """Return a twin; see ``AsyncLocalHub.twin``."""
        return self.run(lambda: self._hub.twin(device_id, module_id))

    def patch_twin(self, device_id: str, **changes: Any) -> int:
        """Change desired properties and tags; see ``AsyncLocalHub.patch_twin``."""
        return self.run(lambda: self._hub.patch_twin(device_id, **changes))

    def invoke(
        self,
        device_id: str,
        method: str,
        payload: Any = None,
        *,
        module_id: str = "",
        response_timeout: float = 20.0,
        connect_timeout: float = 5.0,
    ) -> MethodResult:
        """Call a direct method and return the answer; see ``AsyncLocalHub.invoke``."""
        return self.run(
            lambda: self._hub.invoke(
                device_id,
                method,
                payload,
                module_id=module_id,
                response_timeout=response_timeout,
                connect_timeout=connect_timeout,
            ),
            TIMEOUT + response_timeout + connect_timeout,
        )

    def send(self, device_id: str, payload: bytes, *arguments: Any, **options: Any) -> int:
        """Send a device a message; see ``AsyncLocalHub.send``."""
        return self.run(lambda: self._hub.send(device_id, payload, *arguments, **options))

    def waiting(self, device_id: str) -> int:
        """Return how many messages wait for a device or for its PUBACK."""
        return self.run(lambda: self._hub.waiting(device_id))

    def feedback(self) -> list[Feedback]:
        """Return feedback about messages, each once."""

        async def feedback() -> list[Feedback]:
            return self._hub.feedback()

        return self.run(feedback)

    def next_telemetry(self, timeout: float | None = 10.0) -> Telemetry:
        """Return the next message that a device has published; each once, in order.

        Args:
            timeout: seconds; None for any time.

        Raises:
            RequestTimedOut: none came in time.
        """
        limit = None if timeout is None else TIMEOUT + timeout
        return self.run(lambda: self._hub.next_telemetry(timeout), limit)

    def telemetry(self, timeout: float | None = 10.0) -> Iterator[Telemetry]:
        """Yield what devices publish, each message once, in order.

        Args:
            timeout: seconds to wait for each message; None for any time.

        Raises:
            RequestTimedOut: none came in time.
        """
        while True:
            yield self.next_telemetry(timeout)

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield what happens: telemetry, connections, twin changes; from now on, or a number on.

        It waits for the next one as long as it takes; it ends with the hub.
        """
        stream: list[AsyncIterator[Event]] = []

        async def following() -> Event | None:
            if not stream:
                stream.append(self._hub.events(after))
            return await anext(stream[0], None)

        while (event := self.run(following, None)) is not None:
            yield event

    # Faults on order

    def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Let something go wrong; see ``AsyncLocalHub.fault``."""
        return self._hub.fault(kind, device, **members)

    def cancel_faults(self, number: int | None = None) -> bool:
        """Take one order back, or all; return whether there was one."""
        return self._hub.cancel_faults(number)

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
