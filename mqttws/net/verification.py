"""Rejected certificates: which one of the chain failed, why in plain words, and who must act.

OpenSSL gives a code and no position. The position is found in the chain that OpenSSL built in the
handshake that failed, by looking for the certificate to which the code applies.
"""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import CertificateRejected
from ..hops import Cause, Hop, Party
from .certificate import facts_of, load_certificate, plain_name, shown_time
from .handshake import proved_chain, shown_chain
from .issuers import judge_issuer

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

EXPIRED, NOT_YET_VALID = 10, 9
SELF_SIGNED = 18
UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21, 27})
OTHER_NAME = frozenset({62, 63, 64})
"""OpenSSL's verification results (x509_vfy.h)."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A certificate of a failed verification.

    Attributes:
        certificate: the one that failed.
        position: 0 for the peer's own, 1 for its issuer's, and so on.
        chain: the path as far as it was built, the peer's own first.
        sent: how many certificates the peer sent.
    """

    certificate: "Certificate"
    position: int
    chain: Sequence["Certificate"]
    sent: Sequence["Certificate"]

    @property
    def anchored(self) -> bool:
        """Whether the certificate comes from this machine's trusted set: it was not sent."""
        return self.position > 0 and self.certificate not in self.sent

    @property
    def role(self) -> str:
        """The certificate's place in the chain, for people."""
        if self.position == 0:
            return "the server's own certificate"
        kind = "root" if self.certificate.subject == self.certificate.issuer else "intermediate"
        origin = "trusted on this machine" if self.anchored else "sent by the server"
        return f"the {kind} CA certificate at position {self.position + 1} of the chain, {origin}"


def rejected_certificate(
    error: ssl.SSLCertVerificationError,
    hop: Hop,
    host: str,
    session: ssl.SSLObject | None,
    *,
    context: ssl.SSLContext,
    now: datetime | None = None,
) -> CertificateRejected:
    """Return the error for a verification that failed.

    Args:
        error: OpenSSL's.
        hop: ``TLS`` or ``PROXY_TLS``.
        host: the name that was asked for.
        session: the TLS object of the handshake that failed.
        context: whose trusted set counted.
        now: the time by this host's clock.
    """
    now = now or datetime.now(UTC)
    code, reason = error.verify_code, error.verify_message or "verification failed"
    cause, words = _CODES.get(code, (Cause.CERTIFICATE_REJECTED, reason))
    seen = _seen(session, code, now)
    if seen is None:
        party = Party.HOST if cause is Cause.CERTIFICATE_NOT_YET_VALID else None
        return CertificateRejected(
            f"{hop.value}: {host}: certificate rejected: {words}",
            hop=hop,
            cause=cause,
            party=party,
            hint=_HINTS.get(cause, _ASK).format(host=host),
            reason=reason,
        )
    facts = facts_of(seen.certificate)
    rejected = CertificateRejected(
        f"{hop.value}: {host}: certificate rejected: {_role(seen, hop)}: {words}",
        hop=hop,
        cause=cause,
        hint=_HINTS.get(cause, _ASK).format(host=host),
        reason=reason,
        certificate=facts,
    )
    if code in (EXPIRED, NOT_YET_VALID):
        _judge_dates(rejected, seen, now)
    elif code in UNKNOWN_ISSUER:
        judged = judge_issuer(seen.chain, seen.sent, host, hop, context)
        rejected.cause, rejected.party, rejected.hint = judged
    elif cause is Cause.CERTIFICATE_OTHER_NAME:
        names = ", ".join(facts.names[:5]) or f"no host at all (subject {facts.subject})"
        rejected.hint = (
            f"the certificate is for another name ({names}) than {host}: connect by a name that it"
            " holds, or the server's operator must issue one for this name. See too whether"
            f" nslookup {host} gives the same address on another network: if not, the name server"
            " here leads to a wrong one"
        )
    elif code in _CODE_HINTS:
        rejected.hint = _CODE_HINTS[code]
    elif cause is Cause.CERTIFICATE_WEAK:
        rejected.hint = f"{_strength(seen.certificate)}: {rejected.hint}"
    if hop is Hop.PROXY_TLS:
        rejected.hint = rejected.hint.replace("the server's operator", "the proxy's team")
    return rejected


def _role(seen: Rejected, hop: Hop) -> str:
    return seen.role.replace("the server", "the proxy") if hop is Hop.PROXY_TLS else seen.role


def _seen(session: ssl.SSLObject | None, code: int, now: datetime) -> Rejected | None:
    """Return the certificate that failed; None where none can be read."""
    if session is None:
        return None
    try:
        sent = [load_certificate(der) for der in shown_chain(session)]
        chain = [load_certificate(der) for der in proved_chain(session)] or sent
        if not chain:
            return None
        position = _position(chain, code, now)
        for each in (*chain, *sent):
            facts_of(each)
    except Exception:  # OpenSSL takes certificates that cannot be read here
        return None
    return Rejected(chain[position], position, chain, sent)


def _position(chain: Sequence["Certificate"], code: int, now: datetime) -> int:
    """Return the place in the chain of the certificate to which a verification code applies."""
    if code in UNKNOWN_ISSUER:
        return len(chain) - 1  # the last one whose issuer was looked for
    if code in OTHER_NAME or code in _LEAF_ONLY:
        return 0
    applies = _APPLIES.get(code)
    if applies is not None:
        # Validity and signatures are checked from the root down, everything else from the leaf up.
        places = range(len(chain) - 1, -1, -1) if code in _DOWNWARDS else range(len(chain))
        for place in places:
            if applies(chain, place, now):
                return place
    return 0


_LEAF_ONLY = frozenset({66})
_DOWNWARDS = frozenset({4, 6, 7, 9, 10})

MIN_RSA_BITS, MIN_EC_BITS = 2048, 224
"""Sizes below which OpenSSL's security level 2 refuses a key (112 bits of security)."""

_WEAK_DIGESTS = frozenset({"md5", "sha1", "md4", "md2"})


def _weak_key(certificate: "Certificate") -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec

    key = certificate.public_key()
    size = getattr(key, "key_size", None)
    if size is None:
        return False
    return bool(
        size < (MIN_EC_BITS if isinstance(key, ec.EllipticCurvePublicKey) else MIN_RSA_BITS)
    )


def _weak_digest(certificate: "Certificate") -> bool:
    used = certificate.signature_hash_algorithm
    return used is not None and used.name in _WEAK_DIGESTS


def _is_no_ca(certificate: "Certificate") -> bool:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return True
    return not found.value.ca


def _breaks_path_length(chain: Sequence["Certificate"], place: int) -> bool:
    from cryptography import x509

    try:
        found = chain[place].extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    limit = found.value.path_length
    return place > 0 and limit is not None and place - 1 > limit


def _has_name_constraints(certificate: "Certificate") -> bool:
    from cryptography import x509

    try:
        certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return False
    except ValueError:
        return True
    return True


def _badly_signed(chain: Sequence["Certificate"], place: int) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    issuer = chain[min(place + 1, len(chain) - 1)]
    try:
        chain[place].verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return True
    return False


_Applies = Callable[[Sequence["Certificate"], int, datetime], bool]

_APPLIES: dict[int, _Applies] = {
    EXPIRED: lambda chain, place, now: chain[place].not_valid_after_utc < now,
    NOT_YET_VALID: lambda chain, place, now: chain[place].not_valid_before_utc > now,
    4: lambda chain, place, now: _badly_signed(chain, place),
    6: lambda chain, place, now: _badly_signed(chain, place),
    7: lambda chain, place, now: _badly_signed(chain, place),
    25: lambda chain, place, now: _breaks_path_length(chain, place),
    32: lambda chain, place, now: place > 0,
    47: lambda chain, place, now: _has_name_constraints(chain[place]),
    48: lambda chain, place, now: _has_name_constraints(chain[place]),
    67: lambda chain, place, now: place > 0 and _weak_key(chain[place]),
    68: lambda chain, place, now: _weak_digest(chain[place]),
    79: lambda chain, place, now: place > 0 and _is_no_ca(chain[place]),
    24: lambda chain, place, now: place > 0 and _is_no_ca(chain[place]),
    80: lambda chain, place, now: _is_no_ca(chain[place]),
}
"""Whether a code applies to the certificate at a place of the chain; other codes: the leaf."""


# Hints


def _judge_dates(rejected: CertificateRejected, seen: Rejected, now: datetime) -> None:
    """Say when the certificate is valid, against this host's clock, and who must act."""
    certificate = seen.certificate
    clock = shown_time(now)
    if rejected.cause is Cause.CERTIFICATE_NOT_YET_VALID:
        begins = certificate.not_valid_before_utc
        rejected.hint = (
            f"it begins on {shown_time(begins)}, in {_span(begins - now)} by this machine's clock"
            f" ({clock}): most probably this clock is behind: set it (timedatectl, or date -s)"
        )
        rejected.party = Party.HOST
        return
    ended = certificate.not_valid_after_utc
    told = (
        f"it ended on {shown_time(ended)}, {_span(now - ended)} ago by this machine's clock"
        f" ({clock})"
    )
    if seen.anchored:
        rejected.party = Party.HOST
        rejected.hint = (
            f"{told}: the trusted CA list of this machine holds an expired CA"
            f" ({plain_name(certificate.subject.rfc4514_string())}): update it, or give the"
            " current CA (--ca FILE)"
        )
    elif seen.position > 0:
        rejected.hint = (
            f"{told}: if that clock is right, the server's operator must send the current"
            " intermediate certificate; the server's own certificate need not be replaced"
        )
    else:
        rejected.hint = f"{told}: if that clock is right, the server's operator must renew it"


def _span(delta: timedelta) -> str:
    hours = delta.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def _strength(certificate: "Certificate") -> str:
    public_key = certificate.public_key()
    size = getattr(public_key, "key_size", None)
    kind = "elliptic-curve key" if hasattr(public_key, "curve") else "RSA or DSA key"
    used = certificate.signature_hash_algorithm
    key = f"its {kind} has {size} bits" if size else "its key is of another kind"
    return f"{key} and its signature uses {used.name.upper() if used else 'no digest'}"


_ASK = "the server's operator must replace it"

_HINTS = {
    Cause.CERTIFICATE_EXPIRED: "the certificate is out of date, or this machine's clock is wrong",
    Cause.CERTIFICATE_NOT_YET_VALID: "this machine's clock is behind, or the certificate is for"
    " later: set the clock (timedatectl, or date -s)",
    Cause.CERTIFICATE_OTHER_NAME: "the certificate is for another name than {host}",
    Cause.CERTIFICATE_WEAK: "the server's operator must issue it anew, with RSA of at least 2048"
    " bits or ECDSA, signed with SHA-256 or better",
    Cause.CERTIFICATE_PURPOSE: "it was issued for another use: the server's operator must issue one"
    " for a TLS server (serverAuth), from a certificate that is a CA",
    Cause.CERTIFICATE_CONSTRAINT: "a CA above the server's certificate may not sign for {host}: the"
    " server's operator must have it issued by a CA that may",
    Cause.CERTIFICATE_REVOKED: "its CA has revoked it: the server's operator must replace it",
    Cause.CERTIFICATE_BROKEN: "it is damaged or forged: the server's operator must install it anew;"
    " if other networks see another certificate, a device on the way alters it",
    Cause.REVOCATION_UNKNOWN: "this program demands revocation lists (CRL) and has none that fits:"
    " load a current one, or do not demand them",
    Cause.ISSUER_UNKNOWN: "its issuer is not trusted here: if a proxy re-signs TLS on this network"
    " or the service is a private one, give its CA (--ca FILE)",
    Cause.CERTIFICATE_SELF_SIGNED: "it is its own issuer: the default of an appliance or a new"
    " server; its operator must install a certificate from a CA, or give it with --ca FILE",
}

_CODE_HINTS = {
    25: "a CA above the server's certificate permits fewer CAs below it than there are: the"
    " server's operator must have the certificate issued by a CA that may",
    34: "it holds a critical extension that OpenSSL does not know: the server's operator must have"
    " it issued without that extension",
}
"""By OpenSSL's result, where a cause has more than one remedy."""

_CODES: dict[int, tuple[Cause, str]] = {
    2: (Cause.ISSUER_UNKNOWN, "the issuer of a CA certificate in the chain was not found"),
    3: (Cause.REVOCATION_UNKNOWN, "no revocation list (CRL) was found"),
    4: (Cause.CERTIFICATE_BROKEN, "its signature cannot be read"),
    6: (Cause.CERTIFICATE_BROKEN, "its issuer's public key cannot be read"),
    7: (Cause.CERTIFICATE_BROKEN, "its signature is wrong"),
    8: (Cause.REVOCATION_UNKNOWN, "the signature of a revocation list is wrong"),
    9: (Cause.CERTIFICATE_NOT_YET_VALID, "certificate is not yet valid"),
    10: (Cause.CERTIFICATE_EXPIRED, "certificate has expired"),
    11: (Cause.REVOCATION_UNKNOWN, "a revocation list is not yet valid"),
    12: (Cause.REVOCATION_UNKNOWN, "a revocation list has expired"),
    13: (Cause.CERTIFICATE_BROKEN, "the beginning of its validity cannot be read"),
    14: (Cause.CERTIFICATE_BROKEN, "the end of its validity cannot be read"),
    18: (Cause.CERTIFICATE_SELF_SIGNED, "self-signed certificate"),
    19: (Cause.ISSUER_UNKNOWN, "the root CA of its chain is not trusted here"),
    20: (Cause.ISSUER_UNKNOWN, "its issuer was neither sent nor is it trusted here"),
    21: (Cause.ISSUER_UNKNOWN, "its issuer was neither sent nor is it trusted here"),
    22: (Cause.CERTIFICATE_CONSTRAINT, "the chain is too long"),
    23: (Cause.CERTIFICATE_REVOKED, "certificate has been revoked"),
    24: (Cause.CERTIFICATE_PURPOSE, "a certificate that is no CA has signed another one"),
    25: (Cause.CERTIFICATE_CONSTRAINT, "more CAs follow it than it permits (path length)"),
    26: (Cause.CERTIFICATE_PURPOSE, "it is not for the use as a TLS server"),
    27: (Cause.ISSUER_UNKNOWN, "its root CA is not trusted for TLS servers"),
    28: (Cause.CERTIFICATE_PURPOSE, "its root CA is marked here as not to be used for servers"),
    32: (Cause.CERTIFICATE_PURPOSE, "a CA's certificate does not permit signing certificates"),
    33: (Cause.REVOCATION_UNKNOWN, "the issuer of the revocation list was not found"),
    34: (Cause.CERTIFICATE_CONSTRAINT, "it holds a critical extension that is not understood"),
    41: (Cause.CERTIFICATE_BROKEN, "an extension in it is malformed or inconsistent"),
    42: (Cause.CERTIFICATE_BROKEN, "its policy extension is malformed or inconsistent"),
    47: (Cause.CERTIFICATE_CONSTRAINT, "a CA's name constraints do not permit this name"),
    48: (Cause.CERTIFICATE_CONSTRAINT, "a CA's name constraints exclude this name"),
    49: (Cause.CERTIFICATE_CONSTRAINT, "a CA's name constraints cannot be applied"),
    51: (Cause.CERTIFICATE_CONSTRAINT, "a CA's name constraints are of an unknown kind"),
    52: (Cause.CERTIFICATE_CONSTRAINT, "a CA's name constraints cannot be read"),
    53: (Cause.CERTIFICATE_CONSTRAINT, "a name in it cannot be compared with its CA's constraints"),
    62: (Cause.CERTIFICATE_OTHER_NAME, "hostname mismatch: the certificate is for another name"),
    63: (Cause.CERTIFICATE_OTHER_NAME, "the certificate is for another e-mail address"),
    64: (Cause.CERTIFICATE_OTHER_NAME, "address mismatch: the certificate is for another address"),
    66: (Cause.CERTIFICATE_WEAK, "its key is too weak"),
    67: (Cause.CERTIFICATE_WEAK, "a CA's key is too weak"),
    68: (Cause.CERTIFICATE_WEAK, "its signature uses a digest that is too weak"),
    76: (Cause.CERTIFICATE_WEAK, "its signature algorithm is not supported"),
    77: (Cause.CERTIFICATE_BROKEN, "its signature algorithm does not fit its issuer's key"),
    78: (Cause.CERTIFICATE_BROKEN, "it names two different signature algorithms"),
    79: (Cause.CERTIFICATE_PURPOSE, "a certificate that is no CA has signed another one"),
    80: (Cause.CERTIFICATE_PURPOSE, "a path length stands in a certificate that is no CA"),
    92: (Cause.CERTIFICATE_PURPOSE, "a CA's certificate does not say what its key is for"),
    94: (Cause.CERTIFICATE_WEAK, "its elliptic curve is not a named one"),
}
"""By OpenSSL's verification result (x509_vfy.h); others are shown in OpenSSL's own words."""
