"""A device's files: replaced whole, on the disk before they count, and out of others' way."""

import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqttws.provisioning import files
from mqttws.provisioning.files import (
    check_replaceable,
    locked,
    read_file,
    remove_leftovers,
    replace_file,
    sync_folder,
)


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", 5) == b"12345"
    assert read_file(tmp_path / "a", 4) == b"1234"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_file(tmp_path / "link", 9) == b"12345"
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 9)
    with pytest.raises(ValueError, match="not a regular file"):
        read_file(Path("/dev/null"), 9)


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "state"
    place.write_bytes(b"old")
    happened: list[object] = []
    sync, put = os.fsync, Path.replace

    def fsync(number: int) -> None:
        found = os.fstat(number)
        happened.append("folder" if stat.S_ISDIR(found.st_mode) else found.st_size)
        sync(number)

    def replace(new: Path, old: Path) -> Path:
        happened.append((new.parent == tmp_path, new.name[:7], old.read_bytes()))
        return put(new, old)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    replace_file(place, b"new data")
    assert happened == [8, (True, ".state.", b"old"), "folder"]
    assert place.read_bytes() == b"new data"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_leaves_nothing_and_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    place = tmp_path / "state"
    place.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(place, b"new")
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"state": b"old"}


def test_a_link_is_replaced_by_the_file_where_it_leads_to_one_or_nowhere(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"1")
    for target, allowed in (("file", True), ("none", True), ("folder", False)):
        link = tmp_path / f"to-{target}"
        link.symlink_to(tmp_path / target)
        if allowed:
            check_replaceable(link)
        else:
            with pytest.raises(FileExistsError, match="something else than a file"):
                check_replaceable(link)


def test_a_place_is_refused_by_the_name_of_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_replaceable(tmp_path / "new")
    for path in ("a\0b", "\ud800"):
        with pytest.raises(OSError, match="no path can be written so"):
            check_replaceable(tmp_path / path)
    asked: list[object] = []

    def deny(path: object, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", deny)
    with pytest.raises(PermissionError, match="its folder cannot be written to"):
        check_replaceable(tmp_path / "new")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".state.abc", "state", ".states.abc", ".other.abc", "x.state.abc"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".state.folder").mkdir()
    remove_leftovers(tmp_path / "state")
    assert sorted(found.name for found in tmp_path.iterdir()) == [
        ".other.abc",
        ".state.folder",
        ".states.abc",
        "state",
        "x.state.abc",
    ]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """The folder, as another process has it open."""
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def test_a_folder_is_locked_for_others_until_the_end(tmp_path: Path, other: int) -> None:
    def end() -> None:
        with locked(tmp_path):
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        end()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_where_no_folder_can_be_locked_or_opened_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_folder(tmp_path / "none")
    monkeypatch.setitem(__import__("sys").modules, "fcntl", None)
    done = []
    with locked(tmp_path):
        done.append(1)
    assert done == [1]


def test_no_descriptor_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    really, close = os.open, os.close

    def note(*arguments: object, **options: object) -> int:
        opened.append(really(*arguments, **options))  # type: ignore[arg-type]
        return opened[-1]

    def forget(number: int) -> None:
        close(number)
        opened.remove(number)

    monkeypatch.setattr(files.os, "open", note)
    monkeypatch.setattr(files.os, "close", forget)
    with locked(tmp_path):
        assert len(opened) == 1
    sync_folder(tmp_path)
    assert opened == []
