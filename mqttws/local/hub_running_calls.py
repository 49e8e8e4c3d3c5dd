"""The calls of a synchronous local hub about twins, methods, messages, events and faults."""

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any

from ..dps.issuance import ChainFault
from ..hub.service.faults import FaultKind, Operation
from ..hub.service.queue import Feedback
from ..hub.service.telemetry import Telemetry
from ..options import AFTER, INVOKE, WAIT
from .hub import AsyncLocalHub
from .hub_base import MethodResult
from .hub_events import Event
from .running import LocalDps
from .threaded import TIMEOUT


class SyncDeviceCalls:
    """The calls of a program for the devices of its local hub.

    Attributes:
        dps: in whose thread the hub lives.
    """

    dps: LocalDps
    _hub: AsyncLocalHub

    # Twins, methods, messages

    def twin(self, device_id: str, module_id: str = "") -> dict[str, Any]:
        """Return a twin; see ``AsyncLocalHub.twin``."""
        return self.dps.run(lambda: self._hub.twin(device_id, module_id))

    def patch_twin(
        self,
        device_id: str,
        *,
        desired: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        module_id: str = "",
        replace_all: bool = False,
    ) -> int:
        """Change desired properties and tags; see ``AsyncLocalHub.patch_twin``."""
        patch = partial(
            self._hub.patch_twin,
            device_id,
            desired=desired,
            tags=tags,
            module_id=module_id,
            replace_all=replace_all,
        )
        return self.dps.run(patch)

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
        INVOKE.check(locals())
        return self.dps.run(
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

    def send(
        self,
        device_id: str,
        payload: bytes,
        properties: Mapping[str, str | None] | None = None,
        *,
        message_id: str = "",
        correlation_id: str = "",
        user_id: str = "",
        content_type: str = "",
        content_encoding: str = "",
        ack: str = "none",
        expires_in: float | None = None,
    ) -> int:
        """Send a device a message; see ``AsyncLocalHub.send``."""
        send = partial(
            self._hub.send,
            device_id,
            payload,
            properties,
            message_id=message_id,
            correlation_id=correlation_id,
            user_id=user_id,
            content_type=content_type,
            content_encoding=content_encoding,
            ack=ack,
            expires_in=expires_in,
        )
        return self.dps.run(send)

    def waiting(self, device_id: str) -> int:
        """Return how many messages wait for a device or for its PUBACK."""
        return self.dps.run(lambda: self._hub.waiting(device_id))

    def feedback(self) -> list[Feedback]:
        """Return feedback about messages, each once."""

        async def feedback() -> list[Feedback]:
            return self._hub.feedback()

        return self.dps.run(feedback)

    def next_telemetry(self, timeout: float | None = 10.0) -> Telemetry:
        """Return the next message that a device has published; each once, in order.

        Args:
            timeout: seconds; None for any time.

        Raises:
            RequestTimedOut: none came in time.
        """
        WAIT.check(locals())
        limit = None if timeout is None else TIMEOUT + timeout
        return self.dps.run(lambda: self._hub.next_telemetry(timeout), limit)

    def telemetry(self, timeout: float | None = 10.0) -> Iterator[Telemetry]:
        """Yield what devices publish, each message once, in order.

        Args:
            timeout: seconds to wait for each message; None for any time.

        Raises:
            RequestTimedOut: none came in time.
        """
        WAIT.check(locals())
        return self._telemetry(timeout)

    def _telemetry(self, timeout: float | None) -> Iterator[Telemetry]:
        while True:
            yield self.next_telemetry(timeout)

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield events: telemetry, connections, twin changes; from now on, or behind a number.

        It waits for the next one as long as it takes; it ends with the hub.
        """
        AFTER.check(locals())
        return self._events(after)

    def _events(self, after: int | None) -> Iterator[Event]:
        stream: list[AsyncIterator[Event]] = []

        async def following() -> Event | None:
            if not stream:
                stream.append(self._hub.events(after))
            return await anext(stream[0], None)

        while (event := self.dps.run(following, None)) is not None:
            yield event

    # Faults on order

    def fault(
        self,
        kind: FaultKind,
        device: str | None = None,
        *,
        operation: Operation | None = None,
        times: int | None = 1,
        skip: int = 0,
        probability: float = 1.0,
        seed: int | None = None,
        status: int = 503,
        retry_after: float | None = None,
        return_code: int = 3,
        seconds: float = 1.0,
        chain: ChainFault = "expired",
    ) -> int:
        """Order a fault; see ``AsyncLocalHub.fault``."""
        return self._hub.fault(
            kind,
            device,
            operation=operation,
            times=times,
            skip=skip,
            probability=probability,
            seed=seed,
            status=status,
            retry_after=retry_after,
            return_code=return_code,
            seconds=seconds,
            chain=chain,
        )

    def cancel_faults(self, number: int | None = None) -> bool:
        """Cancel one ordered fault, or all; return whether there was one."""
        return self._hub.cancel_faults(number)
