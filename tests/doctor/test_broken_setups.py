"""Set-ups that are broken in one place, with real programs: the doctor names that very hop."""

import asyncio
import datetime
import json
import os
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mqttws import AsyncLocalDps, Hop, Report, SymmetricKey, TlsConfig, diagnose_async
from mqttws.hops import Party
from mqttws.local import certificates
from mqttws.local.certificates import make_ca, make_server_certificate, prepare_certificates
from mqttws.net import issuers

from ..conftest import peer_missing, require_program
from ..peers import programs
from ..peers.programs import USER, WORD, Program
from ..ports import free_port

PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem``, ``server.pem`` and ``server.key`` for the local addresses."""
    place = tmp_path_factory.mktemp("doctor")
    prepare_certificates(place, ("127.0.0.1", socket.gethostname()))
    return place


@pytest.fixture
def dps(files: Path) -> AsyncLocalDps:
    return AsyncLocalDps(state=files, retry_after=0)


async def examine(port: int | None, files: Path, **options: object) -> Report:
    options.setdefault("tls", TlsConfig(ca=files / "ca.pem"))
    options.setdefault("hop_timeout", 3.0)
    options.setdefault("proxy", None)
    return await diagnose_async("127.0.0.1", port=port, **options)


def found(report: Report, hop: Hop, party: Party, *words: str) -> None:
    """Check what a report says, and that it says it everywhere alike."""
    assert (report.hop, report.party) == (hop, party), report.to_json()
    assert report.error is not None
    assert report.exit_code == hop.exit_code + (0 if report.error.retryable else 40)
    assert report.to_json()["hop"] == hop.value
    assert report.steps[-1].hop is hop
    text = json.dumps(report.to_json())
    for word in words:
        assert word in text
    assert USER not in text
    assert WORD not in text
    assert report.advice


async def test_a_way_that_is_open(dps: AsyncLocalDps, files: Path) -> None:
    async with dps:
        key = await dps.enroll_device("my-device")
        nameless = await examine(dps.wss_port, files)
        assert nameless.ok
        assert nameless.exit_code == 0
        assert nameless.steps[-1].hop is Hop.CONNECT
        report = await examine(
            dps.wss_port, files, id_scope=dps.id_scope, credential=SymmetricKey("my-device", key)
        )
        assert report.ok, report.to_json()
        assert {step.hop for step in report.steps} >= {Hop.SUBSCRIBE, Hop.REGISTER}
        assert report.warnings == ()
        tls = next(step for step in report.steps if step.hop is Hop.TLS)
        assert tls.facts.keys() >= {"version", "cipher", "subject", "issuer", "expires", "chain"}
        assert [name.split(",")[0] for name in tls.facts["chain"].split(" <- ")] == [
            "CN=mqttws local DPS",
            "CN=mqttws development CA",
        ]
        assert report.clock_skew is not None
        assert abs(report.clock_skew) < 60
        assert key not in json.dumps(report.to_json())


async def test_behind_a_proxy_a_closed_direct_way_is_no_alarm(
    dps: AsyncLocalDps, files: Path
) -> None:
    with programs.squid() as squid:
        async with dps:
            report = await examine(dps.wss_port, files, proxy=f"http://127.0.0.1:{squid.port}")
            assert report.ok
            assert report.alternatives == ()
            await squid.wait_for_log("TCP_TUNNEL/200")


async def test_port_rejected(files: Path) -> None:
    report = await examine(free_port(), files)
    found(report, Hop.TCP, Party.SERVER, "refused")


async def test_a_name_that_is_none(files: Path) -> None:
    report = await diagnose_async("a..b", proxy=None, hop_timeout=3.0)
    found(report, Hop.NAME, Party.HOST, "spelling")


async def test_a_proxy_that_is_not_there(files: Path) -> None:
    report = await examine(443, files, proxy=f"http://127.0.0.1:{free_port()}")
    found(report, Hop.PROXY_TCP, Party.PROXY, "refused")


async def test_a_proxy_that_is_avoided_can_be_told_from_one_that_is_needed(
    dps: AsyncLocalDps, files: Path
) -> None:
    async with dps:
        report = await examine(dps.wss_port, files, proxy=f"http://127.0.0.1:{free_port()}")
    found(report, Hop.PROXY_TCP, Party.PROXY, "use what works: without the proxy")


async def test_proxy_wants_a_login_and_wrong_login(dps: AsyncLocalDps, files: Path) -> None:
    with programs.squid(login=True) as squid:
        async with dps:
            none = await examine(dps.wss_port, files, proxy=f"http://127.0.0.1:{squid.port}")
            found(none, Hop.PROXY, Party.HOST, "407", "wants a login", "MQTTWS_PROXY")
            assert "wants a login" in none.advice[0]
            assert none.advice[1] == "use what works: without the proxy (--proxy none)"
            wrong = await examine(
                dps.wss_port, files, proxy=f"http://{USER}:x{WORD}@127.0.0.1:{squid.port}"
            )
            found(wrong, Hop.PROXY, Party.HOST, "407", "does not accept this login")
            assert "with a login" in "".join(wrong.settings)


async def test_tinyproxy_says_401_to_a_wrong_login(dps: AsyncLocalDps, files: Path) -> None:
    with programs.tinyproxy(login=True) as proxy:
        async with dps:
            report = await examine(
                dps.wss_port, files, proxy=f"http://{USER}:x{WORD}@127.0.0.1:{proxy.port}"
            )
    found(report, Hop.PROXY, Party.HOST, "401", "does not accept this login")


@pytest.mark.parametrize(
    "rules",
    ["acl far dst 127.0.0.1\nhttp_access deny far", "acl ok port 443\nhttp_access deny !ok"],
    ids=["host", "port"],
)
async def test_proxy_forbids(dps: AsyncLocalDps, files: Path, rules: str) -> None:
    with programs.squid(rules=f"{rules}\nhttp_access allow all") as squid:
        async with dps:
            report = await examine(dps.wss_port, files, proxy=f"http://127.0.0.1:{squid.port}")
    found(report, Hop.PROXY, Party.PROXY, "403", "ERR_ACCESS_DENIED", "forbids this host")


async def test_dante_forbids(dps: AsyncLocalDps, files: Path) -> None:
    rules = "socks block {\n  from: 0/0 to: 0/0\n  log: connect error\n}"
    with programs.dante(rules=rules) as dante:
        async with dps:
            report = await examine(dps.wss_port, files, proxy=f"socks5h://127.0.0.1:{dante.port}")
    found(report, Hop.PROXY, Party.PROXY, "not allowed by the rules")


async def test_the_server_is_down_behind_the_proxy(files: Path) -> None:
    with programs.squid() as squid:
        report = await examine(free_port(), files, proxy=f"http://127.0.0.1:{squid.port}")
    found(report, Hop.PROXY, Party.SERVER, "503", "cannot reach the server")


async def test_the_ca_of_a_local_dps_was_not_given(dps: AsyncLocalDps, files: Path) -> None:
    async with dps:
        report = await examine(dps.wss_port, files, tls=None)
    found(report, Hop.TLS, Party.CALLER, "mqttws development CA", "ca.pem", "wrong machine")


async def test_ca_unknown(dps: AsyncLocalDps, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "DEVELOPMENT_CA", "the name of another")
    async with dps:
        report = await examine(dps.wss_port, files, tls=None)
    found(
        report, Hop.TLS, Party.NETWORK, "mqttws development CA", "not a public issuer", "add its CA"
    )


async def test_a_proxy_re_signs_tls(dps: AsyncLocalDps, files: Path) -> None:
    with programs.mitmproxy() as (proxy, _):
        async with dps:
            report = await examine(
                dps.wss_port, files, proxy=f"http://127.0.0.1:{proxy.port}", hop_timeout=10.0
            )
    found(report, Hop.TLS, Party.PROXY, "mitmproxy", "the proxy is in the way")


@contextmanager
def openssl_server(
    place: Path, *options: str, host: str = "127.0.0.1", age: int = 0
) -> Iterator[Program]:
    """Run ``openssl s_server``, mute after TLS, with a certificate of its own made days ago."""
    now = datetime.datetime.now(datetime.UTC)
    ca, ca_key = make_ca(now - datetime.timedelta(days=age))
    made, key = make_server_certificate(ca, ca_key, (host,), now - datetime.timedelta(days=age))
    (place / "ca.pem").write_bytes(ca.public_bytes(PEM))
    (place / "both.pem").write_bytes(
        made.public_bytes(PEM)
        + key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    port = free_port()
    command = [require_program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}"]
    command += ["-cert", str(place / "both.pem"), "-quiet", *options]
    with programs.running(command, port, place) as started:
        yield started


async def test_name_wrong(tmp_path: Path) -> None:
    with openssl_server(tmp_path, host="elsewhere.example") as server:
        report = await examine(server.port, tmp_path)
    found(report, Hop.TLS, Party.SERVER, "elsewhere.example", "by a name that it holds")


async def test_expired_certificate(tmp_path: Path) -> None:
    with openssl_server(tmp_path, age=500) as server:
        report = await examine(server.port, tmp_path)
    found(report, Hop.TLS, Party.SERVER, "expired", "103 days ago")


async def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    with openssl_server(tmp_path, age=390) as server:
        report = await examine(server.port, tmp_path, hop_timeout=1.0)
    assert report.hop is Hop.UPGRADE  # the server is mute
    (warning,) = report.warnings
    assert "tls: the certificate of CN=mqttws local DPS" in warning
    assert "ends in 7 days" in warning


async def test_a_client_certificate_that_the_server_does_not_know(
    files: Path, tmp_path: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    made, key = make_ca(now)
    key_pem = key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with openssl_server(tmp_path, "-Verify", "2", "-verify_return_error") as server:
        tls = TlsConfig(tmp_path / "ca.pem", certificate=made.public_bytes(PEM), key=key_pem)
        report = await examine(server.port, files, tls=tls)
    found(report, Hop.UPGRADE, Party.HOST, "client's certificate", "whole chain")


async def test_tls_1_1_server(tmp_path: Path) -> None:
    with openssl_server(tmp_path, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0") as server:
        report = await examine(server.port, tmp_path)
    found(report, Hop.TLS, Party.SERVER, "TLS 1.1")


async def test_silence_after_tls(tmp_path: Path) -> None:
    with openssl_server(tmp_path) as server:
        report = await examine(server.port, tmp_path, hop_timeout=1.0)
    found(report, Hop.UPGRADE, Party.NETWORK, "no answer within 1 s")


async def test_a_port_without_tls(files: Path) -> None:
    port = free_port()
    with programs.nginx(f"server {{ listen 127.0.0.1:{port}; }}", port):
        report = await examine(port, files)
    found(report, Hop.TLS, Party.SERVER, "does not speak TLS")


def nginx_tls(files: Path, port: int, location: str) -> str:
    return (
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {files}/server.pem;"
        f" ssl_certificate_key {files}/server.key; location / {{ {location} }} }}"
    )


@pytest.mark.parametrize("status", [400, 403, 404, 502])
async def test_upgrade_refused(files: Path, status: int) -> None:
    port = free_port()
    with programs.nginx(nginx_tls(files, port, f"return {status};"), port):
        report = await examine(port, files)
    found(report, Hop.UPGRADE, Party.SERVER, f"HTTP {status}", "nginx")


async def test_another_path_is_tried(files: Path, dps: AsyncLocalDps) -> None:
    async with dps:
        report = await examine(dps.wss_port, files, path="/wrong")
    found(report, Hop.UPGRADE, Party.SERVER, "HTTP 404", "use what works: path /$iothub/websocket")


async def test_a_middlebox_swallows_the_upgrade_header(dps: AsyncLocalDps, files: Path) -> None:
    async with dps:
        port = free_port()
        location = f"proxy_pass https://127.0.0.1:{dps.wss_port}; proxy_http_version 1.1;"
        with programs.nginx(nginx_tls(files, port, location), port):
            report = await examine(port, files)
    found(report, Hop.UPGRADE, Party.NETWORK, "HTTP 426", "swallows")


async def test_no_subprotocol(dps: AsyncLocalDps, files: Path, tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    pem.write_bytes((files / "server.pem").read_bytes() + (files / "server.key").read_bytes())
    async with dps:
        port = free_port()
        body = (
            f"frontend f\n  bind 127.0.0.1:{port} ssl crt {pem}\n  default_backend b\n"
            "backend b\n  http-response del-header Sec-WebSocket-Protocol\n"
            f"  server s 127.0.0.1:{dps.wss_port} ssl verify none\n"
        )
        with programs.haproxy(body, port):
            report = await examine(port, files)
    found(report, Hop.UPGRADE, Party.SERVER, "without the subprotocol mqtt")


def bad_key(name: str) -> SymmetricKey:
    return SymmetricKey(name, b64encode(bytes(64)).decode())


async def test_wrong_id_scope(dps: AsyncLocalDps, files: Path) -> None:
    async with dps:
        report = await examine(
            dps.wss_port, files, id_scope="0ne00WRONG", credential=bad_key("my-device")
        )
    found(report, Hop.CONNECT, Party.HOST, "wrong id scope")


async def test_bad_key(dps: AsyncLocalDps, files: Path) -> None:
    async with dps:
        await dps.enroll_device("my-device")
        report = await examine(
            dps.wss_port, files, id_scope=dps.id_scope, credential=bad_key("my-device")
        )
    found(report, Hop.REGISTER, Party.HOST, "401", "key")


async def test_throttled(dps: AsyncLocalDps, files: Path) -> None:
    async with dps:
        key = await dps.enroll_device("my-device")
        await dps.fault("answer", "my-device", status=429, retry_after=1, times=None)
        report = await examine(
            dps.wss_port,
            files,
            id_scope=dps.id_scope,
            credential=SymmetricKey("my-device", key),
            timeout=2.5,
        )
    found(report, Hop.REGISTER, Party.SERVER, "429", "DPS is throttled (429)")
    assert report.because.startswith("DPS is throttled")


def under_another_clock(shift: str, files: Path, dps: AsyncLocalDps, key: str) -> dict[str, object]:
    """Run the command with a clock that is off, as a user would see it."""
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    if not os.path.exists(library):
        peer_missing("faketime is not installed")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mqttws", "doctor", "127.0.0.1", "--port", str(dps.wss_port)),
            *("--ca", str(files / "ca.pem"), "--id-scope", dps.id_scope, "--json"),
            *("--registration-id", "my-device", "--key-file", "-"),
        ],
        input=key,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "LD_PRELOAD": library,
            "FAKETIME": shift,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    assert done.stdout, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    report["exit_code"] = done.returncode
    return report


async def test_clock_two_days_behind(dps: AsyncLocalDps, files: Path) -> None:
    """The certificate of today is not valid yet for such a host: TLS is where it fails."""
    async with dps:
        key = await dps.enroll_device("my-device")
        report = await asyncio.to_thread(under_another_clock, "-2d", files, dps, key)
    assert (report["hop"], report["party"]) == ("tls", "this host")
    assert report["exit_code"] % 40 == Hop.TLS.exit_code
    assert "clock is behind" in json.dumps(report["advice"])


async def test_clock_two_days_behind_an_older_certificate(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS passes; the token is out of date when it is made, and the Date header says why."""
    monkeypatch.setattr(certificates, "BACKDATED", datetime.timedelta(days=10))
    async with AsyncLocalDps(state=tmp_path, retry_after=0) as dps:
        key = await dps.enroll_device("my-device")
        report = await asyncio.to_thread(under_another_clock, "-2d", tmp_path, dps, key)
    assert (report["hop"], report["party"]) == ("register", "this host")
    assert report["exit_code"] % 40 == Hop.REGISTER.exit_code
    assert "set this host's clock" in json.dumps(report["requests"])
    assert "2.0 days behind" in json.dumps(report["warnings"])


async def test_clock_two_days_ahead_is_told_though_nothing_fails(
    dps: AsyncLocalDps, files: Path
) -> None:
    async with dps:
        key = await dps.enroll_device("my-device")
        report = await asyncio.to_thread(under_another_clock, "+2d", files, dps, key)
    assert (report["status"], report["exit_code"]) == ("ok", 0)
    assert "2.0 days ahead" in json.dumps(report["warnings"])
