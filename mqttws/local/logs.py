"""Log lines to standard error that never block the service, and never flood.

A thread writes them, some at a time. A reader that has stopped loses lines, which are counted;
lines that are alike (equal but for numbers) are summed up where there are too many of them.
"""

import datetime
import json
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

MAX_WAITING = 5000
"""Lines that wait for a slow reader; more are dropped and counted."""

MAX_ALIKE = 100
"""Lines that are alike and are written within ``WINDOW``; more are summed up."""

WINDOW = 5.0
"""Seconds."""

CLOSE_TIMEOUT = 0.5
"""Seconds that the reader is given to take the last lines."""

_GATHERING = 0.2  # seconds in which lines gather: each wakening of a thread costs the event loop
_MAX_KINDS = 500
_NO_DIGITS = str.maketrans("", "", "0123456789abcdef")


class JsonLine(logging.Formatter):
    """Writes each line as one JSON object: ``time``, ``level`` and ``message``.

    Where the line is about them: ``connection`` and ``registrationId``, ``operationId``.

    Args:
        front_end: number of the front end; None for the only one.
    """

    def __init__(self, front_end: int | None = None) -> None:
        super().__init__()
        self._front_end = front_end

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        now = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        members: dict[str, object] = {
            "time": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z",
            "level": record.levelname.lower(),
        }
        if self._front_end is not None:
            members["frontEnd"] = self._front_end
        about = _ABOUT.fullmatch(message)
        if about is not None:
            members["connection"] = about["connection"]
            if about["device"]:
                members["registrationId"] = about["device"]
            message = about["rest"]
        operation = _OPERATION.search(message)
        if operation is not None:
            members["operationId"] = operation[0]
        return json.dumps({**members, "message": message})


_ABOUT = re.compile(
    r"(?P<connection>#\d+ [a-z]+ \S+?)(?: (?P<device>\S+))?: (?P<rest>.*)", re.DOTALL
)
_OPERATION = re.compile(r"\b5\.[0-9a-f]{16}\.[0-9a-f-]{36}\b")


class SteadyHandler(logging.Handler):
    """Hands lines to a thread that writes them.

    Args:
        stream: is written to; None for standard error.
        clock: returns seconds that only grow.

    Attributes:
        dropped: lines that nothing has read, since that was last written.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lines: deque[str] = deque()
        self._alike: dict[str, tuple[int, str]] = {}
        self._window_ends = 0.0
        self.dropped: int = 0
        self._there = threading.Event()  # lines wait
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="mqttws-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line; returns at once."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        now = self._clock()
        if now >= self._window_ends:
            self._sum_up()
            self._window_ends = now + WINDOW
        kind = line[:300].translate(_NO_DIGITS) if len(self._alike) < _MAX_KINDS else ""
        count, first = self._alike.get(kind, (0, line))
        self._alike[kind] = (count + 1, first)
        if count < MAX_ALIKE:
            self._put(line)

    def _sum_up(self) -> None:
        """Say how many lines of each kind have been left out."""
        for count, first in self._alike.values():
            if count > MAX_ALIKE:
                self._put(self._own(f"{count - MAX_ALIKE} more lines like: {first}"))
        self._alike.clear()

    def _own(self, line: str) -> str:
        """Return a line of this handler's own as the others are written."""
        if not isinstance(self.formatter, JsonLine):
            return line
        record = logging.LogRecord(__name__, logging.WARNING, "", 0, line, None, None)
        return self.formatter.format(record)

    def _put(self, line: str) -> None:
        if len(self._lines) >= MAX_WAITING:
            self.dropped += 1
            return
        if self.dropped:
            lost = f"{self.dropped} lines are lost: nothing has read them"
            self._lines.append(self._own(lost))
            self.dropped = 0
        self._lines.append(line)
        if not self._there.is_set():
            self._there.set()

    def _write(self) -> None:
        while True:
            self._there.wait()
            self._ending.wait(_GATHERING)
            self._there.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # the reader has gone
                self.dropped += len(lines)
            if self._ending.is_set() and not self._lines:
                return

    def close(self) -> None:
        """Write the lines that wait; what is not taken within ``CLOSE_TIMEOUT`` is dropped."""
        self.acquire()
        try:
            self._sum_up()
        finally:
            self.release()
        self._ending.set()
        self._there.set()
        self._thread.join(CLOSE_TIMEOUT)
        super().close()
