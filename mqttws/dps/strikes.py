"""The schedule of an ordered fault: how many pass before it, how likely it is, and how often.

Pure, and shared by the orders of the DPS and of the hub. Does not know what goes wrong.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar


class Scheduled(Protocol):
    """The schedule in an order, which is a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def times(self) -> int | None:
        """Count of those that fit and are struck; None for all from now on."""

    @property
    def skip(self) -> int:
        """Count of those that fit and pass before the first one is struck: 2 strikes the third."""

    @property
    def probability(self) -> float:
        """Chance of each one to be struck, 0 to 1."""

    @property
    def seed(self) -> int | None:
        """The seed of the order's own chance; None takes the service's."""


SCHEDULE = ("times", "skip", "probability", "seed")
"""Members of every order."""

O = TypeVar("O", bound=Scheduled)  # noqa: E741 - an order


@dataclass(frozen=True)
class Standing(Generic[O]):
    """An order that stands.

    Attributes:
        fault: with how many times it will still strike.
        seen: how many that fit it has looked at; counted where ``skip`` or ``seed`` need it.
    """

    fault: O
    seen: int = 0

    def look(self, draw: Callable[[], float]) -> "tuple[bool, Standing[O] | None]":
        """Tell whether the next one that fits is struck; and the order that is left, if any."""
        fault = self.fault
        counts = fault.seed is not None or self.seen < fault.skip
        left = replace(self, seen=self.seen + 1) if counts else self
        if self.seen < fault.skip:
            return False, left
        if fault.probability < 1:
            drawn = draw() if fault.seed is None else _drawn(fault.seed, self.seen)
            if drawn >= fault.probability:
                return False, left
        if fault.times is None:
            return True, left
        if fault.times == 1:
            return True, None
        return True, replace(left, fault=replace(fault, times=fault.times - 1))


def strike(
    orders: Mapping[int, Standing[O]], fits: Callable[[O], bool], draw: Callable[[], float]
) -> tuple[O | None, dict[int, Standing[O]]]:
    """Return the first order that strikes, None for none; and the orders that are left.

    Args:
        orders: by number, the earliest first.
        fits: returns whether an order concerns what is about to happen.
        draw: returns a number from 0 to below 1, evenly; seeded, the same ones are struck.
    """
    remaining = dict(orders)
    for key, standing in orders.items():
        if not fits(standing.fault):
            continue
        hit, left = standing.look(draw)
        if left is None:
            del remaining[key]
        else:
            remaining[key] = left
        if hit:
            return standing.fault, remaining
    return None, remaining


def _drawn(seed: int, place: int) -> float:
    """Return the number that a seed draws at a place, from 0 to below 1, evenly."""
    return int.from_bytes(hashlib.sha256(f"{seed} {place}".encode()).digest()[:6]) / 2**48
