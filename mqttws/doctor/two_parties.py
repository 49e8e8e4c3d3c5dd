"""Failures that the evidence leaves to two parties: the other one, and what tells them apart.

Knows no network.
"""

from dataclasses import dataclass

from ..errors import MqttwsError
from ..hops import Cause, Hop, Party
from ..net.issuers import names_inspector
from ..net.names import is_local, is_public_service
from ..net.refusals import IN_PLACE
from .evidence import Evidence


@dataclass(frozen=True, slots=True)
class Telling:
    """An observation that tells two parties apart.

    Attributes:
        do: what is to be done, as an order to the reader.
        speaks: by party, the outcome that speaks for it.
    """

    do: str
    speaks: dict[Party, str]

    def sentence(self, party: Party, also: Party) -> str:
        """Return it as one sentence."""
        return (
            f"{self.do}: if {self.speaks[party]}, it is {party.value};"
            f" if {self.speaks[also]}, it is {also.value}"
        )


HTTP_FORBIDDEN = 403
NO_HTTP_1_1 = 505

_OTHER: dict[tuple[Cause, Hop | None], tuple[Party, ...]] = {
    (Cause.NO_IPV6, Hop.TCP): (Party.NETWORK,),
    (Cause.REFUSED, Hop.TCP): (Party.NETWORK,),
    (Cause.REFUSED, Hop.PROXY_TCP): (Party.HOST,),
    (Cause.SILENT, Hop.TCP): (Party.SERVER,),
    (Cause.SILENT, Hop.PROXY_TCP): (Party.HOST,),
    (Cause.SILENT, Hop.PROXY_TLS): (Party.HOST,),
    (Cause.SILENT, Hop.PROXY): (Party.HOST,),
    (Cause.SILENT, Hop.TLS): (Party.SERVER,),
    (Cause.SILENT, Hop.UPGRADE): (Party.SERVER,),
    (Cause.SILENT, Hop.CONNECT): (Party.NETWORK,),
    (Cause.CUT_OFF, Hop.PROXY_TLS): (Party.HOST,),
    (Cause.CUT_OFF, Hop.PROXY): (Party.HOST,),
    (Cause.CUT_OFF, Hop.TLS): (Party.SERVER,),
    (Cause.CUT_OFF, Hop.UPGRADE): (Party.SERVER,),
    (Cause.CUT_OFF, Hop.CONNECT): (Party.HOST,),
    (Cause.PROXY_LOGIN_REFUSED, Hop.PROXY): (Party.PROXY,),
    (Cause.PROXY_CANNOT_REACH, Hop.PROXY): (Party.PROXY, Party.SERVER),
    (Cause.NOT_A_PROXY, Hop.PROXY): (Party.HOST,),
    (Cause.NOT_TLS, Hop.TLS): (Party.HOST, Party.SERVER),
    (Cause.TLS_ALERT, Hop.TLS): (Party.NETWORK,),
    (Cause.NO_COMMON_CIPHER, Hop.TLS): (Party.HOST,),
    (Cause.INTERCEPTED, Hop.TLS): (Party.SERVER,),
    (Cause.INTERMEDIATE_MISSING, Hop.TLS): (Party.HOST,),
    (Cause.CERTIFICATE_EXPIRED, Hop.TLS): (Party.HOST,),
    (Cause.CERTIFICATE_EXPIRED, Hop.PROXY_TLS): (Party.HOST,),
    (Cause.CERTIFICATE_NOT_YET_VALID, Hop.TLS): (Party.SERVER,),
    (Cause.CERTIFICATE_OTHER_NAME, Hop.TLS): (Party.HOST,),
    (Cause.CERTIFICATE_OTHER_NAME, Hop.PROXY_TLS): (Party.HOST,),
    (Cause.CERTIFICATE_SELF_SIGNED, Hop.TLS): (Party.NETWORK,),
    (Cause.CERTIFICATE_BROKEN, Hop.TLS): (Party.NETWORK,),
    (Cause.CLIENT_CERTIFICATE_REFUSED, Hop.TLS): (Party.SERVER,),
    (Cause.CLIENT_CERTIFICATE_REFUSED, Hop.UPGRADE): (Party.SERVER,),
    (Cause.CLIENT_CERTIFICATE_REFUSED, Hop.CONNECT): (Party.SERVER,),
    (Cause.UPGRADE_SWALLOWED, Hop.UPGRADE): (Party.SERVER,),
    (Cause.CAPTIVE_PORTAL, Hop.UPGRADE): (Party.SERVER,),
    (Cause.BLOCKED_BY_POLICY, Hop.UPGRADE): (Party.SERVER,),
    (Cause.PROXY_LOGIN_MISSING, Hop.UPGRADE): (Party.SERVER,),
    (Cause.UPGRADE_REFUSED, Hop.UPGRADE): (Party.HOST,),
    (Cause.NOT_HTTP, Hop.UPGRADE): (Party.HOST,),
    (Cause.SUBPROTOCOL_REFUSED, Hop.UPGRADE): (Party.HOST,),
    (Cause.PROTOCOL_BROKEN, Hop.CONNECT): (Party.HOST,),
    (Cause.SCOPE_UNKNOWN, Hop.CONNECT): (Party.SERVER,),
}
"""The other parties that a failure may come from, the most probable first."""


def other_party(error: MqttwsError, hop: Hop | None, party: Party, seen: Evidence) -> Party | None:
    """Return the other party that a failure may come from; None where the evidence tells."""
    others = [other for other in _OTHER.get((error.cause, hop), ()) if other is not party]
    if error.cause is Cause.UPGRADE_REFUSED:
        others = _of_a_refused_upgrade(error)
    if is_local(seen.host):
        others = [other for other in others if other is not Party.NETWORK]
    if is_public_service(seen.host):
        others = [other for other in others if other is not Party.SERVER]
    if not others or _is_told(error, hop, party, seen):
        return None
    if error.cause is Cause.PROXY_CANNOT_REACH and error.party is Party.PROXY:
        return Party.HOST  # it has said that it cannot resolve the name
    if party is Party.PROXY and Party.SERVER in others:
        return Party.SERVER  # the proxy has answered: it is one
    if error.cause is Cause.SILENT and party is Party.PROXY and hop is not Hop.PROXY:
        return Party.SERVER
    return others[0]


def _of_a_refused_upgrade(error: MqttwsError) -> list[Party]:
    status = getattr(error, "status", 0)
    if status == NO_HTTP_1_1:
        return []
    return [Party.NETWORK if status == HTTP_FORBIDDEN else Party.HOST]


def _is_told(error: MqttwsError, hop: Hop | None, party: Party, seen: Evidence) -> bool:
    """Whether the evidence points to one party, though the cause alone does not."""
    if error.cause in (Cause.INTERCEPTED, Cause.CERTIFICATE_SELF_SIGNED) and names_inspector(
        seen.issuer
    ):
        return True  # it has the name of a product that inspects TLS
    if error.cause in IN_PLACE and hop is Hop.UPGRADE:
        return any(names_inspector(" ".join(step.facts.values())) for step in seen.steps[-1:])
    if error.cause is Cause.NOT_A_PROXY and party is Party.HOST:
        return True  # the proxy speaks another protocol than its URL says
    # The kernel's counters of packets tell a loss on the way.
    return any(step.error is error and step.silence is not None for step in seen.steps)


# What tells them apart

_PASSES, _FAILS = "it passes there", "it fails there alike"
_SAME, _DIFFERENT = "they are the same", "they differ"

_PAIRS: dict[frozenset[Party], Telling] = {
    frozenset({Party.NETWORK, Party.SERVER}): Telling(
        "run the same command from another network (a phone's hotspot)",
        {Party.NETWORK: _PASSES, Party.SERVER: _FAILS},
    ),
    frozenset({Party.SERVER, Party.HOST}): Telling(
        "run the same command on another machine",
        {Party.HOST: _PASSES, Party.SERVER: _FAILS},
    ),
    frozenset({Party.NETWORK, Party.HOST}): Telling(
        "run the same command on another machine of this network",
        {Party.HOST: _PASSES, Party.NETWORK: _FAILS},
    ),
    frozenset({Party.SERVER, Party.PROXY}): Telling(
        "run the same command from a network without this proxy (a phone's hotspot, --proxy none)",
        {Party.PROXY: _PASSES, Party.SERVER: _FAILS},
    ),
    frozenset({Party.PROXY, Party.HOST}): Telling(
        "compare scheme, host and port of the proxy's URL with those that the proxy's team gives",
        {Party.HOST: _DIFFERENT, Party.PROXY: _SAME},
    ),
}

_ADDRESS = Telling(
    "compare host, port and path with those that the server's operator gives",
    {Party.HOST: _DIFFERENT, Party.SERVER: _SAME},
)
_CLOCK = Telling(
    "compare this machine's clock (date -u) with a watch",
    {
        Party.HOST: "the clock is wrong",
        Party.SERVER: "the clock is right",
        Party.PROXY: "the clock is right",
    },
)
_SERVERS_LOG = Telling(
    "ask the server's operator what its log says of this device",
    {
        Party.HOST: "it says that name, login or certificate are wrong",
        Party.SERVER: "it says anything else",
    },
)
_NAME = Telling(
    "compare the name, letter by letter, with the one that was given to you",
    {
        Party.HOST: "it differs",
        Party.NETWORK: "it is the same",
        Party.SERVER: "it is the same",
        Party.PROXY: "it is the same",
    },
)

_PROXY_NAME = Telling(_NAME.do, {party: _NAME.speaks[party] for party in (Party.HOST, Party.PROXY)})
_ELSEWHERE = Telling(
    "run the same command from another network (a phone's hotspot)",
    {Party.NETWORK: _PASSES, Party.HOST: _FAILS},
)

_BY_CAUSE: dict[Cause, Telling] = {
    Cause.NAME_UNKNOWN: _NAME,
    Cause.PROXY_CANNOT_REACH: _PROXY_NAME,
    Cause.NOT_TLS: _ADDRESS,
    Cause.NOT_HTTP: _ADDRESS,
    Cause.UPGRADE_REFUSED: _ADDRESS,
    Cause.SUBPROTOCOL_REFUSED: _ADDRESS,
    Cause.PROTOCOL_BROKEN: _ADDRESS,
    Cause.CERTIFICATE_OTHER_NAME: _NAME,
    Cause.CERTIFICATE_EXPIRED: _CLOCK,
    Cause.CERTIFICATE_NOT_YET_VALID: _CLOCK,
    Cause.CUT_OFF: _SERVERS_LOG,
    Cause.WRONG_KEY: _ELSEWHERE,
    Cause.NOT_AUTHORIZED: _ELSEWHERE,
    Cause.LOGIN_REFUSED: _ELSEWHERE,
    Cause.CLIENT_CERTIFICATE_MISSING: _ELSEWHERE,
    Cause.CLIENT_CERTIFICATE_REFUSED: Telling(
        "ask the server's operator whether the CA of this device's certificate is trusted there",
        {Party.HOST: "it is", Party.SERVER: "it is not"},
    ),
    Cause.SCOPE_UNKNOWN: Telling(
        "compare the id scope with the one on the overview page of the DPS instance",
        {Party.HOST: "it differs", Party.SERVER: "it is the same"},
    ),
    Cause.NO_COMMON_CIPHER: Telling(
        "ask the server's operator whether it wants a client certificate",
        {Party.HOST: "it does", Party.SERVER: "it does not"},
    ),
    Cause.PROXY_LOGIN_REFUSED: Telling(
        "try the same login in a browser that uses this proxy",
        {Party.HOST: "it is accepted there", Party.PROXY: "it is refused there too"},
    ),
    Cause.SILENT: Telling(
        "compare scheme, host and port of the proxy's URL with those that the proxy's team gives",
        {Party.HOST: _DIFFERENT, Party.NETWORK: _SAME, Party.PROXY: _SAME},
    ),
}
"""By the cause, for those pairs of parties that it has an outcome for."""


def what_tells(cause: Cause, party: Party, also: Party) -> Telling:
    """Return the observation that tells two parties apart."""
    by_cause = _BY_CAUSE.get(cause)
    if by_cause is not None and {party, also} <= set(by_cause.speaks):
        return by_cause
    return _PAIRS.get(frozenset({party, also}), _UNKNOWN_PAIR)


_UNKNOWN_PAIR = Telling(
    "ask both what their logs say of this device",
    dict.fromkeys(Party, "its log says so"),
)
