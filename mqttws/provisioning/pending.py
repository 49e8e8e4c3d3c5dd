"""A certificate that has been asked for: its request, and the key that the request is for.

Knows PKCS#10 through ``cryptography``, and keys that never leave their hardware. Does not know how
a request travels, nor where a certificate is kept.
"""

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
        self.common_name = common_name
        self.csr = csr
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
    from cryptography.hazmat.primitives.serialization import Encoding

    fault = "no PKCS#10 request in DER or PEM form"
    if isinstance(data, bytes):
        try:
            pem = b"-----BEGIN" in data
            request = (x509.load_pem_x509_csr if pem else x509.load_der_x509_csr)(data)
            name = common_name_of(request)
        except (ValueError, UsageError):
            pass
        else:
            if name.lower() == common_name.lower():
                return request.public_bytes(Encoding.DER)
            fault = f"a request for {name!a}, not for {common_name!a}"
    raise UsageError(f"key: its request() returned {fault}")


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
