"""The sighting of a failure in one sentence: when, from where, to where, what answered.

It is sent along with every request, so that a team that was not there can look it up in its logs.
"""

import platform
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from ..errors import MqttwsError
from ..hops import Hop
from ..net.certificate import shown_time
from ..net.hops import Step
from ..text import one_line
from .report import Alternative

_TELLING = ("status", "server", "via", "location", "page", "x-squid-error", "packets")
"""Facts of a failed step that tell who answered."""


def origin(addresses: Sequence[str]) -> str:
    """Return this host's name, system, and its own address towards one of ``addresses``."""
    told = [f"{platform.system()} {platform.release()}"]
    if own := next(filter(None, map(_own_address, addresses)), ""):
        told.insert(0, own)
    return one_line(f"{socket.gethostname()} ({', '.join(told)})")


def _own_address(there: str) -> str:
    """Return the address with which this host would reach another; nothing is sent."""
    family = socket.AF_INET6 if ":" in there else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((there, 53))
        return str(probe.getsockname()[0])
    return ""


def addresses_of(steps: Sequence[Step]) -> list[str]:
    """Return the addresses to which the walk's first name led."""
    for step in steps:
        if step.hop in (Hop.NAME, Hop.PROXY_NAME) and "addresses" in step.facts:
            return step.facts["addresses"].split(", ")
    return []


def sighting(
    error: MqttwsError,
    steps: Sequence[Step],
    alternatives: Sequence[Alternative],
    *,
    where: str,
    proxy: str,
    when: datetime,
    origin: str,
) -> str:
    """Return the sentence.

    Args:
        error: the failure.
        steps: of the walk.
        alternatives: the other ways that were tried.
        where: host and port of the server.
        proxy: the proxy's URL; empty for none.
        when: the moment.
        origin: this host.
    """
    addresses = addresses_of(steps)
    led = f" ({', '.join(addresses[:4])})" if addresses else ""
    to = f"{where} through {proxy}{led}" if proxy else f"{where}{led}"
    told = [f"seen on {shown_time(when)} from {origin} to {to}: {error}"]
    failed = next((step for step in reversed(steps) if step.error is not None), None)
    for name in _TELLING:
        value = failed.facts.get(name, "") if failed is not None else ""
        if value and value not in told[0]:
            told.append(f"{name}: {value}")
    for other in alternatives:
        told.append(f"{other.name} {'is open' if other.works else 'fails'}")
    return one_line("; ".join(told))
