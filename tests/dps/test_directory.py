"""Rows of enrollments, devices and CAs: added once, found in any case, page by page."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from mqttws import UsageError
from mqttws.dps.csr import has_csr
from mqttws.dps.directory import Directory
from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.dps.records import (
    CaCertificate,
    DeviceRecord,
    EnrollmentGroup,
    Operation,
    RegistrationRecord,
)
from mqttws.dps.store import Page, Table, Write
from mqttws.dps.tables import CAS, DEVICES, GROUPS, INDIVIDUALS, MARKS, OLD_GROUPS_MARK
from mqttws.local.stores.memory import MemoryStore

from .world import at_once


class SmallPages(MemoryStore):
    """Gives out two rows at a time."""

    async def page(
        self, table: Table[Any], after: str = "", limit: int = 1000, group: str | None = None
    ) -> Page:
        """Return at most two rows."""
        return await super().page(table, after, min(limit, 2), group)


def enrollment(id_name: str, name: str, attestation: dict[str, Any]) -> Any:
    record = {id_name: name, "attestation": attestation}
    (found,) = parse_enrollments(json.dumps(record), "file")
    return found


KEY = base64.b64encode(bytes(16)).decode()
BY_KEYS = {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}
DEVICE = enrollment("registrationId", "Dev-1", BY_KEYS)
GROUP = enrollment("enrollmentGroupId", "Group-1", BY_KEYS)


def by_ca(name: str, ca: str) -> Any:
    x509 = {"caReferences": {"primary": ca}}
    return enrollment("enrollmentGroupId", name, {"type": "x509", "x509": x509})


async def test_an_enrollment_is_added_once() -> None:
    directory = Directory(SmallPages(lambda: 0.0))
    for one, table in ((DEVICE, INDIVIDUALS), (GROUP, GROUPS)):
        assert await directory.add(one) is True
        assert await directory.add(one) is False
        name = "DEV-1" if table is INDIVIDUALS else "GROUP-1"
        row = await directory.row(table, name)
        assert row.value == one
        assert await directory.remove(one, row) is True
        assert await directory.add(one, once=True) is False
        assert await directory.add(one) is True
    assert await directory.individual("dev-1") == DEVICE
    assert await directory.group("GROUP-1") == GROUP
    assert await directory.individual("other") is None


async def test_a_new_id_is_added_where_once_is_enough() -> None:
    directory = Directory(SmallPages(lambda: 0.0))
    assert await directory.add(DEVICE, once=True) is True


async def test_cas_are_listed_page_by_page_and_their_groups_found() -> None:
    directory = Directory(SmallPages(lambda: 0.0))
    names = ("0", "Ca-1", "Ca-2", "Ca-3", "Ca-4")
    cas = [CaCertificate(name, bytes([number])) for number, name in enumerate(names)]
    for ca in cas:
        assert await directory.put_ca(ca, await directory.row(CAS, ca.name)) is True
    assert await directory.cas() == cas
    assert await directory.put_ca(cas[0], await directory.row(CAS, "none")) is False
    for number in range(3):
        assert await directory.add(by_ca(f"g{number}", "CA-1")) is True
    assert await directory.add(by_ca("other", "ca-2")) is True
    with pytest.raises(UsageError, match="no CA certificate 'ca-9'"):
        await directory.add(by_ca("wrong", "ca-9"))
    found = await directory.groups_of_ca("cA-1")
    assert [row.value.enrollment_group_id for row in found] == ["g0", "g1", "g2"]
    assert {row.value.primary_certificate for row in found} == {b"\x01"}
    row = await directory.row(CAS, "ca-4")
    assert await directory.remove_ca("CA-4", row) is True
    assert await directory.remove_ca("CA-4", row) is False
    assert await directory.cas() == cas[:4]


@pytest.mark.parametrize(
    ("references", "primary", "secondary"),
    [
        ((), b"", b""),
        (("Root",), b"root", b""),
        (("ROOT", "next"), b"root", b"next"),
        (("", "next"), b"", b"next"),
        (("root", "root"), b"root", b"root"),
    ],
)
def test_a_group_gets_the_certificates_of_the_cas_that_it_names(
    references: tuple[str, ...], primary: bytes, secondary: bytes
) -> None:
    directory = Directory(SmallPages(lambda: 0.0))
    for name in ("root", "next"):
        ca = CaCertificate(name, name.encode())
        assert at_once(directory.put_ca(ca, at_once(directory.row(CAS, name))))
    given = EnrollmentGroup(enrollment_group_id="g", ca_references=references)
    complete, checks = at_once(directory.with_cas(given))
    assert (complete.primary_certificate, complete.secondary_certificate) == (primary, secondary)
    assert complete.ca_references == references
    assert {check.key for check in checks} == {name.lower() for name in references if name}
    row = at_once(directory.row(CAS, "root"))
    assert all(check.version for check in checks)
    assert at_once(directory.put_ca(CaCertificate("root", b"newer"), row))
    written = at_once(directory.put(complete, at_once(directory.row(GROUPS, "g")), checks))
    assert written is not any(name.lower() == "root" for name in references)


def test_an_enrollment_is_replaced_if_it_is_still_what_was_loaded_or_whatever_it_is() -> None:
    directory = Directory(SmallPages(lambda: 0.0))
    before = at_once(directory.row(INDIVIDUALS, "dev-1"))
    assert at_once(directory.put(DEVICE, before)) is True
    assert at_once(directory.put(DEVICE, before)) is False
    assert at_once(directory.put(DEVICE, before, any_version=True)) is True
    assert at_once(directory.remove(DEVICE, before)) is False
    assert at_once(directory.individual("dev-1")) == DEVICE


def test_a_deleted_registration_leaves_the_operations_that_a_device_polls() -> None:
    store = SmallPages(lambda: 0.0)
    directory = Directory(store)
    operation = Operation("op", 0.0, 0, "individual", "r1")
    for number, operations in ((1, ()), (2, (operation,))):
        device = DeviceRecord(record(number).registration, operations)
        assert at_once(store.commit([Write(DEVICES, f"r{number}", device)]))
        before = at_once(directory.row(DEVICES, f"R{number}"))
        assert at_once(directory.remove_registration(f"R{number}", before)) is True
        assert at_once(directory.registration(f"r{number}")) is None
        assert at_once(directory.remove_registration(f"R{number}", before)) is False
        left = at_once(directory.row(DEVICES, f"r{number}")).value
        assert left == (DeviceRecord(None, operations) if operations else None)


def test_it_says_how_many_groups_of_an_older_version_were_indexed() -> None:
    store = SmallPages(lambda: 0.0)
    directory = Directory(store)
    assert at_once(directory.index_groups()) == 0
    writes = [Write(GROUPS, "group-1", GROUP), Write(MARKS, OLD_GROUPS_MARK, 1)]
    assert at_once(store.commit(writes))
    assert at_once(directory.index_groups()) == 1


def record(number: int) -> DeviceRecord:
    time = "2026-01-01T00:00:00Z"
    return DeviceRecord(
        RegistrationRecord(f"r{number}", "h", f"d{number}", "initialAssignment", time, time, "e")
    )


async def test_devices_are_found_by_their_name_at_a_hub_and_forgotten() -> None:
    store = SmallPages(lambda: 0.0)
    directory = Directory(store)
    assert await directory.assigned("h", "d3") is None
    assert await directory.is_empty() is True
    writes: Sequence[Write] = [Write(DEVICES, f"r{number}", record(number)) for number in range(5)]
    assert await store.commit(writes)
    assert await directory.assigned("h", "d3") == record(3).registration
    assert await directory.is_empty() is False
    assert await directory.forget_devices() == 5
    assert await directory.registration("r3") is None
    assert await directory.forget_devices() == 0


def test_a_body_has_a_request_for_a_certificate_or_not() -> None:
    assert has_csr({"csr": "AAAA"}) is True
    others: list[Any] = [{"csr": None}, {}, [], None, "csr"]
    for body in others:
        assert has_csr(body) is False
