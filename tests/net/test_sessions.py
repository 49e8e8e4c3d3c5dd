"""A TLS session is resumed where everything that counts is the same, and nowhere else."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mqttws import (
    AsyncClient,
    SymmetricKey,
    TlsConfig,
    X509Certificate,
    diagnose_async,
    provision_async,
)
from mqttws.local.dps import AsyncLocalDps
from mqttws.local.x509 import DeviceAuthority
from mqttws.net import sessions
from mqttws.net.hops import Step
from mqttws.net.target import Target

from ..chaos import relay
from ..local import x509_world
from .rogue import Certificates

Where = dict[str, Any]


@pytest.fixture(autouse=True)
def no_sessions() -> Iterator[None]:
    sessions.forget_sessions()
    yield
    sessions.forget_sessions()


def trust(dps: AsyncLocalDps, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> TlsConfig:
    return TlsConfig(ca=dps.ca_file, only_ca=True, maximum_version=version)


@asynccontextmanager
async def with_tickets(dps: AsyncLocalDps, certificates: Certificates) -> AsyncIterator[Where]:
    """Put a TLS end before the service that sends tickets, which the service itself does not."""
    behind = ssl.create_default_context(cafile=str(dps.ca_file))
    async with relay(dps.wss_port or 0, tls=certificates.server(), tls_behind=behind) as way:
        yield {"host": "127.0.0.1", "port": way.port}


async def resumed(dps: AsyncLocalDps, credential: object, tls: TlsConfig, **where: object) -> bool:
    """Register, and tell whether the TLS session was resumed."""
    details: list[str] = []

    def on_step(step: Step) -> None:
        if step.name == "tls" and step.ended is not None:
            details.append(step.detail)

    options = {"host": dps.host, "port": dps.wss_port, "tls": tls, "on_step": on_step} | where
    await provision_async(dps.id_scope, credential, **options)  # type: ignore[arg-type]
    return details[-1].endswith("resumed")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_second_connection_of_a_process_resumes_the_session(
    local_dps: AsyncLocalDps, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    tls = TlsConfig(ca=certificates.ca_file, only_ca=True, maximum_version=version)
    async with local_dps as dps, with_tickets(dps, certificates) as where:
        device = SymmetricKey("dev", await dps.enroll_device("dev"))
        assert [await resumed(dps, device, tls, **where) for _ in range(3)] == [False, True, True]


async def test_another_trust_host_or_certificate_makes_a_full_handshake(
    local_dps: AsyncLocalDps,
) -> None:
    root = DeviceAuthority.root()
    async with local_dps as dps:
        device = SymmetricKey("dev", await dps.enroll_device("dev"))
        await dps.enroll(x509_world.group("fleet", root))
        first, second = (root.issue(name) for name in ("d-1", "d-2"))
        one = X509Certificate(first.chain, first.key)
        two = X509Certificate(second.chain, second.key)
        tls = trust(dps)
        assert not await resumed(dps, device, tls)
        assert not await resumed(
            dps, device, TlsConfig(ca=dps.ca_file, maximum_version=ssl.TLSVersion.TLSv1_2)
        )
        assert not await resumed(dps, device, tls, host="localhost")
        assert not await resumed(dps, one, tls)
        assert not await resumed(dps, two, tls)
        assert await resumed(dps, device, tls)
        assert await resumed(dps, one, tls)
        assert await resumed(dps, two, tls)


async def test_the_doctor_makes_a_full_handshake(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        device = SymmetricKey("dev", await dps.enroll_device("dev"))
        tls = trust(dps)
        await resumed(dps, device, tls)
        for who in ({}, {"id_scope": dps.id_scope, "credential": device}):
            report = await diagnose_async(dps.host, port=dps.wss_port, tls=tls, **who)
            (step,) = (step for step in report.steps if step.name == "tls")
            assert not step.detail.endswith("resumed")
            assert step.certificates


async def test_a_client_that_reconnects_resumes_too(local_dps: AsyncLocalDps) -> None:
    steps: list[Step] = []
    async with local_dps as dps:
        for _ in range(2):
            client = AsyncClient(
                Target("wss", dps.host, dps.wss_port or 0, "/$iothub/websocket"),
                client_id="dev",
                username=f"{dps.id_scope}/registrations/dev/api-version=2019-03-31",
                password="no token",
                tls=trust(dps),
                on_step=lambda step: steps.append(step) if step.ended is not None else None,
            )
            async with client:
                pass
    details = [step.detail for step in steps if step.name == "tls"]
    assert [detail.endswith("resumed") for detail in details] == [False, True]


def test_a_session_is_offered_once_and_not_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context()
    key = sessions.key_of(context, Target("wss", "dps.example", 443, "/"), None)

    class Session:
        has_ticket, id, time, timeout = True, b"x", 0, 10**12

    sessions.keep_session(key, Session())  # type: ignore[arg-type]
    assert sessions.take_session(key) is not None
    assert sessions.take_session(key) is None
    sessions.keep_session(key, Session())  # type: ignore[arg-type]
    now = sessions.time.monotonic()
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + sessions.LONGEST + 1)
    assert sessions.take_session(key) is None


def test_a_server_that_resumes_none_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = sessions.key_of(ssl.create_default_context(), Target("wss", "hub.example", 1, "/"), None)

    class Without:
        has_ticket, id, time, timeout = False, b"", 0, 10**12

    class Session(Without):
        has_ticket = True

    assert sessions.wants_session(key)
    sessions.keep_session(key, Without())  # type: ignore[arg-type]
    assert sessions.take_session(key) is None
    assert not sessions.wants_session(key)
    now = sessions.time.monotonic()
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + sessions.UNRESUMED + 1)
    assert sessions.wants_session(key)
    sessions.keep_session(key, Session())  # type: ignore[arg-type]
    assert sessions.wants_session(key)
    assert sessions.take_session(key) is not None


async def test_no_session_is_read_of_a_server_that_has_not_resumed_one(
    local_dps: AsyncLocalDps, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[ssl.SSLSession] = []
    keep = sessions.keep_session

    def noted(key: sessions.Key, session: ssl.SSLSession) -> None:
        kept.append(session)
        keep(key, session)

    monkeypatch.setattr("mqttws.net.dial.keep_session", noted)
    tls = TlsConfig(ca=certificates.ca_file, only_ca=True)
    async with local_dps as dps:
        device = SymmetricKey("dev", await dps.enroll_device("dev"))
        async with with_tickets(dps, certificates) as one, with_tickets(dps, certificates) as other:
            assert not await resumed(dps, device, tls, **one)
            # The other end, with other keys for its tickets, in the place of the first.
            (key,) = sessions._sessions
            session = sessions._sessions.pop(key)
            sessions._sessions[(*key[:2], int(other["port"]), *key[3:])] = session
            for _ in range(3):
                assert not await resumed(dps, device, tls, **other)
    assert len(kept) == 1
    assert [session for session, _ in sessions._sessions.values()] == [None]


def test_few_sessions_are_kept() -> None:
    context = ssl.create_default_context()

    class Session:
        has_ticket, id, time, timeout = True, b"x", 0, 10**12

    for port in range(1, sessions.MAX_SESSIONS + 50):
        key = sessions.key_of(context, Target("wss", "dps.example", port, "/"), None)
        sessions.keep_session(key, Session())  # type: ignore[arg-type]
    assert len(sessions._sessions) == sessions.MAX_SESSIONS
