"""The CA of a local DPS and its hubs: certificates issued by credential policies.

Knows X.509 through ``cryptography``, the CA's files, and the ordered faults of a chain. A
development CA is made once and kept in the state folder, mode 0600, not encrypted; nothing but
tests should trust it. Which request may be granted is decided in ``dps`` and ``hub``.
"""

import datetime
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..dps.issuance import (
    DEFAULT_POLICY,
    CertificateWanted,
    ChainFault,
    CredentialPolicy,
    Issued,
    NotIssued,
    encode_der,
)
from ..errors import StoreDamaged, UnusableFile, UsageError, store_failed, unreadable_file
from ..net.certificate import load_certificates
from ..text import shown
from .certificates import (
    CA_LIFETIME,
    locked,
    new_key,
    new_key_usage,
    new_name,
    write_public,
    write_secret,
)

CA_FILE = "issuing-ca.pem"
KEY_FILE = "issuing-ca.key"

LEAST_RSA = 2048
"""Bits of the smallest RSA key that gets a certificate."""

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_EXPIRED_AGO = datetime.timedelta(days=2)


def policies_by_name(given: Sequence[CredentialPolicy]) -> dict[str, CredentialPolicy]:
    """Return credential policies by name, with one named ``default`` among them.

    Raises:
        UsageError: one of them is no policy, or two have the same name.
    """
    found = {DEFAULT_POLICY: CredentialPolicy()}
    seen = set()
    for policy in given:
        if not isinstance(policy, CredentialPolicy):
            raise UsageError(
                f"credential_policies: found {type(policy).__name__}; allowed: CredentialPolicy"
            )
        if policy.name in seen:
            raise UsageError(f"credential_policies: {shown(policy.name)} is there twice")
        seen.add(policy.name)
        found[policy.name] = policy
    return found


class Authority:
    """One CA, and those above it.

    Args:
        certificate: its own.
        key: its key.
        above: the certificates above it, nearest first; its root last.
    """

    def __init__(
        self, certificate: x509.Certificate, key: SigningKey, above: Sequence[x509.Certificate] = ()
    ) -> None:
        self.certificate: x509.Certificate = certificate
        self._key = key
        self._above = tuple(above)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate, and those above it."""
        return (self.certificate, *self._above)

    def below(self, name: str, begins: datetime.datetime) -> "Authority":
        """Make a CA that this one has signed."""
        key = new_key()
        subject = new_name(name)
        certificate = self._sign(subject, key.public_key(), begins, CA_LIFETIME, ca=True)
        return Authority(certificate, key, self.chain)

    def issue(
        self, common_name: str, public_key: Any, begins: datetime.datetime, validity: float
    ) -> x509.Certificate:
        """Sign a device's certificate."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        return self._sign(subject, public_key, begins, datetime.timedelta(seconds=validity))

    def _sign(
        self,
        subject: x509.Name,
        public_key: Any,
        begins: datetime.datetime,
        validity: datetime.timedelta,
        *,
        ca: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(min(begins + validity, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(new_key_usage(ca=ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if not ca:
            use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(use, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _whole(unix_time: float) -> datetime.datetime:
    """Return a time in whole seconds: X.509 has no others."""
    return datetime.datetime.fromtimestamp(int(unix_time), datetime.UTC)


class IssuingCa:
    """Issues certificates by credential policies.

    Args:
        policies: by name.
        given: a PEM file with a CA's certificate, those above it, and its key; None for a
            development CA in the state folder.
        strike: returns the ordered fault of a chain for a device, by its common name; None for
            none.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        policies: Mapping[str, CredentialPolicy],
        given: str | os.PathLike[str] | None,
        strike: Callable[[str], Awaitable[ChainFault | None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policies: dict[str, CredentialPolicy] = dict(policies)
        self._given = given
        self._strike = strike
        self._clock = clock
        self._root: Authority | None = None
        self._issuers: dict[str, Authority] = {}

    def begin(self, folder: Path) -> None:
        """Load the CA, or make it.

        Raises:
            StoreFailed: the folder cannot be used.
            UnusableFile: the CA that was given cannot be one.
            UsageError: a policy needs more CAs below it than it allows.
        """
        self._root = _load_given(Path(self._given)) if self._given else _prepare(folder)
        room = _path_length(self._root.certificate)
        for policy in self.policies.values():
            if room is not None and policy.intermediates > room:
                raise UsageError(
                    f"credential policy {shown(policy.name)}: {policy.intermediates} intermediates;"
                    f" allowed below this CA: {room}"
                )
        self._issuers.clear()

    @property
    def anchor(self) -> bytes:
        """The certificate in which every issued chain ends, DER."""
        return self._authority.chain[-1].public_bytes(Encoding.DER)

    async def issue(self, wanted: CertificateWanted) -> Issued | NotIssued:
        """Issue a certificate, or refuse its request; an ordered fault may spoil the chain."""
        return self.sign(wanted, await self._strike(wanted.common_name))

    def sign(self, wanted: CertificateWanted, fault: ChainFault | None) -> Issued | NotIssued:
        """Issue a certificate, spoilt as ``fault`` says."""
        request = _read_request(wanted)
        if isinstance(request, NotIssued):
            return request
        if fault in ("missing", "empty"):
            return Issued(None if fault == "missing" else ())
        issuer = self._issuer(wanted.policy)
        name, key, begins = wanted.common_name, request.public_key(), _whole(self._clock())
        if fault == "wrong-name":
            name = f"not-{name}"[:64]
        elif fault == "wrong-key":
            key = new_key().public_key()
        elif fault == "expired":
            begins -= _EXPIRED_AGO + datetime.timedelta(seconds=wanted.policy.validity)
        leaf = issuer.issue(name, key, begins, wanted.policy.validity)
        chain = [encode_der(of.public_bytes(Encoding.DER)) for of in (leaf, *issuer.chain)]
        if fault == "reversed":
            chain.reverse()
        elif fault == "broken":
            chain[-1] = chain[-1][:-7]
        return Issued(tuple(chain))

    @property
    def _authority(self) -> Authority:
        if self._root is None:
            raise UsageError("the local DPS has not been started")
        return self._root

    def _issuer(self, policy: CredentialPolicy) -> Authority:
        issuer = self._issuers.get(policy.name)
        if issuer is None:
            issuer = self._authority
            for number in range(policy.intermediates):
                issuer = issuer.below(
                    f"mqttws {policy.name} {number + 1}"[:64], _whole(self._clock())
                )
            self._issuers[policy.name] = issuer
        return issuer


def _read_request(wanted: CertificateWanted) -> x509.CertificateSigningRequest | NotIssued:
    """Return a request that may be granted."""
    try:
        request = x509.load_der_x509_csr(wanted.csr)
        key, good = request.public_key(), request.is_signature_valid
        names = [
            str(of.value) for of in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    except Exception:  # whatever the bytes hold
        return NotIssued("FailedToDecodeCsr", "the request is no PKCS#10 in DER form")
    if not good:
        return NotIssued("InvalidSignature", "the request's signature is not that of its key")
    if [name.lower() for name in names] != [wanted.common_name.lower()]:
        found = ", ".join(shown(name) for name in names) or "none"
        allowed = shown(wanted.common_name)
        return NotIssued("CommonNameMismatch", f"common name {found}; allowed: {allowed}")
    kinds = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
    strong = isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA
    if not (isinstance(key, kinds) or strong):
        return NotIssued("UnsupportedKey", f"allowed: EC, EdDSA, and RSA from {LEAST_RSA} bits on")
    return request


def _path_length(certificate: x509.Certificate) -> int | None:
    """Return how many CAs may be below this one; None for any number."""
    found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    return None if found is None else int(found)


def _prepare(folder: Path) -> Authority:
    """Return the development CA in a folder; make it if it is not there."""
    file, key_file = folder / CA_FILE, folder / KEY_FILE
    try:
        with locked(folder):  # another process may start on the same folder
            if not (file.exists() and key_file.exists()):
                key = new_key()
                write_secret(key_file, _key_pem(key))
                write_public(file, _self_signed(key).public_bytes(Encoding.PEM))
        return _authority_of(file.read_bytes(), key_file.read_bytes())
    except OSError as error:
        raise store_failed(f"the issuing CA in {folder}: {error.strerror}", error) from error
    except (ValueError, TypeError):
        pass
    raise StoreDamaged(
        f"the issuing CA cannot be read: {file}", hint="remove it: a new one is made then"
    )


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now, name = _whole(time.time()), new_name("mqttws development issuing CA")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(new_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _load_given(file: Path) -> Authority:
    """Return the CA in a PEM file: its certificate, those above it, and its key, not encrypted."""
    try:
        data = file.read_bytes()
    except OSError as error:
        message = f"issuing_ca: {file}: {error.strerror}"
        raise unreadable_file(message, str(file), error) from None
    try:
        return _authority_of(data, data)
    except (ValueError, TypeError) as error:
        fault = str(error)
    raise UnusableFile(
        f"issuing_ca: {file}: {shown(fault)}; allowed: a CA's certificate, those above it up to the"
        " root, and its key, not encrypted, in PEM form",
        file=str(file),
    )


def _authority_of(certificates: bytes, key_pem: bytes) -> Authority:
    """Return a CA from PEM texts.

    Raises:
        ValueError: they are not those of one.
        TypeError: the key is encrypted, or neither EC nor RSA.
    """
    chain = load_certificates(certificates)
    key = serialization.load_pem_private_key(_key_part(key_pem), password=None)
    if not isinstance(key, SigningKey):
        raise TypeError("the key is neither EC nor RSA")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        raise ValueError("the key is not that of the first certificate")
    for certificate, issuer in zip(chain, [*chain[1:], chain[-1]], strict=True):
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise ValueError("a certificate is not one of a CA")
        try:
            certificate.verify_directly_issued_by(issuer)
        except Exception:
            raise ValueError(
                "each certificate must be signed by the next, the last by itself"
            ) from None
    return Authority(chain[0], key, chain[1:])


def _key_part(pem: bytes) -> bytes:
    """Return a key's PEM block from a text that may hold certificates too."""
    at = pem.find(b"PRIVATE KEY-----")
    return pem[pem.rfind(b"-----BEGIN", 0, at) :] if at >= 0 else pem


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
