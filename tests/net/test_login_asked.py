"""``login=`` of a proxy is the application's: it may block, fail, or never return."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from mqttws import (
    AsyncClient,
    Cause,
    ConnectFailed,
    Hop,
    HopTimedOut,
    Party,
    ProxyConfig,
    SymmetricKey,
    diagnose_async,
    provision_async,
)
from mqttws.doctor.settings import describe_settings
from mqttws.net.target import parse_url

KEY = SymmetricKey("d", "AAECAwQFBgcICQoLDA0ODw==")

CALLS: dict[str, Callable[[ProxyConfig, float], Awaitable[object]]] = {
    "connect": lambda proxy, limit: AsyncClient(
        "wss://dps.example/", proxy=proxy, connect_timeout=limit, reconnect=None
    ).connect(),
    "provision": lambda proxy, limit: provision_async("0ne00X", KEY, proxy=proxy, timeout=limit),
    "provision, both ways": lambda proxy, limit: provision_async(
        "0ne00X", KEY, proxy=proxy, timeout=limit, transport="auto"
    ),
    "diagnose": lambda proxy, limit: diagnose_async("dps.example", proxy=proxy, timeout=limit),
}


class Asked:
    """A function that blocks until it is let go, and notes the threads in which it is called."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, url: str) -> None:
        self.threads.append(threading.current_thread())
        assert self.go.wait(30)


@pytest.fixture
def asked() -> Iterator[Asked]:
    asked = Asked()
    yield asked
    asked.go.set()
    for thread in asked.threads:
        thread.join(30)


@pytest.mark.parametrize("name", CALLS)
async def test_one_that_never_returns_stops_neither_the_loop_nor_the_deadline(
    name: str, asked: Asked
) -> None:
    proxy = ProxyConfig("http://127.0.0.1:9", login=asked)
    try:
        found = await CALLS[name](proxy, 0.5)
        error = getattr(found, "error", None)
    except ConnectFailed as failed:
        error = failed
    assert not asked.go.is_set()
    assert isinstance(error, HopTimedOut)
    assert "login= did not return" in str(error)
    assert (error.hop, error.cause, error.party) == (
        Hop.PROXY,
        Cause.CALLBACK_FAILED,
        Party.CALLER,
    )
    assert asked.threads
    assert threading.current_thread() not in asked.threads


@pytest.mark.parametrize("name", CALLS)
async def test_one_that_raises_is_named_and_its_error_chained(name: str) -> None:
    def login(url: str) -> None:
        raise LookupError("no keyring")

    proxy = ProxyConfig("http://127.0.0.1:9", login=login)
    try:
        found = await CALLS[name](proxy, 10.0)
        error = getattr(found, "error", None)
    except ConnectFailed as failed:
        error = failed
    assert isinstance(error, ConnectFailed)
    assert (error.hop, error.cause) == (Hop.PROXY, Cause.CALLBACK_FAILED)
    assert isinstance(error.__cause__, LookupError)


async def test_a_look_at_the_settings_asks_nobody() -> None:
    def login(url: str) -> None:
        raise AssertionError("asked")

    target = parse_url("wss://dps.example/")
    proxy = ProxyConfig("http://127.0.0.1:9", login=login)
    lines = await asyncio.to_thread(describe_settings, target, proxy, {})
    assert "proxy: http://127.0.0.1:9 (argument, its login is asked for)" in lines
