"""The registry of a local hub as a program in the same process uses it.

Knows identities, connection strings, and which devices are connected.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ..dps.sas import decode_key
from ..errors import HubRequestRejected, UsageError
from ..hub.service.codes import Fault
from ..hub.service.identity import Credentials, Identity, id_fault
from ..options import CREATE_DEVICE, DEVICE, DISABLE_DEVICE, DROP, POLICY, TRUST_CA
from .dps import AsyncLocalDps
from .hub_core import Hub
from .policies import connection_string
from .x509 import read_certificate

_T = TypeVar("_T")


class RegistryCalls:
    """Calls on a hub's registry.

    Attributes:
        name: the hub's host name.
        core: the hub's work.
        dps: whose ports it shares.
    """

    name: str
    core: Hub
    dps: AsyncLocalDps

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
        CREATE_DEVICE.check(locals())
        credentials = Credentials("sas", () if key is None else (decode_key(key),))
        if certificate is not None:
            der = read_certificate(certificate)
            thumbprint = hashlib.sha256(der).hexdigest()
            credentials = Credentials("selfSigned", (), (thumbprint,), (der,))
        elif ca_signed:
            credentials = Credentials("certificateAuthority")
        for name, value in (("device_id", device_id), ("module_id", module_id or "-")):
            if fault := id_fault(value):
                raise UsageError(f"{name}: {fault}")
        new = Identity(device_id, module_id, credentials)
        made = granted(await self.core.register(new, initial_twin=initial_twin))
        keys = made.credentials.keys
        return base64.b64encode(keys[0]).decode() if keys else ""

    def trust_ca(self, certificate: bytes | str) -> None:
        """Trust a CA, PEM or DER: devices created with ``ca_signed`` may show its certificates."""
        TRUST_CA.check(locals())
        self.core.cas.append(read_certificate(certificate))

    async def delete_device(self, device_id: str, module_id: str = "") -> None:
        """Delete a device or module; its connection ends.

        Raises:
            HubRequestRejected: there is none.
        """
        DEVICE.check(locals())
        fault = await self.core.delete(device_id, module_id)
        if fault is not None:
            raise refusal(fault)

    async def disable_device(self, device_id: str, *, enabled: bool = False) -> None:
        """Disable a device, whose connection ends; or enable it again.

        Raises:
            HubRequestRejected: there is none.
        """
        DISABLE_DEVICE.check(locals())
        record = await self.core.load(self.core.key(device_id))
        identity = Identity(device_id) if record is None else record.identity
        granted(await self.core.register(replace(identity, enabled=enabled), etag="*"))

    async def connection_string(self, device_id: str, module_id: str = "") -> str:
        """Return the connection string of a device, by way of this machine.

        It names the hub, and this machine as its gateway, so that unaltered SDKs come here.

        Raises:
            HubRequestRejected: there is no such device.
        """
        DEVICE.check(locals())
        record = await self.core.load(self.core.key(device_id, module_id))
        if record is None:
            raise HubRequestRejected("there is no such device", status=404, error_code=404001)
        keys = record.identity.credentials.keys
        # The Node SDK reads no gateway's name beside a certificate: there, this machine is the hub.
        parts = {"HostName": self.name if keys else self.dps.host, "DeviceId": device_id}
        if module_id:
            parts["ModuleId"] = module_id
        if keys:
            parts["SharedAccessKey"] = base64.b64encode(keys[0]).decode()
            parts["GatewayHostName"] = self.dps.host
        else:
            parts["x509"] = "true"
        return ";".join(f"{name}={value}" for name, value in parts.items())

    def service_connection_string(self, policy: str = "iothubowner") -> str:
        """Return the connection string of a service, with this machine as the hub's host.

        Args:
            policy: iothubowner, service, device, registryRead or registryReadWrite.
        """
        POLICY.check(locals())
        return connection_string(self.dps.host, self.dps.wss_port, self.core.policies, policy)

    def is_connected(self, device_id: str, module_id: str = "") -> bool:
        """Whether a device is connected now."""
        DEVICE.check(locals())
        return (device_id, module_id) in self.core.connections

    def drop(self, device_id: str | None = None) -> int:
        """Cut the connection of a device, or of all; return how many there were."""
        DROP.check(locals())
        cut = [
            connection
            for key, connection in self.core.connections.items()
            if device_id in (None, key[0])
        ]
        for connection in cut:
            connection.close("cut on order")
        return len(cut)


def granted(found: _T | Fault) -> _T:
    """Return what was found.

    Raises:
        HubRequestRejected: it is a fault.
    """
    if isinstance(found, Fault):
        raise refusal(found)
    return found


def refusal(fault: Fault) -> HubRequestRejected:
    """Return the error of a refused request."""
    text = f"{fault.code.name}: {fault.message}"
    return HubRequestRejected(text, status=fault.code.status, error_code=fault.code.value)
