"""Enrollments read from the JSON of the DPS service API, and written to it.

Knows the shape of its records (``stable/2021-10-01/service.json`` of Azure/azure-rest-api-specs).
No error shows a key; only ``enrollment_to_json`` writes them out.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..text import short_line, shown
from .attestation_json import ATTESTATION, attestation_to_json, read_attestation
from .json_reader import JsonValue, parse_text
from .names import (
    DEVICE_ID_RULE,
    HOST_NAME_RULE,
    is_device_id,
    is_host_name,
    registration_id_fault,
)
from .records import Enrollment, EnrollmentGroup, IndividualEnrollment, ReprovisionPolicy

_GROUP_ID = "enrollmentGroupId"


def parse_enrollments(text: str, source: str) -> list[IndividualEnrollment | EnrollmentGroup]:
    """Return the records of a JSON list, each in the shape of the DPS service API.

    One object is taken for a list of one; an object with ``value`` for a page of a query; one with
    ``enrollments`` or ``enrollmentGroups`` for an export. Members that are null count as missing.
    Members that are not known are kept, and returned as they came: the service API grows.

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
        given = [whole.member(name) for name in ("value", "enrollments", "enrollmentGroups")]
        listed = [member for member in given if not member.missing]
        items = [item for member in listed for item in member.items("a list of enrollments")]
        return items if listed else [whole]
    return whole.items("a list of enrollments")


_SHARED: dict[str, Any] = {
    "attestation": ATTESTATION,
    "capabilities": {"iotEdge": None},
    "iotHubHostName": None,
    "iotHubs": None,
    "initialTwin": {"tags": None, "properties": None},
    "provisioningStatus": None,
    "reprovisionPolicy": {"updateHubAssignment": None, "migrateDeviceData": None},
    "allocationPolicy": None,
    "customAllocationDefinition": {"webhookUrl": None, "apiVersion": None},
    "credentialPolicyName": None,
    "etag": None,
    "createdDateTimeUtc": None,
    "lastUpdatedDateTimeUtc": None,
}
"""Members that have a meaning here, and those in them; None where what is in them is a value."""

_INDIVIDUAL = _SHARED | {"registrationId": None, "deviceId": None, "registrationState": None}
"""The last one is the service's to write."""

_GROUP = _SHARED | {_GROUP_ID: None}


def _read_enrollment(record: JsonValue) -> IndividualEnrollment | EnrollmentGroup:
    """Return one record of the list."""
    if not isinstance(record.value, dict):
        raise record.wrong("an enrollment, which is an object")
    individual = not record.member("registrationId").missing
    if individual != record.member(_GROUP_ID).missing:
        raise record.fault("expected either registrationId or enrollmentGroupId")
    shared = _read_shared(record)
    shared["other"] = _unknown_members(record, _INDIVIDUAL if individual else _GROUP)
    if not individual:
        return EnrollmentGroup(_read_id(record.member(_GROUP_ID)), **shared)
    return IndividualEnrollment(
        _read_id(record.member("registrationId")),
        _read_device_id(record.member("deviceId")),
        **shared,
    )


def _unknown_members(found: JsonValue, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of an object, at any depth, that have no meaning here.

    Raises:
        UsageError: one that differs from a known member by case alone.
    """
    lower = {name.lower() for name in known}
    unknown: dict[str, Any] = {}
    for name, value in found.value.items():
        if value is None:
            continue
        if name not in known:
            if name.lower() in lower:
                fault = f"unknown; expected one of {', '.join(sorted(known))}"
                raise found.member(short_line(name)).fault(fault)
            unknown[name] = value
        elif isinstance(known[name], Mapping) and isinstance(value, dict):
            below = _unknown_members(found.member(name), known[name])
            if below:
                unknown[name] = below
    return unknown


def _with_unknown(record: dict[str, Any], unknown: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the members that ``_unknown_members`` has found."""
    whole = dict(record)
    for name, value in unknown.items():
        if isinstance(value, dict) and isinstance(whole.get(name), dict):
            whole[name] = _with_unknown(whole[name], value)
        else:
            whole.setdefault(name, value)
    return whole


def _read_id(member: JsonValue) -> str:
    """Return a registration id or a group's; the rules are the same."""
    text = member.text("an id")
    fault = registration_id_fault(text)
    if fault:
        raise member.fault(fault)
    return text


def _read_shared(record: JsonValue) -> dict[str, Any]:
    """Return the fields that individual enrollments and groups have in common."""
    fields: dict[str, Any] = read_attestation(
        record.member("attestation"), individual=record.member(_GROUP_ID).missing
    ) | _read_allocation(record)
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


def _read_capabilities(member: JsonValue) -> bool:
    if member.missing:
        return False
    return member.object("an object").member("iotEdge").flag(False)


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
    member.object("an object with tags and properties")
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
    member.object("an object")
    return ReprovisionPolicy(
        update_hub_assignment=member.member("updateHubAssignment").flag(True),
        migrate_device_data=member.member("migrateDeviceData").flag(True),
    )


def _read_allocation(record: JsonValue) -> dict[str, Any]:
    """Return how a hub is chosen, by the names of an enrollment's fields."""
    member = record.member("allocationPolicy")
    definition = record.member("customAllocationDefinition")
    if member.value == "custom":
        definition.object("an object with webhookUrl and apiVersion")
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
        called = parts.scheme in ("http", "https") and bool(parts.hostname)
        called = called and parts.port != 0  # reading the port checks it
    except ValueError:
        called = False
    return called and url.isascii() and url.isprintable() and " " not in url


def enrollment_to_json(
    enrollment: IndividualEnrollment | EnrollmentGroup, *, with_cas: bool = False
) -> dict[str, Any]:
    """Return a record in the shape that ``parse_enrollments`` reads. It holds the keys.

    Args:
        enrollment: the record.
        with_cas: whether the certificates of the CAs that it refers to by name stand in it.
    """
    record: dict[str, Any] = (
        {"registrationId": enrollment.registration_id, "deviceId": enrollment.device_id}
        if isinstance(enrollment, IndividualEnrollment)
        else {_GROUP_ID: enrollment.enrollment_group_id}
    )
    policy = enrollment.reprovision_policy
    record |= {
        "attestation": attestation_to_json(enrollment, with_cas=with_cas),
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
    record = {name: value for name, value in record.items() if value is not None}
    return _with_unknown(record, enrollment.other)


def _allocation_to_json(enrollment: Enrollment) -> dict[str, str] | None:
    if not enrollment.webhook_url:
        return None
    definition = {"webhookUrl": enrollment.webhook_url}
    if enrollment.webhook_api_version:
        definition["apiVersion"] = enrollment.webhook_api_version
    return definition
