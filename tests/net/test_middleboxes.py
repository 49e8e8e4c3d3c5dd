"""What stands between a device and its server, against the real programs."""

import asyncio
import importlib.util
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mqttws import (
    AsyncClient,
    AsyncLocalDps,
    CertificateRejected,
    ConnectionLost,
    Hop,
    SymmetricKey,
    TlsConfig,
    UpgradeRefused,
    provision_async,
)
from mqttws.dps.names import build_username
from mqttws.local.certificates import prepare_certificates
from mqttws.net import dial, tcp
from mqttws.net import tls as tls_module
from mqttws.net.target import parse_url

from ..conftest import peer_missing
from ..peers import programs
from ..peers.programs import Program
from ..ports import free_port


async def provision_at(
    dps: AsyncLocalDps, port: int, device: str = "my-device", **options: object
) -> None:
    key = await dps.enroll_device(device)
    options.setdefault("tls", TlsConfig(ca=dps.ca_file))
    assigned = await provision_async(
        dps.id_scope,
        SymmetricKey(device, key),
        host="127.0.0.1",
        port=port,
        **options,
    )
    assert assigned.device_id == device


# An intercepting proxy


async def test_mitmproxy_works_once_its_ca_is_added(local_dps: AsyncLocalDps) -> None:
    with programs.mitmproxy() as (proxy, ca_file):
        async with local_dps:
            url = f"http://127.0.0.1:{proxy.port}"
            assert local_dps.wss_port
            await provision_at(local_dps, local_dps.wss_port, proxy=url, tls=TlsConfig(ca=ca_file))
            # It has seen the WebSocket's request in the clear: it did intercept.
            await proxy.wait_for_log("websocket")


async def test_a_proxys_ca_is_added_to_the_systems(
    local_dps: AsyncLocalDps, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same configuration serves behind the proxy and, with a CA of the system's, without."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(files))
    monkeypatch.setattr(tls_module, "_contexts", {})
    with programs.mitmproxy() as (proxy, ca_file):
        async with local_dps:
            assert local_dps.wss_port
            port, both = local_dps.wss_port, TlsConfig(ca=ca_file)
            through = f"http://127.0.0.1:{proxy.port}"
            await provision_at(local_dps, port, "behind", proxy=through, tls=both)
            await provision_at(local_dps, port, "direct", proxy=None, tls=both)
            await provision_at(local_dps, port, "by-the-system", proxy=None, tls=None)
            alone = TlsConfig(ca=ca_file, only_ca=True)
            with pytest.raises(CertificateRejected):
                await provision_at(local_dps, port, "alone", proxy=None, tls=alone)


async def test_a_store_of_the_operating_systems_that_has_the_proxys_ca_will_do(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("truststore") is None:
        peer_missing("truststore is not installed")
    with programs.mitmproxy() as (proxy, ca_file):
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        monkeypatch.setattr(tls_module, "_contexts", {})
        async with local_dps:
            assert local_dps.wss_port
            for number, trust in enumerate((TlsConfig(truststore=True), None)):
                await provision_at(
                    local_dps,
                    local_dps.wss_port,
                    f"device-{number}",
                    proxy=f"http://127.0.0.1:{proxy.port}",
                    tls=trust,
                )
            await proxy.wait_for_log("websocket")


async def test_mitmproxy_is_named_where_its_ca_is_not_known(local_dps: AsyncLocalDps) -> None:
    with programs.mitmproxy() as (proxy, _):
        async with local_dps:
            assert local_dps.wss_port
            with pytest.raises(CertificateRejected) as caught:
                await provision_at(
                    local_dps, local_dps.wss_port, proxy=f"http://127.0.0.1:{proxy.port}"
                )
    error = caught.value
    assert error.hop is Hop.TLS
    assert error.certificate is not None
    assert "mitmproxy" in error.certificate.issuer
    assert "mitmproxy" in str(error)
    assert "not a public issuer: probably an intercepting proxy" in error.hint
    assert "--ca FILE" in error.hint


# A reverse proxy


@pytest.fixture(scope="module")
def files(dps_state: Path) -> Path:
    """The folder with ``server.pem``, ``server.key`` and ``ca.pem`` of the local services."""
    prepare_certificates(dps_state, ("127.0.0.1", socket.gethostname()))
    return dps_state


NGINX = """
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {files}/server.pem;
    ssl_certificate_key {files}/server.key;
    location / {{
        proxy_pass https://127.0.0.1:{behind};
        proxy_ssl_verify off;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        {headers}
        {more}
    }}
}}
"""

UPGRADE_HEADERS = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'

HAPROXY = """
frontend front
    bind 127.0.0.1:{port} ssl crt {pem}
    default_backend back
backend back
    timeout tunnel {idle}
    {more}
    server dps 127.0.0.1:{behind} ssl verify none
"""


@asynccontextmanager
async def behind_nginx(
    dps: AsyncLocalDps, files: Path, more: str = "", headers: str = UPGRADE_HEADERS
) -> AsyncIterator[Program]:
    async with dps:
        port = free_port()
        text = NGINX.format(port=port, files=files, behind=dps.wss_port, headers=headers, more=more)
        with programs.nginx(text, port) as nginx:
            yield nginx


@asynccontextmanager
async def behind_haproxy(
    dps: AsyncLocalDps, files: Path, tmp_path: Path, idle: str = "60s", more: str = ""
) -> AsyncIterator[Program]:
    pem = tmp_path / "both.pem"
    pem.write_bytes((files / "server.pem").read_bytes() + (files / "server.key").read_bytes())
    async with dps:
        port = free_port()
        text = HAPROXY.format(port=port, pem=pem, behind=dps.wss_port, idle=idle, more=more)
        with programs.haproxy(text, port) as haproxy:
            yield haproxy


async def test_nginx_terminates_tls_and_buffers(local_dps: AsyncLocalDps, files: Path) -> None:
    async with behind_nginx(local_dps, files, "proxy_buffering on; proxy_buffers 4 4k;") as nginx:
        await provision_at(local_dps, nginx.port)
        log = await nginx.wait_for_log("GET /$iothub/websocket HTTP/1.1")
        assert '" 101 ' in log


async def test_haproxy_terminates_tls(
    local_dps: AsyncLocalDps, files: Path, tmp_path: Path
) -> None:
    async with behind_haproxy(local_dps, files, tmp_path) as haproxy:
        await provision_at(local_dps, haproxy.port)
        await haproxy.wait_for_log("GET /$iothub/websocket HTTP/1.1")


async def idle_client(dps: AsyncLocalDps, port: int, keep_alive: int) -> AsyncClient:
    """Return a client that has logged in at the local DPS and has nothing to say."""
    credential = SymmetricKey("my-device", await dps.enroll_device("my-device"))
    client = AsyncClient(
        f"wss://127.0.0.1:{port}/$iothub/websocket",
        client_id="my-device",
        username=build_username(dps.id_scope, "my-device"),
        password=credential.password(dps.id_scope, time.time()),
        tls=TlsConfig(ca=dps.ca_file),
        keep_alive=keep_alive,
        reconnect=None,  # what ends the connection is to be seen
    )
    await client.connect()
    return client


@pytest.mark.parametrize("which", ["nginx", "haproxy"])
async def test_an_idle_connection_that_is_cut_is_told(
    local_dps: AsyncLocalDps, files: Path, tmp_path: Path, which: str
) -> None:
    way = (
        behind_nginx(local_dps, files, "proxy_read_timeout 1s;")
        if which == "nginx"
        else behind_haproxy(local_dps, files, tmp_path, idle="1s")
    )
    async with way as between:
        client = await idle_client(local_dps, between.port, keep_alive=60)
        with pytest.raises(ConnectionLost):
            await anext(client.messages())
        await client.disconnect()


@pytest.mark.parametrize("which", ["nginx", "haproxy"])
async def test_keep_alive_holds_an_idle_connection_open(
    local_dps: AsyncLocalDps, files: Path, tmp_path: Path, which: str
) -> None:
    way = (
        behind_nginx(local_dps, files, "proxy_read_timeout 3s;")
        if which == "nginx"
        else behind_haproxy(local_dps, files, tmp_path, idle="3s")
    )
    async with way as between:
        client = await idle_client(local_dps, between.port, keep_alive=2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4.5):
                await anext(client.messages())
        assert client.connected
        await client.disconnect()


async def test_a_middlebox_that_swallows_the_upgrade_is_named(
    local_dps: AsyncLocalDps, files: Path
) -> None:
    async with behind_nginx(local_dps, files, headers="") as nginx:
        with pytest.raises(UpgradeRefused) as caught:
            await provision_at(local_dps, nginx.port)
    assert caught.value.hop is Hop.UPGRADE


# Other servers


async def test_mosquitto_on_its_tls_port_and_on_its_websocket(files: Path) -> None:
    with programs.folder() as place:
        mosquitto = programs.require_program("mosquitto")
        port, websocket_port = free_port(), free_port()
        for name in ("server.pem", "server.key"):
            (place / name).write_bytes((files / name).read_bytes())
            (place / name).chmod(0o644)
        tls = f"certfile {place}/server.pem\nkeyfile {place}/server.key\n"
        (place / "conf").write_text(
            f"allow_anonymous true\nlog_dest stderr\nlistener {port} 127.0.0.1\n{tls}"
            f"listener {websocket_port} 127.0.0.1\nprotocol websockets\n{tls}"
        )
        with programs.running([mosquitto, "-c", place / "conf"], port, place) as started:
            for url in (f"mqtts://127.0.0.1:{port}", f"wss://127.0.0.1:{websocket_port}/mqtt"):
                async with AsyncClient(
                    url, client_id=f"on-{parse_url(url).port}", tls=TlsConfig(ca=files / "ca.pem")
                ) as client:
                    await client.subscribe("a/b", qos=1)
                    await client.publish("a/b", b"x" * 200_000, qos=1)
                    assert len((await anext(client.messages())).payload) == 200_000
                await started.wait_for_log(f"as on-{parse_url(url).port}")


async def test_a_dead_ipv6_address_costs_no_time_out(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``localhost`` is ::1 and 127.0.0.1; the service listens on the second one only."""

    async def both(host: str, port: int, hop: Hop = Hop.NAME) -> list[tcp.Address]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(dial, "resolve", both)
    async with local_dps:
        assert local_dps.wss_port
        await provision_at(local_dps, local_dps.wss_port, hop_timeout=5.0)


async def test_much_data_goes_through_tls_inside_tls(files: Path) -> None:
    """Flow control and closing work in both layers: a megabyte there and back through squid."""
    with (
        programs.folder() as place,
        programs.squid(tls=(files / "server.pem", files / "server.key")) as squid,
    ):
        port = free_port()
        for name in ("server.pem", "server.key"):
            (place / name).write_bytes((files / name).read_bytes())
            (place / name).chmod(0o644)
        (place / "conf").write_text(
            f"allow_anonymous true\nlistener {port} 127.0.0.1\n"
            f"certfile {place}/server.pem\nkeyfile {place}/server.key\n"
        )
        mosquitto = programs.require_program("mosquitto")
        with programs.running([mosquitto, "-c", place / "conf"], port, place):
            async with AsyncClient(
                f"mqtts://127.0.0.1:{port}",
                tls=TlsConfig(ca=files / "ca.pem"),
                proxy=f"https://127.0.0.1:{squid.port}",
                max_packet_size=2_000_000,
            ) as client:
                await client.subscribe("a", qos=1)
                await client.publish("a", bytes(1_000_000), qos=1)
                assert len((await anext(client.messages())).payload) == 1_000_000
        await squid.wait_for_log(f"CONNECT 127.0.0.1:{port}")
