"""The values that a DPS instance keeps: enrollments, and what it has registered.

Knows their members, as the service API names them. Does not know their JSON, nor how a device is
judged by them. Keys are bytes here, in no ``repr`` and in no message.
"""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from .group_keys import GroupKeys

AllocationPolicy = Literal["hashed", "geoLatency", "static", "custom"]
"""How a hub is chosen (``how-to-use-allocation-policies.md``)."""

ProvisioningStatus = Literal["enabled", "disabled"]


@dataclass(frozen=True)
class ReprovisionPolicy:
    """The treatment of a device that registers again (``concepts-device-reprovision.md``).

    Attributes:
        update_hub_assignment: whether another hub may be chosen.
        migrate_device_data: whether the device's data moves along to another hub.
    """

    update_hub_assignment: bool = True
    migrate_device_data: bool = True


@dataclass(frozen=True, kw_only=True)
class Enrollment:
    """The common members of individual enrollments and groups.

    Attributes:
        primary_key: decoded, 16 to 64 bytes; a group's devices use keys derived from it. Empty
            where certificates attest.
        secondary_key: as ``primary_key``; empty for none.
        primary_certificate: DER: a device's own or its signer's; a group's signing certificate.
            Empty where keys attest.
        secondary_certificate: as ``primary_certificate``; empty for none.
        ca_references: names of the uploaded CAs whose certificates those are; a group's alone.
        endorsement_key: of a TPM, base64; a device that it attests is refused over MQTT.
        storage_root_key: as ``endorsement_key``; empty for none.
        iot_edge: whether the device is an IoT Edge device.
        iot_hub_host_name: the one hub to assign to; None to leave it to the allocation.
        iot_hubs: the hubs to choose from; empty for all of the service's.
        initial_twin: tags and desired properties of a new device, as JSON gives them.
        provisioning_status: ``enabled`` or ``disabled``.
        reprovision_policy: None where the record has none, which counts as the default policy.
        allocation_policy: None for the service's own, which is ``hashed``.
        webhook_url: whom ``custom`` allocation asks; empty with the others.
        webhook_api_version: the API version that the webhook is sent.
        credential_policy: by which a device's certificate is issued; empty for none.
        etag: the record's version.
        created: ISO 8601.
        last_updated: ISO 8601.
        other: members of the service API that mean nothing here, kept as they came.
    """

    primary_key: bytes = field(default=b"", repr=False)
    secondary_key: bytes = field(default=b"", repr=False)
    primary_certificate: bytes = field(default=b"", repr=False)
    secondary_certificate: bytes = field(default=b"", repr=False)
    ca_references: tuple[str, ...] = ()
    endorsement_key: str = field(default="", repr=False)
    storage_root_key: str = field(default="", repr=False)
    iot_edge: bool = False
    iot_hub_host_name: str | None = None
    iot_hubs: tuple[str, ...] = ()
    initial_twin: dict[str, Any] | None = None
    provisioning_status: ProvisioningStatus = "enabled"
    reprovision_policy: ReprovisionPolicy | None = None
    allocation_policy: AllocationPolicy | None = None
    webhook_url: str = field(default="", repr=False)
    webhook_api_version: str = ""
    credential_policy: str = ""
    etag: str = ""
    created: str = ""
    last_updated: str = ""
    other: dict[str, Any] = field(default_factory=dict, repr=False)

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
    """An enrollment group: its devices have keys derived from the group's, or a CA's certificates.

    Attributes:
        enrollment_group_id: the group's name.
    """

    enrollment_group_id: str


@dataclass(frozen=True)
class CaCertificate:
    """The certificate of a CA that was uploaded; groups refer to it by its name.

    Attributes:
        name: as it was written.
        der: the certificate.
        etag: the record's version.
        created: ISO 8601.
        last_updated: ISO 8601.
    """

    name: str
    der: bytes
    etag: str = ""
    created: str = ""
    last_updated: str = ""


@dataclass(frozen=True)
class RegistrationRecord:
    """The service's record of a device that it has assigned.

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
        certified: whether it got a certificate for its hub.
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
    certified: bool = False


OPERATIONS_PER_DEVICE = 4
"""Operations of one device that can be polled: the latest. More than one, since a registration
request that is sent again (QoS 1) starts an operation that its device never sees."""


@dataclass(frozen=True)
class Operation:
    """One registration under way, or ended.

    Attributes:
        operation_id: unique.
        started: Unix time in seconds, by the store's clock.
        polls_left: polls that are answered 202 before the final 200.
        enrollment_kind: ``individual`` or ``group``: what let the device in.
        enrollment_id: its id, as enrolled.
        key_name: ``primary`` or ``secondary``: the key that signed the token; empty for X.509.
        state: the DeviceRegistrationResult; None as long as a webhook is being asked.
        certified: whether a certificate was asked for and issued.
        chain: the certificates issued to the device, base64 of DER; None for none.
    """

    operation_id: str
    started: float
    polls_left: int
    enrollment_kind: Literal["individual", "group"]
    enrollment_id: str
    key_name: str = ""
    state: dict[str, Any] | None = None
    certified: bool = False
    chain: list[str] | None = None


@dataclass(frozen=True)
class DeviceRecord:
    """All that the service keeps of one device.

    Attributes:
        registration: None before it has been assigned, and after that was deleted.
        operations: the latest, oldest first.
    """

    registration: RegistrationRecord | None = None
    operations: tuple[Operation, ...] = ()

    def operation(self, operation_id: str) -> Operation | None:
        """Return one of the operations; None if it is unknown."""
        for operation in self.operations:
            if operation.operation_id == operation_id:
                return operation
        return None

    def with_operation(self, operation: Operation) -> "DeviceRecord":
        """Return the record with an operation added, or put in place of its earlier state."""
        known = {kept.operation_id: kept for kept in self.operations}
        known[operation.operation_id] = operation  # one that is known keeps its place
        return DeviceRecord(self.registration, tuple(known.values())[-OPERATIONS_PER_DEVICE:])


@dataclass(frozen=True)
class Groups:
    """The enrollment groups that may let a device in, at one moment.

    Attributes:
        version: of all groups; another one after each change of a group.
        groups: the groups, in the order of their ids.
        versions: of each group's row, by its id in lower case.
        any_certified: whether there is a group with certificates, be it none of these.
    """

    version: int = 0
    groups: tuple[EnrollmentGroup, ...] = ()
    versions: dict[str, int] = field(default_factory=dict)
    any_certified: bool = False

    def find(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return a group, whatever the case of its id; None if there is none."""
        return self._by_id.get(enrollment_group_id.lower())

    @cached_property
    def _by_id(self) -> dict[str, EnrollmentGroup]:
        return {group.enrollment_group_id.lower(): group for group in self.groups}

    @cached_property
    def keyed(self) -> tuple[EnrollmentGroup, ...]:
        """The groups whose devices are attested by keys."""
        return tuple(group for group in self.groups if group.keys)

    @cached_property
    def keys(self) -> GroupKeys:
        """The keys of the groups in ``keyed``, for searching."""
        return GroupKeys(group.keys for group in self.keyed)

    @cached_property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates of these groups, DER."""
        return tuple(der for group in self.groups for der in group.certificates)

    @property
    def fingerprints(self) -> Container[str]:
        """SHA-256 of each of ``certificates``, in hexadecimal."""
        return self.by_fingerprint

    @cached_property
    def by_fingerprint(self) -> dict[str, EnrollmentGroup]:
        """The groups whose devices are attested by certificates, by each one's SHA-256."""
        pairs = [(print_, group) for group in self.groups for print_ in group.fingerprints]
        return dict(reversed(pairs))  # of two groups with one certificate, the first counts


class Snapshot(NamedTuple):
    """The records that concern one device, at one moment.

    Attributes:
        device: its record.
        individual: its own enrollment; None without one.
        groups: those that may let it in: with keys, or with a certificate of its chain.
        now: Unix time in seconds, by the store's clock.
        named: the groups that its record names, by their ids in lower case.
    """

    device: DeviceRecord
    individual: IndividualEnrollment | None
    groups: Groups
    now: float
    named: Mapping[str, EnrollmentGroup] = MappingProxyType({})

    def group(self, enrollment_group_id: str) -> EnrollmentGroup | None:
        """Return a group, whatever the case of its id; None if there is none."""
        found = self.groups.find(enrollment_group_id)
        return self.named.get(enrollment_group_id.lower()) if found is None else found
