"""Enrollments read from the JSON of the DPS service API, and written to it.

Knows the shape of its records (``stable/2021-10-01/service.json`` of Azure/azure-rest-api-specs).
No error shows a key; only ``enrollment_to_json`` writes them out.
"""

import base64
import textwrap
from typing import Any
from urllib.parse import urlsplit

from ..errors import UsageError
from ..text import shown
from .json_reader import JsonValue, parse_text
from .names import (
    DEVICE_ID_RULE,
    HOST_NAME_RULE,
    is_device_id,
    is_host_name,
    registration_id_fault,
)
from .records import Enrollment, EnrollmentGroup, IndividualEnrollment, ReprovisionPolicy
from .sas import decode_key


def parse_enrollments(text: str, source: str) -> list[IndividualEnrollment | EnrollmentGroup]:
    """Return the records of a JSON list, each in the shape of the DPS service API.

    One object is taken for a list of one; an object with ``value`` for a page of a query. Members
    that are null count as missing. Members that are not known are kept, and returned as they came:
    the service API grows.

    Args:
        text: JSON.
        source: where it comes from, such as a file's name; every error begins with it.

    Raises:
        UsageError: names the source, the place in it (line and column, or a path such as
            ``[2].attestation.symmetricKey.primaryKey``) and what was expected; never shows a key.
    """
    enrollments = []
    seen: set[tuple[str, str]] = set()
    for record in _records(JsonValue(parse_text(text, source), "", source)):
        enrollment = _read_enrollment(record)
        name = "registrationId" if isinstance(enrollment, IndividualEnrollment) else _GROUP_ID
        member = record.member(name)
        identity = (name, str(member.value).lower())
        if identity in seen:
            raise member.fault(f"{shown(member.value)} is there twice; case does not matter")
        seen.add(identity)
        enrollments.append(enrollment)
    return enrollments


def _records(whole: JsonValue) -> list[JsonValue]:
    if isinstance(whole.value, dict):
        listed = whole.member("value")
        return [whole] if listed.missing else listed.items("a list of enrollments")
    return whole.items("a list of enrollments")


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
        "credentialPolicyName",
        "etag",
        "createdDateTimeUtc",
        "lastUpdatedDateTimeUtc",
    )
)

_INDIVIDUAL = _SHARED | frozenset(
    # The last one is the service's to write.
    ("registrationId", "deviceId", "registrationState")
)

_GROUP = _SHARED | frozenset((_GROUP_ID,))


def _read_enrollment(record: JsonValue) -> IndividualEnrollment | EnrollmentGroup:
    """Return one record of the list."""
    if not isinstance(record.value, dict):
        raise record.wrong("an enrollment, which is an object")
    individual = not record.member("registrationId").missing
    if individual != record.member(_GROUP_ID).missing:
        raise record.fault("expected either registrationId or enrollmentGroupId")
    known = _INDIVIDUAL if individual else _GROUP
    lower = {name.lower() for name in known}
    misspelt = {name for name in record.value if name not in known and name.lower() in lower}
    record.object_of(frozenset(record.value) - misspelt | known, "an enrollment")
    shared = _read_shared(record)
    shared["other"] = {
        name: value
        for name, value in record.value.items()
        if name not in known and value is not None
    }
    if not individual:
        return EnrollmentGroup(_read_id(record.member(_GROUP_ID)), **shared)
    return IndividualEnrollment(
        _read_id(record.member("registrationId")),
        _read_device_id(record.member("deviceId")),
        **shared,
    )


def _read_id(member: JsonValue) -> str:
    """Return a registration id or a group's; the rules are the same."""
    text = member.text("an id")
    fault = registration_id_fault(text)
    if fault:
        raise member.fault(fault)
    return text


def _read_shared(record: JsonValue) -> dict[str, Any]:
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
        ("credential_policy", "credentialPolicyName"),
    ):
        fields[name] = record.member(member).optional_text("text") or ""
    return fields


def _read_attestation(record: JsonValue) -> dict[str, bytes]:
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
    if keys.missing:
        raise keys.fault("missing: an export has the keys only where they were asked for")
    keys.object_of(frozenset(("primaryKey", "secondaryKey")), "an object with primaryKey")
    secondary = keys.member("secondaryKey")
    return {
        "primary_key": _read_key(keys.member("primaryKey")),
        "secondary_key": b"" if secondary.missing else _read_key(secondary),
    }


def _read_certificates(x509: JsonValue, name: str) -> dict[str, bytes]:
    """Return the certificates that stand under ``name``, as the service API has them."""
    if isinstance(x509.value, dict) and not x509.member("caReferences").missing:
        raise x509.member("caReferences").fault(
            f"no CA certificates can be uploaded here; give the CA itself in {name}"
        )
    x509.object_of(frozenset((name,)), f"an object with {name}")
    certificates = x509.member(name)
    certificates.object_of(frozenset(("primary", "secondary")), "an object with primary")
    secondary = certificates.member("secondary")
    return {
        "primary_certificate": _read_certificate(certificates.member("primary")),
        "secondary_certificate": b"" if secondary.missing else _read_certificate(secondary),
    }


def _read_certificate(holder: JsonValue) -> bytes:
    holder.object_of(frozenset(("certificate", "info")), "an object with certificate")
    member = holder.member("certificate")
    expected = "one certificate in PEM form, or the base64 of its DER form"
    text = member.text(expected)
    before, begin, rest = text.partition("-----BEGIN CERTIFICATE-----")
    body, end, rest = rest.partition("-----END CERTIFICATE-----")
    if begin and not (end and not rest.strip()):
        raise member.wrong(expected)
    try:
        # Text may stand before it, as OpenSSL writes it; without PEM's lines it is base64 alone.
        return base64.b64decode("".join((body if begin else before).split()), validate=True)
    except ValueError:
        pass
    raise member.wrong(expected)


def _read_key(member: JsonValue) -> bytes:
    expected = "a key of 16 to 64 bytes in base64"
    text = member.text(expected)
    try:
        return decode_key(text)
    except UsageError as error:
        fault = str(error)
    raise member.fault(f"{fault}; expected {expected}")


def _read_capabilities(member: JsonValue) -> bool:
    if member.missing:
        return False
    return member.object_of(frozenset(("iotEdge",)), "an object").member("iotEdge").flag(False)


def _read_device_id(member: JsonValue) -> str | None:
    """Return what may be a name at the hub, where it stands in topics."""
    expected = f"a device id: {DEVICE_ID_RULE}"
    text = member.optional_text(expected)
    if text is not None and not is_device_id(text):
        raise member.wrong(expected)
    return text


def _read_hub(member: JsonValue) -> str | None:
    return None if member.missing else _host_name(member)


def _read_hubs(member: JsonValue) -> tuple[str, ...]:
    if member.missing:
        return ()
    return tuple(_host_name(hub) for hub in member.items("a list of host names"))


def _host_name(member: JsonValue) -> str:
    expected = HOST_NAME_RULE
    text = member.text(expected)
    if not is_host_name(text):
        raise member.wrong(expected)
    return text


def _read_twin(member: JsonValue) -> dict[str, Any] | None:
    if member.missing:
        return None
    member.object_of(frozenset(("tags", "properties")), "an object with tags and properties")
    twin: dict[str, Any] = member.value
    return twin


def _read_status(member: JsonValue) -> str:
    if member.missing:
        return "enabled"
    if member.value not in ("enabled", "disabled"):
        raise member.wrong("enabled or disabled")
    return str(member.value)


def _read_reprovision_policy(member: JsonValue) -> ReprovisionPolicy | None:
    if member.missing:
        return None
    member.object_of(frozenset(("updateHubAssignment", "migrateDeviceData")), "an object")
    return ReprovisionPolicy(
        update_hub_assignment=member.member("updateHubAssignment").flag(True),
        migrate_device_data=member.member("migrateDeviceData").flag(True),
    )


def _read_allocation(record: JsonValue) -> dict[str, Any]:
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
        "credentialPolicyName": enrollment.credential_policy or None,
        "etag": enrollment.etag or None,
        "createdDateTimeUtc": enrollment.created or None,
        "lastUpdatedDateTimeUtc": enrollment.last_updated or None,
    }
    record = enrollment.other | record
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
