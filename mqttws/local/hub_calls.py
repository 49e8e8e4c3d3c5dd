"""The service's side of a local hub as a program in the same process uses it.

Knows twins, methods, messages, telemetry and faults on order.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..dps.issuance import ChainFault
from ..dps.json_text import build_json
from ..errors import RequestTimedOut, UsageError
from ..hub.service.faults import FaultKind, HubFault, Operation
from ..hub.service.methods import Invocation, method_name_fault
from ..hub.service.queue import CloudMessage, Feedback
from ..hub.service.telemetry import Telemetry
from ..hub.service.twin import service_view
from ..options import AFTER, CANCEL, DEVICE, INVOKE, PATCH_TWIN, SEND, WAIT
from .hub_base import MethodResult
from .hub_core import Hub
from .hub_events import Event
from .hub_registry import granted


class DeviceCalls:
    """Calls about a hub's devices.

    Attributes:
        core: the hub's work.
    """

    core: Hub
    _read = 0  # number of the last event that next_telemetry has looked at

    # Twins, methods, messages

    async def twin(self, device_id: str, module_id: str = "") -> dict[str, Any]:
        """Return a twin: ``tags`` and ``properties`` with metadata and versions.

        Raises:
            HubRequestRejected: there is no such device.
        """
        DEVICE.check(locals())
        found = granted(await self.core.twin(self.core.key(device_id, module_id)))
        return {"deviceId": device_id, "etag": found.etag, **service_view(found)}

    async def patch_twin(
        self,
        device_id: str,
        *,
        desired: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        module_id: str = "",
        replace_all: bool = False,
    ) -> int:
        """Change desired properties and tags; return the version of the desired properties.

        Args:
            device_id: the device's.
            desired: a merge patch: None removes a member.
            tags: a merge patch too.
            module_id: of a module.
            replace_all: what is not named is removed.

        Raises:
            HubRequestRejected: there is no such device, or a value is not allowed.
        """
        PATCH_TWIN.check(locals())
        body: dict[str, Any] = {}
        if desired is not None:
            body["properties"] = {"desired": dict(desired)}
        if tags is not None:
            body["tags"] = dict(tags)
        key = self.core.key(device_id, module_id)
        written = await self.core.write_twin(key, body, replace_all=replace_all)
        return granted(written).desired.version

    async def invoke(
        self,
        device_id: str,
        method: str,
        payload: Any = None,
        *,
        module_id: str = "",
        response_timeout: float = 30.0,
        connect_timeout: float = 0.0,
    ) -> MethodResult:
        """Call a direct method and return the device's answer.

        Args:
            device_id: the device's.
            method: the method's name.
            payload: any JSON value.
            module_id: of a module.
            response_timeout: seconds for the answer; the real hub allows 5 to 300.
            connect_timeout: seconds for the device to connect and subscribe; the real hub allows 0
                to 300.

        Raises:
            HubRequestRejected: 404 (404103) where the device does not listen, 504 (504101) where
                it does not answer in time.
        """
        INVOKE.check(locals())
        fault = method_name_fault(method)
        if fault:
            raise UsageError(fault)
        try:
            build_json(payload)
        except ValueError as error:
            raise UsageError(f"payload: {error}") from None
        invocation = Invocation(method, payload, response_timeout, connect_timeout)
        return granted(await self.core.invoke(self.core.key(device_id, module_id), invocation))

    async def send(
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
        """Send a device a message; it waits until the device takes it. Return its number.

        Args:
            device_id: the device's.
            payload: at most 64 KB with the properties.
            properties: the sender's own.
            message_id: of the message; feedback names it.
            correlation_id: a system property.
            user_id: of the sender.
            content_type: a system property.
            content_encoding: a system property.
            ack: the feedback that is wanted: none, positive, negative or full.
            expires_in: seconds; None for an hour.

        Raises:
            HubRequestRejected: 50 messages wait already, or a value is not allowed.
        """
        SEND.check(locals())
        system = {
            "$.mid": message_id,
            "$.cid": correlation_id,
            "$.uid": user_id,
            "$.ct": content_type,
            "$.ce": content_encoding,
        }
        message = CloudMessage(
            payload,
            dict(properties or {}),
            {name: value for name, value in system.items() if value},
            ack,
            time.time() + expires_in if expires_in is not None else 0.0,
        )
        return granted(await self.core.send(self.core.key(device_id), message)).sequence

    async def waiting(self, device_id: str) -> int:
        """Return how many messages wait for a device or for its PUBACK."""
        DEVICE.check(locals())
        record = await self.core.load(self.core.key(device_id))
        return 0 if record is None else len(record.queue.messages)

    def feedback(self) -> list[Feedback]:
        """Return the feedback about messages that has not been taken yet, at most 64, each once."""
        found = self.core.feedback.lock("", time.time())
        self.core.feedback.complete("")
        return found

    # Telemetry and other events

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield events: telemetry, connections, twin changes; from now on, or behind a number.

        The latest 50,000 are kept, in 64 MiB, and 5,000 of a device: a slow reader misses numbers.
        """
        AFTER.check(locals())
        return self.core.events.read(after)

    def telemetry(self, timeout: float | None = None) -> AsyncIterator[Telemetry]:
        """Yield what devices publish, each message once, in order.

        Args:
            timeout: seconds to wait for each message; None for any time.

        Raises:
            RequestTimedOut: none came in time.
        """
        WAIT.check(locals())
        return self._telemetry(timeout)

    async def _telemetry(self, timeout: float | None) -> AsyncIterator[Telemetry]:
        while True:
            yield await self.next_telemetry(timeout)

    async def next_telemetry(self, timeout: float | None = None) -> Telemetry:
        """Return the next message that a device has published; each once, in order.

        Raises:
            RequestTimedOut: none came in time.
        """
        WAIT.check(locals())
        stream = self.core.events
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await stream.wait(self._read)
                    for event in stream.after(self._read):
                        self._read = event.sequence
                        if isinstance(event, Telemetry):
                            return event
        except TimeoutError:
            raise RequestTimedOut(f"no telemetry within {timeout:g} s") from None

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
        """Order a fault; return the order's number, for ``cancel_faults``.

        >>> hub.fault("answer", "my-device", operation="twin-get", status=429, times=2)

        Args:
            kind: see ``mqttws.hub.service.faults.FaultKind``.
            device: a device id; None for all.

        The others are those of ``mqttws.hub.service.faults.HubFault``.

        Raises:
            UsageError: names the member and what is allowed.
        """
        return self.core.faults.order(
            HubFault(
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
        )

    def cancel_faults(self, number: int | None = None) -> bool:
        """Cancel one ordered fault, or all; return whether there was one."""
        CANCEL.check(locals())
        return self.core.faults.cancel(number)
