"""A TLS session is resumed where everything that counts is the same, and nowhere else."""

import ctypes
import gc
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
from mqttws.net.dial import dial
from mqttws.net.hops import Step, Walk
from mqttws.net.sessions import SESSIONS, Sessions
from mqttws.net.stream import ByteStream
from mqttws.net.target import Target

from ..chaos import relay
from ..local import x509_world
from .rogue import Certificates, listening

Where = dict[str, Any]
CONTEXT = ssl.create_default_context()


@pytest.fixture(autouse=True)
def no_sessions() -> Iterator[None]:
    SESSIONS.__init__()  # type: ignore[misc] - the same object, as in a new process
    yield
    SESSIONS.__init__()  # type: ignore[misc]


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


class Session:
    """Stands in for OpenSSL's."""

    has_ticket, id, time, timeout = True, b"x", 0, 10**12


def key_of(port: int = 443) -> sessions.Key:
    return sessions.key_of(CONTEXT, Target("wss", "dps.example", port, "/"), None)


def test_a_session_is_offered_once_and_not_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Sessions()
    kept.keep(key_of(), Session())  # type: ignore[arg-type]
    assert kept.take(key_of()) is not None
    assert kept.take(key_of()) is None
    kept.keep(key_of(), Session())  # type: ignore[arg-type]
    now = sessions.time.monotonic()
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + sessions.LONGEST + 1)
    assert kept.take(key_of()) is None


class Made:
    """Stands in for a TLS object after a handshake.

    Attributes:
        session_reused: whether the offer was taken.
    """

    def __init__(self, version: str, *, reused: bool = True) -> None:
        self._version = version
        self.session_reused = reused

    def version(self) -> str:
        return self._version


@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_resumed_handshakes_do_not_put_the_certificate_check_off(
    monkeypatch: pytest.MonkeyPatch, version: str, leaks: bool
) -> None:
    monkeypatch.setattr(sessions, "READING_LEAKS", leaks)
    kept, now = Sessions(), 1000.0
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now)
    kept.keep(key_of(), Session())  # type: ignore[arg-type]
    resumed = 0
    while (offer := kept.take(key_of())) is not None:
        resumed += 1
        now += 600.0
        keep = kept.keeper(key_of(), Made(version), offer)  # type: ignore[arg-type]
        if keep is not None:
            keep(Session())  # type: ignore[arg-type]
    assert resumed == sessions.LONGEST / 600


def test_a_server_that_resumes_none_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Without(Session):
        has_ticket, id = False, b""

    kept, made = Sessions(), Made("TLSv1.3", reused=False)
    keep = kept.keeper(key_of(), made, None)  # type: ignore[arg-type]
    assert keep is not None
    keep(Without())  # type: ignore[arg-type]
    assert kept.take(key_of()) is None
    assert kept.keeper(key_of(), made, None) is None  # type: ignore[arg-type]
    now = sessions.time.monotonic()
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + sessions.UNRESUMED + 1)
    keep = kept.keeper(key_of(), made, None)  # type: ignore[arg-type]
    assert keep is not None
    keep(Session())  # type: ignore[arg-type]
    assert kept.take(key_of()) is not None


async def test_no_session_is_read_of_a_server_that_has_not_resumed_one(
    local_dps: AsyncLocalDps, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[ssl.SSLSession] = []
    keep = Sessions.keep

    def noted(self: Sessions, key: sessions.Key, session: ssl.SSLSession, until: float) -> None:
        kept.append(session)
        keep(self, key, session, until)

    monkeypatch.setattr(Sessions, "keep", noted)
    tls = TlsConfig(ca=certificates.ca_file, only_ca=True)
    async with local_dps as dps:
        device = SymmetricKey("dev", await dps.enroll_device("dev"))
        async with with_tickets(dps, certificates) as one, with_tickets(dps, certificates) as other:
            assert not await resumed(dps, device, tls, **one)
            # The other end, with other keys for its tickets, in the place of the first.
            (key,) = SESSIONS._kept
            session = SESSIONS._kept.pop(key)
            SESSIONS._kept[(*key[:2], int(other["port"]), *key[3:])] = session
            for _ in range(3):
                assert not await resumed(dps, device, tls, **other)
    assert len(kept) == 1
    assert [session for session, _ in SESSIONS._kept.values()] == [None]


def test_few_sessions_are_kept() -> None:
    kept = Sessions()
    for port in range(1, sessions.MAX_SESSIONS + 50):
        kept.keep(key_of(port), Session())  # type: ignore[arg-type]
    assert len(kept) == sessions.MAX_SESSIONS


# Where reading a session leaks


async def connect(port: int, tls: TlsConfig, times: int) -> int:
    """Connect again and again; return how many handshakes were resumed."""
    resumed = 0
    for _ in range(times):
        walk = Walk(timeout=5.0, hop_timeout=5.0)
        walk.resume = True
        target = Target("mqtts", "127.0.0.1", port, "")
        stream = await dial(target, walk, tls=tls, proxy=None, max_message_size=1000)
        assert isinstance(stream, ByteStream)
        stream.write(b"x")
        assert await stream.read() == b"x"  # behind it the server's tickets are here
        await stream.close(1.0)
        resumed += walk.steps[-1].detail.endswith("resumed")
    return resumed


async def answer(reader: Any, writer: Any) -> None:
    writer.write(await reader.read(1))
    await reader.read()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_few_sessions_are_read_where_that_leaks(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    monkeypatch.setattr(sessions, "READING_LEAKS", True)
    monkeypatch.setattr(sessions, "MAX_READ", 10)
    tls = TlsConfig(ca=certificates.ca_file, only_ca=True, maximum_version=version)
    real, read = ssl.SSLObject.session, 0

    def counted(made: ssl.SSLObject) -> ssl.SSLSession | None:
        nonlocal read
        read += 1
        return real.fget(made)  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(ssl.SSLObject, "session", property(counted, real.fset))  # type: ignore[attr-defined]
    async with listening(answer, certificates.server()) as port:
        resumed = await connect(port, tls, 30)
    if version is ssl.TLSVersion.TLSv1_2:
        assert (read, resumed) == (1, 29)
    else:
        assert (read, resumed) == (10, 10)


class Allocated(ctypes.Structure):
    """Figures of glibc's allocator (``struct mallinfo2``), bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc alone counts")
async def test_connections_leave_nothing_with_the_allocator(certificates: Certificates) -> None:
    """OpenSSL's memory is seen by no tool of Python's."""
    count = ctypes.CDLL(None).mallinfo2
    count.restype = Allocated
    tls = TlsConfig(ca=certificates.ca_file, only_ca=True, maximum_version=ssl.TLSVersion.TLSv1_2)
    counted = []
    async with listening(answer, certificates.server()) as port:
        for _ in range(3):
            await connect(port, tls, 50)
            gc.collect()
            counted.append(count().uordblks)
    assert counted[-1] - counted[1] < 50 * 1024, counted  # a session read each time: 300 KiB
