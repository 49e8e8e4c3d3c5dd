"""The reasons why a client is without a connection, for its errors and its log."""

from ..errors import ConnectionLost, MqttwsError
from ..hops import Cause
from ..protocol import AnswerIgnored, Event, MessageDiscarded
from .inbox import logger
from .receipt import Delivery

FIRST_WARNING = 4
"""Failed attempts in a row before the first warning; each further one after twice as many."""


class Troubles:
    """Lost connections and failed attempts.

    Attributes:
        count: how many there were; a call that began at another count met one.
        last: the newest; None before the first.
        ignored: how many acknowledgements fitted nothing.
    """

    def __init__(self) -> None:
        self.count: int = 0
        self.last: MqttwsError | None = None
        self.ignored: int = 0
        self._failed_in_a_row = 0
        self._seen: set[str] = set()

    def note(self, error: MqttwsError, *, attempt: bool = False) -> None:
        """Note a lost connection, or a failed ``attempt`` to renew it."""
        self.count += 1
        self.last = error
        if attempt:
            self._failed_in_a_row += 1
            tried = self._failed_in_a_row
            if tried >= FIRST_WARNING and tried & (tried - 1) == 0:
                logger.warning("%d attempts to reconnect have failed; the last: %s", tried, error)

    def clear(self) -> None:
        """Note that there is a connection."""
        self._failed_in_a_row = 0

    def since(self, count: int) -> MqttwsError | None:
        """Return the newest, if there was one since ``count``."""
        return self.last if self.count != count else None

    def note_downgrade(self, delivery: Delivery | None) -> None:
        """Log that the server ends QoS 2 with PUBACK; once."""
        if self._first("downgraded"):
            logger.warning("the server answers QoS 2 with PUBACK: at least once: %r", delivery)

    def note_oddity(self, event: Event, max_packet_size: int) -> None:
        """Count and log what changes nothing."""
        if isinstance(event, AnswerIgnored):
            self.ignored += 1
            if self._first("ignored"):
                logger.warning("ignored: %s (further ones are only counted)", event.error)
        elif isinstance(event, MessageDiscarded):
            logger.error(
                "acknowledged unread: a message of %d bytes to %r; max_packet_size is %d",
                event.size,
                event.topic,
                max_packet_size,
            )

    def _first(self, kind: str) -> bool:
        """Tell whether something of this kind is seen for the first time."""
        if kind in self._seen:
            return False
        self._seen.add(kind)
        return True

    def explain(self, error: MqttwsError, oldest: Delivery | None) -> MqttwsError:
        """Return the reason for a lost connection with what was under way on it."""
        if not isinstance(error, ConnectionLost) or error.cause is Cause.KEEP_ALIVE_EXPIRED:
            return error
        if oldest is not None:
            sent = f"PUBLISH to {oldest.topic!r} of {len(oldest.payload)} bytes (QoS {oldest.qos})"
            if not oldest.sent:
                sent = f"PUBREL for a message to {oldest.topic!r} that was given up"
            error.args = (f"{error}, after {sent}, not acknowledged",)
        elif error.cause is Cause.CLOSED and error.hint == ConnectionLost.usual_hint:
            error.hint = (
                "see the server's log; if it happens again and again, another client may use the"
                " same ClientId"
            )
        return error
