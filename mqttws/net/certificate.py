"""The content of certificates, read for people and for judging: names, dates, issuer, key.

Knows ``cryptography``; nothing here decides about trust.
"""

import ssl
from datetime import datetime
from typing import TYPE_CHECKING

from ..hops import CertificateFacts
from ..text import one_line

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def parse_certificate(der: bytes) -> CertificateFacts:
    """Return the content of a certificate.

    Raises:
        ValueError: it cannot be read.
    """
    return facts_of(load_certificate(der))


def load_certificate(der: bytes) -> "Certificate":
    """Return a certificate from its DER form.

    Raises:
        ValueError: it cannot be read.
    """
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der)
    except Exception as error:  # InvalidVersion is no ValueError
        raise ValueError(_unreadable(error)) from None


def load_certificates(pem: bytes) -> "list[Certificate]":
    """Return the certificates of a PEM text, one at least.

    Raises:
        ValueError: one of them cannot be read.
    """
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except Exception as error:
        raise ValueError(_unreadable(error)) from None


def _unreadable(error: Exception) -> str:
    """Return the text in place of those that ``cryptography``'s many errors have for odd bytes."""
    return f"a certificate that cannot be read: {one_line(str(error))}"


def facts_of(certificate: "Certificate") -> CertificateFacts:
    """Return the content of a certificate that is loaded.

    Raises:
        ValueError: a part of it cannot be read.
    """
    from cryptography import x509

    names: list[str] = []
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [one_line(str(general.value)) for general in alternatives.value]
    except x509.ExtensionNotFound:
        pass
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        pass  # OpenSSL takes what this library cannot read; the rest is shown all the same
    try:
        return _facts(certificate, names)
    except Exception as error:  # a name of bits is a TypeError
        raise ValueError(_unreadable(error)) from None


def _facts(certificate: "Certificate", names: list[str]) -> CertificateFacts:
    from cryptography.hazmat.primitives import hashes

    return CertificateFacts(
        plain_name(certificate.subject.rfc4514_string()),
        plain_name(certificate.issuer.rfc4514_string()),
        tuple(names),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.subject == certificate.issuer,
    )


def plain_name(rfc4514: str) -> str:
    """Return a distinguished name for people: one line, without the backslashes of RFC 4514."""
    return one_line(rfc4514.replace("\\", ""))


def shown_time(moment: datetime) -> str:
    """Return a moment as every message shows it, to the minute, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def describe_session(session: ssl.SSLObject, chain: list[bytes]) -> dict[str, str]:
    """Return what a TLS session agreed on, and with which certificate.

    Args:
        session: the TLS object after its handshake.
        chain: from the peer's certificate to a trusted one, DER; empty where nothing was verified.
    """
    cipher = session.cipher()
    facts = {"version": session.version() or "", "cipher": cipher[0] if cipher else ""}
    return facts | describe_chain(chain)


def describe_chain(chain: list[bytes] | tuple[bytes, ...]) -> dict[str, str]:
    """Return the facts about a chain that are shown: names, subject, path, issuer, end."""
    try:
        read = [parse_certificate(der) for der in chain]
    except ValueError:  # OpenSSL takes some that cannot be read here
        return {}
    if not read:
        return {}
    return {
        "names": ", ".join(read[0].names[:10]),
        "subject": read[0].subject,
        "chain": " <- ".join(facts.subject for facts in read),
        "issuer": read[0].issuer,
        "expires": shown_time(read[0].not_after),
    }
