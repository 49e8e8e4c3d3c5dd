"""Log lines to standard error that never block the service, and never flood.

A thread writes them. A reader that has stopped loses lines, which are counted; lines that are alike
(equal but for numbers) are summed up where there are too many of them.
"""

import logging
import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

MAX_WAITING = 5000
"""Lines that wait for a slow reader; more are dropped and counted."""

MAX_ALIKE = 100
"""Lines that are alike and are written within ``WINDOW``; more are summed up."""

WINDOW = 5.0
"""Seconds."""

_MAX_KINDS = 500
_NUMBERS = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*")


class SteadyHandler(logging.Handler):
    """Hands lines to a thread that writes them.

    Args:
        stream: is written to; None for standard error.
        clock: returns seconds that only grow.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._alike: dict[str, int] = {}
        self._window_ends = 0.0
        self.dropped = 0
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
        kind = _NUMBERS.sub("#", line[:300])
        if len(self._alike) >= _MAX_KINDS:
            kind = ""
        count = self._alike[kind] = self._alike.get(kind, 0) + 1
        if count <= MAX_ALIKE:
            self._put(line)

    def _sum_up(self) -> None:
        """Say how many lines of each kind have been left out."""
        for kind, count in self._alike.items():
            if count > MAX_ALIKE:
                self._put(f"{count - MAX_ALIKE} more lines like: {kind or 'other lines'}")
        self._alike.clear()

    def _put(self, line: str) -> None:
        try:
            if self.dropped:
                self._lines.put_nowait(f"{self.dropped} lines are lost: nothing reads them")
                self.dropped = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the reader has gone
                self.dropped += 1

    def close(self) -> None:
        """Write what waits, as far as its reader takes it within half a second."""
        self.acquire()
        try:
            self._sum_up()
            try:
                self._lines.put_nowait(None)
            except queue.Full:
                return
        finally:
            self.release()
        self._thread.join(0.5)
        super().close()
