"""Faults on order: what shall go wrong, on which leg of the way, for whom, and how often.

Pure: it only says which request or connection is struck. The driver of the service does the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from ..errors import UsageError
from ..options import DPS_FAULT
from ..text import shown
from .issuance import ChainFault
from .strikes import SCHEDULE, Standing, strike

Kind = Literal[
    "answer",
    "delay",
    "drop-before",
    "drop-after",
    "bad-json",
    "silence",
    "trickle",
    "slow",
    "cut",
    "close-websocket",
    "restart",
    "expired-certificate",
    "wrong-name-certificate",
    "unknown-ca-certificate",
    "missing-intermediate",
    "bad-chain",
]
"""What goes wrong:

- ``answer``: another answer than the request deserves, which is not served: ``status`` with
  ``error_code`` and ``message``, or with ``body`` as it is; ``return_code`` in CONNACK; 0x80 in
  SUBACK.
- ``delay``: the answer comes ``seconds`` later.
- ``drop-before``, ``drop-after``: the connection is cut instead of the answer, or right after it.
- ``bad-json``: the answer's body ends in its middle.
- ``silence``: the request is never answered; register and poll are served all the same.
- ``trickle``: the answer comes byte by byte, ``seconds`` apart.
- ``slow``: from here on the connection carries ``bytes_per_second`` to the device.
- ``cut``: the connection is cut after ``bytes`` of the answer.
- ``close-websocket``: the WebSocket is closed with ``code``; without one, the connection is cut.
- ``restart``: the service goes away, with every connection, and is back after ``seconds``.
- ``expired-certificate``, ``wrong-name-certificate``, ``unknown-ca-certificate``,
  ``missing-intermediate``: the service itself shows such a certificate in the handshake.
- ``bad-chain``: the certificate that is issued to a device is spoilt as ``chain`` says.
"""

StruckHop = Literal["tls", "upgrade", "connect", "subscribe", "register", "poll", "lookup", "issue"]
"""Legs of the way that can be struck, named as in ``mqttws.Hop``; ``lookup`` is the question about
a registration, over HTTPS alone, and ``issue`` the making of a certificate."""

ISSUE = "issue"

NAMELESS = ("tls", "upgrade")
"""Legs on which no device has a name yet."""

REQUESTS = ("register", "poll", "lookup")

_MQTT = ("connect", "subscribe", "register", "poll")
_ALL = ("tls", "upgrade", *_MQTT, "lookup")
_CERTIFICATE = (("tls",), ())

_MAX_SECONDS = 3600.0

_RULES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "answer": (
        _ALL[1:],
        ("status", "retry_after", "error_code", "message", "body", "return_code"),
    ),
    "delay": (_ALL, ("seconds",)),
    "drop-before": (_ALL, ()),
    "drop-after": (_ALL[2:], ()),
    "bad-json": (REQUESTS, ()),
    "silence": (_ALL, ()),
    "trickle": (_ALL[2:], ("seconds",)),
    "slow": (_ALL[2:], ("bytes_per_second",)),
    "cut": (_ALL[2:], ("bytes",)),
    "close-websocket": (_MQTT, ("code",)),
    "restart": (_ALL, ("seconds",)),
    "expired-certificate": _CERTIFICATE,
    "wrong-name-certificate": _CERTIFICATE,
    "unknown-ca-certificate": _CERTIFICATE,
    "missing-intermediate": _CERTIFICATE,
    "bad-chain": ((ISSUE,), ("chain",)),
}
"""Of each kind: the legs that it can strike, and the members that it has besides ``ALWAYS``."""

ALWAYS = ("kind", "device", "hop", *SCHEDULE)
"""Members of every order."""

_ANSWERED_BY: dict[str | None, tuple[str, ...]] = {
    "connect": ("return_code",),
    "subscribe": (),
    "upgrade": ("status", "retry_after"),
}
"""Members of ``answer`` on the legs that have no JSON body."""

_CODES = {401: 401000, 404: 404201, 429: 429001}
"""The error codes that usually come with a status; with others it is the status and 000."""


@dataclass(frozen=True)
class Fault:
    """One order.

    Attributes:
        kind: what goes wrong.
        device: whose requests are struck, a registration id; None for every device's.
        hop: the leg that is struck; None for the only one that ``kind`` can strike, such as the
            handshake, and for every register, poll and lookup otherwise.
        times: how many of them are struck; None for all from now on.
        skip: how many that fit pass before the first one is struck: 2 strikes the third.
        probability: how likely each one is to be struck, 0 to 1.
        seed: of the order's own chance, for the same ones to be struck again; None takes the
            service's.
        status: of ``answer``: 400 to 599; 200 to 599 with a body.
        retry_after: of ``answer``: whole seconds; None for none.
        error_code: of ``answer``: six digits that begin with the status; None for the usual one.
        message: of ``answer``: for the device; None for the usual one.
        body: of ``answer``: text that stands in the place of the JSON; None for none.
        return_code: of ``answer`` to a CONNECT: 1 to 5.
        seconds: of ``delay``, ``trickle`` and ``restart``.
        bytes_per_second: of ``slow``.
        bytes: of ``cut``.
        code: of ``close-websocket`` (RFC 6455 section 7.4).
        chain: of ``bad-chain``.

    Raises:
        UsageError: names the member and what is allowed.
    """

    kind: Kind
    device: str | None = None
    hop: StruckHop | None = None
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int | None = None
    status: int = 500
    retry_after: int | None = None
    error_code: int | None = None
    message: str | None = None
    body: str | None = None
    return_code: int = 3
    seconds: float = 1.0
    bytes_per_second: int = 100
    bytes: int = 1
    code: int = 1011
    chain: ChainFault = "expired"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            allowed = ", ".join(get_args(Kind))
            raise UsageError(f"kind: found {shown(self.kind)}; allowed: {allowed}")
        DPS_FAULT.check(asdict(self))
        fault = self._combination_fault()
        if fault:
            raise UsageError(f"fault: {fault}")

    def _combination_fault(self) -> str | None:
        """Say which members do not go together; None if all do."""
        hops, members = _RULES[self.kind]
        if self.hop is not None and self.hop not in hops:
            return f"{self.kind} cannot strike {self.hop}; allowed: {', '.join(hops)}"
        if self.kind == "answer":
            members = _ANSWERED_BY.get(self.hop, members[:-1])
        for name in self.to_json():
            if name not in (*ALWAYS, *members):
                at = f" at {self.hop}" if self.hop else ""
                allowed = ", ".join((*ALWAYS, *members))
                return f"{self.kind}{at} has no {name}; allowed: {allowed}"
        if self.device is not None and all(hop in NAMELESS for hop in self.hops):
            return (
                f"{self.kind} strikes {self.hops[0]}, when no device has a name yet;"
                " allowed: no device"
            )
        if self.status < 400 and self.body is None:
            return f"status {self.status} without a body; allowed: 400 to 599"
        if self.error_code is not None and self.error_code // 1000 != self.status:
            return f"error_code {self.error_code} with status {self.status}; allowed: its digits"
        if self.body is not None and (self.error_code is not None or self.message is not None):
            return "body with error_code or message; allowed: one or the other"
        return None

    @property
    def hops(self) -> tuple[str, ...]:
        """The legs that are struck."""
        if self.hop is not None:
            return (self.hop,)
        hops = _RULES[self.kind][0]
        return tuple(hop for hop in hops if hop in REQUESTS) or hops

    @property
    def full_error_code(self) -> int:
        """The six digits that go with ``status``."""
        return self.error_code or _CODES.get(self.status, self.status * 1000)

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
        orders: by number.
        last: the number that was given last.
    """

    orders: Mapping[int, Standing[Fault]] = field(default_factory=dict)
    last: int = 0

    def order(self, fault: Fault) -> "Faults":
        """Return the orders with one more, whose number is ``last``."""
        number = self.last + 1
        return Faults({**self.orders, number: Standing(fault)}, number)

    def cancel(self, number: int | None = None) -> "Faults":
        """Return the orders without one of them, or without all."""
        kept = {} if number is None else dict(self.orders)
        if number in kept:
            del kept[number]
        return replace(self, orders=kept)

    def concern(self, hop: str, registration_id: str = "") -> bool:
        """Whether an order may strike a leg of a device's way."""
        return any(_fits(standing.fault, hop, registration_id) for standing in self.orders.values())

    def strike(
        self, hop: str, registration_id: str, draw: Callable[[], float]
    ) -> "tuple[Fault | None, Faults]":
        """Return what goes wrong on a leg, None for nothing; and the orders that are left.

        Args:
            hop: the leg.
            registration_id: whose; empty where no device has a name yet.
            draw: returns a number from 0 to below 1, evenly; seeded, the same ones are struck.
        """
        struck, left = strike(self.orders, lambda fault: _fits(fault, hop, registration_id), draw)
        return struck, self if left == self.orders else replace(self, orders=left)

    def to_json(self) -> dict[str, Any]:
        """Return the orders as ``from_json`` takes them."""
        orders = [
            [number, standing.fault.to_json(), standing.seen]
            for number, standing in self.orders.items()
        ]
        return {"last": self.last, "orders": orders}

    @classmethod
    def from_json(cls, members: Any) -> "Faults":
        """Return the orders that ``to_json`` wrote."""
        orders = {
            number: Standing(parse_fault(fault), seen) for number, fault, seen in members["orders"]
        }
        return cls(orders, members["last"])


def _fits(fault: Fault, hop: str, registration_id: str) -> bool:
    theirs = fault.device is None or fault.device.lower() == registration_id.lower()
    return theirs and hop in fault.hops
