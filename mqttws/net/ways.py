"""Several ways to a server, tried with a head start for each: the first that opens is taken."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConnectFailed
from ..hops import Hop
from ..retry import is_refused_login
from .dial import dial
from .hops import Walk
from .proxy import ENVIRONMENT, Proxy, ProxyChoice, asks_for_login, choose_proxy_unasked
from .stream import Stream
from .target import Target
from .tls import Tls

TRANSPORT_HEAD_START = 0.5
"""Seconds before another transport is tried beside the one that is not open yet: longer than a
handshake takes, and shorter than anybody's patience."""

LOGIN_PATIENCE = 5.0
"""Seconds for which a proxy's answer to a login is awaited before another way brings it the login
again: directories count refused logins, and lock accounts."""


async def dial_first(
    targets: Sequence[Target],
    walk: Walk,
    *,
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    max_message_size: int,
) -> tuple[Target, Stream]:
    """Walk several ways, each with a head start over the next; return the first that is open.

    The steps of the way that is taken join ``walk`` when it is open; the others are given up. After
    a proxy has refused a login, no other way through it is begun, nor for a while before its
    answer.

    Raises:
        ConnectFailed: none is open; the error is that of the way that led furthest.
    """
    if len(targets) == 1:
        stream = await dial(
            targets[0], walk, tls=tls, proxy=proxy, max_message_size=max_message_size
        )
        return targets[0], stream
    attempts: dict[asyncio.Task[Stream], _Attempt] = {}
    failed: list[tuple[_Attempt, ConnectFailed]] = []
    waiting = list(targets)
    try:
        while waiting or attempts:
            if waiting and not any(
                _may_refuse(one, waiting[0], proxy) for one in attempts.values()
            ):
                attempt = _Attempt(waiting.pop(0), walk.aside(walk.remaining), walk.elapsed)
                attempts[
                    asyncio.ensure_future(
                        dial(
                            attempt.target,
                            attempt.walk,
                            tls=tls,
                            proxy=proxy,
                            max_message_size=max_message_size,
                        )
                    )
                ] = attempt
            done, _ = await asyncio.wait(
                attempts,
                timeout=TRANSPORT_HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                attempt = attempts.pop(task)
                error = task.exception()
                if error is None:
                    walk.adopt(attempt.walk.steps, attempt.began)
                    walk.certified = attempt.walk.certified
                    return attempt.target, task.result()
                if not isinstance(error, ConnectFailed):
                    raise error
                failed.append((attempt, error))
                if is_refused_login(error):  # it would be refused again, and counted
                    refused = _proxy_of(attempt.target, proxy)
                    waiting = [one for one in waiting if not _same(_proxy_of(one, proxy), refused)]
    finally:
        for task in attempts:
            task.add_done_callback(_abort_loser)
            task.cancel()
    order = list(Hop)
    furthest, raised = max(failed, key=lambda pair: order.index(pair[1].hop))
    walk.adopt(furthest.walk.steps, furthest.began)
    others = [f"{attempt.target.url}: {error}" for attempt, error in failed if error is not raised]
    raised.hint = "; also tried: ".join([raised.hint, *others])
    raise raised


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One of several ways that are walked at once."""

    target: Target
    walk: Walk
    began: float


def _may_refuse(attempt: _Attempt, target: Target, choice: ProxyChoice) -> bool:
    """Tell whether a proxy may yet refuse the login that it would get for ``target`` too."""
    walk = attempt.walk
    answered = any(step.hop is Hop.PROXY and step.ended is not None for step in walk.steps)
    if answered or walk.elapsed > LOGIN_PATIENCE:
        return False
    asked, taken = _proxy_of(attempt.target, choice), _proxy_of(target, choice)
    if taken is None or not _same(asked, taken):
        return False
    return taken.login is not None or asks_for_login(choice)


def _proxy_of(target: Target, choice: ProxyChoice) -> Proxy | None:
    return choose_proxy_unasked(choice, target.scheme, target.host, target.port)


def _same(one: Proxy | None, other: Proxy | None) -> bool:
    return one is not None and other is not None and one.url == other.url


def _abort_loser(task: asyncio.Task[Stream]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
