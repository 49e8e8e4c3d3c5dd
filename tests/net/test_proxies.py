"""Every way through a proxy, against the real programs; their logs show that it was taken."""

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    Hop,
    ProxyConfig,
    ProxyRefused,
    Step,
    SymmetricKey,
    TlsConfig,
    TlsFailed,
    provision_async,
)
from mqttws.local.certificates import prepare_certificates
from mqttws.net import dial, tcp
from mqttws.net.proxy import ProxyChoice

from ..peers import programs
from ..peers.programs import USER, WORD
from ..ports import free_port

NAME = "dps.test"
"""What only the proxies resolve, where they are to."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates for the local DPS that are good for ``NAME``, too."""
    place = tmp_path_factory.mktemp("named-dps")
    prepare_certificates(place, (NAME, "127.0.0.1", socket.gethostname()))
    return place


@pytest.fixture
def proxy_tls(state: Path) -> tuple[Path, Path]:
    return state / "server.pem", state / "server.key"


class Way:
    """A device's way to a local DPS."""

    def __init__(self, dps: AsyncLocalDps, key: str) -> None:
        self.dps = dps
        self.key = key
        self.steps: list[Step] = []

    async def provision(
        self, proxy: ProxyChoice, host: str = "127.0.0.1", transport: str = "wss"
    ) -> Assignment:
        self.steps.clear()
        return await provision_async(
            self.dps.id_scope,
            SymmetricKey("my-device", self.key),
            host=host,
            port=self.dps.wss_port if transport == "wss" else self.dps.mqtts_port,
            transport=transport,
            tls=TlsConfig(ca=self.dps.ca_file),
            proxy=proxy,
            timeout=6.0,
            on_step=lambda step: self.steps.append(step) if step.ended is not None else None,
        )

    async def refused(self, proxy: ProxyChoice, host: str = "127.0.0.1") -> ProxyRefused:
        with pytest.raises(ProxyRefused) as caught:
            await self.provision(proxy, host)
        assert caught.value.hop is Hop.PROXY
        text = "".join(
            f"{one!r} {one} {getattr(one, 'hint', '')}"
            for one in (caught.value, caught.value.__cause__, caught.value.__context__)
        )
        assert USER not in text
        assert WORD not in text
        return caught.value

    @property
    def hops(self) -> list[Hop]:
        return [step.hop for step in self.steps]


@asynccontextmanager
async def way_to_dps(state: Path) -> AsyncIterator[Way]:
    async with AsyncLocalDps(state=state, retry_after=0) as dps:
        yield Way(dps, await dps.enroll_device("my-device"))


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail if the device asks the operating system for anything but an address."""
    real = dial.resolve
    asked: list[str] = []

    async def resolve(host: str, port: int, hop: Hop = Hop.NAME) -> list[tcp.Address]:
        asked.append(host)
        return await real(host, port)

    monkeypatch.setattr(dial, "resolve", resolve)
    yield
    assert set(asked) <= {"127.0.0.1"}, "a name was looked up here"


THROUGH_PROXY = [Hop.PROXY_NAME, Hop.PROXY_TCP, Hop.PROXY, Hop.TLS]


async def test_squid_resolves_the_name_and_passes_both_transports_on(
    state: Path, no_names: None
) -> None:
    with programs.squid(hosts={NAME: "127.0.0.1"}) as squid:
        async with way_to_dps(state) as way:
            for transport, port in (("wss", way.dps.wss_port), ("mqtts", way.dps.mqtts_port)):
                assigned = await way.provision(f"http://127.0.0.1:{squid.port}", NAME, transport)
                assert assigned.device_id == "my-device"
                assert way.hops[:4] == THROUGH_PROXY
                await squid.wait_for_log("TCP_TUNNEL/200 ")
                await squid.wait_for_log(f"CONNECT {NAME}:{port}")


async def test_squid_lets_a_login_in_and_nobody_else(state: Path) -> None:
    with programs.squid(login=True) as squid:
        async with way_to_dps(state) as way:
            at = f"127.0.0.1:{squid.port}"
            await way.provision(f"http://{USER}:{WORD}@{at}")
            await squid.wait_for_log(f"CONNECT 127.0.0.1:{way.dps.wss_port} {USER}")
            none = await way.refused(f"http://{at}")
            assert (none.status, none.challenge) == (407, ('Basic realm="proxy"',))
            assert "wants a login" in none.hint
            wrong = await way.refused(f"http://{USER}:wrong@{at}")
            assert wrong.status == 407
            assert "does not accept this login" in wrong.hint
            await way.provision(ProxyConfig(f"http://{at}", login=lambda url: (USER, WORD)))
            assert squid.log.count("TCP_DENIED/407") == 2


async def test_a_hook_logs_in_at_squid_after_its_demand(state: Path) -> None:
    basic = "Basic " + b64encode(f"{USER}:{WORD}".encode()).decode()
    with programs.squid(login=True) as squid:
        async with way_to_dps(state) as way:
            await way.provision(
                ProxyConfig(f"http://127.0.0.1:{squid.port}", on_challenge=lambda seen: basic)
            )
            await squid.wait_for_log("TCP_TUNNEL/200")
            assert squid.log.count("TCP_DENIED/407") == 1


async def test_our_own_variable_brings_the_login(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with programs.squid(login=True, hosts={NAME: "127.0.0.1"}) as squid:
        at = f"127.0.0.1:{squid.port}"
        monkeypatch.setenv("MQTTWS_PROXY", f"http://{USER}:{WORD}@{at}")
        async with way_to_dps(state) as way:
            await way.provision("environment", NAME)
            await way.provision(f"http://{at}", NAME)
        await squid.wait_for_log("TCP_TUNNEL/200")
        assert "TCP_DENIED" not in squid.log


@pytest.mark.parametrize("variable", ["wss_proxy", "HTTPS_PROXY", "all_proxy"])
async def test_the_environments_proxy_is_used_by_default(
    state: Path, monkeypatch: pytest.MonkeyPatch, variable: str, no_names: None
) -> None:
    with programs.squid(hosts={NAME: "127.0.0.1"}) as squid:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{squid.port}")
        async with way_to_dps(state) as way:
            await way.provision("environment", NAME)
            await squid.wait_for_log(f"CONNECT {NAME}:{way.dps.wss_port}")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            await way.provision("environment")
            await way.provision(None)
            await way.provision("none")
            assert way.hops[:2] == [Hop.NAME, Hop.TCP]
            assert squid.log.count("CONNECT") == 1


async def test_tls_to_the_proxy_itself_and_tls_to_the_server_inside(
    state: Path, proxy_tls: tuple[Path, Path]
) -> None:
    with programs.squid(tls=proxy_tls, login=True) as squid:
        async with way_to_dps(state) as way:
            for transport in ("wss", "mqtts"):
                await way.provision(
                    f"https://{USER}:{WORD}@127.0.0.1:{squid.port}", transport=transport
                )
                assert way.hops[:5] == [
                    Hop.PROXY_NAME,
                    Hop.PROXY_TCP,
                    Hop.PROXY_TLS,
                    Hop.PROXY,
                    Hop.TLS,
                ]
            await squid.wait_for_log(f"CONNECT 127.0.0.1:{way.dps.mqtts_port} {USER}")


async def test_squid_forbids_a_port_and_a_host(state: Path) -> None:
    rules = "acl far dst 127.0.0.2\nhttp_access deny far\nacl ok port 443\nhttp_access allow ok"
    with programs.squid(rules=rules) as squid:
        async with way_to_dps(state) as way:
            error = await way.refused(f"http://127.0.0.1:{squid.port}")
            assert error.status == 403
            assert "ERR_ACCESS_DENIED" in str(error)
            assert "forbids this host or this port" in error.hint
            await squid.wait_for_log("TCP_DENIED/403")


async def test_squid_cannot_resolve_or_reach_the_server(state: Path) -> None:
    with programs.squid() as squid:
        async with way_to_dps(state) as way:
            unknown = await way.refused(f"http://127.0.0.1:{squid.port}", "unknown.test")
            assert unknown.status in (500, 503)  # squid 5.7 does not call it a DNS failure
            assert "cannot reach the server" in unknown.hint
            way.dps.wss_port = free_port()
            down = await way.refused(f"http://127.0.0.1:{squid.port}")
            assert down.status == 503
            assert "ERR_CONNECT_FAIL" in str(down)


async def test_tinyproxy_answers_http_1_0_and_401(state: Path) -> None:
    with programs.tinyproxy(login=True) as proxy:
        async with way_to_dps(state) as way:
            at = f"127.0.0.1:{proxy.port}"
            await way.provision(f"http://{USER}:{WORD}@{at}")
            await proxy.wait_for_log(f"CONNECT 127.0.0.1:{way.dps.wss_port} HTTP/1.1")
            none = await way.refused(f"http://{at}")
            assert none.status == 407
            wrong = await way.refused(f"http://{USER}:wrong@{at}")
            assert wrong.status == 401
            assert "does not accept this login" in wrong.hint


async def test_tinyproxy_without_a_login_and_its_forbidden_ports(state: Path) -> None:
    with programs.tinyproxy() as proxy:
        async with way_to_dps(state) as way:
            await way.provision(f"http://127.0.0.1:{proxy.port}")
            await proxy.wait_for_log(f"CONNECT 127.0.0.1:{way.dps.wss_port}")
    with programs.tinyproxy(ports=[443]) as proxy:
        async with way_to_dps(state) as way:
            assert (await way.refused(f"http://127.0.0.1:{proxy.port}")).status == 403


@pytest.mark.parametrize(
    ("scheme", "asked"),
    [("socks5", "ATYP: 1 address: 127.0.0.1."), ("socks5h", "ATYP: 3 address: localhost.")],
)
async def test_dante_gets_an_address_or_a_name(state: Path, scheme: str, asked: str) -> None:
    with programs.dante() as dante:
        async with way_to_dps(state) as way:
            await way.provision(f"{scheme}://127.0.0.1:{dante.port}", "localhost")
            assert (Hop.NAME in way.hops) == (scheme == "socks5")
            await dante.wait_for_log(f"{asked}{way.dps.wss_port}")


async def test_dante_takes_a_socks4_request_for_an_address(state: Path) -> None:
    with programs.dante() as dante:
        async with way_to_dps(state) as way:
            await way.provision(f"socks4a://127.0.0.1:{dante.port}")
            await dante.wait_for_log(f"VER: 4 CMD: 1 address: 127.0.0.1.{way.dps.wss_port}")


@pytest.mark.parametrize("scheme", ["socks4a", "socks5h"])
async def test_openssh_resolves_the_name(state: Path, no_names: None, scheme: str) -> None:
    with programs.openssh() as ssh:
        async with way_to_dps(state) as way:
            await way.provision(f"{scheme}://127.0.0.1:{ssh.port}", "localhost")
            assert Hop.NAME not in way.hops
            await ssh.wait_for_log(f"socks{scheme[5]} host localhost port {way.dps.wss_port}")


async def test_where_dante_resolves_nothing_is_looked_up_here(state: Path, no_names: None) -> None:
    with programs.dante() as dante:
        async with way_to_dps(state) as way:
            await way.provision(f"socks5h://127.0.0.1:{dante.port}", "localhost")


async def test_socks5_through_dante_goes_on_to_the_next_address(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dial.resolve

    async def resolve(host: str, port: int, hop: Hop = Hop.NAME) -> list[tcp.Address]:
        found = await real("127.0.0.1", port)
        family, kind, protocol, name, (_, number) = found[0]
        return (
            [(family, kind, protocol, name, ("127.0.0.3", number)), *found]
            if host == NAME
            else found
        )

    monkeypatch.setattr(dial, "resolve", resolve)
    with programs.dante() as dante:
        async with way_to_dps(state) as way:
            await way.provision(f"socks5://127.0.0.1:{dante.port}", NAME)
            assert [s.outcome for s in way.steps if s.hop is Hop.PROXY] == ["ProxyRefused", "ok"]
            log = await dante.wait_for_log(f"127.0.0.1.{way.dps.wss_port}")
            assert f"127.0.0.3.{way.dps.wss_port}" in log


async def test_dante_forbids_and_wants_a_login(state: Path) -> None:
    rules = "socks block {\n  from: 0/0 to: 0/0\n  log: connect error\n}"
    with programs.dante(rules=rules) as dante:
        async with way_to_dps(state) as way:
            five = await way.refused(f"socks5h://127.0.0.1:{dante.port}")
            assert five.status == 2
            four = await way.refused(f"socks4a://127.0.0.1:{dante.port}")
            assert four.status == 91
    with programs.dante(login=True) as dante:
        async with way_to_dps(state) as way:
            none = await way.refused(f"socks5h://127.0.0.1:{dante.port}")
            assert "wants a login" in none.hint
            wrong = await way.refused(f"socks5h://{USER}:wrong@127.0.0.1:{dante.port}")
            assert "does not accept this login" in wrong.hint


async def test_a_proxy_of_another_kind_is_recognised(state: Path) -> None:
    with programs.dante() as socks:
        async with way_to_dps(state) as way:
            assert "an HTTP proxy" in (await way.refused(f"http://127.0.0.1:{socks.port}")).hint
    with programs.squid() as squid:
        async with way_to_dps(state) as way:
            with pytest.raises(TlsFailed) as caught:
                await way.provision(f"https://127.0.0.1:{squid.port}")
            assert caught.value.hop is Hop.PROXY_TLS
            assert "with http://" in caught.value.hint


async def test_nothing_is_left_open_when_a_proxy_refuses(state: Path) -> None:
    with programs.squid(rules="http_access deny all") as squid:
        async with way_to_dps(state) as way:
            for _ in range(3):
                await way.refused(f"http://127.0.0.1:{squid.port}")
            await asyncio.sleep(0)
            await squid.wait_for_log("TCP_DENIED/403")
