"""The results of a fleet: a CSV file that grows by a line for each device, and may be gone on with.

Knows the file and its lock. Does not know what is done for a device.
"""

import csv
import io
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..dps.json_text import build_json
from ..errors import StoreDamaged, StoreFailed, StoreLocked, store_failed
from ..hops import Hop
from ..provisioning.fleet import FleetResult
from ..text import one_line
from .exits import SOME_FAILED
from .files import check_name
from .output import failure, print_json

try:
    import fcntl
except ImportError:  # Windows opens a file for one writer at a time only by choice
    fcntl = None  # type: ignore[assignment]

COLUMNS = (
    *("registration_id", "status", "assigned_hub", "device_id", "substatus", "payload"),
    "error",
)

MAX_LINE = 1024 * 1024
"""Characters of a result's line: a payload of 96 KiB fits, however it is escaped."""


def assigned_in(results: str) -> set[str]:
    """Return who stands in the results as assigned; a line that was cut off does not count.

    The file is as long as the fleet is large, so it is read line by line. Each result is one line,
    and is read by itself: a quote that was cut off must not swallow the lines below it.
    """
    check_name(results, "--results")
    csv.field_size_limit(MAX_LINE)
    path = Path(results)
    found = set()
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
            raise StoreFailed(f"results {results}: not a regular file")
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            head = lines.readline(MAX_LINE).rstrip("\n")
            if head not in ("", ",".join(COLUMNS)):
                raise StoreDamaged(
                    f"{results}: line 1: expected columns {', '.join(COLUMNS)}",
                    hint="it is not this command's: name another file with --results",
                )
            while line := lines.readline(MAX_LINE):
                values = next(csv.reader([line]))
                if len(values) == len(COLUMNS) and values[1] == "assigned":
                    found.add(values[0].lower())
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise store_failed(f"results {results}: {error.strerror}", error) from error
    return found


class Results:
    """Writes each result down as it comes, and shows how far it is.

    Args:
        file: is added to; no other run may write to it meanwhile.
        as_json: whether each result is printed as a line of JSON too.
    """

    def __init__(self, file: str, *, as_json: bool) -> None:
        self.assigned: int = 0
        self.failed: int = 0
        self._codes: set[int] = set()
        self._hops: set[Hop | None] = set()
        self._name = file
        self._as_json = as_json
        self._file: BinaryIO
        self._bar = Progress(
            TextColumn("{task.completed} done"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("fleet", total=None)

    def __enter__(self) -> Self:
        try:
            self._file = Path(self._name).open("a+b")
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._lock()
            if self._file.tell() == 0:
                self._write(COLUMNS)
            elif not self._is_whole():  # an earlier run was cut off within a line
                self._append(b"\n")
        except BaseException:
            self._close()
            raise
        return self

    def _is_whole(self) -> bool:
        """Tell whether the file's last line has an end."""
        try:
            self._file.seek(-1, 2)
            return self._file.read(1) == b"\n"
        except OSError as error:
            raise self._failed(error) from error

    def _lock(self) -> None:
        """Lock the file until it is closed, or the process ends."""
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreLocked(
                f"results {self._name}: another run writes to this file",
                hint="wait for its end, or name another file with --results",
            ) from None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        self._close()

    def _close(self) -> None:
        with suppress(OSError):  # what could not be written has been reported
            self._file.close()

    def begin(self, total: int) -> None:
        """Show that ``total`` results are to come."""
        self._bar.update(self._task, total=total)
        self._bar.start()

    @property
    def exit_code(self) -> int:
        """Exit code: 0, the hop's where none was assigned and all failed there, or 3."""
        if not self.failed:
            return 0
        if self.assigned or len(self._hops) > 1:
            return SOME_FAILED
        return min(self._codes)  # one that may pass counts before one that will not

    def add(self, result: FleetResult) -> None:
        """Write one result down.

        Raises:
            StoreFailed: it cannot be written; ``StoreFull`` on a disk that is full.
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
            assert error is not None
            self._codes.add(error.exit_code)
            self._hops.add(error.hop)
            self._write((result.registration_id, "error", "", "", "", "", str(error)))
        if self._as_json:
            print_json(_as_json(result))
        self._bar.advance(self._task)

    def _write(self, values: tuple[str, ...]) -> None:
        # Written out, a line's end within a value cannot forge another device's result.
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(map(one_line, values))
        self._append(line.getvalue().encode())

    def _append(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StoreFailed:
        return store_failed(f"results {self._name}: {error.strerror}", error)


def _as_json(result: FleetResult) -> dict[str, object]:
    """Return a result as one JSON object."""
    assignment, error = result.assignment, result.error
    if assignment is not None:
        return {
            "registration_id": result.registration_id,
            "status": "assigned",
            "assigned_hub": assignment.assigned_hub,
            "device_id": assignment.device_id,
            "substatus": assignment.substatus,
            "payload": assignment.payload,
        }
    assert error is not None
    return {"registration_id": result.registration_id, **failure(error)}
