"""Shared parts of the commands: options, keys from files, step lines, errors in one line.

Results go to standard output, everything else to standard error. Text from elsewhere (a server's
reason, a file's name) is never read as markup, and its control characters are written out.
"""

import codecs
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import Any, TypeVar

import click

from ..dps.json_text import parse_json
from ..errors import UsageError
from ..provisioning.symmetric_key import SymmetricKey
from ..provisioning.x509 import X509Certificate
from ..text import one_line

KEY_VARIABLE = "MQTTWS_KEY"
"""The environment variable that can hold a key."""

KEY_PASSWORD_VARIABLE = "MQTTWS_KEY_PASSWORD"  # noqa: S105 - a name
"""The environment variable that can hold the password of a private key."""

MAX_FILE_SIZE = 4 * 1024 * 1024
"""Bytes of the largest file that is read; nothing that we are given is longer."""

_F = TypeVar("_F", bound=Callable[..., Any])


# Options


def check_host(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:  # click's own signature
    """Return a host without the brackets that an IPv6 address may stand in."""
    if value is None:
        return None
    host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if pasted := re.fullmatch(r"([^:]+|\[.*\]):([0-9]+)", value):
        raise click.BadParameter(f"there is a port in it: give it by itself: --port {pasted[2]}")
    if not host or not host.isprintable() or any(c in " /?#@[]\\%" for c in host):
        raise click.BadParameter("allowed: a name or an address, nothing around it")
    return host


def json_option(text: str) -> Callable[[_F], _F]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def credential_options(command: _F) -> _F:
    """Add the options that say who a device is; ``read_credential`` takes them."""
    for option in reversed(_CREDENTIAL_OPTIONS):
        command = option(command)
    return command


_CREDENTIAL_OPTIONS = (
    click.option(
        "--registration-id",
        metavar="ID",
        help="The device's name at DPS, as it is enrolled.  [default with --cert: its common name]",
    ),
    click.option(
        "--key-file",
        metavar="FILE",
        help="File with the device's symmetric key, base64; - for standard input.",
    ),
    click.option(
        "--group-key",
        is_flag=True,
        help="The key is the enrollment group's: derive the device's key from it.",
    ),
    click.option(
        "--cert",
        metavar="FILE",
        help="PEM file with the device's certificate and those above it, in place of a key.",
    ),
    click.option(
        "--cert-key",
        metavar="FILE",
        help="PEM file with the certificate's private key.  [default: the file of --cert]",
    ),
    click.option(
        "--cert-key-password-file",
        metavar="FILE",
        help="File with the password of an encrypted private key; - for standard input.",
    ),
)


def debug_option(command: _F) -> _F:
    """Add ``--debug``, which takes effect at once."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_log_everything,
        help="Log everything on standard error, tracebacks too. Secrets are never shown.",
    )(command)


def _log_everything(
    ctx: click.Context, parameter: click.Parameter, value: bool
) -> None:  # click's own signature
    if value:
        log_to_stderr(logging.getLogger(), logging.DEBUG)


class _OneLine(logging.Formatter):
    """Keeps a log record in one line, whatever a peer put into it."""

    _latest: tuple[int, str] = (0, "")  # a second and its text

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second, text = self._latest
        if second != int(record.created):
            text = super().formatTime(record, datefmt)
            self._latest = (int(record.created), text)
        return text


def log_to_stderr(logger: logging.Logger, level: int) -> None:
    """Write what ``logger`` logs, and nothing twice, to standard error."""
    handler = logging.StreamHandler()
    with_names = "%(levelname)s %(name)s: " if level < logging.INFO else ""
    handler.setFormatter(_OneLine(f"%(asctime)s {with_names}%(message)s", "%H:%M:%S"))
    if not logging.getLogger().hasHandlers():
        logger.addHandler(handler)
    if not logger.isEnabledFor(level):
        logger.setLevel(level)


def read_key(key_file: str | None) -> str:
    """Return the key's text from a file, from standard input (``-``), or from the environment.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE, "")
        source = KEY_VARIABLE
    elif key_file == "-" and sys.stdin is not None and sys.stdin.isatty():
        key = getpass("Key (not shown): ")
        source = "what was typed"
    else:
        key = read_file(key_file, "key file")
        source = "standard input" if key_file == "-" else f"the key file {key_file}"
    if not key.strip():
        found = "no key" if key_file is None else f"{source}: it is empty"
        raise UsageError(
            found, hint=f"name a file with --key-file (- for standard input), or set {KEY_VARIABLE}"
        )
    return key.strip()


def read_key_password(file: str | None) -> str | None:
    """Return a private key's password from a file, or from the environment; None for none.

    Only the line's end is taken off: blanks may be part of a password.

    Raises:
        UsageError: it cannot be read.
    """
    if file is None:
        return os.environ.get(KEY_PASSWORD_VARIABLE) or None
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        return getpass("Password of the private key (not shown): ")
    return read_file(file, "password file").rstrip("\r\n")


def read_credential(
    *,
    registration_id: str | None,
    key_file: str | None,
    group_key: bool,
    cert: str | None,
    cert_key: str | None,
    cert_key_password_file: str | None,
) -> SymmetricKey | X509Certificate:
    """Return the credential that ``credential_options`` describe.

    Raises:
        UsageError: they contradict each other, or a file cannot be read or used.
    """
    if cert is not None:
        if key_file is not None or group_key:
            raise UsageError("a device has a key or a certificate, not both")
        password = read_key_password(cert_key_password_file)
        return read_certificate(cert, cert_key, registration_id, password)
    if cert_key is not None or cert_key_password_file is not None:
        raise UsageError("--cert-key without --cert: name the certificate's file")
    if registration_id is None:
        raise UsageError("a key without --registration-id: name the device")
    build = SymmetricKey.from_group_key if group_key else SymmetricKey
    return build(registration_id, read_key(key_file))


def read_certificate(
    chain: str, key: str | None, registration_id: str | None, password: str | None
) -> X509Certificate:
    """Return a credential from PEM files; the key may stand in the chain's.

    Raises:
        UsageError: a file cannot be read, or the two do not make a credential.
    """
    return X509Certificate(
        chain, key or chain, registration_id=registration_id, key_password=password
    )


def read_json(file: str, what: str) -> Any:
    """Return the value in a JSON file, or on standard input (``-``).

    Raises:
        UsageError: it cannot be read; says where in the file.
    """
    text = read_file(file, what)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except ValueError as error:
        fault = f"not JSON: {error}"
    raise UsageError(f"{what} {file}: {fault}")  # out here: the other exception holds the text


def read_file(file: str, what: str) -> str:
    """Return a file's text, or that of standard input (``-``).

    Raises:
        UsageError: it cannot be read, is neither UTF-8 nor UTF-16, or is longer than
            ``MAX_FILE_SIZE``.
    """
    try:
        if file == "-":
            # A closed standard input is as good as an empty one.
            data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_FILE_SIZE + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_FILE_SIZE + 1)
        if len(data) <= MAX_FILE_SIZE:
            utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's >
            return data.decode("utf-16" if utf_16 else "utf-8-sig")
        fault = f"longer than {MAX_FILE_SIZE} bytes"
    except OSError as error:
        fault = error.strerror or "it cannot be read"
    except UnicodeDecodeError:
        fault = "not UTF-8 text"
    except ValueError:  # a name with a NUL in it
        fault = "not a file's name"
    raise UsageError(f"{what} {file}: {fault}")
