"""Attestations read from the JSON of the DPS service API, and written to it.

Knows keys, certificates, TPMs and references to CAs, as ``AttestationMechanism`` of the service API
has them (``stable/2021-10-01/service.json``). No error shows a key.
"""

import base64
import textwrap
from typing import Any

from ..errors import UsageError
from .json_reader import JsonValue
from .names import is_certificate_name
from .records import Enrollment, IndividualEnrollment
from .sas import decode_key

_PLACES = ("primary", "secondary")
_CERTIFICATES: dict[str, dict[str, None]] = {
    place: {"certificate": None, "info": None} for place in _PLACES
}

ATTESTATION: dict[str, Any] = {
    "type": None,
    "symmetricKey": {"primaryKey": None, "secondaryKey": None},
    "tpm": {"endorsementKey": None, "storageRootKey": None},
    "x509": {
        "clientCertificates": _CERTIFICATES,
        "signingCertificates": _CERTIFICATES,
        "caReferences": dict.fromkeys(_PLACES),
        "caCertificates": _CERTIFICATES,
    },
}
"""The members that are known, and those in them. ``caCertificates``, the certificates of
``caReferences``, is a member of the records alone."""


def read_attestation(attestation: JsonValue, *, individual: bool) -> dict[str, Any]:
    """Return keys, certificates or a TPM's keys, by the names of an enrollment's fields.

    Raises:
        UsageError: names the member that is wrong.
    """
    attestation.object("an object with type")
    kind = attestation.member("type")
    kinds = ("symmetricKey", "x509", "tpm") if individual else ("symmetricKey", "x509")
    if kind.value == "tpm" and not individual:
        raise kind.fault("a TPM attests one device, no group; expected symmetricKey or x509")
    if kind.value not in kinds:
        raise kind.wrong(f"one of {', '.join(kinds)}")
    for other in ("symmetricKey", "x509", "tpm"):
        if other != kind.value and not attestation.member(other).missing:
            raise attestation.member(other).fault(f"the type is {kind.value}; expected null")
    given = attestation.member(kind.value)
    if kind.value == "x509":
        return _read_x509(given, individual=individual)
    return _read_tpm(given) if kind.value == "tpm" else _read_keys(given)


def _read_keys(keys: JsonValue) -> dict[str, Any]:
    if keys.missing:
        raise keys.fault("missing: an export has the keys only where they were asked for")
    keys.object("an object with primaryKey")
    secondary = keys.member("secondaryKey")
    return {
        "primary_key": _read_key(keys.member("primaryKey")),
        "secondary_key": b"" if secondary.missing else _read_key(secondary),
    }


def _read_tpm(tpm: JsonValue) -> dict[str, Any]:
    tpm.object("an object with endorsementKey")
    root = tpm.member("storageRootKey")
    return {
        "endorsement_key": _read_base64(tpm.member("endorsementKey")),
        "storage_root_key": "" if root.missing else _read_base64(root),
    }


def _read_base64(member: JsonValue) -> str:
    text = member.text("a TPM's public key in base64")
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        pass
    else:
        return text
    raise member.wrong("a TPM's public key in base64")


def _read_x509(x509: JsonValue, *, individual: bool) -> dict[str, Any]:
    """Return certificates: a device's own, a group's signing ones, or references to CAs."""
    name = "clientCertificates" if individual else "signingCertificates"
    x509.object(f"an object with {name}")
    references = x509.member("caReferences")
    other = x509.member("signingCertificates" if individual else "clientCertificates")
    if not other.missing:
        raise other.fault(f"expected {name}")
    if references.missing:
        return _read_certificates(x509.member(name))
    if individual:
        raise references.fault("only groups refer to CAs; expected clientCertificates")
    if not x509.member(name).missing:
        raise references.fault(f"expected either caReferences or {name}")
    references.object("an object with primary")
    given = {place: references.member(place) for place in _PLACES}
    names = ["" if of.missing else _read_reference(of) for of in given.values()]
    if not any(names):
        raise given["primary"].wrong("the name of a CA's certificate")
    fields: dict[str, Any] = {"ca_references": tuple(names if names[1] else names[:1])}
    kept = x509.member("caCertificates")
    return fields if kept.missing else fields | _read_certificates(kept)


def _read_reference(member: JsonValue) -> str:
    text = member.text("the name of a CA's certificate")
    if not is_certificate_name(text):
        raise member.wrong("the name of a CA's certificate: 1 to 64 letters, digits, - . or _")
    return text


def _read_certificates(certificates: JsonValue) -> dict[str, Any]:
    """Return one certificate or two; ``az`` removes the primary one and leaves the other."""
    certificates.object("an object with primary")
    primary, secondary = (certificates.member(place) for place in _PLACES)
    lone = primary.missing and not secondary.missing
    return {
        "primary_certificate": b"" if lone else _read_certificate(primary),
        "secondary_certificate": b"" if secondary.missing else _read_certificate(secondary),
    }


def _read_certificate(holder: JsonValue) -> bytes:
    holder.object("an object with certificate")
    return read_der(holder.member("certificate"))


def read_der(member: JsonValue) -> bytes:
    """Return the DER form of a certificate that is PEM, or base64 of its DER form or of PEM.

    PEM may stand in one line or in many, and text before it, as OpenSSL writes it.

    Raises:
        UsageError: it is none of them.
    """
    expected = "one certificate in PEM form, or the base64 of its DER form"
    der = _decoded(member.text(expected))
    if der.lstrip().startswith(b"-----BEGIN"):
        der = _decoded(der.decode("ascii", "replace"))
    if not der:
        raise member.wrong(expected)
    return der


def _decoded(text: str) -> bytes:
    """Return the bytes of base64, in PEM or bare; empty for any other text."""
    before, begin, rest = text.partition("-----BEGIN CERTIFICATE-----")
    body, end, rest = rest.partition("-----END CERTIFICATE-----")
    if begin and (not end or rest.strip()):
        return b""
    try:
        return base64.b64decode("".join((body if begin else before).split()), validate=True)
    except ValueError:
        return b""


def _read_key(member: JsonValue) -> bytes:
    expected = "a key of 16 to 64 bytes in base64"
    text = member.text(expected)
    try:
        return decode_key(text)
    except UsageError as error:
        fault = str(error)
    raise member.fault(f"{fault}; expected {expected}")


def attestation_to_json(enrollment: Enrollment, *, with_cas: bool = False) -> dict[str, Any]:
    """Return an attestation in the shape that ``read_attestation`` reads.

    Args:
        enrollment: whose.
        with_cas: whether the certificates of ``caReferences`` stand beside them.
    """
    if enrollment.endorsement_key:
        tpm = {"endorsementKey": enrollment.endorsement_key}
        if enrollment.storage_root_key:
            tpm["storageRootKey"] = enrollment.storage_root_key
        return {"type": "tpm", "tpm": tpm}
    if not enrollment.certificates and not enrollment.ca_references:
        keys = {"primaryKey": _encode(enrollment.primary_key)}
        if enrollment.secondary_key:
            keys["secondaryKey"] = _encode(enrollment.secondary_key)
        return {"type": "symmetricKey", "symmetricKey": keys}
    both = (enrollment.primary_certificate, enrollment.secondary_certificate)
    certificates = {
        place: {"certificate": pem_certificate(der)}
        for place, der in zip(_PLACES, both, strict=True)
        if der
    }
    if enrollment.ca_references:
        x509: dict[str, Any] = {
            "caReferences": {
                place: name
                for place, name in zip(_PLACES, enrollment.ca_references, strict=False)
                if name
            }
        }
        if with_cas and certificates:
            x509["caCertificates"] = certificates
        return {"type": "x509", "x509": x509}
    individual = isinstance(enrollment, IndividualEnrollment)
    place = "clientCertificates" if individual else "signingCertificates"
    return {"type": "x509", "x509": {place: certificates}}


def pem_certificate(der: bytes) -> str:
    """Return a certificate in PEM form (RFC 7468 section 5)."""
    body = textwrap.fill(_encode(der), 64)
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()
