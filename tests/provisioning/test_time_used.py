"""A registration uses the time that it has: silence on any hop, lost answers, late networks."""

import asyncio
import logging
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    ConnectFailed,
    ProxyRefused,
    RequestTimedOut,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.dps.registration import Registration
from mqttws.hops import Cause, Hop
from mqttws.net import tcp
from mqttws.net.hops import Step
from mqttws.provisioning import exchange, plan
from mqttws.retry import Pauses

from ..chaos import DOWN, UP, Effect, Fate, relay
from ..net.rogue import Certificates, listening, silent
from ..ports import free_port


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(exchange, "LOST", Pauses(0.05, 30.0))
    plan._worked.clear()
    plan._in_turn.clear()
    yield
    plan._worked.clear()
    plan._in_turn.clear()


class Walked:
    """The steps that have ended, by hop."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        if step.ended is not None:
            self.steps.append(step)

    def times(self, hop: Hop) -> int:
        return sum(step.hop is hop for step in self.steps)


async def registered(
    dps: AsyncLocalDps, port: int | None = None, name: str = "dev", **options: Any
) -> Assignment:
    """Enroll a device and register it, with little patience for each hop."""
    given = {
        "host": "127.0.0.1",
        "port": port or dps.wss_port,
        "tls": TlsConfig(ca=dps.ca_file, only_ca=True),
        "timeout": 20.0,
        "hop_timeout": 1.0,
        "request_timeout": 1.0,
        "proxy": None,
    }
    credential = SymmetricKey(name, await dps.enroll_device(name))
    return await provision_async(dps.id_scope, credential, **given | options)


SILENCES = {
    "tls": Fate(Effect.SILENCE, UP, after=1, hold=60),
    "upgrade": Fate(Effect.SILENCE, UP, after=1, hold=60),
    "connect": Fate(Effect.SILENCE, UP, packet="CONNECT", passed=False, hold=60),
    "connack": Fate(Effect.SILENCE, DOWN, packet="CONNACK", passed=False, hold=60),
    "subscribe": Fate(Effect.SILENCE, UP, packet="SUBSCRIBE", passed=False, hold=60),
    "suback": Fate(Effect.SILENCE, DOWN, packet="SUBACK", passed=False, hold=60),
    "register": Fate(Effect.SILENCE, UP, packet="PUBLISH", passed=False, hold=60),
    "registered": Fate(Effect.SILENCE, DOWN, packet="PUBACK", passed=False, hold=60),
    "poll": Fate(Effect.SILENCE, UP, packet="PUBLISH", nth=2, passed=False, hold=60),
    "assigned": Fate(Effect.SILENCE, DOWN, packet="PUBACK", nth=2, passed=False, hold=60),
}
"""Both ends' bytes are dropped from here on, and no connection is ended; an answer follows its
PUBACK."""


@pytest.mark.parametrize("silent_at", SILENCES)
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_relay_that_falls_silent_anywhere_costs_one_more_connection(
    local_dps: AsyncLocalDps, certificates: Certificates, silent_at: str, transport: str
) -> None:
    async with local_dps as dps:
        behind = ssl.create_default_context(cafile=str(dps.ca_file))
        whole = silent_at == "tls"
        trusted = dps.ca_file if whole else certificates.ca_file
        ends = {} if whole else {"tls": certificates.server(), "tls_behind": behind}
        target = dps.wss_port if transport == "wss" else dps.mqtts_port
        async with relay(target or 0, **ends) as way:
            fates = iter([SILENCES[silent_at]])
            way.fates = lambda: next(fates, None)
            walked = Walked()
            assigned = await registered(
                dps,
                way.port,
                transport=transport,
                tls=TlsConfig(ca=trusted, only_ca=True),
                on_step=walked,
            )
    assert assigned.device_id == "dev"
    lost = way.connections - 1  # a busy machine may be too slow for the next one as well
    assert lost >= 1
    # Once the operation's id is known it is only asked about, never begun again.
    again = silent_at in ("register", "registered")
    assert walked.times(Hop.REGISTER) <= lost + (1 if again or lost > 1 else 0)


async def test_a_proxy_that_refuses_the_login_in_the_middle_is_asked_once(
    local_dps: AsyncLocalDps,
) -> None:
    asked = 0

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        if asked > 1:
            writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        answers, far = await asyncio.open_connection("127.0.0.1", dps.wss_port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        up = asyncio.ensure_future(carry(reader, far))
        await carry(answers, writer)
        up.cancel()
        far.close()

    async with local_dps as dps, listening(proxy) as port:
        await dps.fault("drop-before", hop="poll")
        with pytest.raises(ProxyRefused) as caught:
            await registered(dps, proxy=f"http://user:wrong@127.0.0.1:{port}")
    assert caught.value.cause is Cause.PROXY_LOGIN_REFUSED
    assert asked == 2


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_auto_goes_on_to_443_where_8883_swallows_connect(
    local_dps: AsyncLocalDps, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CONNACK_WITH_ANOTHER_WAY", 2.0)
    async with local_dps as dps, listening(silent, certificates.server()) as swallowing:
        ports = {"mqtts": swallowing, "wss": dps.wss_port}
        make_target = plan.make_target
        monkeypatch.setattr(
            plan,
            "make_target",
            lambda scheme, host, _, path: make_target(scheme, host, ports[scheme], path),
        )
        context = ssl.create_default_context(cafile=str(dps.ca_file))
        context.load_verify_locations(certificates.ca_file)
        walked = Walked()
        for name in ("d1", "d2"):
            assert (await _auto(dps, name, context, walked)).device_id == name
    silences = [step for step in walked.steps if step.error is not None]
    assert [step.hop for step in silences] == [Hop.CONNECT]  # and the second one remembers


async def _auto(
    dps: AsyncLocalDps, name: str, context: ssl.SSLContext, walked: Walked
) -> Assignment:
    credential = SymmetricKey(name, await dps.enroll_device(name))
    return await provision_async(
        dps.id_scope,
        credential,
        host="127.0.0.1",
        transport="auto",
        tls=context,
        proxy=None,
        timeout=20.0,
        hop_timeout=5.0,
        on_step=walked,
    )


async def test_a_device_that_boots_before_its_network_can_wait_for_it(
    local_dps: AsyncLocalDps,
) -> None:
    port = free_port()
    async with local_dps as dps:
        began = time.monotonic()
        with pytest.raises(ConnectFailed) as caught:
            await registered(dps, port)
        assert caught.value.cause is Cause.REFUSED
        assert time.monotonic() - began < 2
        task = asyncio.ensure_future(registered(dps, port, wait_for_network=True, name="d2"))
        await asyncio.sleep(0.5)  # it is refused meanwhile
        server = await asyncio.start_server(to_port(dps.wss_port or 0), "127.0.0.1", port)
        try:
            assert (await task).device_id == "d2"
        finally:
            server.close()


def to_port(target: int) -> Any:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, far = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(carry(reader, far), carry(answers, writer), return_exceptions=True)

    return serve


async def test_the_result_does_not_wait_for_the_peers_close(
    local_dps: AsyncLocalDps, certificates: Certificates
) -> None:
    async with local_dps as dps:
        behind = ssl.create_default_context(cafile=str(dps.ca_file))
        async with relay(dps.wss_port or 0, tls=certificates.server(), tls_behind=behind) as way:
            way.fates = lambda: Fate(Effect.SILENCE, UP, packet="DISCONNECT", hold=60)
            walked = Walked()
            tls = TlsConfig(ca=certificates.ca_file, only_ca=True)
            began = time.monotonic()
            assert await registered(dps, way.port, tls=tls, on_step=walked)
            took = time.monotonic() - began
    assert took - (walked.steps[-1].ended or 0.0) < 1.5, "not the 2 s for a peer's close"


async def test_the_next_address_is_tried_where_the_first_is_silent_behind_tcp(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_dps as dps, listening(silent) as port:
        addresses = [("127.0.0.1", port), ("127.0.0.2", port)]

        async def both(*_: Any) -> list[Any]:
            return [(2, 1, 6, "", address) for address in addresses]

        server = await asyncio.start_server(to_port(dps.wss_port or 0), "127.0.0.2", port)
        monkeypatch.setattr("mqttws.net.dial.resolve", both)
        monkeypatch.setattr(tcp, "HEAD_START", 5.0)
        try:
            walked = Walked()
            assert await registered(dps, port, on_step=walked)
        finally:
            server.close()
    ended = [step.error is None for step in walked.steps if step.hop is Hop.TLS]
    assert (ended[0], ended[-1]) == (False, True)


async def test_two_processes_with_one_identity_end_both_and_are_named(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    async with local_dps as dps:
        dps.service.retry_after = 2
        dps.service.assigning_polls = 1
        key = await dps.enroll_device("dev")
        walked = Walked()

        async def one(delay: float) -> Assignment:
            await asyncio.sleep(delay)
            return await provision_async(
                dps.id_scope,
                SymmetricKey("dev", key),
                host=dps.host,
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                on_step=walked,
            )

        with caplog.at_level(logging.WARNING, "mqttws.provisioning"):
            both = await asyncio.gather(one(0.0), one(1.0))
    assert [each.device_id for each in both] == ["dev", "dev"]
    assert walked.times(Hop.CONNECT) <= 8


async def test_what_was_answered_and_when_to_come_back_is_in_the_error(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        await dps.fault("answer", status=503, retry_after=1, times=None)
        with pytest.raises(RequestTimedOut) as caught:
            await registered(dps, timeout=4.0)
    assert "answered: 503" in str(caught.value)
    assert "times" in str(caught.value)
    assert "asked again in" in caught.value.hint
    assert caught.value.cause is Cause.OUT_OF_TIME


async def test_an_operation_that_the_service_has_forgotten_is_registered_again(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_dps as dps:
        monkeypatch.setattr(Registration, "operation_id", Forgetful(), raising=False)
        walked = Walked()
        assert (await registered(dps, on_step=walked)).device_id == "dev"
    assert next(step.status for step in walked.steps if step.hop is Hop.POLL) == 404
    assert walked.times(Hop.REGISTER) == 2
    assert walked.times(Hop.CONNECT) == 1


class Forgetful:
    """An operation id that is another one when it is used for the first time."""

    def __init__(self) -> None:
        self.given = ""
        self.first = True

    def __get__(self, *_: object) -> str:
        return self.given

    def __set__(self, _: object, operation_id: str) -> None:
        self.given = operation_id
        if operation_id and self.first:
            self.first = False
            self.given = "5.0000000000000000.forgotten"


@pytest.mark.parametrize("pipelined", ["subscribe", "register"])
async def test_a_server_that_takes_nothing_before_connack_is_asked_in_turn(
    local_dps: AsyncLocalDps, certificates: Certificates, pipelined: str
) -> None:
    async with local_dps as dps:
        behind = ssl.create_default_context(cafile=str(dps.ca_file))
        async with relay(dps.wss_port or 0, tls=certificates.server(), tls_behind=behind) as way:
            fates = iter([Fate(Effect.RST, UP, packet="SUBSCRIBE", passed=False)])
            way.fates = lambda: next(fates, None)
            tls = TlsConfig(ca=certificates.ca_file, only_ca=True)
            for connections in (2, 3):  # the second call does not try it again
                name = f"d{connections}"
                assert await registered(dps, way.port, name, tls=tls, pipelined=pipelined)
                assert way.connections == connections
        assert await registered(dps, name="direct", pipelined=pipelined)
