"""What people write into arguments and variables: refused with the sentence that helps, or taken."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .row import Device, Network, Row
from .world import World


def given(host: str = "dps.test", *, proxy: str = "", **environ: str) -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with world.good():
            options = {"proxy": proxy} if proxy else {}
            yield Device(host, options=options, environ=environ)

    return network


def refused(name: str, network: Network, *says: str) -> Row:
    return Row(name, network, says=says, refused=True, sdk=False)


ROWS = [
    Row("no proxy at all", given(proxy="none"), sdk=False),
    Row(
        "no_proxy with the host",
        given(https_proxy="http://127.0.0.1:9", no_proxy="dps.test"),
        sdk=False,
    ),
    Row("no_proxy with a star", given(https_proxy="http://127.0.0.1:9", NO_PROXY="*"), sdk=False),
    Row("only http_proxy, and the way is open", given(http_proxy="http://127.0.0.1:9"), sdk=False),
    Row(
        "a CA file for other programs",
        given(REQUESTS_CA_BUNDLE="/etc/ca.pem"),
        says=("REQUESTS_CA_BUNDLE", "counts for other programs"),
        sdk=False,
    ),
    refused(
        "socks:// of a desktop",
        given(all_proxy="socks://127.0.0.1:1080/"),
        "all_proxy",
        "socks5h://",
    ),
    refused("socks4://", given(all_proxy="socks4://127.0.0.1:1080"), "socks4a://"),
    refused(
        "a proxy in quotes", given(https_proxy='"http://127.0.0.1:3128"'), "https_proxy", "quotes"
    ),
    refused("a proxy with a blank before it", given(https_proxy=" http://127.0.0.1:3128"), "blank"),
    refused("a proxy with a blank behind it", given(proxy="http://127.0.0.1:3128 "), "blank"),
    refused("ftp:// as a proxy", given(https_proxy="ftp://127.0.0.1"), "must begin with"),
    refused(
        "a proxy with an unescaped slash",
        given(https_proxy="http://u:s3cret/word@127.0.0.1:1"),
        "%2F",
    ),
    refused("a proxy without a host", given(https_proxy="http://:3128"), "no host"),
    refused("a port in the host", given("dps.test:443"), "--port 443"),
    refused("a URL as host", given("https://dps.test"), "a name or an address"),
    refused("a path in the host", given("dps.test/mqtt"), "a name or an address"),
    refused("a sign that no name holds", given("dp§s.test"), "host"),
]
