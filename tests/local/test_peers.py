"""Two front ends over one PostgreSQL: a change at one counts at the other within a second."""

import asyncio
import datetime
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mqttws import (
    AsyncLocalDps,
    MqttwsError,
    RegistrationFailed,
    RegistrationRejected,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.dps.sas import decode_key, sign_token
from mqttws.local.stores import postgres_news
from mqttws.local.stores.postgres import PostgresStore
from mqttws.local.x509 import DeviceAuthority
from mqttws.wire import Publish
from tests.conftest import peer_missing

from . import x509_world
from .device import device, register, trusting
from .stores.cluster import Cluster
from .stores.conftest import clear, postgres  # noqa: F401 - a fixture
from .test_durability import KEY, keyed
from .test_service import closed_by_service, ready

Pair = tuple[AsyncLocalDps, AsyncLocalDps]
A_SECOND = 1.0


@pytest.fixture
def records(postgres: Cluster) -> str:  # noqa: F811
    clear(postgres)
    return postgres.url


@asynccontextmanager
async def pair(state: Path, records: str, **options: Any) -> AsyncIterator[Pair]:
    options = {"state": state, "retry_after": 0, "records": records, **options}
    async with AsyncLocalDps(**options) as one, AsyncLocalDps(**options) as other:
        yield one, other


async def cut_listeners(records: str) -> int:
    """Cut every connection that listens for news; return how many there were."""
    import psycopg

    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE query IN ('LISTEN mqttws', 'SELECT 1')"
    )
    async with await psycopg.AsyncConnection.connect(records, autocommit=True) as connection:
        found = await (await connection.execute(statement)).fetchone()
    assert found is not None
    return int(found[0])


async def listening(records: str, count: int) -> None:
    """Wait until so many connections listen."""
    import psycopg

    statement = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN mqttws'"
    async with await psycopg.AsyncConnection.connect(records, autocommit=True) as connection:
        while (await (await connection.execute(statement)).fetchone()) != (count,):
            await asyncio.sleep(0.01)


async def provisioned(dps: AsyncLocalDps, name: str, key: str = KEY) -> str:
    tls = TlsConfig(ca=dps.ca_file, only_ca=True)
    found = await provision_async(
        dps.id_scope, SymmetricKey(name, key), host=dps.host, port=dps.wss_port, tls=tls
    )
    return found.assigned_hub


@pytest.mark.parametrize("cut", [False, True])
async def test_what_is_disabled_at_one_is_refused_at_the_other(
    dps_state: Path, records: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Individual, group, and certificate; also when the other hears no news at all."""
    root = DeviceAuthority.root()
    async with pair(dps_state, records) as (one, other):
        await one.enroll(keyed("alone"))
        group_key = await one.enroll_group("group")
        await one.enroll(x509_world.group("certified", root))
        member = SymmetricKey.from_group_key("member", group_key)
        tls = TlsConfig(ca=other.ca_file, only_ca=True)
        there = {"host": other.host, "port": other.wss_port, "tls": tls}
        await provisioned(other, "alone")
        await provision_async(other.id_scope, member, **there)  # type: ignore[arg-type]
        await x509_world.register(other, root.issue("leaf"))
        if cut:
            await listening(records, 2)
            monkeypatch.setattr(postgres_news, "FIRST_DELAY", 30.0)
            assert await cut_listeners(records) == 2
        await one.disable("alone")
        await one.disable("group", group=True)
        await one.disable("certified", group=True)
        began = time.monotonic()
        with pytest.raises((RegistrationFailed, RegistrationRejected)):
            await provisioned(other, "alone")
        with pytest.raises((RegistrationFailed, RegistrationRejected)):
            await provision_async(other.id_scope, member, **there)  # type: ignore[arg-type]
        with pytest.raises((RegistrationFailed, RegistrationRejected)):
            await x509_world.register(other, root.issue("leaf"))
        assert time.monotonic() - began < 3 * A_SECOND  # three registrations' own time within


async def let_in(dps: AsyncLocalDps, root: DeviceAuthority, limit: float) -> float:
    """Register by a certificate until it is trusted; return the seconds that it took."""
    began = time.monotonic()
    while True:
        try:
            await x509_world.register(dps, root.issue("leaf"))
        except MqttwsError:
            if time.monotonic() - began > limit:
                raise
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - began


@pytest.mark.parametrize("cut", [False, True])
async def test_a_certificate_enrolled_at_one_is_trusted_at_the_other(
    dps_state: Path, records: str, cut: bool
) -> None:
    root = DeviceAuthority.root()
    async with pair(dps_state, records) as (one, other):
        await listening(records, 2)
        if cut:
            assert await cut_listeners(records) == 2
        await one.enroll(x509_world.group("certified", root))
        assert await let_in(other, root, 4) < 2 * A_SECOND  # and a handshake on a busy machine


async def test_without_any_news_what_is_kept_is_looked_at_again(
    dps_state: Path, records: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_news, "LISTEN", "SELECT 1")
    async with pair(dps_state, records) as (one, other):
        assert one.store.recheck == 5
        await one.fault("answer", "dev", status=401, hop="register", times=1)
        async with asyncio.timeout(10):
            while not other.faults.concern("register", "dev"):
                await asyncio.sleep(0.02)


async def test_a_fault_ordered_at_one_strikes_at_the_other(dps_state: Path, records: str) -> None:
    async with pair(dps_state, records) as (one, other):
        await listening(records, 2)
        await one.enroll(keyed("dev"))
        assert not other.faults.concern("register", "dev")
        await one.fault("answer", "dev", status=401, hop="register", times=1)
        async with asyncio.timeout(A_SECOND):
            while not other.faults.concern("register", "dev"):
                await asyncio.sleep(0.01)
        with pytest.raises((RegistrationFailed, RegistrationRejected)):
            await provisioned(other, "dev")
        async with asyncio.timeout(A_SECOND):
            while one.faults.concern("register", "dev"):
                await asyncio.sleep(0.01)
        await provisioned(one, "dev")


async def test_devices_that_register_at_both_end_at_one_hub(dps_state: Path, records: str) -> None:
    """Each front end would choose another hub: the one whose commit is first decides."""
    options: dict[str, Any] = {"state": dps_state, "retry_after": 0, "records": records}
    async with (
        AsyncLocalDps(hubs=["one.example"], **options) as one,
        AsyncLocalDps(hubs=["other.example"], **options) as other,
    ):
        never = {"updateHubAssignment": False, "migrateDeviceData": False}
        names = [f"dev-{number}" for number in range(12)]
        for name in names:
            await one.enroll(keyed(name, reprovisionPolicy=never))
        found = await asyncio.gather(
            *(provisioned(dps, name) for name in names for dps in (one, other))
        )
        for name, here, there in zip(names, found[::2], found[1::2], strict=True):
            record = await one.registration(name)
            assert record is not None
            assert here == there == record.assigned_hub


@pytest.mark.parametrize("cut", [False, True])
async def test_a_device_that_comes_to_the_other_leaves_the_one(
    dps_state: Path, records: str, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with pair(dps_state, records) as (one, other):
        await one.enroll(keyed("dev"))
        await listening(records, 2)
        async with device(one) as here, device(other) as there:
            for dps, peer in ((one, here), (other, there)):
                await ready(dps, peer, KEY)
                await peer.send(register(qos=0))
                await peer.receive()
                if cut and dps is one:
                    await cut_listeners(records)
            async with asyncio.timeout(2 * A_SECOND):
                await closed_by_service(here)
            await there.send(register(qos=0))
            await there.receive()
    assert "taken over by another client with this id, at another front end" in caplog.text


async def test_one_front_end_alone_tells_no_one(
    dps_state: Path, records: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def announce(self: PostgresStore, news: str) -> None:
        told.append(json.loads(news)[0])

    monkeypatch.setattr(PostgresStore, "announce", announce)
    async with AsyncLocalDps(state=dps_state, retry_after=0, records=records) as dps:
        while told[-2:] != ["asks", "proved"]:  # once it listens
            await asyncio.sleep(0.01)
        await dps.enroll(keyed("dev"))
        await provisioned(dps, "dev")
        assert told.count("proved") == 1


LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def require_faketime() -> None:
    if not os.path.exists(LIBRARY):
        peer_missing("faketime is not installed")


@asynccontextmanager
async def under_another_clock(shift: str, state: Path, records: str) -> AsyncIterator[Any]:
    """Run ``mqttws serve`` with a clock that is off; give the line that it prints."""
    require_faketime()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mqttws", "serve", "--json", "--host", "127.0.0.1"),
        *("--wss-port", "0", "--mqtts-port", "0", "--admin-port", "0", "--retry-after", "0"),
        *("--state", str(state), "--records", records),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={
            **os.environ,
            "LD_PRELOAD": LIBRARY,
            "FAKETIME": shift,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        assert await process.wait() == 0


def seconds_of(stamp: str) -> float:
    return datetime.datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()


async def registered_with(dps: AsyncLocalDps, port: int, expiry: float) -> str:
    """Register at a port with a token of that expiry; return the status in the answer's topic."""
    token = sign_token(f"{dps.id_scope}/registrations/dev", decode_key(KEY), int(expiry))
    async with device(dps, port=port) as peer:
        await ready(dps, peer, KEY, password=token.encode())
        await peer.send(register(qos=0))
        answer = await peer.receive()
        assert isinstance(answer, Publish)
        return answer.topic.split("/")[3]


@pytest.mark.parametrize("shift", ["+5m", "-5m"])
async def test_the_clock_of_a_front_end_decides_nothing(
    dps_state: Path, records: str, shift: str
) -> None:
    """Tokens of devices and of the service API, and the times of records."""
    aiohttp = pytest.importorskip("aiohttp")
    async with (
        AsyncLocalDps(state=dps_state, retry_after=0, records=records) as right,
        under_another_clock(shift, dps_state, records) as wrong,
    ):
        await right.enroll(keyed("dev"))
        port = wrong["wss_port"]
        assert await registered_with(right, port, time.time() + 30) == "202"
        assert await registered_with(right, port, time.time() - 150) == "401"
        record = await right.registration("dev")
        assert record is not None
        assert abs(seconds_of(record.created) - time.time()) < 60
        parts = dict(part.split("=", 1) for part in wrong["connection_string"].split(";"))
        key, name = decode_key(parts["SharedAccessKey"]), parts["SharedAccessKeyName"]
        statuses = []
        async with aiohttp.ClientSession() as session:
            for expiry in (time.time() + 30, time.time() - 30):
                async with session.put(
                    f"https://127.0.0.1:{port}/enrollments/made?api-version=2021-10-01",
                    json={"attestation": {"type": "symmetricKey"}},
                    headers={
                        "Authorization": sign_token(parts["HostName"], key, int(expiry), name)
                    },
                    ssl=trusting(right),
                ) as answer:
                    statuses.append(answer.status)
        assert statuses == [200, 401]
        made = await right.directory.individual("made")
        assert made is not None
        assert abs(seconds_of(made.created) - time.time()) < 60
