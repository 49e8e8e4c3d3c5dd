"""The session and its store: what outlives a connection, and what has to be written before bytes.

Loads and stores it, acknowledges messages on it, and decides what becomes of unfinished exchanges
when a connection ends. Does not know how connections are opened.
"""

import asyncio
import random
from collections.abc import Callable

from ..errors import ConnectionLost, MqttwsError, StoreFailed
from ..hops import Cause
from ..protocol import ClientProtocol, Session, State
from ..wire import Connect, Publish
from . import clock
from .inbox import logger
from .journal import CLOSE_TIMEOUT, Journal
from .link import Link
from .message import ReceivedMessage
from .options import Options
from .outgoing import Outgoing
from .receipt import Delivery
from .room import Limits
from .store import FailedForgotten, MemoryStore, Step, Stored
from .suspect import Suspect

LOOKS = 8
"""Looks within ``hop_timeout`` at whether the server has a message that went alone."""


class SessionKeeper:
    """A client's session.

    Args:
        options: of the client.
        on_store_failure: called if the store cannot be written any more.
        subscription: the one that may be under suspicion; messages are sent behind it.

    Attributes:
        session: unfinished exchanges.
        outgoing: publishes that have not ended.
        journal: writes to the store; None where there is none.
        oversized: messages above ``max_packet_size`` that ended connections one after another;
            from ``LOSSES`` on they are acknowledged without being read.
    """

    def __init__(
        self,
        options: Options,
        on_store_failure: Callable[[StoreFailed], None],
        subscription: Suspect,
    ) -> None:
        self.session: Session = Session()
        self.outgoing: Outgoing = Outgoing(
            Limits(
                options.max_outgoing,
                options.max_outgoing_bytes,
                options.max_in_flight,
                options.max_in_flight_qos2,
            )
        )
        self.journal: Journal | None = None
        self.oversized: Suspect = Suspect()
        self._options = options
        self._on_store_failure = on_store_failure
        self._suspect = Suspect()
        self._subscription = subscription
        self._timer: asyncio.TimerHandle | None = None  # while the suspect goes alone
        self._begun_at: float | None = None  # when what is unfinished was sent on it, or held back
        self._position: int | None = None  # in the connection's bytes, behind the suspect
        self._taken_at: float | None = None  # when the server was seen to have it whole
        self._since = 0  # number of the connection on which the server's session began
        self._failed: dict[int, tuple[Publish, str]] = {}
        self._adopt(Stored())

    @property
    def persistent(self) -> bool:
        """Whether the server keeps the session when the connection ends."""
        return not self._options.connect.clean_session

    async def load(self) -> None:
        """Go on with the stored session.

        Raises:
            StoreFailed: it cannot be opened, or holds what no session is.
        """
        store = self._options.store
        if store is None:
            return
        if isinstance(store, MemoryStore):
            self._adopt(store.stored)
            return
        journal = Journal(store, self._on_store_failure)
        stored = await journal.open(self._options.connect.client_id)
        self.journal = journal
        stored.session.changes = []
        self._adopt(stored)

    def _adopt(self, stored: Stored) -> None:
        self.session = stored.session
        # A server may remember identifiers that we do not: a clash is to be 1 in 65535.
        self.session.begin_anew(random.randrange(65536))  # noqa: S311 - spread, not secrecy
        self.outgoing.recording = self.journal is not None
        self.outgoing.load(stored)
        self._failed = stored.failed

    # Connections

    def begin(self, connect: Connect) -> ClientProtocol:
        """Prepare the session for a new connection, and return its protocol."""
        if self._options.connect.clean_session:
            self._requeue(None)
        else:
            self.outgoing.end_connection()
        self._begun_at = self._position = self._taken_at = None
        options = self._options
        return ClientProtocol(
            connect,
            session=self.session,
            max_packet_size=options.max_packet_size,
            answer_timeout=options.hop_timeout,
            strict=options.strict,
            discard_oversized=self.oversized.alone,
            resend=not self._suspect.alone and not self._subscription.alone,
        )

    def on_connected(self, link: Link, session_present: bool) -> None:
        """Record whether the server resumed the session (SessionPresent of its CONNACK)."""
        if not session_present:
            self._since = link.number
            self.outgoing.releases.clear()

    def attach(self, link: Link) -> None:
        """Send on a new connection what waits, now or behind a subscription under suspicion."""
        oldest, hold = self._suspect.oldest, self._suspect.hold
        alone = oldest if self._suspect.alone and isinstance(oldest, Delivery) else None
        self.outgoing.attach(link, alone, held=hold > 0)
        self._begun_at = clock.now()
        if self.outgoing.held:
            self._timer = link.loop.call_later(hold, self._let_go, link)
        else:
            self._look_later(link)

    def _let_go(self, link: Link) -> None:
        """Send the suspect: the connection has held without it."""
        self._begun_at = clock.now()
        self.outgoing.let_go()
        self._look_later(link)

    def _look_later(self, link: Link) -> None:
        self._timer = None
        if self.outgoing.alone is not None:
            wait = self._options.hop_timeout / LOOKS
            self._timer = link.loop.call_later(wait, self._look, link)

    def _look(self, link: Link) -> None:
        """Let the others follow once the server has had the suspect for long, and has not left.

        It may never answer it. What is sent beside it, such as acknowledgements, does not count.
        """
        now = clock.now()
        if self._position is None:
            self._position = link.position
        if self._taken_at is None:
            if self._position is not None and link.has_taken(self._position):
                self._taken_at = now
        elif now - self._taken_at >= self._options.hop_timeout and self.outgoing.alone is not None:
            self._suspect.clear()
            self.outgoing.acquit()
        self._look_later(link)

    def detach(self) -> None:
        """Do without a connection."""
        self.outgoing.detach()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_lost(self, link: Link, error: MqttwsError) -> None:
        """Judge what was under way when a connection was lost."""
        outgoing = self.outgoing
        outgoing.end_connection()
        oldest = outgoing.oldest()
        guilty = False
        if self._begun_at is not None:  # else a subscription was under suspicion
            lasted = clock.now() - (self._taken_at or self._begun_at)
            if outgoing.held:
                self._suspect.note_cut(lasted)
            else:
                taken = self._taken_at is not None or link.sent_whole
                refused = lasted if _refused(error, taken) else None
                guilty = self._suspect.note_loss(oldest, refused)
        if guilty and oldest is not None:
            logger.error("given up: %r: the server ends each connection for it: %s", oldest, error)
            outgoing.give_up(oldest, error)
            self._note_failed()
        self.note_oversized(error)
        if self._options.connect.clean_session:
            self._requeue(error)
        self.store_soon(None)

    def note_oversized(self, error: BaseException | None) -> bool:
        """Count a connection that a message above ``max_packet_size`` ended.

        Return whether the next one may get past it: from ``LOSSES`` in a row on, such messages are
        acknowledged unread.
        """
        known = self.oversized.alone
        too_large = isinstance(error, MqttwsError) and error.cause is Cause.PACKET_TOO_LARGE
        self.oversized.note_loss("oversized" if too_large else None, refused=None)
        return too_large and not known

    def on_restarted(self, packet_id: int) -> None:
        """Log that a message is published anew, since the server has lost the session."""
        delivery = self.outgoing.in_flight.get(packet_id)
        logger.warning("the server has lost the session: published anew after PUBREC: %r", delivery)

    def _requeue(self, error: MqttwsError | None) -> None:
        republish = self._options.after_pubrec == "republish"
        again = self.outgoing.requeue(republish, error)
        self._note_failed()
        if again:
            logger.warning("%d QoS 2 messages are published anew after their PUBREC", again)

    # Messages from the server

    def acknowledge(self, message: ReceivedMessage, link: Link | None) -> None:
        """Acknowledge a message to the server, as far as that can be done.

        Args:
            message: as it came; one without an acknowledgement is left alone.
            link: the connection, opening or open; None without one.
        """
        packet_id, message._packet_id = message._packet_id, None
        if packet_id is None:
            return
        if (
            link is not None
            and link.number == message._link_number
            and link.protocol.state is State.CONNECTED
        ):
            link.protocol.acknowledge(packet_id)
        elif message.qos == 1 or message._link_number < self._since:
            return  # the server sends it again, or has forgotten it
        elif link is not None:
            link.protocol.acknowledge_earlier(packet_id)
        else:
            self.session.hand_over(packet_id)
        self.store_soon(link)

    # The store

    def take_steps(self) -> list[Step]:
        """Return what the store must know before anything more is sent."""
        return [*self.outgoing.take_steps(), *self.session.take_changes()]

    def store_soon(self, link: Link | None) -> None:
        """Have what changed written: with what is sent next, or by itself without a connection."""
        if link is not None:
            if not link.flush_scheduled:
                link.flush_soon()
        elif self.journal is not None:
            self.journal.submit(self.take_steps(), lambda: None)

    async def flush(self, link: Link | None) -> None:
        """Wait until all that was queued so far is in the store."""
        if self.journal is None:
            return
        if link is not None:
            link.flush()
        else:
            self.store_soon(None)
        await self.journal.written()

    def failed(self, forget: bool) -> list[tuple[Publish, str]]:
        """Return the messages that were given up, and why; ``forget`` empties the list."""
        found = list(self._failed.values())
        if forget and found:
            self._failed.clear()
            self.outgoing.record(FailedForgotten())
        return found

    def _note_failed(self) -> None:
        self._failed.update(self.outgoing.take_failed())

    def end(self, error: MqttwsError | None) -> tuple[int, int]:
        """End with the client; return how many messages were not sent, and not acknowledged."""
        store = self._options.store
        if isinstance(store, MemoryStore):
            waiting = (one for one in self.outgoing.queue if not one.done)
            queue = {number: one.packet for number, one in enumerate(waiting, 1)}
            store.stored = Stored(self.session, queue, self._failed)
        return self.outgoing.end(error)

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Let go of the store, within ``timeout`` seconds."""
        journal, self.journal = self.journal, None
        if journal is not None:
            await journal.close(timeout)


def _refused(error: MqttwsError, taken: bool) -> bool:
    """Tell whether the server itself ended a connection for what was sent last on it.

    A close frame that says "too big" may come before the rest of the message is taken; any other
    end counts only after it was, and never a reset or a silence.
    """
    if not isinstance(error, ConnectionLost) or error.cause is Cause.KEEP_ALIVE_EXPIRED:
        return False
    if error.cause is Cause.MESSAGE_TOO_LARGE:
        return True
    return error.cause is Cause.CLOSED and taken
