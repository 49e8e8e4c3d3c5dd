"""The devices of a fleet, read from a CSV file: all faults of the file are found in one run.

Knows the file's columns. Does not know what is done for a device.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..dps.json_text import parse_json
from ..errors import UnusableFile, UsageError
from ..hops import Cause
from ..provisioning.credentials import Credential
from ..provisioning.symmetric_key import SymmetricKey
from ..text import shown
from .common import read_certificate
from .files import read_file, warn_if_readable

MAX_FIELD = 1024 * 1024
"""Characters of the longest value that is read: a payload of 96 KiB fits, however it is escaped."""

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
    faults: list[UnusableFile] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def read_fleet(file: str, group_key: str | None, password: str | None) -> FleetFile:
    """Return the devices in a file, and everything that is wrong in it.

    Args:
        file: CSV with a header line.
        group_key: of the enrollment group, from which the keys are derived; None for keys of their
            own.
        password: of the private keys.

    Raises:
        UnusableFile: the file cannot be read, or its header has no registration_id.
    """
    found = FleetFile()
    seen: set[str] = set()
    for place, row in _rows(file, found):
        name = row.get("registration_id", "")
        try:
            _check_new(name, seen)
            credential = _credential(row, group_key, password)
            payload = _payload(row)
        except (UsageError, UnusableFile) as error:
            cause = error.cause if isinstance(error, UnusableFile) else None
            found.faults.append(_fault(file, place, str(error), error.hint, cause))
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
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(io.StringIO(read_file(file, "fleet file"), newline=""), strict=True)
    first = 1
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(file, names, found)
        if "key" in names:
            warn_if_readable(file, "fleet file")
        first = reader.line_num + 1
        for values in reader:
            last = reader.line_num
            place = f"line {first}" if first == last else f"lines {first} to {last}"
            first = last + 1
            if not values:
                continue
            if len(values) != len(names):
                fault = f"{len(values)} values; expected {len(names)}, as in the header"
                found.faults.append(_fault(file, place, fault))
                continue
            yield place, dict(zip(names, values, strict=True))
    except csv.Error as error:  # the rows behind it have no known ends
        found.faults.append(
            _fault(
                file,
                f"line {first}",
                f"the row that begins here is not CSV: {error}; neither it nor any line below it"
                " was read",
                f"see whether each quote in it is closed; a value has at most {MAX_FIELD}"
                " characters",
            )
        )


def _fault(
    file: str, place: str, found: str, hint: str = "", cause: Cause | None = None
) -> UnusableFile:
    return UnusableFile(f"{file}: {place}: {found}", file=file, hint=hint, cause=cause)


def _check_header(file: str, names: list[str], found: FleetFile) -> None:
    allowed = ", ".join(COLUMNS)
    if "registration_id" not in names:
        found_ = shown(",".join(names))
        raise _fault(
            file, "line 1", f"no column registration_id; found {found_}; expected among {allowed}"
        )
    for name in names:
        if names.count(name) > 1:
            raise _fault(file, "line 1", f"column {shown(name)} is there twice")
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
