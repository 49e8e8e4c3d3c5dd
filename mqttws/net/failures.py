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
    PortTaken,
    ProtocolError,
    ProxyRefused,
    ServiceFailed,
    SubprotocolRefused,
    TlsFailed,
    Unreachable,
    UpgradeRefused,
)
from ..hops import Cause, Hop


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
        cause, hint = _tls_cause(reason, hop)
        return TlsFailed(found + reason, hop=hop, cause=cause, hint=hint)
    reason = reason_of(error)
    if hop in (Hop.NAME, Hop.TCP, Hop.PROXY_NAME, Hop.PROXY_TCP):
        cause, hint = _tcp_cause(error)
        return Unreachable(found + reason, hop=hop, cause=cause, hint=hint)
    if hop is Hop.PROXY:
        return ProxyRefused(
            found + f"the connection was cut off ({reason})",
            hop=hop,
            cause=Cause.CUT_OFF,
            hint="the proxy does not serve this machine, or it is not a proxy of this kind",
        )
    if hop in (Hop.TLS, Hop.PROXY_TLS):
        return TlsFailed(
            found + f"the handshake was cut off ({reason})",
            hop=hop,
            cause=Cause.CUT_OFF,
            hint="a firewall that inspects TLS, or a server that speaks no TLS 1.2 on this port",
        )
    if hop is Hop.UPGRADE:
        return UpgradeRefused(
            found + f"the connection was cut off ({reason})",
            hop=hop,
            cause=Cause.CUT_OFF,
            reason=reason,
            hint="a middlebox that does not let WebSocket through, or the wrong service",
        )
    if hop is Hop.CONNECT:
        return ConnectFailed(
            found + reason, hop=hop, cause=Cause.CUT_OFF, hint="see the server's log"
        )
    return ConnectionLost(found + reason, hint="connect again")


def reason_of(error: OSError) -> str:
    """Return the operating system's words for an error, without addresses in them."""
    if error.errno is None or isinstance(error, ssl.SSLError):
        return str(error) or type(error).__name__
    return os.strerror(error.errno)


def listening_failed(host: str, port: int, error: OSError) -> ServiceFailed:
    """Return the error for a port on which a service cannot listen."""
    sentence = f"cannot listen on {host} port {port}: {reason_of(error)}"
    hint = "choose another port, or 0 for a free one"
    if error.errno == errno.EADDRINUSE:
        return PortTaken(sentence, hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        hint += "; below 1024 needs rights"
        return ServiceFailed(sentence, cause=Cause.PORT_FORBIDDEN, hint=hint)
    return ServiceFailed(sentence, hint="name an address of this machine, such as 127.0.0.1")


def _certificate_rejected(
    error: ssl.SSLCertVerificationError, hop: Hop, found: str
) -> CertificateRejected:
    reason = error.verify_message or "verification failed"
    cause, hint = _CERTIFICATE_CAUSES.get(error.verify_code, (Cause.ISSUER_UNKNOWN, _UNTRUSTED))
    return CertificateRejected(
        f"{found}certificate rejected: {reason}", hop=hop, cause=cause, hint=hint, reason=reason
    )


_UNTRUSTED = (
    "its issuer is not trusted here: if a proxy re-signs TLS on this network or the service"
    " is a local one, add its CA (option --ca, or TlsConfig(ca=...))"
)
_WRONG_NAME = (
    Cause.CERTIFICATE_OTHER_NAME,
    "the certificate is for another name: connect by the name it was issued for",
)

_CERTIFICATE_CAUSES = {
    9: (
        Cause.CERTIFICATE_NOT_YET_VALID,
        "this machine's clock is behind, or the certificate is for later",
    ),
    10: (
        Cause.CERTIFICATE_EXPIRED,
        "the certificate is out of date, or this machine's clock is wrong",
    ),
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}
"""By OpenSSL's verification result (x509_vfy.h)."""


def _tls_cause(reason: str, hop: Hop) -> tuple[Cause, str]:
    if "wrong version" in reason or "http request" in reason or "record layer" in reason:
        if hop is Hop.PROXY_TLS:
            hint = "the proxy does not speak TLS on this port: write its URL with http://"
            return Cause.NOT_TLS, hint
        hint = "what answered does not speak TLS: check the port, or a portal that wants a login"
        return Cause.NOT_TLS, hint
    if "protocol version" in reason or "unsupported protocol" in reason:
        hint = "the server offers nothing newer than TLS 1.1: it must be updated"
        return Cause.TLS_VERSION, hint
    if "alert" in reason:
        return _alert_cause(reason) or (
            Cause.TLS_ALERT,
            "the server ended the handshake: it may want a client certificate, or another version",
        )
    return Cause.TLS_ALERT, "the server or a device on the way broke off TLS"


def _alert_cause(reason: str) -> tuple[Cause, str] | None:
    """Return cause and hint of a TLS alert about the client's certificate; None of another one."""
    said = reason.partition("alert ")[2]
    if said == "certificate required":
        return (
            Cause.CLIENT_CERTIFICATE_MISSING,
            "the server wants a client certificate and was shown none: give"
            " TlsConfig(certificate=..., key=...), or an X509Certificate",
        )
    if said in _CERTIFICATE_ALERTS:
        return (
            Cause.CLIENT_CERTIFICATE_REFUSED,
            f"the server refused this client's certificate (TLS alert: {said}): send the whole"
            " chain, and check that it is in date and that the server trusts its issuer",
        )
    return None


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
    chained: BaseException | None = error
    while chained is not None and not isinstance(chained, ssl.SSLError):
        chained = chained.__cause__
    alert = (chained.reason or "").replace("_", " ").lower() if chained is not None else ""
    if told := _alert_cause(alert):
        error.cause, error.hint = told
    elif certified:
        error.cause, error.hint = Cause.CLIENT_CERTIFICATE_REFUSED, _PROBABLY_THE_CERTIFICATE
        error.retryable = True  # it is only probable


NO_ROUTE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
)
"""What the operating system says where it knows no way to an address."""


def _tcp_cause(error: OSError) -> tuple[Cause, str]:
    if error.errno == errno.ECONNREFUSED:
        hint = "nothing listens there, or a firewall rejects it: check host and port"
        return Cause.REFUSED, hint
    if error.errno in NO_ROUTE:
        return Cause.NO_ROUTE, "there is no route: check this machine's network"
    return Cause.REFUSED, "check host and port, and whether a firewall allows them"
