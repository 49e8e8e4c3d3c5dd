"""Advice for the person who reads it: what to try, as commands, and what to tell which team.

Knows the verdict and no network. No line holds a Python identifier: the reader has a shell.
"""

from collections.abc import Sequence

from ..errors import MqttwsError
from ..hops import Cause, Hop, Party
from ..net.hops import Step
from .judge import Evidence, Verdict

TEAMS = {
    Party.CALLER: "the author of the program",
    Party.HOST: "whoever looks after this device",
    Party.PROXY: "the proxy's team",
    Party.NETWORK: "the network team",
    Party.SERVER: "the server's operator",
}

WHAT_WOULD_TELL = {
    (Party.NETWORK, Party.SERVER): "the same command from another network (a phone's hotspot) tells"
    " which: where it passes there, the network is at fault",
    (Party.SERVER, Party.NETWORK): "the same command from another network (a phone's hotspot) tells"
    " which: where it passes there, the network is at fault",
    (Party.SERVER, Party.HOST): "the same command on another machine tells which: where it passes"
    " there, this machine is at fault (its clock, its list of CAs)",
    (Party.NETWORK, Party.HOST): "the same command on another machine of this network tells which:"
    " where it passes there, this machine's settings are at fault",
    (Party.HOST, Party.NETWORK): "the same command on another machine and from another network"
    " tells which",
    (Party.HOST, Party.SERVER): "the server's operator knows the whole name",
    (Party.SERVER, Party.PROXY): "the same command without the proxy, or from behind another one,"
    " tells which",
    (Party.PROXY, Party.SERVER): "the same command without the proxy, or from behind another one,"
    " tells which",
}
"""The observation that tells two possible parties apart."""


def hop_of(error: MqttwsError | None, steps: Sequence[Step]) -> Hop | None:
    """Return the hop that failed."""
    if error is None:
        return None
    if error.hop is not None:
        return error.hop
    failed = [step.hop for step in steps if step.error is not None]
    walked = [step.hop for step in steps]
    return next(reversed(failed or walked), None)


def advise(error: MqttwsError, verdict: Verdict, seen: Evidence) -> tuple[str, ...]:
    """Return what to try, the most promising first."""
    ways = [f"use what works: {other.name}" for other in seen.alternatives if other.works]
    hint = [error.hint] if error.hint else []
    because = [verdict.because] if verdict.because else []
    if verdict.cause is Cause.TLS_1_3_INTOLERANT:
        # The hint took a server without TLS 1.2 for possible, which is refuted.
        advice = [*because, "until then: --tls-max 1.2", *ways]
    elif error.cause in (Cause.PROXY_LOGIN_MISSING, Cause.PROXY_LOGIN_REFUSED):
        # A proxy that only wants a login is passed with one, whatever else is open.
        advice = [*hint, *because, *ways]
    elif verdict.cause is not error.cause or _says_otherwise(error, verdict):
        advice = [*because, *ways]
    elif error.cause in _OF_THE_CERTIFICATE:
        advice = [*because, *hint]  # another way looks open until the certificate is asked for
    else:
        advice = [*because, *ways, *hint]
    if verdict.also is not None:
        pair = (verdict.party, verdict.also)
        advice.append(WHAT_WOULD_TELL.get(pair, "the other party's log tells which"))
    return tuple(dict.fromkeys(advice))


_OF_THE_CERTIFICATE = frozenset(
    {Cause.CLIENT_CERTIFICATE_MISSING, Cause.CLIENT_CERTIFICATE_REFUSED}
)


def _says_otherwise(error: MqttwsError, verdict: Verdict) -> bool:
    """Whether the verdict refutes the error's own hint, which was given without the evidence."""
    return bool(verdict.because) and error.party is not None and verdict.party is not error.party


def message_to_team(
    error: MqttwsError, hop: Hop | None, verdict: Verdict, target: str, seen: Evidence
) -> str:
    """Return a sentence to send to the team that can help; empty where it is the reader's own."""
    where = target.partition("://")[2].partition("/")[0]
    if verdict.party is Party.NETWORK:
        return _to_network(verdict, where, hop, seen)
    if verdict.party is Party.PROXY:
        return (
            f"please let this device through the proxy to {where} (CONNECT, a tunnel that stays"
            f" open for hours, no TLS inspection); at present: {error}"
        )
    if verdict.party is Party.SERVER:
        return f"a device cannot connect to {where}: {error}"
    return ""


def _to_network(verdict: Verdict, where: str, hop: Hop | None, seen: Evidence) -> str:
    if verdict.cause is Cause.TLS_1_3_INTOLERANT:
        return (
            f"a firewall between this device and {where} drops or resets TLS 1.3 (ClientHello with"
            " supported_versions); TLS 1.2 passes: please update it, or exempt this host"
        )
    if hop in (Hop.NAME, Hop.PROXY_NAME):
        servers = "; ".join(map(str, seen.name_servers))
        return f"the name {seen.host} cannot be resolved here" + (f" ({servers})" * bool(servers))
    if verdict.cause is Cause.INTERCEPTED:
        return (
            f"please exempt {seen.host} from TLS inspection: its certificate is replaced by one"
            f" from {seen.issuer or 'another issuer'}"
        )
    if verdict.cause is Cause.BLOCKED_BY_POLICY:
        return (
            f"please exempt {seen.host} from filtering and TLS inspection: a WebSocket to it is"
            " refused by a device on the way"
        )
    if verdict.cause is Cause.UPGRADE_SWALLOWED:
        return (
            f"a proxy or middlebox before {where} does not pass the headers Upgrade and Connection:"
            " please let WebSocket through"
        )
    if verdict.cause is Cause.PROXY_LOGIN_MISSING:
        return (
            f"a transparent proxy before {where} answers 407: please let this device pass without"
            " a login, or give it one"
        )
    if verdict.cause is Cause.CAPTIVE_PORTAL:
        return f"please let this device pass the login page without a browser, to {where}"
    if verdict.cause is Cause.BLACK_HOLE:
        return (
            f"larger packets between this device and {where} vanish: please let ICMP fragmentation"
            " needed / packet too big pass, or lower the MSS"
        )
    return (
        f"please allow this device to connect to {where} (TCP, TLS 1.2 and 1.3 without inspection,"
        " WebSocket), or tell which proxy it must use"
    )
