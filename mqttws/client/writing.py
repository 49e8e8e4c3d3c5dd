"""The way out of one connection: what waits to be sent, the store before it, the stream behind it.

Does not know what comes in, nor why a connection ends.
"""

import asyncio
from functools import partial

from ..net.stream import Stream
from ..protocol import ClientProtocol
from . import clock
from .journal import Journal
from .link_owner import Owner
from .trace import Tracer

OUTBOX_HIGH_WATER = 64 * 1024
"""Bytes that may wait to be sent before ``publish`` waits for the peer to take some."""


class Writing:
    """The sending half of a connection.

    Args:
        protocol: the client's end of the connection, new.
        owner: asked for what the store must know.
        journal: writes the session's changes before the bytes go out; None where nothing is kept.
        tracer: reads along; None for none.

    Attributes:
        unsent: about how many bytes have gone into the outbox since the last flush.
        flush_scheduled: whether a flush comes at the end of this turn of the loop.
        blocked: whether the server takes bytes too slowly.
        loop: the event loop that it works on.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        owner: Owner,
        journal: Journal | None,
        tracer: Tracer | None,
    ) -> None:
        self.protocol = protocol
        self.unsent: int = 0
        self.flush_scheduled: bool = False
        self.blocked: bool = False
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._owner = owner
        self._journal = journal
        self._tracer = tracer
        self._stream: Stream | None = None
        self._unwritten = 0  # bytes that wait for the store
        self._left_unsent: int | None = None  # bytes, when the stream ended

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int | None:
        """Send a message, the one way out; return its packet identifier, None with QoS 0.

        ``UsageError``: it breaks a rule; nothing was sent."""
        packet_id = self.protocol.publish(topic, payload, qos, retain)
        self.unsent += len(payload) + 64  # an empty payload takes room too
        if self.unsent >= OUTBOX_HIGH_WATER:
            self.flush()
        elif not self.flush_scheduled:
            self.flush_soon()
        return packet_id

    def resend_rest(self, through: int | None = None) -> None:
        """Send again what was held back; ``through``: as for ``ClientProtocol.resend_rest``."""
        self.protocol.resend_rest(through)
        self.flush_soon()

    async def drain(self) -> None:
        """Send what waits, and wait until the server has taken enough of it."""
        self.flush()
        if self._journal is not None:
            await self._journal.written()
        while self._stream is not None and self.blocked:
            await self._stream.drain()
        await asyncio.sleep(0)  # others have their turn, also beside a loop that only publishes

    @property
    def sent_whole(self) -> bool:
        """Whether the server's TCP has acknowledged all that was to be sent."""
        stream = self._stream
        left = self._left_unsent if stream is None else stream.unacknowledged
        return not self.protocol.has_data and not self._unwritten and left == 0

    @property
    def position(self) -> int | None:
        """About how many bytes the stream was given; None while some wait before it."""
        stream = self._stream
        if stream is None or self.protocol.has_data or self._unwritten:
            return None
        return stream.acknowledged + stream.unacknowledged

    def has_taken(self, position: int) -> bool:
        """Whether the server's TCP has acknowledged what was sent up to a ``position``."""
        return self._stream is not None and self._stream.acknowledged >= position

    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop: what waits together goes in one message."""
        if not self.flush_scheduled:
            self.loop.call_soon(self.flush)
            self.flush_scheduled = True

    def flush(self) -> None:
        """Send what waits, after the store has what it must know, as far as the server takes it."""
        self.flush_scheduled = False
        self.unsent = 0
        stream, journal = self._stream, self._journal
        if stream is None:
            return
        if journal is not None and (steps := self._owner.take_steps()):
            journal.submit(steps, lambda: None)
        protocol = self.protocol
        while not self.blocked and self._unwritten < OUTBOX_HIGH_WATER:
            data = protocol.data_to_send(clock.now(), OUTBOX_HIGH_WATER)
            if not data:
                return
            if journal is None:
                self._write(stream, data)
            else:
                self._unwritten += len(data)
                journal.submit((), partial(self._write_stored, stream, data))

    # Inside

    def _write(self, stream: Stream, data: bytes) -> None:
        stream.write(data)
        if self._tracer is not None:
            self._tracer.read(">", data)

    def _write_stored(self, stream: Stream, data: bytes) -> None:
        """Write what the store was waited for, and go on with what stands behind it."""
        self._unwritten -= len(data)
        self._write(stream, data)
        if self.protocol.has_data and not self.blocked:
            self.flush_soon()
