"""Decide who is probably responsible for a failure, from all that is known of it.

Judged from the error's fields, the facts of the steps and the other ways that were tried; never
from the words of a sentence. Knows no network.
"""

from dataclasses import dataclass

from ..errors import MqttwsError
from ..hops import Cause, Hop, Party, usual_party
from ..net.names import is_public_service
from .clock import MAX_SKEW, is_proxys_clock
from .evidence import Evidence
from .report import Way
from .two_parties import other_party


@dataclass(frozen=True, slots=True)
class Verdict:
    """The party that is probably responsible.

    Attributes:
        cause: the error's, or a better one.
        party: most probably.
        also: the other party that it may be; None where the evidence points to one.
        because: what the verdict rests on beyond the error's own hint; empty for nothing.
        remedy: what is to be done, where it is another thing than usual for the cause.
    """

    cause: Cause
    party: Party
    also: Party | None = None
    because: str = ""
    remedy: str = ""


TOO_MANY_REQUESTS = 429

_BEFORE_MQTT = frozenset({Hop.TCP, Hop.TLS, Hop.UPGRADE})

_BLOCKED = frozenset(
    {Cause.SILENT, Cause.REFUSED, Cause.REJECTED, Cause.CUT_OFF, Cause.BLACK_HOLE, Cause.NO_ROUTE}
)
"""Causes that another way around a firewall removes."""

_OF_THE_CLOCK = frozenset(
    {
        Cause.CERTIFICATE_EXPIRED,
        Cause.CERTIFICATE_NOT_YET_VALID,
        Cause.WRONG_KEY,
        Cause.NOT_AUTHORIZED,
        Cause.LOGIN_REFUSED,
        Cause.CLIENT_CERTIFICATE_REFUSED,
    }
)
"""Causes that a wrong clock explains: dates of certificates and tokens."""

_OF_THE_CREDENTIAL = frozenset(
    {
        Cause.WRONG_KEY,
        Cause.NOT_AUTHORIZED,
        Cause.LOGIN_REFUSED,
        Cause.CLIENT_CERTIFICATE_MISSING,
    }
)


def judge(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict:
    """Return who is probably responsible for a failure.

    Args:
        error: the first failure.
        hop: where it was.
        seen: everything else that is known.
    """
    party = error.party or usual_party(error.cause, hop) or Party.SERVER
    for rule in _RULES:
        verdict = rule(error, hop, seen)
        if verdict is not None:
            return verdict
    return Verdict(error.cause, party, other_party(error, hop, party, seen))


def _by_clock(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    off = seen.skew is not None and abs(seen.skew) > MAX_SKEW
    if not off or error.cause not in _OF_THE_CLOCK or is_proxys_clock(seen.steps):
        return None
    return Verdict(
        error.cause,
        Party.HOST,
        because="this host's clock is wrong, and tokens and certificates are judged by the time",
        remedy="set this host's clock (timedatectl set-ntp true, or date -s)",
    )


def _by_throttling(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    if error.cause is not Cause.OUT_OF_TIME or not seen.steps:
        return None
    if seen.steps[-1].status != TOO_MANY_REQUESTS:
        return None
    because = "DPS is throttled (429): too many devices ask it at once"
    return Verdict(Cause.THROTTLED, Party.SERVER, because=because)


def _by_other_ways(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    if seen.works(Way.TLS_1_2):
        return Verdict(
            Cause.TLS_1_3_INTOLERANT,
            Party.PROXY if seen.proxy else Party.NETWORK,
            because="the same server answers TLS 1.2 and not TLS 1.3 at once: a firewall or"
            " middlebox on the way cannot stand a TLS 1.3 hello (it must be updated)",
        )
    if seen.works(Way.IGNORED_PROXY):
        return Verdict(
            error.cause,
            Party.HOST,
            because="the server answers through the proxy that a variable of this machine names,"
            " and this machine's settings leave that proxy out for this server",
            remedy="set https_proxy or MQTTWS_PROXY to that proxy's URL, and take this server out"
            " of no_proxy",
        )
    if seen.works(Way.WITHOUT_PROXY) and hop in (Hop.PROXY, Hop.TLS, Hop.UPGRADE):
        if error.cause in (Cause.PROXY_LOGIN_MISSING, Cause.PROXY_LOGIN_REFUSED):
            return None
        return Verdict(
            Cause.INTERCEPTED if error.cause is Cause.ISSUER_UNKNOWN else error.cause,
            Party.PROXY,
            because="the server is up: without the proxy it answers, so the proxy is in the way",
        )
    blocked = hop in _BEFORE_MQTT and error.cause in _BLOCKED
    if blocked and seen.works(Way.OTHER_TRANSPORT):
        return Verdict(
            error.cause,
            Party.NETWORK,
            because="this way is blocked, and the server is not down: it answers on another",
        )
    return None


def _by_names(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    codes = {answer.code for answer in seen.name_servers}
    if hop not in (Hop.NAME, Hop.PROXY_NAME) or not codes or error.cause is Cause.NAME_BLOCKED:
        return None
    told = "; ".join(map(str, seen.name_servers))
    if codes <= {"silent", "closed"}:
        return Verdict(
            Cause.NAME_SERVER_FAILED,
            Party.NETWORK,
            Party.HOST,
            f"name servers of this host: {told}: either their addresses in this host's settings"
            " (/etc/resolv.conf) are wrong, or the network does not let this host reach them",
        )
    if codes & {"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"} and "NXDOMAIN" not in codes:
        return Verdict(
            Cause.NAME_SERVER_FAILED,
            Party.NETWORK,
            because=f"name servers of this host: {told}: the name server fails or refuses; the name"
            " may be right",
        )
    if "NOERROR" in codes and not any(answer.addresses for answer in seen.name_servers):
        return Verdict(
            Cause.NAME_UNKNOWN,
            Party.HOST,
            Party.SERVER,
            f"name servers of this host: {told}: the name exists and has no address: check that it"
            " is the whole host name; if it is, the server's operator must give it an address",
        )
    if is_public_service(seen.host) and hop is Hop.NAME:
        return Verdict(
            error.cause,
            Party.NETWORK,
            because=f"name servers of this host: {told}, for a public name",
        )
    return Verdict(
        error.cause, Party.HOST, Party.NETWORK, because=f"name servers of this host: {told}"
    )


def _by_inspection(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    if seen.certified and error.cause in _OF_THE_CREDENTIAL and seen.private_ca:
        sure = seen.resigned
        return Verdict(
            Cause.INTERCEPTED if sure else error.cause,
            Party.NETWORK if sure else Party.HOST,
            None if sure else Party.NETWORK,
            f"the service got no valid certificate from this device, and the server's own comes"
            f" from {seen.issuer}, which is not a public CA: if that is the CA of a proxy, TLS is"
            f" re-signed on the way, and a device's certificate cannot pass: ask the network team"
            f" to exempt {seen.host} from TLS inspection, or use a key instead",
        )
    if hop is Hop.UPGRADE and seen.resigned:
        return Verdict(
            Cause.BLOCKED_BY_POLICY,
            Party.NETWORK,
            because=f"TLS is re-signed on the way (its certificate comes from {seen.issuer}): the"
            " device that does so gave this answer, and not the server",
        )
    return None


def _by_genuine_tls(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    answered = hop is Hop.UPGRADE and bool(getattr(error, "status", 0))
    if not (answered and error.party is Party.NETWORK and seen.genuine):
        return None
    return Verdict(
        error.cause,
        Party.SERVER,
        because=f"the certificate is genuine (a public CA issued it for {seen.host}), so no device"
        " on the way can have given this answer: the server, or a gateway of its operator, did",
    )


def _by_public_service(error: MqttwsError, hop: Hop | None, seen: Evidence) -> Verdict | None:
    usual = error.party or usual_party(error.cause, hop)
    if not is_public_service(seen.host) or usual is not Party.SERVER:
        return None
    if hop is Hop.PROXY:
        return Verdict(
            error.cause,
            Party.PROXY,
            because=f"{seen.host} is a public service and up: the proxy, or a firewall behind it,"
            " does not let the connection through",
        )
    if hop in _BEFORE_MQTT:
        return Verdict(
            error.cause,
            Party.NETWORK,
            because=f"{seen.host} is a public service, which does not fail so: a device on the way"
            " does",
        )
    return None


_RULES = (
    _by_clock,
    _by_throttling,
    _by_other_ways,
    _by_names,
    _by_inspection,
    _by_genuine_tls,
    _by_public_service,
)
"""The first one that applies decides."""
