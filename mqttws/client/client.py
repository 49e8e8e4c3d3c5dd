"""AsyncClient: an MQTT 3.1.1 client for asyncio, over WebSocket and over TCP, with TLS or without.

What an application sees: its calls, their arguments and their errors. What keeps it going is in
``engine``, one connection in ``link``; the rules of MQTT are not here.
"""

import warnings
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from ..errors import MqttwsError, RequestTimedOut, SubscribeRefused, UsageError
from ..net.hops import OnStep, Walk
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.stream import CLOSE_TIMEOUT
from ..net.target import Target, parse_url
from ..net.tls import Tls
from ..options import CLIENT
from ..protocol import ClientProtocol
from ..retry import Backoff
from ..wire import (
    DEFAULT_MAX_PACKET_SIZE,
    REFUSED,
    Connect,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from .engine import Engine
from .inbox import MessageStream, ReceivedMessage
from .link import OUTBOX_HIGH_WATER
from .options import (
    ClientState,
    OnAttemptFailed,
    OnState,
    Options,
    Password,
    password_bytes,
)
from .receipt import Receipt, late
from .store import MemoryStore, Store
from .trace import OnPacket

__all__ = ["AsyncClient", "ReceivedMessage"]

Payload = bytes | bytearray | memoryview | str
"""What can be published; text goes as UTF-8."""


class AsyncClient:
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
            TLS. Several are tried with a short head start each; the one that worked is tried
            first when this client connects again.
        client_id: at most 65535 bytes of UTF-8; empty lets the server choose one.
        username: None for none.
        password: bytes or text, or a function, plain or async, that returns a fresh one for each
            connection (a plain one holds up the loop while it runs); None for none; needs a
            username. Shown nowhere.
        clean_session: whether server and client forget what was before and after each connection.
            QoS 2 is exactly once across connections only with ``False``.
        keep_alive: seconds, 0 to 65535, within which a dead link is noticed; 0 for never.
        will: what the server publishes when this client is lost.
        tls: whom to trust: a ``TlsConfig``, or an ``ssl.SSLContext`` that is used as it is.
        proxy: a URL (``http://``, ``https://``, ``socks5://``, ``socks5h://``, ``socks4a://``), a
            ``ProxyConfig``, ``environment`` for what the environment's variables say, ``none`` or
            None for no proxy.
        connect_timeout: seconds for each attempt to connect as a whole.
        hop_timeout: seconds for each of its hops.
        request_timeout: seconds for the answer to a publish, subscribe or unsubscribe, the time
            without a connection included.
        max_packet_size: bytes of the largest packet that the server may send.
        max_queued: messages that may wait for ``messages()``, in all streams together; above it the
            socket is left unread, which holds the server back.
        max_outgoing: publishes that may be unfinished, in flight or in the queue; 1 to 60000.
        reconnect: how long to wait between attempts; None does not reconnect: a lost connection
            ends the client.
        store: where the session lives: a ``SqliteStore`` keeps it across a crash, a
            ``MemoryStore`` can be passed on to another client; None keeps it for this client.
        manual_ack: acknowledge by ``message.ack()``, and not when a message is handed out.
        on_step: told of each hop of each attempt to connect.
        on_packet: told of each packet sent (``>``) and received (``<``), secrets included.
        on_state: told of each change of ``state`` and its reason.
        on_attempt_failed: a function, plain or async, asked after each failed attempt to
            reconnect: True for another one whatever the error, False for the client's end, None
            for what the client does by itself. It may ``redirect`` the client.
    """

    def __init__(
        self,
        url: str | Target | Sequence[str | Target],
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
        reconnect: Backoff | None = Backoff(),  # noqa: B008 - a value, never changed
        store: Store | MemoryStore | None = None,
        manual_ack: bool = False,
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
        on_state: OnState | None = None,
        on_attempt_failed: OnAttemptFailed | None = None,
    ) -> None:
        CLIENT.check(locals())
        targets = _targets(url)
        fixed = None if password is None or callable(password) else password_bytes(password)
        placeholder = b"" if callable(password) else fixed
        connect = Connect(client_id, username, placeholder, clean_session, keep_alive, will)
        connect.encode()  # a bad argument is told here, not at connect
        plain = next((target for target in targets if not target.secure), None)
        if password is not None and plain is not None:
            warnings.warn(
                f"the password for {plain.address} goes over the network in the clear",
                stacklevel=2,
            )
        self._client_id = client_id
        self._request_timeout = request_timeout
        self._engine = Engine(
            Options(
                targets=targets,
                connect=connect,
                password=password,
                tls=tls,
                proxy=proxy,
                connect_timeout=connect_timeout,
                hop_timeout=hop_timeout,
                request_timeout=request_timeout,
                max_packet_size=max_packet_size,
                max_queued=max_queued,
                max_outgoing=max_outgoing,
                manual_ack=manual_ack,
                reconnect=reconnect,
                store=store,
                on_step=on_step,
                on_packet=on_packet,
                on_state=on_state,
                on_attempt_failed=on_attempt_failed,
            )
        )

    def __repr__(self) -> str:
        return f"<AsyncClient {self.url} {self._client_id!r} {self.state.value}>"

    @property
    def url(self) -> str:
        """The URL that is tried first: of several, the one that worked."""
        return self._engine.connector.targets[0].url

    @property
    def state(self) -> ClientState:
        """Where the client stands."""
        return self._engine.state

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._engine.link is not None

    @property
    def unmatched(self) -> int:
        """How many messages were passed over, since they matched no open stream."""
        return self._engine.inbox.unmatched

    async def connect(self) -> bool:
        """Open the connection; return whether the server has kept an earlier session.

        Raises:
            ConnectFailed: with the ``hop`` that failed and a hint; nothing is left open.
            StoreFailed: the store cannot be opened.
            UsageError: the client is connected, or was.
        """
        return await self._engine.connect(self._engine.connector.walk())

    async def connect_along(self, walk: Walk) -> bool:
        """Open the connection as one part of a longer walk; otherwise like ``connect``."""
        return await self._engine.connect(walk)

    async def publish(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False
    ) -> None:
        """Send a message. With QoS 1 and 2, return when the server has taken it over.

        With QoS 0, return when it is in the outbox; wait only while the outbox is full. Without a
        connection it waits in the queue, whatever its QoS; if the queue is full, so does the call.
        A cancelled call leaves the message under way.

        Args:
            topic: topic name, at most 65535 bytes of UTF-8, no wildcards.
            payload: bytes, or text to be sent as UTF-8.
            qos: 0 at most once, 1 at least once, 2 exactly once.
            retain: whether the server keeps it for later subscribers.

        Raises:
            UsageError: nothing was sent.
            RequestTimedOut: it was not done within ``request_timeout``. What was accepted stays in
                flight, and the error says so.
            ConnectionLost: the client ended; with QoS 1 and 2 it is unknown whether the message
                arrived.
            QueueFull: this client's unread messages stand in the way of the answer.
            StoreFailed: it could not be stored.
        """
        raw = payload if type(payload) is bytes else payload_bytes(payload)
        engine = self._engine
        link = engine.link
        if not qos and link is not None and not engine.outgoing.queue:
            link.protocol.publish(topic, raw, qos, retain)
            link.unsent += len(raw) + 64  # an empty payload takes room too
            if link.unsent < OUTBOX_HIGH_WATER and not link.blocked:
                if not link.flush_scheduled:
                    link.flush_soon()
                return
            try:
                await engine.drain(link)
            except TimeoutError:
                raise late(topic, self._request_timeout) from None
            return
        receipt = Receipt(topic, raw, qos, retain)
        try:
            await engine.publish(receipt)
        except TimeoutError as error:
            if isinstance(error, MqttwsError):
                raise
            if not receipt.accepted:
                raise RequestTimedOut(
                    f"publish to {topic!r}: no room within {self._request_timeout:g} s; nothing"
                    " was sent or queued"
                ) from None
            raise late(topic, self._request_timeout) from None

    def publish_nowait(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False
    ) -> Receipt:
        """Send a message and return at once; await the receipt to learn of its end.

        Raises:
            QueueFull: ``max_outgoing`` is reached, or the outbox is full; nothing was sent.
            UsageError: nothing was sent.
        """
        receipt = Receipt(topic, payload_bytes(payload), qos, retain)
        engine = self._engine
        engine.require_usable()
        engine.require_room(receipt)
        engine.submit(receipt)
        return receipt

    async def stored(self) -> None:
        """Wait until all that was published so far with QoS 1 and 2 is in the store.

        Then it survives the end of the process, sent or not.
        """
        await self._engine.stored()

    async def subscribe(
        self, topic_filter: str | Iterable[tuple[str, int]], qos: int = 0
    ) -> list[int]:
        """Ask for messages; return for each filter the QoS that the server granted.

        Args:
            topic_filter: one filter, or several (filter, QoS) pairs, which go in one request.
            qos: the highest QoS to be sent, for a single filter.

        Raises:
            SubscribeRefused: the server refused at least one filter.
            ConnectionLost, RequestTimedOut, UsageError: as for ``publish``.
        """
        engine = self._engine
        engine.require_usable()
        pairs = [(topic_filter, qos)] if isinstance(topic_filter, str) else _pairs(topic_filter)
        wishes = [Subscription(*pair) for pair in pairs]
        Subscribe(1, wishes).encode()  # what breaks a rule is told before it is waited for

        def send(protocol: ClientProtocol) -> int:
            return protocol.subscribe(wishes)

        granted: list[int] = await engine.request(send, "subscribe")
        refused = ""
        for (name, wanted), code in zip(pairs, granted, strict=True):
            if code != REFUSED:
                engine.subscriptions[name] = wanted
            else:
                refused = refused or name
        if refused:
            raise SubscribeRefused(
                f"subscribe: the server refused topic filter {refused!r}",
                topic_filter=refused,
                hint="this client may not read it, or the server does not have such topics",
            )
        return granted

    async def unsubscribe(self, *topic_filters: str) -> None:
        """Take wishes back; filters are spelled exactly as they were subscribed.

        Raises:
            ConnectionLost, RequestTimedOut, UsageError: as for ``publish``.
        """
        names = list(topic_filters)
        engine = self._engine
        engine.require_usable()
        Unsubscribe(1, names).encode()

        def send(protocol: ClientProtocol) -> int:
            return protocol.unsubscribe(names)

        await engine.request(send, "unsubscribe")
        for name in names:
            engine.subscriptions.pop(name, None)

    def messages(self, topic_filter: str | None = None) -> MessageStream:
        """Iterate over the messages that come, each once, in order, acknowledged when handed out.

        A message goes to one stream only: the first opened whose filter matches, else the one
        without a filter, however many iterators share it. If there are streams with filters and
        one without was never asked for, what matches none of them is acknowledged and counted in
        ``unmatched``. Streams end when the client disconnects.

        Args:
            topic_filter: which messages; need not be what was subscribed. A stream with a filter
                collects from now on, until its ``close()``.

        Raises:
            MqttwsError: while iterating: why the client ended; what had come is handed out first.
            UsageError: the client was never connected, or the filter is not valid.
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
        self._engine.reconnect(timeout)

    def redirect(
        self, url: str | Target | Sequence[str | Target], *, username: str | None = None
    ) -> None:
        """Connect elsewhere from the next connection on; the session and the queue go along.

        Args:
            url: as for the class.
            username: as for the class.
        """
        self._engine.connector.redirect(_targets(url), username)

    async def disconnect(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave: send what waits, then DISCONNECT, and close. Never raises for a dead link.

        Args:
            timeout: seconds that the server is given to close too.
        """
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


def _targets(url: str | Target | Sequence[str | Target]) -> list[Target]:
    given = url if isinstance(url, Sequence) and not isinstance(url, str) else [url]
    targets = [one if isinstance(one, Target) else parse_url(one) for one in given]
    if not targets:
        raise UsageError("a client needs a URL")
    return targets


def _pairs(wishes: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    try:
        return [(topic_filter, qos) for topic_filter, qos in wishes]
    except (TypeError, ValueError):
        raise UsageError("topic filters: allowed: one str, or (filter, QoS) pairs") from None


def payload_bytes(payload: object) -> bytes:
    """Return a payload's bytes; text is sent as UTF-8."""
    if isinstance(payload, str):
        try:
            return payload.encode()
        except UnicodeEncodeError:
            raise UsageError("payload: text with a lone surrogate has no UTF-8") from None
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise UsageError(f"payload: found {type(payload).__name__}; allowed: bytes or str")
