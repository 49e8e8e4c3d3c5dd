"""Failures of this host: files that are read, files that keep state, and services that listen."""

import errno
from typing import Unpack

from ..hops import Cause
from .base import Fields, MqttwsError


class UnusableFile(MqttwsError):
    """A file that was named to be read is missing, unreadable, damaged or of another kind.

    Certificates, keys, CAs, passwords, payloads, lists of devices. The same content given as bytes
    is an argument: it ends in ``UsageError``.

    Attributes:
        file: its path as it was given; ``-`` for standard input.
    """

    usual_cause = Cause.FILE_DAMAGED

    def __init__(self, message: str = "", *, file: str = "", **fields: Unpack[Fields]) -> None:
        super().__init__(message, **fields)
        self.file = file


class CertificateNotValid(MqttwsError):
    """This device's own certificate has expired, or begins in the future, by this host's clock.

    No service would take it; nothing was sent. One that begins in the future is retryable: usually
    the clock is not set yet.
    """

    usual_cause = Cause.OWN_CERTIFICATE_EXPIRED


class StoreFailed(MqttwsError):
    """A file that keeps state or takes results cannot be opened, read or written.

    A client's session, the local DPS's records, a cached assignment, a CA's folder, a fleet's
    results, a report. The reason is chained.
    """

    usual_cause = Cause.FILE_UNWRITABLE


class StoreFull(StoreFailed):
    """The disk, or a quota on it, is full."""

    usual_cause = Cause.DISK_FULL


class StoreLocked(StoreFailed):
    """Another process, or another client of this one, uses the file."""

    usual_cause = Cause.FILE_LOCKED


class StoreDamaged(StoreFailed):
    """The file's content is damaged, or was written by another program."""

    usual_cause = Cause.FILE_DAMAGED


class ServiceFailed(MqttwsError):
    """A local service cannot start, or cannot go on: an address, a port, its background thread."""

    usual_cause = Cause.ADDRESS_NOT_HERE


class PortTaken(ServiceFailed):
    """Another program listens on the port."""

    usual_cause = Cause.PORT_TAKEN


def store_failed(message: str, error: Exception, *, hint: str = "") -> StoreFailed:
    """Return the error for a file that an ``OSError`` or an ``sqlite3.Error`` made unusable.

    Args:
        message: the sentence; says which file, and holds nothing of its content.
        error: from the operating system or SQLite; to be chained by the caller.
        hint: the next step; left out: the usual one for the cause.
    """
    kind, cause, usual = StoreFailed, Cause.FILE_UNWRITABLE, ""
    # Extended result codes begin with the name of the primary one: SQLITE_BUSY_SNAPSHOT.
    found = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    number = getattr(error, "errno", None)
    if number in _FULL or found == "SQLITE_FULL":
        kind, cause, usual = StoreFull, Cause.DISK_FULL, "make room on the disk"
    elif number in _LOCKED or found in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        kind, cause, usual = StoreLocked, Cause.FILE_LOCKED, "end the other, or name another file"
    elif isinstance(error, ValueError | TypeError) or found in (
        "SQLITE_CORRUPT",
        "SQLITE_NOTADB",
        "SQLITE_ERROR",
    ):
        kind, cause, usual = StoreDamaged, Cause.FILE_DAMAGED, "name another file, or remove it"
    elif number == errno.ENOENT:
        cause = Cause.FILE_UNREADABLE
    return kind(message, cause=cause, hint=hint or usual)


def unreadable_file(message: str, file: str, error: OSError) -> UnusableFile:
    """Return the error for a file that the operating system does not let us read.

    Args:
        message: the sentence; says which file.
        file: its path as it was given.
        error: from the operating system.
    """
    passes = error.errno in _PASSING
    return UnusableFile(
        message, file=file, cause=Cause.FILE_UNREADABLE, retryable=True if passes else None
    )


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


_FULL = _numbers("ENOSPC", "EDQUOT", "EFBIG")
_LOCKED = _numbers("EAGAIN", "ETXTBSY", "EBUSY")
_PASSING = _numbers("EAGAIN", "EBUSY", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "ETIMEDOUT")
"""Of a host that is short of something, or of a network's file system."""
