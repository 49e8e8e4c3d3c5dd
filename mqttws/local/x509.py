"""Devices' certificates: the chain that a device has shown, and test chains.

Knows X.509 through ``cryptography`` and ``ssl``. Does not know who is enrolled.
"""

import datetime
import hashlib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..dps.certificates import Certificate
from ..errors import UsageError
from ..net.handshake import shown_chain
from .certificates import (
    CA_LIFETIME,
    SERVER_LIFETIME,
    Key,
    certificate_pem,
    key_pem,
    new_builder,
    new_key,
    new_key_usage,
    new_name,
)

MAX_CHAIN = 10
"""How many certificates of a chain are followed; OpenSSL's own limit is 100."""


def proved_chain(
    ssl_object: ssl.SSLObject, anchors: Iterable[x509.Certificate]
) -> tuple[Certificate, ...]:
    """Return the chain that a peer has proved: its own certificate first.

    TLS stops at the first anchor. Wider enrollments may stand above it, so the chain is followed
    further, through what was shown and what is enrolled, each signature checked. A certificate that
    OpenSSL takes and ``cryptography`` does not read is refused at register.
    """
    own, *others = [*shown_chain(ssl_object)] or [b""]
    if not own:
        return ()
    try:
        path = [x509.load_der_x509_certificate(own)]
        _describe(path[0])
    except Exception as error:  # ValueError, InvalidVersion and more: whatever the bytes hold
        return (_unreadable(own, error),)
    candidates = [*_readable(others), *anchors]
    while len(path) < MAX_CHAIN:
        issuer = _issuer(path[-1], candidates)
        if issuer is None or issuer in path:
            break
        path.append(issuer)
    return tuple(_describe(certificate) for certificate in path)


def _readable(ders: Iterable[bytes]) -> Iterator[x509.Certificate]:
    for der in ders:
        try:
            certificate = x509.load_der_x509_certificate(der)
            _describe(certificate)
        except Exception:  # noqa: S112 - whatever it is: nothing can be proved by it
            continue
        yield certificate


def _unreadable(der: bytes, error: Exception) -> Certificate:
    return Certificate(
        sha256=hashlib.sha256(der).hexdigest(),
        sha1=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        common_name="",
        subject="",
        issuer="",
        not_before=0,
        not_after=0,
        serial_number="0",
        fault=f"the certificate cannot be read: {type(error).__name__}",
    )


def load_certificate(der: bytes) -> x509.Certificate:
    """Return a certificate.

    Raises:
        UsageError: it is none.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except Exception:  # InvalidVersion is no ValueError
        raise UsageError("an enrolled certificate cannot be read: it is not X.509") from None


def certificate_info(pem: str) -> dict[str, str | int]:
    """Return what stands in a certificate, as the service API's ``info`` has it."""
    return _describe(x509.load_pem_x509_certificate(pem.encode())).to_json()


def describe_certificate(der: bytes) -> Certificate:
    """Return what stands in a certificate that has been read before."""
    return _describe(x509.load_der_x509_certificate(der))


def read_certificate(data: bytes | str) -> bytes:
    """Return a certificate's DER from its PEM or DER form.

    Raises:
        UsageError: it is none.
    """
    raw = data.encode() if isinstance(data, str) else data
    try:
        if b"-----BEGIN" in raw:
            return x509.load_pem_x509_certificate(raw).public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(raw).public_bytes(Encoding.DER)
    except ValueError:
        pass
    raise UsageError("a certificate cannot be read: it is no X.509 in PEM or DER form")


def fingerprint_of(data: bytes | str) -> str:
    """Return the SHA-256 thumbprint of a certificate in PEM or DER form, in hexadecimal.

    Raises:
        UsageError: it is none.
    """
    return hashlib.sha256(read_certificate(data)).hexdigest()


def _issuer(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    for candidate in candidates:
        if candidate.subject == certificate.issuer and _is_ca(candidate):
            try:
                certificate.verify_directly_issued_by(candidate)
            except Exception:  # noqa: S112 - whatever it is: this one has not signed it
                continue
            return candidate
    return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _describe(certificate: x509.Certificate) -> Certificate:
    der = certificate.public_bytes(Encoding.DER)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        sha256=hashlib.sha256(der).hexdigest(),
        sha1=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        common_name=str(names[0].value) if len(names) == 1 else "",
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        serial_number=f"{certificate.serial_number:x}",
    )


@dataclass(frozen=True)
class Issued:
    """A device's certificate, as it would be given to the device.

    Attributes:
        chain: PEM: the device's certificate, then every one above it but the root.
        key: PEM, not encrypted: a secret.
        certificate: PEM: the device's own alone, as an individual enrollment has it.
    """

    chain: bytes
    key: bytes
    certificate: bytes

    def __repr__(self) -> str:
        return "Issued(...)"


class DeviceAuthority:
    """A CA that issues devices' certificates, for tests: nothing else should trust it.

    Args:
        certificate: the CA's own.
        key: its key.
        above: the certificates above it that a device must send, nearest first.
    """

    def __init__(
        self, certificate: x509.Certificate, key: Key, above: Sequence[x509.Certificate] = ()
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._above = tuple(above)

    @classmethod
    def root(cls, name: str = "mqttws test root") -> Self:
        """Make a root."""
        key = new_key()
        return cls(_sign_ca(name, key, new_name(name), key), key)

    def intermediate(self, name: str) -> Self:
        """Make a CA below this one."""
        key = new_key()
        certificate = _sign_ca(name, key, self._certificate.subject, self._key)
        return type(self)(certificate, key, self._to_send)

    @property
    def pem(self) -> str:
        """The CA's certificate, as an enrollment group has it."""
        return certificate_pem(self._certificate).decode()

    @property
    def _to_send(self) -> tuple[x509.Certificate, ...]:
        """The certificates that a device below must send; a root need not be sent."""
        if self._certificate.issuer == self._certificate.subject:
            return ()
        return (self._certificate, *self._above)

    def issue(
        self,
        registration_id: str,
        *,
        begins: datetime.timedelta = datetime.timedelta(hours=-1),
        ends: datetime.timedelta = SERVER_LIFETIME,
    ) -> Issued:
        """Make a device's certificate and key.

        Args:
            registration_id: becomes the common name, at most 64 characters.
            begins: when it becomes valid, from now.
            ends: when it expires, from now.
        """
        key = new_key()
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            new_builder(
                new_name(registration_id),
                self._certificate.subject,
                key,
                (now + begins, now + ends),
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(new_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        own = certificate_pem(certificate)
        return Issued(b"".join([own, *map(certificate_pem, self._to_send)]), key_pem(key), own)


def _sign_ca(name: str, key: Key, issuer: x509.Name, issuer_key: Key) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    validity = (now - datetime.timedelta(hours=1), now + CA_LIFETIME)
    return (
        new_builder(new_name(name), issuer, key, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(new_key_usage(ca=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
