"""``mqttws serve --processes N``: starts front ends, hands them their sockets, replaces them.

Knows processes and signals. What a front end serves is its own matter (``serving``): it is this
very command once more, with open sockets and the supervisor at the other end of standard input.
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from ..errors import ServiceFailed
from ..errors.base import USAGE
from ..hops import Cause, Party
from ..local.handed import Handed, to_variable
from ..local.listening import open_port
from .output import writing
from .serving import READY

logger: logging.Logger = logging.getLogger("mqttws.local")

START_TIMEOUT = 60.0
"""Seconds within which a front end must serve."""

DRAIN_TIMEOUT = 10.0
"""Seconds that front ends are given to end, before they are killed."""

LIVES = 1.0
"""Seconds of service after which the death of a front end is an accident, and not its habit."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
"""Seconds until one that keeps dying is replaced: twice as long each time."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable: where front ends put their figures, which are summed up."""

_ROOM = 1 << 20  # bytes of a line that a front end prints


class Supervisor:
    """Runs front ends until a signal comes.

    Args:
        count: of the front ends.
        ports: host and port of each port, by its name: ``wss``, ``mqtts``, ``admin``.
        arguments: of ``mqttws``, the same for each front end.
    """

    def __init__(
        self, count: int, ports: Mapping[str, tuple[str, int]], arguments: list[str]
    ) -> None:
        self._count = count
        self._ports = ports
        self._command = [sys.executable, "-m", "mqttws", *arguments]
        self._handed: Handed = {}
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._asked: set[int] = set()  # processes that have had SIGTERM
        self._told: list[str] | None = None
        self._figures = ""
        self._code = 0  # of the front end that ended last

    async def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            ServiceFailed: a port cannot be opened, or the first front end does not come to serve.
        """
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        sockets = []
        figures = tempfile.TemporaryDirectory(prefix="mqttws-figures-")
        self._figures = figures.name
        try:
            handed: dict[str, list[int]] = {}
            for name, place in self._ports.items():
                opened = await open_port(*place)
                sockets += opened
                handed[name] = [one.fileno() for one in opened]
            self._handed = handed
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._end, number.name)
            loop.add_signal_handler(signal.SIGHUP, self._send, signal.SIGHUP)
            first = await self._start(1)
            if first is None:
                if not self._stop.is_set():
                    ended = _ended(self._code)
                    raise ServiceFailed(
                        f"the first front end has ended before it could serve: {ended}",
                        cause=Cause.UNKNOWN,
                        party=Party.HOST,
                        retryable=self._code < USAGE,  # else it has said that nothing else can help
                    )
                return
            keeping = [
                loop.create_task(self._keep(number, first if number == 1 else None))
                for number in range(1, self._count + 1)
            ]
            await self._stop.wait()
            await self._drain()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
        finally:
            await self._drain()
            for one in sockets:
                one.close()
            figures.cleanup()

    def _end(self, name: str) -> None:
        logger.info("%s: the service ends", name)
        self._stop.set()
        self._ask_to_end()

    def _ask_to_end(self) -> None:
        """Send SIGTERM to each front end that has not had it: a second one would kill it."""
        for process in self._processes.values():
            if process.pid not in self._asked:
                self._asked.add(process.pid)
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def _drain(self) -> None:
        """Wait until every front end has ended; kill those that do not."""
        self._ask_to_end()
        left = [asyncio.ensure_future(one.wait()) for one in self._processes.values()]
        if not left:
            return
        _, late = await asyncio.wait(left, timeout=DRAIN_TIMEOUT)
        if late:
            logger.warning("%d front ends do not end within %g s", len(late), DRAIN_TIMEOUT)
            self._send(signal.SIGKILL)
            await asyncio.wait(late)
        self._processes.clear()

    async def _keep(self, number: int, process: asyncio.subprocess.Process | None) -> None:
        """Have a front end of this number as long as the service lasts."""
        delay = FIRST_DELAY
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            if process is None:
                process = await self._start(number)
            began = loop.time()
            code = None if process is None else await process.wait()
            self._processes.pop(number, None)
            if process is not None:
                self._forget_figures(process.pid)
            if self._stop.is_set():
                return
            if process is not None and loop.time() - began >= LIVES:
                delay, pause = FIRST_DELAY, 0.0
            else:
                delay, pause = min(2 * delay, LONGEST_DELAY), delay
            process = None
            said = "could not be started" if code is None else f"has ended: {_ended(code)}"
            logger.warning("front end %d %s; another one comes in %.3g s", number, said, pause)
            await asyncio.sleep(pause)

    async def _start(self, number: int) -> asyncio.subprocess.Process | None:
        """Return a front end that serves; None for one that ended instead."""
        descriptors = [one for several in self._handed.values() for one in several]
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            env={
                **os.environ,
                **to_variable(number, self._handed),
                METRICS_FOLDER: self._figures,
            },
            start_new_session=True,  # Ctrl-C is the supervisor's
            limit=_ROOM,
        )
        self._processes[number] = process
        if self._stop.is_set():  # the signal came just before
            self._ask_to_end()
        assert process.stdout is not None
        lines: list[str] = []
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while line := await process.stdout.readline():
                    if line.decode().strip("\n") == READY:
                        self._tell(lines)
                        logger.info("front end %d serves, process %d", number, process.pid)
                        return process
                    lines.append(line.decode().rstrip("\n"))
        except TimeoutError:
            process.kill()
        self._code = await process.wait()
        self._processes.pop(number, None)
        return None

    def _forget_figures(self, pid: int) -> None:
        """Let a dead front end's connections count no more; what it has counted stays."""
        for file in Path(self._figures).glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)

    def _tell(self, lines: list[str]) -> None:
        """Print what the first front end has printed; the others say the same."""
        if self._told is None:
            self._told = lines
            with writing(sys.stdout):
                click.echo("\n".join(lines))


def _ended(code: int) -> str:
    """Return how a process has ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
