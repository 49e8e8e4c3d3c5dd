"""Advice for the person who reads it: what to try, as commands, and what shows who is responsible.

Knows the verdict and no network. No line holds a Python identifier: the reader has a shell.
"""

from collections.abc import Sequence

from ..errors import MqttwsError
from ..hops import Cause, Hop, Party
from ..net.hops import Step
from .evidence import Evidence
from .judge import Verdict
from .two_parties import what_tells

TEAMS = {
    Party.CALLER: "the author of the program",
    Party.HOST: "no other team (it is mended on this machine)",
    Party.PROXY: "the proxy's team",
    Party.NETWORK: "the network team",
    Party.SERVER: "the server's operator",
}
"""Who is asked, by party."""


def hop_of(error: MqttwsError | None, steps: Sequence[Step]) -> Hop | None:
    """Return the hop that failed."""
    if error is None:
        return None
    if error.hop is not None:
        return error.hop
    failed = [step.hop for step in steps if step.error is not None]
    walked = [step.hop for step in steps]
    return next(reversed(failed or walked), None)


def telling(verdict: Verdict) -> str:
    """Return the observation that tells two possible parties apart; empty where there is one."""
    if verdict.also is None:
        return ""
    tells = what_tells(verdict.cause, verdict.party, verdict.also)
    return tells.sentence(verdict.party, verdict.also)


def advise(error: MqttwsError, verdict: Verdict, seen: Evidence) -> tuple[str, ...]:
    """Return what to try, the most promising first."""
    ways = [f"use what works: {other.name}" for other in seen.alternatives if other.works]
    hint = [error.hint] if error.hint else []
    if verdict.cause is Cause.TLS_1_3_INTOLERANT:
        # The hint took a server without TLS 1.2 for possible, which is refuted.
        advice = ways
    elif error.cause in (Cause.PROXY_LOGIN_MISSING, Cause.PROXY_LOGIN_REFUSED):
        # A proxy that only wants a login is passed with one, whatever else is open.
        advice = [*hint, *ways]
    elif verdict.cause is Cause.THROTTLED:
        advice = ["try again later", *ways, *(hint if error.cause is verdict.cause else ())]
    elif verdict.cause is not error.cause or _says_otherwise(error, verdict):
        advice = ways
    elif error.cause in _OF_THE_CERTIFICATE:
        advice = hint  # another way looks open until the certificate is asked for
    else:
        advice = [*ways, *hint]
    return tuple(dict.fromkeys(advice))


_OF_THE_CERTIFICATE = frozenset(
    {Cause.CLIENT_CERTIFICATE_MISSING, Cause.CLIENT_CERTIFICATE_REFUSED}
)


def _says_otherwise(error: MqttwsError, verdict: Verdict) -> bool:
    """Whether the verdict refutes the error's own hint, which was given without the evidence."""
    return bool(verdict.because) and error.party is not None and verdict.party is not error.party
