"""AwaitedDps: a local DPS that runs in a thread, for coroutines in any event loop.

A fixture that serves many tests cannot live in the loop of one of them.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from .dps import AsyncLocalDps
from .dps_events import DpsEvent
from .running import LocalDps

if TYPE_CHECKING:
    AwaitedDps = AsyncLocalDps
else:

    class AwaitedDps:
        """The calls of ``AsyncLocalDps``, awaited in the caller's loop, done in the service's.

        Args:
            dps: running.
        """

        def __init__(self, dps: LocalDps) -> None:
            self._dps = dps

        def __repr__(self) -> str:
            return repr(self._dps)

        def __getattr__(self, name: str) -> Any:
            found = getattr(self._dps, name)
            twin = getattr(AsyncLocalDps, name, None)
            return _awaited(found) if inspect.iscoroutinefunction(twin) else found

        async def events(self, after: int | None = None) -> AsyncIterator[DpsEvent]:
            """Yield the service's events; see ``AsyncLocalDps.events``."""
            if after is None:
                after = max((event.sequence for event in self._dps.seen()), default=0)
            while True:
                event = await self.wait_for(None, after=after, timeout=None)
                after = event.sequence
                yield event


def _awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a coroutine function that calls a blocking one in a thread of its own."""

    @wraps(function)
    async def call(*arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(partial(function, *arguments, **options))

    return call
