"""Faults on order: what shall go wrong, for whom, and how often.

Pure: it only says which request is struck. Whoever drives the service does the rest.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from ..errors import UsageError
from ..text import shown

Kind = Literal[
    "answer",
    "delay",
    "drop-before",
    "drop-after",
    "bad-json",
    "silence",
    "trickle",
    "close-websocket",
    "expired-certificate",
]
"""What goes wrong:

- ``answer``: ``status`` instead of what the request deserves, which it does not get.
- ``delay``: the answer comes ``seconds`` later.
- ``drop-before``, ``drop-after``: the connection is cut instead of the answer, or right after it.
- ``bad-json``: the answer's body ends in its middle.
- ``silence``: the request is done, and never answered.
- ``trickle``: the answer comes byte by byte, ``seconds`` apart.
- ``close-websocket``: the WebSocket is closed with ``code``; without one, the connection is cut.
- ``expired-certificate``: the service itself shows an expired certificate at the next handshake,
  when no device has a name yet.
"""

_REQUESTS = ("register", "poll")
_MAX_SECONDS = 3600.0
_DEFAULT_SECONDS = 1.0

_CODES = {401: 401000, 404: 404201, 429: 429001}
"""The error codes that usually come with a status; with others it is the status and 000."""


@dataclass(frozen=True)
class Fault:
    """One order.

    Attributes:
        kind: what goes wrong.
        device: whose requests are struck, a registration id; None for everybody's.
        request: ``register`` or ``poll``; None for both.
        times: how many requests are struck; None for all from now on.
        probability: how likely each request is to be struck, 0 to 1.
        status: of ``answer``: 400 to 599.
        retry_after: of ``answer``: whole seconds; None for none.
        seconds: of ``delay`` and ``trickle``.
        code: of ``close-websocket`` (RFC 6455 section 7.4).

    Raises:
        UsageError: names the member and what is allowed.
    """

    kind: Kind
    device: str | None = None
    request: Literal["register", "poll"] | None = None
    times: int | None = 1
    probability: float = 1.0
    status: int = 500
    retry_after: int | None = None
    seconds: float = _DEFAULT_SECONDS
    code: int = 1011

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("kind", self.kind in get_args(Kind), ", ".join(get_args(Kind))),
            ("device", self.device is None or isinstance(self.device, str), "a registration id"),
            ("request", self.request in (None, *_REQUESTS), "register or poll"),
            ("times", self.times is None or _whole(self.times, 1, 10**9), "1 or more"),
            ("probability", _number(self.probability, 0, 1), "0 to 1"),
            ("status", _whole(self.status, 400, 599), "400 to 599"),
            ("retry_after", self.retry_after is None or _whole(self.retry_after, 0, 86400), "s"),
            ("seconds", _number(self.seconds, 0, _MAX_SECONDS), f"0 to {_MAX_SECONDS:g}"),
            ("code", _whole(self.code, 1000, 4999), "1000 to 4999"),
        ):
            if not good:
                raise UsageError(f"fault: {name} {shown(getattr(self, name))}; allowed: {allowed}")
        if self.kind == "expired-certificate" and (self.device or self.request):
            raise UsageError(
                "fault: expired-certificate strikes a handshake, when no device has a name yet;"
                " allowed: neither device nor request"
            )

    @property
    def error_code(self) -> int:
        """The six digits that go with ``status``."""
        return _CODES.get(self.status, self.status * 1000)

    def to_json(self) -> dict[str, Any]:
        """Return the order's members that are not as usual, as ``parse_fault`` takes them."""
        members = asdict(self)
        usual = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in members.items() if value != usual[name]}


def parse_fault(members: object) -> Fault:
    """Return the fault that a JSON object orders.

    Raises:
        UsageError: names the member that is wrong.
    """
    if not isinstance(members, Mapping):
        raise UsageError("fault: expected an object with kind")
    allowed = [field.name for field in fields(Fault)]
    for name in members:
        if name not in allowed:
            raise UsageError(f"fault: {shown(name)} is unknown; allowed: {', '.join(allowed)}")
    if "kind" not in members:
        raise UsageError("fault: kind is missing")
    return Fault(**members)


class Faults:
    """The orders that stand; the first that fits strikes.

    Args:
        draw: returns a number from 0 to below 1, evenly; seeded, the same requests are struck.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._orders: dict[int, Fault] = {}
        self._ids = itertools.count(1)

    def order(self, fault: Fault) -> int:
        """Let something go wrong from now on; return the order's number."""
        number = next(self._ids)
        self._orders[number] = fault
        return number

    def cancel(self, number: int | None = None) -> bool:
        """Take one order back, or all; return whether there was one."""
        if number is None:
            found = bool(self._orders)
            self._orders.clear()
            return found
        return self._orders.pop(number, None) is not None

    def orders(self) -> dict[int, Fault]:
        """Return the orders that stand, with how many times each will still strike."""
        return dict(self._orders)

    def strike(self, registration_id: str, request: str) -> Fault | None:
        """Return what goes wrong with this request; None for nothing."""
        for number, fault in self._orders.items():
            if fault.kind == "expired-certificate" or fault.request not in (None, request):
                continue
            theirs = fault.device is None or fault.device.lower() == registration_id.lower()
            if theirs and self._hits(fault):
                self._count(number, fault)
                return fault
        return None

    def strike_handshake(self) -> bool:
        """Tell whether an expired certificate is shown in this handshake."""
        for number, fault in self._orders.items():
            if fault.kind == "expired-certificate" and self._hits(fault):
                self._count(number, fault)
                return True
        return False

    def _hits(self, fault: Fault) -> bool:
        return fault.probability >= 1 or self._draw() < fault.probability

    def _count(self, number: int, fault: Fault) -> None:
        if fault.times == 1:
            del self._orders[number]
        elif fault.times is not None:
            self._orders[number] = replace(fault, times=fault.times - 1)


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
