"""Files that keep a device's state: read without waiting, replaced whole or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file, at most ``limit`` bytes of it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, such as a FIFO, which may never have a byte.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a regular file")
        return file.read(limit)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_replaceable(path: Path) -> None:
    """Find out whether ``replace_file`` can write there: a new file, or a regular one.

    Raises:
        OSError: there is something else, such as a folder, a FIFO or a device, or no folder to
            write to, or the path can be none.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        found = None
    except (ValueError, UnicodeError) as error:  # a NUL, a lone surrogate
        raise OSError(errno.EINVAL, "no path can be written so") from error
    if found is not None and stat.S_ISLNK(found.st_mode) and path.exists():
        found = path.stat()
    if found is not None and not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise OSError(errno.EEXIST, "there is something else than a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "its folder cannot be written to")


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, mode 0600: it is the old one or the new one, never half, and on the disk.

    Raises:
        OSError: it cannot be written, as ``check_replaceable`` says too; nothing of it is left.
    """
    check_replaceable(path)
    # In the same folder, so that it can take the file's place; made with mode 0600.
    new = NamedTemporaryFile(dir=path.parent, prefix=_prefix(path), delete=False)  # noqa: SIM115
    try:
        with new:
            new.write(data)
            new.flush()
            os.fsync(new.fileno())
        Path(new.name).replace(path)  # closed before: Windows moves no open file
    except BaseException:
        with suppress(OSError):
            Path(new.name).unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def remove_leftovers(path: Path) -> None:
    """Delete what a killed process has left of ``replace_file``; no other may write meanwhile."""
    for left in path.parent.glob(f"{_prefix(path)}*"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, where the system has a way to do it (POSIX)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)  # lets go of the lock too


def _prefix(path: Path) -> str:
    return f".{path.name}."
