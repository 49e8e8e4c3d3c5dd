"""Peers: the other front ends over one store, and what this one keeps of the store's rows.

A front end keeps the ordered faults; all else is read for each request. It also keeps connections:
a device has one, at whichever front end. News of the store are hints. What is kept is looked at
again every ``recheck`` seconds and whenever news may have been lost; peers then tell each other
their devices once more.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..dps.store import Row, Store
from ..dps.tables import FAULTS
from ..errors import StoreFailed
from .clock import StoreClock
from .device import Presence

logger: logging.Logger = logging.getLogger("mqttws.local")

GONE_AFTER = 6.0
"""Looks at the rows without a word of a peer, after which it is taken to have gone."""


class Peers:
    """The other front ends of one service.

    Args:
        store: open before ``begin`` is called.
        clock: of the store.
        presence: the devices' connections here.
        keep_faults: is given the row of the ordered faults when it has changed.
    """

    def __init__(
        self,
        store: Store,
        clock: StoreClock,
        presence: Presence,
        keep_faults: Callable[[Row], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._presence = presence
        self._keep_faults = keep_faults
        self._name = secrets.token_hex(8)
        self._heard: dict[str, float] = {}  # the loop's time of each peer's last word
        self._woken = asyncio.Event()
        self._lost = False  # whether news may have been
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Read what is kept, and follow its changes.

        Raises:
            StoreFailed: it cannot be read.
        """
        self._woken = asyncio.Event()
        await self._clock.read()
        await self._look()
        if self._store.recheck:
            self._presence.on_proved = self._tell_proved
            self._task = asyncio.get_running_loop().create_task(self._follow())
            self._store.listen(self._hear)

    async def stop(self) -> None:
        """Stop following the other front ends."""
        self._presence.on_proved = None
        tasks = [*self._telling, *([] if self._task is None else [self._task])]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._store.recheck):
                    await self._woken.wait()
            self._woken.clear()
            lost, self._lost = self._lost, False
            with suppress(StoreFailed):  # the store itself has said so
                await self._look()
                await self._announce("asks" if lost else "here")
                if lost:
                    await self._tell_all()

    async def _look(self) -> None:
        """Read the row that is kept; act on it if it has changed."""
        loaded = await self._store.load((FAULTS, ""))
        self._clock.note(loaded.now)
        self._keep_faults(loaded.rows[0])

    # News

    def _hear(self, news: str) -> None:
        """Take in news of the store; see ``Store.listen``."""
        if not news:
            self._lost = True
            self._woken.set()
            return
        try:
            word, peer, *facts = json.loads(news)
            if peer == self._name:
                return
            self._heard[peer] = asyncio.get_running_loop().time()
            if word == "asks":
                self._spawn(self._tell_all())
            elif word == "proved":
                for key, at in facts[0]:
                    self._presence.proved_elsewhere(str(key), float(at))
        except (ValueError, TypeError, IndexError):  # a newer version's, or another program's
            logger.debug("news that cannot be read")

    def _tell_proved(self, key: str, at: float) -> None:
        """Tell the peers, if there are any, of a connection that has proved its device."""
        limit = asyncio.get_running_loop().time() - GONE_AFTER * self._store.recheck
        self._heard = {peer: heard for peer, heard in self._heard.items() if heard > limit}
        if self._heard:
            self._spawn(self._announce("proved", [(key, at)]))

    async def _tell_all(self) -> None:
        """Tell the peers of every connection that has proved its device; of none, too."""
        known = self._presence.proofs()
        for at in range(0, max(1, len(known)), _AT_ONCE):
            await self._announce("proved", known[at : at + _AT_ONCE])

    async def _announce(self, word: str, *facts: object) -> None:
        with suppress(StoreFailed):  # a hint; and the store itself has said so
            await self._store.announce(json.dumps([word, self._name, *facts]))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


_AT_ONCE = 20
"""Devices in one announcement: an id has up to 128 characters, and PostgreSQL takes 8000 bytes."""
