"""The service's side of DPS: who is let in, and what each request is answered.

Messages in, effects out. Does not know how messages travel, what time it is, or where ids come
from. The same rules hold for every listener. Where the real service's behaviour is not published,
the comment says what we take it to be.

- The id scope is judged at CONNECT, credentials at each request, as the real service does.
- Every answer has a JSON body, in ASCII: the Node SDK dies of an empty one.
- The reason of an effect is one line for the log, without secrets; what the device is told of a
  bad credential is ``Unauthorized`` and no more.
"""

import base64
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import UsageError
from .enrollments import (
    EnrollmentGroup,
    IndividualEnrollment,
    Records,
    RegistrationRecord,
    ReprovisionPolicy,
)
from .json_text import build_json, parse_json, shown
from .names import parse_username, registration_id_fault
from .sas import WRONG_SIGNATURE, derive_device_key, token_fault
from .topics import (
    RESPONSE_FILTER,
    Message,
    Poll,
    Register,
    parse_request_topic,
    response_topic,
)

IDENTIFIER_REJECTED = 2
SERVER_UNAVAILABLE = 3
NOT_AUTHORIZED = 5
"""CONNACK return codes (MQTT 3.1.1 section 3.2.2.3)."""

OPERATIONS_PER_DEVICE = 4
"""How many of a device's operations can be asked about: the latest. More than one, since a
registration request that is sent again (QoS 1) starts an operation that its device never sees."""

_BAD_REQUEST = 400004
_NO_HUB = 400208
_UNAUTHORIZED = 401000
_ENROLLMENT_NOT_FOUND = 404201
_OPERATION_NOT_FOUND = 404203

_GROUP_IN_ANSWER_SINCE = "2021-06-01"
_STICKY_UNTIL = "2018-04-01"


@dataclass(frozen=True)
class Device:
    """A connected device: what its CONNECT said. Its credentials are not judged yet.

    Attributes:
        registration_id: as in its user name.
        id_scope: as in its user name; it is the service's, but for case.
        api_version: of the service API.
        password: SAS token; None where it sent none.
    """

    registration_id: str
    id_scope: str
    api_version: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Refusal:
    """A CONNECT that is not accepted.

    Attributes:
        return_code: for CONNACK.
        reason: one line for the log.
    """

    return_code: int
    reason: str


@dataclass(frozen=True)
class Answer:
    """Send this message to the device, at QoS 1, after PUBACK of its request.

    Attributes:
        message: the answer.
        reason: one line for the log.
    """

    message: Message
    reason: str


@dataclass(frozen=True)
class Close:
    """Close the device's connection.

    Attributes:
        reason: one line for the log.
    """

    reason: str


Effect = Answer | Close


class _Reject(Exception):
    """A request that gets an error status.

    Args:
        error_code: six digits; its first three are the status.
        message: for the device.
        reason: for the log; the message where empty.
    """

    def __init__(self, error_code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.reason = reason or message


@dataclass
class _Operation:
    """One registration: how it ends, and how many polls are answered 202 before that."""

    operation_id: str
    state: dict[str, Any]
    polls_left: int


class Service:
    """A DPS instance.

    Memory is bounded by the devices that have shown a good credential: each has one registration
    record, in ``records``, and its latest ``OPERATIONS_PER_DEVICE`` operations, here.

    Args:
        id_scope: of the instance.
        records: enrollments, and what has been registered.
        hubs: host names of the linked IoT hubs; an enrollment may name others.
        operation_ids: endless, each one different.
        tracking_ids: endless; one goes into each error answer.
        retry_after: seconds that a device is told to wait before its next poll.
        assigning_polls: how many polls are answered 202 before the final 200.
        leeway: seconds after its expiry for which a token is still taken; what the real service
            allows is not published.
    """

    def __init__(
        self,
        id_scope: str,
        records: Records,
        *,
        hubs: Sequence[str],
        operation_ids: Iterator[str],
        tracking_ids: Iterator[str],
        retry_after: int = 3,
        assigning_polls: int = 0,
        leeway: float = 0,
    ) -> None:
        if not isinstance(retry_after, int) or retry_after < 0:
            raise UsageError(f"retry_after {retry_after!r}; allowed: whole seconds")
        self.id_scope = id_scope
        self.records = records
        self.hubs = tuple(hubs)
        self.retry_after = retry_after
        self.assigning_polls = assigning_polls
        self.leeway = leeway
        self._operation_ids = operation_ids
        self._tracking_ids = tracking_ids
        self._operations: dict[str, dict[str, _Operation]] = {}

    def admit(
        self, client_id: str, username: str | None, password: bytes | None
    ) -> Device | Refusal:
        """Judge a CONNECT by its names alone; the password is judged at each request.

        A wrong id scope is answered 3, as the real service does.
        """
        if username is None:
            return Refusal(NOT_AUTHORIZED, "no user name")
        names = parse_username(username)
        if names is None:
            return Refusal(NOT_AUTHORIZED, f"user name {shown(username)} cannot be read")
        if names.id_scope.lower() != self.id_scope.lower():
            return Refusal(SERVER_UNAVAILABLE, f"unknown id scope {shown(names.id_scope)}")
        if client_id.lower() != names.registration_id.lower():
            reason = f"ClientId {shown(client_id)} is not {shown(names.registration_id)}"
            return Refusal(NOT_AUTHORIZED, reason)
        fault = registration_id_fault(names.registration_id)
        if fault:
            return Refusal(IDENTIFIER_REJECTED, fault)
        # A password that is not UTF-8 is no token; that is found out at the first request.
        token = None if password is None else password.decode(errors="replace")
        return Device(names.registration_id, names.id_scope, names.api_version, token)

    def grant(self, topic_filter: str, qos: int) -> int | None:
        """Return the QoS granted to a subscription, at most 1; None to refuse it."""
        return min(qos, 1) if topic_filter == RESPONSE_FILTER else None

    def handle(self, device: Device, message: Message, qos: int, unix_now: float) -> list[Effect]:
        """Return what is to be done about a message that a device published.

        Args:
            device: from ``admit``.
            message: what it published.
            qos: 0 and 1 are served alike. The answer to 2 is not published for DPS; IoT Hub
                closes the connection, and so do we.
            unix_now: seconds.
        """
        if qos > 1:
            return [Close("a message at QoS 2; allowed: 0 and 1")]
        request = parse_request_topic(message.topic)
        if request is None:
            return [Close(f"undocumented topic {shown(message.topic)}")]
        try:
            if isinstance(request, Register):
                return [self._register(device, request, message.payload, unix_now)]
            return [self._poll(device, request, unix_now)]
        except _Reject as rejection:
            return [self._answer_rejection(request, rejection, unix_now)]

    # Requests

    def _register(
        self, device: Device, request: Register, payload: bytes, unix_now: float
    ) -> Answer:
        _check_register_body(payload, device.registration_id)
        enrollment = self._authenticate(device, unix_now)
        if enrollment.provisioning_status == "disabled":
            return self._answer_disabled(device, request, unix_now)
        operation = _Operation(next(self._operation_ids), {}, self.assigning_polls)
        operation.state = self._assign(device, enrollment, operation.operation_id, unix_now)
        self._remember(device, operation)
        body = {"operationId": operation.operation_id, "status": "assigning"}
        return self._answer(request, 202, body, operation.operation_id)

    def _poll(self, device: Device, request: Poll, unix_now: float) -> Answer:
        """Answer a question about an operation; its body is ignored, since every SDK differs."""
        if self._authenticate(device, unix_now).provisioning_status == "disabled":
            return self._answer_disabled(device, request, unix_now)
        operations = self._operations.get(device.registration_id.lower())
        operation = operations.get(request.operation_id) if operations else None
        if operation is None:
            reason = f"unknown operation {shown(request.operation_id)}"
            raise _Reject(_OPERATION_NOT_FOUND, "Operation not found.", reason)
        body: dict[str, Any] = {"operationId": operation.operation_id}
        if operation.polls_left > 0:
            operation.polls_left -= 1
            state = {"registrationId": operation.state["registrationId"], "status": "assigning"}
            body |= {"status": "assigning", "registrationState": state}
            return self._answer(request, 202, body, "assigning")
        body |= {"status": operation.state["status"], "registrationState": operation.state}
        return self._answer(request, 200, body, _outcome(operation.state))

    def _remember(self, device: Device, operation: _Operation) -> None:
        key = device.registration_id.lower()
        operations = self._operations.setdefault(key, {})
        operations[operation.operation_id] = operation
        if len(operations) > OPERATIONS_PER_DEVICE:
            del operations[next(iter(operations))]  # the oldest

    # Credentials

    def _authenticate(
        self, device: Device, unix_now: float
    ) -> IndividualEnrollment | EnrollmentGroup:
        """Return the enrollment, enabled or not, that the device's token proves.

        The device's own enrollment alone decides where there is one; else the first group whose
        derived key signed the token. The group's own key is refused.
        """
        individual = self.records.individual(device.registration_id)
        if individual is not None:
            fault = self._token_fault(device, individual.keys, unix_now)
            if fault:
                raise _Reject(_UNAUTHORIZED, "Unauthorized", fault)
            return individual
        groups = self.records.groups()
        if not groups:
            reason = f"no enrollment for {shown(device.registration_id)}"
            raise _Reject(_ENROLLMENT_NOT_FOUND, "Enrollment not found.", reason)
        faults = []
        for group in groups:
            fault = self._token_fault(device, _derived_keys(group, device), unix_now)
            if fault is None:
                return group
            faults.append(fault)
        # A group's key may fit though the token has expired: that says more than "fits none".
        telling = [fault for fault in faults if fault != WRONG_SIGNATURE]
        reason = telling[0] if telling else f"{WRONG_SIGNATURE} derived from {len(groups)} group(s)"
        raise _Reject(_UNAUTHORIZED, "Unauthorized", reason)

    def _token_fault(self, device: Device, keys: Sequence[bytes], unix_now: float) -> str | None:
        if not device.password:
            return "no password"
        return token_fault(
            device.password, self.id_scope, device.registration_id, keys, unix_now, self.leeway
        )

    # Assignment

    def _assign(
        self,
        device: Device,
        enrollment: IndividualEnrollment | EnrollmentGroup,
        operation_id: str,
        unix_now: float,
    ) -> dict[str, Any]:
        """Choose the device's hub, keep that, and return the final registration state."""
        before = self.records.registration(device.registration_id)
        now = _timestamp(unix_now)
        registration_id = _known_id(device, enrollment, before)
        try:
            hub = self._choose_hub(device, enrollment, before)
        except _Reject as rejection:
            # A device that was assigned before keeps its record: nothing has become of this.
            return {
                "registrationId": registration_id,
                "status": "failed",
                "errorCode": rejection.error_code,
                "errorMessage": rejection.message,
                "lastUpdatedDateTimeUtc": now,
                "etag": _etag(operation_id),
            }
        record = RegistrationRecord(
            registration_id=registration_id,
            assigned_hub=hub,
            device_id=_device_id(registration_id, enrollment),
            substatus=_substatus(before, hub, _policy(enrollment)),
            created=before.created if before else now,
            last_updated=now,
            etag=_etag(operation_id),
            enrollment_group_id=_group_id(enrollment),
        )
        self.records.put_registration(record)
        return _assigned_state(record, device.api_version)

    def _choose_hub(
        self,
        device: Device,
        enrollment: IndividualEnrollment | EnrollmentGroup,
        before: RegistrationRecord | None,
    ) -> str:
        """Return the hub to assign to (``how-to-use-allocation-policies.md``)."""
        if before and not _may_move(device, enrollment):
            return before.assigned_hub
        hubs = enrollment.hubs or self.hubs
        if not hubs:
            raise _Reject(_NO_HUB, "No IoT hub is available.")
        if enrollment.allocation_policy == "static" and len(hubs) > 1:
            raise _Reject(_NO_HUB, f"Static allocation needs one IoT hub, not {len(hubs)}.")
        if enrollment.allocation_policy == "geoLatency":
            return hubs[0]  # nothing here is nearer than anything else
        return max(hubs, key=lambda hub: _weight(hub, device.registration_id))

    # Answers

    def _answer(
        self, request: Register | Poll, status: int, body: dict[str, Any], reason: str
    ) -> Answer:
        retry_after = self.retry_after if status == 202 else None
        topic = response_topic(status, request.request_id, retry_after)
        return Answer(Message(topic, build_json(body)), f"{_verb(request)} {status} {reason}")

    def _answer_disabled(self, device: Device, request: Register | Poll, unix_now: float) -> Answer:
        """Say that the device may not: status 200, and an operation that cannot be asked about."""
        now = _timestamp(unix_now)
        state = {
            "registrationId": device.registration_id,
            "status": "disabled",
            "lastUpdatedDateTimeUtc": now,
            "etag": _etag(f"{device.registration_id} {now}"),
        }
        body = {"operationId": "", "status": "disabled", "registrationState": state}
        return self._answer(request, 200, body, "disabled")

    def _answer_rejection(
        self, request: Register | Poll, rejection: _Reject, unix_now: float
    ) -> Answer:
        body = {
            "errorCode": rejection.error_code,
            "trackingId": next(self._tracking_ids),
            "message": rejection.message,
            "timestampUtc": _timestamp(unix_now),
        }
        status = rejection.error_code // 1000
        return self._answer(request, status, body, f"{rejection.error_code}: {rejection.reason}")


def _check_register_body(payload: bytes, registration_id: str) -> None:
    """Refuse a body that is wrong; an empty one is not, and neither is one without an id."""
    if not payload.strip():
        return
    try:
        body = parse_json(payload)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _bad_request("The body is not a JSON object.")
    if body.get("tpm") is not None:
        raise _bad_request("TPM attestation is not available over MQTT; use HTTP or AMQP.")
    named = body.get("registrationId")
    if named is None:
        return
    if not isinstance(named, str):
        raise _bad_request("registrationId is not a string.")
    if named.lower() != registration_id.lower():
        raise _bad_request("registrationId differs from the one in the user name.")


def _bad_request(message: str) -> _Reject:
    return _Reject(_BAD_REQUEST, f"Invalid request. {message}")


def _derived_keys(group: EnrollmentGroup, device: Device) -> tuple[bytes, ...]:
    """Return the keys that the group's device may have.

    Ids are compared without regard to case, but the key depends on it; which case the real
    service takes is not published. We take the id as sent, then in lower case.
    """
    spellings = dict.fromkeys((device.registration_id, device.registration_id.lower()))
    return tuple(derive_device_key(key, name) for name in spellings for key in group.keys)


def _known_id(
    device: Device,
    enrollment: IndividualEnrollment | EnrollmentGroup,
    before: RegistrationRecord | None,
) -> str:
    """Return the registration id as first written: the hub heeds the case of what comes of it."""
    if isinstance(enrollment, IndividualEnrollment):
        return enrollment.registration_id
    return before.registration_id if before else device.registration_id


def _device_id(registration_id: str, enrollment: IndividualEnrollment | EnrollmentGroup) -> str:
    if isinstance(enrollment, IndividualEnrollment) and enrollment.device_id:
        return enrollment.device_id
    return registration_id


def _group_id(enrollment: IndividualEnrollment | EnrollmentGroup) -> str:
    return enrollment.enrollment_group_id if isinstance(enrollment, EnrollmentGroup) else ""


def _policy(enrollment: IndividualEnrollment | EnrollmentGroup) -> ReprovisionPolicy:
    return enrollment.reprovision_policy or ReprovisionPolicy()


def _may_move(device: Device, enrollment: IndividualEnrollment | EnrollmentGroup) -> bool:
    """Tell whether a device that registers again may get another hub.

    Without a policy, devices of API version 2018-04-01 and before stay where they are
    (``concepts-device-reprovision.md``).
    """
    if enrollment.reprovision_policy is None and device.api_version[:10] <= _STICKY_UNTIL:
        return False
    return _policy(enrollment).update_hub_assignment


def _substatus(before: RegistrationRecord | None, hub: str, policy: ReprovisionPolicy) -> str:
    if before is None:
        return "initialAssignment"
    if hub == before.assigned_hub:
        return "reprovisionedToInitialAssignment"
    return "deviceDataMigrated" if policy.migrate_device_data else "deviceDataReset"


def _weight(hub: str, registration_id: str) -> bytes:
    """Return how well a hub suits a device: the same for ever, and even over many devices.

    The highest wins, so a hub that is added or removed moves only the devices that must move.
    """
    return hashlib.sha256(f"{hub}\n{registration_id.lower()}".encode(errors="replace")).digest()


def _assigned_state(record: RegistrationRecord, api_version: str) -> dict[str, Any]:
    """Return a DeviceRegistrationResult, its members in the order of the published samples."""
    state: dict[str, Any] = {
        "registrationId": record.registration_id,
        "createdDateTimeUtc": record.created,
        "assignedHub": record.assigned_hub,
        "deviceId": record.device_id,
        "status": "assigned",
        "substatus": record.substatus,
        "lastUpdatedDateTimeUtc": record.last_updated,
        "etag": record.etag,
    }
    if record.enrollment_group_id and api_version >= _GROUP_IN_ANSWER_SINCE:
        state["symmetricKey"] = {"enrollmentGroupId": record.enrollment_group_id}
    return state


def _outcome(state: dict[str, Any]) -> str:
    if state["status"] == "assigned":
        return f"assigned to {shown(state['assignedHub'])} as {shown(state['deviceId'])}"
    return f"failed {state['errorCode']}: {state['errorMessage']}"


def _verb(request: Register | Poll) -> str:
    return "register" if isinstance(request, Register) else "poll"


def _timestamp(unix_now: float) -> str:
    """Return ISO 8601 with the service's seven fractional digits."""
    seconds, ticks = divmod(round(unix_now * 10**7), 10**7)
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ticks:07d}Z"


def _etag(name: str) -> str:
    """Return an etag of the service's form, a quoted guid in base64, made from ``name``."""
    return base64.b64encode(f'"{uuid.uuid5(uuid.NAMESPACE_OID, name)}"'.encode()).decode()
