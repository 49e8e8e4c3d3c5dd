"""This host's clock against the peers', and how long certificates are still valid."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ..hops import Hop
from ..net.certificate import parse_certificate, shown_time
from ..net.hops import Step

MAX_SKEW = 300.0
"""Seconds that this host's clock may differ from the server's before it is worth a word."""

SOON = timedelta(days=14)
"""Time for which a certificate should still be valid."""

OF_THE_PROXY = frozenset({Hop.PROXY_TLS, Hop.PROXY})
"""Hops whose ``Date`` is the proxy's: weak evidence, its clock may be the wrong one."""


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


def is_proxys_clock(steps: Sequence[Step]) -> bool:
    """Whether the only ``Date`` that was seen is the proxy's."""
    dated = [step.hop for step in steps if "date" in step.facts]
    return bool(dated) and set(dated) <= OF_THE_PROXY


def describe_skew(skew: float, unix_now: float, *, proxys: bool = False) -> str:
    """Return a sentence about a clock that is off."""
    hours = abs(skew) / 3600
    amount = f"{hours / 24:.1f} days" if hours >= 24 else f"{hours:.1f} hours"
    if hours < 1:
        amount = f"{abs(skew) / 60:.0f} minutes"
    direction = "ahead of" if skew > 0 else "behind"
    shown = shown_time(datetime.fromtimestamp(unix_now, UTC))
    whose = "the proxy's" if proxys else "the other end's"
    doubt = " (one of the two is wrong)" if proxys else ""
    return f"this host's clock is {amount} {direction} {whose}{doubt}; it says {shown}"


def expiry_warnings(steps: Sequence[Step], unix_now: float) -> tuple[str, ...]:
    """Return a sentence for each proved chain in which a certificate ends soon."""
    now = datetime.fromtimestamp(unix_now, UTC)
    told = []
    for step in steps:
        for der in step.certificates if step.error is None else ():
            try:
                facts = parse_certificate(der)
            except ValueError:
                continue
            if facts.not_after - now < SOON:
                days = (facts.not_after - now) / timedelta(days=1)
                told.append(
                    f"{step.name}: the certificate of {facts.subject} ends in {days:.0f} days,"
                    f" {shown_time(facts.not_after)}"
                )
    return tuple(told)
