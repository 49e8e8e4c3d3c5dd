"""Ordered faults in the store: every front end obeys them, and a restart does not forget them."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ..dps.faults import ISSUE, Fault, Faults
from ..dps.issuance import ChainFault
from ..dps.store import ABSENT, Row, Store, Write
from ..dps.strikes import Standing
from ..dps.tables import FAULTS
from ..errors import StoreFailed

MAX_ATTEMPTS = 20
"""Changes that may be void because another front end was faster, before one is given up."""

_KEY = ""
_T = TypeVar("_T")


class FaultOrders:
    """The faults that are ordered.

    Every call may raise ``StoreFailed``.

    Args:
        store: open.
        draw: returns a number from 0 to below 1, evenly; seeded, the same requests are struck.
    """

    def __init__(self, store: Store, draw: Callable[[], float]) -> None:
        self._store = store
        self._draw = draw
        self._row = ABSENT  # as it was last seen: without orders, no request waits for the store
        self._changing = asyncio.Lock()

    async def begin(self) -> None:
        """Read the orders that stand, in the loop in which requests will be struck."""
        self._changing = asyncio.Lock()  # requests of one front end do not race for the row
        await self.refresh()

    async def refresh(self) -> None:
        """Read what other front ends have changed."""
        self.keep((await self._store.load((FAULTS, _KEY))).rows[0])

    def keep(self, row: Row) -> None:
        """Take in the row of the orders as it has just been loaded."""
        self._row = row

    async def order(self, fault: Fault) -> int:
        """Order a fault; return the order's number, for ``cancel``."""

        def ordered(faults: Faults) -> tuple[int, Faults]:
            more = faults.order(fault)
            return more.last, more

        return await self._change(ordered)

    async def cancel(self, number: int | None = None) -> bool:
        """Cancel one ordered fault, or all; return whether there was one."""

        def cancelled(faults: Faults) -> tuple[bool, Faults]:
            there = bool(faults.orders) if number is None else number in faults.orders
            return there, faults.cancel(number) if there else faults

        return await self._change(cancelled)

    async def orders(self) -> dict[int, Standing[Fault]]:
        """Return the standing orders, with how many times each will still strike."""
        await self.refresh()
        return dict(self._faults.orders)

    def concern(self, hop: str, registration_id: str = "") -> bool:
        """Whether an order may strike this leg, as far as is known without asking the store."""
        known: Faults | None = self._row.value
        return known is not None and known.concern(hop, registration_id)

    async def strike(self, hop: str, registration_id: str = "") -> Fault | None:
        """Return what goes wrong on a leg of a device's way; None for nothing."""
        if not self.concern(hop, registration_id):
            return None
        return await self._change(lambda faults: faults.strike(hop, registration_id, self._draw))

    async def strike_chain(self, common_name: str) -> ChainFault | None:
        """Return the ordered fault to put into the chain issued to a device; None for none."""
        fault = await self.strike(ISSUE, common_name)
        return None if fault is None else fault.chain

    @property
    def _faults(self) -> Faults:
        return self._row.value or Faults()

    async def _change(self, change: Callable[[Faults], tuple[_T, Faults]]) -> _T:
        async with self._changing:
            for _ in range(MAX_ATTEMPTS):
                await self.refresh()
                before = self._faults
                result, after = change(before)
                if after is before:
                    return result
                if await self._store.commit([Write(FAULTS, _KEY, after, self._row.version)]):
                    await self.refresh()
                    return result
        raise StoreFailed("the ordered faults change faster than this one can be taken")
