"""Faults on order at a hub: what goes wrong, with which operation, and how often.

Pure: it says which operation is struck; the driver of the hub does the rest.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from ...dps.issuance import ChainFault
from ...dps.strikes import SCHEDULE, Standing, strike
from ...errors import UsageError
from ...options import HUB_FAULT
from ...text import shown

FaultKind = Literal["refuse", "drop", "drop-after", "answer", "silence", "delay", "bad-chain"]
"""Kinds of faults:

- ``refuse``: CONNACK with ``return_code``.
- ``drop``: the connection is cut instead of the operation.
- ``drop-after``: the operation is done and acknowledged, then the connection is cut.
- ``answer``: a twin operation, or a request for a certificate, is answered with ``status`` and not
  done; the latter says ``retry_after``.
- ``silence``: the operation is neither done nor acknowledged nor answered.
- ``delay``: it is done ``seconds`` later; what the device sends after it waits too. A certificate
  comes ``seconds`` after it was accepted, and nothing waits.
- ``bad-chain``: the certificate that is issued is spoilt as ``chain`` says.
"""

Operation = Literal[
    "connect", "subscribe", "telemetry", "twin-get", "twin-patch", "method", "puback", "issue"
]
"""Operations of a device; ``method`` is its answer, ``puback`` that for a message to it, ``issue``
its request for a certificate."""


@dataclass(frozen=True, slots=True)
class HubFault:
    """One order.

    Attributes:
        kind: see ``FaultKind``.
        device: the device whose operations are struck; None for all.
        operation: see ``Operation``; None for all that the kind allows.
        times: how many operations are struck; None for all from now on.
        skip: how many that fit pass before the first one is struck: 2 strikes the third.
        probability: of each operation, 0 to 1.
        seed: of the order's own chance, for the same ones to be struck again; None takes the
            hub's.
        status: of ``answer``: 400 to 599.
        retry_after: of ``answer``: seconds; None for none.
        return_code: of ``refuse``: 1 to 5.
        seconds: of ``delay``.
        chain: of ``bad-chain``.

    Raises:
        UsageError: names the member and what is allowed.
    """

    kind: FaultKind
    device: str | None = None
    operation: Operation | None = None
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int | None = None
    status: int = 503
    retry_after: float | None = None
    return_code: int = 3
    seconds: float = 1.0
    chain: ChainFault = "expired"

    def to_json(self) -> dict[str, Any]:
        """Return the members that are not as usual, as ``parse_hub_fault`` takes them."""
        usual = {known.name: known.default for known in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", get_args(FaultKind)),
            ("operation", (None, *allowed_operations(self.kind))),
        ):
            found = getattr(self, name)
            if found not in known:
                allowed = ", ".join(filter(None, known))
                raise UsageError(f"{name}: found {shown(found)}; allowed: {allowed}")
        HUB_FAULT.check(asdict(self))


_MEMBERS = {
    "refuse": ("return_code",),
    "answer": ("status", "retry_after"),
    "delay": ("seconds",),
    "bad-chain": ("chain",),
}
"""Members of an order besides those of every order, by its kind."""

_ALWAYS = ("kind", "device", "operation", *SCHEDULE)


def parse_hub_fault(members: object) -> HubFault:
    """Return the fault that a JSON object orders.

    Raises:
        UsageError: names the member that is wrong, or that its kind does not have.
    """
    if not isinstance(members, Mapping) or "kind" not in members:
        raise UsageError("fault: expected an object with kind")
    kind = members["kind"]
    allowed = (*_ALWAYS, *_MEMBERS.get(kind if isinstance(kind, str) else "", ()))
    for name in members:
        if name not in allowed:
            raise UsageError(
                f"fault: {shown(kind)} has no {shown(name)}; allowed: {', '.join(allowed)}"
            )
    return HubFault(**members)


def allowed_operations(kind: str) -> tuple[str, ...]:
    """Return the operations that a kind of fault can strike."""
    if kind == "refuse":
        return ("connect",)
    if kind == "answer":
        return ("twin-get", "twin-patch", "issue")
    if kind == "bad-chain":
        return ("issue",)
    return tuple(name for name in get_args(Operation) if kind != "drop-after" or name != "connect")


class HubFaults:
    """The orders that stand; the first that fits strikes.

    Args:
        draw: returns a number from 0 to below 1, evenly; seeded, the same operations are struck.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._orders: dict[int, Standing[HubFault]] = {}
        self._numbers = itertools.count(1)

    def order(self, fault: HubFault) -> int:
        """Order a fault; return the order's number."""
        number = next(self._numbers)
        self._orders[number] = Standing(fault)
        return number

    @property
    def orders(self) -> dict[int, HubFault]:
        """The orders that stand, by number, with how many times each will still strike."""
        return {number: standing.fault for number, standing in self._orders.items()}

    @property
    def standing(self) -> bool:
        """Whether there is any order."""
        return bool(self._orders)

    def cancel(self, number: int | None = None) -> bool:
        """Cancel one ordered fault, or all; return whether there was one."""
        if number is not None:
            return self._orders.pop(number, None) is not None
        found = bool(self._orders)
        self._orders.clear()
        return found

    def strike(self, device_id: str, operation: str) -> HubFault | None:
        """Return the fault of this operation; None for none."""
        if not self._orders:
            return None
        struck, self._orders = strike(
            self._orders, lambda fault: _fits(fault, device_id, operation), self._draw
        )
        return struck


def _fits(fault: HubFault, device_id: str, operation: str) -> bool:
    theirs = fault.operation == operation or (
        fault.operation is None and operation in allowed_operations(fault.kind)
    )
    return theirs and fault.device in (None, device_id)
