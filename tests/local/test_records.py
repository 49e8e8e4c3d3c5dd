"""Records that outlive the service, and a crash."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mqttws import (
    AsyncLocalDps,
    StoreDamaged,
    StoreFailed,
    StoreLocked,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.dps.records import RegistrationRecord
from mqttws.local import records as records_module
from mqttws.local.records import SqliteRecords
from mqttws.local.x509 import DeviceAuthority

from . import x509_world


async def test_a_service_goes_on_where_an_earlier_one_ended(
    dps_state: Path, tmp_path: Path
) -> None:
    root = DeviceAuthority.root()
    device = root.issue("certified")
    key = ""
    for turn in range(2):
        with SqliteRecords(tmp_path / "dps.sqlite") as records:
            async with AsyncLocalDps(state=dps_state, retry_after=0, records=records) as dps:
                if turn == 0:
                    key = dps.enroll_device("keyed")
                    dps.enroll(x509_world.group("fleet", root))
                keyed = await provision_async(
                    dps.id_scope,
                    SymmetricKey("keyed", key),
                    host=dps.host,
                    port=dps.wss_port,
                    tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                )
                certified = await x509_world.register(dps, device)
        expected = ["initialAssignment", "reprovisionedToInitialAssignment"][turn]
        assert keyed.substatus == certified.substatus == expected
    assert os.listdir(tmp_path) == ["dps.sqlite"]
    assert (tmp_path / "dps.sqlite").stat().st_mode & 0o777 == 0o600


def record(number: int, **changes: object) -> RegistrationRecord:
    fields = {
        "registration_id": f"Dev-{number}",
        "assigned_hub": "hub",
        "device_id": "d",
        "substatus": "initialAssignment",
        "created": "t0",
        "last_updated": "t1",
        "etag": "e",
    }
    return RegistrationRecord(**(fields | changes))  # type: ignore[arg-type]


def test_everything_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "dps.sqlite"
    with SqliteRecords(file) as records:
        for number in range(2500):
            records.put_registration(record(number, payload={"n": [number]}))
        records.put_registration(record(7, assigned_hub="other"))
        records.remove_registration("DEV-8")
        before = records.registrations()
    with SqliteRecords(file) as records:
        assert records.registrations() == before
        moved = records.registration("dev-7")
        assert moved is not None
        assert moved.assigned_hub == "other"
        assert records.registration("dev-8") is None


def test_an_enrollment_that_is_removed_stays_away(tmp_path: Path) -> None:
    file = tmp_path / "dps.sqlite"
    with SqliteRecords(file) as records:
        dps = AsyncLocalDps(records=records)
        dps.enroll_device("One")
        dps.enroll_device("two")
        one = records.individual("one")
        assert one is not None
        records.remove(one)
    with SqliteRecords(file) as records:
        assert [kept.registration_id for kept in records.individuals()] == ["two"]


_CRASHING = """
import sys
from tests.local.test_records import record
from mqttws.local.records import SqliteRecords
records = SqliteRecords(sys.argv[1])
records.put_registration(record(0))
records.flush()
print("flushed", flush=True)
for number in range(1, 1_000_000):
    records.put_registration(record(number))
"""


def test_the_file_is_whole_after_a_crash(tmp_path: Path) -> None:
    file = tmp_path / "dps.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", _CRASHING, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "flushed\n"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    with SqliteRecords(file) as records:
        kept = [kept.registration_id for kept in records.registrations()]
    # All up to some moment, in order, and at least what had been flushed.
    assert kept
    assert kept == [f"Dev-{number}" for number in range(len(kept))]


def test_memory_needs_no_file() -> None:
    with SqliteRecords(":memory:") as records:
        records.put_registration(record(1))
        records.flush()
        assert records.registration("DEV-1") == record(1)
    assert not Path(":memory:").exists()


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, but a long enough text " * 40)
    for file in (tmp_path / "text", tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(StoreFailed, match="records cannot be used"):
            SqliteRecords(file)


def test_two_services_do_not_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "LOCK_TIMEOUT", 0.05)
    file = tmp_path / "dps.sqlite"
    with SqliteRecords(file) as records:
        records.put_registration(record(1))
        records.flush()
        for _ in range(2):
            with pytest.raises(StoreLocked, match="another service uses them") as refused:
                SqliteRecords(file)
            assert refused.value.hint == "end it, or name another file"
        records.put_registration(record(2))
        records.flush()
    with SqliteRecords(file) as records:
        assert len(records.registrations()) == 2


@pytest.mark.parametrize(
    "damage", ["cut", "overwritten", "odd row", "odd enrollment", "newer", "foreign"]
)
def test_a_damaged_file_is_told_in_one_line_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "dps.sqlite"
    with SqliteRecords(file) as records:
        dps = AsyncLocalDps(records=records)
        key = dps.enroll_device("dev")
        for number in range(500):
            records.put_registration(record(number))
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "overwritten":
        file.write_bytes(whole[:4096] + bytes(range(256)) * ((len(whole) - 4096) // 256))
    else:
        statement = {
            "odd row": "UPDATE registrations SET record = '{}' WHERE id = 'dev-7'",
            "odd enrollment": "UPDATE enrollments SET record = replace(record, 'primary', 'x')",
            "newer": "PRAGMA user_version = 9",
            "foreign": "PRAGMA user_version = 0",
        }[damage]
        with closing(sqlite3.connect(file)) as database:
            database.execute(statement)
            database.commit()
    damaged = file.read_bytes()
    with pytest.raises(StoreDamaged, match="records cannot be used") as refused:
        SqliteRecords(file)
    assert str(refused.value).count("\n") == 0
    assert key[:16] not in str(refused.value)
    assert refused.value.hint
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    assert file.read_bytes() == damaged


async def test_a_disk_that_takes_nothing_more_does_not_stop_registrations(
    dps_state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SqliteRecords(tmp_path / "dps.sqlite") as records:
        records.flush()
        records._changes.put(("PRAGMA query_only = ON", ()))  # as a file system does that is full
        async with AsyncLocalDps(state=dps_state, retry_after=0, records=records) as dps:
            credential = SymmetricKey("dev", dps.enroll_device("dev"))
            assignment = await provision_async(
                dps.id_scope,
                credential,
                host=dps.host,
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
            )
        assert assignment.device_id == "dev"
        with pytest.raises(StoreFailed, match="cannot be written"):
            records.flush()
    assert "the records cannot be written" in caplog.text
    assert "primaryKey" not in caplog.text


def test_a_failed_write_is_told_and_does_not_end_the_service() -> None:
    with SqliteRecords(":memory:") as records:
        records._changes.put(("INSERT INTO nowhere VALUES (1)", ()))
        with pytest.raises(StoreFailed, match="cannot be written"):
            records.flush()
        records.put_registration(record(1))
        assert records.registration("dev-1") == record(1)
