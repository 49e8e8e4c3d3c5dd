"""Enrollments and registrations, as the admin API and the hub ask for them.

Knows which rows belong together: a changed group is marked for all front ends, and a deleted
enrollment's id stays known. Does not know how a device is judged.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from ..errors import UsageError
from ..text import shown
from .certificates import ChainReader
from .group_index import GroupIndex
from .records import (
    CaCertificate,
    DeviceRecord,
    EnrollmentGroup,
    IndividualEnrollment,
    RegistrationRecord,
)
from .store import Check, Row, Store, Table, Write
from .tables import (
    CAS,
    CERTIFIED,
    DEVICES,
    GROUPS,
    INDIVIDUALS,
    MARKS,
    AnyEnrollment,
    device_alias,
)


def place_of(enrollment: AnyEnrollment) -> tuple[Table[Any], str]:
    """Return the table and the key of an enrollment."""
    if isinstance(enrollment, IndividualEnrollment):
        return INDIVIDUALS, enrollment.registration_id.lower()
    return GROUPS, enrollment.enrollment_group_id.lower()


class Directory:
    """Reads and changes enrollments and registrations in a store.

    Every call may raise ``StoreFailed``; ids are found whatever their case.

    Args:
        store: open.
        chains: reads enrolled certificates; None where devices show every one of them.
    """

    def __init__(self, store: Store, chains: ChainReader | None = None) -> None:
        self._store = store
        self._index = GroupIndex(store, chains)

    async def row(self, table: Table[Any], name: str) -> Row:
        """Return the row of an enrollment or a device."""
        return (await self._store.load((table, name.lower()))).rows[0]

    async def individual(self, registration_id: str) -> IndividualEnrollment | None:
        """Return a device's own enrollment; None if it has none."""
        value: IndividualEnrollment | None = (await self.row(INDIVIDUALS, registration_id)).value
        return value

    async def group(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return an enrollment group; None if there is none of this name."""
        value: EnrollmentGroup | None = (await self.row(GROUPS, enrollment_group_id)).value
        return value

    async def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return the registration record of a device; None if it is not assigned."""
        device: DeviceRecord | None = (await self.row(DEVICES, registration_id)).value
        return None if device is None else device.registration

    async def assigned(self, hub: str, device_id: str) -> RegistrationRecord | None:
        """Return the registration record of a device, found by its name at a hub; None without"""
        found = await self._store.find(DEVICES, device_alias(hub, device_id))
        if not found:
            return None
        device: DeviceRecord = found[0][1].value
        return device.registration

    async def is_empty(self) -> bool:
        """Whether there is no enrollment and no device, and has never been one."""
        for table in (INDIVIDUALS, GROUPS, DEVICES, MARKS):
            if (await self._store.page(table, limit=1)).items:
                return False
        return True

    async def with_cas(self, enrollment: AnyEnrollment) -> tuple[AnyEnrollment, list[Check]]:
        """Return an enrollment with the certificates of the CAs that it refers to.

        The checks let a commit fail where one of them has changed by then.

        Raises:
            UsageError: there is no CA of such a name.
        """
        if not enrollment.ca_references:
            return enrollment, []
        keys = [name.lower() for name in enrollment.ca_references if name]
        rows = (await self._store.load(*((CAS, key) for key in keys))).rows
        found = dict(zip(keys, rows, strict=True))
        for name, row in found.items():
            if not row.version:
                raise UsageError(
                    f"attestation.x509.caReferences: there is no CA certificate {shown(name)};"
                    f" upload it first: PUT /certificates/{name}"
                )
        primary, secondary = (*enrollment.ca_references, "")[:2]
        complete = replace(
            enrollment,
            primary_certificate=found[primary.lower()].value.der if primary else b"",
            secondary_certificate=found[secondary.lower()].value.der if secondary else b"",
        )
        return complete, [Check(CAS, key, row.version) for key, row in found.items()]

    async def put_ca(self, ca: CaCertificate, before: Row) -> bool:
        """Keep a CA's certificate, if the one that has its name is still what was loaded."""
        return await self._store.commit([Write(CAS, ca.name.lower(), ca, before.version)])

    async def remove_ca(self, name: str, before: Row) -> bool:
        """Delete a CA's certificate, if it is still what was loaded."""
        return await self._store.commit([Write(CAS, name.lower(), None, before.version)])

    async def cas(self) -> list[CaCertificate]:
        """Return every uploaded CA's certificate."""
        return [row.value async for row in self._rows(CAS)]

    async def groups_of_ca(self, name: str) -> list[Row]:
        """Return the rows of the enrollment groups that refer to a CA."""
        wanted = name.lower()
        rows = [row async for row in self._rows(GROUPS, CERTIFIED)]
        return [row for row in rows if wanted in [of.lower() for of in row.value.ca_references]]

    async def _rows(self, table: Table[Any], group: str | None = None) -> AsyncIterator[Row]:
        more, after = True, ""
        while more:
            items, more = await self._store.page(table, after, group=group)
            for after, row in items:  # noqa: B007 - the last key is where the next page begins
                yield row

    async def put(
        self,
        enrollment: AnyEnrollment,
        before: Row,
        checks: Sequence[Check] = (),
        *,
        any_version: bool = False,
    ) -> bool:
        """Keep an enrollment, if the one that has its id is still what was loaded.

        Args:
            enrollment: the new one.
            before: the row as it was loaded.
            checks: rows that it depends on.
            any_version: whether it is kept whatever has been written since.
        """
        table, key = place_of(enrollment)
        expected = None if any_version else before.version
        writes = [Write(table, key, enrollment, expected)]
        return await self._store.commit(writes + self._along(before.value, enrollment), checks)

    async def remove(self, enrollment: AnyEnrollment, before: Row) -> bool:
        """Delete an enrollment, if it is still what was loaded; the device's registration stays."""
        table, key = place_of(enrollment)
        writes = [
            Write(table, key, None, before.version),
            Write(MARKS, f"{table.name} {key}", 1),
        ]
        return await self._store.commit(writes + self._along(enrollment, None))

    async def add(self, enrollment: AnyEnrollment, *, once: bool = False) -> bool:
        """Keep a new enrollment; False where there is one with its id.

        Args:
            enrollment: the new one.
            once: also False where its id has been enrolled before, and deleted.
        """
        table, key = place_of(enrollment)
        enrollment, checks = await self.with_cas(enrollment)
        loaded = await self._store.load((table, key), (MARKS, f"{table.name} {key}"))
        row, mark = loaded.rows
        if row.version or (once and mark.version):
            return False
        return await self.put(enrollment, row, checks)

    async def remove_registration(self, registration_id: str, before: Row) -> bool:
        """Forget a device's assignment, if its record is still what was loaded."""
        device: DeviceRecord = before.value
        kept = replace(device, registration=None) if device.operations else None
        write = Write(DEVICES, registration_id.lower(), kept, before.version)
        return await self._store.commit([write])

    async def forget_devices(self) -> int:
        """Forget every device's assignment and operations; return how many devices there were.

        Enrollments stay. A device that registers meanwhile may be forgotten, or not.
        """
        count, more = 0, True
        while more:
            items, more = await self._store.page(DEVICES)
            await self._store.commit([Write(DEVICES, key, None) for key, _ in items])
            count += len(items)
        return count

    async def index_groups(self) -> int:
        """Index groups that an older version of this program has written; return how many."""
        return await self._index.complete()

    def _along(self, before: AnyEnrollment | None, after: AnyEnrollment | None) -> list[Write]:
        """Return what a change writes along: a group is found by what signs for its devices."""
        old = before if isinstance(before, EnrollmentGroup) else None
        new = after if isinstance(after, EnrollmentGroup) else None
        return self._index.changes(old, new) if old or new else []
