"""A front end of ``mqttws serve``: a local DPS that serves until a signal comes.

Knows signals, the log, and the process that may have started it. Does not know the options.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import click

import mqttws

from ..local.logs import JsonLine, SteadyHandler
from .output import print_json
from .serve_place import EXAMPLE, AdminPlace, Place

logger: logging.Logger = logging.getLogger("mqttws.local")

READY = "\N{END OF TRANSMISSION}"
"""The line on standard output by which a front end tells the supervisor that it serves."""

LOOK_AT_FILES = 2.0
"""Seconds between two looks at whether the certificate's files have changed."""

WithHub = Callable[[AsyncExitStack], Awaitable[dict[str, Any]]]


def steady_logs(number: int | None = None, *, as_json: bool = False) -> None:
    """Let a thread write the log: a reader that has stopped stops nothing else.

    What no line shows is not found out for each record (Python's logging HOWTO, "Optimization").

    Args:
        number: of the front end, for its lines; None for the only one.
        as_json: whether each line is a JSON object.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    for known in (logging.getLogger(), logger):
        for handler in list(known.handlers):
            if type(handler) is logging.StreamHandler:
                steady = SteadyHandler(handler.stream)
                steady.setFormatter(handler.formatter)
                steady.setLevel(handler.level)
                if as_json:
                    steady.setFormatter(JsonLine(number))
                elif number is not None:
                    steady.addFilter(_Numbered(number))
                known.removeHandler(handler)
                known.addHandler(steady)


class _Numbered(logging.Filter):
    """Puts the front end's number before each line."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._prefix = f"({number}) "

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._prefix + str(record.msg)
        return True


async def serve_until_signal(
    dps: mqttws.AsyncLocalDps,
    key_file: Path | None,
    admin: AdminPlace | None,
    with_hub: WithHub | None,
    *,
    as_json: bool,
    supervised: bool,
) -> None:
    """Serve until a signal comes, or the supervisor ends."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    renew = asyncio.Event()

    def end(name: str) -> None:
        logger.info("%s: the service ends", name)
        stop.set()

    _on_signals(loop, end)
    if supervised or not _has_terminal():  # a closed terminal ends what runs in it
        with suppress(NotImplementedError, AttributeError):  # Windows has no SIGHUP
            loop.add_signal_handler(signal.SIGHUP, renew.set)
    if supervised:
        loop.add_reader(sys.stdin.fileno(), _at_end_of_input, loop, end)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(dps)
        api = None
        if admin is not None:
            api = await stack.enter_async_context(admin.api(dps))
        served = None if with_hub is None else await with_hub(stack)
        example = await dps.directory.individual(EXAMPLE)
        url = None if api is None else api.url
        place = Place(dps, None if example is None else key_file, url, served)
        if as_json:
            print_json(place.to_json())
        else:
            place.print()
        if supervised:
            click.echo(READY)
        # What is here now stays: no collection need look through it again. A connection makes
        # hundreds of objects, most of which it lets go itself.
        gc.freeze()
        gc.set_threshold(10_000)
        renewing = loop.create_task(_renew(dps, api.renew_tls if api else _nothing, renew))
        try:
            await stop.wait()
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)


def _on_signals(loop: asyncio.AbstractEventLoop, end: Callable[[str], None]) -> None:
    """Call ``end`` with the name of the first signal that asks for it; a second one kills."""
    ending = (signal.SIGINT, signal.SIGTERM)

    def once(number: signal.Signals) -> None:
        for each in ending:
            with suppress(NotImplementedError):  # Windows
                loop.remove_signal_handler(each)
            interrupts = each is signal.SIGINT
            signal.signal(each, signal.default_int_handler if interrupts else signal.SIG_DFL)
        end(number.name)

    def handle(received: int, _frame: object) -> None:
        loop.call_soon_threadsafe(once, signal.Signals(received))

    for number in ending:
        try:
            loop.add_signal_handler(number, once, number)
        except NotImplementedError:  # Windows: its event loop wakes up for Python's own handlers
            signal.signal(number, handle)


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _at_end_of_input(loop: asyncio.AbstractEventLoop, end: Callable[[str], None]) -> None:
    """End the service where the supervisor has died: it holds the other end of standard input."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        end("the supervisor has ended")


def _nothing() -> None:
    """Do nothing: no admin API shows a certificate."""


async def _renew(
    dps: mqttws.AsyncLocalDps, renew_admin: Callable[[], None], asked: asyncio.Event
) -> None:
    """Show new certificates when SIGHUP asks for it, or their files have changed."""
    known = dps.tls.written()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AT_FILES):
                await asked.wait()
        found = dps.tls.written()
        if not asked.is_set() and found == known:
            continue
        asked.clear()
        try:
            dps.tls.renew()
            renew_admin()
        except OSError as error:  # half written; at its next change it is tried again
            reason = error.strerror or type(error).__name__
            logger.warning("the certificate stays as it was: %s", reason)
        else:
            logger.info("the certificate has been read again")
        known = found
