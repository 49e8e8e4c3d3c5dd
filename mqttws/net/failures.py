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
    Hop,
    MqttwsError,
    NameNotResolved,
    ProxyRefused,
    TlsFailed,
    Unreachable,
    UpgradeRefused,
)


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
        return TlsFailed(found + reason, hop=hop, hint=_tls_hint(reason))
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


def _tls_hint(reason: str) -> str:
    if "wrong version" in reason or "http request" in reason or "record layer" in reason:
        return "what answered does not speak TLS: check the port, or a portal that wants a login"
    if "protocol version" in reason or "unsupported protocol" in reason:
        return "the server offers nothing newer than TLS 1.1: it must be updated"
    if "alert" in reason:
        return "the server ended the handshake: it may refuse this client's certificate or version"
    return "the server or a device on the way broke off TLS"


def _tcp_hint(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there, or a firewall rejects it: check host and port"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "there is no route: check this machine's network"
    return "check host and port, and whether a firewall allows them"
