"""Decide who is probably responsible for a failure, and what to try.

Judged from the error's fields and from the alternative ways.

Knows the errors and no network.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ..errors import (
    HopTimedOut,
    MqttwsError,
    RequestTimedOut,
    Unreachable,
)
from ..hops import Cause, Hop, Party, usual_party
from ..net.certificate import parse_certificate
from ..net.hops import Step
from .report import WITHOUT_PROXY, Alternative

MAX_SKEW = 300.0
"""Seconds that this host's clock may differ from the server's before it is worth a word."""

TOO_MANY_REQUESTS = 429

SOON = timedelta(days=14)
"""How long a certificate that is shown should still be good."""


def hop_of(error: MqttwsError | None, steps: Sequence[Step]) -> Hop | None:
    """Return the hop that failed."""
    if error is None:
        return None
    if error.hop is not None:
        return error.hop
    failed = [step.hop for step in steps if step.error is not None]
    walked = [step.hop for step in steps]
    return next(reversed(failed or walked), None)


def clock_skew(steps: Sequence[Step], unix_now: float) -> float | None:
    """Return how many seconds this host's clock is ahead of the server's or the proxy's.

    Args:
        steps: their ``date`` facts are HTTP's ``Date`` headers.
        unix_now: this host's time right after the last of them.
    """
    for step in reversed(steps):
        if "date" in step.facts:
            try:
                there = parsedate_to_datetime(step.facts["date"])
            except (ValueError, OverflowError):  # the latter with an endless time zone
                continue
            if there.tzinfo is None:
                there = there.replace(tzinfo=UTC)
            return unix_now - there.timestamp()
    return None


def describe_chain(certificates: Sequence[bytes]) -> dict[str, str]:
    """Return what is to be told of the chain that a peer has proved itself with, as facts.

    Args:
        certificates: DER, the peer's own first, a trusted one last.
    """
    if not certificates:
        return {}
    try:
        chain = [parse_certificate(der) for der in certificates]
    except ValueError:  # OpenSSL takes some that cannot be read here
        return {}
    return {
        "subject": chain[0].subject,
        "chain": " <- ".join(facts.subject for facts in chain),
        "issuer": chain[0].issuer,
        "expires": f"{chain[0].not_after:%Y-%m-%d %H:%M} UTC",
    }


def expiry_warnings(steps: Sequence[Step], unix_now: float) -> tuple[str, ...]:
    """Return a sentence for each proved chain in which a certificate ends soon."""
    now = datetime.fromtimestamp(unix_now, UTC)
    told = []
    for step in steps:
        for der in step.certificates:
            try:
                facts = parse_certificate(der)
            except ValueError:
                continue
            if facts.not_after - now < SOON:
                days = (facts.not_after - now) / timedelta(days=1)
                told.append(
                    f"{step.name}: the certificate of {facts.subject} ends in {days:.0f} days,"
                    f" {facts.not_after:%Y-%m-%d %H:%M} UTC"
                )
    return tuple(told)


def describe_skew(skew: float, unix_now: float) -> str:
    """Return a sentence about a clock that is off."""
    hours = abs(skew) / 3600
    amount = f"{hours / 24:.1f} days" if hours >= 24 else f"{hours:.1f} hours"
    if hours < 1:
        amount = f"{abs(skew) / 60:.0f} minutes"
    direction = "ahead of" if skew > 0 else "behind"
    shown = datetime.fromtimestamp(unix_now, UTC)
    return (
        f"this host's clock is {amount} {direction} the other end's; it says"
        f" {shown:%Y-%m-%d %H:%M} UTC"
    )


def advise(
    error: MqttwsError,
    steps: Sequence[Step],
    alternatives: Sequence[Alternative],
    skew: float | None,
) -> tuple[Party, tuple[str, ...]]:
    """Return who is probably responsible and what to try, the most promising first.

    Args:
        error: the first failure.
        steps: the hops that were walked.
        alternatives: the other ways that were tried.
        skew: seconds that this host's clock is ahead, if that is known.
    """
    hop = hop_of(error, steps)
    party = error.party or usual_party(error.cause, hop) or Party.SERVER
    advice = [f"use what works: {other.name}" for other in alternatives if other.works]
    if advice and hop in (Hop.TCP, Hop.TLS, Hop.UPGRADE) and isinstance(error, _BLOCKED):
        party = Party.NETWORK  # the server is up: it answers on another way
        advice.insert(0, "this way is blocked, and the server is not down: it answers on another")
    if hop is Hop.PROXY and party is Party.SERVER and _open_without_proxy(alternatives):
        party = Party.PROXY  # which does not reach a server that is up
    if skew is not None and abs(skew) > MAX_SKEW and hop in _CLOCK_MATTERS:
        party = Party.HOST
        advice.insert(0, "set this host's clock: tokens and certificates are judged by the time")
    if isinstance(error, RequestTimedOut) and steps and steps[-1].status == TOO_MANY_REQUESTS:
        advice.append("DPS is throttled (429): too many devices ask it at once; try again later")
    if error.hint:
        # A proxy that only wants a login is passed with one, whatever else is open.
        wants_login = error.cause in (Cause.PROXY_LOGIN_MISSING, Cause.PROXY_LOGIN_REFUSED)
        advice.insert(0 if wants_login else len(advice), error.hint)
    return party, tuple(dict.fromkeys(advice))


def _open_without_proxy(alternatives: Sequence[Alternative]) -> bool:
    return any(other.works and other.name == WITHOUT_PROXY for other in alternatives)


_BLOCKED = (HopTimedOut, Unreachable)
_CLOCK_MATTERS = (Hop.PROXY_TLS, Hop.TLS, Hop.CONNECT, Hop.REGISTER, Hop.POLL)
