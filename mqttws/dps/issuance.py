"""Certificates issued at registration: the bodies' members, and the policies that rule them.

Knows ``csr`` and ``issuedCertificateChain`` of the device API (``2025-07-01-preview`` and later;
azure-rest-api-specs, DPS ``device/models.tsp``), and which requests are refused. Bytes of DER go in
and out: what is in a certificate is read where there is ``cryptography``.
"""

import base64
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..errors import MalformedAnswer, UsageError
from ..text import shown

ISSUE_API_VERSION = "2026-11-01"
"""The first stable version of the device API that issues certificates."""

CHAIN = "issuedCertificateChain"
"""The member of ``registrationState`` that has the certificates."""

MAX_CSR = 8 * 1024
"""Bytes of a certificate signing request in base64 that the hub takes; DPS's limit is not
published."""

MAX_CHAIN = 10
"""Certificates of a chain that are read; a namespace has a root and at most 3 CAs below it."""

MAX_CERTIFICATE = 16 * 1024
"""Bytes of one certificate that are read."""

LONGEST_VALIDITY = 90 * 86_400.0
"""Seconds: the cloud's policies allow 1 to 90 days."""

MAX_INTERMEDIATES = 3
"""CAs below the root that a namespace may have."""

DEFAULT_POLICY = "default"
"""The name of the policy that a local DPS has without being told."""


ChainFault = Literal["missing", "empty", "expired", "wrong-key", "wrong-name", "reversed", "broken"]
"""An ordered fault of an issued chain: no member for it, an empty one, a certificate that has
expired, one for another key or with another common name, the root first, or a certificate cut
off."""


@dataclass(frozen=True)
class CredentialPolicy:
    """The rules by which certificates are issued to the devices of an enrollment.

    Attributes:
        name: as enrollments name it in ``credentialPolicyName``.
        validity: seconds for which a device's certificate is valid; whole ones, as X.509 counts
            them. The cloud has 1 to 90 days.
        intermediates: CAs between the root and a device's certificate, 0 to 3.

    Raises:
        UsageError: names the attribute and what is allowed.
    """

    name: str = DEFAULT_POLICY
    validity: float = 30 * 86_400.0
    intermediates: int = 1

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("name", isinstance(self.name, str) and bool(self.name), "a name"),
            ("validity", _seconds(self.validity), "1 second to 90 days"),
            (
                "intermediates",
                type(self.intermediates) is int and 0 <= self.intermediates <= MAX_INTERMEDIATES,
                f"0 to {MAX_INTERMEDIATES}",
            ),
        ):
            if not good:
                raise UsageError(
                    f"credential policy: {name} {shown(getattr(self, name))}; allowed: {allowed}"
                )


def _seconds(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 1 <= value <= LONGEST_VALIDITY  # type: ignore[arg-type,operator]


class CertificateWanted(NamedTuple):
    """A certificate that a device has asked for, and may have.

    Attributes:
        csr: its request, PKCS#10 in DER.
        common_name: the name that must stand in the request and in the certificate.
        policy: of its enrollment.
    """

    csr: bytes
    common_name: str
    policy: CredentialPolicy


class Issued(NamedTuple):
    """The certificates that a CA has issued.

    Attributes:
        chain: as the service sends it, leaf first: base64 of DER. None leaves the member out, as
            an ordered fault does.
    """

    chain: tuple[str, ...] | None


class NotIssued(NamedTuple):
    """A refusal of a CA.

    Attributes:
        reason: one word, such as ``FailedToDecodeCsr``.
        message: one sentence.
    """

    reason: str
    message: str


def encode_der(der: bytes) -> str:
    """Return DER as the bodies have it: base64, without the lines of PEM."""
    return base64.b64encode(der).decode()


def read_chain(members: dict[str, Any], name: str) -> tuple[bytes, ...]:
    """Return the DER of each certificate in a member; empty where it is missing, null or empty.

    Raises:
        MalformedAnswer: the member is no list of texts in base64, or longer than any chain.
    """
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_CHAIN:
        found = f"{len(value)} members" if isinstance(value, list) else shown(value)
        raise MalformedAnswer(f"{name}: found {found}; allowed: a list of up to {MAX_CHAIN} texts")
    return tuple(_read_der(text, f"{name}[{at}]") for at, text in enumerate(value))


def _read_der(text: object, name: str) -> bytes:
    if isinstance(text, str) and len(text) <= MAX_CERTIFICATE:
        der = decode_der(text)
        if der:
            return der
    found = f"a text of {len(text)} characters" if isinstance(text, str) else shown(text)
    raise MalformedAnswer(f"{name}: found {found}; allowed: base64 of a certificate's DER form")


def decode_der(text: str) -> bytes | None:
    """Return the bytes of base64 without line breaks; None for any other text."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def knows_issuance(api_version: str) -> bool:
    """Whether a version of the device API takes ``csr``: 2025-07-01-preview and later do."""
    return api_version >= "2025-07-01"
