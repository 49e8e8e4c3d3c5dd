"""A proxy that refuses a client in the middle of its life: which login is sent again, and when."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mqttws import AsyncClient, Backoff, ClientState, ProxyConfig, ProxyRefused
from mqttws.client import clock
from mqttws.hops import Cause

from ..net.scripted import Conversation, Scripted, relay, scripted
from .broker import broker
from .test_reconnect import States
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

REFUSED = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts in seconds, none of which lasts."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(clock, "sleep", sleep)
    return found


def answering(port: int, answers: list[bytes]) -> Callable[[Scripted], Conversation]:
    """A proxy that refuses with each answer once, from the second connection on."""

    def script(seen: Scripted) -> Conversation:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            if len(seen.heads) > 1 and answers:
                writer.write(answers.pop(0))
                return
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await relay(reader, writer, port)

        return talk

    return script


async def lives_on(
    answers: list[bytes], proxy: Callable[[int], Any], **options: Any
) -> tuple[States, Scripted]:
    """Cut a client's connection behind a proxy that then answers so; wait for its recovery."""
    states = States()
    count = len(answers)
    async with broker(websocket=True) as server, scripted(answering(server.port, answers)) as seen:
        url = f"ws://127.0.0.1:{server.port}/mqtt"
        async with AsyncClient(url, proxy=proxy(seen.port), on_state=states, **options):
            server.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
    assert len(seen.heads) == count + 2
    return states, seen


def refusals(states: States) -> list[ProxyRefused]:
    return [reason for _, reason in states.seen if isinstance(reason, ProxyRefused)]


def with_login(port: int) -> str:
    return f"http://user:word@127.0.0.1:{port}"


async def test_a_refused_login_is_sent_again_every_half_hour(waits: list[float]) -> None:
    states, _ = await lives_on([REFUSED] * 3, with_login)
    assert waits[1:] == [1800.0] * 3
    assert [error.cause for error in refusals(states)] == [Cause.PROXY_LOGIN_REFUSED] * 3
    assert all("sent again in 1800 s" in error.hint for error in refusals(states))


async def test_another_interval_can_be_given(waits: list[float]) -> None:
    await lives_on([REFUSED], with_login, refused_login_retry=7200.0)
    assert waits[1:] == [7200.0]


async def test_without_a_retry_a_refused_login_ends_the_client(waits: list[float]) -> None:
    states = States()
    script = answering
    async with broker(websocket=True) as server:
        async with scripted(script(server.port, [REFUSED] * 9)) as seen:
            client = AsyncClient(
                f"ws://127.0.0.1:{server.port}/mqtt",
                proxy=with_login(seen.port),
                on_state=states,
                refused_login_retry=None,
            )
            await client.connect()
            server.cut()
            reason = await states.wait_for(ClientState.CLOSED)
            await client.disconnect()
    assert isinstance(reason, ProxyRefused)
    assert len(seen.heads) == 2


async def test_a_function_for_the_login_is_asked_once_more_at_once(waits: list[float]) -> None:
    asked: list[str] = []

    def login(url: str) -> tuple[str, str]:
        asked.append(url)
        return "user", f"word{len(asked)}"

    states, seen = await lives_on(
        [REFUSED] * 3, lambda port: ProxyConfig(f"http://127.0.0.1:{port}", login=login)
    )
    assert waits[1:] == [0.0, 1800.0, 1800.0]
    assert len(asked) == 5
    assert len(set(seen.heads)) == 5
    assert "asked for anew" in refusals(states)[0].hint


async def test_a_hook_for_challenges_is_a_function_for_the_login(waits: list[float]) -> None:
    states, _ = await lives_on(
        [REFUSED, REFUSED],
        lambda port: ProxyConfig(
            f"http://127.0.0.1:{port}",
            on_challenge=lambda challenge: None,
        ),
    )
    assert waits[1:] == [0.0, 1800.0]
    assert refusals(states)


async def test_a_proxy_that_forbids_is_asked_at_the_usual_delay_up_to_five_minutes(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqttws.client.connector._chance", lambda: 1.0)
    states, _ = await lives_on([FORBIDDEN] * 11, with_login, reconnect=Backoff(1.0, 60.0))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert [error.cause for error in refusals(states)] == [Cause.PROXY_FORBIDS] * 11
    assert all("asked again in" in error.hint for error in refusals(states))
