"""The devices of a fleet, read from a CSV file: all faults of the file are found in one run.

Knows the file's columns. Does not know what is done for a device.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..dps.json_text import parse_json
from ..errors import UsageError
from ..provisioning.credentials import Credential
from ..provisioning.symmetric_key import SymmetricKey
from ..text import shown
from .common import read_certificate, read_file

COLUMNS = ("registration_id", "key", "chain_file", "key_file", "payload")


@dataclass
class FleetFile:
    """A fleet file's content.

    Attributes:
        devices: by registration id in lower case: credential and payload of each good row.
        faults: what is wrong, with file and line; empty if nothing is.
        unused: columns that mean nothing here.
    """

    devices: dict[str, tuple[Credential, object]] = field(default_factory=dict)
    faults: list[UsageError] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def read_fleet(file: str, group_key: str | None, password: str | None) -> FleetFile:
    """Return the devices in a file, and everything that is wrong in it.

    Args:
        file: CSV with a header line.
        group_key: of the enrollment group, from which the keys are derived; None for keys of their
            own.
        password: of the private keys.

    Raises:
        UsageError: the file cannot be read, or its header has no registration_id.
    """
    found = FleetFile()
    seen: set[str] = set()
    for place, row in _rows(file, found):
        name = row.get("registration_id", "")
        try:
            _check_new(name, seen)
            credential = _credential(row, group_key, password)
            payload = _payload(row)
        except UsageError as error:
            found.faults.append(UsageError(f"{file}: {place}: {error}", hint=error.hint))
        else:
            found.devices[name.lower()] = (credential, payload)
        seen.add(name.lower())
    return found


def _check_new(name: str, seen: set[str]) -> None:
    if name.lower() in seen:
        raise UsageError(f"{name!a} is there twice")


def _rows(file: str, found: FleetFile) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield place and columns of each row of the right length; note the faults of others.

    The place is the row's line, or all its lines: a quote that is not closed joins rows to one.
    """
    reader = csv.reader(io.StringIO(read_file(file, "fleet file"), newline=""), strict=True)
    first = 1
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(file, names, found)
        first = reader.line_num + 1
        for values in reader:
            last = reader.line_num
            place = f"line {first}" if first == last else f"lines {first} to {last}"
            first = last + 1
            if not values:
                continue
            if len(values) != len(names):
                fault = f"{len(values)} values; expected {len(names)}, as in the header"
                found.faults.append(UsageError(f"{file}: {place}: {fault}"))
                continue
            yield place, dict(zip(names, values, strict=True))
    except csv.Error as error:  # nothing behind it can be told apart
        found.faults.append(
            UsageError(
                f"{file}: line {first}: the row that begins here is not CSV: {error};"
                " neither it nor any line below it was read",
                hint="see whether each quote in it is closed",
            )
        )


def _check_header(file: str, names: list[str], found: FleetFile) -> None:
    allowed = ", ".join(COLUMNS)
    if "registration_id" not in names:
        raise UsageError(
            f"{file}: line 1: no column registration_id; found {shown(','.join(names))};"
            f" expected columns among {allowed}"
        )
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{file}: line 1: column {shown(name)} is there twice")
    found.unused += [name for name in names if name not in COLUMNS]


def _payload(row: dict[str, str]) -> object:
    """Return the payload for the device's custom allocation; None for none."""
    text = row.get("payload", "")
    if not text:
        return None
    try:
        return parse_json(text)
    except ValueError:
        pass
    raise UsageError("payload: not JSON")


def _credential(row: dict[str, str], group_key: str | None, password: str | None) -> Credential:
    name = row["registration_id"]
    if row.get("chain_file"):
        return read_certificate(row["chain_file"], row.get("key_file"), name, password)
    if group_key is not None:
        return SymmetricKey.from_group_key(name, group_key)
    return SymmetricKey(name, row.get("key") or "")
