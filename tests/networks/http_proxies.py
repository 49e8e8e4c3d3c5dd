"""HTTP proxies: real ones, and scripted ones that answer CONNECT in every way that was seen."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws import TlsConfig
from mqttws.hops import Cause, Hop, Party

from ..peers import programs
from ..peers.programs import USER, WORD
from .pki import issue, name
from .row import Device, Network, Row
from .world import (
    HOST,
    PUBLIC,
    Handler,
    World,
    answers,
    hang_up,
    join,
    reset,
    says,
    serving,
    silent,
)

AT = "http://127.0.0.1:3128"


def proxy(handler: Handler, url: str = AT, host: str = HOST, **device: object) -> Network:
    """A proxy by script on 3128, in front of a good server that is not reached directly."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with serving(handler, 3128):
            yield Device(host, options={"proxy": url}, **device)  # type: ignore[arg-type]

    return network


def saying(status: str, *headers: str, page: str = "", **device: object) -> Network:
    """The proxy answers CONNECT with this status."""
    body = page.encode()
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return proxy(answers("\r\n".join(lines).encode() + body), **device)  # type: ignore[arg-type]


def tunnelling(then: Handler) -> Handler:
    """A proxy that answers 200, and then does something else."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nVia: 1.1 gw.corp\r\n\r\n")
        await then(reader, writer)

    return handler


def honest(head: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Handler:
    """A proxy that joins the client to the DPS."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        inner = 18883 if b":8883 " in request.split(b"\r\n")[0] else 10443
        there = await asyncio.open_connection("127.0.0.1", inner)
        writer.write(head)
        await join(reader, writer, *there)

    return handler


def demanding(*schemes: str, wrong: bool = False) -> Network:
    headers = [f"Proxy-Authenticate: {scheme}" for scheme in schemes]
    url = AT.replace("//", f"//{USER}:{WORD}@") if wrong else AT
    return saying("407 Proxy Authentication Required", *headers, page="<p>no</p>", url=url)


async def echo_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse, and repeat the login in reason phrase, header and page."""
    await reader.readuntil(b"\r\n\r\n")
    pair = f"{USER}:{WORD}"
    basic = base64.b64encode(pair.encode()).decode()
    page = f"<title>{pair} is wrong</title>"
    writer.write(
        f"HTTP/1.1 403 no {pair} {basic}\r\nServer: {pair}\r\nContent-Type: text/html\r\n"
        f"Content-Length: {len(page)}\r\n\r\n{page}".encode()
    )


def real_squid(*, user: str = "", good: bool = True, **options: object) -> Network:
    """squid, with ``user`` in the URL."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        given = {"hosts": {HOST: "127.0.0.1"}, **options}
        with programs.squid(**given) as started:  # type: ignore[arg-type]
            at = f"{user}@127.0.0.1" if user else "127.0.0.1"
            options_ = {"proxy": f"http://{at}:{started.port}"}
            device = Device(HOST, options=options_, timeout=12.0, hop_timeout=4.0)
            if good:
                async with world.good():
                    yield device
            else:
                yield device

    return network


def real_tinyproxy(
    *, login: str = "", wants_login: bool = False, ports: tuple[int, ...] = ()
) -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        with programs.tinyproxy(login=wants_login, ports=ports) as started:
            at = f"{login}@127.0.0.1" if login else "127.0.0.1"
            async with world.good():
                yield Device(
                    HOST, options={"proxy": f"http://{at}:{started.port}"}, hop_timeout=4.0
                )

    return network


@asynccontextmanager
async def by_environment(world: World) -> AsyncIterator[Device]:
    async with serving(honest(), 3128):
        yield Device(environ={"https_proxy": AT})


@asynccontextmanager
async def by_own_variable(world: World) -> AsyncIterator[Device]:
    async with serving(honest(), 3128):
        yield Device(environ={"MQTTWS_PROXY": AT, "https_proxy": "http://127.0.0.1:9"})


def tls_to_proxy(kind: str) -> Network:
    """An https:// proxy with a certificate of this kind."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        pki = world.pki
        ca = [pki.root.pem, world.ca.read_bytes()]
        options = {"hosts": ["proxy.test"]}
        if kind == "expired":
            options |= {"begins": -90, "ends": -10}
        if kind == "other name":
            options["hosts"] = ["elsewhere.test"]
        if kind == "unknown":
            ca = ca[1:]
        if kind == "plain":
            served = serving(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 3128)
        else:
            served = serving(honest(), 3128, pki.server(pki.leaf(**options)))
        async with served:
            yield Device(
                options={"proxy": "https://proxy.test:3128"}, tls=TlsConfig(ca=b"".join(ca))
            )

    return network


def resigning(
    *,
    date: str = "",
    known: bool = False,
    organization: str = "Corp Gateway",
    then: Handler | None = None,
) -> Network:
    """A proxy that re-signs TLS; ``known``: its CA is given."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        root = issue(name(f"{organization} CA", organization), ca=True)
        context = world.pki.server(
            issue(name(HOST, organization), root, hosts=[HOST, PUBLIC], above=[root])
        )

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\n{date}\r\n".encode())
            await writer.drain()
            await writer.start_tls(context)
            if then is not None:
                await then(reader, writer)
                return
            inside = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            inside.check_hostname, inside.verify_mode = False, ssl.CERT_NONE
            there = await asyncio.open_connection("127.0.0.1", 10443, ssl=inside)
            await join(reader, writer, *there)

        async with serving(handler, 3128):
            yield Device(
                options={"proxy": AT},
                tls=TlsConfig(ca=root.pem) if known else TlsConfig(ca=world.ca),
            )

    return network


ZSCALER = answers(
    b"HTTP/1.1 403 WebSocket forbidden by policy\r\nServer: Zscaler/6.2\r\n"
    b"Content-Type: text/html\r\nContent-Length: 45\r\n\r\n<title>Blocked by your company policy</title>"
)

PROXY, TLS = Hop.PROXY, Hop.TLS
FORBIDS, UNREACHED, NO_PROXY = Cause.PROXY_FORBIDS, Cause.PROXY_CANNOT_REACH, Cause.NOT_A_PROXY

ROWS = [
    Row("a proxy", proxy(honest())),
    Row("a proxy of HTTP/1.0", proxy(honest(b"HTTP/1.0 200 OK\r\n\r\n"))),
    Row("line ends without CR", proxy(honest(b"HTTP/1.1 200 OK\n\n"))),
    Row("no reason phrase", proxy(honest(b"HTTP/1.1 200\r\n\r\n"))),
    Row(
        "an interim answer first",
        proxy(honest(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")),
    ),
    Row(
        "headers of 40 KiB", proxy(honest(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n"))
    ),
    Row("the proxy of the environment", by_environment),
    Row("MQTTWS_PROXY counts before https_proxy", by_own_variable),
    Row("TLS to the proxy", tls_to_proxy("good"), sdk=False),
    Row("squid", real_squid()),
    Row("squid with a login", real_squid(user=f"{USER}:{WORD}", login=True)),
    Row("tinyproxy", real_tinyproxy()),
    Row("tinyproxy with a login", real_tinyproxy(login=f"{USER}:{WORD}", wants_login=True)),
    Row("a proxy re-signs TLS, its CA is given", resigning(known=True)),
    Row(
        "tinyproxy wants a login",
        real_tinyproxy(wants_login=True),
        *(PROXY, Cause.PROXY_LOGIN_MISSING, Party.HOST),
        says=("wants a login", "MQTTWS_PROXY", "--proxy-file"),
    ),
    Row(
        "tinyproxy does not know the login",
        real_tinyproxy(login=f"{USER}:x{WORD}", wants_login=True),
        *(PROXY, Cause.PROXY_LOGIN_REFUSED, Party.HOST),
        says=("does not accept this login",),
    ),
    Row(
        "tinyproxy forbids the port",
        real_tinyproxy(ports=(8080,)),
        *(PROXY, FORBIDS, Party.PROXY),
        says=("proxy's team",),
    ),
    Row(
        "squid forbids the host",
        real_squid(rules="acl far dstdomain dps.test\nhttp_access deny far\nhttp_access allow all"),
        *(PROXY, FORBIDS, Party.PROXY),
        says=("ERR_ACCESS_DENIED", "forbids this host"),
    ),
    Row(
        "squid does not know the name",
        real_squid(hosts={}),
        *(PROXY, UNREACHED, Party.PROXY),
        says=("the proxy is in the way", "squid"),
    ),
    Row(
        "503, the proxy cannot resolve the name",
        saying("503 Service Unavailable", "X-Squid-Error: ERR_DNS_FAIL 0"),
        *(PROXY, UNREACHED, Party.PROXY),
        says=("ERR_DNS_FAIL", "cannot resolve"),
    ),
    Row(
        "the server behind squid is down",
        real_squid(good=False),
        *(PROXY, UNREACHED, Party.SERVER),
        says=("or the proxy", "ERR_CONNECT_FAIL"),
    ),
    Row(
        "407, Basic, no login",
        demanding("Basic realm=x"),
        *(PROXY, Cause.PROXY_LOGIN_MISSING, Party.HOST),
        says=("MQTTWS_PROXY", "--proxy-file"),
    ),
    Row(
        "407, Basic, wrong login",
        demanding("Basic realm=x", wrong=True),
        *(PROXY, Cause.PROXY_LOGIN_REFUSED, Party.HOST),
        says=("check user name and password",),
    ),
    Row(
        "407, NTLM and Negotiate",
        demanding("Negotiate", "NTLM"),
        *(PROXY, Cause.PROXY_LOGIN_SCHEME, Party.PROXY),
        says=("Negotiate, NTLM", "cntlm", "exception"),
    ),
    Row(
        "407, Digest",
        demanding('Digest realm="x", nonce="y"'),
        *(PROXY, Cause.PROXY_LOGIN_SCHEME, Party.PROXY),
        says=("Digest", "(px)"),
    ),
    Row(
        "407 without a scheme",
        demanding(),
        *(PROXY, Cause.PROXY_LOGIN_MISSING, Party.HOST),
    ),
    Row(
        "403 with a page",
        saying(
            "403 Forbidden",
            "Content-Type: text/html",
            "Server: gw",
            page="<html><title>Category IoT is blocked, call 4711</title></html>",
        ),
        *(PROXY, FORBIDS, Party.PROXY),
        says=("Category IoT is blocked, call 4711", "proxy's team"),
    ),
    Row(
        "403, and the page never ends",
        proxy(
            answers(
                b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\n\r\n<p>" + b"x" * 300,
                then_close=False,
            )
        ),
        *(PROXY, FORBIDS, Party.PROXY),
    ),
    Row(
        "302 to a page of the proxy",
        saying("302 Found", "Location: http://gw.corp/blocked?id=7"),
        *(PROXY, FORBIDS, Party.PROXY),
        says=("http://gw.corp/blocked?id=7",),
    ),
    Row("400", saying("400 Bad Request"), PROXY, NO_PROXY, Party.PROXY),
    Row("404", saying("404 Not Found"), PROXY, NO_PROXY, Party.PROXY, says=("web server",)),
    Row("405", saying("405 No"), PROXY, NO_PROXY, Party.PROXY, says=("CONNECT",)),
    Row(
        "429 with Retry-After",
        saying("429 Too Many", "Retry-After: 120"),
        *(PROXY, Cause.THROTTLED, Party.PROXY),
        says=("120 s", "throttles"),
    ),
    Row("451", saying("451 Unavailable"), PROXY, FORBIDS, Party.PROXY, says=("legal",)),
    Row("500", saying("500 Oops"), PROXY, UNREACHED, Party.SERVER, says=("or the proxy",)),
    Row("501", saying("501 No"), PROXY, NO_PROXY, Party.PROXY),
    Row("502", saying("502 Bad Gateway"), PROXY, UNREACHED, Party.SERVER),
    Row(
        "502 for the public name",
        saying("502 Bad Gateway", host=PUBLIC),
        *(PROXY, UNREACHED, Party.PROXY),
        says=("public service",),
    ),
    Row("503", saying("503 Unavailable"), PROXY, UNREACHED, Party.SERVER),
    Row("504", saying("504 Timeout"), PROXY, UNREACHED, Party.SERVER, says=("firewall behind",)),
    Row("511", saying("511 Login"), PROXY, Cause.CAPTIVE_PORTAL, Party.NETWORK, says=("browser",)),
    Row(
        "the proxy repeats the login",
        proxy(echo_login, url=AT.replace("//", f"//{USER}:{WORD}@")),
        *(PROXY, FORBIDS, Party.PROXY),
        never=(USER + ":",),
    ),
    Row(
        "the answer is not HTTP",
        proxy(says(b"220 smtp.example ESMTP\r\n")),
        *(PROXY, NO_PROXY, Party.PROXY),
    ),
    Row(
        "the proxy speaks TLS",
        proxy(says(b"\x15\x03\x01\x00\x02\x02\x46")),
        *(PROXY, NO_PROXY, Party.HOST),
        says=("https://",),
    ),
    Row(
        "the proxy speaks SOCKS",
        proxy(says(b"\x05\xff")),
        *(PROXY, NO_PROXY, Party.HOST),
        says=("socks5h://",),
    ),
    Row("the proxy closes", proxy(hang_up), PROXY, Cause.CUT_OFF, Party.PROXY),
    Row("the proxy resets", proxy(reset), PROXY, Cause.CUT_OFF, Party.PROXY),
    Row(
        "the proxy closes within its answer",
        proxy(says(b"HTTP/1.1 20")),
        *(PROXY, Cause.CUT_OFF, Party.PROXY),
        says=("after 11 bytes",),
    ),
    Row(
        "the proxy says nothing",
        proxy(silent),
        *(PROXY, Cause.SILENT, Party.PROXY),
        says=("firewall behind it",),
    ),
    Row(
        "the proxy's answer stays unfinished",
        proxy(says(b"HTTP/1.1 200 OK\r\nX: y\r\n", then_close=False)),
        *(PROXY, Cause.SILENT, Party.PROXY),
        says=("23 bytes of an unfinished answer",),
        never=("said nothing and nothing",),
    ),
    Row(
        "headers without end",
        proxy(
            answers(b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyyy\r\n" * 5000, then_close=False)
        ),
        *(PROXY, NO_PROXY, Party.PROXY),
        says=("longer than",),
    ),
    Row(
        "data behind the 200",
        proxy(answers(b"HTTP/1.1 200 OK\r\n\r\nhello", then_close=False)),
        *(PROXY, NO_PROXY, Party.PROXY),
        says=("unexpected data",),
    ),
    Row(
        "TLS behind the 200 is reset",
        proxy(tunnelling(reset)),
        *(TLS, Cause.CUT_OFF, Party.PROXY),
        says=("TLS inspection", "proxy's team", "gw.corp"),
    ),
    Row(
        "TLS behind the 200 is not answered",
        proxy(tunnelling(silent)),
        *(TLS, Cause.SILENT, Party.PROXY),
        says=("stays silent", "proxy's team"),
    ),
    Row(
        "a page behind the 200 instead of TLS",
        proxy(tunnelling(says(b"HTTP/1.1 403 No\r\n\r\n"))),
        *(TLS, Cause.NOT_TLS, Party.PROXY),
        says=("HTTP/1.1 403 No", "said that it is connected"),
    ),
    Row(
        "a page behind the 200 repeats the login",
        proxy(
            tunnelling(says(f"HTTP/1.1 403 no {USER}:{WORD}\r\n\r\n".encode())),
            url=AT.replace("//", f"//{USER}:{WORD}@"),
        ),
        *(TLS, Cause.NOT_TLS, Party.PROXY),
        says=("403 no ***",),
        never=(USER + ":",),
    ),
    Row(
        "no proxy listens there",
        proxy(silent, url="http://127.0.0.1:9"),
        *(Hop.PROXY_TCP, Cause.REFUSED, Party.PROXY),
        says=("refused",),
    ),
    Row(
        "the proxy's certificate has expired",
        tls_to_proxy("expired"),
        *(Hop.PROXY_TLS, Cause.CERTIFICATE_EXPIRED, Party.PROXY),
        says=("10 days ago", "proxy's own certificate"),
        sdk=False,
    ),
    Row(
        "the proxy's certificate is for another name",
        tls_to_proxy("other name"),
        *(Hop.PROXY_TLS, Cause.CERTIFICATE_OTHER_NAME, Party.PROXY),
        says=("elsewhere.test",),
        sdk=False,
    ),
    Row(
        "the proxy's CA is not known",
        tls_to_proxy("unknown"),
        *(Hop.PROXY_TLS, Cause.ISSUER_UNKNOWN, Party.PROXY),
        says=("proxy's team", "--ca"),
        sdk=False,
    ),
    Row(
        "the proxy does not speak TLS",
        tls_to_proxy("plain"),
        *(Hop.PROXY_TLS, Cause.NOT_TLS, Party.HOST),
        says=("http://",),
        sdk=False,
    ),
    Row(
        "a proxy re-signs TLS, its CA is not given",
        resigning(),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("Corp Gateway CA",),
    ),
    Row(
        "a proxy of 1970 re-signs TLS",
        resigning(date="Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        *(TLS, Cause.INTERCEPTED, Party.NETWORK),
        says=("Corp Gateway CA", "one of the two is wrong"),
        never=("set this host's clock",),
    ),
    Row(
        "Zscaler re-signs TLS and forbids WebSocket",
        resigning(known=True, organization="Zscaler Inc.", then=ZSCALER),
        *(Hop.UPGRADE, Cause.BLOCKED_BY_POLICY, Party.NETWORK),
        says=("Zscaler/6.2", "Blocked by your company policy", "TLS inspection"),
    ),
]
