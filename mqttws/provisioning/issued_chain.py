"""The checks of a certificate chain that a service has issued to this device.

Knows X.509 through ``cryptography``. Does not know which service sent the chain, nor where it is
kept. Nothing of a chain that fails a check may be stored: the device would lose its way in.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import CertificateNotIssued
from ..hops import Cause
from ..text import shown

CLOCK_LEEWAY = 300.0
"""Seconds by which a certificate may begin in this host's future: the CA's clock is another one."""


def check_chain(
    ders: Sequence[bytes], common_name: str, public_key: bytes, unix_now: float
) -> list[x509.Certificate]:
    """Return the certificates of a chain that this device can use, its own first.

    Args:
        ders: as the service sent them: the device's own, then each one's issuer; a root at the end
            may be there or not.
        common_name: that must be the device's, but for case.
        public_key: of the request, as ``public_key_of`` returns it.
        unix_now: Unix time in seconds.

    Raises:
        CertificateNotIssued: there is none, or the chain fails a check; says which.
    """
    if not ders:
        raise CertificateNotIssued(
            "the service sent no certificate with its answer",
            hint="the enrollment must name a credential policy, and the service must know"
            " certificate requests (device API 2025-07-01-preview or later)",
        )
    chain = [_load(der, at) for at, der in enumerate(ders)]
    _check_key(chain, public_key)
    leaf = chain[0]
    _check_name(leaf, common_name)
    _check_use(leaf)
    _check_dates(chain, unix_now)
    for at, certificate in enumerate(chain[:-1]):
        _check_issuer(certificate, chain[at + 1], chain, at)
    return chain


def public_key_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """Return a public key as it can be compared: SubjectPublicKeyInfo, DER."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load(der: bytes, at: int) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        public_key_of(certificate)
        certificate.extensions  # noqa: B018 - reading them finds what is malformed
    except Exception:  # InvalidVersion and more are no ValueError
        fault = f"certificate {at} of the chain cannot be read: it is not X.509 in DER form"
    else:
        return certificate
    raise _unusable(fault)


def _check_key(chain: Sequence[x509.Certificate], public_key: bytes) -> None:
    if public_key_of(chain[0]) == public_key:
        return
    for at, certificate in enumerate(chain):
        if public_key_of(certificate) == public_key:
            raise _unusable(
                f"the chain is in the wrong order: the device's certificate is number {at};"
                " allowed: the device's, then each one's issuer"
            )
    raise _unusable("the certificate is for another key than the one that was asked for")


def _check_name(leaf: x509.Certificate, common_name: str) -> None:
    names = [str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if [name.lower() for name in names] != [common_name.lower()]:
        found = ", ".join(shown(name) for name in names) or "none"
        raise _unusable(f"the certificate's common name is {found}; allowed: {shown(common_name)}")


def _check_use(leaf: x509.Certificate) -> None:
    """A certificate without the extension is for any use (RFC 5280 section 4.2.1.12)."""
    extensions = leaf.extensions
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & {*uses}:
        raise _unusable("the certificate is not one for a TLS client (extended key usage)")


def _check_dates(chain: Sequence[x509.Certificate], unix_now: float) -> None:
    now = datetime.fromtimestamp(unix_now, UTC)
    for at, certificate in enumerate(chain):
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now > ends:
            raise _unusable(
                f"certificate {at} of the chain expired at {ends:%F %T}Z, in the past here",
                hint="set this machine's clock right, or look at the CA",
            )
        if now + timedelta(seconds=CLOCK_LEEWAY) < begins:
            raise _unusable(
                f"certificate {at} of the chain begins at {begins:%F %T}Z, in the future here",
                hint="set this machine's clock right",
            )


def _check_issuer(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    chain: Sequence[x509.Certificate],
    at: int,
) -> None:
    if _is_issued_by(certificate, issuer):
        return
    if any(_is_issued_by(certificate, other) for other in chain if other is not certificate):
        raise _unusable(
            f"the chain is in the wrong order: certificate {at + 1} did not sign number {at};"
            " allowed: each followed by its issuer"
        )
    raise _unusable(f"certificate {at} of the chain is not signed by the next one")


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # names, key types, signatures: whatever it is
        return False
    return True


def _unusable(message: str, hint: str = "") -> CertificateNotIssued:
    return CertificateNotIssued(
        message,
        cause=Cause.ISSUED_CERTIFICATE_UNUSABLE,
        hint=hint or "look at the CA of the enrollment's credential policy",
    )
