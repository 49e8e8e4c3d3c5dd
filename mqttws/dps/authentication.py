"""Authentication: a device's token or certificate chain against the enrollments.

Knows enrollments and proofs. Does not know what a device wants. The reason of a refusal is for the
log; a device with a bad credential is answered ``Unauthorized`` and no more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..text import shown
from .answers import Rejection
from .certificates import chain_fault
from .codes import ENROLLMENT_NOT_FOUND, INVALID_CERTIFICATE, UNAUTHORIZED
from .effects import Device
from .records import EnrollmentGroup, IndividualEnrollment, Snapshot
from .sas import WRONG_SIGNATURE, Token, derive_device_key, token_fault
from .settings import Settings


@dataclass(frozen=True)
class Proof:
    """The enrollment that a device has proved to be of, and the key that it proved it with.

    Attributes:
        enrollment: enabled or not.
        key_name: ``primary`` or ``secondary``; empty for X.509.
    """

    enrollment: IndividualEnrollment | EnrollmentGroup
    key_name: str = ""


def authenticate(settings: Settings, snapshot: Snapshot, device: Device) -> Proof:
    """Return the enrollment, enabled or not, that the device proves to be of.

    The device's own enrollment alone decides where there is one; else the groups do. A device
    that sends a password is judged by it, and by its certificate otherwise.

    Raises:
        Rejection: the device has proved nothing.
    """
    individual = snapshot.individual
    if device.shows_chain:
        return _authenticate_chain(snapshot, device)
    if individual is None and not snapshot.groups.keyed:
        raise _no_enrollment(device)
    faults = []
    for enrollment in _likely(snapshot, device) if individual is None else [individual]:
        judged = _judge_token(settings, snapshot, device, enrollment)
        if isinstance(judged, Proof):
            return judged
        faults.append(judged)
    # A group's key may fit though the token has expired: that says more than "fits none".
    telling = [fault for fault in faults if fault != WRONG_SIGNATURE]
    reason = WRONG_SIGNATURE
    if individual is None:
        reason = f"{WRONG_SIGNATURE} derived from {len(snapshot.groups.keyed)} group(s)"
    raise Rejection(UNAUTHORIZED, "Unauthorized", telling[0] if telling else reason)


def _likely(snapshot: Snapshot, device: Device) -> Iterator[EnrollmentGroup]:
    """Yield the groups that may have let a device in.

    The first is the one that has let it in before: no other key is tried then. The others are those
    by whose key the token is signed.
    """
    groups = snapshot.groups
    before = snapshot.device.registration
    names = [before.enrollment_group_id] if before else []
    names += [
        operation.enrollment_id
        for operation in reversed(snapshot.device.operations)
        if operation.enrollment_kind == "group"
    ]
    found = [group for group in map(groups.find, names) if group is not None and group.keys]
    first = found[0] if found else groups.keyed[0]
    yield first
    if isinstance(device.token, Token):
        for place in groups.keys.signers(device.token, _spellings(device)):
            if groups.keyed[place] is not first:
                yield groups.keyed[place]


def _judge_token(
    settings: Settings,
    snapshot: Snapshot,
    device: Device,
    enrollment: IndividualEnrollment | EnrollmentGroup,
) -> Proof | str:
    """Return what the device's token proves, or what is wrong with it.

    A device that has registered with one of the two keys is refused with the other until its
    registration record is deleted: observed, though not documented.
    """
    if enrollment.endorsement_key:
        return "its enrollment is attested by a TPM, which DPS does not serve over MQTT"
    if not device.password:
        return "no password"
    if not enrollment.keys:
        return "a token; this enrollment is attested by certificates"
    if isinstance(device.token, str):
        return device.token
    named = _named_keys(enrollment, device)
    before = snapshot.device.registration
    pinned = (
        before.key_name if before and before.enrollment_group_id == group_id(enrollment) else ""
    )
    for key_name, keys in named.items():
        fault = token_fault(
            device.token,
            settings.id_scope,
            device.registration_id,
            keys,
            snapshot.now,
            settings.leeway,
        )
        if fault is None and pinned not in ("", key_name):
            fault = (
                f"the token is signed with the {key_name} key, and the device has registered with"
                f" its {pinned} key: no other counts until its registration record is deleted"
            )
        if fault is None:
            return Proof(enrollment, key_name)
        if fault != WRONG_SIGNATURE:
            return fault
    return WRONG_SIGNATURE


def _authenticate_chain(snapshot: Snapshot, device: Device) -> Proof:
    """Return the enrollment of the most specific certificate (``concepts-x509-attestation``).

    Where it is disabled the device is refused, however a wider group may stand.
    """
    if device.chain[0].fault:
        raise _invalid_certificate(device.chain[0].fault)
    found: IndividualEnrollment | EnrollmentGroup | None = snapshot.individual
    if found is None:
        known = snapshot.groups.by_fingerprint
        if not (known or snapshot.groups.any_certified):
            raise _no_enrollment(device)
        # The group of the certificate that stands nearest to the device's own.
        found = next((known[of.sha256] for of in device.chain if of.sha256 in known), None)
    if found is None:
        raise _invalid_certificate("no certificate of the chain is enrolled")
    if found.endorsement_key:
        raise _invalid_certificate("a certificate; this enrollment is attested by a TPM")
    if not found.certificates:
        raise _invalid_certificate("a certificate; this enrollment is attested by keys")
    fault = chain_fault(device.chain, device.registration_id, found.fingerprints, snapshot.now)
    if fault is None and found.provisioning_status == "disabled":
        fault = "the enrollment is disabled"
    if fault:
        raise _invalid_certificate(fault)
    return Proof(found)


def _no_enrollment(device: Device) -> Rejection:
    reason = f"no enrollment for {shown(device.registration_id)}"
    return Rejection(ENROLLMENT_NOT_FOUND, "Enrollment not found.", reason)


def _invalid_certificate(reason: str) -> Rejection:
    return Rejection(INVALID_CERTIFICATE, "Invalid certificate.", reason)


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
    return {
        name: tuple(derive_device_key(key, spelling) for spelling in _spellings(device))
        for name, key in named.items()
        if key
    }


def _spellings(device: Device) -> tuple[str, ...]:
    return tuple(dict.fromkeys((device.registration_id, device.registration_id.lower())))


def group_id(enrollment: IndividualEnrollment | EnrollmentGroup) -> str:
    """Return the id of an enrollment group; empty for an individual enrollment."""
    return enrollment.enrollment_group_id if isinstance(enrollment, EnrollmentGroup) else ""
