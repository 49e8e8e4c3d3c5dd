"""Client: the same client for programs without an event loop; thread-safe.

A façade: an ``AsyncClient`` on an event loop in a thread of its own does the work, so that every
way through a network is written once. Knows threads; does not know MQTT.
"""

import threading
import warnings
from asyncio import Future
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from ..errors import MqttwsError, ServiceFailed, UsageError
from ..loop_thread import Callbacks, LoopThread, SynchronousOnly, Work
from ..net.hops import OnStep
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.stream import CLOSE_TIMEOUT
from ..net.tls import Tls
from ..options import LEAVE, PUBLISH, SYNC_CLIENT
from ..retry import REFUSED_LOGIN_WAIT, Backoff
from ..wire import DEFAULT_MAX_PACKET_SIZE, Will
from .arguments import Payload, payload_bytes
from .begun import begin_publish
from .client import AsyncClient
from .engine import Engine
from .facts import Facts
from .inbox import logger
from .leaving import LEAVE_TIMEOUT
from .message import ReceivedMessage
from .options import ClientState, HeadersOption, OnAttemptFailed, OnState, Password, Url, Urls
from .store import MemoryStore, Store
from .streams import MessageStream
from .sync_results import SyncMessageStream, SyncReceipt
from .trace import OnPacket

T = TypeVar("T")

MAX_JOBS = 250
"""Messages that may be on their way from other threads to the loop; the next one waits for it."""

MAX_HANDED_OVER = 16 * 1024
"""Bytes of the largest payload that is handed to the loop without waiting."""

CALLBACKS_TIMEOUT = 5.0
"""Seconds that a connect or disconnect waits for callbacks that are still running."""

CLOSING_SLACK = 5.0
"""Seconds beyond the time limit of a close after which the thread is given up."""


class Client(Facts, SynchronousOnly):
    """An MQTT 3.1.1 client for programs without an event loop; its calls may come from any thread.

    >>> with Client("wss://broker.example/mqtt") as client:
    ...     client.subscribe("sensors/#", qos=1)
    ...     client.publish("sensors/a", b"21.5", qos=1)
    ...     for message in client.messages():
    ...         print(message.topic, message.payload)

    The same names, arguments and errors as ``AsyncClient``. ``on_step``, ``on_packet``,
    ``on_state``, ``on_attempt_failed`` and a password's function run one after the other in a
    thread of their own, and may call the client.

    Args:
        thread: a ``LoopThread`` to share with other clients; None for one of its own.

    The others are those of ``AsyncClient``.
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
        thread: LoopThread | None = None,
    ) -> None:
        given = SYNC_CLIENT.check(locals())
        del given["thread"]
        # The loop hands messages to a stream's thread in batches: what is acknowledged when is
        # decided there.
        self._manual_ack = manual_ack
        self._callbacks = Callbacks()
        for name in ("on_step", "on_packet", "on_state"):
            if given[name] is not None:
                given[name] = self._callbacks.notifier(given[name])
        if on_attempt_failed is not None:
            given["on_attempt_failed"] = self._callbacks.asker(on_attempt_failed)
        if callable(password):
            given["password"] = self._callbacks.asker(password)
        self._client = AsyncClient(url, **given | {"manual_ack": True})
        self._thread = LoopThread("mqttws-client") if thread is None else thread
        self._owns_thread = thread is None
        self._open = False
        self._gate = threading.Lock()
        self._leaving = threading.RLock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._waking = False
        # What each stream's threads have taken over ahead, by its filter: shared as the stream is.
        self._batches: dict[str | None, deque[ReceivedMessage]] = {}

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncClient", "Client", 1)

    @property
    def _engine(self) -> Engine:  # type: ignore[override]
        return self._client._engine

    @property
    def _left_with_server(self) -> bool:
        """Whether messages that were not handed out come again on the session's next connection."""
        return self.state is ClientState.CLOSED and self._engine.keeper.persistent

    def connect(self) -> None:
        """Open the connection; as ``AsyncClient.connect``."""
        with self._gate:
            if self._open or self.state is not ClientState.NEW:
                raise UsageError("connect: a client is connected once; make a new one")
            if self._owns_thread:
                self._thread = LoopThread("mqttws-client")  # the last attempt's has ended
            self._thread.start()
            self._open = True
        try:
            self._call(self._client.connect)
        except BaseException:
            self._end(0.0)
            raise
        finally:
            self._callbacks.drain(CALLBACKS_TIMEOUT)

    def publish(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False
    ) -> None:
        """Send a message; as ``AsyncClient.publish``."""
        if type(qos) is not int or type(retain) is not bool:  # hot: what is usual is not checked
            PUBLISH.check(locals())
        if not qos and self._hand_over(topic, payload, retain):
            return
        if qos in (1, 2):  # hot: it needs no task
            raw = payload_bytes(payload)
            self._call(partial(begin_publish, self._client, topic, raw, qos, retain))
        else:
            self._call(partial(self._client.publish, topic, payload, qos=qos, retain=retain))

    def publish_nowait(
        self, topic: str, payload: Payload = b"", *, qos: int = 0, retain: bool = False
    ) -> SyncReceipt:
        """Send a message and return at once; as ``AsyncClient.publish_nowait``."""
        PUBLISH.check(locals())
        receipt = SyncReceipt(topic, payload_bytes(payload), qos, retain, self)
        engine = self._engine
        engine.require_usable()
        receipt.packet.encode()  # a broken rule is reported in this thread
        engine.outgoing.require_room(receipt, len(self._jobs))
        self._soon(partial(self._submit, receipt))
        return receipt

    def flush(self) -> None:
        """Wait until all that was published so far is in the store; as ``AsyncClient.flush``."""
        self._call(self._client.flush)

    def subscribe(
        self, topic_filter: str | Iterable[str | tuple[str, int]], qos: int = 0
    ) -> list[int]:
        """Ask for messages; as ``AsyncClient.subscribe``."""
        return self._call(partial(self._client.subscribe, topic_filter, qos))

    def unsubscribe(self, *topic_filters: str) -> None:
        """Unsubscribe; as ``AsyncClient.unsubscribe``."""
        self._call(partial(self._client.unsubscribe, *topic_filters))

    def messages(self, topic_filter: str | None = None) -> SyncMessageStream:
        """Iterate over the messages that come; as ``AsyncClient.messages``."""
        with self._gate:
            new = not self._open and self.state is ClientState.NEW
            stream = self._client.messages(topic_filter) if new else None
        if stream is None:
            stream = self._call(partial(self._open_stream, topic_filter))
        batch = self._batches.setdefault(topic_filter, deque())
        return SyncMessageStream(self, stream, topic_filter, batch)

    def reconnect(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave the connection and open a new one; as ``AsyncClient.reconnect``."""
        self._call(partial(self._client.reconnect, timeout))

    def redirect(self, url: Urls, *, username: str | None = None, tls: Tls = None) -> None:
        """Connect elsewhere from the next connection on; as ``AsyncClient.redirect``."""
        self._client.redirect(url, username=username, tls=tls)

    def disconnect(self, timeout: float = LEAVE_TIMEOUT) -> None:
        """Leave; as ``AsyncClient.disconnect``. The client's thread has ended then."""
        LEAVE.check(locals())
        with self._leaving:  # a second thread finds it done
            if self._open:
                try:
                    self._call(partial(self._client.disconnect, timeout))
                finally:
                    self._end(timeout)

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if getattr(self, "_open", False) and not self._thread.forked:
            warn(f"a client was dropped without disconnect(): {self!r}", ResourceWarning, 2, self)
            with suppress(MqttwsError):  # the AsyncClient lives until it has left
                self._thread.post(partial(_abandon, self._client))
            if self._owns_thread:
                self._thread.close(0.0)

    def __enter__(self) -> Self:
        """Connect."""
        self.connect()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self.disconnect()

    # Inside: between the threads

    def _end(self, timeout: float) -> None:
        """Let nothing more onto the loop; end the thread, unless others use it too."""
        with self._gate:
            self._open = False
        self._callbacks.drain(CALLBACKS_TIMEOUT)
        self._callbacks.close()
        if self._owns_thread:
            self._thread.close(timeout + CLOSING_SLACK)

    def _call(self, work: Work[T]) -> T:
        """Do something on the loop, behind what was handed to it before, and wait for its end."""
        if not self._open and not self._thread.forked:
            self._refuse()

        def behind_the_jobs() -> Coroutine[Any, Any, T] | Future[T]:
            self._run_jobs()  # this thread's among them: its order holds [MQTT-4.6.0-1]
            return work()

        try:
            return self._thread.call(behind_the_jobs)
        except ServiceFailed:
            if not self._open:  # another thread has left, since we looked
                self._refuse()
            raise

    def _refuse(self) -> NoReturn:
        self._engine.require_usable()
        raise UsageError("the client has been disconnected", hint="make a new client")

    def _soon(self, job: Callable[[], None]) -> None:
        """Do something on the loop, with all that joins it meanwhile."""
        self._jobs.append(job)
        if not self._waking:
            self._waking = True
            try:
                if self._open and self._thread.post(self._run_jobs):
                    return
            except BaseException:  # Ctrl-C: the next call wakes the loop for this one too
                self._waking = False
                raise
            self._run_jobs()  # the loop has ended meanwhile: the callers that wait get it here

    def _run_jobs(self) -> None:
        self._waking = False
        while self._jobs:
            job = self._jobs.popleft()
            try:
                job()
            except Exception:  # a fault of ours: those behind it have their turn all the same
                logger.exception("a call without a waiting caller failed")

    def _hand_over(self, topic: str, payload: Payload, retain: bool) -> bool:
        """Give a message of QoS 0 to the loop without waiting, where nothing stands in its way.

        Nothing is to be waited for then but another thread's turn, which costs twenty times as
        much as the message.
        """
        engine = self._engine
        link = engine.outgoing.free_link
        if link is None or link.blocked or len(self._jobs) >= MAX_JOBS:
            return False
        raw = payload_bytes(payload)
        if len(raw) > MAX_HANDED_OVER:
            return False
        receipt = SyncReceipt(topic, raw, 0, retain, self)
        receipt.packet.encode()  # a broken rule is reported in this thread
        self._soon(partial(self._submit, receipt))
        return True

    def _submit(self, receipt: SyncReceipt) -> None:
        engine = self._engine
        try:
            engine.require_usable()
            engine.outgoing.submit(receipt)
        except MqttwsError as error:
            receipt._complete(error)

    def _acknowledge(self, message: ReceivedMessage) -> None:
        self._soon(partial(self._engine.acknowledge, message))

    async def _open_stream(self, topic_filter: str | None) -> MessageStream:
        return self._client.messages(topic_filter)


def _abandon(client: AsyncClient) -> None:
    client._engine.abandon()
