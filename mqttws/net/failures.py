"""Errors of the operating system, of TLS and of ``websockets``, turned into ours in one place.

Foreign texts are chained only where they cannot hold a secret.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import (
    CertificateRejected,
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    HopTimedOut,
    MqttwsError,
    NameNotResolved,
    ProtocolError,
    ProxyRefused,
    SubprotocolRefused,
    TlsFailed,
    Unreachable,
    UpgradeRefused,
)
from ..hops import Hop


@contextmanager
def translated(hop: Hop, where: str = "") -> Iterator[None]:
    """Turn what the operating system or TLS raises inside into the tree of ``mqttws.errors``."""
    try:
        yield
    except (MqttwsError, TimeoutError):
        # A time-out of the operating system (ETIMEDOUT) is a TimeoutError too.
        raise
    except OSError as error:  # ssl.SSLError and socket.gaierror among them
        raise translate(error, hop, where) from error


def translate(error: OSError, hop: Hop, where: str = "") -> MqttwsError:
    """Return our error for one of the operating system's or of TLS.

    Args:
        error: what was raised.
        hop: the leg of the way it was raised on.
        where: the address or name that the leg leads to.
    """
    found = f"{hop.value}: {where}: " if where else f"{hop.value}: "
    if isinstance(error, socket.gaierror):
        return NameNotResolved(
            found + (error.strerror or "the name has no address"),
            hop=hop,
            hint="check the host's spelling, and that this network's DNS knows names outside it",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_rejected(error, hop, found)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "failed").replace("_", " ").lower()
        return TlsFailed(found + reason, hop=hop, hint=_tls_hint(reason, hop))
    reason = reason_of(error)
    if hop in (Hop.NAME, Hop.TCP, Hop.PROXY_NAME, Hop.PROXY_TCP):
        return Unreachable(found + reason, hop=hop, hint=_tcp_hint(error))
    if hop is Hop.PROXY:
        return ProxyRefused(
            found + f"the connection was cut off ({reason})",
            hop=hop,
            hint="the proxy does not serve this machine, or it is not a proxy of this kind",
        )
    if hop in (Hop.TLS, Hop.PROXY_TLS):
        return TlsFailed(
            found + f"the handshake was cut off ({reason})",
            hop=hop,
            hint="a firewall that inspects TLS, or a server that speaks no TLS 1.2 on this port",
        )
    if hop is Hop.UPGRADE:
        return UpgradeRefused(
            found + f"the connection was cut off ({reason})",
            hop=hop,
            reason=reason,
            hint="a middlebox that does not let WebSocket through, or the wrong service",
        )
    if hop is Hop.CONNECT:
        return ConnectFailed(found + reason, hop=hop, hint="see the server's log")
    return ConnectionLost(found + reason, hint="connect again")


def reason_of(error: OSError) -> str:
    """Return the operating system's words for an error, without addresses in them."""
    if error.errno is None or isinstance(error, ssl.SSLError):
        return str(error) or type(error).__name__
    return os.strerror(error.errno)


def _certificate_rejected(
    error: ssl.SSLCertVerificationError, hop: Hop, found: str
) -> CertificateRejected:
    reason = error.verify_message or "verification failed"
    hint = _CERTIFICATE_HINTS.get(
        error.verify_code,
        "its issuer is not trusted here: if a proxy re-signs TLS on this network or the service"
        " is a local one, add its CA (option --ca, or TlsConfig(ca=...))",
    )
    return CertificateRejected(
        f"{found}certificate rejected: {reason}", hop=hop, hint=hint, reason=reason
    )


_WRONG_NAME = "the certificate is for another name: connect by the name it was issued for"

_CERTIFICATE_HINTS = {
    9: "this machine's clock is behind, or the certificate is for later",
    10: "the certificate is out of date, or this machine's clock is wrong",
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}
"""By OpenSSL's verification result (x509_vfy.h)."""


def _tls_hint(reason: str, hop: Hop) -> str:
    if "wrong version" in reason or "http request" in reason or "record layer" in reason:
        if hop is Hop.PROXY_TLS:
            return "the proxy does not speak TLS on this port: write its URL with http://"
        return "what answered does not speak TLS: check the port, or a portal that wants a login"
    if "protocol version" in reason or "unsupported protocol" in reason:
        return "the server offers nothing newer than TLS 1.1: it must be updated"
    if "alert" in reason:
        return _alert_hint(reason) or (
            "the server ended the handshake: it may want a client certificate, or another version"
        )
    return "the server or a device on the way broke off TLS"


def _alert_hint(reason: str) -> str:
    """Return what to do about a TLS alert that has to do with a client's certificate."""
    said = reason.partition("alert ")[2]
    if said == "certificate required":
        return (
            "the server wants a client certificate and was shown none: give"
            " TlsConfig(certificate=..., key=...), or an X509Certificate"
        )
    if said in _CERTIFICATE_ALERTS:
        return (
            f"the server refused this client's certificate (TLS alert: {said}): send the whole"
            " chain, and check that it is in date and that the server trusts its issuer"
        )
    return ""


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

_PROBABLY_THE_CERTIFICATE = (
    "the connection ended right after this client's certificate had been shown: the server has"
    " probably refused it. Send the whole chain, and check that it is in date and that the server"
    " trusts its issuer"
)


def is_cut_off(error: MqttwsError) -> bool:
    """Tell whether the server left without a word, as TLS 1.3 has it refuse a certificate."""
    if isinstance(
        error, CertificateRejected | ConnectRefused | HopTimedOut | SubprotocolRefused
    ) or isinstance(error.__cause__, ProtocolError):
        return False
    if isinstance(error, UpgradeRefused):
        return error.status == 0
    return isinstance(error, ConnectFailed) and error.hop in (Hop.TLS, Hop.CONNECT)


def explain_cut(error: MqttwsError, *, certified: bool) -> None:
    """Have an error's hint say so where a server has refused, or missed, a client's certificate.

    Args:
        error: what ended a hop behind TLS.
        certified: whether the client had a certificate to show.
    """
    if not is_cut_off(error):
        return
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    alert = (cause.reason or "").replace("_", " ").lower() if cause is not None else ""
    if hint := _alert_hint(alert):
        error.hint = hint
    elif certified:
        error.hint = _PROBABLY_THE_CERTIFICATE


NO_ROUTE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
)
"""What the operating system says where it knows no way to an address."""


def _tcp_hint(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there, or a firewall rejects it: check host and port"
    if error.errno in NO_ROUTE:
        return "there is no route: check this machine's network"
    return "check host and port, and whether a firewall allows them"
