"""Errors of the operating system and of TLS, turned into ours in one place.

Foreign texts are chained only where they cannot hold a secret. What a verification error means
stands in ``verification``, an alert's meaning in ``alerts``.
"""

import errno
import os
import socket
import ssl
from collections.abc import Sequence

from ..errors import (
    CertificateRejected,
    ConnectFailed,
    ConnectionLost,
    HopTimedOut,
    MqttwsError,
    NameNotResolved,
    PortTaken,
    ProxyRefused,
    ServiceFailed,
    TlsFailed,
    Unreachable,
    UpgradeRefused,
)
from ..hops import Cause, Hop, Party
from .alerts import judge_alert, plain_reason, refusal_of_certificate
from .names import is_public_service

NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""Errors with which the operating system itself says that it knows no way to an address."""

REJECTED = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM})
"""Errors that an ICMP message from the way, or a firewall on this host, causes."""

CUT_OFF_HINT = (
    "a middlebox that does not let WebSocket through, or the wrong service; a server that wants a"
    " client certificate (--cert) and was shown none ends like this too, with TLS 1.3"
)

TO_PROXY = frozenset({Hop.PROXY_NAME, Hop.PROXY_TCP, Hop.PROXY_TLS})


def translate(error: OSError, hop: Hop, where: str = "") -> MqttwsError:
    """Return our error for one of the operating system's or of TLS.

    Args:
        error: the foreign error.
        hop: the leg of the way on which it was raised.
        where: the address or name that the leg leads to.
    """
    found = f"{hop.value}: {where}: " if where else f"{hop.value}: "
    if isinstance(error, socket.gaierror):
        return name_failure(where, [error], hop)
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message or "verification failed"
        return CertificateRejected(f"{found}certificate rejected: {reason}", hop=hop, reason=reason)
    if isinstance(error, ssl.SSLError):
        # Python has no name for newer alerts, such as no_application_protocol.
        unnamed = "the other end broke off the handshake, for a reason without a name here"
        reason = (error.reason or unnamed).replace("_", " ").lower()
        cause, hint = judge_alert(reason, hop)
        return TlsFailed(found + plain_reason(reason), hop=hop, cause=cause, hint=hint)
    if hop in (Hop.NAME, Hop.TCP, Hop.PROXY_NAME, Hop.PROXY_TCP):
        return unreachable(error, hop, where, routed=error.errno not in NO_ROUTE)
    return _cut_off(reason_of(error), hop, found)


def _cut_off(reason: str, hop: Hop, found: str) -> MqttwsError:
    """Return the error for a connection that ended within a hop."""
    said = f"{found}the connection was cut off ({reason})"
    if hop is Hop.PROXY:
        hint = "the proxy does not serve this machine, or it is not a proxy of this kind"
        return ProxyRefused(said, hop=hop, cause=Cause.CUT_OFF, party=Party.PROXY, hint=hint)
    if hop in (Hop.TLS, Hop.PROXY_TLS):
        hint = (
            "TCP connects and TLS is cut off at its first message: a firewall that inspects TLS,"
            " or a server that does not speak TLS on this port"
        )
        said = f"{found}the handshake was cut off ({reason})"
        return TlsFailed(said, hop=hop, cause=Cause.CUT_OFF, hint=hint)
    if hop is Hop.UPGRADE:
        return UpgradeRefused(said, hop=hop, cause=Cause.CUT_OFF, reason=reason, hint=CUT_OFF_HINT)
    if hop is Hop.CONNECT:
        return ConnectFailed(
            said,
            hop=hop,
            cause=Cause.CUT_OFF,
            hint="the server's log says why; one that wants a client certificate (--cert) and was"
            " shown none ends like this with TLS 1.3",
        )
    return ConnectionLost(found + reason, hint="connect again")


# Names

_NO_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)}


def name_failure(host: str, failures: Sequence[OSError], hop: Hop) -> NameNotResolved:
    """Return the error for a name without an address.

    ``EAI_AGAIN`` and ``EAI_FAIL`` are the name server's failure and have nothing to do with the
    name's spelling; ``EAI_NONAME`` and ``EAI_NODATA`` are its answer.

    Args:
        host: the name.
        failures: of the look-ups for both families; none where they found nothing.
        hop: ``NAME`` or ``PROXY_NAME``.
    """
    telling = next((error for error in failures if error.errno not in _NO_NAME), None)
    error = telling or next(iter(failures), None)
    said = error.strerror if error is not None and error.strerror else "the name has no address"
    sentence = f"{hop.value}: {host}: {said}"
    if telling is not None:
        return NameNotResolved(
            sentence,
            hop=hop,
            cause=Cause.NAME_SERVER_FAILED,
            hint="the name server of this network failed or did not answer (the name's spelling"
            " has nothing to do with it): check which one this host uses (/etc/resolv.conf), and"
            " ask the network team",
        )
    if hop is Hop.PROXY_NAME:
        return NameNotResolved(
            sentence,
            hop=hop,
            hint="the proxy's name is not known here: check its spelling; such names are often"
            " known only to the company's own name server, or over its VPN",
        )
    if is_public_service(host):
        return NameNotResolved(
            sentence,
            hop=hop,
            party=Party.NETWORK,
            hint="this is a public name, and the name server of this network does not know it: the"
            " network resolves internal names only (then a proxy is needed), or it blocks the name:"
            " ask the network team",
        )
    return NameNotResolved(
        sentence,
        hop=hop,
        hint="check the host's spelling, and whether this network's name server knows names"
        " outside the network",
    )


def name_blocked(host: str, address: str, hop: Hop) -> NameNotResolved:
    """Return the error for a name whose answer is no address but a filter's sign."""
    return NameNotResolved(
        f"{hop.value}: {host}: the name server answers {address}, which is no host's address",
        hop=hop,
        cause=Cause.NAME_BLOCKED,
        hint="the name server of this network blocks this name (a DNS filter): ask the network team"
        f" to allow {host}",
    )


# TCP


def unreachable(
    error: OSError,
    hop: Hop,
    where: str,
    *,
    routed: bool,
    only_ipv6: bool = False,
    addresses: Sequence[str] = (),
) -> Unreachable:
    """Return the error for an address that did not accept a connection.

    Args:
        error: of the connection attempt.
        hop: ``TCP`` or ``PROXY_TCP``.
        where: host and port.
        routed: whether this host itself has a route to the address.
        only_ipv6: whether all addresses are IPv6 ones.
        addresses: those that were tried.
    """
    sentence = f"{hop.value}: {where}: {reason_of(error)}"
    if not routed and only_ipv6:
        return Unreachable(
            f"{sentence} ({', '.join(addresses[:5])})",
            hop=hop,
            cause=Cause.NO_IPV6,
            hint="the name has IPv6 addresses only and this machine has no IPv6: it needs IPv6,"
            " a proxy that has it, or a host with an IPv4 address",
        )
    if error.errno in NO_ROUTE and not routed:
        return Unreachable(
            sentence,
            hop=hop,
            cause=Cause.NO_ROUTE,
            hint="there is no route: check this machine's network (cable, address, gateway)",
        )
    if error.errno in REJECTED:
        return Unreachable(
            f"{hop.value}: {where}: rejected on the way, by an ICMP message ({reason_of(error)})",
            hop=hop,
            cause=Cause.REJECTED,
            hint="a firewall or router on the way rejects the connection (ICMP): ask the network"
            f" team to allow {where}",
        )
    if error.errno == errno.ECONNREFUSED:
        return _refused(sentence, hop, where)
    return Unreachable(
        sentence, hop=hop, hint="check host and port, and whether a firewall allows them"
    )


def _refused(sentence: str, hop: Hop, where: str) -> Unreachable:
    if is_public_service(where.rpartition(":")[0]):
        return Unreachable(
            sentence,
            hop=hop,
            party=Party.NETWORK,
            hint="this is a public service, which has many front ends and refuses no address: a"
            f" firewall on the way does; ask the network team to allow {where}",
        )
    return Unreachable(
        sentence,
        hop=hop,
        hint="nothing listens there, or a firewall rejects it: check host and port",
    )


def reason_of(error: OSError) -> str:
    """Return the operating system's words for an error, without addresses in them."""
    if error.errno is None or isinstance(error, ssl.SSLError):
        # asyncio tells an end within the handshake by an error without a word.
        return str(error) or "closed by the other end"
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


# A server that refuses a client's certificate


def is_cut_off(error: MqttwsError) -> bool:
    """Whether the server left without a word, as it may refuse a certificate with TLS 1.3."""
    if isinstance(error, HopTimedOut):
        return False
    return error.cause is Cause.CUT_OFF or (
        isinstance(error, TlsFailed) and error.cause is Cause.TLS_ALERT
    )


def explain_cut(error: MqttwsError, *, certified: bool) -> None:
    """Say so where a server has refused, or missed, a client's certificate.

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
    if judged := refusal_of_certificate(alert, certified=certified):
        error.cause, error.hint = judged
        error.party = Party.HOST
        if not alert:
            error.retryable = True  # it is only probable
