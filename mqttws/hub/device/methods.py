"""Direct methods of a device: which handler serves which call, and which calls are open.

Knows names, request ids and statuses. Does not call a handler (``iot-hub-devguide-direct-``
``methods.md``).
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...errors import UsageError
from ...options import METHOD_RESPONSE

MAX_PAYLOAD = 128 * 1024
"""Bytes of a method's payload, in both directions."""

OK = 200
BAD_REQUEST = 400
NOT_FOUND = 404
TOO_MANY = 429
FAILED = 500
NOT_IN_TIME = 504
"""Statuses that this side sends by itself; an application may send any whole number."""


@dataclass(frozen=True, slots=True)
class MethodRequest:
    """A call of a direct method.

    Attributes:
        name: the method's.
        payload: the JSON value that came with it; None for null and for none.
        request_id: the hub's name for this call.
    """

    name: str
    payload: Any
    request_id: str


@dataclass(frozen=True, slots=True)
class MethodResponse:
    """The answer to a call of a direct method.

    Attributes:
        status: any whole number; 200 for success, as is usual.
        payload: a JSON value, at most 128 KB as text.
    """

    status: int = OK
    payload: Any = None

    def __post_init__(self) -> None:
        if type(self.status) is not int or not -(2**31) <= self.status < 2**31:
            raise UsageError(f"method status {self.status!r}; allowed: a whole number of 32 bits")
        METHOD_RESPONSE.check({"payload": self.payload})


H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Entry(Generic[H]):
    """A handler, and the seconds that it may take."""

    handler: H
    time_limit: float


class MethodTable(Generic[H]):
    """The handlers by method name; one of them may serve all other names."""

    def __init__(self) -> None:
        self._entries: dict[str | None, Entry[H]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, name: str | None, handler: H, time_limit: float) -> None:
        """Let a handler serve a method; None for every method without a handler of its own.

        Raises:
            UsageError: the name is not one, is taken, or the time limit is not one.
        """
        if name is not None and (not isinstance(name, str) or not name or set(name) & set("/+#")):
            raise UsageError(f"method name {name!r}; allowed: text without /, + and #, or None")
        if not callable(handler):
            raise UsageError(f"method {name!r}: found {type(handler).__name__}; allowed: callable")
        if name in self._entries:
            raise UsageError(f"method {name!r} has a handler already")
        if not 0 < time_limit <= 300:
            raise UsageError(
                f"method {name!r}: time limit {time_limit!r}; allowed: above 0 to 300 s"
            )
        self._entries[name] = Entry(handler, time_limit)

    def find(self, name: str) -> Entry[H] | None:
        """Return the entry that serves a method; None without one."""
        return self._entries.get(name) or self._entries.get(None)


@dataclass(slots=True)
class Call:
    """A call that was not answered yet.

    Attributes:
        request: the call.
        connection: the number of the connection that it came on.
    """

    request: MethodRequest
    connection: int


class OpenCalls:
    """The calls that are being handled, each once.

    The hub chooses request ids, and may begin to count anew on each connection. So an id is taken
    for a repetition only on the connection on which it came first; on a newer one it is another
    call, and the answer to the older call is not sent, because it would answer the newer one.

    Args:
        limit: calls that may be open at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, Call] = {}
        self._answered: set[str] = set()
        self._connection = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether as many calls are open as may be."""
        return len(self._open) >= self._limit

    def on_connection(self, connection: int) -> None:
        """Note which connection the next calls come on."""
        if connection != self._connection:
            self._connection = connection
            self._answered.clear()

    def begin(self, request: MethodRequest) -> Call | None:
        """Open a call; None if it is a repetition."""
        request_id = request.request_id
        older = self._open.get(request_id)
        if request_id in self._answered:
            return None
        if older is not None and older.connection == self._connection:
            return None
        call = self._open[request_id] = Call(request, self._connection)
        return call

    def finish(self, call: Call) -> bool:
        """Close a call; return whether its answer may be sent."""
        if self._open.get(call.request.request_id) is not call:
            return False  # the id belongs to a newer call
        del self._open[call.request.request_id]
        if call.connection == self._connection:
            self._answered.add(call.request.request_id)
        return True
