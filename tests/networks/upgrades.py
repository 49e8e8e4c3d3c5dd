"""Answers to the WebSocket upgrade: servers, gateways, filters and captive portals."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws.hops import Cause, Hop, Party

from ..peers import programs
from .row import Device, Network, Row
from .world import HOST, Handler, World, answers, hang_up, reset, says, serving, silent


def at_443(handler: Handler, *, good: bool = False) -> Network:
    """TLS with a good certificate, and a script in it; ``good``: 8883 is open."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        context = world.pki.server(world.pki.leaf())
        async with serving(handler, 443, context):
            if good:
                async with world.good(8883):
                    yield Device(tls=world.trust)
            else:
                yield Device(tls=world.field_trust)

    return network


def saying(status: str, *headers: str, page: str = "") -> Network:
    body = page.encode()
    kind = ["Content-Type: text/html"] if page else []
    lines = [f"HTTP/1.1 {status}", *kind, *headers, f"Content-Length: {len(body)}", "", ""]
    return at_443(answers("\r\n".join(lines).encode() + body))


def switching(*headers: str, accept: str = "", then: bytes = b"", close: bool = False) -> Network:
    """Answer 101, with these headers; then say something, close, or be silent."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.split(": ", 1)[1]
            for line in request.splitlines()
            if line.lower().startswith("sec-websocket-key")
        )
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}",
            *headers,
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode() + then)
        await writer.drain()
        if not close:
            await silent(reader, writer)

    return at_443(handler)


def gateway(kind: str, body: str) -> Network:
    """A real gateway on 443 that ends TLS, in front of the DPS."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        leaf = world.pki.leaf()
        pem = world.pki.file(leaf.pem + world.pki.issuing.pem + leaf.key_pem)
        pem.chmod(0o644)
        text = body.replace("PEM", str(pem))
        start = {"nginx": programs.nginx, "haproxy": programs.haproxy, "stunnel": stunnel}[kind]
        with start(text, 443):
            yield Device(tls=world.field_trust, hop_timeout=4.0)

    return network


def stunnel(body: str, port: int):  # type: ignore[no-untyped-def]
    """Run stunnel with this configuration."""
    from contextlib import contextmanager

    @contextmanager
    def run():  # type: ignore[no-untyped-def]
        with programs.folder() as place:
            (place / "conf").write_text(f"foreground = yes\npid =\n{body}\n")
            program = programs.require_program("stunnel4")
            with programs.running([program, place / "conf"], port, place) as started:
                yield started

    return run()


NGINX = (
    "server { listen 127.0.0.1:443 ssl; ssl_certificate PEM; ssl_certificate_key PEM;"
    " location / { LOCATION } }"
)
PASS = "proxy_pass https://127.0.0.1:10443; proxy_http_version 1.1;"
UPGRADES = " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


def nginx(location: str) -> Network:
    return gateway("nginx", NGINX.replace("LOCATION", location))


HAPROXY = (
    "frontend f\n  bind 127.0.0.1:443 ssl crt PEM alpn h2,http/1.1\n  default_backend b\n"
    "backend b\n  server s 127.0.0.1:10443 ssl verify none\n"
)
STUNNEL = (
    "[in]\naccept = 127.0.0.1:443\nconnect = 127.0.0.1:10080\ncert = PEM\n"
    "[out]\nclient = yes\naccept = 127.0.0.1:10080\nconnect = 127.0.0.1:10443\n"
)

SUBPROTOCOL = "Sec-WebSocket-Protocol: mqtt"
UP = Hop.UPGRADE
REFUSED, SWALLOWED = Cause.UPGRADE_REFUSED, Cause.UPGRADE_SWALLOWED
PORTAL, POLICY, DOWN = Cause.CAPTIVE_PORTAL, Cause.BLOCKED_BY_POLICY, Cause.SERVER_UNAVAILABLE

ROWS = [
    Row("nginx in front", nginx(PASS + UPGRADES)),
    Row("haproxy in front", gateway("haproxy", HAPROXY)),
    Row("stunnel in front", gateway("stunnel", STUNNEL)),
    Row(
        "a gateway wants an Origin",
        nginx('if ($http_origin = "") { return 403; } ' + PASS + UPGRADES),
    ),
    Row(
        "nginx swallows the header Upgrade",
        nginx(PASS),
        *(UP, SWALLOWED, Party.NETWORK),
        says=("426", "swallows", "or the server"),
    ),
    Row(
        "nginx has another path",
        nginx("return 404;"),
        UP,
        REFUSED,
        Party.SERVER,
        says=("404", "path", "nginx"),
    ),
    Row("nginx forbids it", nginx("return 403;"), UP, REFUSED, Party.SERVER, says=("403", "nginx")),
    Row(
        "nginx cannot reach the server",
        nginx("proxy_pass https://127.0.0.1:9;"),
        *(UP, DOWN, Party.SERVER),
        says=("502", "reverse proxy"),
    ),
    Row(
        "302 to a login page",
        saying("302 Found", "Location: http://portal.hotel.example/login?x=1"),
        *(UP, PORTAL, Party.NETWORK),
        says=("http://portal.hotel.example/login?x=1", "browser"),
        never=("check the path, and",),
    ),
    Row(
        "307 to a login page",
        saying("307 Temporary Redirect", "Location: https://sso.corp.example/"),
        *(UP, PORTAL, Party.NETWORK),
        says=("https://sso.corp.example/",),
    ),
    Row(
        "301 on the same host",
        saying("301 Moved", f"Location: https://{HOST}/ws"),
        *(UP, REFUSED, Party.SERVER),
        says=(f"https://{HOST}/ws", "not followed"),
    ),
    Row(
        "200 with a login page",
        saying("200 OK", page="<html><title>Hotel Wi-Fi login</title></html>"),
        *(UP, PORTAL, Party.NETWORK),
        says=("Hotel Wi-Fi login", "browser"),
    ),
    Row(
        "200 with another page",
        saying("200 OK", page="<h1>It works!</h1>"),
        UP,
        SWALLOWED,
        Party.NETWORK,
        says=("It works!",),
    ),
    Row("511", saying("511 Network Authentication Required"), UP, PORTAL, Party.NETWORK),
    Row("400", saying("400 Bad Request"), UP, REFUSED, Party.SERVER),
    Row(
        "401",
        saying("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"'),
        UP,
        Cause.NOT_AUTHORIZED,
        Party.SERVER,
        says=("login over HTTP",),
    ),
    Row(
        "403 of a filter, by its header",
        saying("403 Forbidden", "Server: Zscaler/6.2"),
        *(UP, POLICY, Party.NETWORK),
        says=("Zscaler/6.2", "network team"),
    ),
    Row(
        "403 of a filter, by its Via",
        saying("403 Forbidden", "Via: 1.1 gw (McAfee Web Gateway 9.2)"),
        *(UP, POLICY, Party.NETWORK),
        says=("McAfee",),
    ),
    Row(
        "403 of a filter, by its page",
        saying("403 Forbidden", page="<title>Access denied: category blocked</title>"),
        *(UP, POLICY, Party.NETWORK),
        says=("Access denied: category blocked",),
    ),
    Row(
        "407 of a transparent proxy",
        saying("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x"),
        *(UP, Cause.PROXY_LOGIN_MISSING, Party.NETWORK),
        says=("transparent proxy", "MQTTWS_PROXY"),
    ),
    Row(
        "429 with Retry-After",
        saying("429 Too Many Requests", "Retry-After: 30"),
        *(UP, Cause.THROTTLED, Party.SERVER),
        says=("throttles", "30 s"),
    ),
    Row("451", saying("451 Unavailable For Legal Reasons"), UP, POLICY, Party.NETWORK),
    Row("500", saying("500 Internal Server Error"), UP, DOWN, Party.SERVER, says=("log",)),
    Row(
        "503 with Retry-After",
        saying("503 Service Unavailable", "Retry-After: 7200"),
        *(UP, DOWN, Party.SERVER),
        says=("overloaded", "3600 s"),
    ),
    Row("504", saying("504 Gateway Timeout"), UP, DOWN, Party.SERVER, says=("reverse proxy",)),
    Row(
        "505",
        saying("505 HTTP Version Not Supported"),
        *(UP, REFUSED, Party.SERVER),
        says=("HTTP/1.1", "proxy_http_version"),
    ),
    Row("418", saying("418 I'm a teapot"), UP, REFUSED, Party.SERVER, says=("418",)),
    Row(
        "a page that never ends",
        at_443(
            answers(
                b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\n\r\n<p>" + b"x" * 999,
                then_close=False,
            )
        ),
        *(UP, REFUSED, Party.SERVER),
    ),
    Row(
        "a page with control characters",
        saying("403 \x1b[31mred", "Server: \x1b]0;x\x07", page="<title>\x1b[2J\x1b[31m</title>"),
        *(UP, REFUSED, Party.SERVER),
    ),
    Row(
        "the answer is closed on",
        at_443(hang_up),
        UP,
        Cause.CUT_OFF,
        Party.NETWORK,
        says=("client certificate",),
    ),
    Row("the request is reset", at_443(reset), UP, Cause.CUT_OFF, Party.NETWORK),
    Row(
        "no answer",
        at_443(silent),
        *(UP, Cause.SILENT, Party.NETWORK),
        says=("or the server", "WebSocket"),
    ),
    Row(
        "an answer that stays unfinished",
        at_443(answers(b"HTTP/1.1 101 Switching\r\nX: y\r\n", then_close=False)),
        *(UP, Cause.SILENT, Party.NETWORK),
        says=("30 bytes of an unfinished answer",),
    ),
    Row(
        "HTTP/2 on this port",
        at_443(says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", first=True)),
        *(UP, Cause.NOT_HTTP, Party.SERVER),
        says=("not HTTP",),
    ),
    Row(
        "27 bytes, then closed",
        at_443(says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n123")),
        *(UP, Cause.NOT_HTTP, Party.SERVER),
    ),
    Row(
        "MQTT on this port",
        at_443(says(b"\x20\x02\x00\x05")),
        UP,
        Cause.NOT_HTTP,
        Party.SERVER,
        says=("8883",),
    ),
    Row("a wrong accept", switching(SUBPROTOCOL, accept="d3Jvbmc="), UP, SWALLOWED, Party.NETWORK),
    Row(
        "no subprotocol",
        switching(),
        UP,
        Cause.SUBPROTOCOL_REFUSED,
        Party.SERVER,
        says=("subprotocol",),
    ),
    Row(
        "another subprotocol",
        switching("Sec-WebSocket-Protocol: wamp"),
        UP,
        Cause.SUBPROTOCOL_REFUSED,
        Party.SERVER,
        says=("wamp",),
    ),
    Row(
        "101, then silence",
        switching(SUBPROTOCOL),
        *(Hop.CONNECT, Cause.SILENT, Party.SERVER),
        says=("or the network",),
    ),
    Row(
        "101, then closed",
        switching(SUBPROTOCOL, close=True),
        Hop.CONNECT,
        Cause.CUT_OFF,
        Party.SERVER,
    ),
    Row(
        "101, then a close with code 1008",
        switching(SUBPROTOCOL, then=b"\x88\x02\x03\xf0"),
        *(Hop.CONNECT, Cause.CUT_OFF, Party.SERVER),
    ),
    Row(
        "101, then a text frame",
        switching(SUBPROTOCOL, then=b"\x81\x02hi"),
        Hop.CONNECT,
        Cause.PROTOCOL_BROKEN,
        Party.SERVER,
    ),
]
