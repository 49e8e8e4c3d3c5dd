"""Requests: one sentence for each team that can help, and for the reader's own machine.

Knows the verdict and no network. Each sentence says what is to be done, at which host and port;
what was seen stands in ``evidence``, which is sent along with it.
"""

from dataclasses import dataclass

from ..errors import MqttwsError
from ..hops import Cause, CertificateFacts, Hop, Party
from .evidence import Evidence
from .judge import Verdict
from .report import Request
from .sentences import BY_STATUS, OLD_ANCHOR, SENTENCES, USUAL
from .two_parties import what_tells


@dataclass(frozen=True, slots=True)
class _Case:
    """The values that stand in the sentences."""

    host: str
    where: str
    path: str
    proxy: str
    issuer: str
    subject: str
    names: str
    ended: str
    address: str
    status: str
    answered: str
    carried: str
    login_url: str


def requests_of(
    error: MqttwsError, hop: Hop | None, verdict: Verdict, target: str, seen: Evidence
) -> tuple[Request, ...]:
    """Return what to ask of which party; with two, under which condition.

    Args:
        error: the failure.
        hop: where it was.
        verdict: who is probably responsible.
        target: the URL of the server.
        seen: the evidence.
    """
    case = _case(error, target, seen)
    if verdict.remedy:
        return (Request(verdict.party, "", verdict.remedy),)
    if verdict.cause is Cause.CERTIFICATE_EXPIRED and error.party is Party.HOST:
        return (Request(Party.HOST, "", OLD_ANCHOR),)
    if verdict.also is None:
        return (Request(verdict.party, "", _sentence(verdict.party, verdict.cause, hop, case)),)
    tells = what_tells(verdict.cause, verdict.party, verdict.also)
    return tuple(
        Request(party, tells.speaks[party], _sentence(party, verdict.cause, hop, case))
        for party in (verdict.party, verdict.also)
    )


def _case(error: MqttwsError, target: str, seen: Evidence) -> _Case:
    where, _, path = target.partition("://")[2].partition("/")
    facts: CertificateFacts | None = getattr(error, "certificate", None)
    status = getattr(error, "status", 0)
    return _Case(
        host=seen.host,
        where=where,
        path=f"/{path}" if target.startswith("ws") else "",
        proxy=seen.proxy or "the proxy",
        issuer=seen.issuer or (facts.issuer if facts else "") or "another issuer",
        subject=facts.subject if facts else "the server's certificate",
        names=(", ".join(facts.names[:5]) if facts else "") or "its operator knows them",
        ended=f"{facts.not_after:%Y-%m-%d}" if facts else "a day in the past",
        address=seen.addresses or "no address",
        status=f"HTTP {status}" if isinstance(status, int) and status >= 100 else "a refusal",
        answered="; ".join(map(str, seen.name_servers)) or "no answer",
        carried="WebSocket" if target.startswith("ws") else "MQTT in it",
        login_url=(seen.proxy or "http://HOST:PORT").replace("://", "://USER:PASSWORD@", 1),
    )


def _sentence(party: Party, cause: Cause, hop: Hop | None, case: _Case) -> str:
    by_hop = SENTENCES.get((party, cause, hop))
    if (party, cause) == (Party.SERVER, Cause.UPGRADE_REFUSED):
        by_hop = BY_STATUS.get(case.status)
    text = by_hop or SENTENCES.get((party, cause, None)) or USUAL[party]
    return text.format(case=case)
