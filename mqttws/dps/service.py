"""The service's side of DPS: who is let in, and what each request is answered.

Messages in, effects out. Does not know how messages travel, what time it is, or where ids come
from. The same rules hold for every listener. Where the real service's behaviour is not published,
the comment says what we take it to be.

- The id scope is judged at CONNECT, credentials at each request, as the real service does.
- Every answer has a JSON body, in ASCII: the Node SDK dies of an empty one.
- The reason of an effect is one line for the log, without secrets; what the device is told of a
  bad credential is ``Unauthorized`` and no more.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..text import shown
from .answers import assigned_state, error_body, new_etag, outcome, timestamp, verb
from .certificates import Chain, chain_fault
from .codes import (
    BAD_REQUEST,
    CUSTOM_ALLOCATION_FAILED,
    ENROLLMENT_NOT_FOUND,
    HUB_NOT_FOUND,
    IDENTIFIER_REJECTED,
    INVALID_CERTIFICATE,
    NO_HUB,
    NOT_AUTHORIZED,
    OPERATION_NOT_FOUND,
    SERVER_UNAVAILABLE,
    THROTTLED,
    UNAUTHORIZED,
)
from .effects import AllocationRequested, Answer, Close, Device, Effect, Refusal
from .enrollment_json import enrollment_to_json
from .json_text import build_json, parse_json
from .names import parse_username, registration_id_fault
from .records import (
    EnrollmentGroup,
    IndividualEnrollment,
    RegistrationRecord,
    ReprovisionPolicy,
)
from .sas import WRONG_SIGNATURE, derive_device_key, token_fault
from .store import Records
from .throttle import Throttle
from .topics import (
    RESPONSE_FILTER,
    Message,
    Poll,
    Register,
    parse_request_topic,
    response_topic,
)

OPERATIONS_PER_DEVICE = 4
"""How many of a device's operations can be asked about: the latest. More than one, since a
registration request that is sent again (QoS 1) starts an operation that its device never sees."""

_STICKY_UNTIL = "2018-04-01"

MAX_WEBHOOK_ANSWER = 96 * 1024
"""Bytes of a custom allocation's answer that are read: what comes of it must fit a message."""


@dataclass(frozen=True)
class _Proof:
    """Which enrollment a device has proved to be of, and with which of the keys."""

    enrollment: IndividualEnrollment | EnrollmentGroup
    key_name: str = ""


class _Reject(Exception):
    """A request that gets an error status.

    Args:
        error_code: six digits; its first three are the status.
        message: for the device.
        reason: for the log; the message where empty.
        retry_after: seconds; None where the device need not come again.
    """

    def __init__(
        self, error_code: int, message: str, reason: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.error_code = error_code
        self.message = message
        self.reason = reason or message


@dataclass
class _Operation:
    """One registration: how it ends, and how many polls are answered 202 before that.

    ``state`` is None as long as a webhook is being asked; ``proof`` is what it will be judged by.
    """

    operation_id: str
    polls_left: int
    proof: _Proof
    state: dict[str, Any] | None = None


class Service:
    """A DPS instance.

    Memory is bounded by the devices that have shown a good credential: each has one registration
    record, in ``records``, and its latest ``OPERATIONS_PER_DEVICE`` operations, here.

    Args:
        id_scope: of the instance.
        records: enrollments, and what has been registered.
        hubs: host names of the linked IoT hubs, or names and weights from 1 to 1000 of the hashed
            allocation; an enrollment may name others.
        operation_ids: endless, each one different.
        tracking_ids: endless; one goes into each error answer.
        retry_after: seconds that a device is told to wait before its next poll.
        assigning_polls: how many polls are answered 202 before the final 200.
        leeway: seconds after its expiry for which a token is still taken; what the real service
            allows is not published.
        registers_per_minute: of all devices together; more are answered 429; None for no limit.
            The real service takes 1000 (``iot-dps-limits.md``).
        polls_per_10s: of each device; likewise. The real service takes 5.
    """

    def __init__(
        self,
        id_scope: str,
        records: Records,
        *,
        hubs: Sequence[str] | Mapping[str, int],
        operation_ids: Iterator[str],
        tracking_ids: Iterator[str],
        retry_after: int = 3,
        assigning_polls: int = 0,
        leeway: float = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
    ) -> None:
        if not isinstance(retry_after, int) or retry_after < 0:
            raise UsageError(f"retry_after {retry_after!r}; allowed: whole seconds")
        self.id_scope = id_scope
        self.records = records
        self.hubs = tuple(hubs)
        self._weights = _check_weights(hubs) if isinstance(hubs, Mapping) else {}
        self._register_throttle = _throttle(registers_per_minute, 60)
        self._poll_throttle = _throttle(polls_per_10s, 10)
        self.retry_after = retry_after
        self.assigning_polls = assigning_polls
        self.leeway = leeway
        self._operation_ids = operation_ids
        self._tracking_ids = tracking_ids
        self._operations: dict[str, dict[str, _Operation]] = {}

    def admit(
        self,
        client_id: str,
        username: str | None,
        password: bytes | None,
        chain: Chain = (),
    ) -> Device | Refusal:
        """Judge a CONNECT by its names alone; what proves the device is judged at each request.

        A wrong id scope is answered 3, as the real service does.

        Args:
            client_id: ClientId.
            username: user name; None without one.
            password: likewise.
            chain: the certificates shown in the TLS handshake.
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
        return Device(names.registration_id, names.id_scope, names.api_version, token, chain)

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
                return self._register(device, request, message.payload, unix_now)
            return [self._poll(device, request, unix_now)]
        except _Reject as rejection:
            return [self._answer_rejection(request, rejection, unix_now)]

    def refuse(
        self, message: Message, error_code: int, retry_after: int | None, unix_now: float
    ) -> list[Effect]:
        """Return an error answer to a request that is not looked at: a fault that was ordered."""
        request = parse_request_topic(message.topic)
        if request is None:
            return []
        rejection = _Reject(error_code, "Ordered fault.", retry_after=retry_after)
        return [self._answer_rejection(request, rejection, unix_now)]

    # Requests

    def _register(
        self, device: Device, request: Register, payload: bytes, unix_now: float
    ) -> list[Effect]:
        _take(self._register_throttle, "", unix_now)
        custom = _read_register_body(payload, device.registration_id)
        proof = self._authenticate(device, unix_now)
        enrollment = proof.enrollment
        if enrollment.provisioning_status == "disabled":
            return [self._answer_disabled(device, request, unix_now)]
        operation = _Operation(next(self._operation_ids), self.assigning_polls, proof)
        self._remember(device, operation)
        body = {"operationId": operation.operation_id, "status": "assigning"}
        answer = self._answer(request, 202, body, operation.operation_id)
        before = self.records.registration(device.registration_id)
        stays = before is not None and not _may_move(device, enrollment)
        if enrollment.allocation_policy == "custom" and not stays:
            return [answer, self._ask_webhook(device, operation, custom, before)]
        self._assign(device, operation, unix_now)
        return [answer]

    def _poll(self, device: Device, request: Poll, unix_now: float) -> Answer:
        """Answer a question about an operation; its body is ignored, since every SDK differs."""
        _take(self._poll_throttle, device.registration_id.lower(), unix_now)
        proof = self._authenticate(device, unix_now)
        if proof.enrollment.provisioning_status == "disabled":
            return self._answer_disabled(device, request, unix_now)
        operations = self._operations.get(device.registration_id.lower())
        operation = operations.get(request.operation_id) if operations else None
        if operation is None:
            reason = f"unknown operation {shown(request.operation_id)}"
            raise _Reject(OPERATION_NOT_FOUND, "Operation not found.", reason)
        body: dict[str, Any] = {"operationId": operation.operation_id}
        if operation.state is None or operation.polls_left > 0:
            operation.polls_left -= 1
            state = {"registrationId": device.registration_id, "status": "assigning"}
            body |= {"status": "assigning", "registrationState": state}
            return self._answer(request, 202, body, "assigning")
        body |= {"status": operation.state["status"], "registrationState": operation.state}
        return self._answer(request, 200, body, outcome(operation.state))

    def _remember(self, device: Device, operation: _Operation) -> None:
        key = device.registration_id.lower()
        operations = self._operations.setdefault(key, {})
        operations[operation.operation_id] = operation
        if len(operations) > OPERATIONS_PER_DEVICE:
            del operations[next(iter(operations))]  # the oldest

    # Credentials

    def _authenticate(self, device: Device, unix_now: float) -> _Proof:
        """Return the enrollment, enabled or not, that the device proves to be of.

        The device's own enrollment alone decides where there is one; else the groups do. A device
        that sends a password is judged by it, and by its certificate otherwise (Embedded C sends
        an empty password with X.509).
        """
        individual = self.records.individual(device.registration_id)
        if device.chain and not device.password:
            return self._authenticate_chain(device, individual, unix_now)
        groups = [group for group in self.records.groups() if group.keys]
        if individual is None and not groups:
            raise _no_enrollment(device)
        faults = []
        for enrollment in groups if individual is None else [individual]:
            fault, key_name = self._judge_token(device, enrollment, unix_now)
            if fault is None:
                return _Proof(enrollment, key_name)
            faults.append(fault)
        # A group's key may fit though the token has expired: that says more than "fits none".
        telling = [fault for fault in faults if fault != WRONG_SIGNATURE]
        reason = WRONG_SIGNATURE
        if individual is None:
            reason = f"{WRONG_SIGNATURE} derived from {len(groups)} group(s)"
        raise _Reject(UNAUTHORIZED, "Unauthorized", telling[0] if telling else reason)

    def _judge_token(
        self,
        device: Device,
        enrollment: IndividualEnrollment | EnrollmentGroup,
        unix_now: float,
    ) -> tuple[str | None, str]:
        """Return what is wrong with the device's token, or None; and the key that signed it.

        A device that has registered with one of the two keys is refused with the other until its
        registration record is deleted: observed, though not documented.
        """
        if not device.password:
            return "no password", ""
        if not enrollment.keys:
            return "a token; this enrollment is attested by certificates", ""
        named = _named_keys(enrollment, device)
        before = self.records.registration(device.registration_id)
        if before and before.key_name and before.enrollment_group_id == _group_id(enrollment):
            named = {before.key_name: named.get(before.key_name, ())}
        fault: str | None = WRONG_SIGNATURE
        for key_name, keys in named.items():
            fault = token_fault(
                device.password,
                self.id_scope,
                device.registration_id,
                keys,
                unix_now,
                self.leeway,
            )
            if fault != WRONG_SIGNATURE:
                return fault, key_name
        return fault, ""

    def _authenticate_chain(
        self, device: Device, individual: IndividualEnrollment | None, unix_now: float
    ) -> _Proof:
        """Return the enrollment of the most specific certificate (``concepts-x509-attestation``).

        Where it is disabled the device is refused, however a wider group may stand.
        """
        found: IndividualEnrollment | EnrollmentGroup | None = individual
        if found is None:
            groups = [group for group in self.records.groups() if group.certificates]
            if not groups:
                raise _no_enrollment(device)
            found = _most_specific(device.chain, groups)
        if found is None:
            raise _invalid_certificate("no certificate of the chain is enrolled")
        if not found.certificates:
            raise _invalid_certificate("a certificate; this enrollment is attested by keys")
        fault = chain_fault(device.chain, device.registration_id, found.fingerprints, unix_now)
        if fault is None and found.provisioning_status == "disabled":
            fault = "the enrollment is disabled"
        if fault:
            raise _invalid_certificate(fault)
        return _Proof(found)

    # Assignment

    def allocated(
        self, request: AllocationRequested, status: int, answer: bytes, unix_now: float
    ) -> None:
        """Learn what a webhook answered: that ends the operation.

        Args:
            request: the effect that asked for it.
            status: of the webhook's answer, as in HTTP; 0 where there was none.
            answer: its body.
            unix_now: seconds.
        """
        operations = self._operations.get(request.device.registration_id.lower(), {})
        operation = operations.get(request.operation_id)
        if operation is None:  # the device has registered many times since
            return
        self._assign(request.device, operation, unix_now, _Webhook(status, answer))

    def _ask_webhook(
        self,
        device: Device,
        operation: _Operation,
        payload: Any,
        before: RegistrationRecord | None,
    ) -> AllocationRequested:
        """Return the question of ``concepts-custom-allocation.md``; no key is in it."""
        enrollment = operation.proof.enrollment
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
            "linkedHubs": list(enrollment.hubs or self.hubs),
        }
        return AllocationRequested(
            device,
            operation.operation_id,
            enrollment.webhook_url,
            build_json(body),
            f"{operation.operation_id}: the webhook is asked",
        )

    def _assign(
        self,
        device: Device,
        operation: _Operation,
        unix_now: float,
        webhook: "_Webhook | None" = None,
    ) -> None:
        """End an operation: choose the device's hub and keep that, or say why there is none."""
        enrollment = operation.proof.enrollment
        before = self.records.registration(device.registration_id)
        now = timestamp(unix_now)
        registration_id = _known_id(device, enrollment, before)
        payload = None
        try:
            if webhook is None:
                hub = self._choose_hub(device, enrollment, before)
            else:
                hub, payload = webhook.choice(enrollment.hubs or self.hubs)
        except _Reject as rejection:
            # A device that was assigned before keeps its record: nothing has become of this.
            operation.state = {
                "registrationId": registration_id,
                "status": "failed",
                "errorCode": rejection.error_code,
                "errorMessage": rejection.message,
                "lastUpdatedDateTimeUtc": now,
                "etag": new_etag(operation.operation_id),
            }
            return
        record = RegistrationRecord(
            registration_id=registration_id,
            assigned_hub=hub,
            device_id=_device_id(registration_id, enrollment),
            substatus=_substatus(before, hub, _policy(enrollment)),
            created=before.created if before else now,
            last_updated=now,
            etag=new_etag(operation.operation_id),
            enrollment_group_id=_group_id(enrollment),
            key_name=operation.proof.key_name,
            payload=payload,
        )
        self.records.put_registration(record)
        operation.state = assigned_state(record, device.api_version)

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
            raise _Reject(NO_HUB, "No IoT hub is available.")
        if enrollment.allocation_policy == "static" and len(hubs) > 1:
            raise _Reject(NO_HUB, f"Static allocation needs one IoT hub, not {len(hubs)}.")
        if enrollment.allocation_policy == "geoLatency":
            return hubs[0]  # nothing here is nearer than anything else
        return max(
            hubs, key=lambda hub: _score(hub, device.registration_id, self._weights.get(hub, 1))
        )

    # Answers

    def _answer(
        self, request: Register | Poll, status: int, body: dict[str, Any], reason: str
    ) -> Answer:
        return self._answer_after(
            request, status, body, reason, self.retry_after if status == 202 else None
        )

    def _answer_after(
        self,
        request: Register | Poll,
        status: int,
        body: dict[str, Any],
        reason: str,
        retry_after: int | None,
    ) -> Answer:
        topic = response_topic(status, request.request_id, retry_after)
        return Answer(Message(topic, build_json(body)), f"{verb(request)} {status} {reason}")

    def _answer_disabled(self, device: Device, request: Register | Poll, unix_now: float) -> Answer:
        """Say that the device may not: status 200, and an operation that cannot be asked about."""
        now = timestamp(unix_now)
        state = {
            "registrationId": device.registration_id,
            "status": "disabled",
            "lastUpdatedDateTimeUtc": now,
            "etag": new_etag(f"{device.registration_id} {now}"),
        }
        body = {"operationId": "", "status": "disabled", "registrationState": state}
        return self._answer(request, 200, body, "disabled")

    def _answer_rejection(
        self, request: Register | Poll, rejection: _Reject, unix_now: float
    ) -> Answer:
        code = rejection.error_code
        body = error_body(code, rejection.message, next(self._tracking_ids), unix_now)
        reason = f"{code}: {rejection.reason}"
        return self._answer_after(request, code // 1000, body, reason, rejection.retry_after)


@dataclass(frozen=True)
class _Webhook:
    """What a webhook answered: a status as in HTTP, or 0 for nothing, and a body."""

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
        if hub not in hubs:
            raise _Reject(HUB_NOT_FOUND, "IoTHub not found.", f"unlinked hub {shown(hub)}")
        return hub, body.get("payload")


def _webhook_failed(message: str) -> _Reject:
    return _Reject(CUSTOM_ALLOCATION_FAILED, message)


def _no_enrollment(device: Device) -> _Reject:
    reason = f"no enrollment for {shown(device.registration_id)}"
    return _Reject(ENROLLMENT_NOT_FOUND, "Enrollment not found.", reason)


def _invalid_certificate(reason: str) -> _Reject:
    return _Reject(INVALID_CERTIFICATE, "Invalid certificate.", reason)


def _throttle(limit: int | None, seconds: float) -> Throttle | None:
    return None if limit is None else Throttle(limit, seconds)


def _take(throttle: Throttle | None, name: str, unix_now: float) -> None:
    """Count a request; refuse it if there have been too many."""
    wait = 0 if throttle is None else throttle.take(name, unix_now)
    if wait:
        raise _Reject(THROTTLED, "Too many requests.", f"ask again in {wait} s", wait)


def _most_specific(chain: Chain, groups: Sequence[EnrollmentGroup]) -> EnrollmentGroup | None:
    """Return the group of the certificate that stands nearest to the device's own."""
    for certificate in chain:
        for group in groups:
            if certificate.sha256 in group.fingerprints:
                return group
    return None


def _check_weights(hubs: Mapping[str, int]) -> dict[str, int]:
    for hub, weight in hubs.items():
        if not isinstance(weight, int) or not 1 <= weight <= 1000:
            raise UsageError(f"the weight of {shown(hub)} is {weight!r}; allowed: 1 to 1000")
    return dict(hubs)


def _read_register_body(payload: bytes, registration_id: str) -> Any:
    """Return the body's payload; refuse a body that is wrong.

    An empty one is not, and neither is one without an id.
    """
    if not payload.strip():
        return None
    try:
        body = parse_json(payload)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _bad_request("The body is not a JSON object.")
    if body.get("tpm") is not None:
        raise _bad_request("TPM attestation is not available over MQTT; use HTTP or AMQP.")
    named = body.get("registrationId")
    if named is not None and not isinstance(named, str):
        raise _bad_request("registrationId is not a string.")
    if named is not None and named.lower() != registration_id.lower():
        raise _bad_request("registrationId differs from the one in the user name.")
    return body.get("payload")


def _bad_request(message: str) -> _Reject:
    return _Reject(BAD_REQUEST, f"Invalid request. {message}")


def _named_keys(
    enrollment: IndividualEnrollment | EnrollmentGroup, device: Device
) -> dict[str, tuple[bytes, ...]]:
    """Return the keys that may have signed the device's token, by name.

    A group's own key is refused, only keys derived from it count. Ids are compared without regard
    to case, but the derived key depends on it; which case the real service takes is not
    published. We take the id as sent, then in lower case.
    """
    named = {"primary": enrollment.primary_key, "secondary": enrollment.secondary_key}
    if isinstance(enrollment, IndividualEnrollment):
        return {name: (key,) for name, key in named.items() if key}
    spellings = dict.fromkeys((device.registration_id, device.registration_id.lower()))
    return {
        name: tuple(derive_device_key(key, spelling) for spelling in spellings)
        for name, key in named.items()
        if key
    }


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


def _score(hub: str, registration_id: str, weight: int) -> float:
    """Return how well a hub suits a device: the same for ever, and over many devices by weight.

    The highest wins, so a hub that is added or removed moves only the devices that must move
    (weighted rendezvous hashing).
    """
    name = f"{hub}\n{registration_id.lower()}".encode(errors="replace")
    drawn = (int.from_bytes(hashlib.sha256(name).digest()[:8]) + 1) / (2**64 + 2)
    return weight / -math.log(drawn)
