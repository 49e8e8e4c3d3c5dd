"""One connection at work: its protocol object, its stream, its timer.

Moves bytes and reads the clock. Does not know reconnecting, queues or streams of messages: what
happens is reported to its owner, the client.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import ConnectFailed, ConnectionLost, MqttwsError, ProtocolError, StoreFailed
from ..hops import Cause, Hop
from ..net.stream import Stream
from ..protocol import (
    ClientProtocol,
    Connected,
    ConnectionClosed,
    ConnectRejected,
    Event,
    MessageReceived,
    PublishCompleted,
    RequestFailed,
    SubscribeCompleted,
    UnsubscribeCompleted,
)
from . import clock
from .answers import Answers
from .journal import Journal
from .link_owner import Owner
from .refusals import refusal
from .trace import Tracer
from .writing import Writing


class Link(Writing):
    """One connection; it is the stream's receiver.

    Args:
        protocol: the client's end of the connection, new.
        owner: its methods are called with what happens.
        journal: writes the session's changes before the bytes go out; None where nothing is kept.
        tracer: reads along; None for none.
        number: counts the client's connections.

    Attributes:
        reading_paused: whether the server's bytes are left where they are.
        number: counts the client's connections.
        error: what ended it; None before, and if that was asked for.
        opened_at: when it was made, in the clock's seconds.
        closing: closes the stream after the link ended for an error; None before, and where the
            stream had ended by itself.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        owner: Owner,
        *,
        journal: Journal | None,
        tracer: Tracer | None,
        number: int,
    ) -> None:
        super().__init__(protocol, owner, journal, tracer)
        self.reading_paused: bool = False
        self.number = number
        self.error: MqttwsError | None = None
        self.opened_at: float = clock.now()
        self._opened: asyncio.Future[bool] = self.loop.create_future()
        self._answers = Answers(self.loop)
        self._alarm = clock.Alarm(self.loop, self._on_timer)
        self._ended = False
        self._begun = b""  # the first bytes, until CONNACK
        self.closing: asyncio.Task[None] | None = None

    # For the client

    def begin(self, stream: Stream) -> None:
        """Put CONNECT into the outbox, and take what comes over ``stream``.

        What is asked before ``opened`` is awaited goes out in one flight with CONNECT, where the
        protocol object allows that.
        """
        self._stream = stream
        self.protocol.connect(clock.now())
        stream.attach(self)

    async def open(self, stream: Stream) -> bool:
        """Send CONNECT over ``stream`` and wait for CONNACK; return whether a session is present.

        Raises:
            ConnectFailed: as for ``opened``.
        """
        self.begin(stream)
        return await self.opened()

    async def opened(self) -> bool:
        """Wait for CONNACK; return whether a session is present.

        Raises:
            ConnectFailed: the server refused, or its answer was not MQTT.
        """
        self._pump()
        try:
            return await self._opened
        except ConnectionLost as error:
            raise ConnectFailed(
                f"connect: the server closed the connection instead of answering CONNECT: {error}",
                hop=Hop.CONNECT,
                cause=Cause.CUT_OFF,
                hint="check scheme and port: MQTT over TLS (mqtts://), WebSocket and MQTT without"
                " TLS have ports of their own; then user name and ClientId, and the server's log",
            ) from error
        except ProtocolError as error:
            from ..net.http_page import opening  # here: few clients ever read a page

            begins = f" (it begins with {opening(self._begun)})" if self._begun else ""
            raise ConnectFailed(
                f"connect: the answer is not MQTT 3.1.1{begins}: {error}",
                hop=Hop.CONNECT,
                cause=Cause.PROTOCOL_BROKEN,
                hint="this may not be an MQTT service: check host, port and path",
            ) from error

    async def request(self, send: Callable[[ClientProtocol], int]) -> Any:
        """Send a SUBSCRIBE or an UNSUBSCRIBE and wait for its answer.

        Raises:
            MqttwsError: why the link ended first.
        """
        return await self.begin_request(send)

    def begin_request(self, send: Callable[[ClientProtocol], int]) -> "asyncio.Future[Any]":
        """Send a SUBSCRIBE or an UNSUBSCRIBE; return the future of its answer."""
        if self._ended:
            future: asyncio.Future[Any] = self.loop.create_future()
            future.set_exception(self.error or ConnectionLost("the client was disconnected"))
        else:
            future = self._answers.expect(send(self.protocol))
            self.flush_soon()
        return future

    def fail_requests(self, error: MqttwsError) -> None:
        """Fail every wait for a request's answer."""
        self._answers.fail(error)

    def set_reading(self, reading: bool) -> None:
        """Take the server's bytes, or leave them where they are."""
        if self._stream is None or reading is not self.reading_paused:
            return
        self.reading_paused = not reading
        self.protocol.set_reading(reading, clock.now())
        if reading:
            self._stream.resume_reading()
        else:
            self._stream.pause_reading()
        self._alarm.set(self.protocol.deadline)

    async def close(self, timeout: float) -> None:
        """Send what waits and DISCONNECT, and close the stream, within ``timeout`` seconds."""
        until = self.loop.time() + timeout
        self.protocol.disconnect()
        self._pump()
        with suppress(StoreFailed, TimeoutError):
            async with asyncio.timeout(timeout):
                while self.protocol.has_data and self._stream is not None:
                    await self.drain()
                if self._journal is not None:
                    await self._journal.written()
        stream, self._stream = self._stream, None
        if stream is not None:
            if self.reading_paused:
                stream.resume_reading()  # the answer to our close comes behind what is unread
            await stream.close(timeout=max(0.0, until - self.loop.time()))

    async def finish(self, timeout: float) -> None:
        """Send what waits and DISCONNECT, and close without waiting for the server's close."""
        self.protocol.disconnect()
        self._pump()
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.finish(timeout)

    def abort(self) -> None:
        """Close at once."""
        self._alarm.stop()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    def give_up(self, error: MqttwsError) -> None:
        """End the link for a reason of ours."""
        self.protocol.receive_eof(clock.now(), error)
        self._pump()

    # For the stream

    def data_received(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self._tracer is not None:
            self._tracer.read("<", data)
        if not self._begun:
            self._begun = data[:80]
        self.protocol.receive_data(data, clock.now())
        self._pump()

    def stream_ended(self, cause: MqttwsError) -> None:
        """Handle the end of the server's bytes."""
        self._left_unsent = self._stream.unacknowledged if self._stream is not None else None
        self.protocol.receive_eof(clock.now(), cause)
        self._pump()

    def writing_paused(self, paused: bool) -> None:
        """Handle that the server takes bytes too slowly, or takes them again."""
        self.blocked = paused
        if not paused:
            self.flush()
            if not self.blocked:
                self._owner.on_ready(self)

    # Inside

    def _pump(self) -> None:
        """Hand events out, send what is to be sent, and set the timer."""
        next_event = self.protocol.next_event
        completed = False
        while (event := next_event()) is not None:
            kind = type(event)  # `match` costs five times as much for the two frequent ones
            if kind is MessageReceived:
                self._owner.on_message(self, event)  # type: ignore[arg-type]
            elif kind is PublishCompleted:
                self._owner.on_completed(event)  # type: ignore[arg-type]
                completed = True
            else:
                self._on_event(event)
        if completed and not self.blocked:
            self._owner.on_ready(self)
        self.flush()
        self._alarm.set(self.protocol.deadline)

    def _on_event(self, event: Event) -> None:
        match event:
            case UnsubscribeCompleted(packet_id):
                self._answers.resolve(packet_id, None)
            case SubscribeCompleted(packet_id, return_codes):
                self._answers.resolve(packet_id, return_codes)
            case RequestFailed(packet_id, fault):
                self._answers.resolve(packet_id, fault)
            case Connected(session_present):
                self._owner.on_connected(self, session_present)
                if not self._opened.done():
                    self._opened.set_result(session_present)
            case ConnectRejected(return_code):
                self._end(refusal(return_code, self.protocol.opening))
            case ConnectionClosed(error):
                self._end(error)
            case _:
                self._owner.on_oddity(self, event)

    def _end(self, error: MqttwsError | None) -> None:
        """Wake every caller that waits on this link: it is over."""
        if self._ended:
            return
        self._ended = True
        self.error = error
        self._alarm.stop()
        told = error or ConnectionLost("the client was disconnected while this waited")
        self._answers.fail(told)
        if not self._opened.done():
            self._opened.set_exception(told)
        if not self._opened.cancelled():
            self._opened.exception()  # retrieved, in case no caller waits: asyncio would log it
        if error is not None and self._stream is not None:
            self.flush()  # what was acknowledged goes out, if it can
            stream, self._stream = self._stream, None
            if stream.cause is None:
                if self.reading_paused:
                    stream.resume_reading()
                self.closing = self.loop.create_task(stream.close(error))
        self._owner.on_end(self, error)

    def _on_timer(self) -> None:
        now = clock.now()
        self._note_progress(now)
        self.protocol.tick(now)
        self._pump()
        self._note_progress(now)  # with a PINGREQ that has just been written behind the rest
        self._alarm.set(self.protocol.deadline)

    def _note_progress(self, now: float) -> None:
        stream = self._stream
        if stream is not None:
            self.protocol.note_acknowledged(stream.acknowledged, stream.unacknowledged, now)
