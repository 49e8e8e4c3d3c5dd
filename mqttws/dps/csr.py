"""A certificate signing request in a register body, as the service reads it.

Knows the member, its length and the versions of the device API that have it. What is in the request
is the CA's matter.
"""

from typing import Any

from .answers import Rejection
from .codes import BAD_REQUEST, MALFORMED_BODY
from .issuance import MAX_CSR, decode_der, knows_issuance


def read_csr(body: dict[str, Any], api_version: str) -> bytes | None:
    """Return the certificate signing request in a register body, DER; None for none.

    A version without the member refuses it like any unknown one.

    Raises:
        Rejection: it cannot be one.
    """
    value = body.get("csr")
    if value is None:
        return None
    if not knows_issuance(api_version):
        raise Rejection(MALFORMED_BODY, "Deserialization error.", "csr, before 2025-07-01-preview")
    der = decode_der(value) if isinstance(value, str) and len(value) <= MAX_CSR else None
    if not der:
        message = f"Invalid request. csr is not base64 of at most {MAX_CSR} characters."
        raise Rejection(BAD_REQUEST, message)
    return der


def has_csr(body: object) -> bool:
    """Whether a body, already read, has a certificate signing request."""
    return isinstance(body, dict) and body.get("csr") is not None
