"""Shared parts of the commands: options, and credentials from files.

Results go to standard output, everything else to standard error. Text from elsewhere (a server's
reason, a file's name) is never read as markup, and its control characters are written out.
"""

import logging
import os
import re
import sys
from collections.abc import Callable
from getpass import getpass
from typing import Any, TypeVar

import click

from ..dps.names import check_registration_id
from ..errors import UnusableFile, UsageError
from ..provisioning.symmetric_key import SymmetricKey
from ..provisioning.x509 import X509Certificate
from ..text import one_line
from .files import content_of, read_secret, warn_if_readable

KEY_VARIABLE = "MQTTWS_KEY"
"""The environment variable that can hold a key."""

KEY_PASSWORD_VARIABLE = "MQTTWS_KEY_PASSWORD"  # noqa: S105 - a name
"""The environment variable that can hold the password of a private key."""

KEY_FILE = "key file"
"""The name of a device's or a group's key file in errors."""

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
        UsageError: there is none.
        UnusableFile: the file cannot be read, or is empty.
    """
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE, "")
    elif key_file == "-" and sys.stdin is not None and sys.stdin.isatty():
        key = getpass("Key (not shown): ")
    else:
        key = read_secret(key_file, KEY_FILE)
    hint = f"name a file with --key-file (- for standard input), or set {KEY_VARIABLE}"
    if not key.strip():
        if key_file is None:
            raise UsageError("no key", hint=hint)
        raise UnusableFile(f"{KEY_FILE} {key_file}: it is empty", file=key_file, hint=hint)
    return key.strip()


def read_key_password(file: str | None) -> str | None:
    """Return a private key's password from a file, or from the environment; None for none.

    Only the line's end is taken off: blanks may be part of a password.

    Raises:
        UnusableFile: it cannot be read.
    """
    if file is None:
        return os.environ.get(KEY_PASSWORD_VARIABLE) or None
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        return getpass("Password of the private key (not shown): ")
    return read_secret(file, "password file").rstrip("\r\n")


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
        UsageError: they contradict each other.
        UnusableFile: a file cannot be read or used.
    """
    if cert is not None:
        if key_file is not None or group_key:
            raise UsageError("a device has a key or a certificate, not both")
        password = read_key_password(cert_key_password_file)
        warn_if_readable(cert_key or cert, "private key")
        return read_certificate(cert, cert_key, registration_id, password)
    if cert_key is not None or cert_key_password_file is not None:
        raise UsageError("--cert-key without --cert: name the certificate's file")
    if registration_id is None:
        raise UsageError("a key without --registration-id: name the device")
    check_registration_id(registration_id)
    build = SymmetricKey.from_group_key if group_key else SymmetricKey
    key = read_key(key_file)
    with content_of(key_file, KEY_FILE):
        return build(registration_id, key)


def read_certificate(
    chain: str, key: str | None, registration_id: str | None, password: str | None
) -> X509Certificate:
    """Return a credential from PEM files; the key may stand in the chain's.

    Raises:
        UnusableFile: a file cannot be read, or the two do not make a credential.
        UsageError: the password is wrong, or the common name is not the registration id.
    """
    return X509Certificate(
        chain, key or chain, registration_id=registration_id, key_password=password
    )
