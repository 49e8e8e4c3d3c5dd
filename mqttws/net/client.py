"""AsyncClient: an MQTT 3.1.1 client for asyncio, over WebSocket and over TCP, with TLS or without.

The driver of ``ClientProtocol``: it dials, moves bytes, reads the clock, and pairs answers with the
calls that wait for them. The rules of MQTT are not here.
"""

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from ..errors import (
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    Hop,
    MqttwsError,
    ProtocolError,
    RequestTimedOut,
    SubscribeRefused,
    UsageError,
)
from ..protocol import (
    ClientProtocol,
    Connected,
    ConnectionClosed,
    ConnectRejected,
    Event,
    MessageReceived,
    PublishCompleted,
    State,
    SubscribeCompleted,
    UnsubscribeCompleted,
)
from ..wire import DEFAULT_MAX_PACKET_SIZE, REFUSED, Connect, Subscription, Will
from .dial import Target, dial_first, parse_url
from .hops import OnStep, Walk
from .proxy import ENVIRONMENT, ProxyChoice
from .stream import CLOSE_TIMEOUT, Stream
from .tls import Tls
from .trace import OnPacket, tracer_for

OUTBOX_HIGH_WATER = 64 * 1024
"""Bytes that may wait to be sent before ``publish`` waits for the peer to take some."""

MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""Bytes of messages that may wait for the application before the socket is left unread."""

MAX_UNREAD_BYTES_WAITING = 64 * 1024 * 1024
"""The same while a call awaits its answer, which comes behind the messages; then it is an error."""

MESSAGE_COST = 400
"""Bytes that a waiting message takes beside its topic and payload."""

RETURN_CODES = {
    1: ("the server does not speak MQTT 3.1.1", "ask its operator which versions it speaks"),
    2: ("the server does not accept this ClientId", "use another client_id"),
    3: ("the server says that it is unavailable", "try again later"),
    4: ("bad user name or password", "check username and password"),
    5: ("not authorized", "ask the server's operator what this client may do"),
}
"""CONNACK's refusals (MQTT 3.1.1 table 3.1) and what to do about them."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that a subscription brought.

    Attributes:
        topic: the topic name it was published to.
        payload: its bytes.
        qos: 0, 1 or 2, as it was sent to us.
        retain: whether it was sent because the server had kept it.
        dup: whether the server may have sent it before.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool


class AsyncClient:
    """An MQTT 3.1.1 client for asyncio.

    >>> async with AsyncClient("wss://broker.example/mqtt") as client:
    ...     await client.subscribe("sensors/#", qos=1)
    ...     await client.publish("sensors/a", b"21.5", qos=1)
    ...     async for message in client.messages():
    ...         print(message.topic, message.payload)

    Every call ends in a result or in an error of ``mqttws.errors``, within its time limit.

    Args:
        url: ``wss://host[:443]/path``, ``mqtts://host[:8883]``; ``ws://`` and ``mqtt://`` without
            TLS. Several are tried with a short head start each; the one that worked is tried
            first when this client connects again.
        client_id: at most 65535 bytes of UTF-8; empty lets the server choose one.
        username: None for none.
        password: bytes or text; None for none; needs a username. Shown nowhere. A function is
            called at each connect, for tokens that expire.
        clean_session: whether server and client forget what was before and after.
        keep_alive: seconds, 0 to 65535, within which a dead link is noticed; 0 for never.
        will: what the server publishes when this client is lost.
        tls: whom to trust: a ``TlsConfig``, or an ``ssl.SSLContext`` that is used as it is.
        proxy: a URL (``http://``, ``https://``, ``socks5://``, ``socks5h://``, ``socks4a://``), a
            ``ProxyConfig``, ``environment`` for what the environment's variables say, ``none`` or
            None for no proxy.
        connect_timeout: seconds for ``connect`` as a whole.
        hop_timeout: seconds for each of its hops.
        request_timeout: seconds for the answer to a publish, subscribe or unsubscribe.
        max_packet_size: bytes of the largest packet that the server may send.
        max_queued: messages that may wait for ``messages()``; above it the socket is left unread,
            which holds the server back.
        on_step: told of each hop of ``connect``.
        on_packet: told of each packet sent (``>``) and received (``<``), secrets included.
    """

    def __init__(
        self,
        url: str | Target | Sequence[str | Target],
        *,
        client_id: str = "",
        username: str | None = None,
        password: str | bytes | Callable[[], str | bytes] | None = None,
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
        on_step: OnStep | None = None,
        on_packet: OnPacket | None = None,
    ) -> None:
        given = url if isinstance(url, Sequence) and not isinstance(url, str) else [url]
        self._targets = [one if isinstance(one, Target) else parse_url(one) for one in given]
        if not self._targets:
            raise UsageError("a client needs a URL")
        self._connect_packet = Connect(
            client_id,
            username,
            b"" if callable(password) else _password_bytes(password),
            clean_session,
            keep_alive,
            will,
        )
        self._connect_packet.encode()  # a bad argument is told here, not at connect
        plain = next((target for target in self._targets if not target.secure), None)
        if password is not None and plain is not None:
            warnings.warn(
                f"the password for {plain.address} goes over the network in the clear",
                stacklevel=2,
            )
        self._new_password = password if callable(password) else None
        self._tls = tls
        self._proxy = proxy
        self._connect_timeout = connect_timeout
        self._hop_timeout = hop_timeout
        self._request_timeout = request_timeout
        self._max_packet_size = max_packet_size
        self._max_queued = max_queued
        self._on_step = on_step
        self._on_packet = on_packet
        self._link: _Link | None = None

    def __repr__(self) -> str:
        state = self._link.protocol.state.value if self._link else "new"
        return f"<AsyncClient {self.url} {self._connect_packet.client_id!r} {state}>"

    @property
    def url(self) -> str:
        """The URL that is tried first: of several, the one that worked."""
        return self._targets[0].url

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._link is not None and self._link.protocol.state is State.CONNECTED

    async def connect(self) -> bool:
        """Open the connection; return whether the server has kept an earlier session.

        Raises:
            ConnectFailed: with the ``hop`` that failed and a hint; nothing is left open.
            UsageError: the client is connected, or was.
        """
        return await self.connect_along(
            Walk(
                timeout=self._connect_timeout, hop_timeout=self._hop_timeout, on_step=self._on_step
            )
        )

    async def connect_along(self, walk: Walk) -> bool:
        """Open the connection as one part of a longer walk; otherwise like ``connect``."""
        if self._link is not None:
            raise UsageError("connect: a client is connected once; make a new one")
        packet = self._connect_packet
        if self._new_password is not None:
            packet = replace(packet, password=_password_bytes(self._new_password()))
        link = self._link = _Link(
            ClientProtocol(packet, max_packet_size=self._max_packet_size),
            max_queued=self._max_queued,
            on_packet=self._on_packet,
            max_packet_size=self._max_packet_size,
        )
        try:
            taken, stream = await dial_first(
                self._targets,
                walk,
                tls=self._tls,
                proxy=self._proxy,
                max_message_size=max(4 * self._max_packet_size, 1024 * 1024),
            )
            self._targets.sort(key=lambda target: target is not taken)
            async with walk.hop(Hop.CONNECT, self._connect_packet.client_id) as step:
                session_present = await _open(link, stream)
                step.detail = "CONNACK 0, accepted"
        except BaseException:
            link.abort()
            self._link = None  # so that another attempt is possible
            raise
        return session_present

    async def publish(
        self,
        topic: str,
        payload: bytes | bytearray | memoryview | str = b"",
        *,
        qos: int = 0,
        retain: bool = False,
    ) -> None:
        """Send a message. With QoS 1 and 2, return when the server has taken it over.

        With QoS 0, return when it is in the outbox; wait only while the outbox is full.

        Args:
            topic: topic name, at most 65535 bytes of UTF-8, no wildcards.
            payload: bytes, or text to be sent as UTF-8.
            qos: 0 at most once, 1 at least once, 2 exactly once.
            retain: whether the server keeps it for later subscribers.

        Raises:
            UsageError: nothing was sent.
            ConnectionLost: with QoS 1 and 2 it is unknown whether the message arrived.
            RequestTimedOut: the server did not take it over within ``request_timeout``.
        """
        link = self._require_link()
        raw = _payload_bytes(payload)
        packet_id = link.protocol.publish(topic, raw, qos, retain)
        if packet_id is None:
            await link.sent(len(raw))
        else:
            await link.answer(
                packet_id, self._request_timeout, f"publish to {topic!r}", size=len(raw)
            )

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
        link = self._require_link()
        pairs = [(topic_filter, qos)] if isinstance(topic_filter, str) else _pairs(topic_filter)
        packet_id = link.protocol.subscribe([Subscription(*pair) for pair in pairs])
        granted: list[int] = await link.answer(packet_id, self._request_timeout, "subscribe")
        for (name, _), code in zip(pairs, granted, strict=True):
            if code == REFUSED:
                raise SubscribeRefused(
                    f"subscribe: the server refused topic filter {name!r}",
                    topic_filter=name,
                    hint="this client may not read it, or the server does not have such topics",
                )
        return granted

    async def unsubscribe(self, *topic_filters: str) -> None:
        """Take wishes back; filters are spelled exactly as they were subscribed.

        Raises:
            ConnectionLost, RequestTimedOut, UsageError: as for ``publish``.
        """
        link = self._require_link()
        packet_id = link.protocol.unsubscribe(list(topic_filters))
        await link.answer(packet_id, self._request_timeout, "unsubscribe")

    def messages(self) -> AsyncIterator[ReceivedMessage]:
        """Iterate over the messages that come, each once, in order, acknowledged when handed out.

        Ends when the client disconnects. Several iterators share the messages.

        Raises:
            ConnectionLost: the connection was lost; messages that had come are handed out first.
            ProtocolError: the server broke a rule.
            UsageError: the client was never connected.
        """
        if self._link is None:
            raise _not_connected()
        return _Messages(self._link)

    async def disconnect(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave: send what waits, then DISCONNECT, and close. Never raises for a dead link.

        Args:
            timeout: seconds that the server is given to close too.
        """
        if self._link is not None:
            await self._link.close(timeout)

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

    def _require_link(self) -> "_Link":
        if self._link is None:
            raise _not_connected()
        if self._link.error is not None:
            raise self._link.error.with_traceback(None)
        if self._link.protocol.state is not State.CONNECTED:
            raise UsageError("the client has been disconnected", hint="make a new client")
        return self._link


def _not_connected() -> UsageError:
    return UsageError("the client is not connected", hint="await client.connect() first")


def _password_bytes(password: str | bytes | None) -> bytes | None:
    return password.encode() if isinstance(password, str) else password


def _payload_bytes(payload: bytes | bytearray | memoryview | str) -> bytes:
    if isinstance(payload, str):
        try:
            return payload.encode()
        except UnicodeEncodeError:
            raise UsageError("payload: text with a lone surrogate has no UTF-8") from None
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise UsageError(f"payload: found {type(payload).__name__}; allowed: bytes or str")


def _pairs(wishes: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    try:
        return [(topic_filter, qos) for topic_filter, qos in wishes]
    except (TypeError, ValueError):
        raise UsageError("topic filters: allowed: one str, or (filter, QoS) pairs") from None


class _Messages(AsyncIterator[ReceivedMessage]):
    """The iterator behind ``messages``: cancelling a wait loses no message and does not end it."""

    def __init__(self, link: "_Link") -> None:
        self._link = link

    async def __anext__(self) -> ReceivedMessage:
        message = await self._link.next_message()
        if message is None:
            raise StopAsyncIteration
        return message


async def _open(link: "_Link", stream: Stream) -> bool:
    """Send CONNECT and wait for CONNACK; return whether a session is present."""
    try:
        return await link.open(stream)
    except ConnectionLost as error:
        raise ConnectFailed(
            f"connect: the server closed the connection instead of answering CONNECT: {error}",
            hop=Hop.CONNECT,
            hint="check the port, since WebSocket and MQTT over TLS have different ones; then user"
            " name and ClientId, and the server's log",
        ) from error
    except ProtocolError as error:
        raise ConnectFailed(
            f"connect: the answer is not MQTT 3.1.1: {error}",
            hop=Hop.CONNECT,
            hint="this may not be an MQTT service: check host, port and path",
        ) from error


class _Link:
    """One connection: its protocol object, its stream, its timer, and who waits for what.

    It is the stream's receiver.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        *,
        max_queued: int,
        on_packet: OnPacket | None,
        max_packet_size: int,
    ) -> None:
        self.protocol = protocol
        self.error: MqttwsError | None = None
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._opened: asyncio.Future[bool] = self._loop.create_future()
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._queue: deque[MessageReceived] = deque()
        self._unread_bytes = 0
        self._max_queued = max_queued
        self._readers: deque[asyncio.Future[None]] = deque()
        self._reading_paused = False
        self._writing_paused = False
        self._flush_scheduled = False
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tracer = tracer_for(max_packet_size, on_packet)

    # For the client

    async def open(self, stream: Stream) -> bool:
        """Send CONNECT over ``stream``, and wait for CONNACK."""
        self._stream = stream
        self.protocol.connect(self._loop.time())
        stream.attach(self)
        self._pump()
        return await self._opened

    async def sent(self, size: int) -> None:
        """Have the outbox sent soon, with all that joins it meanwhile; wait if it is full."""
        self._unsent += size + 64  # an empty payload takes room too
        if self._unsent < OUTBOX_HIGH_WATER and not self._writing_paused:
            self._flush_soon()
            return
        self._flush()
        if self._stream is not None:
            await self._stream.drain()
        await asyncio.sleep(0)  # others have their turn, also beside a loop that only publishes

    async def answer(self, packet_id: int, timeout: float, what: str, *, size: int = 0) -> Any:
        """Send the request that is in the outbox, and wait for its answer.

        The answer may come while the request is still being sent: who waits is noted first.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending[packet_id] = future
        self._regulate()
        try:
            async with asyncio.timeout(timeout):
                await self.sent(size)
                return await future
        except TimeoutError:
            raise RequestTimedOut(f"{what}: no answer within {timeout:g} s") from None
        finally:
            del self._pending[packet_id]
            if future.done() and not future.cancelled():
                future.exception()  # told or not: it is not a warning's matter
            self._regulate()

    async def next_message(self) -> ReceivedMessage | None:
        """Wait for a message, acknowledge it, and return it; None after a disconnect."""
        while not self._queue:
            if self.error is not None:
                raise self.error.with_traceback(None)
            if self.protocol.state is State.CLOSED:
                return None
            reader = self._loop.create_future()
            self._readers.append(reader)
            try:
                await reader
            finally:
                if reader in self._readers:
                    self._readers.remove(reader)
                elif reader.cancelled() or self._queue:
                    self._wake_reader()  # woken, but perhaps not to take the message
        message = self._queue.popleft()
        self._unread_bytes -= _cost(message)
        if message.packet_id is not None and self.protocol.state is State.CONNECTED:
            self.protocol.acknowledge(message.packet_id)
            self._flush_soon()
        self._regulate()
        return ReceivedMessage(
            message.topic, message.payload, message.qos, message.retain, message.dup
        )

    async def close(self, timeout: float) -> None:
        """Send what waits and DISCONNECT, and close the stream within ``timeout`` seconds."""
        self.protocol.disconnect()
        self._pump()
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close(timeout=timeout)

    def abort(self) -> None:
        """Close at once."""
        self._stop_timer()
        if self._stream is not None:
            self._stream.abort()
            self._stream = None

    # For the stream

    def data_received(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self._tracer is not None:
            self._tracer.read("<", data)
        self.protocol.receive_data(data, self._loop.time())
        self._pump()

    def stream_ended(self, cause: MqttwsError) -> None:
        """Learn that the server's bytes have ended."""
        self.protocol.receive_eof(self._loop.time(), cause)
        self._pump()

    def writing_paused(self, paused: bool) -> None:
        """Learn that the server takes bytes too slowly, or takes them again."""
        self._writing_paused = paused

    # Inside

    def _pump(self) -> None:
        """Hand events out, send what is to be sent, and set the timer."""
        while (event := self.protocol.next_event()) is not None:
            self._on_event(event)
        self._flush()
        self._set_timer()

    def _on_event(self, event: Event) -> None:
        match event:
            case MessageReceived():
                self._queue.append(event)
                self._unread_bytes += _cost(event)
                self._wake_reader()
                self._regulate()
            case PublishCompleted(packet_id) | UnsubscribeCompleted(packet_id):
                self._resolve(packet_id, None)
            case SubscribeCompleted(packet_id, return_codes):
                self._resolve(packet_id, return_codes)
            case Connected(session_present):
                if not self._opened.done():
                    self._opened.set_result(session_present)
            case ConnectRejected(return_code):
                reason, hint = RETURN_CODES[return_code]
                self._end(
                    ConnectRefused(
                        f"connect: CONNACK {return_code}: {reason}",
                        return_code=return_code,
                        hint=hint,
                    )
                )
            case ConnectionClosed(error):
                self._end(error)

    def _resolve(self, packet_id: int, result: Any) -> None:
        future = self._pending.get(packet_id)
        if future is not None and not future.done():
            future.set_result(result)

    def _end(self, error: MqttwsError | None) -> None:
        """Wake everybody who waits: the connection is over."""
        self.error = error
        self._stop_timer()
        told = error or ConnectionLost("the client was disconnected while this waited")
        for future in (self._opened, *self._pending.values()):
            if not future.done():
                future.set_exception(told)
        if not self._opened.cancelled():
            self._opened.exception()  # nobody may be waiting; then it is not a warning's matter
        for _ in range(len(self._readers)):
            self._wake_reader()
        if error is not None and self._stream is not None:
            stream, self._stream = self._stream, None
            self._flush_to(stream)
            closing = self._loop.create_task(stream.close(error))
            _background.add(closing)
            closing.add_done_callback(_background.discard)

    def _wake_reader(self) -> None:
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return

    def _regulate(self) -> None:
        """Leave the socket unread while the application does not keep up.

        While a call awaits an answer the socket is read on, for the answer comes behind the
        messages; a second limit, in bytes, bounds what that may cost.
        """
        stream = self._stream
        if stream is None:
            return
        if self._pending and self._unread_bytes > MAX_UNREAD_BYTES_WAITING:
            lost = ConnectionLost(
                f"{self._unread_bytes} bytes of messages wait unread while a call awaits its"
                " answer behind them",
                hint="read messages() faster, or in a task of its own",
            )
            self._loop.call_soon(self.stream_ended, lost)
            return
        full = len(self._queue) >= self._max_queued or self._unread_bytes > MAX_UNREAD_BYTES
        pause = full and not self._pending
        if pause != self._reading_paused:
            self._reading_paused = pause
            self.protocol.set_reading(not pause, self._loop.time())
            if pause:
                stream.pause_reading()
            else:
                stream.resume_reading()

    def _flush_soon(self) -> None:
        """Send at the end of this turn of the loop: what waits together goes in one message."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._unsent = 0
        if self._stream is not None:
            self._flush_to(self._stream)

    def _flush_to(self, stream: Stream) -> None:
        data = self.protocol.data_to_send(self._loop.time())
        if data:
            stream.write(data)
            if self._tracer is not None:
                self._tracer.read(">", data)

    def _set_timer(self) -> None:
        """Have ``tick`` called at the deadline; a timer that rings too early is set anew then."""
        deadline = self.protocol.deadline
        if deadline is None:
            self._stop_timer()
        elif self._timer is None or self._timer.when() > deadline:
            self._stop_timer()
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.protocol.tick(self._loop.time())
        self._pump()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cost(message: MessageReceived) -> int:
    return len(message.payload) + len(message.topic) + MESSAGE_COST


_background: set[asyncio.Task[None]] = set()
"""Streams that are being closed: a task that nobody holds could be collected before its end."""
