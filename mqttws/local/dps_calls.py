"""The calls of a program or test to a local DPS: enrollments, faults, events.

Knows the calls. How the service is assembled is ``dps``'s matter, what they do that of the objects
that it holds.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from secrets import token_bytes
from typing import Any, Literal

from ..dps.directory import Directory
from ..dps.enrollment_json import enrollment_to_json
from ..dps.faults import parse_fault
from ..dps.records import DeviceRecord, EnrollmentGroup, IndividualEnrollment, RegistrationRecord
from ..dps.store import Row, Store
from ..dps.tables import DEVICES, GROUPS, INDIVIDUALS, AnyEnrollment
from ..errors import RequestTimedOut, UsageError
from ..options import (
    AFTER,
    ENROLL,
    ENROLL_CERTIFICATE,
    ENROLL_DEVICE,
    ENROLL_GROUP,
    ENROLL_ONCE,
    ENROLLED,
    KEEP,
    REGISTRATION,
    SEEN,
    WAIT_FOR,
)
from ..text import shown
from .dps_events import DpsEvent, DpsEvents
from .enrollments import Enrollments
from .front import FrontEnd
from .orders import FaultOrders
from .x509 import DeviceAuthority, Issued


class DpsCalls:
    """The calls of a local DPS.

    Attributes:
        directory: enrollments and registrations in the store.
        enrollments: who may register.
        faults: what shall go wrong.
        front: serves connections, and knows the hubs.
        store: where everything is kept.
    """

    directory: Directory
    enrollments: Enrollments
    faults: FaultOrders
    front: FrontEnd
    store: Store
    _events: DpsEvents
    _authorities: dict[str, DeviceAuthority]

    # Who may register

    async def enroll(self, record: Mapping[str, Any], *, replace: bool = False) -> None:
        """Let a device, or a group of them, register from now on.

        Args:
            record: an individual enrollment or a group, in the shape of the DPS service API.
            replace: whether it may take the place of the one that has its id.

        Raises:
            UsageError: names the member that is wrong and what was expected.
            StoreFailed: it could not be stored.
        """
        ENROLL.check(locals())
        await self.enrollments.enroll(record, replace=replace)

    async def keep(self, enrollment: AnyEnrollment, *, replace: bool = False) -> None:
        """Take an enrollment that has been read already; otherwise like ``enroll``."""
        KEEP.check(locals())
        await self.enrollments.keep(enrollment, replace=replace)

    async def enroll_once(self, enrollments: Sequence[AnyEnrollment]) -> list[str]:
        """Enroll those whose ids the records have never held; return the ids of the others."""
        ENROLL_ONCE.check(locals())
        return await self.enrollments.enroll_once(enrollments)

    async def enroll_device(self, registration_id: str, *, credential_policy: str = "") -> str:
        """Enroll one device with fresh keys; return its primary key, base64.

        Args:
            registration_id: the device's.
            credential_policy: by which it may be issued a certificate; empty for none.
        """
        ENROLL_DEVICE.check(locals())
        return await self.enrollments.enroll_device(registration_id, credential_policy)

    async def enroll_group(self, enrollment_group_id: str) -> str:
        """Enroll a group of devices with fresh keys; return its primary key, base64.

        ``mqttws.SymmetricKey.from_group_key`` makes the credential of one of its devices.
        """
        ENROLL_GROUP.check(locals())
        keys = {
            name: b64encode(token_bytes(64)).decode() for name in ("primaryKey", "secondaryKey")
        }
        attestation = {"type": "symmetricKey", "symmetricKey": keys}
        await self.enroll({"enrollmentGroupId": enrollment_group_id, "attestation": attestation})
        return keys["primaryKey"]

    async def enroll_certificate(self, registration_id: str, *, group: str = "") -> Issued:
        """Enroll a device with a certificate that is made for it; return chain and key, PEM.

        The chain of a group's device has an intermediate, which the device must send.

        >>> issued = await dps.enroll_certificate("my-device", group="my-fleet")
        >>> credential = mqttws.X509Certificate(issued.chain, issued.key)

        Args:
            registration_id: the device's.
            group: an enrollment group, enrolled with a CA of its own by its first device; empty to
                enroll the device alone.
        """
        ENROLL_CERTIFICATE.check(locals())
        if not group:
            root = DeviceAuthority.root(f"CA of {registration_id}"[:64])
            issued = root.issue(registration_id)
            x509 = {"clientCertificates": _primary(issued.certificate.decode())}
            attestation = {"type": "x509", "x509": x509}
            await self.enroll({"registrationId": registration_id, "attestation": attestation})
            return issued
        line = self._authorities.get(group.lower())
        if line is None:
            root = DeviceAuthority.root(f"CA of {group}"[:64])
            line = root.intermediate(f"line of {group}"[:64])
            x509 = {"signingCertificates": _primary(root.pem)}
            attestation = {"type": "x509", "x509": x509}
            await self.enroll({"enrollmentGroupId": group, "attestation": attestation})
            self._authorities[group.lower()] = line
        return line.issue(registration_id)

    async def delete(self, name: str, *, group: bool = False) -> None:
        """Delete an enrollment; what has been registered stays.

        Raises:
            UsageError: there is none of this name.
        """
        ENROLLED.check(locals())
        row = await self._enrolled(name, group=group)
        if not await self.enrollments.remove(row.value, row):
            raise UsageError("another client changes the same enrollment at the same moment")
        if group:
            self._authorities.pop(name.lower(), None)

    async def disable(self, name: str, *, group: bool = False) -> None:
        """Let a device, or the devices of a group, register no more; see ``enable``."""
        ENROLLED.check(locals())
        await self._set_status(name, "disabled", group=group)

    async def enable(self, name: str, *, group: bool = False) -> None:
        """Let a device, or the devices of a group, register again.

        Raises:
            UsageError: there is no such enrollment.
        """
        ENROLLED.check(locals())
        await self._set_status(name, "enabled", group=group)

    async def enrolled(self) -> list[dict[str, Any]]:
        """Return every enrollment and group in the shape of the service API, without keys."""
        found = []
        for table in (INDIVIDUALS, GROUPS):
            async for row in self._rows(table):
                record = enrollment_to_json(row.value)
                record["attestation"].pop("symmetricKey", None)
                found.append(record)
        return found

    async def registrations(self) -> list[RegistrationRecord]:
        """Return the registration record of every device that is assigned."""
        devices: list[DeviceRecord] = [row.value async for row in self._rows(DEVICES)]
        return [found.registration for found in devices if found.registration is not None]

    async def _enrolled(self, name: str, *, group: bool) -> Row:
        row = await self.directory.row(GROUPS if group else INDIVIDUALS, name)
        if not row.version:
            kind = "enrollment group" if group else "enrollment"
            raise UsageError(f"there is no {kind} {shown(name)}")
        return row

    async def _set_status(
        self, name: str, status: Literal["enabled", "disabled"], *, group: bool
    ) -> None:
        row = await self._enrolled(name, group=group)
        known: IndividualEnrollment | EnrollmentGroup = row.value
        if not await self.enrollments.change(replace(known, provisioning_status=status), row):
            raise UsageError("another client changes the same enrollment at the same moment")

    async def _rows(self, table: Any) -> AsyncIterator[Row]:
        more, after = True, ""
        while more:
            items, more = await self.store.page(table, after)
            for after, row in items:  # noqa: B007 - the last key is where the next page begins
                yield row

    async def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return the registration record of a device; None if it is not assigned."""
        REGISTRATION.check(locals())
        return await self.directory.registration(registration_id)

    async def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Order a fault; return the order's number, for ``faults.cancel``.

        >>> await dps.fault("answer", "my-device", status=429, retry_after=1, times=2)
        >>> await dps.fault("drop-after", hop="register", probability=0.1, times=None)

        Args:
            kind: see ``mqttws.dps.faults.Kind``.
            device: a registration id; None for all.
            **members: of ``mqttws.dps.faults.Fault``.

        Raises:
            UsageError: names the member and what is allowed.
            StoreFailed: it could not be stored.
        """
        return await self.faults.order(parse_fault({"kind": kind, "device": device, **members}))

    async def cancel_faults(self) -> None:
        """Cancel every ordered fault."""
        await self.faults.cancel()

    async def reset(self) -> int:
        """Forget devices and ordered faults, here and at the hubs, as between two tests.

        A device that is connected to a hub loses its connection. Enrollments and events stay.

        Returns:
            How many devices were forgotten.
        """
        await self.cancel_faults()
        if self.front.hub is not None:
            await self.front.hub.reset()
        return await self.directory.forget_devices()

    # What it has seen

    def events(self, after: int | None = None) -> AsyncIterator[DpsEvent]:
        """Yield the events, see ``dps_events.EventKind``; from now on, or behind a number."""
        AFTER.check(locals())
        return self._events.read(after)

    def seen(
        self, kind: str | None = None, device: str | None = None, after: int = 0
    ) -> list[DpsEvent]:
        """Return the events so far.

        >>> assert [e.data["status"] for e in dps.seen("request", "my-device")] == [202, 200]

        Args:
            kind: of the events, see ``dps_events.EventKind``; None for all.
            device: a registration id; None for any.
            after: the number of an event; only those behind it are returned.
        """
        SEEN.check(locals())
        return self._events.find(kind, device, after)

    async def wait_for(
        self,
        kind: str,
        device: str | None = None,
        after: int = 0,
        timeout: float | None = 10.0,
    ) -> DpsEvent:
        """Return the first event of a kind, which may have happened already.

        Args:
            kind: see ``dps_events.EventKind``.
            device: a registration id; None for any.
            after: the number of an event; the one behind it at the earliest.
            timeout: seconds; None to wait as long as it takes.

        Raises:
            RequestTimedOut: there was none in time.
        """
        WAIT_FOR.check(locals())
        try:
            async with asyncio.timeout(timeout):
                return await self._events.wait_for(kind, device, after)
        except TimeoutError:
            who = "" if device is None else f" of {shown(device)}"
            raise RequestTimedOut(f"no event {shown(kind)}{who} within {timeout:g} s") from None


def _primary(pem: str) -> dict[str, dict[str, str]]:
    """Return the certificates of an attestation, with one of them."""
    return {"primary": {"certificate": pem}}
