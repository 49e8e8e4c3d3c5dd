"""AsyncClient: an MQTT 3.1.1 client for asyncio, over WebSocket and over TCP, with TLS or without.

What an application sees: its calls, their arguments and their errors. What keeps it going is in
``engine``, one connection in ``link``; the rules of MQTT are not here.
"""

import warnings
from asyncio import get_running_loop
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from ..errors import MqttwsError, RequestTimedOut
from ..loop_thread import AsyncOnly
from ..net.hops import OnStep, Walk
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.stream import CLOSE_TIMEOUT
from ..net.tls import Tls
from ..options import CLIENT, LEAVE, PUBLISH, REDIRECT, SUBSCRIBE
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from ..wire import DEFAULT_MAX_PACKET_SIZE, Connect, Unsubscribe, Will
from .arguments import Payload, payload_bytes, subscriptions_of
from .connector import checked_headers, targets_of
from .engine import Engine
from .facts import Facts
from .leaving import LEAVE_TIMEOUT
from .link import Link
from .options import (
    PASSED_ON,
    ClientState,
    HeadersOption,
    OnAttemptFailed,
    OnState,
    Options,
    Password,
    Url,
    Urls,
    password_bytes,
    warn_of_clear_text,
)
from .receipt import Receipt, late
from .store import MemoryStore, Store
from .streams import MessageStream
from .trace import OnPacket


class AsyncClient(Facts, AsyncOnly):
    """An MQTT 3.1.1 client for asyncio.

    >>> async with AsyncClient("wss://broker.example/mqtt") as client:
    ...     await client.subscribe("sensors/#", qos=1)
    ...     await client.publish("sensors/a", b"21.5", qos=1)
    ...     async for message in client.messages():
    ...         print(message.topic, message.payload)

    Every call ends in a result or in an error of ``mqttws.errors``, within its time limit. Once
    connected, a lost connection is renewed: the session is resumed or its subscriptions renewed,
    what was not acknowledged is sent again, and what is published meanwhile waits in a queue.

    Args:
        url: ``wss://host[:443]/path``, ``mqtts://host[:8883]``; ``ws://`` and ``mqtt://`` without
            TLS. Several are tried with a short head start each, the one that worked first. Or a
            function, plain or async, that returns them for each connection (presigned URLs).
        client_id: at most 65535 bytes of UTF-8; empty lets the server choose one.
        username: None for none.
        password: bytes or text, or a function, plain or async, that returns a fresh one for each
            connection (a plain one holds up the loop meanwhile); needs a username. Shown nowhere.
        clean_session: whether server and client forget what was before and after each connection.
            QoS 2 is exactly once across connections only with ``False``; see ``after_pubrec``.
        keep_alive: seconds, 0 to 65535, within which a dead link is noticed; 0 for never.
        will: what the server publishes when this client is lost.
        tls: whom to trust: a ``TlsConfig``, or an ``ssl.SSLContext`` that is used as it is.
        proxy: a URL (``http://``, ``https://``, ``socks5://``, ``socks5h://``, ``socks4a://``), a
            ``ProxyConfig``, ``environment`` for what the environment's variables say, ``none`` or
            None for no proxy.
        connect_timeout: seconds for each attempt to connect.
        hop_timeout: seconds for each of its hops.
        request_timeout: seconds for the answer to a publish, subscribe or unsubscribe, the time
            without a connection included.
        max_packet_size: bytes of the largest packet that the server may send.
        max_queued: messages that may wait unread, in all streams together; above it the socket is
            left unread, which holds the server back.
        max_outgoing: publishes that may be unfinished, in flight or in the queue; 1 to 60000.
        max_outgoing_bytes: bytes that they may take together.
        max_in_flight: publishes of QoS 1 and 2 that may wait for their acknowledgement; the rest
            waits in the queue, in the order of the calls, and QoS 0 behind it too.
        max_in_flight_qos2: those of QoS 2 among them; while there are so many, QoS 1 waits too. A
            server drops what is above its own limit (mosquitto's is 20), though it acknowledges it.
        after_pubrec: what becomes of a QoS 2 message whose connection is lost after PUBREC with
            ``clean_session=True``: ``unknown`` ends it in ``DeliveryUnknown``, ``republish`` sends
            it again, so that it arrives at least once.
        unmatched_wait: seconds after CONNACK during which a message of QoS 1 or 2 that fits no
            open stream stays unacknowledged; then it is acknowledged and kept for a stream that is
            opened later, the newest ``max_queued`` of them. Time in which ``subscribe`` awaits its
            answer does not count. None acknowledges none unread.
        strict: whether an acknowledgement that fits nothing, or DUP with QoS 0, ends the
            connection; otherwise it is counted in ``ignored``, and logged once.
        headers: HTTP headers for the WebSocket upgrade, or a function that returns them for each
            connection. Their values are shown nowhere.
        reconnect: how long to wait between attempts; None does not reconnect: a lost connection
            ends the client.
        refused_login_retry: seconds before a login that a proxy refused is sent again; None ends
            the client then. A ``ProxyConfig`` with a function for the login is asked again at once.
        store: where the session lives: a ``SqliteStore`` keeps it across a crash, a
            ``MemoryStore`` can be passed on to another client; None keeps it for this client.
        manual_ack: acknowledge by ``message.ack()``, and not when a message is handed out.
        on_step: called with each hop of each attempt to connect.
        on_packet: called with each packet sent (``>``) and received (``<``), secrets included.
        on_state: called with each change of ``state`` and its reason.
        on_attempt_failed: a function, plain or async, asked after each failed attempt to
            reconnect: True for another one whatever the error, False for the client's end, None
            for what the client does by itself. It may ``redirect`` the client.
    """

    def __init__(
        self,
        url: Url,
        *,
        client_id: str = "",
        username: str | None = None,
        password: Password = None,
        clean_session: bool = True,
        keep_alive: int = 60,
        will: Will | None = None,
        tls: Tls = None,
        proxy: ProxyChoice = ENVIRONMENT,
        connect_timeout: float = 30.0,
        hop_timeout: float = 15.0,
        request_timeout: float = 30.0,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
        max_queued: int = 1000,
        max_outgoing: int = 10_000,
        max_outgoing_bytes: int = 64 * 1024 * 1024,
        max_in_flight: int = 100,
        max_in_flight_qos2: int = 20,
        after_pubrec: str = "unknown",
        unmatched_wait: float | None = 10.0,
        strict: bool = False,
        headers: HeadersOption = None,
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - a value, never changed
        refused_login_retry: float | None = REFUSED_LOGIN_WAIT,
        store: Store | MemoryStore | None = None,
        manual_ack: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        on_attempt_failed: OnAttemptFailed | None = None,
    ) -> None:
        given = CLIENT.check(locals())
        if not callable(headers):
            checked_headers(headers)
        targets = [] if callable(url) else targets_of(url)
        fixed = None if password is None or callable(password) else password_bytes(password)
        placeholder = b"" if callable(password) else fixed
        connect = Connect(client_id, username, placeholder, clean_session, keep_alive, will)
        connect.encode()  # a bad argument is reported here, not at connect
        if password is not None:
            warn_of_clear_text(targets)
        self._client_id = client_id
        self._request_timeout = request_timeout
        self._engine = Engine(
            Options(
                targets=targets,
                make_url=url if callable(url) else None,
                connect=connect,
                **{name: given[name] for name in PASSED_ON},
            )
        )
        self._outgoing = self._engine.outgoing

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        engine = getattr(self, "_engine", None)
        if engine is None or engine.loop is None or engine.state is ClientState.CLOSED:
            return
        warn(f"a client was dropped without disconnect(): {self!r}", ResourceWarning, source=self)
        with suppress(RuntimeError):  # its loop is closed
            engine.loop.call_soon_threadsafe(engine.abandon)

    def __repr__(self) -> str:
        return f"<AsyncClient {self.url} {self._client_id!r} {self.state.value}>"

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            ConnectFailed: with the ``hop`` that failed and a hint; nothing is left open.
            StoreFailed: the store cannot be opened.
            UsageError: the client is connected, or was.
        """
        await self._connect_along(self._engine.connector.walk())

    async def _connect_along(self, walk: Walk) -> None:
        """Open the connection as one part of a longer walk; otherwise like ``connect``."""
        await self._engine.connect(walk)

    async def publish(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False
    ) -> None:
        """Send a message. With QoS 1 and 2, return when the server has taken it over.

        With QoS 0, return when it is in the outbox; wait only while the outbox is full. Without a
        connection, and behind messages that wait for their turn, it waits in the queue, whatever
        its QoS; if the queue is full, so does the call. A cancelled call leaves the message under
        way; ``publish_nowait`` returns a receipt that can take it back.

        Args:
            topic: topic name, at most 65535 bytes of UTF-8, no wildcards.
            payload: bytes, or text to be sent as UTF-8.
            qos: 0 at most once, 1 at least once, 2 exactly once.
            retain: whether the server keeps it for later subscribers.

        Raises:
            UsageError: nothing was sent.
            RequestTimedOut: it was not done within ``request_timeout``. What was accepted stays in
                flight, and the error says so.
            DeliveryUnknown: it is unknown whether the message arrived: the client ended before it
                was acknowledged, or ``clean_session`` lost it after PUBREC.
            DeliveryFailed: the server ends each connection on which it is sent.
            ConnectionLost: the client ended before it was sent.
            QueueFull: this client's unread messages stand in the way of the answer.
            StoreFailed: it could not be stored.
        """
        raw = payload if type(payload) is bytes else payload_bytes(payload)
        if type(qos) is not int or type(retain) is not bool:  # hot: what is usual is not checked
            PUBLISH.check(locals())
        link = self._outgoing.free_link
        if not qos and link is not None and get_running_loop() is link.loop:
            link.publish(topic, raw, qos, retain)  # hot: it needs no receipt
            if link.blocked or not link.unsent:  # flushed at the outbox's high-water mark
                await self._drain(link, topic)
            return
        engine = self._engine
        receipt = Receipt(topic, raw, qos, retain)
        troubles = engine.troubles.count
        try:
            await engine.publish(receipt)
        except TimeoutError as error:
            if isinstance(error, MqttwsError):
                raise
            reason = engine.troubles.since(troubles)
            if not receipt.accepted:
                raise RequestTimedOut(
                    f"publish to {topic!r}: no room within {self._request_timeout:g} s; nothing"
                    " was sent or queued"
                ) from reason
            raise late(topic, self._request_timeout, reason) from reason

    async def _drain(self, link: Link, topic: str) -> None:
        try:
            await self._engine.drain(link)
        except TimeoutError:
            raise late(topic, self._request_timeout) from None

    def publish_nowait(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False
    ) -> Receipt:
        """Send a message and return at once; await the receipt for its end.

        Raises:
            QueueFull: ``max_outgoing`` is reached, or the outbox is full; nothing was sent.
            UsageError: nothing was sent.
        """
        PUBLISH.check(locals())
        receipt = Receipt(topic, payload_bytes(payload), qos, retain)
        engine = self._engine
        engine.require_usable()
        engine.require_loop()
        engine.outgoing.require_room(receipt)
        engine.outgoing.submit(receipt)
        return receipt

    async def flush(self) -> None:
        """Wait until all that was published so far with QoS 1 and 2 is in the store.

        Then it survives the end of the process, sent or not. QoS 0 is in the store while it waits
        for a connection, and no longer. Without a store, or with a ``MemoryStore``, it returns at
        once.

        Raises:
            StoreFailed: the store cannot be written.
        """
        await self._engine.flush()

    async def subscribe(
        self, topic_filter: str | Iterable[str | tuple[str, int]], qos: int = 0
    ) -> list[int]:
        """Ask for messages; return for each filter the QoS that the server granted.

        Args:
            topic_filter: one filter, or several, which go in one request; a (filter, QoS) pair has
                a QoS of its own.
            qos: the highest QoS to be sent, 0 to 2, of the filters without one of their own.

        Raises:
            SubscribeRefused: the server refused at least one filter.
            ConnectionLost, RequestTimedOut, UsageError: as for ``publish``.
        """
        SUBSCRIBE.check(locals())
        subscriptions = subscriptions_of(topic_filter, qos)
        engine = self._engine
        engine.require_usable()
        engine.require_loop()
        return await engine.requests.subscribe(subscriptions, engine.current_link, self._trouble())

    async def unsubscribe(self, *topic_filters: str) -> None:
        """Unsubscribe; filters are spelled exactly as they were subscribed.

        Raises:
            ConnectionLost, RequestTimedOut, UsageError: as for ``publish``.
        """
        names = list(topic_filters)
        engine = self._engine
        engine.require_usable()
        engine.require_loop()
        Unsubscribe(1, names).encode()
        await engine.requests.unsubscribe(names, engine.current_link, self._trouble())

    def _trouble(self) -> Callable[[], MqttwsError | None]:
        return partial(self._engine.troubles.since, self._engine.troubles.count)

    def messages(self, topic_filter: str | None = None) -> MessageStream:
        """Iterate over the messages that come, each once, in order, acknowledged when handed out.

        Streams can be opened before ``connect``, so that the messages that a session brings find
        theirs. A message goes to one stream only: the first opened whose filter matches, else the
        one without a filter, however many iterators share it. One that fits none waits for a later
        stream; see ``unmatched_wait``. Streams end when the client disconnects.

        Args:
            topic_filter: which messages; need not be what was subscribed. A stream with a filter
                collects from now on, until its ``close()``.

        Raises:
            MqttwsError: while iterating: the reason for the client's end; what had come is handed
                out first.
            UsageError: the filter is not valid; while iterating: the client was never connected.
        """
        return self._engine.open_stream(topic_filter)

    async def reconnect(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave the connection in order and open a new one, for a password about to expire.

        Returns at once; ``on_state`` tells of the new connection. What is published meanwhile waits
        in the queue; what was not acknowledged is sent again, as after any lost connection.
        Without a connection there is nothing to do: the next one is being opened.

        Args:
            timeout: seconds for leaving the old connection.

        Raises:
            UsageError: the client is not connected yet, or was disconnected.
        """
        LEAVE.check(locals())
        self._engine.reconnect(timeout)

    def redirect(self, url: Urls, *, username: str | None = None, tls: Tls = None) -> None:
        """Connect elsewhere from the next connection on; the session and the queue go along.

        Args:
            url: as for the class.
            username: as for the class.
            tls: as for the class; None keeps the present one.
        """
        REDIRECT.check(locals())
        self._engine.connector.redirect(targets_of(url), username, tls)

    async def disconnect(self, timeout: float = LEAVE_TIMEOUT) -> None:
        """Leave in order: deliver what was accepted, send DISCONNECT, and close.

        A dead link raises nothing. What could not be delivered in time is counted in one warning of
        the log, and the errors of its receipts say so.

        Args:
            timeout: seconds for the acknowledgements of what was accepted, and for the server to
                close its half of the connection.
        """
        LEAVE.check(locals())
        await self._engine.disconnect(timeout)

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self.disconnect()
