"""The hubs behind the ports of one local DPS: whose device a connection is, and its identity.

Knows user names, and what an assignment by the DPS means for a hub. Does not know MQTT.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..dps.effects import Assigned
from ..dps.records import EnrollmentGroup
from ..dps.sas import derive_device_key
from ..errors import UsageError
from ..hub.service.identity import Credentials, Identity
from ..hub.service.requests import Names
from ..hub.service.twin import Twin
from .dps import AsyncLocalDps
from .hub_core import Hub
from .hub_device import HubDevice
from .link import Handler, ServerLink

if TYPE_CHECKING:
    from .hub import AsyncLocalHub
    from .hub_rest import HubRest

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
"""Host names under which a device may mean any hub of this machine."""


class Hubs:
    """The hubs behind the ports of one local DPS: makes the handlers of their devices."""

    def __init__(self, dps: AsyncLocalDps) -> None:
        self.hubs: list[AsyncLocalHub] = []
        self._dps = dps

    def __call__(self, link: ServerLink) -> Handler:
        """Return the handler of a connection whose user name is no DPS device's."""
        return HubDevice(self, link)

    async def join(self, hub: "AsyncLocalHub") -> None:
        """Take in a hub; the first one brings the service API."""
        if self._named(hub.name) is not None:
            raise UsageError(f"the hub {hub.name} is served already")
        self.hubs.append(hub)
        if len(self.hubs) == 1:
            self._dps.http.add(self._make_rest)

    async def leave(self, hub: "AsyncLocalHub") -> None:
        """Let a hub go; the last one takes the service API along."""
        if hub in self.hubs:
            self.hubs.remove(hub)
            if not self.hubs:
                self._dps.http.remove(self._make_rest)

    def _make_rest(self) -> "HubRest":
        from .hub_rest import HubRest

        return HubRest(lambda: [of.core for of in self.hubs])

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
            identity = _identity_of(assigned, self._dps.issuing.anchor)
            found = await hub.core.load(hub.core.key(identity.device_id))
            if found is not None:  # one that was disabled at the hub stays so
                identity = replace(identity, enabled=found.identity.enabled)
            await hub.core.register(identity, initial_twin=twin, replace_any=True)

    async def reset(self) -> None:
        """Delete every device of the hubs and every ordered fault, as between two tests."""
        for hub in self.hubs:
            hub.core.faults.cancel()
            while found := await hub.core.store.list(hub.core.name):
                for device_id in dict.fromkeys(record.identity.device_id for record in found):
                    await hub.core.delete(device_id)

    def _named(self, name: str) -> "AsyncLocalHub | None":
        return next((hub for hub in self.hubs if hub.name.lower() == name.lower()), None)


def _identity_of(assigned: Assigned, anchor: bytes) -> Identity:
    """Return the identity that an assignment makes, with the enrollment's credential.

    A device that was issued a certificate is recognised by that one, and those that the hub will
    issue: by common name and by ``anchor``, the CA's root.

    A certificate is written as its thumbprint, as the cloud's DPS does (azure-docs
    ``how-to-roll-certificates.md``).
    """
    enrollment, registration = assigned.enrollment, assigned.registration
    if registration.certified:
        name, policy = registration.registration_id, enrollment.credential_policy
        credentials = Credentials("certificateAuthority", (), (), (anchor,), name, policy)
    elif enrollment.certificates:
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
