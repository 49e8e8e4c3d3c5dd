"""SOCKS proxies: dante, and scripted ones with every reply."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws.hops import Cause, Hop, Party

from ..peers import programs
from ..peers.programs import USER, WORD
from .row import Device, Network, Row
from .world import HOST, Handler, World, hang_up, join, serving, silent


def proxy(handler: Handler, scheme: str = "socks5h", login: str = "") -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with serving(handler, 1080):
            yield Device(options={"proxy": f"{scheme}://{login}127.0.0.1:1080"})

    return network


def socks5(*parts: bytes, joins: bool = False) -> Handler:
    """Answer the greeting, and what follows, with these parts, one each."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = b""
        for part in parts:
            request = await reader.read(1024)
            writer.write(part)
        if joins:
            inner = 18883 if request.endswith((8883).to_bytes(2, "big")) else 10443
            there = await asyncio.open_connection("127.0.0.1", inner)
            await join(reader, writer, *there)
        await reader.read(1024)

    return handler


def reply(code: int) -> Network:
    return proxy(socks5(b"\x05\x00", bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])))


def socks4(code: int, *, joins: bool = False) -> Network:
    return proxy(socks5(bytes([0, code]) + bytes(6), joins=joins), "socks4a")


def dante(
    scheme: str, *, user: str = "", login: bool = False, rules: str = "", good: bool = True
) -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        with programs.dante(login=login, rules=rules) as started:
            url = f"{scheme}://{user}127.0.0.1:{started.port}"
            device = Device(HOST, options={"proxy": url}, hop_timeout=4.0, timeout=12.0)
            if good:
                async with world.good():
                    yield device
            else:
                yield device

    return network


GRANTED = b"\x05\x00\x00\x01" + bytes(6)
LOGIN = f"{USER}:{WORD}@"
PROXY = Hop.PROXY
UNREACHED = Cause.PROXY_CANNOT_REACH
BLOCK = "socks block {\n  from: 0/0 to: 0/0\n  log: connect error\n}"

ROWS = [
    Row("dante resolves the name", dante("socks5h")),
    Row("dante is given the address", dante("socks5")),
    Row("a SOCKS5 proxy", proxy(socks5(b"\x05\x00", GRANTED, joins=True))),
    Row(
        "a SOCKS5 proxy with a login",
        proxy(socks5(b"\x05\x02", b"\x01\x00", GRANTED, joins=True), login=LOGIN),
    ),
    Row("a SOCKS4a proxy", socks4(90, joins=True), sdk=False),
    Row(
        "dante forbids it",
        dante("socks5h", rules=BLOCK),
        *(PROXY, Cause.PROXY_FORBIDS, Party.PROXY),
        says=("not allowed by the rules", "proxy's team"),
    ),
    Row(
        "dante wants a login",
        dante("socks5h", login=True),
        *(PROXY, Cause.PROXY_LOGIN_MISSING, Party.HOST),
        says=("wants a login", "--proxy-file"),
    ),
    Row(
        "dante does not know the login",
        dante("socks5h", user=LOGIN, login=True),
        *(PROXY, Cause.PROXY_LOGIN_REFUSED, Party.HOST),
        says=("does not accept this login",),
    ),
    Row(
        "the server behind dante is down",
        dante("socks5h", good=False),
        *(PROXY, UNREACHED, Party.SERVER),
        says=("connection refused", "or the proxy"),
    ),
    Row(
        "GSSAPI only",
        proxy(socks5(b"\x05\xff")),
        *(PROXY, Cause.PROXY_LOGIN_MISSING, Party.HOST),
        says=("0xff",),
    ),
    Row(
        "the login is refused",
        proxy(socks5(b"\x05\x02", b"\x01\x01"), login=LOGIN),
        *(PROXY, Cause.PROXY_LOGIN_REFUSED, Party.HOST),
    ),
    Row("reply 1", reply(1), PROXY, UNREACHED, Party.SERVER, says=("general failure",)),
    Row("reply 2", reply(2), PROXY, Cause.PROXY_FORBIDS, Party.PROXY, says=("forbids",)),
    Row("reply 3", reply(3), PROXY, UNREACHED, Party.SERVER, says=("network unreachable",)),
    Row("reply 4", reply(4), PROXY, UNREACHED, Party.SERVER, says=("host unreachable",)),
    Row("reply 5", reply(5), PROXY, UNREACHED, Party.SERVER, says=("connection refused",)),
    Row("reply 6", reply(6), PROXY, UNREACHED, Party.SERVER),
    Row("reply 7", reply(7), PROXY, Cause.NOT_A_PROXY, Party.PROXY),
    Row("reply 8", reply(8), PROXY, Cause.NOT_A_PROXY, Party.PROXY, says=("socks5://",)),
    Row("reply 9", reply(9), PROXY, Cause.NOT_A_PROXY, Party.PROXY, says=("proxy's log",)),
    Row("SOCKS4, reply 91", socks4(91), PROXY, Cause.PROXY_FORBIDS, Party.PROXY, sdk=False),
    Row(
        "SOCKS4, reply 92",
        socks4(92),
        PROXY,
        Cause.PROXY_LOGIN_SCHEME,
        Party.PROXY,
        says=("SOCKS5",),
        sdk=False,
    ),
    Row(
        "an HTTP proxy behind socks5h://",
        proxy(socks5(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        *(PROXY, Cause.NOT_A_PROXY, Party.HOST),
        says=("http://",),
    ),
    Row(
        "a SOCKS4 proxy behind socks5h://",
        proxy(socks5(b"\x00\x5b" + bytes(6))),
        *(PROXY, Cause.NOT_A_PROXY, Party.HOST),
        says=("socks4a://",),
    ),
    Row("the proxy closes", proxy(hang_up), PROXY, Cause.CUT_OFF, Party.PROXY),
    Row("the proxy says nothing", proxy(silent), PROXY, Cause.SILENT, Party.PROXY),
]
