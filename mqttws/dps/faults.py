"""Faults on order: what shall go wrong, for whom, and how often.

Pure: it only says which request is struck. Whoever drives the service does the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from ..errors import UsageError
from ..text import shown
from .issuance import ChainFault

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
    "bad-chain",
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
- ``bad-chain``: the certificate that is issued is spoilt as ``chain`` says; it strikes where a
  certificate is issued, whatever the request.
"""

ISSUE = "issue"
"""The step that ``bad-chain`` strikes."""

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
        chain: of ``bad-chain``.

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
    chain: ChainFault = "expired"

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
            ("chain", self.chain in get_args(ChainFault), ", ".join(get_args(ChainFault))),
        ):
            if not good:
                raise UsageError(f"fault: {name} {shown(getattr(self, name))}; allowed: {allowed}")
        if self.kind == "bad-chain" and self.request:
            raise UsageError("fault: bad-chain strikes where a certificate is issued; no request")
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
        usual = {known.name: known.default for known in fields(self)}
        return {name: value for name, value in members.items() if value != usual[name]}


def parse_fault(members: object) -> Fault:
    """Return the fault that a JSON object orders.

    Raises:
        UsageError: names the member that is wrong.
    """
    if not isinstance(members, Mapping):
        raise UsageError("fault: expected an object with kind")
    allowed = [known.name for known in fields(Fault)]
    for name in members:
        if name not in allowed:
            raise UsageError(f"fault: {shown(name)} is unknown; allowed: {', '.join(allowed)}")
    if "kind" not in members:
        raise UsageError("fault: kind is missing")
    return Fault(**members)


@dataclass(frozen=True)
class Faults:
    """The orders that stand; the first that fits strikes. A value: each change returns another one.

    Attributes:
        orders: by number; with how many times each will still strike.
        last: the number that was given last.
    """

    orders: Mapping[int, Fault] = field(default_factory=dict)
    last: int = 0

    def order(self, fault: Fault) -> "Faults":
        """Return the orders with one more, whose number is ``last``."""
        number = self.last + 1
        return Faults({**self.orders, number: fault}, number)

    def cancel(self, number: int | None = None) -> "Faults":
        """Return the orders without one of them, or without all."""
        kept = {} if number is None else dict(self.orders)
        kept.pop(number or 0, None)
        return replace(self, orders=kept)

    def strike(
        self, registration_id: str, request: str, draw: Callable[[], float]
    ) -> "tuple[Fault | None, Faults]":
        """Return what goes wrong with a request, None for nothing; and the orders that are left.

        Args:
            registration_id: whose request.
            request: ``register``, ``poll`` or ``ISSUE``.
            draw: returns a number from 0 to below 1, evenly; seeded, the same requests are struck.
        """
        for number, fault in self.orders.items():
            if fault.kind == "expired-certificate" or fault.request not in (None, request):
                continue
            if (fault.kind == "bad-chain") != (request == ISSUE):
                continue
            theirs = fault.device is None or fault.device.lower() == registration_id.lower()
            if theirs and _hits(fault, draw):
                return fault, self._counted(number, fault)
        return None, self

    def strike_handshake(self, draw: Callable[[], float]) -> "tuple[bool, Faults]":
        """Tell whether an expired certificate is shown in a handshake; and the orders left."""
        for number, fault in self.orders.items():
            if fault.kind == "expired-certificate" and _hits(fault, draw):
                return True, self._counted(number, fault)
        return False, self

    def _counted(self, number: int, fault: Fault) -> "Faults":
        if fault.times is None:
            return self
        if fault.times == 1:
            return self.cancel(number)
        return replace(self, orders={**self.orders, number: replace(fault, times=fault.times - 1)})

    def to_json(self) -> dict[str, Any]:
        """Return the orders as ``from_json`` takes them."""
        orders = [[number, fault.to_json()] for number, fault in self.orders.items()]
        return {"last": self.last, "orders": orders}

    @classmethod
    def from_json(cls, members: Any) -> "Faults":
        """Return the orders that ``to_json`` wrote."""
        orders = {number: parse_fault(fault) for number, fault in members["orders"]}
        return cls(orders, members["last"])


def _hits(fault: Fault, draw: Callable[[], float]) -> bool:
    return fault.probability >= 1 or draw() < fault.probability


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
