"""Files of certificates and keys: their content, and the error where it is not what was expected.

Knows the forms in which certificates and keys are handed out. Decodes no certificate.
"""

import codecs
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import MqttwsError, UnusableFile, UsageError, unreadable_file
from ..hops import Cause

Pem = str | os.PathLike[str] | bytes
"""A file's path, or what would stand in the file."""

MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes of the largest file that is read; a system's bundle of CAs has 300 KiB."""


@dataclass(frozen=True, slots=True)
class PemSource:
    """The content of a file of certificates or a key, or bytes that were given in its place.

    Attributes:
        data: the content.
        what: its name in errors, such as ``CA file``.
        file: the path; empty where bytes were given.
    """

    data: bytes = field(repr=False)
    what: str
    file: str = ""

    def __str__(self) -> str:
        return f"the {self.what} {self.file}".rstrip()

    def error(self, message: str, hint: str = "", cause: Cause = Cause.FILE_DAMAGED) -> MqttwsError:
        """Return the error for content that cannot be used.

        It is an ``UnusableFile`` if the content was read from a file, else a ``UsageError``.

        Args:
            message: its text.
            hint: the next step; FILE in it stands for the path.
            cause: of an ``UnusableFile``.
        """
        if not self.file:
            return UsageError(message, hint=hint)
        return UnusableFile(
            message, hint=hint.replace("FILE", self.file), cause=cause, file=self.file
        )


def read_pem(source: Pem, what: str) -> PemSource:
    """Return what a file holds, or what is given instead of a file.

    Raises:
        UsageError: what is given is not a path.
        UnusableFile: the file cannot be read, or is longer than ``MAX_SIZE``.
    """
    if isinstance(source, bytes):
        return PemSource(source, what)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(f"the {what}: found {type(source).__name__}; allowed: a path, or bytes")
    refuse_text(source, f"the {what}")
    file = os.fspath(source)
    if not file or "\0" in file:
        raise UsageError(f"the {what}: found {file!a}; allowed: a file's name")
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_SIZE + 1)
    except OSError as error:
        message = f"the {what} cannot be read: {file}: {error.strerror}"
        raise unreadable_file(message, file, error) from None
    if len(data) > MAX_SIZE:
        raise UnusableFile(f"the {what} {file}: longer than {MAX_SIZE} bytes", file=file)
    return PemSource(data, what, file)


State = tuple[int, ...]

SETTLED = 3.0
"""Seconds without a change after which a file's state stands for its content: within a tick of the
file system's clock, 2 s at most, two changes may look like one."""


def file_state(source: Pem | None) -> State | None:
    """Return the state of a file that changes whenever its content does; () for no file.

    None where it cannot stand for the content: that is not in a file, the file cannot be found, or
    it was changed just now.
    """
    if source is None:
        return ()
    if isinstance(source, bytes):
        return None
    try:
        found = os.stat(source)
    except (OSError, ValueError):
        return None
    if max(found.st_mtime, found.st_ctime) + SETTLED > time.time():
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def refuse_text(source: object, what: str) -> None:
    """Refuse PEM where a path is meant: a key, perhaps, which must not be shown as a file's name.

    Raises:
        UsageError: it is PEM.
    """
    if isinstance(source, str) and "-----BEGIN" in source:
        raise UsageError(f"{what}: found PEM in a str, which means a path", hint="give it as bytes")


BEGIN: Final = b"-----BEGIN "

_PKCS12 = b"\x02\x01\x03"
"""How a PKCS#12 file goes on after its first length: version 3 (RFC 7292 section 4)."""

CA: Final = "the CA's certificate"
CHAIN: Final = "the device's certificate"
KEY: Final = "the private key"
"""The things that a file is expected to hold."""

_FROM_PKCS12 = {
    CA: "convert it: openssl pkcs12 -in FILE -nokeys -cacerts -out ca.pem",
    CHAIN: "convert it: openssl pkcs12 -in FILE -nokeys -out chain.pem",
    KEY: "convert it: openssl pkcs12 -in FILE -nocerts -out key.pem",
}
_FROM_DER = {
    CHAIN: "convert it: openssl x509 -inform der -in FILE -out chain.pem",
    KEY: "convert it: openssl pkey -inform der -in FILE -out key.pem",
}
_AS_TEXT = {
    CA: "have the CA exported as Base-64 X.509 (.cer or .pem)",
    CHAIN: "have it exported as Base-64 X.509 (.cer or .pem)",
    KEY: "have it exported in PEM form, with its line -----BEGIN",
}


def as_ascii(data: bytes) -> bytes:
    """Return text as ASCII, whatever Windows wrapped it in: a byte order mark, or UTF-16."""
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            return data[2:].decode(name, "replace").encode("ascii", "replace")
    if data[:200].count(b"\0") > 20 and b"-\0-\0" in data:  # UTF-16 without its mark
        return data.replace(b"\0", b"")
    return data.removeprefix(codecs.BOM_UTF8)


def looks_like(data: bytes, wanted: str) -> tuple[str, str]:
    """Return what a file holds instead of what was wanted, and what to do; shows nothing of it.

    Args:
        data: the file's content.
        wanted: ``CA``, ``CHAIN`` or ``KEY``.
    """
    text = as_ascii(data)
    start = text[:400].lstrip().lower()
    none = "no private key" if wanted == KEY else "no certificate"
    if not text.strip():
        return f"it is empty: {none} is in it", "copy it again"
    if wanted != KEY and b"PRIVATE KEY-----" in text:
        return "it holds a private key and no certificate", f"give {wanted}"
    if b"BEGIN CERTIFICATE REQUEST" in text or b"BEGIN NEW CERTIFICATE REQUEST" in text:
        return "it holds a certificate request", f"give {wanted}, not the request for it"
    if wanted == KEY and b"PUBLIC KEY-----" in text:
        return "it holds a public key", f"give {wanted} that belongs to it"
    if wanted == KEY and b"CERTIFICATE-----" in text:
        return "it holds a certificate and no private key", f"give the file of {wanted}"
    if data[:1] == b"\x30" and _PKCS12 in data[:8]:
        return "it is PKCS#12 (.pfx, .p12)", _FROM_PKCS12[wanted]
    if data[:1] == b"\x30" and wanted in _FROM_DER:  # an ASN.1 SEQUENCE
        return "it is in DER form, and not in PEM form", _FROM_DER[wanted]
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page", "the download needs a login, or its address is wrong"
    if data.startswith((b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")):
        return (
            "it is a Java key store",
            "convert it: keytool -exportcert -rfc -keystore FILE -alias NAME -file ca.pem",
        )
    if b"sharedaccesskey=" in start:
        return "it is a connection string", f"give {wanted}, in PEM form"
    if BEGIN in text:
        return f"{none} is complete in it", "copy it again, with its last line -----END"
    return f"{none} in PEM form was found in it", _AS_TEXT[wanted]
