"""The choice of a device's hub, and the change of its registration record.

Knows the allocation and reprovisioning policies, and the webhook's question and answer
(``how-to-use-allocation-policies.md``, ``concepts-device-reprovision.md``,
``concepts-custom-allocation.md``). Does not know how the webhook is reached.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..text import shown
from .answers import Rejection, assigned_state, new_etag, timestamp
from .assignment import CLASSIC
from .authentication import group_id
from .codes import CUSTOM_ALLOCATION_FAILED, HUB_NOT_FOUND, NO_HUB
from .effects import AllocationRequested, Device
from .enrollment_json import enrollment_to_json
from .issuance import CHAIN
from .json_text import build_json, parse_json
from .records import (
    DeviceRecord,
    EnrollmentGroup,
    IndividualEnrollment,
    Operation,
    RegistrationRecord,
    ReprovisionPolicy,
    Snapshot,
)
from .settings import Settings

_STICKY_UNTIL = "2018-04-01"

MAX_WEBHOOK_ANSWER = 96 * 1024
"""Bytes of a custom allocation's answer that are read: the result must fit a message."""


ALLOCATION_TIMEOUT = 30.0
"""Seconds after which an operation fails whose webhook's answer never came: the process that asked
may have ended."""


def asks_webhook(
    device: Device, enrollment: IndividualEnrollment | EnrollmentGroup, record: DeviceRecord
) -> bool:
    """Whether a device's hub is chosen by the enrollment's webhook."""
    stays = record.registration is not None and not _may_move(device, enrollment)
    return enrollment.allocation_policy == "custom" and not stays


def webhook_question(  # noqa: PLR0917 - all that the question holds
    settings: Settings,
    device: Device,
    operation: Operation,
    enrollment: IndividualEnrollment | EnrollmentGroup,
    payload: Any,
    before: RegistrationRecord | None,
) -> AllocationRequested:
    """Return the question of ``concepts-custom-allocation.md``; no key is in it."""
    individual = isinstance(enrollment, IndividualEnrollment)
    record = enrollment_to_json(enrollment)
    record["attestation"] = {"type": record["attestation"]["type"]}
    context: dict[str, Any] = {
        "registrationId": device.registration_id,
        "currentIotHubHostName": before.assigned_hub if before else None,
        "currentDeviceId": before.device_id if before else None,
        "payload": payload,
    }
    if enrollment.certificates:
        context["x509"] = {"certificateInfo": device.chain[0].to_json()}
    else:
        context["symmetricKey"] = {}
    body = {
        "individualEnrollment" if individual else "enrollmentGroup": record,
        "deviceRuntimeContext": context,
        "linkedHubs": list(enrollment.hubs or settings.hubs),
    }
    return AllocationRequested(
        device,
        operation.operation_id,
        enrollment.webhook_url,
        build_json(body),
        f"{operation.operation_id}: the webhook is asked",
    )


@dataclass(frozen=True)
class WebhookAnswer:
    """A webhook's answer: a status as in HTTP, or 0 for none, and a body."""

    status: int
    answer: bytes

    def choice(self, hubs: Sequence[str]) -> tuple[str, Any]:
        """Return the hub that it chose, and its payload for the device."""
        if self.status != 200:
            code = self.status or "none"
            raise _webhook_failed(f"Custom allocation failed with status code: {code}")
        try:
            body = parse_json(self.answer)
        except ValueError:
            body = None
        hub = body.get("iotHubHostName") if isinstance(body, dict) else None
        if not isinstance(hub, str):
            raise _webhook_failed("Custom allocation failed: its answer names no iotHubHostName")
        twin = body.get("initialTwin")
        if twin is not None and not isinstance(twin, dict):
            raise _webhook_failed("Custom allocation failed: its answer's initialTwin is no object")
        linked = [known for known in hubs if known.lower() == hub.lower()]
        if not linked:
            raise Rejection(HUB_NOT_FOUND, "IoTHub not found.", f"unlinked hub {shown(hub)}")
        return linked[0], body.get("payload")


def _webhook_failed(message: str) -> Rejection:
    return Rejection(CUSTOM_ALLOCATION_FAILED, message)


def assign(
    settings: Settings,
    snapshot: Snapshot,
    device: Device,
    operation: Operation,
    webhook: WebhookAnswer | None = None,
) -> DeviceRecord:
    """Return the device's record with the operation ended: assigned, or failed and why."""
    enrollment = _enrollment_of(snapshot, operation)
    before = snapshot.device.registration
    now = timestamp(snapshot.now)
    registration_id = device.registration_id
    payload = None
    try:
        if enrollment is None:
            raise _webhook_failed("Custom allocation failed: the enrollment has been deleted")
        registration_id = _known_id(device, enrollment, before)
        if webhook is None:
            hub = _choose_hub(settings, device, enrollment, before)
        else:
            hub, payload = webhook.choice(enrollment.hubs or settings.hubs)
    except Rejection as rejection:
        return snapshot.device.with_operation(
            _failed(snapshot, operation, registration_id, rejection)
        )
    registration = RegistrationRecord(
        registration_id=registration_id,
        assigned_hub=hub,
        device_id=_device_id(registration_id, enrollment),
        substatus=_substatus(before, hub, _policy(enrollment)),
        created=before.created if before else now,
        last_updated=now,
        etag=new_etag(operation.operation_id),
        enrollment_group_id=group_id(enrollment),
        key_name=operation.key_name,
        payload=payload,
        certified=operation.certified,
    )
    profile = settings.profiles.get(hub.lower(), CLASSIC)
    state = assigned_state(registration, device.api_version, profile)
    if operation.chain is not None:
        state[CHAIN] = operation.chain
    ended = replace(operation, state=state)
    return DeviceRecord(registration, snapshot.device.with_operation(ended).operations)


def fail_overdue(snapshot: Snapshot, operation: Operation, registration_id: str) -> Operation:
    """Return the operation; failed if its webhook's answer is long overdue."""
    if operation.state is not None or snapshot.now < operation.started + ALLOCATION_TIMEOUT:
        return operation
    never_came = _webhook_failed("Custom allocation failed: the webhook's answer never came")
    return replace(_failed(snapshot, operation, registration_id, never_came), polls_left=0)


def refused(
    snapshot: Snapshot, device: Device, operation: Operation, rejection: Rejection
) -> DeviceRecord:
    """Return a new record of the device with the operation failed, its registration as before."""
    failed = _failed(snapshot, operation, device.registration_id, rejection)
    return snapshot.device.with_operation(failed)


def _failed(
    snapshot: Snapshot, operation: Operation, registration_id: str, rejection: Rejection
) -> Operation:
    """Return the operation, failed. An existing registration record is kept unchanged."""
    state = {
        "registrationId": registration_id,
        "status": "failed",
        "errorCode": rejection.error_code,
        "errorMessage": rejection.message,
        "lastUpdatedDateTimeUtc": timestamp(snapshot.now),
        "etag": new_etag(operation.operation_id),
    }
    return replace(operation, state=state)


def _enrollment_of(
    snapshot: Snapshot, operation: Operation
) -> IndividualEnrollment | EnrollmentGroup | None:
    """Return the enrollment that let an operation's device in; None if it has been deleted."""
    if operation.enrollment_kind == "group":
        return snapshot.group(operation.enrollment_id)
    return snapshot.individual


def _choose_hub(
    settings: Settings,
    device: Device,
    enrollment: IndividualEnrollment | EnrollmentGroup,
    before: RegistrationRecord | None,
) -> str:
    """Return the hub to assign to (``how-to-use-allocation-policies.md``)."""
    if before and not _may_move(device, enrollment):
        return before.assigned_hub
    hubs = enrollment.hubs or settings.hubs
    if not hubs:
        raise Rejection(NO_HUB, "No IoT hub is available.")
    if enrollment.allocation_policy == "static" and len(hubs) > 1:
        raise Rejection(NO_HUB, f"Static allocation needs one IoT hub, not {len(hubs)}.")
    if enrollment.allocation_policy == "geoLatency":
        return hubs[0]  # nothing here is nearer than anything else
    if len(hubs) == 1:
        return hubs[0]
    weights = settings.weights
    return max(hubs, key=lambda hub: _score(hub, device.registration_id, weights.get(hub, 1)))


def _known_id(
    device: Device,
    enrollment: IndividualEnrollment | EnrollmentGroup,
    before: RegistrationRecord | None,
) -> str:
    """Return the registration id as first written: the hub's device ids are case-sensitive."""
    if isinstance(enrollment, IndividualEnrollment):
        return enrollment.registration_id
    return before.registration_id if before else device.registration_id


def _device_id(registration_id: str, enrollment: IndividualEnrollment | EnrollmentGroup) -> str:
    if isinstance(enrollment, IndividualEnrollment) and enrollment.device_id:
        return enrollment.device_id
    return registration_id


def _policy(enrollment: IndividualEnrollment | EnrollmentGroup) -> ReprovisionPolicy:
    return enrollment.reprovision_policy or ReprovisionPolicy()


def _may_move(device: Device, enrollment: IndividualEnrollment | EnrollmentGroup) -> bool:
    """Tell whether a device that registers again may get another hub.

    Without a policy, devices of API version 2018-04-01 and before stay where they are
    (``concepts-device-reprovision.md``).
    """
    sticky = enrollment.reprovision_policy is None and device.api_version[:10] <= _STICKY_UNTIL
    return not sticky and _policy(enrollment).update_hub_assignment


def _substatus(before: RegistrationRecord | None, hub: str, policy: ReprovisionPolicy) -> str:
    if before is None:
        return "initialAssignment"
    if hub == before.assigned_hub:
        return "reprovisionedToInitialAssignment"
    return "deviceDataMigrated" if policy.migrate_device_data else "deviceDataReset"


def _score(hub: str, registration_id: str, weight: int) -> float:
    """Return how well a hub suits a device: the same for ever, and over many devices by weight.

    The highest wins, so a hub that is added or removed moves only the devices that must move
    (weighted rendezvous hashing).
    """
    name = f"{hub}\n{registration_id.lower()}".encode()
    drawn = (int.from_bytes(hashlib.sha256(name).digest()[:8]) + 1) / (2**64 + 2)
    return weight / -math.log(drawn)
