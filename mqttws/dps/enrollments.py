"""Who may register: enrollment records, read from JSON, and where a service keeps them.

Knows the shape of the DPS service API's records (``stable/2021-10-01/service.json`` of
Azure/azure-rest-api-specs). Does not know how a device is judged by them. Keys are bytes here, in
no ``repr`` and in no message; only ``enrollment_to_json`` writes them out.
"""

import base64
import hashlib
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from ..errors import UsageError
from ..text import short_line, shown
from .json_text import parse_json
from .names import registration_id_fault
from .sas import decode_key

_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_DEVICE_ID = re.compile(r"[!-.0-~]{1,128}")

AllocationPolicy = Literal["hashed", "geoLatency", "static", "custom"]
"""How a hub is chosen (``how-to-use-allocation-policies.md``)."""

ProvisioningStatus = Literal["enabled", "disabled"]


@dataclass(frozen=True)
class ReprovisionPolicy:
    """What happens to a device that registers again (``concepts-device-reprovision.md``).

    Attributes:
        update_hub_assignment: whether another hub may be chosen.
        migrate_device_data: whether the device's data moves along to another hub.
    """

    update_hub_assignment: bool = True
    migrate_device_data: bool = True


@dataclass(frozen=True, kw_only=True)
class Enrollment:
    """What individual enrollments and groups have in common.

    Attributes:
        primary_key: decoded, 16 to 64 bytes; a group's devices use keys derived from it. Empty
            where certificates attest.
        secondary_key: likewise; empty for none.
        primary_certificate: DER: a device's own or its signer's; a group's signing certificate.
            Empty where keys attest.
        secondary_certificate: likewise; empty for none.
        iot_edge: whether the device is an IoT Edge device.
        iot_hub_host_name: the one hub to assign to; None to leave it to the allocation.
        iot_hubs: the hubs to choose from; empty for all of the service's.
        initial_twin: tags and desired properties of a new device, as JSON gives them.
        provisioning_status: ``enabled`` or ``disabled``.
        reprovision_policy: None where the record has none, which counts as the default policy.
        allocation_policy: None for the service's own, which is ``hashed``.
        webhook_url: whom ``custom`` allocation asks; empty with the others.
        webhook_api_version: what the webhook is told of its API's version.
        etag: the record's version.
        created: ISO 8601.
        last_updated: ISO 8601.
    """

    primary_key: bytes = field(default=b"", repr=False)
    secondary_key: bytes = field(default=b"", repr=False)
    primary_certificate: bytes = field(default=b"", repr=False)
    secondary_certificate: bytes = field(default=b"", repr=False)
    iot_edge: bool = False
    iot_hub_host_name: str | None = None
    iot_hubs: tuple[str, ...] = ()
    initial_twin: dict[str, Any] | None = None
    provisioning_status: ProvisioningStatus = "enabled"
    reprovision_policy: ReprovisionPolicy | None = None
    allocation_policy: AllocationPolicy | None = None
    webhook_url: str = field(default="", repr=False)
    webhook_api_version: str = ""
    etag: str = ""
    created: str = ""
    last_updated: str = ""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys that there are; none where certificates attest."""
        return tuple(key for key in (self.primary_key, self.secondary_key) if key)

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates that there are, DER; none where keys attest."""
        both = (self.primary_certificate, self.secondary_certificate)
        return tuple(certificate for certificate in both if certificate)

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each certificate, in hexadecimal."""
        return tuple(hashlib.sha256(der).hexdigest() for der in self.certificates)

    @property
    def hubs(self) -> tuple[str, ...]:
        """The hubs that this record allows; empty for all of the service's."""
        return (self.iot_hub_host_name,) if self.iot_hub_host_name else self.iot_hubs


@dataclass(frozen=True)
class IndividualEnrollment(Enrollment):
    """One device may register.

    Attributes:
        registration_id: the device's.
        device_id: its name at the hub; None for its registration id.
    """

    registration_id: str
    device_id: str | None = None


@dataclass(frozen=True)
class EnrollmentGroup(Enrollment):
    """Every device may register whose key, or certificate, comes of the group's.

    Attributes:
        enrollment_group_id: the group's name.
    """

    enrollment_group_id: str


@dataclass(frozen=True)
class RegistrationRecord:
    """What the service remembers of a device that it has assigned.

    Attributes:
        registration_id: as it was written when the device first registered.
        assigned_hub: host name.
        device_id: the device's name there.
        substatus: how the last registration ended.
        created: when the device first registered, ISO 8601.
        last_updated: when it last registered, ISO 8601.
        etag: the record's version.
        enrollment_group_id: the group that let it in; empty for an individual enrollment.
        key_name: ``primary`` or ``secondary``: the key it proved itself with; empty for X.509.
        payload: what the custom allocation sent for the device; None for nothing.
    """

    registration_id: str
    assigned_hub: str
    device_id: str
    substatus: str
    created: str
    last_updated: str
    etag: str
    enrollment_group_id: str = ""
    key_name: str = ""
    payload: Any = None


class Records(Protocol):
    """Where a service keeps enrollments and registrations. Ids are found whatever their case."""

    def individual(self, registration_id: str) -> IndividualEnrollment | None:
        """Return the device's own enrollment; None if it has none."""

    def individuals(self) -> Sequence[IndividualEnrollment]:
        """Return all individual enrollments, in a steady order."""

    def group(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return one enrollment group; None if there is none of this name."""

    def groups(self) -> Sequence[EnrollmentGroup]:
        """Return all enrollment groups, in a steady order."""

    def put(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep an enrollment, in place of the one that has its id."""

    def add(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep a new enrollment.

        Raises:
            UsageError: there is one with its id.
        """

    def remove(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Forget the enrollment that has this one's id; the device's registration stays.

        Raises:
            UsageError: there is none.
        """

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return what is remembered of a device; None if it has never been assigned."""

    def registrations(self) -> Sequence[RegistrationRecord]:
        """Return what is remembered of all devices, in a steady order."""

    def put_registration(self, record: RegistrationRecord) -> None:
        """Remember a device, in place of what was remembered of it."""

    def remove_registration(self, registration_id: str) -> None:
        """Forget a device; one that is not known is forgotten already."""


class MemoryRecords(Records):
    """Records that live as long as the process.

    Args:
        enrollments: to begin with.
    """

    def __init__(self, enrollments: Sequence[IndividualEnrollment | EnrollmentGroup] = ()) -> None:
        self._individuals: dict[str, IndividualEnrollment] = {}
        self._groups: dict[str, EnrollmentGroup] = {}
        self._registrations: dict[str, RegistrationRecord] = {}
        for enrollment in enrollments:
            self.add(enrollment)

    def individual(self, registration_id: str) -> IndividualEnrollment | None:
        """Return the device's own enrollment; None if it has none."""
        return self._individuals.get(registration_id.lower())

    def individuals(self) -> Sequence[IndividualEnrollment]:
        """Return all individual enrollments, in the order in which they were added."""
        return tuple(self._individuals.values())

    def group(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return one enrollment group; None if there is none of this name."""
        return self._groups.get(enrollment_group_id.lower())

    def groups(self) -> Sequence[EnrollmentGroup]:
        """Return all enrollment groups, in the order in which they were added."""
        return tuple(self._groups.values())

    def put(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep an enrollment, in place of the one that has its id."""
        if isinstance(enrollment, IndividualEnrollment):
            self._individuals[enrollment.registration_id.lower()] = enrollment
        else:
            self._groups[enrollment.enrollment_group_id.lower()] = enrollment

    def add(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Keep a new enrollment."""
        if isinstance(enrollment, IndividualEnrollment):
            _add(self._individuals, enrollment.registration_id, enrollment)
        else:
            _add(self._groups, enrollment.enrollment_group_id, enrollment)

    def remove(self, enrollment: IndividualEnrollment | EnrollmentGroup) -> None:
        """Forget the enrollment that has this one's id; the device's registration stays."""
        if isinstance(enrollment, IndividualEnrollment):
            _remove(self._individuals, enrollment.registration_id)
        else:
            _remove(self._groups, enrollment.enrollment_group_id)

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return what is remembered of a device; None if it has never been assigned."""
        return self._registrations.get(registration_id.lower())

    def registrations(self) -> Sequence[RegistrationRecord]:
        """Return what is remembered of all devices, in the order in which they first came."""
        return tuple(self._registrations.values())

    def put_registration(self, record: RegistrationRecord) -> None:
        """Remember a device, in place of what was remembered of it."""
        self._registrations[record.registration_id.lower()] = record

    def remove_registration(self, registration_id: str) -> None:
        """Forget a device; one that is not known is forgotten already."""
        self._registrations.pop(registration_id.lower(), None)


_E = TypeVar("_E")


def _add(kept: dict[str, _E], name: str, enrollment: _E) -> None:
    if name.lower() in kept:
        raise UsageError(f"there is an enrollment {shown(name)} already")
    kept[name.lower()] = enrollment


def _remove(kept: dict[str, _E], name: str) -> None:
    if kept.pop(name.lower(), None) is None:
        raise UsageError(f"there is no enrollment {shown(name)}")


def parse_enrollments(text: str, source: str) -> list[IndividualEnrollment | EnrollmentGroup]:
    """Return the records of a JSON list, each in the shape of the DPS service API.

    Args:
        text: JSON.
        source: where it comes from, such as a file's name; every error begins with it.

    Raises:
        UsageError: names the source, the place in it (line and column, or a path such as
            ``[2].attestation.symmetricKey.primaryKey``) and what was expected; never shows a key.
    """
    records = _Value(_parse_text(text, source), "", source).items("a list of enrollments")
    enrollments = []
    seen: set[tuple[str, str]] = set()
    for record in records:
        enrollment = _read_enrollment(record)
        name = "registrationId" if isinstance(enrollment, IndividualEnrollment) else _GROUP_ID
        member = record.member(name)
        identity = (name, str(member.value).lower())
        if identity in seen:
            raise member.fault(f"{shown(member.value)} is there twice; case does not matter")
        seen.add(identity)
        enrollments.append(enrollment)
    return enrollments


def _parse_text(text: str, source: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except ValueError as error:
        fault = f"not JSON: {error}"
    # Raised out here: the other exception must not travel along, it holds the text with its keys.
    raise UsageError(f"{source}: {fault}")


@dataclass(repr=False)
class _Value:
    """A JSON value, where it stands, and how to say what is wrong with it."""

    value: Any
    path: str
    source: str

    def fault(self, what: str) -> UsageError:
        place = f"{self.source}: {self.path}" if self.path else self.source
        return UsageError(f"{place}: {what}")

    def wrong(self, expected: str) -> UsageError:
        """Say what was expected; what was found is only named by its kind: it may be a key."""
        found = "missing" if self.value is None else f"found {_KINDS[type(self.value)]}"
        return self.fault(f"{found}; expected {expected}")

    def member(self, name: str) -> "_Value":
        """Return a member of an object; null counts as missing, as the service API's clients do."""
        path = f"{self.path}.{name}" if self.path else name
        return _Value(self.value.get(name), path, self.source)

    @property
    def missing(self) -> bool:
        return self.value is None

    def object_of(self, allowed: frozenset[str], expected: str) -> "_Value":
        if not isinstance(self.value, dict):
            raise self.wrong(expected)
        for name in self.value:
            if name not in allowed:
                fault = f"unknown; expected one of {', '.join(sorted(allowed))}"
                raise self.member(short_line(name)).fault(fault)
        return self

    def items(self, expected: str) -> list["_Value"]:
        if not isinstance(self.value, list):
            raise self.wrong(expected)
        return [
            _Value(item, f"{self.path}[{number}]", self.source)
            for number, item in enumerate(self.value)
        ]

    def text(self, expected: str) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong(expected)
        return self.value

    def optional_text(self, expected: str) -> str | None:
        return None if self.missing else self.text(expected)

    def flag(self, default: bool) -> bool:
        if self.missing:
            return default
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value


_KINDS = {
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}

_GROUP_ID = "enrollmentGroupId"
_SHARED = frozenset(
    (
        "attestation",
        "capabilities",
        "iotHubHostName",
        "iotHubs",
        "initialTwin",
        "provisioningStatus",
        "reprovisionPolicy",
        "allocationPolicy",
        "customAllocationDefinition",
        "etag",
        "createdDateTimeUtc",
        "lastUpdatedDateTimeUtc",
    )
)
_INDIVIDUAL = _SHARED | frozenset(
    # The last two are the service's to write and of no use here.
    ("registrationId", "deviceId", "registrationState", "optionalDeviceInformation")
)
_GROUP = _SHARED | frozenset((_GROUP_ID,))


def _read_enrollment(record: _Value) -> IndividualEnrollment | EnrollmentGroup:
    """Return one record of the list."""
    if not isinstance(record.value, dict):
        raise record.wrong("an enrollment, which is an object")
    individual = not record.member("registrationId").missing
    if individual != record.member(_GROUP_ID).missing:
        raise record.fault("expected either registrationId or enrollmentGroupId")
    record.object_of(_INDIVIDUAL if individual else _GROUP, "an enrollment")
    shared = _read_shared(record)
    if not individual:
        return EnrollmentGroup(_read_id(record.member(_GROUP_ID)), **shared)
    return IndividualEnrollment(
        _read_id(record.member("registrationId")),
        _read_device_id(record.member("deviceId")),
        **shared,
    )


def _read_id(member: _Value) -> str:
    """Return a registration id or a group's; the rules are the same."""
    text = member.text("an id")
    fault = registration_id_fault(text)
    if fault:
        raise member.fault(fault)
    return text


def _read_shared(record: _Value) -> dict[str, Any]:
    """Return the fields that individual enrollments and groups have in common."""
    fields: dict[str, Any] = _read_attestation(record) | _read_allocation(record)
    fields |= {
        "iot_edge": _read_capabilities(record.member("capabilities")),
        "iot_hub_host_name": _read_hub(record.member("iotHubHostName")),
        "iot_hubs": _read_hubs(record.member("iotHubs")),
        "initial_twin": _read_twin(record.member("initialTwin")),
        "provisioning_status": _read_status(record.member("provisioningStatus")),
        "reprovision_policy": _read_reprovision_policy(record.member("reprovisionPolicy")),
    }
    for name, member in (
        ("etag", "etag"),
        ("created", "createdDateTimeUtc"),
        ("last_updated", "lastUpdatedDateTimeUtc"),
    ):
        fields[name] = record.member(member).optional_text("text") or ""
    return fields


def _read_attestation(record: _Value) -> dict[str, bytes]:
    """Return keys or certificates, by the names of an enrollment's fields."""
    attestation = record.member("attestation")
    attestation.object_of(frozenset(("type", "symmetricKey", "x509", "tpm")), "an object with type")
    kind = attestation.member("type")
    if kind.value == "x509":
        individual = record.member(_GROUP_ID).missing
        return _read_certificates(
            attestation.member("x509"),
            "clientCertificates" if individual else "signingCertificates",
        )
    if kind.value == "tpm":
        raise kind.fault("DPS has no TPM attestation over MQTT; expected symmetricKey or x509")
    if kind.value != "symmetricKey":
        raise kind.wrong("the string symmetricKey or x509")
    keys = attestation.member("symmetricKey")
    keys.object_of(frozenset(("primaryKey", "secondaryKey")), "an object with primaryKey")
    secondary = keys.member("secondaryKey")
    return {
        "primary_key": _read_key(keys.member("primaryKey")),
        "secondary_key": b"" if secondary.missing else _read_key(secondary),
    }


def _read_certificates(x509: _Value, name: str) -> dict[str, bytes]:
    """Return the certificates that stand under ``name``, as the service API has them."""
    x509.object_of(frozenset((name,)), f"an object with {name}")
    certificates = x509.member(name)
    certificates.object_of(frozenset(("primary", "secondary")), "an object with primary")
    secondary = certificates.member("secondary")
    return {
        "primary_certificate": _read_certificate(certificates.member("primary")),
        "secondary_certificate": b"" if secondary.missing else _read_certificate(secondary),
    }


def _read_certificate(holder: _Value) -> bytes:
    holder.object_of(frozenset(("certificate", "info")), "an object with certificate")
    member = holder.member("certificate")
    expected = "one certificate in PEM form"
    _, begin, rest = member.text(expected).partition("-----BEGIN CERTIFICATE-----")
    body, end, rest = rest.partition("-----END CERTIFICATE-----")
    if not begin or not end or rest.strip():
        raise member.wrong(expected)
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        pass
    raise member.wrong(expected)


def _read_key(member: _Value) -> bytes:
    expected = "a key of 16 to 64 bytes in base64"
    text = member.text(expected)
    try:
        return decode_key(text)
    except UsageError as error:
        fault = str(error)
    raise member.fault(f"{fault}; expected {expected}")


def _read_capabilities(member: _Value) -> bool:
    if member.missing:
        return False
    return member.object_of(frozenset(("iotEdge",)), "an object").member("iotEdge").flag(False)


def _read_device_id(member: _Value) -> str | None:
    """Return what may be a name at the hub, where it stands in topics."""
    expected = "a device id: 1 to 128 ASCII characters, no blank and no /"
    text = member.optional_text(expected)
    if text is not None and not _DEVICE_ID.fullmatch(text):
        raise member.wrong(expected)
    return text


def _read_hub(member: _Value) -> str | None:
    return None if member.missing else _host_name(member)


def _read_hubs(member: _Value) -> tuple[str, ...]:
    if member.missing:
        return ()
    return tuple(_host_name(hub) for hub in member.items("a list of host names"))


def _host_name(member: _Value) -> str:
    expected = "a host name"
    text = member.text(expected)
    if not _HOST_NAME.fullmatch(text):
        raise member.wrong(expected)
    return text


def _read_twin(member: _Value) -> dict[str, Any] | None:
    if member.missing:
        return None
    member.object_of(frozenset(("tags", "properties")), "an object with tags and properties")
    twin: dict[str, Any] = member.value
    return twin


def _read_status(member: _Value) -> str:
    if member.missing:
        return "enabled"
    if member.value not in ("enabled", "disabled"):
        raise member.wrong("enabled or disabled")
    return str(member.value)


def _read_reprovision_policy(member: _Value) -> ReprovisionPolicy | None:
    if member.missing:
        return None
    member.object_of(frozenset(("updateHubAssignment", "migrateDeviceData")), "an object")
    return ReprovisionPolicy(
        update_hub_assignment=member.member("updateHubAssignment").flag(True),
        migrate_device_data=member.member("migrateDeviceData").flag(True),
    )


def _read_allocation(record: _Value) -> dict[str, Any]:
    """Return how a hub is chosen, by the names of an enrollment's fields."""
    member = record.member("allocationPolicy")
    definition = record.member("customAllocationDefinition")
    if member.value == "custom":
        members = frozenset(("webhookUrl", "apiVersion"))
        definition.object_of(members, "an object with webhookUrl and apiVersion")
        url = definition.member("webhookUrl")
        if not _is_webhook(url.text("a URL")):
            raise url.wrong("a URL that begins with http:// or https:// and names a host")
        version = definition.member("apiVersion").optional_text("a date such as 2019-03-31")
        return {
            "allocation_policy": "custom",
            "webhook_url": url.value,
            "webhook_api_version": version or "",
        }
    if not definition.missing:
        raise definition.fault("only custom allocation has it; expected allocationPolicy custom")
    if member.missing:
        return {}
    if member.value not in ("hashed", "geoLatency", "static"):
        raise member.wrong("hashed, geoLatency, static or custom")
    return {"allocation_policy": member.value}


def _is_webhook(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0  # reading the port checks it
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return named and plain and parts.scheme in ("http", "https")


def enrollment_to_json(enrollment: IndividualEnrollment | EnrollmentGroup) -> dict[str, Any]:
    """Return a record in the shape that ``parse_enrollments`` reads. It holds the keys."""
    record: dict[str, Any] = (
        {"registrationId": enrollment.registration_id, "deviceId": enrollment.device_id}
        if isinstance(enrollment, IndividualEnrollment)
        else {_GROUP_ID: enrollment.enrollment_group_id}
    )
    policy = enrollment.reprovision_policy
    record |= {
        "attestation": _attestation_to_json(enrollment),
        "capabilities": {"iotEdge": enrollment.iot_edge},
        "iotHubHostName": enrollment.iot_hub_host_name,
        "iotHubs": list(enrollment.iot_hubs) or None,
        "initialTwin": enrollment.initial_twin,
        "provisioningStatus": enrollment.provisioning_status,
        "reprovisionPolicy": policy
        and {
            "updateHubAssignment": policy.update_hub_assignment,
            "migrateDeviceData": policy.migrate_device_data,
        },
        "allocationPolicy": enrollment.allocation_policy,
        "customAllocationDefinition": _allocation_to_json(enrollment),
        "etag": enrollment.etag or None,
        "createdDateTimeUtc": enrollment.created or None,
        "lastUpdatedDateTimeUtc": enrollment.last_updated or None,
    }
    return {name: value for name, value in record.items() if value is not None}


def _attestation_to_json(enrollment: Enrollment) -> dict[str, Any]:
    if not enrollment.certificates:
        keys = {"primaryKey": _encode(enrollment.primary_key)}
        if enrollment.secondary_key:
            keys["secondaryKey"] = _encode(enrollment.secondary_key)
        return {"type": "symmetricKey", "symmetricKey": keys}
    individual = isinstance(enrollment, IndividualEnrollment)
    named = dict(zip(("primary", "secondary"), enrollment.certificates, strict=False))
    certificates = {name: {"certificate": pem_certificate(der)} for name, der in named.items()}
    place = "clientCertificates" if individual else "signingCertificates"
    return {"type": "x509", "x509": {place: certificates}}


def _allocation_to_json(enrollment: Enrollment) -> dict[str, str] | None:
    if not enrollment.webhook_url:
        return None
    definition = {"webhookUrl": enrollment.webhook_url}
    if enrollment.webhook_api_version:
        definition["apiVersion"] = enrollment.webhook_api_version
    return definition


def pem_certificate(der: bytes) -> str:
    """Return a certificate in PEM form (RFC 7468 section 5)."""
    body = textwrap.fill(_encode(der), 64)
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()
