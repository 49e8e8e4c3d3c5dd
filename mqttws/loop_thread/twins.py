"""A synchronous name and its asyncio twin: each refuses the other's way of use, by name."""

import asyncio
from collections.abc import Callable, Coroutine
from logging import Logger, getLogger
from typing import Any, NoReturn, TypeVar

from ..errors import UsageError
from ..hops import Cause

logger: Logger = getLogger("mqttws.loop")

_T = TypeVar("_T")


class SynchronousOnly:
    """A class for ``with``: with ``async with`` its error names the asyncio twin."""

    async def __aenter__(self) -> NoReturn:
        """Refuse."""
        name = type(self).__name__
        raise UsageError(
            f"async with {name}(...): {name} is synchronous; allowed: with {name}(...)",
            cause=Cause.WRONG_MOMENT,
            hint=f"in asyncio programs use Async{name}",
        )

    async def __aexit__(self, *exc: object) -> None:
        """Do nothing: it was not entered."""


class AsyncOnly:
    """A class for ``async with``: with ``with`` its error names the synchronous twin."""

    def __enter__(self) -> NoReturn:
        """Refuse."""
        name = type(self).__name__
        raise UsageError(
            f"with {name}(...): {name} is for asyncio; allowed: async with {name}(...)",
            cause=Cause.WRONG_MOMENT,
            hint=f"in synchronous programs use {name.removeprefix('Async')}",
        )

    def __exit__(self, *exc: object) -> None:
        """Do nothing: it was not entered."""


def run_to_the_end(name: str, make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run what ``make`` returns in an event loop of its own: the synchronous twin of a function.

    Raises:
        UsageError: called inside a running event loop.
    """
    if not _loop_is_running():
        return asyncio.run(make())
    raise UsageError(
        f"{name}() would block the event loop that is running here",
        cause=Cause.WRONG_MOMENT,
        hint=f"use `await mqttws.{name}_async(...)` instead",
    )


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
