"""Stores that fail while devices register: no wrong success, and all is well in the end."""

import asyncio
import pwd
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncLocalDps, MqttwsError, SymmetricKey, TlsConfig, provision_async
from mqttws.errors import StoreFailed, StoreFull
from mqttws.local.stores import postgres as postgres_module
from tests.disks import fill, small_disk
from tests.ports import free_port

from .cluster import Cluster
from .conftest import clear


async def register_all(dps: AsyncLocalDps, keys: dict[str, str], limit: float) -> dict[str, str]:
    """Register devices, each within ``limit`` seconds; return their hubs."""
    loop = asyncio.get_running_loop()

    async def one(name: str) -> str:
        until = loop.time() + limit
        while True:
            try:
                found = await provision_async(
                    dps.id_scope,
                    SymmetricKey(name, keys[name]),
                    host="127.0.0.1",
                    port=dps.mqtts_port,
                    transport="mqtts",
                    tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                    timeout=limit,
                )
            except MqttwsError as error:
                if not error.retryable or loop.time() > until:
                    raise
                await asyncio.sleep(0.05)
            else:
                return found.assigned_hub

    return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))


async def under_load(dps: AsyncLocalDps, trouble: Callable[[], Any], limit: float = 50) -> None:
    """Let trouble come while devices register; all are assigned, and the records say so."""
    keys = {f"dev-{n}": await dps.enroll_device(f"dev-{n}") for n in range(12)}
    registering = asyncio.create_task(register_all(dps, keys, limit))
    await asyncio.sleep(0.05)
    await trouble()
    hubs = await registering
    for name, hub in hubs.items():
        found = await dps.registration(name)
        assert found is not None
        assert found.assigned_hub == hub


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [("fast", 0.5), ("immediate", 0.5), pytest.param("immediate", 10, marks=pytest.mark.slow)],
)
@pytest.mark.timeout(100)
async def test_a_database_that_is_stopped_and_started(
    postgres: Cluster, dps_state: Path, mode: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    clear(postgres)
    async with AsyncLocalDps(state=dps_state, retry_after=0, records=postgres.url) as dps:

        async def restart() -> None:
            await asyncio.to_thread(postgres.stop, mode)
            with pytest.raises(StoreFailed, match="records cannot be used"):
                await dps.enroll_device("not-now")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(postgres.start)

        await under_load(dps, restart, 50 + seconds)
        await dps.enroll_device("not-now")
    assert "s3cret" not in caplog.text


class Relay:
    """Carries bytes to a port, until it is told to be silent: then nothing goes either way."""

    def __init__(self) -> None:
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: list[asyncio.StreamWriter] = []


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[tuple[Relay, int]]:
    made, own = Relay(), free_port()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await made.speaks.wait()
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        made.writers += [writer, there_writer]
        for pair in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(carry(*pair))
            made.tasks.add(task)
            task.add_done_callback(made.tasks.discard)

    async with await asyncio.start_server(accept, "127.0.0.1", own):
        try:
            yield made, own
        finally:
            made.speaks.set()
            tasks = list(made.tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in made.writers:
                writer.transport.abort()
            await asyncio.sleep(0)


@pytest.mark.timeout(100)
async def test_a_connection_to_the_database_that_falls_silent(
    postgres: Cluster, dps_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was under way is looked up over another connection, not repeated."""
    monkeypatch.setattr(postgres_module, "STATEMENT_TIMEOUT", 0.5)
    clear(postgres)
    async with relay(postgres.port) as (line, port):
        url = postgres.url.replace(f":{postgres.port}/", f":{port}/")
        async with AsyncLocalDps(state=dps_state, retry_after=0, records=url) as dps:

            async def silence() -> None:
                line.speaks.clear()
                with pytest.raises(StoreFailed):
                    await dps.enroll_device("not-now")
                await asyncio.sleep(1.0)
                line.speaks.set()

            await under_load(dps, silence)


@pytest.mark.timeout(100)
async def test_a_file_system_that_fills_and_empties(tmp_path: Path, dps_state: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        records = disk / "dps.sqlite"
        async with AsyncLocalDps(state=dps_state, retry_after=0, records=records) as dps:

            async def trouble() -> None:
                filler = fill(disk)
                big = {"initialTwin": {"tags": {"x": "y" * 50_000}}}
                keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": "AAAA" * 8}}
                record = {"registrationId": "big", "attestation": keys, **big}
                with pytest.raises(StoreFull, match="disk is full"):
                    await dps.enroll(record)
                await asyncio.sleep(0.3)
                filler.unlink()
                await dps.enroll(record)

            await under_load(dps, trouble)
        async with AsyncLocalDps(state=dps_state, records=records) as dps:
            for number in range(12):
                assert await dps.registration(f"dev-{number}") is not None


@pytest.mark.timeout(100)
async def test_a_postgresql_whose_disk_fills_and_empties(
    postgres: Cluster, dps_state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tables lie on a disk of their own, which is full; its log of transactions is not."""
    import psycopg

    clear(postgres)
    caplog.set_level("INFO", "mqttws.local")
    keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": "AAAA" * 8}}
    owner = pwd.getpwnam("postgres").pw_uid
    with (
        small_disk(postgres.folder / "small", "2m", owner) as disk,
        psycopg.connect(postgres.url, autocommit=True) as admin,
    ):
        admin.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        admin.execute("ALTER DATABASE postgres SET default_tablespace = small")
        try:
            async with AsyncLocalDps(state=dps_state, retry_after=0, records=postgres.url) as dps:
                accepted: list[str] = []
                filler = fill(disk)
                twin = {"tags": {"x": "".join(map(str, range(20_000)))}}
                big = {"registrationId": "big", "attestation": keys, "initialTwin": twin}
                with pytest.raises(StoreFull, match="the disk is full"):
                    await dps.enroll(big)
                assert await dps.directory.individual("big") is None
                assert "used again" not in caplog.text  # though it can be read
                filler.unlink()
                await dps.enroll(big)
                assert caplog.text.count("the disk is full") == caplog.text.count("used again") == 1

                async def enroll_more() -> None:
                    for number in range(2000):  # until the pages that are there are full too
                        name = f"more-{number}"
                        await dps.enroll({"registrationId": name, "attestation": keys})
                        accepted.append(name)

                async def trouble() -> None:
                    filler = fill(disk)
                    with pytest.raises(StoreFull, match="the disk is full"):
                        await enroll_more()
                    await asyncio.sleep(0.3)
                    filler.unlink()
                    await dps.enroll({"registrationId": "healed", "attestation": keys})

                await under_load(dps, trouble)
            async with AsyncLocalDps(state=dps_state, records=postgres.url) as dps:
                for name in (*accepted, "healed"):
                    assert await dps.directory.individual(name) is not None
                for number in range(12):
                    assert await dps.registration(f"dev-{number}") is not None
        finally:
            clear(postgres)
            admin.execute("ALTER DATABASE postgres RESET default_tablespace")
            admin.execute("DROP TABLESPACE small")
