"""The service's rules: what each request is answered, and what it changes.

Each is a function of the settings, a snapshot of what concerns the device, the request, and ids;
the same arguments give the same decision. None reads or writes a store, a clock or a random number:
``service`` loads, asks, commits, and lets the answer out only then. Where the real service's
behaviour is not published, the comment says what is taken for it.

- The id scope is judged at CONNECT, credentials at each request, as the real service does.
"""

import re
from bisect import bisect
from dataclasses import replace
from typing import Any, NamedTuple

from ..text import shown
from .allocation import (
    WebhookAnswer,
    asks_webhook,
    assign,
    fail_overdue,
    refused,
    webhook_question,
)
from .answers import (
    Rejection,
    assigned_state,
    assigning,
    build_answer,
    disabled,
    outcome,
    rejected,
)
from .authentication import Proof, authenticate
from .certificates import Chain
from .codes import (
    BAD_REQUEST,
    IDENTIFIER_REJECTED,
    MALFORMED_BODY,
    NOT_AUTHORIZED,
    NOT_ISSUED,
    OPERATION_NOT_FOUND,
    REGISTRATION_NOT_FOUND,
    SERVER_UNAVAILABLE,
)
from .csr import read_csr
from .effects import AllocationRequested, Close, Device, Effect, Refusal
from .issuance import CertificateWanted, Issued, NotIssued
from .json_text import parse_json
from .names import Username, parse_username, registration_id_fault
from .records import DeviceRecord, IndividualEnrollment, Operation, Snapshot
from .settings import Settings
from .topics import RESPONSE_FILTER, Lookup, Message, Poll, Register, Request, parse_request_topic


class Ids(NamedTuple):
    """Fresh ids that a decision may need.

    Attributes:
        operation_id: of a registration; empty for a poll.
        tracking_id: of an error answer.
    """

    operation_id: str
    tracking_id: str


class Decision(NamedTuple):
    """The decision about a request.

    Attributes:
        effects: for the connection, once the change has been committed.
        changed: the device's record as it shall be; None where nothing changes.
        proof: the enrollment that it was decided by, which must not have moved either; None where
            the device has proved nothing.
        wanted: a certificate that must be issued, or refused, before the request can be decided;
            None for none.
    """

    effects: list[Effect]
    changed: DeviceRecord | None = None
    proof: Proof | None = None
    wanted: CertificateWanted | None = None


def admit(
    settings: Settings,
    client_id: str,
    username: str | None,
    password: bytes | None,
    chain: Chain = (),
) -> Device | Refusal:
    """Judge a CONNECT by its names alone; what proves the device is judged at each request.

    A wrong id scope is answered 3, as the real service does.

    Args:
        settings: of the instance.
        client_id: ClientId.
        username: user name; None without one.
        password: token; None without one.
        chain: the certificates shown in the TLS handshake.
    """
    if username is None:
        return Refusal(NOT_AUTHORIZED, "no user name")
    names = parse_username(username)
    if names is None:
        return Refusal(NOT_AUTHORIZED, f"user name {shown(username)} cannot be read")
    ours = names.id_scope.lower() == settings.id_scope.lower()
    if ours and client_id.lower() != names.registration_id.lower():
        reason = f"ClientId {shown(client_id)} is not {shown(names.registration_id)}"
        return Refusal(NOT_AUTHORIZED, reason)
    # A password that is not UTF-8 is no token; that is found out at the first request.
    token = None if password is None else password.decode(errors="replace")
    return admit_names(settings, names, token, chain)


def admit_names(
    settings: Settings, names: Username, token: str | None, chain: Chain
) -> Device | Refusal:
    """Judge the names that a device gives, in its user name or in the path of an HTTPS request."""
    if names.id_scope.lower() != settings.id_scope.lower():
        return Refusal(SERVER_UNAVAILABLE, f"unknown id scope {shown(names.id_scope)}")
    fault = registration_id_fault(names.registration_id)
    if fault:
        return Refusal(IDENTIFIER_REJECTED, fault)
    return Device(names.registration_id, names.id_scope, names.api_version, token, chain)


def grant(topic_filter: str, qos: int) -> int | None:
    """Return the QoS granted to a subscription, at most 1; None to refuse it."""
    return min(qos, 1) if topic_filter == RESPONSE_FILTER else None


def read_request(message: Message, qos: int) -> Register | Poll | Close:
    """Return what a device asks for; Close for what no device may publish.

    QoS 0 and 1 are served alike. The answer to 2 is not published for DPS; IoT Hub closes the
    connection, and so does this service.
    """
    if qos > 1:
        return Close("a message at QoS 2; allowed: 0 and 1")
    request = parse_request_topic(message.topic)
    return Close(f"undocumented topic {shown(message.topic)}") if request is None else request


def decide(  # noqa: PLR0917 - all that a decision depends on
    settings: Settings,
    snapshot: Snapshot,
    device: Device,
    request: Request,
    payload: bytes,
    ids: Ids,
    issued: Issued | NotIssued | None = None,
) -> Decision:
    """Decide about a request of a device.

    Args:
        settings: of the instance.
        snapshot: of the device.
        device: from ``admit``.
        request: from ``read_request``.
        payload: of the message.
        ids: fresh; the same ones when a request is decided again.
        issued: the certificate that an earlier decision wanted; None where none did.
    """
    proof = None
    try:
        custom, csr = None, None
        if not settings.lenient:
            check_api_version(device.api_version)
        if not isinstance(request, Poll):
            custom, csr = read_register_body(payload, device, settings.lenient)
        if isinstance(request, Lookup) and csr is not None:
            raise _bad_request("csr belongs into the registration request.")
        proof = authenticate(settings, snapshot, device)
        if proof.enrollment.provisioning_status == "disabled":
            answer = disabled(request, device.registration_id, snapshot.now)
            return Decision([answer], None, proof)
        if csr is not None and issued is None:
            return Decision([], None, proof, _wanted(settings, device, proof, csr))
        if isinstance(request, Register):
            return register(settings, snapshot, device, request, proof, custom, ids, issued)
        if isinstance(request, Lookup):
            return look_up(snapshot, device, request, proof)
        return poll(settings, snapshot, device, request, proof)
    except Rejection as rejection:
        return Decision([rejected(request, rejection, ids.tracking_id, snapshot.now)], None, proof)


def register(  # noqa: PLR0917 - all that a decision depends on
    settings: Settings,
    snapshot: Snapshot,
    device: Device,
    request: Register,
    proof: Proof,
    custom: Any,
    ids: Ids,
    issued: Issued | NotIssued | None = None,
) -> Decision:
    """Start a registration, and end it at once unless a webhook is to be asked.

    A registration that a lost commit has written already is found by its operation id.
    """
    body = {"operationId": ids.operation_id, "status": "assigning"}
    effects: list[Effect] = [assigning(settings, request, body, ids.operation_id)]
    known = snapshot.device.operation(ids.operation_id)
    if known is not None and known.state is not None:
        return Decision(effects, None, proof)
    operation = known or _new_operation(settings, snapshot, proof, ids.operation_id)
    if isinstance(issued, NotIssued):
        # Published is that the operation fails, with a code and a message.
        rejection = Rejection(NOT_ISSUED, f"{issued.reason}: {issued.message}")
        return Decision(effects, refused(snapshot, device, operation, rejection), proof)
    if issued is not None:
        chain = None if issued.chain is None else list(issued.chain)
        operation = replace(operation, certified=True, chain=chain)
    enrollment = proof.enrollment
    if asks_webhook(device, enrollment, snapshot.device):
        before = snapshot.device.registration
        effects.append(webhook_question(settings, device, operation, enrollment, custom, before))
        changed = None if known else snapshot.device.with_operation(operation)
        return Decision(effects, changed, proof)
    return Decision(effects, assign(settings, snapshot, device, operation), proof)


def _wanted(settings: Settings, device: Device, proof: Proof, csr: bytes) -> CertificateWanted:
    """Return the certificate that a device may have.

    The answer where the enrollment names no policy is not published; it is refused here, since a
    device that asks for a certificate has no use for an assignment without one.
    """
    name = proof.enrollment.credential_policy
    policy = settings.policies.get(name)
    if policy is None:
        found = f"{shown(name)} is unknown" if name else "it has none"
        raise _bad_request(f"csr needs the enrollment's credentialPolicyName: {found}.")
    return CertificateWanted(csr, device.registration_id, policy)


def _new_operation(
    settings: Settings, snapshot: Snapshot, proof: Proof, operation_id: str
) -> Operation:
    enrollment = proof.enrollment
    own = isinstance(enrollment, IndividualEnrollment)
    return Operation(
        operation_id,
        snapshot.now,
        settings.assigning_polls,
        "individual" if own else "group",
        enrollment.registration_id
        if isinstance(enrollment, IndividualEnrollment)
        else enrollment.enrollment_group_id,
        proof.key_name,
    )


def poll(
    settings: Settings, snapshot: Snapshot, device: Device, request: Poll, proof: Proof
) -> Decision:
    """Answer a question about an operation; its body is ignored, since every SDK differs."""
    found = snapshot.device.operation(request.operation_id)
    if found is None:
        reason = f"unknown operation {shown(request.operation_id)}"
        raise Rejection(OPERATION_NOT_FOUND, "Operation not found.", reason)
    operation = fail_overdue(snapshot, found, device.registration_id)
    body: dict[str, Any] = {"operationId": operation.operation_id}
    waits = operation.polls_left > 0
    if waits:
        operation = replace(operation, polls_left=operation.polls_left - 1)
    changed = None if operation == found else snapshot.device.with_operation(operation)
    if operation.state is None or waits:
        state = {"registrationId": device.registration_id, "status": "assigning"}
        body |= {"status": "assigning", "registrationState": state}
        return Decision([assigning(settings, request, body, "assigning")], changed, proof)
    body |= {"status": operation.state["status"], "registrationState": operation.state}
    answer = build_answer(request, 200, body, outcome(operation.state))
    return Decision([answer], changed, proof)


def look_up(snapshot: Snapshot, device: Device, request: Lookup, proof: Proof) -> Decision:
    """Answer a question about the device's registration: a DeviceRegistrationResult."""
    found = snapshot.device.registration
    if found is None:
        raise Rejection(REGISTRATION_NOT_FOUND, "Registration not found.")
    state = assigned_state(found, device.api_version)
    return Decision([build_answer(request, 200, state, outcome(state))], None, proof)


def allocated(
    settings: Settings, snapshot: Snapshot, request: AllocationRequested, answer: WebhookAnswer
) -> DeviceRecord | None:
    """Return the device's record after its webhook's answer; None where that changes nothing."""
    operation = snapshot.device.operation(request.operation_id)
    if operation is None or operation.state is not None:
        return None  # the device has registered many times since, or it took too long
    return assign(settings, snapshot, request.device, operation, answer)


OLDEST_API_VERSION = "2017-08-31"
"""The first of the device API."""

PUBLISHED_API_VERSIONS = (
    "2017-08-31-preview",
    "2017-11-15",
    "2018-04-01",
    "2018-09-01-preview",
    "2018-11-01",
    "2019-03-31",
    "2019-04-15",
    "2021-06-01",
    "2021-10-01",
    "2021-11-01-preview",
    "2025-07-01-preview",
    "2026-11-01",
    "2026-11-02-preview",
    "2026-11-15-preview",
)
"""Versions of the device API that documents, models or SDKs name (azure-rest-api-specs); a date
later than all of them is served as the newest, since tomorrow's SDK must not fail here."""

_API_VERSION = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")

_BODY_MEMBERS = {
    "registrationId": OLDEST_API_VERSION,
    "tpm": OLDEST_API_VERSION,
    "payload": "2018-09-01-preview",
    "clientCertificateCsr": "2021-11-01-preview",
    "csr": "2025-07-01-preview",
}
"""Members of a DeviceRegistration, each with the first api-version that has it."""


def check_api_version(api_version: str) -> None:
    """Refuse an api-version that is no date, or older than the API (iotedge issue 4112)."""
    if not _API_VERSION.fullmatch(api_version) or api_version < OLDEST_API_VERSION:
        raise _bad_request(f"The api-version {shown(api_version)} is not supported.")


def api_version_note(api_version: str) -> str:
    """Return a note for the log about an api-version that no document names; empty for others.

    It is served all the same, as the newest version before it: lists of them may lack some.
    """
    if api_version in PUBLISHED_API_VERSIONS or not _API_VERSION.fullmatch(api_version):
        return ""
    older = PUBLISHED_API_VERSIONS[: bisect(PUBLISHED_API_VERSIONS, api_version)]
    return f"api-version {api_version} is not published; served as {older[-1]}" if older else ""


def read_register_body(
    payload: bytes, device: Device, lenient: bool = False
) -> tuple[Any, bytes | None]:
    """Return the body's payload and certificate request; refuse a body that is wrong.

    An empty one is not, and neither is one without an id. A member that the device's api-version
    does not know is refused (azure-docs issue 66740), and a payload that is no object (azure-docs
    issues 51275, 81864); not so where ``lenient``.
    """
    if not payload.strip():
        return None, None
    try:
        body = parse_json(payload)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _bad_request("The body is not a JSON object.")
    custom = body.get("payload")
    for name in sorted(body if not lenient else ()):
        since = _BODY_MEMBERS.get(name)
        if since is None:
            raise _malformed(f"unknown member {shown(name)}")
        if body[name] is not None and device.api_version < since:
            asked = f"the device asks for {shown(device.api_version)}"
            raise _malformed(f"{name} came with api-version {since}; {asked}")
    if not (custom is None or isinstance(custom, dict) or lenient):
        raise _malformed("payload is no JSON object")
    if body.get("tpm") is not None:
        raise _bad_request("TPM attestation is not served here.")
    named = body.get("registrationId")
    if named is not None and not isinstance(named, str):
        raise _bad_request("registrationId is not a string.")
    if named is not None and named.lower() != device.registration_id.lower():
        raise _bad_request("registrationId differs from the one in the user name.")
    return custom, read_csr(body, device.api_version)


def _malformed(reason: str) -> Rejection:
    return Rejection(MALFORMED_BODY, "Deserialization error.", reason)


def _bad_request(message: str) -> Rejection:
    return Rejection(BAD_REQUEST, f"Invalid request. {message}")
