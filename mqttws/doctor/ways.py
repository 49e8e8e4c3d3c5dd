"""Other ways to the same server, tried all at once after a failure: they tell blocked from down."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import MqttwsError
from ..hops import Cause, Hop
from ..net.dial import dial
from ..net.hops import Walk
from ..net.proxy import ProxyChoice, choose_proxy_unasked
from ..net.proxy_advice import ignored_proxy
from ..net.target import Target
from ..net.tls import Tls, tls_at_most_1_2
from ..options import WEBSOCKET_PATH
from .report import Alternative, Way

OTHER_PATHS = (WEBSOCKET_PATH, "/mqtt", "/")
"""Where services have their WebSocket: DPS and IoT Hub, most brokers, the rest."""

_MQTT_REACHED = frozenset({Hop.CONNECT, Hop.SUBSCRIBE, Hop.REGISTER, Hop.POLL})
"""Hops behind which another way leads to the same refusal."""

_MAYBE_TLS_1_3 = frozenset(
    {Cause.SILENT, Cause.CUT_OFF, Cause.TLS_ALERT, Cause.TLS_VERSION, Cause.NO_COMMON_CIPHER}
)
"""Causes in TLS that a hello of TLS 1.3 may have, on a way that does not know it."""

MAX_MESSAGE_SIZE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Try:
    way: Way
    name: str
    target: Target
    proxy: ProxyChoice
    tls: Tls


def other_ways(
    hop: Hop | None, cause: Cause, target: Target, proxy: ProxyChoice, tls: Tls
) -> Sequence[_Try]:
    """Return the other ways that can tell more about a failure."""
    if hop in _MQTT_REACHED:
        return ()
    ways: list[_Try] = []
    if choose_proxy_unasked(proxy, target.scheme, target.host, target.port) is not None:
        ways.append(_Try(Way.WITHOUT_PROXY, "without the proxy (--proxy none)", target, None, tls))
    if ignored := ignored_proxy(proxy, target):
        name, config = ignored
        told = f"through the proxy that {name} names (left out by the settings)"
        ways.append(_Try(Way.IGNORED_PROXY, told, target, config, tls))
    if hop is Hop.TLS and cause in _MAYBE_TLS_1_3 and (capped := tls_at_most_1_2(tls)):
        ways.append(_Try(Way.TLS_1_2, "TLS 1.2 at most (--tls-max 1.2)", target, proxy, capped))
    if hop is Hop.UPGRADE:
        ways += [
            _Try(
                Way.OTHER_PATH,
                f"path {path} (--path '{path}')",
                Target("wss", target.host, target.port, path),
                proxy,
                tls,
            )
            for path in OTHER_PATHS
            if path != target.path
        ]
    if target.websocket:
        other = Target("mqtts", target.host, 8883)
        name = "MQTT over TLS on port 8883 (--transport mqtts)"
    else:
        other = Target("wss", target.host, 443, WEBSOCKET_PATH)
        name = "WebSocket on port 443 (--transport wss)"
    return (*ways, _Try(Way.OTHER_TRANSPORT, name, other, proxy, tls))


async def try_ways(ways: Sequence[_Try], timeout: float) -> tuple[Alternative, ...]:
    """Try all ways at once; return what each came to within ``timeout`` seconds in all."""
    return tuple(await asyncio.gather(*(_try(way, timeout) for way in ways)))


async def _try(other: _Try, timeout: float) -> Alternative:
    walk = Walk(timeout=max(0.001, timeout), hop_timeout=max(0.001, timeout), described=True)
    try:
        stream = await dial(
            other.target,
            walk,
            tls=other.tls,
            proxy=other.proxy,
            max_message_size=MAX_MESSAGE_SIZE,
        )
    except MqttwsError as error:
        return Alternative(other.name, False, str(error), other.way)
    stream.abort()
    return Alternative(other.name, True, f"open after {walk.elapsed * 1000:.0f} ms", other.way)
