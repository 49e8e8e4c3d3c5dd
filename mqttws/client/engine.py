"""What keeps a client going: the session, its store, one link after another, and the state.

Resumes or renews the session on each link, and holds the server back while the application does
not keep up. Does not know what an application's calls look like, nor how a connection is come by.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import (
    ConnectFailed,
    ConnectionLost,
    MqttwsError,
    QueueFull,
    RequestTimedOut,
    StoreFailed,
    UsageError,
)
from ..hops import Hop
from ..net.hops import Walk
from ..protocol import ClientProtocol, MessageReceived, Session, State
from ..wire import REFUSED, Connect, Subscription
from . import clock
from .connector import Connector
from .inbox import Inbox, MessageStream, ReceivedMessage, logger
from .journal import CLOSE_TIMEOUT, Journal
from .link import Link
from .options import ClientState, Options
from .outgoing import Outgoing, Waits
from .receipt import Delivery
from .store import MemoryStore, Step, Stored
from .trace import tracer_for

MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""Bytes of messages that may wait for the application before the socket is left unread."""

MAX_UNREAD_BYTES_WAITING = 64 * 1024 * 1024
"""Bytes of messages that may wait for it while a call of its own awaits an answer behind them."""

FILTERS_PER_REQUEST = 64
"""Topic filters in one SUBSCRIBE when subscriptions are renewed."""


class Engine:
    """A client's inside; it owns its links.

    Attributes:
        state: where the client stands.
        link: the connection over which messages can be sent now; None without one.
        outgoing: publishes that have not ended.
        inbox: messages that wait for the application.
        connector: opens the connections.
    """

    def __init__(self, options: Options) -> None:
        self.state = ClientState.NEW
        self.error: MqttwsError | None = None
        self.link: Link | None = None
        self.outgoing = Outgoing(options.max_outgoing)
        self.inbox = Inbox(self._on_left)
        self.subscriptions: dict[str, int] = {}
        self.connector = Connector(options)
        self._options = options
        self._session = Session()
        self._epoch = 0
        self._journal: Journal | None = None
        self._waits = Waits(options.request_timeout, self.regulate)
        self._answers = 0  # other waits for the server
        self._opening: Link | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._for_link: list[asyncio.Future[None]] = []
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def persistent(self) -> bool:
        """Whether the server keeps the session when the connection ends."""
        return not self._options.connect.clean_session

    # What the application asks for

    def require_usable(self) -> None:
        """Refuse a call before connecting and after the end.

        Raises:
            UsageError: the client is not connected, or was disconnected.
            MqttwsError: why it ended.
        """
        if self.state is ClientState.CLOSED:
            if self.error is not None:
                raise self.error.with_traceback(None)
            raise UsageError("the client has been disconnected", hint="make a new client")
        if self.state in (ClientState.NEW, ClientState.CONNECTING):
            raise UsageError("the client is not connected", hint="await client.connect() first")

    def ended(self) -> bool:
        """Tell whether no message will come any more; raises why, if that was not asked for."""
        if self.state is not ClientState.CLOSED:
            return False
        if self.error is not None:
            raise self.error.with_traceback(None)
        return True

    async def connect(self, walk: Walk) -> bool:
        """Open the first connection; return whether the server has kept a session."""
        self._require_new()
        self._set_state(ClientState.CONNECTING, None)
        try:
            await self._load()
            return await self._attempt(walk)
        except BaseException as error:
            await self._close_journal()
            if self.state is ClientState.CONNECTING:  # another attempt is possible
                self._set_state(ClientState.NEW, error if isinstance(error, MqttwsError) else None)
            raise

    def _require_new(self) -> None:
        if self.state is not ClientState.NEW:
            raise UsageError("connect: a client is connected once; make a new one")

    def open_stream(self, topic_filter: str | None) -> MessageStream:
        """Open a stream of messages."""
        if self.state in (ClientState.NEW, ClientState.CONNECTING):
            self.require_usable()
        stream = MessageStream(self.inbox, topic_filter, self.ended)
        if topic_filter is not None:
            # Other streams that are opened in the same breath may want what this one did not.
            asyncio.get_running_loop().call_soon(self.inbox.sweep)
        return stream

    def require_room(self, delivery: Delivery, more: int = 0) -> None:
        """Refuse what would have to wait, beside ``more`` that are on their way here.

        Raises:
            QueueFull: nothing was sent.
        """
        self.outgoing.require_room(more)
        link = self.link  # read once: other threads ask too
        if not delivery.qos and link is not None and link.blocked:
            raise QueueFull("the outbox is full: the server takes bytes too slowly")

    def submit(self, delivery: Delivery) -> None:
        """Send a message, or queue it behind those that wait; the caller has seen to the room.

        Raises:
            UsageError: it breaks a rule; nothing was sent or queued.
        """
        if self.link is not None and not self.outgoing.queue:
            self.outgoing.send(self.link, delivery)
            delivery.accepted = True
            return
        delivery.packet.encode()  # what breaks a rule is told now, not when it is sent
        self.outgoing.enqueue(delivery)
        delivery.accepted = True
        self._store_soon()

    async def publish(self, delivery: Delivery) -> None:
        """Send a message; wait for room, and with QoS 1 and 2 for the end of the handshake.

        Raises:
            TimeoutError: it was not done in time; ``delivery`` goes on, if it was accepted.
        """
        self.require_usable()
        if self.outgoing.full:
            delivery.packet.encode()
            async with asyncio.timeout(self._options.request_timeout):
                await self.outgoing.room()
            self.require_usable()  # the client may have ended since there was room
        self.submit(delivery)
        if delivery.qos:
            await self._waits.wait(delivery.waiter(asyncio.get_running_loop()))
        elif self.link is None and self._journal is not None:
            await self.stored()  # accepted is what survives a crash

    async def drain(self, link: Link) -> None:
        """Wait until the server has taken enough of the outbox.

        Raises:
            TimeoutError: it did not in time.
        """
        self._answers += 1
        try:
            self.regulate()
            async with asyncio.timeout(self._options.request_timeout):
                await link.drain()
        finally:
            self._answers -= 1
            self.regulate()

    async def stored(self) -> None:
        """Wait until all that was queued so far is in the store."""
        if self._journal is None:
            return
        if self.link is not None:
            self.link.flush()
        else:
            self._store_soon()
        await self._journal.written()

    async def request(self, send: Callable[[ClientProtocol], int], what: str) -> Any:
        """Send a SUBSCRIBE or an UNSUBSCRIBE and wait for the answer, over connections if need be.

        Raises:
            RequestTimedOut: there was none in time.
            MqttwsError: why the client ended.
        """
        self._answers += 1
        timeout = self._options.request_timeout
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await self._connected()
                    try:
                        self.regulate()
                        return await link.request(send)
                    except MqttwsError:
                        if link is self.link or self.state is ClientState.CLOSED:
                            raise
        except TimeoutError as error:
            if isinstance(error, MqttwsError):
                raise
            raise RequestTimedOut(f"{what}: no answer within {timeout:g} s") from None
        finally:
            self._answers -= 1
            self.regulate()

    def acknowledge(self, message: ReceivedMessage) -> None:
        """Tell the server that a message is ours, as far as that can be told."""
        packet_id, came_on = message._packet_id, message._link
        if packet_id is None or self.state is ClientState.CLOSED:
            return
        link = self.link or self._opening
        if link is came_on and link.protocol.state is State.CONNECTED:
            link.protocol.acknowledge(packet_id)
        elif message.qos == 1 or came_on.epoch != self._epoch:
            return  # the server sends it again, or has forgotten it
        elif link is not None:
            link.protocol.acknowledge_earlier(packet_id)
        else:
            self._session.hand_over(packet_id)
        if link is None:
            self._store_soon()
        elif not link.flush_scheduled:
            link.flush_soon()

    def reconnect(self, timeout: float) -> None:
        """Leave the connection in order and open another one; nothing is lost in between."""
        self.require_usable()
        link = self.link
        if link is None:
            return  # another one is being opened already
        self.link = None
        self._set_state(ClientState.RECONNECTING, None)
        self._reconnecting = asyncio.get_running_loop().create_task(self._replace(link, timeout))

    async def disconnect(self, timeout: float) -> None:
        """Leave, and let go of everything, within ``timeout`` seconds."""
        if self.state is ClientState.NEW:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        link = self.link or self._opening
        try:
            if self.state is not ClientState.CLOSED:
                self._end(None)
                if self._reconnecting is not None:
                    self._reconnecting.cancel()
                    await asyncio.wait([self._reconnecting], timeout=timeout)
                if link is not None:
                    await link.close(max(0.0, until - loop.time()))
            await self._close_journal(max(0.0, until - loop.time()))
            if self._endings:
                await asyncio.wait(self._endings, timeout=max(0.0, until - loop.time()))
        finally:
            if link is not None:
                link.abort()
            for ending in self._endings:
                ending.cancel()

    def regulate(self) -> None:
        """Leave the socket unread while the application does not keep up.

        While a call awaits an answer the socket is read on, for the answer comes behind the
        messages; a second limit bounds what that may cost.
        """
        link, inbox = self.link, self.inbox
        if link is None:
            return
        answers = len(self._waits) + self._answers
        if answers and inbox.size > MAX_UNREAD_BYTES_WAITING:
            error = QueueFull(
                f"{inbox.size} bytes of messages wait unread while a call awaits its answer"
                " behind them; what was to be sent stays in flight",
                hint="read messages() faster, or in a task of its own",
            )
            self._waits.fail(error)
            link.fail_requests(error)
            answers = 0
        full = inbox.count >= self._options.max_queued or inbox.size >= MAX_UNREAD_BYTES
        link.set_reading(not full or answers > 0)

    # What the links tell

    def on_connected(self, link: Link, session_present: bool) -> None:
        """Learn whether the session goes on."""
        if not session_present:
            self._epoch += 1
        link.epoch = self._epoch

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
                link,
                self.acknowledge if self._options.manual_ack else None,
            )
        )
        if inbox.count >= self._options.max_queued or inbox.size >= MAX_UNREAD_BYTES:
            self.regulate()

    def on_completed(self, packet_id: int) -> None:
        """End a publish."""
        self.outgoing.complete(packet_id)

    def on_writable(self, link: Link) -> None:
        """Go on with the queue."""
        if link is self.link:
            self.outgoing.drain(link)

    def take_steps(self) -> list[Step]:
        """Return what the store must be told before anything more is sent."""
        return [*self.outgoing.take_steps(), *self._session.take_changes()]

    def on_end(self, link: Link, error: MqttwsError | None) -> None:
        """Learn that a link is over."""
        if link.closing is not None:
            self._keep(link.closing)
        if link is not self.link:
            return  # it was being opened: whoever opens it is told
        self.link = None
        if error is None or self.state is ClientState.CLOSED:
            return
        if not self.connector.note_loss(clock.now() - link.opened_at):
            self._end(error)
            return
        self._set_state(ClientState.RECONNECTING, error)
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

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
        if self.state is ClientState.CLOSED:
            raise asyncio.CancelledError  # it was asked for, and a password's function took it
        self._set_state(ClientState.RECONNECTING, reason)

    async def _attempt(self, walk: Walk) -> bool:
        """Open a connection, and bring the session up on it; return whether it was present."""
        stream = await self.connector.dial(walk)
        try:
            async with walk.hop(Hop.CONNECT, self._options.connect.client_id) as step:
                connect = await self.connector.connect_packet()
                link = self._new_link(connect)
                session_present = await link.open(stream)
                step.detail = "CONNACK 0, accepted"
            if self.subscriptions and not session_present:
                async with walk.hop(Hop.SUBSCRIBE, f"{len(self.subscriptions)} filters"):
                    await self._renew_subscriptions(link)
            self._take(link)
        except BaseException:
            stream.abort()
            if self._opening is not None:
                self._opening.abort()
            raise
        finally:
            self._opening = None
        return session_present

    def _new_link(self, connect: Connect) -> Link:
        if connect.clean_session:
            self.outgoing.requeue(self._session)
        options = self._options
        link = self._opening = Link(
            ClientProtocol(
                connect,
                session=self._session,
                max_packet_size=options.max_packet_size,
                answer_timeout=options.hop_timeout,
            ),
            self,
            journal=self._journal,
            tracer=tracer_for(options.max_packet_size, options.on_packet),
        )
        return link

    async def _renew_subscriptions(self, link: Link) -> None:
        """Ask again for what the server has forgotten."""
        wishes = [Subscription(*pair) for pair in self.subscriptions.items()]
        for at in range(0, len(wishes), FILTERS_PER_REQUEST):
            part = wishes[at : at + FILTERS_PER_REQUEST]
            codes = await link.request(partial(ClientProtocol.subscribe, subscriptions=part))
            for wish, code in zip(part, codes, strict=True):
                if code == REFUSED:
                    logger.warning("the server now refuses topic filter %r", wish.topic_filter)

    def _take(self, link: Link) -> None:
        """Let the application use a link."""
        if self.state is ClientState.CLOSED:
            raise ConnectionLost("the client was disconnected while it connected")
        if link.protocol.state is not State.CONNECTED:
            raise ConnectFailed(
                f"connect: the connection ended right after CONNACK: {link.error}",
                hop=Hop.CONNECT,
                hint="the server may not like this client: see its log",
            ) from link.error
        self.link = link
        self._set_state(ClientState.CONNECTED, None)
        self.outgoing.drain(link)
        link.flush_soon()
        self.regulate()
        self._wake_for_link()

    async def _connected(self) -> Link:
        """Wait for a connection."""
        while self.link is None:
            self.require_usable()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._for_link.append(future)
            await future
        return self.link

    def _wake_for_link(self) -> None:
        waiting, self._for_link = self._for_link, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # Inside: the store, and the end

    async def _load(self) -> None:
        """Go on with the stored session."""
        store = self._options.store
        if store is None:
            return
        if isinstance(store, MemoryStore):
            stored = store.stored
        else:
            journal = Journal(store, self._on_store_failure)
            stored = await journal.open(self._options.connect.client_id)
            self._journal = journal
            self.inbox.settle = self.stored
            stored.session.changes = []
        self._adopt(stored)

    def _adopt(self, stored: Stored) -> None:
        self._session = stored.session
        self.outgoing = Outgoing(self._options.max_outgoing)
        self.outgoing.recording = self._journal is not None
        self.outgoing.load(stored)

    def _store_soon(self) -> None:
        """Have what changed without a connection written."""
        if self._journal is not None:
            self._journal.submit(self.take_steps(), lambda: None)

    def _on_store_failure(self, error: StoreFailed) -> None:
        """Give up: what is not stored must not be sent."""
        link = self.link
        if self.state is not ClientState.CLOSED:
            self._end(error)
        if link is not None:
            link.give_up(error)

    async def _close_journal(self, timeout: float = CLOSE_TIMEOUT) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            await journal.close(timeout)

    def _end(self, error: MqttwsError | None) -> None:
        """End the client: everybody who waits is told."""
        self.error = error
        store = self._options.store
        if isinstance(store, MemoryStore):
            queue = {number: one.packet for number, one in enumerate(self.outgoing.queue, 1)}
            store.stored = Stored(self._session, queue)
        self._set_state(ClientState.CLOSED, error)
        self._waits.stop()
        told = error or ConnectionLost("the client was disconnected while this waited")
        self.outgoing.end(told)
        if self.persistent:  # the server keeps them for the session
            self.inbox.drop(lambda message: message.qos > 0)
        self.inbox.wake_all()
        self._wake_for_link()
        if error is not None and self._journal is not None:
            self._keep(asyncio.get_running_loop().create_task(self._close_journal()))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _set_state(self, state: ClientState, reason: MqttwsError | None) -> None:
        self.state = state
        if state is not ClientState.CONNECTED and reason is not None:
            logger.info("%s: %s", state.value, reason)
        if self._options.on_state is not None:
            try:
                self._options.on_state(state, reason)
            except Exception:
                logger.exception("on_state failed")

    # Inside: messages

    def _on_left(self, message: ReceivedMessage, wanted: bool) -> None:
        """Acknowledge what has been handed over, and see whether more may come."""
        if message._packet_id is not None and not (wanted and self._options.manual_ack):
            self.acknowledge(message)
        if self.link is not None and self.link.reading_paused:
            self.regulate()
