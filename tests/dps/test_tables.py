"""Rows in a store: each comes back as it was, in its group; a store that fails is answered 503."""

from typing import Any

import pytest

from mqttws.dps.directory import Directory
from mqttws.dps.records import CaCertificate, DeviceRecord, EnrollmentGroup, IndividualEnrollment
from mqttws.dps.store import Table
from mqttws.dps.tables import CAS, CERTIFIED, DEVICES, GROUPS, INDIVIDUALS
from mqttws.dps.throttle import WINDOWS_BEFORE_CLEANING, Throttle
from mqttws.errors import StoreFailed, UsageError

from .test_directory import BY_KEYS, by_ca, enrollment, record
from .world import connect, individual, make_service, register


@pytest.mark.parametrize(
    ("table", "value", "group"),
    [
        (INDIVIDUALS, enrollment("registrationId", "Dev-1", BY_KEYS), ""),
        (GROUPS, enrollment("enrollmentGroupId", "Group-1", BY_KEYS), ""),
        (DEVICES, DeviceRecord(), ""),
        (DEVICES, record(1), ""),
        (CAS, CaCertificate("Ca-1", b"\xff\x00", "e", "then", "now"), ""),
    ],
)
def test_a_row_comes_back_as_it_was(table: Table[Any], value: Any, group: str) -> None:
    assert table.decode(table.encode(value)) == value
    assert table.group(value) == group
    assert table.kept("a key") is False


@pytest.mark.parametrize("kind", [IndividualEnrollment, EnrollmentGroup])
def test_enrollments_with_certificates_are_a_group_of_their_own(kind: Any) -> None:
    table: Any = INDIVIDUALS if kind is IndividualEnrollment else GROUPS
    assert table.group(kind("a", primary_certificate=b"der")) == CERTIFIED
    assert table.group(kind("a", primary_key=b"k" * 32)) == ""


async def test_an_enrollment_keeps_the_certificates_of_its_cas() -> None:
    directory = Directory(make_service().store)
    ca = CaCertificate("ca", b"der of a CA")
    assert await directory.put_ca(ca, await directory.row(CAS, "ca"))
    complete, _ = await directory.with_cas(by_ca("g", "ca"))
    assert isinstance(complete, EnrollmentGroup)
    again = GROUPS.decode(GROUPS.encode(complete))
    assert (again.ca_references, again.primary_certificate) == (("ca",), b"der of a CA")


@pytest.mark.parametrize("text", ["{}", "[]", '{"registration": {"a": 1}, "operations": []}'])
def test_a_devices_row_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="a device's record cannot be read"):
        DEVICES.decode(text)


def test_a_store_that_fails_is_answered_503_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(individual())
    device = connect(service)

    async def fails(*_: object) -> Any:
        raise StoreFailed("the disk is away")

    monkeypatch.setattr(service.store, "load", fails)
    topic, body = register(service, device)
    assert topic.startswith("$dps/registrations/res/503/?$rid=1&retry-after=")
    assert body["message"] == "The service is unavailable."
    assert body["timestampUtc"].startswith("1970-01-01T00:00:00")  # it has no clock but the store's
    assert service.service.counts.store_failures == 1


def test_names_are_forgotten_at_the_end_of_their_window() -> None:
    throttle = Throttle(1, 10.0)
    for number in range(WINDOWS_BEFORE_CLEANING):
        assert throttle.take(str(number), 0.0 if number else 1.0) == 0
    assert len(throttle._happened) == WINDOWS_BEFORE_CLEANING
    assert throttle.take("one more", 10.0) == 0
    assert list(throttle._happened) == ["0", "one more"]


def test_an_enrollments_row_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match=r"^records: "):
        GROUPS.decode("{}")
