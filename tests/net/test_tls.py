"""Whom a client trusts and what it proves itself with, from files and from memory."""

import asyncio
import datetime
import os
import signal
import ssl
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mqttws import (
    AsyncClient,
    CertificateRejected,
    ConnectFailed,
    Hop,
    ProxyConfig,
    ProxyRefused,
    Step,
    TlsConfig,
    UnusableFile,
    UsageError,
    X509Certificate,
)
from mqttws.hops import Cause, Party
from mqttws.local.certificates import make_ca, make_server_certificate
from mqttws.net import certificate as certificate_module
from mqttws.net import issuers as issuers_module
from mqttws.net import tls as tls_module

from ..conftest import peer_missing, require_program
from ..peers import programs
from ..ports import free_port
from .rogue import listening, silent

PEM = serialization.Encoding.PEM
PASSWORD = "s3cret-of-the-key"


def pem_of(key: ec.EllipticCurvePrivateKey, password: str | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


@dataclass
class World:
    """A CA, a server that wants a client certificate from it, and a client that has one."""

    ca: bytes
    certificate: bytes
    key: bytes
    encrypted: bytes
    other_key: bytes
    server_file: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    now = datetime.datetime.now(datetime.UTC)
    ca, ca_key = make_ca(now)
    server, server_key = make_server_certificate(ca, ca_key, ("127.0.0.1",), now)
    key = ec.generate_private_key(ec.SECP256R1())
    client = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "my-device")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(server.public_bytes(PEM) + pem_of(server_key) + ca.public_bytes(PEM))
    return World(
        ca.public_bytes(PEM),
        client.public_bytes(PEM),
        pem_of(key),
        pem_of(key, PASSWORD),
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        file,
    )


async def name_seen(world: World, tls: TlsConfig | ssl.SSLContext) -> str:
    """Return the common name that a server sees in the client's certificate; empty for none."""
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    context.load_verify_locations(cadata=world.ca.decode())
    context.verify_mode = ssl.CERT_OPTIONAL

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert") or {}
        names = [value for part in shown.get("subject", ()) for key, value in part]
        await reader.read(1)
        seen.set_result(names[0] if names else "")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        client = AsyncClient(f"mqtts://127.0.0.1:{port}", tls=tls, proxy=None)
        with pytest.raises(ConnectFailed) as caught:
            await client.connect()
        assert caught.value.hop is Hop.CONNECT
        return await seen
    finally:
        server.close()


@pytest.fixture(params=["memory", "disk"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to hand OpenSSL a key: Linux's, and everybody else's."""
    if request.param == "disk":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memfd")
    monkeypatch.setattr(tls_module, "_contexts", {})
    return str(request.param)


async def test_a_client_certificate_from_memory_and_from_files(
    world: World, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    (tmp_path / "c.pem").write_bytes(world.certificate)
    (tmp_path / "k.pem").write_bytes(world.key)
    (tmp_path / "both.pem").write_bytes(world.key + world.certificate)
    configs = [
        TlsConfig(world.ca, certificate=world.certificate, key=world.key),
        TlsConfig(world.ca, certificate=world.certificate + world.key),
        TlsConfig(world.ca, certificate=tmp_path / "c.pem", key=str(tmp_path / "k.pem")),
        TlsConfig(world.ca, certificate=tmp_path / "both.pem"),
        TlsConfig(
            world.ca, certificate=world.certificate, key=world.encrypted, key_password=PASSWORD
        ),
    ]
    for config in configs:
        assert await name_seen(world, config) == "my-device"
    assert await name_seen(world, TlsConfig(world.ca)) == ""
    assert list(place.iterdir()) == []


async def test_a_devices_certificate_goes_the_same_way(
    world: World, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded is never the key as it is, though the chain's file holds it, too."""
    read: list[bytes] = []

    class Watched(ssl.SSLContext):
        def load_cert_chain(self, certfile: str, keyfile: object = None, password: object = None):
            read.append(Path(certfile).read_bytes())
            super().load_cert_chain(certfile, keyfile, password)

    both = world.certificate + world.key
    device = X509Certificate(both, both)
    context = device.context(TlsConfig(world.ca))
    assert await name_seen(world, context) == "my-device"
    monkeypatch.setattr(TlsConfig, "new_context", lambda self: Watched(ssl.PROTOCOL_TLS_CLIENT))
    device.context(None)
    assert b"PRIVATE KEY" not in read[0].replace(b"ENCRYPTED PRIVATE KEY", b"")
    assert (b"ENCRYPTED PRIVATE KEY" in read[0]) == (storage == "disk")


async def test_a_prepared_context_passes_through_untouched(world: World, tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(world.key + world.certificate)
    context = ssl.create_default_context(cadata=world.ca.decode())
    context.load_cert_chain(tmp_path / "both.pem")
    context.set_alpn_protocols(["x"])

    def settings() -> list[object]:
        names = ("minimum_version", "maximum_version", "verify_flags", "verify_mode", "options")
        return [getattr(context, name) for name in names] + [
            context.check_hostname,
            context.cert_store_stats(),
        ]

    before = settings()
    assert await name_seen(world, context) == "my-device"
    assert tls_module.client_context(context) is context
    assert settings() == before


def test_what_cannot_be_used_is_refused_without_a_question_on_the_terminal(
    world: World, storage: str
) -> None:
    certificate = world.certificate
    wrong = [
        lambda: TlsConfig(certificate=certificate, key=world.encrypted),
        lambda: TlsConfig(certificate=certificate, key=world.encrypted, key_password="no"),
        lambda: TlsConfig(certificate=certificate, key=world.other_key),
        lambda: TlsConfig(certificate=certificate, key=b"no key"),
        lambda: TlsConfig(certificate=certificate),
        lambda: TlsConfig(certificate=b"no certificate", key=world.key),
        lambda: TlsConfig(key=world.key),
        lambda: TlsConfig(minimum_version=ssl.TLSVersion.TLSv1_1),
        lambda: TlsConfig(minimum_version=ssl.TLSVersion.MINIMUM_SUPPORTED),
        lambda: TlsConfig(only_ca=True),
        lambda: TlsConfig(b"", only_ca=True),
    ]
    for make in wrong:
        with pytest.raises(UsageError) as caught:
            make().context()
        assert PASSWORD not in str(caught.value)


def test_nothing_shows_a_key_or_its_password(world: World) -> None:
    config = TlsConfig(certificate=world.certificate, key=world.encrypted, key_password=PASSWORD)
    assert "PRIVATE" not in repr(config)
    assert PASSWORD not in repr(config)
    assert "s3cret" not in repr(tls_module._contexts)


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
def test_pem_text_in_place_of_a_path_is_refused_without_being_shown(
    world: World, name: str
) -> None:
    parts: dict[str, Any] = {"certificate": world.certificate, name: world.key.decode()}
    with pytest.raises(UsageError, match="PEM in a str") as caught:
        TlsConfig(**parts).context()
    assert world.key.decode().splitlines()[1] not in str(caught.value)
    with pytest.raises(UsageError, match="PEM in a str") as caught:
        X509Certificate(world.certificate, world.key.decode())
    assert world.key.decode().splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("given", ["a\0b", 5])
def test_what_is_no_path_is_refused(given: Any) -> None:
    with pytest.raises(UsageError):
        TlsConfig(ca=given).context()


def test_a_context_is_built_once_for_the_same_content(world: World, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(world.ca)
    first = TlsConfig(file).context()
    assert TlsConfig(world.ca).context() is first
    assert TlsConfig(world.ca, minimum_version=ssl.TLSVersion.TLSv1_3).context() is not first
    file.write_bytes(world.ca + world.ca.replace(b"\n", b"\r\n"))
    assert TlsConfig(file).context() is not first, "a file that has changed is read again"


def test_a_ca_is_added_to_the_systems_or_stands_alone(world: World) -> None:
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert system > 0, "this machine has no CAs: the test would prove nothing"
    assert TlsConfig(world.ca).context().cert_store_stats()["x509_ca"] == system + 1
    assert TlsConfig(world.ca, only_ca=True).context().cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("config", [TlsConfig(), TlsConfig(minimum_version=ssl.TLSVersion.TLSv1_3)])
def test_checks_are_always_on(config: TlsConfig) -> None:
    context = config.context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is config.minimum_version


async def test_a_minimum_version_is_kept_to(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(silent, context) as port:
        for minimum, hop in (
            (ssl.TLSVersion.TLSv1_2, Hop.UPGRADE),
            (ssl.TLSVersion.TLSv1_3, Hop.TLS),
        ):
            client = AsyncClient(
                f"wss://127.0.0.1:{port}/",
                tls=TlsConfig(world.ca, minimum_version=minimum),
                proxy=None,
                hop_timeout=1.0,
            )
            with pytest.raises(ConnectFailed) as caught:
                await client.connect()
            assert caught.value.hop is hop


async def test_a_proxy_is_not_shown_the_certificate_for_the_server(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    context.load_verify_locations(cadata=world.ca.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    seen: list[object] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(writer.get_extra_info("peercert"))
        writer.write(b"HTTP/1.1 403 No\r\n\r\n")
        await writer.drain()

    mine = TlsConfig(world.ca, certificate=world.certificate, key=world.key)
    async with listening(refuse, context) as port:
        url = f"https://127.0.0.1:{port}"
        for proxy in (ProxyConfig(url), ProxyConfig(url, tls=mine)):
            client = AsyncClient("wss://dps.test/", tls=mine, proxy=proxy)
            with pytest.raises(ProxyRefused):
                await client.connect()
    assert not seen[0]
    assert seen[1], "a certificate that is meant for the proxy is shown"


def test_truststore_asks_the_operating_system(world: World) -> None:
    try:
        import truststore
    except ImportError:
        with pytest.raises(UsageError) as caught:
            TlsConfig(truststore=True).context()
        assert "pip install" in caught.value.hint
        peer_missing("truststore is not installed")
    context = TlsConfig(world.ca, truststore=True).context()
    assert isinstance(context, truststore.SSLContext)


# A server that does not take the client's certificate


@pytest.mark.parametrize("scheme", ["wss", "mqtts"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("shown", ["none", "unknown"])
async def test_a_refused_client_certificate_is_said_to_be_the_matter(
    world: World, tmp_path: Path, scheme: str, version: str, shown: str
) -> None:
    """With TLS 1.3 the handshake is over by then, and the alert may be lost with the connection."""
    (tmp_path / "ca.pem").write_bytes(world.ca)
    port = free_port()
    command = [require_program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-quiet"]
    command += ["-cert", str(world.server_file), version, "-CAfile", str(tmp_path / "ca.pem")]
    command += ["-Verify", "2", "-verify_return_error"]
    stranger, key = make_ca(datetime.datetime.now(datetime.UTC))
    tls = TlsConfig(world.ca)
    if shown == "unknown":
        tls = TlsConfig(world.ca, certificate=stranger.public_bytes(PEM), key=pem_of(key))
    with programs.running(command, port, tmp_path):
        for _ in range(3):  # whether the alert arrives is a race
            steps: list[Step] = []
            client = AsyncClient(
                f"{scheme}://127.0.0.1:{port}/", tls=tls, proxy=None, on_step=steps.append
            )
            with pytest.raises(ConnectFailed) as caught:
                await client.connect()
            error = caught.value
            assert error.hop in (Hop.TLS, Hop.UPGRADE, Hop.CONNECT)
            if shown == "unknown":
                assert "client's certificate" in error.hint
                assert "whole chain" in error.hint or version == "-tls1_2"
                assert error.party is Party.HOST


async def test_a_missing_client_certificate_is_called_so_where_the_alert_arrives(
    world: World,
) -> None:
    """The server reads on after its alert, so that the client gets to see it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    context.load_verify_locations(cadata=world.ca.decode())
    context.verify_mode = ssl.CERT_REQUIRED

    async def alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            incoming.write(await reader.read(65536))
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
            except ssl.SSLError:
                break
        writer.write(outgoing.read())
        writer.write_eof()
        await reader.read()

    for scheme, hop in (("wss", Hop.UPGRADE), ("mqtts", Hop.CONNECT)):
        async with listening(alert) as port:
            client = AsyncClient(
                f"{scheme}://127.0.0.1:{port}/", tls=TlsConfig(world.ca), proxy=None
            )
            with pytest.raises(ConnectFailed) as caught:
                await client.connect()
        assert caught.value.hop is hop
        assert "wants a client certificate and was shown none" in caught.value.hint


async def test_a_client_that_shows_nothing_is_not_told_of_its_certificate(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    for config, told in (
        (TlsConfig(world.ca), False),
        (TlsConfig(world.ca, certificate=world.certificate, key=world.key), True),
    ):
        for scheme in ("wss", "mqtts"):
            async with listening(leave, context) as port:
                client = AsyncClient(f"{scheme}://127.0.0.1:{port}/", tls=config, proxy=None)
                with pytest.raises(ConnectFailed) as caught:
                    await client.connect()
            assert ("probably refused it" in caught.value.hint) is told


def test_a_certificates_names_cannot_write_on_the_terminal() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "\x1b[2J\n\u202e")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, now, now)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    facts = certificate_module.parse_certificate(made)
    assert (facts.subject + facts.issuer).isprintable()


# The chain that a server has proved itself with


async def test_the_steps_of_tls_have_the_chain_up_to_the_trusted_root(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    steps: list[Step] = []
    async with listening(leave, context) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/", tls=TlsConfig(world.ca), proxy=None, on_step=steps.append
        )
        with pytest.raises(ConnectFailed):
            await client.connect()
    (shown,) = {step.certificates for step in steps if step.hop is Hop.TLS}
    subjects = [certificate_module.parse_certificate(der).subject for der in shown]
    assert [subject.split(",")[0] for subject in subjects] == [
        "CN=mqttws local DPS",
        "CN=mqttws development CA",
    ]


# A process that is killed while OpenSSL reads the key

KILLED = """
import os, signal, ssl, sys
del os.memfd_create
from mqttws import TlsConfig
certificate, key = sys.stdin.buffer.read().split(b"=====")
ssl.SSLContext.load_cert_chain = lambda *given, **more: os.kill(os.getpid(), signal.SIGKILL)
TlsConfig(certificate=certificate, key=key).context()
"""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone has both ways")
def test_a_killed_process_leaves_no_usable_key(world: World, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        input=world.certificate + b"=====" + world.key,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.iterdir()  # it was in the middle of it
    assert left.stat().st_mode & 0o777 == 0o600
    text = left.read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in text
    assert world.key.split(b"\n")[1] not in text
    for password in (None, b"", PASSWORD.encode()):
        with pytest.raises((TypeError, ValueError)):
            serialization.load_pem_private_key(text, password)


def test_a_file_is_read_again_only_after_a_change(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    read_pem = tls_module.read_pem  # type: ignore[attr-defined]

    def noted(source: Any, what: str) -> Any:
        read.append(source)
        return read_pem(source, what)

    monkeypatch.setattr(tls_module, "read_pem", noted)
    ca, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    ca.write_bytes(world.certificate)
    other.write_bytes(world.certificate)
    config = TlsConfig(ca=ca, only_ca=True)
    context = config.context()
    assert config.context() is context
    assert len(read) == 2, "it was changed just now, and perhaps once more since"
    monkeypatch.setattr("mqttws.net.pem.SETTLED", -60.0)
    assert [config.context() for _ in range(3)] == [context] * 3
    assert len(read) == 3
    assert TlsConfig(ca=other, only_ca=True).context() is context, "the content counts"
    assert TlsConfig(ca=ca).context() is not context
    ca.write_bytes(world.certificate + b"\n")
    assert config.context() is not context
    ca.unlink()
    with pytest.raises(UnusableFile):
        config.context()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memfd")
def test_with_memfd_a_key_never_touches_the_disk(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "_contexts", {})
    monkeypatch.setattr(tempfile, "mkstemp", lambda **given: pytest.fail("a file"))
    before = set(os.listdir("/proc/self/fd"))
    TlsConfig(certificate=world.certificate, key=world.key).context()
    assert set(os.listdir("/proc/self/fd")) == before


# What was wrong with a certificate


async def rejected(
    server: ssl.SSLContext, tls: TlsConfig
) -> tuple[CertificateRejected, list[bytes]]:
    """Return why a server's certificate is rejected, and what the server ever got in TLS."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65536))  # at once: an abort may take it back
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    try:
        client = AsyncClient(f"wss://127.0.0.1:{port}/", tls=tls, proxy=None)
        with pytest.raises(CertificateRejected) as caught:
            await client.connect()
    finally:
        listening.close()
    return caught.value, got


async def test_the_certificate_of_a_local_service_asks_for_its_ca(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    error, _ = await rejected(context, TlsConfig())
    assert (error.cause, error.party) == (Cause.ISSUER_UNKNOWN, Party.CALLER)
    assert "--ca DIR/ca.pem" in error.hint
    assert "intercepting" not in error.hint


async def test_a_rejected_certificate_is_described_and_gets_no_byte(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers_module, "DEVELOPMENT_CA", "the name of another")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    error, got = await rejected(context, TlsConfig())
    seen = error.certificate
    assert seen is not None
    assert "CN=mqttws development CA" in seen.issuer
    assert seen.not_before < datetime.datetime.now(datetime.UTC) < seen.not_after
    assert "CN=mqttws development CA" in str(error)
    assert "unable to get local issuer" in error.reason or "self-signed" in error.reason
    assert "not a public issuer: probably an intercepting proxy" in error.hint
    assert set(got) <= {b""}


async def test_a_rejected_certificate_is_described_without_a_second_connection(
    world: World,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    connections = 0

    def started(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        tasks.append(asyncio.ensure_future(secure(reader, writer)))

    async def secure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await writer.start_tls(context)
        writer.close()

    tasks: list[asyncio.Future[None]] = []
    server = await asyncio.start_server(started, "127.0.0.1", 0)
    try:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(CertificateRejected) as caught:
            await AsyncClient(url, proxy=None).connect()
        assert caught.value.certificate is not None
        assert "CN=mqttws development CA" in str(caught.value)
    finally:
        server.close()
        await asyncio.gather(*tasks)
    assert connections == 1


@pytest.mark.parametrize(
    "names",
    [b"\x30\x04\xa3\x02\x30\x00", b"\x30\x05\x87\x03abc", b"\x30\x04\x82\x02\xff\xfe"],
    ids=["an X.400 address", "an address of three bytes", "a name that is not ASCII"],
)
async def test_a_rejected_certificate_with_odd_names_is_described_all_the_same(
    tmp_path: Path, names: bytes
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    now = datetime.datetime.now(datetime.UTC)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), names)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 5)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(odd, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "odd.pem"
    file.write_bytes(pem_of(key) + certificate.public_bytes(PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    error, _ = await rejected(context, TlsConfig())
    assert error.certificate is not None
    assert (error.certificate.subject, error.certificate.names) == ("CN=odd", ())


async def test_a_public_issuers_missing_intermediate_is_not_called_an_interception(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setattr(issuers_module, "DEVELOPMENT_CA", "the name of another")
    monkeypatch.setattr(
        issuers_module,
        "public_organisations",
        lambda: frozenset({"mqttws development, not to be trusted"}),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server_file)
    error, _ = await rejected(context, TlsConfig())
    assert error.cause is Cause.INTERMEDIATE_MISSING
    assert error.party is Party.SERVER
    assert "intermediate" in error.hint
    assert "intercepting" not in error.hint
