"""A device's certificate chain as a service sees it, and the judgement about it.

Knows names, dates and fingerprints. Does not know X.509's encoding: the end of TLS reads the
chain, and proves that each certificate was signed by the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ..text import shown


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of a chain.

    Attributes:
        sha256: of its DER form, in hexadecimal.
        sha1: of its DER form, in hexadecimal.
        common_name: of its subject; empty where it has none.
        subject: as RFC 4514 writes it.
        issuer: as RFC 4514 writes it.
        not_before: Unix time in seconds.
        not_after: Unix time in seconds; its last second.
        serial_number: in hexadecimal.
        version: 3 for X.509 version 3.
        der: the certificate itself; empty where nothing reads it any more.
        fault: why it cannot be read, for the log; empty for a good one.
    """

    sha256: str
    sha1: str
    common_name: str
    subject: str
    issuer: str
    not_before: float
    not_after: float
    serial_number: str
    version: int = 3
    der: bytes = field(default=b"", repr=False, compare=False)
    fault: str = ""

    def to_json(self) -> dict[str, str | int]:
        """Return an X509CertificateInfo of the service API."""
        return {
            "subjectName": self.subject,
            "sha1Thumbprint": self.sha1.upper(),
            "sha256Thumbprint": self.sha256.upper(),
            "issuerName": self.issuer,
            "notBeforeUtc": _instant(self.not_before),
            "notAfterUtc": _instant(self.not_after),
            "serialNumber": self.serial_number.upper(),
            "version": self.version,
        }


Chain = Sequence[Certificate]
"""A device's certificate first, each signed by the next; empty where none was shown."""


class ChainReader(Protocol):
    """Reads certificates."""

    def continued(self, chain: Chain, enrolled: Sequence[bytes]) -> Chain:
        """Return a chain as far up as enrolled certificates, DER, have signed it."""

    def subject(self, der: bytes) -> str | None:
        """Return a certificate's subject as ``Certificate`` has it; None if it cannot be read."""


def chain_fault(
    chain: Chain, registration_id: str, fingerprints: Sequence[str], unix_now: float
) -> str | None:
    """Say why a chain does not let the device in; None if it does.

    Args:
        chain: what the device has shown, not empty; its own certificate can be read.
        registration_id: must be the common name of the device's certificate, but for case.
        fingerprints: the enrolled certificates', one of which must be in the chain.
        unix_now: seconds; from the device's certificate to the enrolled one all must be valid.
    """
    if chain[0].common_name.lower() != registration_id.lower():
        return f"the certificate's common name is {shown(chain[0].common_name)}"
    for number, certificate in enumerate(chain, 1):
        which = f"certificate {number} of {len(chain)} in the chain, {shown(certificate.subject)}"
        if unix_now < certificate.not_before:
            return f"{which}: not valid before {_instant(certificate.not_before)}"
        if unix_now > certificate.not_after:
            return f"{which}: expired at {_instant(certificate.not_after)}"
        if certificate.sha256 in fingerprints:
            return None
    return "none of the chain's certificates is the enrolled one"


def _instant(unix: float) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix):%Y-%m-%dT%H:%M:%SZ}"
