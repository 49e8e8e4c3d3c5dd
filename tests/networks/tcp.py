"""Firewalls, routes and closed ports: everything before the first byte."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws.hops import Cause, Hop, Party

from .dns import Name
from .http_proxies import AT, honest
from .row import Device, Network, Row
from .world import HOST, PUBLIC, SYN, World, serving

DROP = f"{SYN} tcp dport {{port}} drop"
RESET = f"{SYN} tcp dport {{port}} reject with tcp reset"


def firewall(*rules: str, host: str = HOST, behind: bool = False, **environ: str) -> Network:
    """A firewall before a good server; ``behind``: a proxy on 3128 leads there."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        world.firewall(*rules)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(world.good())
            if behind:
                await stack.enter_async_context(serving(honest(), 3128))
            yield Device(host, environ=dict(environ))

    return network


def icmp(kind: str, host: str = HOST) -> Network:
    return firewall(f"{SYN} tcp dport {{ 443, 8883 }} reject with {kind}", host=host)


def closed(host: str = HOST, *ports: int) -> Network:
    """Nothing listens, but on ``ports``."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        if ports:
            async with world.good(*ports):
                yield Device(host)
        else:
            yield Device(host)

    return network


def elsewhere(address: str) -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        world.names[HOST] = Name((address,))
        yield Device()

    return network


@asynccontextmanager
async def two_dead(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(("127.0.0.8", "127.0.0.9"))
    world.firewall("ip daddr 127.0.0.9 tcp dport { 443, 8883 } drop")
    yield Device()


@asynccontextmanager
async def mqtts_open(world: World) -> AsyncIterator[Device]:
    async with world.good():
        yield Device(options={"transport": "mqtts"})


@asynccontextmanager
async def mqtts_dropped(world: World) -> AsyncIterator[Device]:
    world.firewall(DROP.format(port=8883))
    async with world.good():
        yield Device(options={"transport": "mqtts"})


@asynccontextmanager
async def lossy(world: World) -> AsyncIterator[Device]:
    world.firewall("tcp dport { 443 } numgen random mod 100 < 10 drop")
    async with world.good():
        yield Device(hop_timeout=6.0, timeout=25.0)


BOTH = (DROP.format(port=443), DROP.format(port=8883))

ROWS = [
    Row("443 and 8883 are open", firewall()),
    Row("8883 alone is shut", firewall(DROP.format(port=8883))),
    Row("MQTT over TLS is open", mqtts_open),
    Row("one packet in ten is lost", lossy),
    Row(
        "nothing listens",
        closed(),
        *(Hop.TCP, Cause.REFUSED, Party.SERVER),
        says=("refused", "hotspot", "or the network"),
    ),
    Row(
        "nothing listens at the public name",
        closed(PUBLIC),
        *(Hop.TCP, Cause.REFUSED, Party.NETWORK),
        says=("public service", "network team"),
        never=("probably the server",),
    ),
    Row(
        "443 is closed, 8883 is open",
        closed(HOST, 8883),
        *(Hop.TCP, Cause.REFUSED, Party.NETWORK),
        says=("--transport mqtts", "blocked"),
    ),
    Row(
        "443 is dropped, 8883 is open",
        firewall(DROP.format(port=443)),
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
        says=("--transport mqtts", "blocked"),
    ),
    Row(
        "443 is reset, 8883 is open",
        firewall(RESET.format(port=443)),
        *(Hop.TCP, Cause.REFUSED, Party.NETWORK),
        says=("--transport mqtts",),
    ),
    Row(
        "8883 is dropped, 443 is open",
        mqtts_dropped,
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
        says=("--transport wss",),
    ),
    Row(
        "both are dropped, no proxy is set",
        firewall(*BOTH),
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
        says=("proxy, name it", "MQTTWS_PROXY", "8883", "network team"),
    ),
    Row(
        "both are dropped for the public name",
        firewall(*BOTH, host=PUBLIC),
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
        says=("MQTTWS_PROXY", PUBLIC),
    ),
    Row(
        "both are dropped, only http_proxy is set",
        firewall(*BOTH, http_proxy="http://proxy.test:3128"),
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
        says=("http_proxy", "counts only for http://", "https_proxy"),
    ),
    Row(
        "both are dropped, no_proxy exempts the server",
        firewall(*BOTH, https_proxy="http://proxy.test:3128", no_proxy="dps.test"),
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
        says=("no_proxy exempts this server",),
    ),
    Row(
        "both are dropped, the proxy of http_proxy leads there",
        firewall(*BOTH, behind=True, http_proxy=AT),
        *(Hop.TCP, Cause.SILENT, Party.HOST),
        says=("http_proxy names", "set https_proxy or MQTTWS_PROXY"),
    ),
    Row(
        "both are dropped, the proxy that no_proxy leaves out leads there",
        firewall(*BOTH, behind=True, https_proxy=AT, no_proxy="dps.test"),
        *(Hop.TCP, Cause.SILENT, Party.HOST),
        says=("https_proxy names", "out of no_proxy"),
        sdk=False,  # it registers here: it takes https_proxy and does not know no_proxy
    ),
    Row(
        "a firewall rejects: administratively prohibited",
        icmp("icmpx type admin-prohibited"),
        *(Hop.TCP, Cause.REJECTED, Party.NETWORK),
        says=("firewall or router", "allow dps.test:443"),
        never=("check this machine's network",),
    ),
    Row(
        "a firewall rejects: host prohibited",
        icmp("icmp type host-prohibited"),
        *(Hop.TCP, Cause.REJECTED, Party.NETWORK),
        never=("check this machine's network",),
    ),
    Row(
        "a router says: host unreachable",
        icmp("icmp type host-unreachable"),
        *(Hop.TCP, Cause.REJECTED, Party.NETWORK),
    ),
    Row(
        "a router says: net unreachable",
        icmp("icmp type net-unreachable"),
        *(Hop.TCP, Cause.REJECTED, Party.NETWORK),
    ),
    Row(
        "a firewall rejects: port unreachable",
        icmp("icmp type port-unreachable"),
        *(Hop.TCP, Cause.REFUSED, Party.SERVER),
        says=("or the network",),
    ),
    Row(
        "a firewall rejects the public name",
        icmp("icmpx type admin-prohibited", host=PUBLIC),
        *(Hop.TCP, Cause.REJECTED, Party.NETWORK),
    ),
    Row(
        "there is no route",
        elsewhere("192.0.2.1"),
        *(Hop.TCP, Cause.NO_ROUTE, Party.HOST),
        says=("no route", "gateway"),
    ),
    Row(
        "one address is closed and the other dropped",
        two_dead,
        *(Hop.TCP, Cause.SILENT, Party.NETWORK),
    ),
]
