"""A proxy that wants three legs of a login, and what a proxy costs, counted."""

import asyncio
import logging
import traceback
from base64 import b64encode

import pytest

from mqttws import (
    AsyncClient,
    AsyncLocalDps,
    Challenge,
    ConnectFailed,
    Hop,
    HopTimedOut,
    ProxyConfig,
    ProxyRefused,
    SymmetricKey,
    TlsConfig,
    provision_async,
)

from .scripted import Conversation, Scripted, relay, scripted


def demand(offer: str, *, close: bool = False) -> bytes:
    return (
        f"HTTP/1.1 407 No\r\nProxy-Authenticate: {offer}\r\nContent-Length: 2\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n\r\nno"
    ).encode()


def three_legs(port: int, *, close_first: bool) -> object:
    """Return a proxy that answers like one with NTLM: the login belongs to the connection."""

    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            state = "new"
            while True:
                head = await seen.read_head(reader)
                if b"Proxy-Authorization: NTLM one" in head:
                    state = "one"
                    writer.write(demand("NTLM challenge"))
                elif b"Proxy-Authorization: NTLM two" in head and state == "one":
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    await relay(reader, writer, port)
                    return
                else:
                    writer.write(demand("NTLM", close=close_first))
                    if close_first:
                        return

        return talk

    return script


def ntlm(challenge: Challenge) -> str | None:
    return {"NTLM": "NTLM one", "NTLM challenge": "NTLM two"}.get(challenge.offers[0])


async def provision_through(dps: AsyncLocalDps, proxy: ProxyConfig | str) -> None:
    assigned = await provision_async(
        dps.id_scope,
        SymmetricKey("my-device", await dps.enroll_device("my-device")),
        host="127.0.0.1",
        port=dps.wss_port,
        tls=TlsConfig(ca=dps.ca_file),
        proxy=proxy,
    )
    assert assigned.device_id == "my-device"


@pytest.mark.parametrize(("close_first", "connections"), [(False, 1), (True, 2)])
async def test_three_legs_of_a_login_go_over_one_connection(
    local_dps: AsyncLocalDps, close_first: bool, connections: int
) -> None:
    async with local_dps:
        assert local_dps.wss_port
        async with scripted(three_legs(local_dps.wss_port, close_first=close_first)) as proxy:
            await provision_through(
                local_dps, ProxyConfig(f"http://127.0.0.1:{proxy.port}", on_challenge=ntlm)
            )
            assert proxy.connections == connections
            assert len(proxy.heads) == 3


async def test_a_hook_that_breaks_leaves_nothing_open(local_dps: AsyncLocalDps) -> None:
    def broken(challenge: Challenge) -> str:
        raise LookupError("no ticket")

    async with local_dps:
        assert local_dps.wss_port
        async with scripted(three_legs(local_dps.wss_port, close_first=False)) as proxy:
            with pytest.raises(LookupError):
                await provision_through(
                    local_dps, ProxyConfig(f"http://127.0.0.1:{proxy.port}", on_challenge=broken)
                )


async def test_a_proxy_costs_its_one_round_trip_and_nothing_else(local_dps: AsyncLocalDps) -> None:
    """What the device sends before the proxy's answer is one CONNECT; then TLS goes on at once."""
    before: list[bytes] = []
    behind: list[int] = []

    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            before.append(await reader.read(65536))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            first = await reader.read(65536)
            behind.append(first[0])
            inner_reader, inner_writer = await asyncio.open_connection(
                "127.0.0.1", local_dps.wss_port
            )
            inner_writer.write(first)
            await _join(reader, writer, inner_reader, inner_writer)

        return talk

    async with local_dps, scripted(script) as proxy:
        await provision_through(local_dps, f"http://user:word@127.0.0.1:{proxy.port}")
    assert proxy.connections == 1
    assert len(before) == 1
    assert before[0].startswith(b"CONNECT ")
    assert before[0].endswith(b"\r\n\r\n")
    assert before[0].count(b"\r\n\r\n") == 1
    assert behind == [0x16]  # a TLS handshake record: nothing was said in between


async def _join(*ends: object) -> None:
    reader, writer, inner_reader, inner_writer = ends

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


async def test_a_proxy_that_says_nothing_costs_one_hops_time() -> None:
    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            await reader.read()

        return talk

    async with scripted(script) as proxy:
        client = AsyncClient(
            "wss://dps.test/", proxy=f"http://127.0.0.1:{proxy.port}", hop_timeout=1.5
        )
        with pytest.raises(HopTimedOut) as caught:
            await client.connect()
    assert caught.value.hop is Hop.PROXY


async def test_a_flood_of_demands_ends() -> None:
    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            writer.write(demand("NTLM", close=True))

        return talk

    async with scripted(script) as proxy:
        client = AsyncClient(
            "wss://dps.test/",
            proxy=ProxyConfig(f"http://127.0.0.1:{proxy.port}", on_challenge=lambda seen: "x"),
        )
        with pytest.raises(ProxyRefused):
            await client.connect()
        assert proxy.connections == 11


@pytest.mark.parametrize("secret_place", ["url", "callable"])
async def test_no_log_and_no_traceback_shows_a_login(
    local_dps: AsyncLocalDps,
    caplog: pytest.LogCaptureFixture,
    secret_place: str,
) -> None:
    caplog.set_level(logging.DEBUG)

    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            writer.write(demand("Basic realm=x", close=True))

        return talk

    async with scripted(script) as proxy:
        at = f"127.0.0.1:{proxy.port}"
        config = (
            ProxyConfig(f"http://s3cretuser:s3cretword@{at}")
            if secret_place == "url"
            else ProxyConfig(f"http://{at}", login=lambda url: ("s3cretuser", "s3cretword"))
        )
        client = AsyncClient("wss://dps.test/", proxy=config)
        with pytest.raises(ProxyRefused) as caught:
            await client.connect()
        encoded = b64encode(b"s3cretuser:s3cretword")
        assert encoded in proxy.heads[0]
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(client)
        # The test's own source lines stand in the traceback; what was shown by us does not.
        shown = "\n".join(line for line in shown.splitlines() if "ProxyConfig(" not in line)
        assert "s3cret" not in shown
        assert encoded.decode() not in shown


ECHOES = {
    "reason": "HTTP/1.1 {status} {echo}\r\nContent-Length: 0\r\n\r\n",
    "headers": "HTTP/1.1 {status} No\r\nProxy-Authenticate: Basic realm=\"{echo}\"\r\n"
    "X-Squid-Error: {echo}\r\nServer: {echo}\r\nContent-Length: 0\r\n\r\n",
    "page": "HTTP/1.1 {status} No\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    "<title>%s {echo}</title>" % ("x" * 80),
}  # fmt: skip


@pytest.mark.parametrize("status", [403, 407, 502])
@pytest.mark.parametrize("place", ECHOES)
@pytest.mark.parametrize("asked", ["proxy", "server"])
async def test_a_login_that_the_answer_repeats_is_masked(
    asked: str, place: str, status: int
) -> None:
    encoded = b64encode(b"user:s3cretword").decode()

    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert encoded.encode() in await seen.read_head(reader)
            echo = f"user:s3cretword {encoded}"
            writer.write(ECHOES[place].format(status=status, echo=echo).encode())

        return talk

    facts: list[object] = []
    async with scripted(script) as end:
        at = f"127.0.0.1:{end.port}"
        if asked == "proxy":
            client = AsyncClient("wss://dps.test/", proxy=f"http://user:s3cretword@{at}",
                                 on_step=facts.append)  # fmt: skip
        else:
            headers = {"Authorization": f"Basic {encoded}"}
            client = AsyncClient(f"ws://{at}/", proxy=None, headers=headers, on_step=facts.append)
        with pytest.raises(ConnectFailed) as caught:
            await client.connect()
    steps = [getattr(step, "facts", None) for step in facts]
    shown = f"{caught.value} {caught.value.hint} {vars(caught.value)} {steps}"
    assert "s3cret" not in shown
    assert encoded[:8] not in shown
    assert "***" in shown or place == "page"  # which is not read where it says no more
