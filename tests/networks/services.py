"""Behind an open way: MQTT and DPS, credentials, clocks, and certificates behind an interceptor."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mqttws import SymmetricKey, TlsConfig, X509Certificate
from mqttws.hops import Cause, Hop, Party

from .pki import issue, name
from .row import Device, Network, Row
from .world import PUBLIC, Handler, World, serving, silent


def at_8883(handler: Handler) -> Network:
    """MQTT over TLS by script."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        async with serving(handler, 8883, world.pki.server(world.pki.leaf())):
            yield Device(tls=world.field_trust, options={"transport": "mqtts"})

    return network


def answering(data: bytes, *, then_close: bool = False) -> Network:
    """Answer CONNECT with these bytes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(data)
        await writer.drain()
        if not then_close:
            await silent(reader, writer)

    return at_8883(handler)


def registering(*, key: str = "", device: str = "my-device", scope: str = "") -> Network:
    """The doctor registers a device with this credential."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        credential = SymmetricKey(device, key or world.key)
        async with world.good():
            yield Device(
                options={"id_scope": scope or world.dps.id_scope, "credential": credential}
            )

    return network


def ordered(kind: str, **members: object) -> Network:
    """The DPS fails on order."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        name = f"device-of-{kind}"
        key = await world.dps.enroll_device(name)
        await world.dps.fault(kind, name, times=None, **members)
        async with registering(device=name, key=key)(world) as device:
            yield device

    return network


def with_certificate(organization: str, host: str = "dps.test") -> Network:
    """An enrolled device with a certificate, behind a proxy that re-signs TLS, its CA given."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        own = issue(_common("my-cert-device"))
        primary = {"certificate": own.pem.decode()}
        x509 = {"clientCertificates": {"primary": primary}}
        await world.dps.enroll(
            {
                "registrationId": "my-cert-device",
                "attestation": {"type": "x509", "x509": x509},
            },
            replace=True,
        )
        root = issue(name(f"{organization} CA", organization), ca=True)
        leaf = issue(name(host, organization), root, hosts=[host])
        async with world.fronted(world.pki.server(leaf)):
            yield Device(
                host,
                tls=TlsConfig(ca=root.pem),
                options={
                    "id_scope": world.dps.id_scope,
                    "credential": X509Certificate(own.pem, own.key_pem),
                },
            )

    return network


def _common(text: str):  # type: ignore[no-untyped-def]
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


WRONG = b64encode(bytes(64)).decode()
CONNECT, REGISTER = Hop.CONNECT, Hop.REGISTER

ROWS = [
    Row("the device registers", registering(), sdk=False),
    Row(
        "MQTT of another version (CONNACK 1)",
        answering(b"\x20\x02\x00\x01"),
        *(CONNECT, Cause.VERSION_REFUSED, Party.SERVER),
    ),
    Row(
        "CONNECT is not answered",
        answering(b""),
        CONNECT,
        Cause.SILENT,
        Party.SERVER,
        says=("or the network",),
    ),
    Row(
        "CONNECT is answered by closing",
        answering(b"", then_close=True),
        CONNECT,
        Cause.CUT_OFF,
        Party.SERVER,
    ),
    Row(
        "CONNECT is answered by HTTP",
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        CONNECT,
        Cause.PROTOCOL_BROKEN,
        Party.SERVER,
        says=("HTTP/1.1 400 Bad Request",),
    ),
    Row(
        "a wrong key",
        registering(key=WRONG),
        *(REGISTER, Cause.WRONG_KEY, Party.HOST),
        says=("401", "key"),
        sdk=False,
    ),
    Row(
        "a device that is not enrolled",
        registering(device="stranger"),
        REGISTER,
        Cause.NOT_ENROLLED,
        Party.HOST,
        sdk=False,
    ),
    Row(
        "a wrong id scope",
        registering(scope="0ne00WRONG"),
        *(CONNECT, Cause.SCOPE_UNKNOWN, Party.HOST),
        says=("id scope",),
        sdk=False,
    ),
    Row(
        "DPS throttles",
        ordered("answer", status=429, retry_after=2),
        *(REGISTER, Cause.THROTTLED, Party.SERVER),
        says=("429",),
        sdk=False,
    ),
    Row(
        "DPS does not answer",
        ordered("silence"),
        *(REGISTER, Cause.SILENT, Party.SERVER),
        sdk=False,
    ),
    Row(
        "a device's certificate behind Zscaler",
        with_certificate("Zscaler Inc."),
        *(REGISTER, Cause.INTERCEPTED, Party.NETWORK),
        says=("re-signed", "use a key", "exempt"),
        never=("check the key",),
        sdk=False,
    ),
    Row(
        "a device's certificate behind a gateway, public name",
        with_certificate("Corp Gateway", PUBLIC),
        *(REGISTER, Cause.INTERCEPTED, Party.NETWORK),
        says=("re-signed", "exempt"),
        never=("check the key",),
        sdk=False,
    ),
    Row(
        "a device's certificate behind a CA that nobody knows",
        with_certificate("Field Test Ltd"),
        *(REGISTER, Cause.WRONG_KEY, Party.HOST),
        says=("or the network", "not a public CA"),
        never=("check the key",),
        sdk=False,
    ),
]
