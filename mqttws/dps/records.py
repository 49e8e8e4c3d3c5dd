"""The values that a DPS instance keeps: enrollments, and what it has registered.

Knows their members, as the service API names them. Does not know their JSON, nor how a device is
judged by them. Keys are bytes here, in no ``repr`` and in no message.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

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
