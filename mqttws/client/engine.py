"""The client's engine: its states, one connection after another, and its end.

Calls downwards only: the session in ``session_keeper``, subscriptions in ``requests``,
back-pressure in ``reading``, messages in ``inbox``, one connection in ``link``. Does not know what
an application's calls look like, nor how connections are opened.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from ..errors import ConnectFailed, ConnectionLost, MqttwsError, StoreFailed, UsageError
from ..hops import Cause, Hop
from ..net.hops import Walk
from ..protocol import (
    Event,
    MessageReceived,
    PublishCompleted,
    PublishRestarted,
    State,
)
from . import clock
from .connector import Connector
from .inbox import MAX_UNREAD_BYTES, Inbox
from .leaving import Leaving
from .link import Link
from .message import ReceivedMessage
from .opening import Opening
from .options import ClientState, Options
from .outgoing import Outgoing
from .reading import Reading
from .receipt import Delivery
from .requests import Requests
from .session_keeper import SessionKeeper
from .standing import Standing
from .store import Step
from .streams import MessageStream
from .suspect import Suspect
from .trouble import Troubles


class Engine(Standing):
    """A client's inside; it owns its links.

    Attributes:
        link: the connection over which messages can be sent now; None without one.
        session_present: whether the server had kept the session when it was last connected.
        keeper: the session.
        outgoing: publishes that have not ended.
        inbox: messages that wait for the application.
        connector: opens the connections.
        requests: subscriptions.
        troubles: the reasons for lost connections and failed attempts.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options.on_state)
        self.link: Link | None = None
        self.session_present: bool = False
        self.connector: Connector = Connector(options)
        subscription = Suspect()
        self.keeper: SessionKeeper = SessionKeeper(options, self._on_store_failure, subscription)
        self.outgoing: Outgoing = self.keeper.outgoing
        self.outgoing.on_queued = lambda: self.keeper.store_soon(self.link)
        self.inbox: Inbox = Inbox(
            self._on_taken, self.acknowledge, options.max_queued, options.unmatched_wait
        )
        self.reading: Reading = Reading(self.inbox, options.max_queued, options.request_timeout)
        self.inbox.on_given_up = self.reading.regulate
        self.requests: Requests = Requests(self.reading, self.inbox.patience, options, subscription)
        self.troubles: Troubles = Troubles()
        self._options = options
        self._leaving = Leaving()
        self._opening = Opening(options, self.connector, self.keeper, self)
        self._reconnecting: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._on_message_ack = self.acknowledge if options.manual_ack else None

    # Calls of the application

    async def connect(self, walk: Walk) -> None:
        """Open the first connection."""
        if self.state is not ClientState.NEW:
            raise UsageError(
                "connect: a client is connected once; make a new one", cause=Cause.WRONG_MOMENT
            )
        self.require_loop()
        self.loop = asyncio.get_running_loop()
        self._set_state(ClientState.CONNECTING, None)
        try:
            await self.keeper.load()
            if self.keeper.journal is not None:
                self.inbox.settle = self.flush
            while True:
                try:
                    return await self._attempt(walk)
                except ConnectFailed as error:
                    if not self.keeper.note_oversized(error.__cause__):
                        raise
        except BaseException as error:
            await self.keeper.close()
            if not self.over:  # another attempt is possible
                self.loop = None
                self._set_state(ClientState.NEW, error if isinstance(error, MqttwsError) else None)
            raise

    def open_stream(self, topic_filter: str | None) -> MessageStream:
        """Open a stream of messages, before the connection or later."""
        return MessageStream(self.inbox, topic_filter, self.ended)

    async def publish(self, delivery: Delivery) -> None:
        """Send a message; wait for room, and with QoS 1 and 2 for the end of the handshake.

        Raises:
            TimeoutError: it was not done in time; ``delivery`` goes on, if it was accepted.
        """
        if self.link is None or self.leaving:  # hot: with a connection it is usable
            self.require_usable()
        loop = self.require_loop()
        outgoing = self.outgoing
        if outgoing.room.full:
            delivery.packet.encode()
            async with asyncio.timeout(self._options.request_timeout):
                await outgoing.room.wait()
            self.require_usable()  # the client may have ended since there was room
        outgoing.submit(delivery)
        if delivery.qos:
            waiter = delivery._waiter(loop)
            try:
                await self.reading.waits.wait(waiter)
            except BaseException:
                delivery._forget(waiter)
                raise
        elif self.link is None and self.keeper.journal is not None:
            await self.flush()  # accepted is what survives a crash

    def begin_publish(
        self, delivery: Delivery, late: Callable[[], BaseException]
    ) -> "asyncio.Future[None] | None":
        """Send a message of QoS 1 or 2 and return the future of its end; None if there is no room.

        ``late`` makes the error of an end that does not come in time; ``delivery`` then goes on.
        """
        self.require_usable()
        loop = self.require_loop()
        if self.outgoing.room.full:
            return None
        self.outgoing.submit(delivery)
        waits = self.reading.waits
        waiter = delivery._waiter(loop)
        waits.enter(waiter, late)

        def on_done(waiter: "asyncio.Future[None]") -> None:
            waits.leave(waiter)
            delivery._forget(waiter)

        waiter.add_done_callback(on_done)
        return waiter

    async def drain(self, link: Link) -> None:
        """Wait until the server has taken enough of the outbox.

        Raises:
            TimeoutError: it did not in time.
        """
        self.reading.begin_answer()
        try:
            async with asyncio.timeout(self._options.request_timeout):
                await link.drain()
        finally:
            self.reading.end_answer()

    async def flush(self) -> None:
        """Wait until all that was queued so far is in the store."""
        await self.keeper.flush(self.link)

    def current_link(self) -> Link | None:
        """Return the connection; None while there is none; raises the reason for the end."""
        if self.link is None:
            self.require_usable()
        return self.link

    def acknowledge(self, message: ReceivedMessage) -> None:
        """Acknowledge a message to the server, as far as that can be done."""
        if message._packet_id is not None and self.state is not ClientState.CLOSED:
            self.keeper.acknowledge(message, self.link or self._opening.link)

    def reconnect(self, timeout: float) -> None:
        """Leave the connection in order and open another one; nothing is lost in between."""
        self.require_usable()
        link = self.link
        if link is None:
            return  # another one is being opened already
        self._detach()
        self.requests.stop()
        self._set_state(ClientState.RECONNECTING, None)
        self._reconnecting = link.loop.create_task(self._replace(link, timeout))

    async def disconnect(self, timeout: float) -> None:
        """Leave in order, and let go of everything, within ``timeout`` seconds."""
        if self.state is ClientState.NEW:
            return
        self.require_loop()
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        link = self.link or self._opening.link
        try:
            if self.state is not ClientState.CLOSED:
                self.leaving = True
                await self._leaving.finish(self.outgoing, self.state, timeout)
                link = self.link or self._opening.link
            if self.state is not ClientState.CLOSED:
                self._opening.left = link
                self._end(None)
                await self._stop_reconnecting(until)
                if link is not None:
                    await link.close(self._leaving.time_to_close(until - loop.time()))
            await self.keeper.close(max(0.0, until - loop.time()))
            if self._endings:
                await asyncio.wait(self._endings, timeout=max(0.0, until - loop.time()))
        finally:
            if link is not None:
                link.abort()
            for ending in self._endings:
                ending.cancel()
            if self.keeper.journal is not None:  # an exception came in between
                await self.keeper.close(0.0)

    async def _stop_reconnecting(self, until: float) -> None:
        task = self._reconnecting
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=max(0.0, until - asyncio.get_running_loop().time()))

    # What the links report

    def on_connected(self, link: Link, session_present: bool) -> None:
        """Note whether the session goes on."""
        self.session_present = session_present
        self.keeper.on_connected(link, session_present)

    def on_message(self, link: Link, event: MessageReceived) -> None:
        """Sort a message into its stream."""
        inbox = self.inbox
        inbox.put(
            ReceivedMessage(
                event.topic,
                event.payload,
                event.qos,
                event.retain,
                event.dup,
                event.packet_id,
                link.number,
                self._on_message_ack,
            )
        )
        reading = self.reading
        if inbox.count >= reading.max_queued or inbox.size >= MAX_UNREAD_BYTES:  # hot: as its full
            reading.regulate()

    def on_completed(self, event: PublishCompleted) -> None:
        """End a publish."""
        delivery = self.outgoing.complete(event.packet_id, event.downgraded)
        if event.downgraded:
            self.troubles.note_downgrade(delivery)

    def on_oddity(self, link: Link, event: Event) -> None:
        """Count and log what changes nothing."""
        if isinstance(event, PublishRestarted):
            self.keeper.on_restarted(event.packet_id)
        else:
            self.troubles.note_oddity(event, self._options.max_packet_size)

    def on_ready(self, link: Link) -> None:
        """Go on with the queue."""
        if link is self.link:
            self.outgoing.drain()

    def take_steps(self) -> list[Step]:
        """Return what the store must know before anything more is sent."""
        return self.keeper.take_steps()

    def on_end(self, link: Link, error: MqttwsError | None) -> None:
        """Handle the end of a link."""
        if link.closing is not None:
            self._keep(link.closing)
        if link is not self.link:
            return  # it was being opened: the attempt ends with its error
        self._detach()
        if error is None or self.state is ClientState.CLOSED:
            return
        error = self.troubles.explain(error, self.outgoing.oldest())
        self.requests.on_lost(refused=error.cause is Cause.CLOSED and link.sent_whole)
        self.keeper.on_lost(link, error)
        if not self.connector.note_loss(clock.now() - link.opened_at):
            self._end(error)
            return
        self.troubles.note(error)
        self._set_state(ClientState.RECONNECTING, error)
        self._reconnecting = link.loop.create_task(self._reconnect())

    # Inside: connecting

    async def _replace(self, link: Link, timeout: float) -> None:
        """Leave a connection, and open another one without delay."""
        try:
            await link.close(timeout)
        finally:
            link.abort()
        await self._reconnect(at_once=True)

    async def _reconnect(self, *, at_once: bool = False) -> None:
        """Try until there is a connection, or a reason to give up."""
        reason = await self.connector.try_again(
            self._attempt, self._on_failed_attempt, at_once=at_once
        )
        if reason is not None and self.state is not ClientState.CLOSED:
            self._end(reason)

    def _on_failed_attempt(self, reason: MqttwsError) -> None:
        self.keeper.note_oversized(reason.__cause__)
        if self.state is ClientState.CLOSED:
            raise asyncio.CancelledError  # it was asked for, and a password's function took it
        self.troubles.note(reason, attempt=True)
        self._set_state(ClientState.RECONNECTING, reason)

    async def _attempt(self, walk: Walk) -> None:
        await self._opening.attempt(walk, self._take)

    def _take(self, link: Link, session_present: bool) -> None:
        """Let the application use a link."""
        if self.state is ClientState.CLOSED:
            raise ConnectionLost(
                "the client was disconnected while it connected", cause=Cause.DISCONNECTED
            )
        if link.protocol.state is not State.CONNECTED:
            raise ConnectFailed(
                f"connect: the connection ended right after CONNACK: {link.error}",
                hop=Hop.CONNECT,
                cause=Cause.CUT_OFF,
                hint="the server may not accept this client: see its log",
            ) from link.error
        self.link = self.reading.link = link
        self.troubles.clear()
        self._set_state(ClientState.CONNECTED, None)
        self.requests.renew(link, session_present, partial(self.keeper.attach, link))
        link.flush_soon()
        self.reading.regulate()
        self.requests.wake()
        self.inbox.patience.begin(link.loop)

    def _detach(self) -> None:
        """Do without the present connection."""
        self.link = self.reading.link = None
        self.keeper.detach()
        self.inbox.patience.stop()

    # Inside: the end

    def abandon(self) -> None:
        """Leave at once: the client was dropped."""
        if self.loop is not None:
            self._keep(self.loop.create_task(self.disconnect(0.0)))

    def _on_store_failure(self, error: StoreFailed) -> None:
        """Give up: what is not stored must not be sent."""
        link = self.link
        if self.state is not ClientState.CLOSED:
            self._end(error)
        if link is not None:
            link.give_up(error)

    def _end(self, error: MqttwsError | None) -> None:
        """End the client, and every call that waits."""
        self.error = error
        self._detach()
        self._set_state(ClientState.CLOSED, error)
        self.requests.stop()
        self.reading.waits.stop()
        self._leaving.report(*self.keeper.end(error))
        if self.keeper.persistent:  # the server keeps what it was not acknowledged
            self.inbox.drop(lambda message: message._packet_id is not None)
        self.inbox.wake_all()
        self.requests.wake()
        if error is not None and self.keeper.journal is not None and self.loop is not None:
            self._keep(self.loop.create_task(self.keeper.close()))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _on_taken(self, message: ReceivedMessage) -> None:
        """Acknowledge what has been handed over, and see whether more may come."""
        if self._on_message_ack is None and message._packet_id is not None:
            self.acknowledge(message)
        link = self.link
        if link is not None and link.reading_paused:
            self.reading.regulate()
