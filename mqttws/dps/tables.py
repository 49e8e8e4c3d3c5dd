"""The DPS's tables in the store, and how their values are written as JSON.

Knows the members of each row. Does not know who reads them.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

from .enrollment_json import enrollment_to_json, parse_enrollments
from .faults import Faults
from .json_text import parse_json
from .records import (
    CaCertificate,
    DeviceRecord,
    EnrollmentGroup,
    IndividualEnrollment,
    Operation,
    RegistrationRecord,
)
from .store import Table

AnyEnrollment = IndividualEnrollment | EnrollmentGroup

CERTIFIED = "x509"
"""The group of enrollments whose devices are attested by certificates."""


_dump: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode


def _encode_enrollment(enrollment: AnyEnrollment) -> str:
    return _dump(enrollment_to_json(enrollment, with_cas=True))


def _decode_enrollment(text: str) -> AnyEnrollment:
    (enrollment,) = parse_enrollments(f"[{text}]", "records")
    return enrollment


def _certified(enrollment: AnyEnrollment) -> str:
    return CERTIFIED if enrollment.certificates else ""


def _members(value: object) -> dict[str, Any]:
    """Return a dataclass's fields by name; unlike ``asdict`` it copies nothing, at any depth."""
    return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]


def _encode_device(device: DeviceRecord) -> str:
    registration = device.registration
    return _dump(
        {
            "registration": None if registration is None else _members(registration),
            "operations": [_members(operation) for operation in device.operations],
        }
    )


def _decode_device(text: str) -> DeviceRecord:
    try:
        record = parse_json(text)
        registration = record["registration"]
        return DeviceRecord(
            None if registration is None else RegistrationRecord(**registration),
            tuple(Operation(**members) for members in record["operations"]),
        )
    except (TypeError, KeyError) as error:
        reason = type(error).__name__
    raise ValueError(f"a device's record cannot be read: {reason}")


def _device_group(device: DeviceRecord) -> str:
    registration = device.registration
    return "" if registration is None else registration.enrollment_group_id.lower()


def _device_alias(device: DeviceRecord) -> str:
    registration = device.registration
    if registration is None:
        return ""
    return device_alias(registration.assigned_hub, registration.device_id)


def device_alias(hub: str, device_id: str) -> str:
    """Return the alias of a device's row: its name at the hub that it was assigned to."""
    return f"{hub}\n{device_id}"


INDIVIDUALS: Table[IndividualEnrollment] = Table(
    "individual",
    _encode_enrollment,
    _decode_enrollment,  # type: ignore[arg-type]
    _certified,
)
"""Individual enrollments by registration id, in lower case."""

GROUPS: Table[EnrollmentGroup] = Table(
    "group",
    _encode_enrollment,
    _decode_enrollment,  # type: ignore[arg-type]
    _certified,
)
"""Enrollment groups by id, in lower case."""

DEVICES: Table[DeviceRecord] = Table(
    "device", _encode_device, _decode_device, _device_group, _device_alias
)
"""Devices' records by registration id, in lower case."""


def _encode_ca(ca: CaCertificate) -> str:
    return _dump(_members(ca) | {"der": b64encode(ca.der).decode()})


def _decode_ca(text: str) -> CaCertificate:
    members = parse_json(text)
    return CaCertificate(**members | {"der": b64decode(members["der"])})


CAS: Table[CaCertificate] = Table("CA certificate", _encode_ca, _decode_ca)
"""Uploaded CAs' certificates by name, in lower case."""

FAULTS: Table[Faults] = Table(
    "faults",
    lambda faults: _dump(faults.to_json()),
    lambda text: Faults.from_json(parse_json(text)),
    kept=lambda key: True,
)
"""Ordered faults: one row, with an empty key."""


class Signer(NamedTuple):
    """A key or certificate that signs for the devices of a group (``group_index``).

    Attributes:
        name: of a key or a certificate.
        group: the key of the group.
    """

    name: str
    group: str


SIGNERS: Table[Signer] = Table(
    "signer", _dump, lambda text: Signer(*parse_json(text)), alias=lambda signer: signer.name
)
"""Keys and certificates that sign for devices, by name and group; the name is the alias."""

GROUPS_MARK = "groups"

OLD_GROUPS_MARK = "group"
"""The mark of versions of this program that kept no index of groups."""

INDEXED_MARK = "groups indexed"

# A request loads the groups' mark itself: no front end waits for news of it.
MARKS: Table[int] = Table("mark", str, int)
"""A row that says by its version alone that a group has changed (``groups``); one that holds the
version of the old mark (``group``) up to which groups are indexed (``groups indexed``); and ids
that have been enrolled once and deleted (``individual ID``, ``group ID``)."""
