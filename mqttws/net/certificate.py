"""What stands in a peer's certificate, and why it was rejected.

After a failed verification Python shows no certificate. ``look_at_certificate`` therefore makes a
second connection that trusts anybody, sends not one byte of the application over it, and takes
nothing from it but the certificate. It is the only function in this package that may do so.
"""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import CertificateRejected, MqttwsError
from ..hops import Cause, CertificateFacts, Hop
from ..text import one_line
from .failures import translate
from .stream import ByteStream
from .tls import public_organisations

LOOK_TIMEOUT = 5.0
"""Seconds for the second look, at most."""

EXPIRED, NOT_YET_VALID = 10, 9
UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's verification results (x509_vfy.h)."""


async def look_at_certificate(
    reach: Callable[[], Awaitable[ByteStream]], host: str, timeout: float = LOOK_TIMEOUT
) -> CertificateFacts | None:
    """Return what stands in the certificate that a peer shows; None if it shows none.

    Args:
        reach: opens another connection to the peer, on the same way as the one that failed.
        host: the name that the peer is asked for (SNI).
        timeout: seconds for it.
    """
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    stream: ByteStream | None = None
    try:
        async with asyncio.timeout(timeout):
            stream = await reach()
            await stream.start_tls(anybody, host, max(0.001, timeout))
            der = stream.info("ssl_object").getpeercert(binary_form=True)
            return parse_certificate(der) if der else None
    except (MqttwsError, OSError, ValueError):  # TimeoutError is an OSError
        return None  # the first look's error is told all the same, with fewer facts
    finally:
        if stream is not None:
            stream.abort()


def shown_chain(session: ssl.SSLObject) -> list[bytes]:
    """Return the certificates that the peer sent in the handshake, DER, its own first."""
    if session.getpeercert(binary_form=True) is None:
        return []  # OpenSSL's chain would be one of nothing
    return _chain(session, "get_unverified_chain")


def proved_chain(session: ssl.SSLObject) -> list[bytes]:
    """Return the way from the peer's certificate to one that is trusted here, DER, both included.

    What was sent and the trusted roots together; empty where nothing was verified.
    """
    if session.getpeercert(binary_form=True) is None:
        return []
    return _chain(session, "get_verified_chain")


def _chain(session: ssl.SSLObject, name: str) -> list[bytes]:
    """The one place that reads chains: public from Python 3.13 on, behind the object before."""
    if sys.version_info >= (3, 13):
        return list(getattr(session, name)())
    import _ssl

    inner: Any = vars(session).get("_sslobj")
    return [item.public_bytes(_ssl.ENCODING_DER) for item in getattr(inner, name)() or ()]


def parse_certificate(der: bytes) -> CertificateFacts:
    """Return what stands in a certificate.

    Raises:
        ValueError: it cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_der_x509_certificate(der)
    names: list[str] = []
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [one_line(str(general.value)) for general in alternatives.value]
    except x509.ExtensionNotFound:
        pass
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        pass  # OpenSSL takes what this library cannot read; the rest is told all the same
    return CertificateFacts(
        one_line(certificate.subject.rfc4514_string()),
        one_line(certificate.issuer.rfc4514_string()),
        tuple(names),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.subject == certificate.issuer,
    )


def rejected_certificate(
    error: ssl.SSLCertVerificationError,
    hop: Hop,
    host: str,
    seen: CertificateFacts | None,
    context: ssl.SSLContext,
) -> MqttwsError:
    """Return the error for a certificate that was rejected, with what was seen on it."""
    rejected = translate(error, hop, host)
    if seen is None or not isinstance(rejected, CertificateRejected):
        return rejected
    rejected.certificate = seen
    code = error.verify_code
    now = datetime.now(UTC)
    if code == EXPIRED:
        rejected.hint = (
            f"it ended {_span(now - seen.not_after)} ago by this machine's clock,"
            f" {now:%Y-%m-%d %H:%M} UTC: if that clock is right, the server's operator must act"
        )
    elif code == NOT_YET_VALID:
        rejected.hint = (
            f"it begins in {_span(seen.not_before - now)} by this machine's clock,"
            f" {now:%Y-%m-%d %H:%M} UTC: probably that clock is behind"
        )
    elif code in UNKNOWN_ISSUER:
        rejected.cause, rejected.hint = _issuer_cause(seen, context)
    elif seen.names:
        rejected.hint = (
            f"the certificate is for another name ({', '.join(seen.names[:5])}): connect by the"
            " name it was issued for"
        )
    return rejected


def _span(delta: timedelta) -> str:
    hours = delta.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def _issuer_cause(seen: CertificateFacts, context: ssl.SSLContext) -> tuple[Cause, str]:
    public = public_organisations()
    if not public and not context.cert_store_stats()["x509_ca"]:
        hint = "this machine trusts no CA at all: install the package ca-certificates"
        return Cause.NO_TRUSTED_CA, hint
    if any(f"O={name}" in seen.issuer.replace("\\", "") for name in public):
        return (
            Cause.ISSUER_UNKNOWN,
            "its issuer has the name of a public one, but no way leads there: the server does not"
            " send its intermediate certificates, or this machine's list of CAs is old",
        )
    return (
        Cause.INTERCEPTED,
        f"{seen.issuer} is not a public issuer: probably an intercepting proxy, or a private CA;"
        " if you trust it, add its CA (option --ca, or TlsConfig(ca=...))",
    )


def describe_session(session: ssl.SSLObject) -> dict[str, str]:
    """Return what a TLS session agreed on, and with whom."""
    cipher = session.cipher()
    facts = {"version": session.version() or "", "cipher": cipher[0] if cipher else ""}
    shown = session.getpeercert()
    if shown:
        facts["subject"] = _flat(shown.get("subject"))
        facts["issuer"] = _flat(shown.get("issuer"))
        facts["expires"] = str(shown.get("notAfter", ""))
    return facts


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
}


def _flat(name: object) -> str:
    """Return a name as Python's ``getpeercert`` has it in one line, most specific first."""
    parts = name if isinstance(name, tuple) else ()
    return ",".join(
        f"{_SHORT.get(key, key)}={one_line(value)}"
        for part in reversed(parts)
        for key, value in part
    )
