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
from mqttws.dps.records import CaCertificate, DeviceRecord, RegistrationRecord
from mqttws.dps.store import Page, Table, Write
from mqttws.dps.tables import CAS, DEVICES, GROUPS, INDIVIDUALS
from mqttws.local.stores.memory import MemoryStore


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
