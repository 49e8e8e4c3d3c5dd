"""An assignment that is kept in a file, and when it is no longer good."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    Hop,
    Step,
    StoreFailed,
    SymmetricKey,
    TlsConfig,
    X509Certificate,
    provision_async,
)
from mqttws.local.x509 import DeviceAuthority
from mqttws.provisioning.cache import AssignmentFile

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_KEY = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ASSIGNMENT = Assignment("hub", "dev", "initialAssignment", "dev", "op", {"a": [1]}, "t", "t", "e")


def file(path: Path, host: str = "Host", scope: str = "0ne", key: str = KEY) -> AssignmentFile:
    return AssignmentFile(path, host, scope, SymmetricKey("dev", key))


def test_it_comes_back_for_the_same_device_only(tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    assert file(path).load() is None
    file(path).store(ASSIGNMENT)
    assert file(path).load() == ASSIGNMENT
    assert file(path, "HOST", "0NE").load() == ASSIGNMENT
    assert file(path, host="other").load() is None
    assert file(path, scope="other").load() is None
    assert file(path, key=OTHER_KEY).load() is None
    assert AssignmentFile(path, "host", "0ne", SymmetricKey("dev2", KEY)).load() is None


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    stored = {
        "binding": {
            "host": "host",
            "id_scope": "0ne",
            "registration_id": "dev",
            "credential": SymmetricKey("dev", KEY).digest("assignment host 0ne"),
        },
        "assignment": {
            "assigned_hub": "hub",
            "device_id": "dev",
            "substatus": "initialAssignment",
            "registration_id": "dev",
            "operation_id": "op",
            "payload": {"a": [1]},
            "created": "t",
            "last_updated": "t",
            "etag": "e",
        },
    }
    path.write_text(json.dumps(stored))
    assert file(path).load() == ASSIGNMENT
    path.unlink()
    file(path).store(ASSIGNMENT)
    assert json.loads(path.read_text()) == stored


def test_a_file_that_is_not_used_is_logged_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "assignment.json"
    with caplog.at_level(logging.INFO, "mqttws.provisioning"):
        assert file(path).load() is None
        assert caplog.messages == []
        file(path).store(ASSIGNMENT)
        assert file(path, host="other").load() is None
        path.write_text("{")
        assert file(path).load() is None
    assert caplog.messages == [
        "the stored assignment is for another device, host or key",
        "the stored assignment cannot be used: JSONDecodeError",
    ]


def test_it_is_private_whole_and_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    path.write_text("old")
    path.chmod(0o644)
    file(path).store(ASSIGNMENT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert KEY not in path.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: "",
        lambda stored: "{",
        lambda stored: "[]",
        lambda stored: "[" * 100_000,
        lambda stored: json.dumps(stored)[:-9],
        lambda stored: json.dumps(stored | {"assignment": {}}),
        lambda stored: json.dumps(stored | {"assignment": None}),
        lambda stored: json.dumps(stored | {"assignment": stored["assignment"] | {"etag": 7}}),
        lambda stored: json.dumps(
            stored | {"assignment": stored["assignment"] | {"assigned_hub": ""}}
        ),
        lambda stored: "\ufffe",
    ],
)
def test_a_broken_file_is_as_good_as_none(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "assignment.json"
    file(path).store(ASSIGNMENT)
    path.write_text(change(json.loads(path.read_text())))
    assert file(path).load() is None
    file(path).store(ASSIGNMENT)
    assert file(path).load() == ASSIGNMENT


def test_a_certificate_is_told_from_its_successor(tmp_path: Path) -> None:
    root = DeviceAuthority.root()
    old, new = (X509Certificate(d.chain, d.key) for d in (root.issue("dev"), root.issue("dev")))
    path = tmp_path / "assignment.json"
    AssignmentFile(path, "h", "s", old).store(ASSIGNMENT)
    assert AssignmentFile(path, "h", "s", old).load() == ASSIGNMENT
    assert AssignmentFile(path, "h", "s", new).load() is None


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot be kept"):
        file(tmp_path / "no" / "such").store(ASSIGNMENT)


async def test_a_folder_that_is_not_there_is_told_before_anything_is_sent(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    async with local_dps as dps:
        credential = SymmetricKey("dev", await dps.enroll_device("dev"))
        with pytest.raises(StoreFailed, match="cannot be kept"):
            await provision_async(dps.id_scope, credential, cache=tmp_path / "no" / "such")
        assert await dps.registration("dev") is None


async def test_an_assignment_that_cannot_be_kept_after_all_is_not_lost(
    local_dps: AsyncLocalDps, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def lose_folder(step: Step) -> None:
        if step.hop is Hop.REGISTER and folder.exists():
            folder.rmdir()

    async with local_dps as dps:
        assignment = await provision_async(
            dps.id_scope,
            SymmetricKey("dev", await dps.enroll_device("dev")),
            host=dps.host,
            port=dps.wss_port,
            tls=TlsConfig(ca=dps.ca_file, only_ca=True),
            cache=folder / "assignment.json",
            on_step=lose_folder,
        )
    assert assignment.device_id == "dev"
    assert "cannot be kept" in caplog.text


async def test_a_device_registers_once_unless_it_is_forced(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    async with local_dps as dps:
        credential = SymmetricKey("dev", await dps.enroll_device("dev"))

        async def provision(**options: Any) -> Assignment:
            return await provision_async(
                dps.id_scope,
                credential,
                host=dps.host,
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                cache=tmp_path / "assignment.json",
                **options,
            )

        first = await provision()
        assert first == await provision()
        forced = await provision(force=True)
        assert forced.operation_id != first.operation_id
        assert await provision() == forced
    assert await provision() == forced, "no service is needed"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("assigned_hub", '"evil.com/.."'),
        ("device_id", '"#/+"'),
        ("payload", "1e999"),
        ("payload", "NaN"),
        ("payload", "[" * 200 + "]" * 200),
    ],
)
def test_a_file_is_checked_as_an_answer_is(tmp_path: Path, member: str, value: str) -> None:
    path = tmp_path / "assignment.json"
    kept = file(path)
    kept.store(Assignment("hub.example", "dev", "", "dev", "5.x", None))
    stored = json.loads(path.read_text())
    stored["assignment"][member] = "@@"
    path.write_text(json.dumps(stored).replace('"@@"', value))
    assert kept.load() is None


def test_a_fifo_in_its_place_is_passed_over_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert file(tmp_path / "fifo").load() is None


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "nul", "surrogate", "long", "/"])
def test_what_is_no_file_is_refused_before_anything_is_sent_and_left_alone(
    tmp_path: Path, kind: str
) -> None:
    path = {"nul": "a\0b", "surrogate": "\ud800x", "long": "x" * 300, "/": "/"}.get(kind, kind)
    if kind == "fifo":
        os.mkfifo(tmp_path / path)
    elif kind == "folder":
        (tmp_path / path).mkdir()
    elif kind == "device":
        (tmp_path / path).symlink_to("/dev/null")
    kept = file(tmp_path / path)
    with pytest.raises(StoreFailed):
        kept.check()
    with pytest.raises(StoreFailed):
        kept.store(ASSIGNMENT)
    assert kept.load() is None
    if kind == "fifo":
        assert (tmp_path / path).is_fifo()


def test_the_longest_payload_comes_back(tmp_path: Path) -> None:
    long = replace(ASSIGNMENT, payload={"text": "é" * 49_000})
    file(tmp_path / "assignment.json").store(long)
    assert file(tmp_path / "assignment.json").load() == long
