"""Networks whose name server is broken, slow, filtering, or just unusual."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws.hops import Cause, Hop, Party

from .dns import AAAA, NOERROR, REFUSED, SERVFAIL, A, Name
from .row import Device, Network, Row
from .world import HOST, NAME_SERVER, PUBLIC, UMLAUT, World, serving


def answering(name: Name, *, host: str = HOST, good: bool = True, **device: object) -> Network:
    """The name server has another answer for the host."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        world.names[host] = name
        if good:
            async with world.good():
                yield Device(host, **device)  # type: ignore[arg-type]
        else:
            yield Device(host, **device)  # type: ignore[arg-type]

    return network


def servers(*addresses: str) -> Network:
    """The resolver's file names these servers."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        world.resolv(*addresses)
        async with world.good():
            yield Device(hop_timeout=3.0, timeout=10.0)

    return network


@asynccontextmanager
async def patient_resolver(world: World) -> AsyncIterator[Device]:
    world.resolv(NAME_SERVER, options="timeout:5 attempts:2")  # the C library's own
    async with answering(Name(("127.0.0.1",), silent=frozenset({AAAA})))(world) as device:
        yield device


@asynccontextmanager
async def silent_server(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(silent=frozenset({A, AAAA}))
    yield Device(hop_timeout=3.0, timeout=10.0)


@asynccontextmanager
async def slow_server(world: World) -> AsyncIterator[Device]:
    world.resolv(NAME_SERVER, options="timeout:9 attempts:1")
    world.names[HOST] = Name(("127.0.0.1",), delay=5.5)
    async with world.good():
        yield Device(hop_timeout=4.0, timeout=20.0)


@asynccontextmanager
async def silent_server_and_little_time(world: World) -> AsyncIterator[Device]:
    world.resolv(NAME_SERVER, options="timeout:5 attempts:2")
    world.names[HOST] = Name(silent=frozenset({A, AAAA}))
    yield Device(hop_timeout=10.0, timeout=3.0)


@asynccontextmanager
async def good(world: World) -> AsyncIterator[Device]:
    async with world.good():
        yield Device()


def host(name: str, **environ: str) -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with world.good():
            yield Device(name, environ=dict(environ))

    return network


@asynccontextmanager
async def dead_address_first(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(("127.0.0.9", "127.0.0.1"))
    world.firewall("ip daddr 127.0.0.9 drop")
    async with world.good():
        yield Device()


@asynccontextmanager
async def many_dead_addresses(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name((*(f"127.0.0.{n}" for n in range(9, 15)), "127.0.0.1"))
    world.firewall("ip daddr 127.0.0.9-127.0.0.20 drop")
    async with world.good():
        yield Device(hop_timeout=4.0)


@asynccontextmanager
async def ipv6_only(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(v6=("::1",))
    async with world.good(host="::1"):
        yield Device()


@asynccontextmanager
async def ipv6_dead(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(("127.0.0.1",), ("::1",))
    world.firewall("ip6 nexthdr tcp drop")
    async with world.good():
        yield Device()


@asynccontextmanager
async def hijacked(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(("127.0.0.8",))
    context = world.pki.server(world.pki.leaf(hosts=["portal.example"]))

    async def nothing(reader, writer) -> None:  # type: ignore[no-untyped-def]
        await reader.read()

    async with serving(nothing, 443, context, host="127.0.0.8"):
        yield Device(tls=world.field_trust)


@asynccontextmanager
async def unknown_proxy(world: World) -> AsyncIterator[Device]:
    async with world.good():
        yield Device(environ={"https_proxy": "http://proxy.corp.test:3128"})


@asynccontextmanager
async def exempt_umlaut(world: World) -> AsyncIterator[Device]:
    async with world.good():
        yield Device(
            UMLAUT, environ={"https_proxy": "http://127.0.0.1:9", "no_proxy": "straße.test"}
        )


NO_NAME, BROKEN = Cause.NAME_UNKNOWN, Cause.NAME_SERVER_FAILED

ROWS = [
    Row("a good network", good),
    Row("AAAA questions are swallowed", answering(Name(("127.0.0.1",), silent=frozenset({AAAA})))),
    Row("AAAA questions are swallowed, the resolver is as patient as usual", patient_resolver),
    Row("AAAA is answered SERVFAIL", answering(Name(("127.0.0.1",), code6=SERVFAIL))),
    Row("AAAA is answered NXDOMAIN", answering(Name(("127.0.0.1",), code6=3))),
    Row("the name server takes longer than a hop", slow_server, says=("the name server is slow",)),
    Row("the first address is dead", dead_address_first),
    Row("six addresses are dead", many_dead_addresses),
    Row("IPv6 only, and it works", ipv6_only),
    Row("IPv6 is dead, IPv4 works", ipv6_dead),
    Row("a dot at the end of the name", host("dps.test.")),
    Row("capital letters in the name", host("DPS.Test")),
    Row("a name with an umlaut (IDNA 2008)", host("straße.test")),
    Row("no_proxy has an umlaut", exempt_umlaut),
    Row(
        "no_proxy with a dot before it",
        host(HOST, https_proxy="http://127.0.0.1:9", no_proxy=".test"),
    ),
    Row(
        "NXDOMAIN",
        host("no-such.test"),
        *(Hop.NAME, NO_NAME, Party.HOST),
        says=("NXDOMAIN", "spelling", "127.0.0.53"),
    ),
    Row(
        "NXDOMAIN for the public name",
        answering(Name(code=3), host=PUBLIC),
        *(Hop.NAME, NO_NAME, Party.NETWORK),
        says=("public name", "network team", "MQTTWS_PROXY"),
        never=("spelling",),
    ),
    Row(
        "SERVFAIL",
        answering(Name(code=SERVFAIL)),
        *(Hop.NAME, BROKEN, Party.NETWORK),
        says=("SERVFAIL", "name server fails"),
        never=("check the host's spelling",),
    ),
    Row(
        "REFUSED",
        answering(Name(code=REFUSED)),
        *(Hop.NAME, BROKEN, Party.NETWORK),
        says=("REFUSED",),
        never=("check the host's spelling",),
    ),
    Row(
        "the name server is silent",
        silent_server,
        *(Hop.NAME, BROKEN, Party.NETWORK),
        says=("127.0.0.53 does not answer", "/etc/resolv.conf", "MQTTWS_PROXY"),
        never=("check the host's spelling",),
    ),
    Row(
        "the name server is silent, and the doctor has 3 s",
        silent_server_and_little_time,
        *(Hop.NAME, BROKEN, Party.NETWORK),
        says=("127.0.0.53",),
    ),
    Row(
        "no name server runs there",
        servers("127.0.0.99"),
        *(Hop.NAME, BROKEN, Party.NETWORK),
        says=("no name server runs there", "/etc/resolv.conf"),
    ),
    Row("the first of two name servers is dead", servers("127.0.0.99", "127.0.0.53")),
    Row(
        "a name without an address",
        answering(Name(code=NOERROR)),
        *(Hop.NAME, NO_NAME, Party.HOST),
        says=("without an address", "the whole host name"),
    ),
    Row(
        "the name server answers 0.0.0.0",
        answering(Name(("0.0.0.0",)), good=False),
        *(Hop.NAME, Cause.NAME_BLOCKED, Party.NETWORK),
        says=("0.0.0.0", "blocks this name", "dps.test"),
        never=("nothing listens there",),
    ),
    Row(
        "the name server answers ::",
        answering(Name(v6=("::",)), good=False),
        *(Hop.NAME, Cause.NAME_BLOCKED, Party.NETWORK),
        says=("blocks this name",),
    ),
    Row(
        "IPv6 addresses only, and no IPv6 here",
        answering(Name(v6=("2001:db8::1",))),
        *(Hop.TCP, Cause.NO_IPV6, Party.HOST),
        says=("IPv6", "2001:db8::1"),
    ),
    Row(
        "the name leads to another server",
        hijacked,
        *(Hop.TLS, Cause.CERTIFICATE_OTHER_NAME, Party.SERVER),
        says=("portal.example", "name server"),
    ),
    Row(
        "the proxy's name is unknown",
        unknown_proxy,
        *(Hop.PROXY_NAME, NO_NAME, Party.HOST),
        says=("proxy.corp.test", "https_proxy", "company's own name server"),
        never=("names outside",),
    ),
]
