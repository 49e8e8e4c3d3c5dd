"""The meaning of a TLS failure other than a rejected certificate: alerts, OpenSSL's reasons."""

import re

from ..hops import Cause, Hop

_ALERT = re.compile(r"(?:(?:sslv3|tlsv1|tlsv13) )?(?:alert |(?=unrecognized name))(.+)")


def plain_reason(reason: str) -> str:
    """Return OpenSSL's reason as a sentence: an alert names its version wrongly, as a rule."""
    found = _ALERT.fullmatch(reason)
    if found is None:
        return reason
    return f"the other end broke off TLS with the alert {found[1].replace(' ', '_')}"


def judge_alert(reason: str, hop: Hop) -> tuple[Cause, str]:
    """Return the cause of a TLS failure, and what to do about it.

    Args:
        reason: OpenSSL's, in lower case with blanks.
        hop: ``PROXY_TLS`` or a hop behind the server's TLS.
    """
    reason = reason.replace("_", " ")
    if any(word in reason for word in ("wrong version", "http request", "record layer")):
        return Cause.NOT_TLS, _not_tls(hop)
    if "protocol version" in reason or "unsupported protocol" in reason:
        return (
            Cause.TLS_VERSION,
            "the server offers nothing newer than TLS 1.1: it must be updated",
        )
    if judged := refusal_of_certificate(reason, certified=False):
        return judged
    for words, cause, hint in _REASONS:
        if any(word in reason for word in words):
            return cause, hint
    if "alert" in reason:
        return (
            Cause.TLS_ALERT,
            f"the other end broke off TLS itself (alert: {reason.partition('alert ')[2]}): its log"
            " says why",
        )
    return (
        Cause.TLS_ALERT,
        "the server, or a device on the way that answers for it, broke off TLS itself: the server's"
        " log says why",
    )


def _not_tls(hop: Hop) -> str:
    if hop is Hop.PROXY_TLS:
        return "the proxy does not speak TLS on this port: write its URL with http://"
    return (
        "what answers does not speak TLS: check the port; or the network wants a login first (open"
        " a web page in a browser on this network)"
    )


ALERTS = {
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}
"""Alerts that Python may have no name for, by number (IANA's registry TLS Alerts)."""

_REASONS: tuple[tuple[tuple[str, ...], Cause, str], ...] = (
    (
        ("handshake failure", "insufficient security", "no ciphers available", "no shared cipher"),
        Cause.NO_COMMON_CIPHER,
        "client and server most probably have no cipher suite in common: the server offers only old"
        " ones and must be updated; some servers answer the same where they want a client"
        " certificate",
    ),
    (
        ("dh key too small", "ee key too small", "bad ecpoint", "bad dh value", "small subgroup"),
        Cause.WEAK_KEY_EXCHANGE,
        "this machine refused the server's key exchange: its Diffie-Hellman parameters are too"
        " weak (under 2048 bits): the server's operator must give it stronger ones, or ECDHE",
    ),
    (
        ("wrong signature type", "no suitable signature", "unsupported signature"),
        Cause.WEAK_KEY_EXCHANGE,
        "this machine refused the server's signature as too weak (such as SHA-1): the server must"
        " be updated",
    ),
    (
        ("unrecognized name",),
        Cause.CERTIFICATE_OTHER_NAME,
        "the server does not know the name that it was asked for (alert unrecognized_name): connect"
        " by a name that it serves, or have this one configured there",
    ),
    (
        ("no application protocol",),
        Cause.TLS_ALERT,
        "the server, or a device that answers for it, serves only another protocol on this port"
        " (ALPN), such as HTTP/2: its configuration must be mended",
    ),
    (
        ("internal error",),
        Cause.TLS_ALERT,
        "the server failed within TLS (alert internal_error): see its log",
    ),
)


def refusal_of_certificate(reason: str, *, certified: bool) -> tuple[Cause, str] | None:
    """Return cause and hint where a server refused, or missed, the client's certificate.

    Args:
        reason: OpenSSL's words for the alert; empty where the connection just ended.
        certified: whether the client had a certificate to show.
    """
    said = reason.partition("alert ")[2]
    if said == "certificate required":
        return (
            Cause.CLIENT_CERTIFICATE_MISSING,
            "the server wants a client certificate and was shown none (TLS alert: certificate"
            " required): give the device's certificate and key (--cert, --cert-key)",
        )
    if said in _CERTIFICATE_ALERTS:
        return (
            Cause.CLIENT_CERTIFICATE_REFUSED,
            f"the server refused this client's certificate (TLS alert: {said}):"
            f" {_REMEDIES.get(said, _SEND_THE_CHAIN)}",
        )
    if not reason and certified:
        return (
            Cause.CLIENT_CERTIFICATE_REFUSED,
            "the connection ended right after this client's certificate had been shown: the server"
            " has probably refused it. Send the whole chain, and check that it is in date and that"
            " the server trusts its issuer",
        )
    return None


_SEND_THE_CHAIN = (
    "send the whole chain, and check that it is in date and that the server trusts its issuer"
)
_REMEDIES = {
    "unsupported certificate": "it must be one for clients (extended key usage clientAuth), with a"
    " key and a signature of a kind that the server takes",
    "certificate expired": "renew it, or set this machine's clock right",
    "certificate revoked": "its CA has revoked it: use a new one",
}
"""By alert; for the others ``_SEND_THE_CHAIN``."""

_CERTIFICATE_ALERTS = frozenset(
    {
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
        "access denied",
    }
)
"""RFC 8446 section 6.2; with TLS 1.3 they come after the client thinks that all is well."""
