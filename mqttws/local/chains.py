"""Chains of certificates: what a client has shown, and the enrolled ones above it.

Knows X.509 through ``cryptography``. Does not know who is enrolled: it is given the candidates. A
certificate follows in a chain if it has signed the one before, and may.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ..dps.certificates import Certificate, Chain

MAX_CHAIN = 10
"""How many certificates of a chain are followed; OpenSSL's own limit is 100."""

_KEPT = 2048  # certificates, and pairs of them, that are read once


def read_chain(shown: Sequence[bytes]) -> Chain:
    """Return the chain that a client has proved: its own certificate first.

    A certificate that OpenSSL takes and ``cryptography`` does not read is refused at register.

    Args:
        shown: DER, the client's own first; empty where it has shown nothing.
    """
    if not shown:
        return ()
    own, *others = shown
    try:
        begun = [_describe(x509.load_der_x509_certificate(own))]
    except Exception as error:  # ValueError, InvalidVersion and more: whatever the bytes hold
        return (_unreadable(own, error),)
    above = [found for found in map(_read, others) if found is not None]
    return _followed(begun, lambda issuer: [one for one in above if one.subject == issuer])


class EnrolledChains:
    """Follows chains to enrolled certificates that a client has not shown, such as a root."""

    def __init__(self) -> None:
        self._enrolled: Sequence[bytes] = ()
        self._by_subject: dict[str, list[Certificate]] = {}

    def continued(self, chain: Chain, enrolled: Sequence[bytes]) -> Chain:
        """Return a chain as far up as enrolled certificates have signed it.

        Args:
            chain: from ``read_chain``, not empty.
            enrolled: DER; the same object as long as it holds the same, if there are many.
        """
        if chain[0].fault:
            return chain
        found = self._by_subject
        if enrolled is not self._enrolled:
            found = {}
            for one in map(_read, enrolled):
                if one is not None:
                    found.setdefault(one.subject, []).append(one)
            if len(enrolled) > _FEW:
                self._enrolled, self._by_subject = enrolled, found
        return _followed(list(chain), lambda issuer: found.get(issuer, ()))

    def subject(self, der: bytes) -> str | None:
        """Return a certificate's subject as RFC 4514 writes it; None if it cannot be read."""
        found = _read(der)
        return None if found is None else found.subject


_FEW = 2  # the certificates of one enrollment: not worth keeping


def _followed(path: list[Certificate], named: Callable[[str], Iterable[Certificate]]) -> Chain:
    """Return a path as far up as there are issuers; ``named`` returns candidates by subject."""
    while len(path) < MAX_CHAIN:
        last = path[-1]
        below = sum(of.subject != of.issuer for of in path[1:])
        above = (of for of in named(last.issuer) if _has_signed(of.der, last.der, below))
        issuer = next(above, None)
        if issuer is None or issuer in path:
            break
        path.append(issuer)
    return tuple(path)


@lru_cache(_KEPT)
def _has_signed(issuer: bytes, certificate: bytes, below: int) -> bool:
    """Whether a certificate, DER, has signed another, with ``below`` CAs under it, and may."""
    above = x509.load_der_x509_certificate(issuer)
    try:
        constraints = above.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca or not _signs(above.extensions):
            return False
        if constraints.path_length is not None and below > constraints.path_length:
            return False
        x509.load_der_x509_certificate(certificate).verify_directly_issued_by(above)
    except Exception:  # whatever it is: this one has not signed it
        return False
    return True


def _signs(extensions: x509.Extensions) -> bool:
    """Whether a certificate's key may sign others: it may where nothing is said about it."""
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


@lru_cache(_KEPT)
def _read(der: bytes) -> Certificate | None:
    """Return what stands in a certificate; None where it cannot be read: it proves nothing."""
    try:
        return describe_certificate(der)
    except Exception:  # whatever the bytes hold
        return None


def describe_certificate(der: bytes) -> Certificate:
    """Return what stands in a certificate that has been read before."""
    return _describe(x509.load_der_x509_certificate(der))


def certificate_info(pem: str) -> dict[str, str | int]:
    """Return what stands in a certificate, as the service API's ``info`` has it."""
    return _describe(x509.load_pem_x509_certificate(pem.encode())).to_json()


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
        der=der,
    )


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
