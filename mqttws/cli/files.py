"""Files that a command line names: read, with an error that says what is wrong with them.

Knows files and standard input (``-``). Does not know what their content means.
"""

import codecs
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..dps.json_text import parse_json
from ..errors import UnusableFile, UsageError, unreadable_file
from .output import print_line

MAX_FILE_SIZE = 4 * 1024 * 1024
"""Bytes of the largest file that is read; nothing that we are given is longer."""


def read_json(file: str, what: str) -> Any:
    """Return the value in a JSON file, or on standard input (``-``).

    Raises:
        UnusableFile: it cannot be read; says where in the file.
    """
    text = read_file(file, what)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except ValueError as error:
        fault = f"not JSON: {error}"
    # Out here: the other exception holds the text.
    raise UnusableFile(f"{what} {file}: {fault}", file=file)


@contextmanager
def content_of(file: str | None, what: str = "") -> Iterator[None]:
    """Turn a refusal of what a file holds into an error of the file.

    Args:
        file: None where it came from elsewhere, such as the environment: the refusal is the
            caller's then.
        what: the file's name in errors; empty where the refusal names the file.

    Raises:
        UnusableFile: what is done inside raised ``UsageError``.
    """
    try:
        yield
    except UsageError as error:
        if file is None:
            raise
        message = f"{what} {file}: {error}" if what else str(error)
        raise UnusableFile(message, file=file, hint=error.hint) from None


def read_secret(file: str, what: str) -> str:
    """Return the text of a file that holds a secret; warn where other users can read it.

    Raises:
        UnusableFile: as for ``read_file``.
    """
    text = read_file(file, what)
    warn_if_readable(file, what)
    return text


def warn_if_readable(file: str, what: str) -> None:
    """Print a warning where other users can read a file that holds a secret, as ssh does."""
    if file == "-" or os.name != "posix":
        return
    try:
        found = os.stat(file)
    except OSError:
        return
    if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        print_line(
            f"mqttws: warning: other users can read the {what} {file}: chmod 600 {file}",
            "yellow",
            err=True,
        )


def read_file(file: str, what: str) -> str:
    """Return a file's text, or that of standard input (``-``).

    Raises:
        UsageError: it is not a file's name.
        UnusableFile: it cannot be read, is neither UTF-8 nor UTF-16, or is longer than
            ``MAX_FILE_SIZE``.
    """
    check_name(file, what)
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
        raise unreadable_file(f"{what} {file}: {fault}", file, error) from None
    except UnicodeDecodeError:
        fault = "not UTF-8 text"
    raise UnusableFile(f"{what} {file}: {fault}", file=file)


def check_name(file: str, what: str) -> None:
    """Refuse what can be no file's name.

    Raises:
        UsageError: it is empty, or has a NUL in it.
    """
    if not file or "\0" in file:
        raise UsageError(f"{what}: found {file!a}; allowed: a file's name")
