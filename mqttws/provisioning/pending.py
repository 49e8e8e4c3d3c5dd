"""A certificate that has been asked for: its request, and the key that the request is for.

Knows PKCS#10 through ``cryptography``, and keys that never leave their hardware. Does not know how
a request travels, nor where a certificate is kept.
"""

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from ..errors import UsageError
from ..net.tls import Tls

if TYPE_CHECKING:
    from cryptography import x509

    from .assignment import Assignment

Keep = Callable[[Sequence["x509.Certificate"], "Assignment | None"], None]
"""Stores a chain that has been checked, and the assignment that came with it."""


@runtime_checkable
class DeviceKey(Protocol):
    """A private key that never leaves its hardware: a TPM's, or one in a PKCS#11 token."""

    def request(self, common_name: str) -> bytes:
        """Return a certificate signing request, PKCS#10 in DER or PEM, signed by the key."""

    def context(self, chain_file: Path, tls: Tls) -> ssl.SSLContext:
        """Return a TLS context that shows the chain in a PEM file, and signs with the key."""


class PendingCertificate:
    """A request for a certificate, and the key that it is for.

    Args:
        common_name: of the certificate that is wanted.
        csr: the request, PKCS#10 in DER.
        keep: stores a chain that has been checked.

    Attributes:
        common_name: of the certificate that is wanted.
        csr: the request, PKCS#10 in DER.
    """

    def __init__(self, common_name: str, csr: bytes, keep: Keep) -> None:
        self.common_name: str = common_name
        self.csr: bytes = csr
        self._keep = keep

    def __repr__(self) -> str:
        return f"PendingCertificate({self.common_name!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a PendingCertificate cannot be pickled: it holds a secret")

    def accept(self, chain: Sequence[bytes], assignment: "Assignment | None" = None) -> None:
        """Check the chain that the service has sent, and store it with its key.

        Args:
            chain: DER, the device's certificate first.
            assignment: that came with it; None for the one that is known.

        Raises:
            CertificateNotIssued: there is none, or it cannot be used; nothing was stored.
            StoreFailed: it could not be stored; what was there before is there still.
        """
        from cryptography import x509

        from .issued_chain import check_chain, public_key_of

        key = public_key_of(x509.load_der_x509_csr(self.csr))
        checked = check_chain(chain, self.common_name, key, time.time())
        self._keep(checked, assignment)


def make_request(common_name: str, key: DeviceKey | None) -> tuple[bytes, bytes]:
    """Return a key, PEM, and a request for it, DER; no key where it stays in its hardware.

    Raises:
        UsageError: the hardware's own request cannot be read, or is not for this name.
    """
    if key is None:
        return _software_request(common_name)
    return b"", _read_request(key.request(common_name), common_name)


def _software_request(common_name: str) -> tuple[bytes, bytes]:
    """Return a fresh EC P-256 key, PEM, and a request for it, DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, request.public_bytes(Encoding.DER)


def _read_request(data: Any, common_name: str) -> bytes:
    """Return the DER of a request that a device's key has made."""
    from cryptography import x509

    fault = "no PKCS#10 request in DER or PEM form"
    if isinstance(data, bytes):
        try:
            der = _without_null(_der_of(data))
            name = common_name_of(x509.load_der_x509_csr(der))
        except (ValueError, IndexError, UsageError):
            pass
        else:
            if name.lower() == common_name.lower():
                return der
            fault = f"a request for {name!a}, not for {common_name!a}"
    raise UsageError(f"key: its request() returned {fault}")


def _der_of(data: bytes) -> bytes:
    """Return a request in DER form; from PEM where it is that."""
    before, begin, rest = data.partition(b"-----BEGIN CERTIFICATE REQUEST-----")
    body, end, _ = rest.partition(b"-----END CERTIFICATE REQUEST-----")
    return base64.b64decode(body) if begin and end else before


_ECDSA = bytes.fromhex("06082a8648ce3d0403")
"""The beginning of ecdsa-with-SHA256, -SHA384 and -SHA512 (RFC 5758 section 3.2), in DER."""


def _without_null(der: bytes) -> bytes:
    """Return a request whose signature algorithm has no parameters, as RFC 5758 demands.

    The OpenSSL provider for TPMs (tpm2-openssl 1.1.1) writes NULL there, which strict readers
    refuse. The signature does not cover it.
    """
    at = der.rfind(b"\x30\x0c" + _ECDSA)
    if at < 0 or der[at + 12 : at + 14] != b"\x05\x00":
        return der
    header = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    body = der[header:at] + b"\x30\x0a" + der[at + 2 : at + 12] + der[at + 14 :]
    size = len(body)
    length = size.to_bytes((size.bit_length() + 7) // 8)
    if size >= 0x80:
        length = bytes([0x80 | len(length)]) + length
    return b"\x30" + length + body


def common_name_of(holder: "x509.Certificate | x509.CertificateSigningRequest") -> str:
    """Return the one common name of a certificate or request.

    Raises:
        UsageError: it has none, or several.
    """
    from cryptography.x509.oid import NameOID

    names = holder.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise UsageError(f"found {len(names)} common names; allowed: one, the registration id")
    return str(names[0].value)
