"""What was answered is in the records: after a restart, a kill, a full disk; and who wins."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncLocalDps, SymmetricKey, TlsConfig, provision_async
from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.dps.store import Write
from mqttws.dps.tables import DEVICES
from mqttws.dps.topics import poll_topic
from mqttws.errors import StoreFailed, StoreFull
from mqttws.local.x509 import DeviceAuthority
from mqttws.wire import Publish

from . import x509_world
from .device import device, hello, register, wish
from .stores.conftest import MakeStore, make_store, postgres  # noqa: F401 - fixtures
from .test_service import provisioned, ready

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def keyed(name: str, **members: object) -> dict[str, Any]:
    keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY}}
    return {"registrationId": name, "attestation": keys, **members}


async def test_a_service_goes_on_where_an_earlier_one_ended(
    dps_state: Path,
    make_store: MakeStore,  # noqa: F811
) -> None:
    root = DeviceAuthority.root()
    certified = root.issue("certified")
    key = ""
    for turn in range(2):
        async with AsyncLocalDps(state=dps_state, retry_after=0, records=make_store()) as dps:
            if turn == 0:
                key = await dps.enroll_device("keyed")
                await dps.enroll(x509_world.group("fleet", root))
            keyed = await provision_async(
                dps.id_scope,
                SymmetricKey("keyed", key),
                host=dps.host,
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                api_version="2021-06-01",
            )
            found = await x509_world.register(dps, certified, api_version="2021-06-01")
        expected = ["initialAssignment", "reprovisionedToInitialAssignment"][turn]
        assert keyed.substatus == found.substatus == expected


async def test_a_restart_between_register_and_poll_costs_the_device_nothing(
    dps_state: Path,
    make_store: MakeStore,  # noqa: F811
) -> None:
    """Its operation is in the store, and so is how often it has been polled."""
    options: dict[str, Any] = {"state": dps_state, "retry_after": 0, "assigning_polls": 2}
    async with AsyncLocalDps(records=make_store(), **options) as dps:
        await dps.enroll(keyed("dev"))
        async with device(dps) as peer:
            await ready(dps, peer, KEY)
            await peer.send(register(qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            operation = json.loads(answer.payload)["operationId"]
    statuses = []
    for _ in range(3):
        async with AsyncLocalDps(records=make_store(), **options) as dps, device(dps) as peer:
            await ready(dps, peer, KEY)
            await peer.send(register(topic=poll_topic("1", operation), qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            statuses.append(answer.topic.split("/")[3])
    assert statuses == ["202", "202", "200"]


async def test_ordered_faults_and_throttles_outlive_a_restart(
    dps_state: Path,
    make_store: MakeStore,  # noqa: F811
) -> None:
    options: dict[str, Any] = {"state": dps_state, "retry_after": 0, "registers_per_minute": 3}

    async def registered() -> str:
        async with AsyncLocalDps(records=make_store(), **options) as dps, device(dps) as peer:
            await ready(dps, peer, KEY)
            await peer.send(register(qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            return answer.topic.split("/")[3]

    async with AsyncLocalDps(records=make_store(), **options) as dps:
        await dps.enroll(keyed("dev"))
        await dps.fault("answer", status=503, hop="register", times=2)
    assert [await registered() for _ in range(3)] == ["503", "503", "202"]
    assert [await registered() for _ in range(3)] == ["202", "202", "429"]


async def test_two_front_ends_share_one_store(
    dps_state: Path,
    make_store: MakeStore,  # noqa: F811
) -> None:
    """A device registers at one and polls at the other; what one refuses the other refuses."""
    options: dict[str, Any] = {"state": dps_state, "retry_after": 0}
    async with (
        AsyncLocalDps(records=make_store(), **options) as one,
        AsyncLocalDps(records=make_store(), **options) as other,
    ):
        if not one.store.shared:
            return  # memory is one process's alone
        await one.enroll(keyed("dev"))
        async with device(one) as here, device(other) as there:
            await ready(one, here, KEY)
            await ready(other, there, KEY)
            await here.send(register(qos=0))
            answer = await here.receive()
            assert isinstance(answer, Publish)
            operation = json.loads(answer.payload)["operationId"]
            await there.send(register(topic=poll_topic("1", operation), qos=0))
            answer = await there.receive()
            assert isinstance(answer, Publish)
            assert "/200/" in answer.topic
        await other.enroll(keyed("dev", provisioningStatus="disabled"), replace=True)
        async with device(one) as here:
            await ready(one, here, KEY)
            await here.send(register(qos=0))
            answer = await here.receive()
            assert isinstance(answer, Publish)
            assert json.loads(answer.payload)["status"] == "disabled"


async def test_enrollments_given_add_only_what_the_records_have_never_held(
    dps_state: Path,
    make_store: MakeStore,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    first, more = keyed("one"), keyed("two")
    given = parse_enrollments(json.dumps([first, more]), "file")
    async with AsyncLocalDps(state=dps_state, records=make_store(), enrollments=given) as dps:
        await dps.enroll(keyed("one", provisioningStatus="disabled"), replace=True)
        row = await dps.directory.row(*(await place(dps, "two")))
        assert await dps.enrollments.remove(row.value, row)
    given += parse_enrollments(json.dumps([keyed("three")]), "file")
    example = parse_enrollments(json.dumps([keyed("example")]), "file")
    async with AsyncLocalDps(
        state=dps_state, records=make_store(), enrollments=given, first_enrollments=example
    ) as dps:
        one = await dps.directory.individual("one")
        assert one is not None
        assert one.provisioning_status == "disabled"
        assert await dps.directory.individual("two") is None
        assert await dps.directory.individual("three") is not None
        assert await dps.directory.individual("example") is None
    assert "2 of 3 enrollments given are known to the records, which win: one, two" in caplog.text


async def place(dps: AsyncLocalDps, name: str) -> tuple[Any, str]:
    from mqttws.dps.tables import INDIVIDUALS

    return INDIVIDUALS, name


class Failing:
    """A store whose commits fail on demand."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.failure: StoreFailed | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, writes: Any, checks: Any = ()) -> bool:
        if self.failure is not None:
            raise self.failure
        done: bool = await self._store.commit(writes, checks)
        return done


@pytest.mark.parametrize("failure", [StoreFull("the disk is full"), StoreFailed("it is away")])
async def test_what_cannot_be_stored_is_not_answered_with_success_and_heals(
    dps_state: Path,
    failure: StoreFailed,
    make_store: MakeStore,  # noqa: F811
) -> None:
    store: Any = Failing(make_store())
    async with AsyncLocalDps(state=dps_state, retry_after=0, records=store) as dps:
        await dps.enroll(keyed("dev"))
        store.failure = failure
        async with device(dps) as peer:
            await ready(dps, peer, KEY)
            await peer.send(register(qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            assert answer.topic == "$dps/registrations/res/503/?$rid=1&retry-after=2"
            assert json.loads(answer.payload)["errorCode"] == 503000
            assert await dps.registration("dev") is None
            store.failure = None
            await peer.send(register(qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            assert "/202/" in answer.topic
        found = await dps.registration("dev")
        assert found is not None


async def test_a_group_that_is_disabled_meanwhile_lets_nobody_in(
    dps_state: Path,
    make_store: MakeStore,  # noqa: F811
) -> None:
    """A decision is void if the enrollment that it was made by has moved before the commit."""
    store: Any = Failing(make_store())
    async with AsyncLocalDps(state=dps_state, retry_after=0, records=store) as dps:
        keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY}}
        group: dict[str, Any] = {"enrollmentGroupId": "fleet", "attestation": keys}
        await dps.enroll(group)
        commit = store.commit

        async def late(writes: list[Write], checks: Any = ()) -> bool:
            store.commit = commit
            await dps.enroll({**group, "provisioningStatus": "disabled"}, replace=True)
            done: bool = await commit(writes, checks)
            return done

        credential = SymmetricKey.from_group_key("dev", KEY)
        async with device(dps) as peer:
            token = credential.password(dps.id_scope, 2_000_000_000).encode()
            await peer.send(hello(dps, "dev", KEY, password=token), wish())
            await peer.receive()
            await peer.receive()
            store.commit = late
            await peer.send(register(qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            assert json.loads(answer.payload)["status"] == "disabled"
        assert (await dps.store.page(DEVICES)).items == []
        assert dps.service.counts.conflicts == 1


async def test_a_file_that_fills_up_is_said_and_heals(
    dps_state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite's own limit stands for a file system that is full."""
    caplog.set_level("INFO", "mqttws.local")
    async with AsyncLocalDps(
        state=dps_state, retry_after=0, records=tmp_path / "dps.sqlite"
    ) as dps:
        await dps.enroll(keyed("dev"))
        writer = dps.store._writer  # type: ignore[attr-defined]
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreFull, match="the disk is full"):
            await dps.enroll(keyed("big", initialTwin={"tags": {"x": "y" * 500_000}}))
        assert caplog.text.count("the disk is full") == 1
        writer.execute("PRAGMA max_page_count = 100000")
        await dps.enroll(keyed("more"))
        assert "written again" in caplog.text
        await provisioned(dps, KEY)


async def test_a_killed_process_loses_nothing_that_it_has_answered(tmp_path: Path) -> None:
    program = (
        "import asyncio, json, sys\n"
        "from mqttws.local.stores import open_store\n"
        "from mqttws.dps.store import Table, Write\n"
        "T = Table('t', json.dumps, json.loads)\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    await store.open()\n"
        "    async def one(n):\n"
        "        await store.commit([Write(T, str(n), {'n': n}, 0)])\n"
        "        print(n, flush=True)\n"
        "    for at in range(0, 10**6, 20):\n"
        "        await asyncio.gather(*(one(n) for n in range(at, at + 20)))\n"
        "asyncio.run(main())\n"
    )
    import sys

    from mqttws.dps.store import Table
    from mqttws.local.stores import open_store

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "r"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = [int(await process.stdout.readline()) for _ in range(100)]
    process.kill()
    said += [int(line) for line in (await process.stdout.read()).splitlines(True) if b"\n" in line]
    await process.wait()
    table: Table[Any] = Table("t", json.dumps, json.loads)
    store = open_store(tmp_path / "r")
    await store.open()
    kept = {int(key) for key, _ in (await store.page(table, limit=10**6)).items}
    await store.close()
    assert set(said) <= kept
    assert os.listdir(tmp_path) == ["r"]
