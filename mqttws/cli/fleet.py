"""``mqttws provision-fleet``: many devices from a CSV file, and what became of each in another.

Knows the two files. The work is ``provisioning.fleet``'s.
"""

import asyncio
import csv
import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import mqttws

from ..dps.json_text import build_json, parse_json
from ..errors import UsageError
from ..provisioning.credentials import Credential
from ..provisioning.fleet import FleetResult, provision_fleet_async
from ..text import one_line
from .common import (
    FAILED,
    Command,
    check_host,
    debug_option,
    print_line,
    read_certificate,
    read_file,
    read_key_password,
)
from .network import trust_options

_COLUMNS = ("registration_id", "key", "chain_file", "key_file", "payload")
_RESULT_COLUMNS = (
    *("registration_id", "status", "assigned_hub", "device_id", "substatus", "payload"),
    "error",
)

MAX_LINE = 1024 * 1024
"""Characters of a result's line: a payload of 96 KiB fits, however it is escaped."""

_EPILOG = """\b
Examples:
  A hundred devices, each with its own key:
    mqttws provision-fleet fleet.csv --id-scope 0ne00ABCDEF --concurrency 20
  Devices of one enrollment group; the CSV has registration ids only:
    mqttws provision-fleet ids.csv --id-scope 0ne00ABCDEF \\
      --group-key-file group.key

\b
FILE: CSV with a header line; columns registration_id, and key (base64), or
chain_file and key_file (PEM), or neither with --group-key-file; and payload,
as JSON, for devices that send one to the enrollment's custom allocation:
  registration_id,key,payload
  device-1,AAECAwQ...,"{""model"": 7}"

\b
Environment:
  MQTTWS_KEY_PASSWORD  of the private keys, if they are encrypted: one for all

\b
Results: a line is added for each device as soon as it is done; columns
registration_id, status (assigned or error), assigned_hub, device_id,
substatus, payload (what the service sent, as JSON), error. Devices that stand
there as assigned are passed over: after Ctrl-C, or after failures, the same
command line goes on with the rest.

\b
Exit codes:
  0    all are assigned
  1    at least one is not; its line in the results says why
  2    an option or a file cannot be right; nothing was sent
  130  interrupted with Ctrl-C; the results hold what was done
"""


@click.command("provision-fleet", cls=Command, epilog=_EPILOG, short_help="Register many devices.")
@click.argument("file")
@click.option("--id-scope", required=True, metavar="SCOPE", help="ID scope of the DPS instance.")
@click.option(
    "--results",
    metavar="FILE",
    help="CSV file to add the results to.  [default: FILE with .results.csv at its end]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    metavar="N",
    help="How many devices are on their way at once.",
)
@click.option(
    "--group-key-file",
    metavar="FILE",
    help="File with the enrollment group's key: each device's key is derived from it.",
)
@click.option("--host", metavar="NAME", callback=check_host, help="DPS endpoint.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="TCP port.")
@click.option("--transport", type=click.Choice(["wss", "mqtts"]), default="wss", show_default=True)
@trust_options
@click.option(
    "--timeout",
    type=click.IntRange(1, 86_400),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Time for each device.",
)
@click.option(
    "--jitter",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Up to so much is added to each wait.",
)
@debug_option
def provision_fleet_command(
    *,
    file: str,
    id_scope: str,
    results: str | None,
    concurrency: int,
    group_key_file: str | None,
    host: str | None,
    port: int | None,
    transport: Literal["wss", "mqtts"],
    tls: mqttws.TlsConfig,
    timeout: int,
    jitter: float,
) -> int:
    """Register the devices of a CSV file, and write down what became of each.

    When DPS answers one device 429 (too many requests), no other begins before the
    time that it names has passed.
    """
    group_key = None if group_key_file is None else read_file(group_key_file, "group key file")
    rows = list(_read_rows(file))
    password = read_key_password(None)
    results = results or f"{file}.results.csv"
    csv.field_size_limit(MAX_LINE)
    done = _assigned(results)
    waiting = [(line, row) for line, row in rows if row["registration_id"].lower() not in done]
    credentials = [_credential(row, line, file, group_key, password) for line, row in waiting]
    payloads = {row["registration_id"]: _payload(row, line, file) for line, row in waiting}
    options: dict[str, Any] = {"host": host} if host else {}
    options |= {"port": port, "transport": transport, "tls": tls}
    with _Results(results, len(credentials)) as told:
        asyncio.run(
            provision_fleet_async(
                id_scope,
                credentials,
                told.add,
                concurrency=concurrency,
                jitter=jitter,
                payloads=payloads,
                timeout=timeout,
                **options,
            )
        )
    passed = len(rows) - len(credentials)
    print_line(f"{told.assigned} assigned, {told.failed} failed, {passed} were assigned already")
    return FAILED if told.failed else 0


def _read_rows(file: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and columns of each device; names the line that is wrong."""
    reader = csv.DictReader(io.StringIO(read_file(file, "fleet file"), newline=""), strict=True)
    names = reader.fieldnames or []
    if "registration_id" not in names or not set(names) <= set(_COLUMNS):
        raise UsageError(f"{file}: line 1: expected columns among {', '.join(_COLUMNS)}")
    seen: set[str] = set()
    try:
        for row in reader:
            name = row["registration_id"]
            if None in row or None in row.values():
                raise UsageError(f"{file}: line {reader.line_num}: expected {len(names)} values")
            if name.lower() in seen:
                raise UsageError(f"{file}: line {reader.line_num}: {name!a} is there twice")
            seen.add(name.lower())
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{file}: line {reader.line_num}: not CSV: {error}") from None


def _payload(row: dict[str, str], line: int, file: str) -> object:
    """Return what the device sends to its custom allocation; None for nothing."""
    text = row.get("payload", "")
    if not text:
        return None
    try:
        return parse_json(text)
    except ValueError:
        pass
    raise UsageError(f"{file}: line {line}: payload: not JSON")


def _credential(
    row: dict[str, str], line: int, file: str, group_key: str | None, password: str | None
) -> Credential:
    name = row["registration_id"]
    try:
        if row.get("chain_file"):
            return read_certificate(row["chain_file"], row.get("key_file"), name, password)
        if group_key is not None:
            return mqttws.SymmetricKey.from_group_key(name, group_key)
        return mqttws.SymmetricKey(name, row.get("key") or "")
    except UsageError as error:
        fault, hint = str(error), error.hint
    raise UsageError(f"{file}: line {line}: {fault}", hint=hint)


def _assigned(results: str) -> set[str]:
    """Return who stands in the results as assigned; a line that was cut off does not count.

    The file is as long as the fleet is large, so it is read line by line. Each result is one line,
    and is read by itself: a quote that was cut off must not swallow the lines below it.
    """
    path = Path(results)
    if not path.exists():
        return set()
    if not path.is_file():
        raise UsageError(f"results {results}: not a regular file")
    found = set()
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            head = lines.readline(MAX_LINE).rstrip("\n")
            if head not in ("", ",".join(_RESULT_COLUMNS)):
                raise UsageError(
                    f"{results}: line 1: expected columns {', '.join(_RESULT_COLUMNS)}",
                    hint="it is not this command's: name another file with --results",
                )
            while line := lines.readline(MAX_LINE):
                values = next(csv.reader([line]))
                if len(values) == len(_RESULT_COLUMNS) and values[1] == "assigned":
                    found.add(values[0].lower())
    except OSError as error:
        raise UsageError(f"results {results}: {error.strerror}") from None
    return found


class _Results:
    """Writes each result down as it comes, and shows how far it is.

    Args:
        file: is added to.
        total: how many are to come.
    """

    def __init__(self, file: str, total: int) -> None:
        self.assigned = 0
        self.failed = 0
        self._name = file
        self._bar = Progress(
            TextColumn("{task.completed} done"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("fleet", total=total)

    def __enter__(self) -> Self:
        try:
            self._file = Path(self._name).open("a+b")
        except OSError as error:
            raise UsageError(f"results {self._name}: {error.strerror}") from None
        if self._file.tell() == 0:
            self._write(_RESULT_COLUMNS)
        else:
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":  # an earlier run was cut off within a line
                self._file.write(b"\n")
        self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        with suppress(OSError):  # what could not be written has been told of
            self._file.close()

    def add(self, result: FleetResult) -> None:
        """Write one result down.

        Raises:
            UsageError: it cannot be written, as on a disk that is full.
        """
        assignment, error = result.assignment, result.error
        if assignment is not None:
            self.assigned += 1
            found = ("assigned", assignment.assigned_hub, assignment.device_id)
            sent = assignment.payload
            payload = "" if sent is None else build_json(sent).decode()
            self._write((result.registration_id, *found, assignment.substatus, payload, ""))
        else:
            self.failed += 1
            self._write((result.registration_id, "error", "", "", "", "", one_line(str(error))))
        self._bar.advance(self._task)

    def _write(self, values: tuple[str, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        try:
            self._file.write(line.getvalue().encode())
            self._file.flush()
        except OSError as error:
            raise UsageError(f"results {self._name}: {error.strerror}") from None
