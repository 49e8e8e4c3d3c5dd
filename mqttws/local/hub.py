"""AsyncLocalHub: an IoT hub on this machine, which the official device SDKs work against.

Assembles a hub's core, its place behind the ports of a local DPS, and the calls that a test or a
program makes on the service's side. The rules are ``hub.service``'s.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..dps.effects import Assigned
from ..dps.records import EnrollmentGroup
from ..dps.sas import derive_device_key
from ..errors import HubRequestRejected, RequestTimedOut, UsageError
from ..hub.service.access import Policy
from ..hub.service.codes import Fault
from ..hub.service.faults import HubFault
from ..hub.service.identity import Credentials, Identity, id_fault
from ..hub.service.methods import Invocation, method_name_fault
from ..hub.service.queue import LOCK_SECONDS, CloudMessage, Feedback
from ..hub.service.records import HubStore
from ..hub.service.requests import Names
from ..hub.service.telemetry import Telemetry
from ..hub.service.throttles import Limits
from ..hub.service.twin import Twin, service_view
from ..net.stream import ByteStream
from .dps import DEFAULT_HUB, AsyncLocalDps
from .hub_core import Hub, MethodResult, Settings
from .hub_device import HubDevice
from .hub_events import Event
from .hub_store import StoredRecords
from .link import Handler, ServerLink
from .x509 import read_certificate

if TYPE_CHECKING:
    from .hub_rest import HubRest

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
"""Host names under which a device may mean any hub of this machine."""

_T = TypeVar("_T")


class Hubs:
    """The hubs behind the ports of one local DPS: makes the handlers of their devices."""

    def __init__(self, dps: AsyncLocalDps) -> None:
        self.hubs: list[AsyncLocalHub] = []
        self._dps = dps
        self._rest: HubRest | None = None

    def __call__(self, link: ServerLink) -> Handler:
        """Return the handler of a connection whose user name is no DPS device's."""
        return HubDevice(self, link)

    async def join(self, hub: "AsyncLocalHub") -> None:
        """Take in a hub; the first one brings the service API, where aiohttp is installed."""
        if self._named(hub.name) is not None:
            raise UsageError(f"the hub {hub.name} is served already")
        self.hubs.append(hub)
        if self._rest is None:
            try:
                from .hub_rest import HubRest
            except UsageError:
                return
            self._rest = HubRest(lambda: [of.core for of in self.hubs])
            await self._rest.start()

    async def leave(self, hub: "AsyncLocalHub") -> None:
        """Let a hub go; the last one takes the service API along."""
        if hub in self.hubs:
            self.hubs.remove(hub)
        if not self.hubs and self._rest is not None:
            rest, self._rest = self._rest, None
            await rest.stop()

    async def take_http(self, stream: ByteStream, label: str) -> bool:
        """Serve an HTTP request; return whether there is anything that could."""
        if self._rest is None:
            return False
        await self._rest.take(stream, label)
        return True

    async def find(self, names: Names) -> Hub | None:
        """Return the hub that a user name means.

        By its name, however the device came here (an edge gateway's name, an alias of DNS); under
        a name of this machine the first one that has the device.
        """
        wanted = names.hub.lower()
        named = self._named(wanted)
        if named is not None:
            return named.core
        if wanted not in (*LOOPBACK, self._dps.host.lower()) or not self.hubs:
            return None
        for hub in self.hubs:
            if await hub.core.load(hub.core.key(names.device_id)) is not None:
                return hub.core
        return self.hubs[0].core

    async def assigned(self, assigned: Assigned) -> None:
        """Make the identity of a device that has been assigned to one of the hubs.

        A device that comes from another hub takes its twin along, unless its enrollment says that
        it begins anew.
        """
        registration, earlier = assigned.registration, assigned.earlier
        hub = self._named(registration.assigned_hub)
        twin: Mapping[str, Any] | Twin | None = assigned.enrollment.initial_twin
        moved = earlier is not None and earlier.assigned_hub != registration.assigned_hub
        former = self._named(earlier.assigned_hub) if moved and earlier else None
        if former is not None and earlier is not None:
            record = await former.core.load(former.core.key(earlier.device_id))
            policy = assigned.enrollment.reprovision_policy
            if record is not None and (policy is None or policy.migrate_device_data):
                twin = record.twin
            await former.core.delete(earlier.device_id)
        if hub is not None:
            identity = _identity_of(assigned)
            found = await hub.core.load(hub.core.key(identity.device_id))
            if found is not None:  # one that was disabled at the hub stays so
                identity = replace(identity, enabled=found.identity.enabled)
            await hub.core.register(identity, initial_twin=twin, replace_any=True)

    def _named(self, name: str) -> "AsyncLocalHub | None":
        return next((hub for hub in self.hubs if hub.name.lower() == name.lower()), None)


def _identity_of(assigned: Assigned) -> Identity:
    """Return the identity that an assignment makes, with the enrollment's credential.

    A certificate is written as its thumbprint, as the cloud's DPS does (azure-docs
    ``how-to-roll-certificates.md``).
    """
    enrollment, registration = assigned.enrollment, assigned.registration
    if enrollment.certificates:
        thumbprints = (assigned.chain[0].sha256,) if assigned.chain else ()
        credentials = Credentials("selfSigned", thumbprints=thumbprints)
    else:
        keys = tuple(enrollment.keys)
        if isinstance(enrollment, EnrollmentGroup):
            # A device may have derived its key from the id as it writes it, or in lower case.
            name = registration.registration_id
            spellings = dict.fromkeys((name, name.lower()))
            keys = tuple(derive_device_key(key, of) for of in spellings for key in keys)
        credentials = Credentials("sas", keys)
    return Identity(registration.device_id, "", credentials, iot_edge=enrollment.iot_edge)


class AsyncLocalHub:
    """An IoT hub behind the ports of a local DPS, told apart from it by the user name.

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
        count_deliveries: whether such a delivery counts towards ``maxDeliveryCount``, as in the
            documents until about 2025.
        fault_seed: for faults that strike at random; the same seed strikes the same operations.
        **options: of ``AsyncLocalDps``, where none is given.

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
        **options: Any,
    ) -> None:
        if dps is not None and options:
            raise UsageError(f"{', '.join(options)}: options of the DPS, which is given already")
        self.name = name
        self.dps = dps or AsyncLocalDps(hubs=(name,), **options)
        self._owns_dps = dps is None
        self._read = 0
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
        hubs = self.dps.hub
        if not isinstance(hubs, Hubs):
            hubs = self.dps.hub = Hubs(self.dps)
        if self._owns_dps:
            await self.dps.start()
        self.core.trust = self._trust
        await hubs.join(self)
        await self.core.start()

    async def stop(self) -> None:
        """Close every connection and stop serving; bounded in time."""
        hubs = self.dps.hub
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

    # The registry

    async def create_device(
        self,
        device_id: str,
        *,
        module_id: str = "",
        key: str | None = None,
        certificate: bytes | str | None = None,
        ca_signed: bool = False,
        initial_twin: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a device, or a module of one; return its primary key, base64, or an empty text.

        Args:
            device_id: 1 to 128 characters; case counts.
            module_id: of a module; empty for a device.
            key: base64; None makes one.
            certificate: PEM or DER: the device is recognised by its thumbprint and has no key.
            ca_signed: the device is recognised by its certificate's common name and a CA that
                ``trust_ca`` has added; it has no key.
            initial_twin: ``{"tags": ..., "properties": {"desired": ...}}``.

        Raises:
            HubRequestRejected: it exists already, or a value is not allowed.
            UsageError: the certificate cannot be read.
        """
        credentials = Credentials("sas", () if key is None else (base64.b64decode(key),))
        if certificate is not None:
            der = read_certificate(certificate)
            thumbprint = hashlib.sha256(der).hexdigest()
            credentials = Credentials("selfSigned", (), (thumbprint,), (der,))
        elif ca_signed:
            credentials = Credentials("certificateAuthority")
        fault = id_fault(device_id) or (id_fault(module_id) if module_id else None)
        if fault:
            raise UsageError(fault)
        new = Identity(device_id, module_id, credentials)
        made = _granted(await self.core.register(new, initial_twin=initial_twin))
        keys = made.credentials.keys
        return base64.b64encode(keys[0]).decode() if keys else ""

    def trust_ca(self, certificate: bytes | str) -> None:
        """Trust a CA, PEM or DER: devices created with ``ca_signed`` may show its certificates."""
        self._trust(read_certificate(certificate))

    def _trust(self, der: bytes) -> None:
        if self.dps.tls.anchors is None:
            raise UsageError("the local hub has not been started")
        self.dps.tls.anchors.add((der,))

    async def delete_device(self, device_id: str, module_id: str = "") -> None:
        """Delete a device or module; its connection ends.

        Raises:
            HubRequestRejected: there is none.
        """
        fault = await self.core.delete(device_id, module_id)
        if fault is not None:
            raise _refusal(fault)

    async def disable_device(self, device_id: str, *, enabled: bool = False) -> None:
        """Disable a device, whose connection ends; or enable it again.

        Raises:
            HubRequestRejected: there is none.
        """
        record = await self.core.load(self.core.key(device_id))
        identity = Identity(device_id) if record is None else record.identity
        _granted(await self.core.register(replace(identity, enabled=enabled), etag="*"))

    async def connection_string(self, device_id: str, module_id: str = "") -> str:
        """Return the connection string of a device, by way of this machine.

        It names the hub, and this machine as its gateway, so that unaltered SDKs come here.

        Raises:
            HubRequestRejected: there is no such device.
        """
        record = await self.core.load(self.core.key(device_id, module_id))
        if record is None:
            raise HubRequestRejected("there is no such device", status=404, error_code=404001)
        keys = record.identity.credentials.keys
        # The Node SDK reads no gateway's name beside a certificate: there, this machine is the hub.
        parts = {"HostName": self.name if keys else self.host, "DeviceId": device_id}
        if module_id:
            parts["ModuleId"] = module_id
        if keys:
            parts["SharedAccessKey"] = base64.b64encode(keys[0]).decode()
            parts["GatewayHostName"] = self.host
        else:
            parts["x509"] = "true"
        return ";".join(f"{name}={value}" for name, value in parts.items())

    def service_connection_string(self, policy: str = "iothubowner") -> str:
        """Return the connection string of a service, with this machine as the hub's host.

        Args:
            policy: iothubowner, service, device, registryRead or registryReadWrite.
        """
        found = next((of for of in self.core.policies if of.name == policy), None)
        if found is None:
            raise UsageError(f"there is no policy {policy!a}")
        host = self.host if self.wss_port == 443 else f"{self.host}:{self.wss_port}"
        key = base64.b64encode(found.keys[0]).decode()
        return f"HostName={host};SharedAccessKeyName={policy};SharedAccessKey={key}"

    def is_connected(self, device_id: str, module_id: str = "") -> bool:
        """Whether a device is connected now."""
        return (device_id, module_id) in self.core.connections

    def drop(self, device_id: str | None = None) -> int:
        """Cut the connection of a device, or of all; return how many there were."""
        cut = [
            connection
            for key, connection in self.core.connections.items()
            if device_id in (None, key[0])
        ]
        for connection in cut:
            connection.close("cut on order")
        return len(cut)

    # Twins, methods, messages

    async def twin(self, device_id: str, module_id: str = "") -> dict[str, Any]:
        """Return a twin: ``tags`` and ``properties`` with metadata and versions.

        Raises:
            HubRequestRejected: there is no such device.
        """
        found = _granted(await self.core.twin(self.core.key(device_id, module_id)))
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
            tags: likewise.
            module_id: of a module.
            replace_all: what is not named is removed.

        Raises:
            HubRequestRejected: there is no such device, or a value is not allowed.
        """
        body: dict[str, Any] = {}
        if desired is not None:
            body["properties"] = {"desired": dict(desired)}
        if tags is not None:
            body["tags"] = dict(tags)
        key = self.core.key(device_id, module_id)
        written = await self.core.write_twin(key, body, replace_all=replace_all)
        return _granted(written).desired.version

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
        fault = method_name_fault(method)
        if fault:
            raise UsageError(fault)
        invocation = Invocation(method, payload, response_timeout, connect_timeout)
        return _granted(await self.core.invoke(self.core.key(device_id, module_id), invocation))

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
            correlation_id: likewise a system property.
            user_id: likewise.
            content_type: likewise.
            content_encoding: likewise.
            ack: the feedback that is wanted: none, positive, negative or full.
            expires_in: seconds; None for an hour.

        Raises:
            HubRequestRejected: 50 messages wait already, or a value is not allowed.
        """
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
        return _granted(await self.core.send(self.core.key(device_id), message)).sequence

    async def waiting(self, device_id: str) -> int:
        """Return how many messages wait for a device or for its PUBACK."""
        record = await self.core.load(self.core.key(device_id))
        return 0 if record is None else len(record.queue.messages)

    def feedback(self) -> list[Feedback]:
        """Return the feedback about messages that nobody has taken yet, at most 64, each once."""
        found = self.core.feedback.lock("", time.time())
        self.core.feedback.complete("")
        return found

    # Telemetry and other events

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield what happens: telemetry, connections, twin changes; from now on, or a number on."""
        async for event in self.core.events.read(after):
            yield event

    async def telemetry(self, timeout: float | None = None) -> AsyncIterator[Telemetry]:
        """Yield what devices publish, each message once, in order.

        Args:
            timeout: seconds to wait for each message; None for any time.

        Raises:
            RequestTimedOut: none came in time.
        """
        while True:
            yield await self.next_telemetry(timeout)

    async def next_telemetry(self, timeout: float | None = None) -> Telemetry:
        """Return the next message that a device has published; each once, in order.

        Raises:
            RequestTimedOut: none came in time.
        """
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

    def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Let something go wrong from now on; return the order's number, for ``cancel_faults``.

        >>> hub.fault("answer", "my-device", operation="twin-get", status=429, times=2)

        Args:
            kind: see ``mqttws.hub.service.faults.FaultKind``.
            device: a device id; None for all.
            **members: of ``mqttws.hub.service.faults.HubFault``.

        Raises:
            UsageError: names the member and what is allowed.
        """
        try:
            order = HubFault(kind, device, **members)  # type: ignore[arg-type]  # it checks
        except TypeError:
            raise UsageError("fault: a member that is unknown") from None
        return self.core.faults.order(order)

    def cancel_faults(self, number: int | None = None) -> bool:
        """Take one order back, or all; return whether there was one."""
        return self.core.faults.cancel(number)


def _granted(found: _T | Fault) -> _T:
    if isinstance(found, Fault):
        raise _refusal(found)
    return found


def _refusal(fault: Fault) -> HubRequestRejected:
    text = f"{fault.code.name}: {fault.message}"
    return HubRequestRejected(text, status=fault.code.status, error_code=fault.code.value)
