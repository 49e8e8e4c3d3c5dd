"""Certificates in PEM and DER form, and chains of test devices.

Knows X.509 through ``cryptography``. Does not know who is enrolled.
"""

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..errors import UsageError
from ..net import certificate as net
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


def load_certificate(der: bytes) -> x509.Certificate:
    """Return a certificate.

    Raises:
        UsageError: it is none.
    """
    try:
        return net.load_certificate(der)
    except ValueError:
        raise UsageError("an enrolled certificate cannot be read: it is not X.509") from None


def read_certificate(data: bytes | str) -> bytes:
    """Return a certificate's DER from its PEM or DER form.

    Raises:
        UsageError: it is none.
    """
    raw = data.encode() if isinstance(data, str) else data
    try:
        if b"-----BEGIN" in raw:
            return net.load_certificates(raw)[0].public_bytes(Encoding.DER)
        return net.load_certificate(raw).public_bytes(Encoding.DER)
    except ValueError:
        pass
    raise UsageError("a certificate cannot be read: it is no X.509 in PEM or DER form")


def fingerprint_of(data: bytes | str) -> str:
    """Return the SHA-256 thumbprint of a certificate in PEM or DER form, in hexadecimal.

    Raises:
        UsageError: it is none.
    """
    return hashlib.sha256(read_certificate(data)).hexdigest()


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
