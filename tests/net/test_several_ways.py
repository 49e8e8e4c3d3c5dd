"""Several URLs for one client: a head start each, one CONNECT, nothing left open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mqttws import (
    AsyncClient,
    AsyncLocalDps,
    Cause,
    Hop,
    HopTimedOut,
    ProxyRefused,
    Step,
    SymmetricKey,
    TlsConfig,
    Unreachable,
    UnusableFile,
    UsageError,
    provision_async,
)
from mqttws.net import ways
from mqttws.net.hops import Walk
from mqttws.net.target import Target, parse_url

from ..ports import free_port
from .scripted import Conversation, Scripted, scripted


def silent(seen: Scripted) -> Conversation:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    return talk


CONNACK = b"\x20\x02\x00\x00"


def mqtt(seen: Scripted) -> Conversation:
    """Answer CONNECT, over plain TCP, and remember it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.heads.append(await reader.read(4096))
        writer.write(CONNACK)
        await reader.read()

    return talk


@asynccontextmanager
async def client_of(*urls: str, steps: list[Step] | None = None) -> AsyncIterator[AsyncClient]:
    kept = steps if steps is not None else []
    client = AsyncClient(urls, proxy=None, hop_timeout=5.0, on_step=kept.append)
    try:
        yield client
    finally:
        await client.disconnect()


async def test_the_first_way_is_taken_if_it_is_open() -> None:
    async with scripted(mqtt) as first, scripted(mqtt) as second:
        urls = [f"mqtt://127.0.0.1:{one.port}" for one in (first, second)]
        async with client_of(*urls) as client:
            await client.connect()
        assert (first.connections, second.connections) == (1, 0)


async def test_a_way_that_is_shut_is_left_at_once_and_the_other_is_remembered() -> None:
    steps: list[Step] = []
    async with scripted(mqtt) as server:
        shut, open_one = f"mqtt://127.0.0.1:{free_port()}", f"mqtt://127.0.0.1:{server.port}"
        async with client_of(shut, open_one, steps=steps) as client:
            await client.connect()
            assert client.url == open_one
        # Each is told when it begins and when it has ended.
        told = [step.hop for step in steps]
        assert told == [Hop.NAME, Hop.NAME, Hop.TCP, Hop.TCP, Hop.CONNECT, Hop.CONNECT]
        assert all(step.error is None and step.ended is not None for step in steps)
        assert [step.started for step in steps] == sorted(step.started for step in steps)


async def test_a_way_that_is_silent_costs_a_head_start_and_gets_no_connect() -> None:
    """The silent one takes TCP and then nothing: TLS is never answered."""
    async with scripted(silent) as mute, scripted(mqtt) as server:
        async with client_of(
            f"mqtts://127.0.0.1:{mute.port}", f"mqtt://127.0.0.1:{server.port}"
        ) as client:
            async with asyncio.timeout(3.0):
                await client.connect()
        assert len(server.heads) == 1
        assert mute.heads == []


async def test_where_none_is_open_the_furthest_is_told_and_the_others_too() -> None:
    async with scripted(silent) as mute:
        shut = f"mqtt://127.0.0.1:{free_port()}"
        client = AsyncClient([shut, f"mqtts://127.0.0.1:{mute.port}"], proxy=None, hop_timeout=1.0)
        with pytest.raises(HopTimedOut) as caught:
            await client.connect()
        assert caught.value.hop is Hop.TLS
        assert shut in caught.value.hint
        assert "also tried" in caught.value.hint


async def test_a_time_limit_shorter_than_the_head_start_is_told_as_one() -> None:
    async with scripted(silent) as one, scripted(silent) as two:
        client = AsyncClient(
            [f"mqtts://127.0.0.1:{s.port}" for s in (one, two)], proxy=None, connect_timeout=0.2
        )
        with pytest.raises(HopTimedOut):
            await client.connect()


async def test_a_client_that_is_cancelled_leaves_no_way_open() -> None:
    async with scripted(silent) as one, scripted(silent) as two:
        client = AsyncClient([f"mqtts://127.0.0.1:{s.port}" for s in (one, two)], proxy=None)
        connecting = asyncio.ensure_future(client.connect())
        async with asyncio.timeout(5.0):
            while not (one.connections and two.connections):
                await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def test_a_mistake_is_told_and_not_tried_around() -> None:
    client = AsyncClient(
        ["mqtts://127.0.0.1:1", "mqtts://127.0.0.1:2"], tls=TlsConfig("/nonexistent"), proxy=None
    )
    with pytest.raises(UnusableFile):
        await client.connect()
    with pytest.raises(UsageError):
        AsyncClient([])


async def test_auto_takes_no_port(local_dps: AsyncLocalDps) -> None:
    async with local_dps:
        with pytest.raises(UsageError, match="give no port"):
            await provision_async(
                "0ne",
                SymmetricKey("a", "A" * 64),
                host="127.0.0.1",
                port=local_dps.wss_port,
                transport="auto",
            )


async def test_of_two_ways_that_open_in_the_same_moment_one_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the order, the loser is closed: its server sees the end, and no CONNECT."""
    monkeypatch.setattr(ways, "TRANSPORT_HEAD_START", 0.0)
    heard: list[bytes] = []

    def keep(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(4096)
            heard.append(first)
            if first:
                writer.write(CONNACK)
                await reader.read()

        return talk

    async with scripted(keep) as one, scripted(keep) as two:
        for _ in range(10):
            heard.clear()
            async with client_of(
                f"mqtt://127.0.0.1:{one.port}", f"mqtt://127.0.0.1:{two.port}"
            ) as client:
                await client.connect()
            assert len([first for first in heard if first]) == 1


async def test_a_way_that_opens_in_the_very_turn_of_the_taken_one_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: dict[Target, bool] = {}
    gate = asyncio.Event()
    waiting = 0

    class Open:
        def __init__(self, target: Target) -> None:
            self.target = target
            opened[target] = True

        def abort(self) -> None:
            opened[self.target] = False

    async def dial_together(target: Target, walk: Walk, **options: object) -> Open:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            asyncio.get_running_loop().call_soon(gate.set)  # once this one waits too
        await gate.wait()
        return Open(target)

    monkeypatch.setattr(ways, "TRANSPORT_HEAD_START", 0.0)
    monkeypatch.setattr(ways, "dial", dial_together)
    targets = [parse_url(f"mqtt://h:{port}") for port in (1, 2)]
    walk = Walk(timeout=5.0, hop_timeout=5.0)
    taken, _ = await ways.dial_first(targets, walk, max_message_size=1)
    await asyncio.sleep(0)
    assert len(opened) == 2, "both were open: else nothing is proved"
    assert [target for target, is_open in opened.items() if is_open] == [taken]


async def test_all_refused_is_told_as_such() -> None:
    client = AsyncClient([f"mqtt://127.0.0.1:{free_port()}" for _ in range(2)], proxy=None)
    with pytest.raises(Unreachable):
        await client.connect()


REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"


@pytest.mark.parametrize("way", ["slow", "cut", "silent"])
async def test_a_login_is_sent_once_however_the_proxy_refuses_it(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "TRANSPORT_HEAD_START", 0.05)
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if way == "slow":
            await asyncio.sleep(0.5)  # ten head starts
            writer.write(REFUSAL + b"\r\n")
        else:
            writer.write(REFUSAL)  # and the rest of the head never comes
            if way == "silent":
                await reader.read()
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProxyRefused) as caught:
            await provision_async(
                "0ne0",
                SymmetricKey("dev", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
                host="dps.test",
                transport="auto",
                proxy=f"http://name:secret@127.0.0.1:{port}",
                timeout=20,
            )
    assert caught.value.cause is Cause.PROXY_LOGIN_REFUSED
    assert len(heads) == 1
