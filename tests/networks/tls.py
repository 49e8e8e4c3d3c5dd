"""TLS that breaks off, falls silent, or finds no common ground; middleboxes on the way."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws import TlsConfig
from mqttws.hops import Cause, Hop, Party

from .dns import Name
from .row import Device, Network, Row
from .world import (
    HOST,
    PUBLIC,
    Handler,
    World,
    hang_up,
    join,
    relay,
    reset,
    says,
    serving,
    silent,
)

TLS_1_3 = b"\x00\x2b"  # supported_versions (RFC 8446 section 4.2.1)


def at_443(handler: Handler, host: str = HOST, *, good: bool = False) -> Network:
    """A server by script on 443; ``good``: the DPS is open on 8883."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with serving(handler, 443):
            if good:
                async with world.good(8883):
                    yield Device(host)
            else:
                yield Device(host)

    return network


def intolerant(then: Handler, ports: tuple[int, ...] = (443, 8883)) -> Network:
    """A device on the way that passes hellos of TLS 1.2 on and not those of TLS 1.3."""

    def before(port: int) -> Handler:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hello = await reader.read(4096)
            if TLS_1_3 in hello[40:] and b"\x03\x04" in hello[hello.find(TLS_1_3, 40) :][:12]:
                reader.feed_data(b"x")
                await then(reader, writer)
                return
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            there_writer.write(hello)
            await join(reader, writer, there_reader, there_writer)

        return handler

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with serving(before(10443), 443), serving(before(18883), 8883):
            yield Device()

    return network


@asynccontextmanager
async def intolerant_and_capped(world: World) -> AsyncIterator[Device]:
    async with intolerant(reset)(world) as device:
        device.tls = TlsConfig(ca=world.ca, maximum_version=ssl.TLSVersion.TLSv1_2)
        yield device


def lost(*rules: str) -> Network:
    """Packets are lost on the way; the server shows a certificate of several packets."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        hosts = [HOST, *(f"host-{n}.of-a-long-name.example" for n in range(60))]
        context = world.pki.server(world.pki.leaf(hosts=hosts))
        world.firewall(*rules, hook="input")
        async with world.fronted(context):
            yield Device(tls=world.field_trust, hop_timeout=2.5)

    return network


def versions(low: ssl.TLSVersion, high: ssl.TLSVersion, ciphers: str = "") -> Network:
    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        context = world.pki.server(world.pki.leaf())
        if ciphers:
            context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = low, high
        async with world.fronted(context):
            yield Device(tls=world.field_trust)

    return network


@asynccontextmanager
async def old_server(world: World) -> AsyncIterator[Device]:
    import warnings

    context = world.pki.server(world.pki.leaf())
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with world.fronted(context):
        yield Device(tls=world.field_trust)


@asynccontextmanager
async def weak_dh(world: World) -> AsyncIterator[Device]:
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    context = world.pki.server(world.pki.leaf(key=key))
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_dh_params(world.pki.file(DH_1024))
    async with world.fronted(context):
        yield Device(tls=world.field_trust)


DH_1024 = b"""-----BEGIN DH PARAMETERS-----
MIGHAoGBAP//////////yQ/aoiFowjTExmKLgNwc0SkCTgiKZ8x0Agu+pjsTmyJR
Sgh5jjQE3e+VGbPNOkMbMCsKbfJfFDdP4TVtbVHCReSFtXZiXn7G9ExC6aY37WsL
/1y29Aa37e44a/taiZ+lrp8kEXxLH+ZJKGZR7OZTgf//////////AgEC
-----END DH PARAMETERS-----
"""  # RFC 2409 section 6.2, of 1024 bits


def client_certificate(version: ssl.TLSVersion, *, shown: bool = False) -> Network:
    """The server wants a client certificate, and knows none that is shown."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        context = world.pki.server(world.pki.leaf())
        context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=world.pki.root.der)
        tls = world.field_trust
        if shown:
            from .pki import issue, name

            own = issue(name("device"))
            tls = TlsConfig(ca=world.pki.root.pem, certificate=own.pem, key=own.key_pem)
        async with world.fronted(context):
            yield Device(tls=tls)

    return network


def alert(number: int) -> Handler:
    """Answer the hello with a fatal alert (RFC 8446 section 6)."""
    return says(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.7)
    await relay(10443)(reader, writer)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass the hello on, and only the first 300 bytes of the answer back."""
    hello = await reader.read(4096)
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", 10443)
    there_writer.write(hello)
    writer.write((await there_reader.read(4096))[:300])
    await silent(reader, writer)


@asynccontextmanager
async def first_address_silent(world: World) -> AsyncIterator[Device]:
    world.names[HOST] = Name(("127.0.0.1", "127.0.0.2"))
    async with serving(silent, 443), world.good(443, host="127.0.0.2"):
        yield Device(timeout=8.0)


ROWS = [
    Row("TLS 1.2 only", versions(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)),
    Row("TLS 1.3 only", versions(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)),
    Row("TLS is answered late", at_443(slow)),
    Row("a TLS 1.3-intolerant firewall, TLS capped at 1.2", intolerant_and_capped),
    Row(
        "a firewall resets hellos of TLS 1.3",
        intolerant(reset),
        *(Hop.TLS, Cause.TLS_1_3_INTOLERANT, Party.NETWORK),
        says=("--tls-max 1.2", "cannot stand a TLS 1.3 hello"),
        never=("speaks no TLS 1.2",),
        registers=True,
    ),
    Row(
        "a firewall swallows hellos of TLS 1.3",
        intolerant(silent),
        *(Hop.TLS, Cause.TLS_1_3_INTOLERANT, Party.NETWORK),
        says=("--tls-max 1.2",),
        never=("speaks no TLS 1.2",),
        registers=True,
    ),
    Row(
        "a firewall closes on hellos of TLS 1.3",
        intolerant(hang_up),
        *(Hop.TLS, Cause.TLS_1_3_INTOLERANT, Party.NETWORK),
        says=("--tls-max 1.2",),
        registers=True,
    ),
    Row(
        "TLS is not answered",
        at_443(silent),
        *(Hop.TLS, Cause.SILENT, Party.NETWORK),
        says=("or the server", "hotspot", "nothing came back"),
    ),
    Row(
        "the first of two addresses does not answer to TLS",
        first_address_silent,
        *(Hop.TLS, Cause.SILENT, Party.NETWORK),
        registers=True,
    ),
    Row(
        "TLS is not answered on 443, 8883 is open",
        at_443(silent, good=True),
        *(Hop.TLS, Cause.SILENT, Party.NETWORK),
        says=("--transport mqtts",),
    ),
    Row(
        "the hello is reset",
        at_443(reset),
        *(Hop.TLS, Cause.CUT_OFF, Party.NETWORK),
        says=("or the server",),
    ),
    Row(
        "the hello is reset for the public name",
        at_443(reset, PUBLIC),
        *(Hop.TLS, Cause.CUT_OFF, Party.NETWORK),
        never=("or the server",),
    ),
    Row("the hello is closed on", at_443(hang_up), Hop.TLS, Cause.CUT_OFF, Party.NETWORK),
    Row(
        "packets with data vanish",
        lost("tcp dport { 443, 8883 } meta length > 100 drop"),
        *(Hop.TLS, Cause.SILENT, Party.NETWORK),
        says=("not acknowledged", "never arrives"),
        never=("or the server",),
    ),
    Row(
        "large packets of the answer vanish (MTU)",
        lost("tcp sport { 443, 8883 } meta length > 1300 drop"),
        *(Hop.TLS, Cause.BLACK_HOLE, Party.NETWORK),
        says=("MTU", "mtu 1280"),
        never=("does not speak TLS",),
    ),
    Row(
        "half an answer",
        at_443(half),
        *(Hop.TLS, Cause.SILENT, Party.NETWORK),
        says=("bytes came back",),
    ),
    Row(
        "HTTP on the port of TLS",
        at_443(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        *(Hop.TLS, Cause.NOT_TLS, Party.SERVER),
        says=("HTTP without TLS: HTTP/1.1 400 Bad Request", "or this host"),
    ),
    Row(
        "a login page on the port of TLS",
        at_443(says(b"HTTP/1.1 302 Found\r\nLocation: http://portal.hotel.example/\r\n\r\n")),
        *(Hop.TLS, Cause.CAPTIVE_PORTAL, Party.NETWORK),
        says=("http://portal.hotel.example/", "login page"),
    ),
    Row(
        "a block page on the port of TLS",
        at_443(says(b"HTTP/1.1 403 No\r\nServer: Fortinet\r\n\r\n<title>Blocked</title>")),
        *(Hop.TLS, Cause.BLOCKED_BY_POLICY, Party.NETWORK),
        says=("Fortinet", "network team"),
    ),
    Row(
        "SSH on the port of TLS",
        at_443(says(b"SSH-2.0-OpenSSH_9.2\r\n", first=True)),
        *(Hop.TLS, Cause.NOT_TLS, Party.SERVER),
        says=("an SSH server", "SSH-2.0-OpenSSH_9.2"),
        never=("web server",),
    ),
    Row(
        "a server of TLS 1.1",
        old_server,
        *(Hop.TLS, Cause.TLS_VERSION, Party.SERVER),
        says=("TLS 1.1", "must be updated"),
    ),
    Row(
        "a server with one old cipher suite",
        versions(
            ssl.TLSVersion.TLSv1_2,
            ssl.TLSVersion.TLSv1_2,
            "ECDHE-ECDSA-CAMELLIA128-SHA256:@SECLEVEL=0",
        ),
        *(Hop.TLS, Cause.NO_COMMON_CIPHER, Party.SERVER),
        says=("no cipher suite in common",),
    ),
    Row(
        "Diffie-Hellman of 1024 bits",
        weak_dh,
        *(Hop.TLS, Cause.WEAK_KEY_EXCHANGE, Party.SERVER),
        says=("this machine refused", "2048"),
    ),
    Row(
        "alert handshake_failure",
        at_443(alert(40)),
        *(Hop.TLS, Cause.NO_COMMON_CIPHER, Party.SERVER),
        says=("cipher suite",),
    ),
    Row(
        "alert protocol_version",
        at_443(alert(70)),
        *(Hop.TLS, Cause.TLS_VERSION, Party.SERVER),
    ),
    Row(
        "alert internal_error",
        at_443(alert(80)),
        *(Hop.TLS, Cause.TLS_ALERT, Party.SERVER),
        says=("internal_error", "log"),
    ),
    Row(
        "alert unrecognized_name",
        at_443(alert(112)),
        *(Hop.TLS, Cause.CERTIFICATE_OTHER_NAME, Party.SERVER),
        says=("unrecognized_name",),
        never=("client certificate",),
    ),
    Row(
        "alert no_application_protocol",
        at_443(alert(120)),
        *(Hop.TLS, Cause.TLS_ALERT, Party.SERVER),
        says=("broke off", "no_application_protocol", "ALPN"),
        never=("tls: dps.test: failed",),
    ),
    Row(
        "alert insufficient_security",
        at_443(alert(71)),
        *(Hop.TLS, Cause.NO_COMMON_CIPHER, Party.SERVER),
    ),
    Row(
        "a client certificate is wanted, TLS 1.2",
        client_certificate(ssl.TLSVersion.TLSv1_2),
        *(Hop.TLS, Cause.NO_COMMON_CIPHER, Party.SERVER),
        says=("client certificate",),
    ),
    Row(
        "a client certificate is wanted, TLS 1.3",
        client_certificate(ssl.TLSVersion.TLSv1_3),
        *(Hop.UPGRADE, Cause.CLIENT_CERTIFICATE_MISSING, Party.HOST),
        says=("client certificate", "--cert"),
    ),
    Row(
        "the client certificate is refused, TLS 1.2",
        client_certificate(ssl.TLSVersion.TLSv1_2, shown=True),
        *(Hop.TLS, Cause.CLIENT_CERTIFICATE_REFUSED, Party.HOST),
        says=("refused this client's certificate",),
        sdk=False,
    ),
    Row(
        "the client certificate is refused, TLS 1.3",
        client_certificate(ssl.TLSVersion.TLSv1_3, shown=True),
        *(Hop.UPGRADE, Cause.CLIENT_CERTIFICATE_REFUSED, Party.HOST),
        says=("client's certificate",),
        sdk=False,
    ),
]
