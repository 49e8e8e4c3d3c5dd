"""One client's connection to a local service: protocol object, stream and timer.

Knows bytes and time. Does not know what is served: each event goes to the link's handler, in order,
which answers through ``link.protocol`` and may be exchanged for another one. DPS, hub, and the
brokers of tests and benchmarks share it:

>>> class Echo:
...     def __init__(self, link): self.link = link
...     def handle(self, event):
...         match event:
...             case ConnectReceived():
...                 self.link.protocol.accept(self.link.loop.time())
...             case MessageReceived(topic, payload):
...                 self.link.protocol.publish(topic, payload)
...
>>> link = ServerLink(stream, "#1", ())
>>> link.begin(Echo(link))
"""

import asyncio
import logging
from typing import Protocol

from ..dps.certificates import Chain
from ..errors import ConnectionLost, MqttwsError, ProtocolError
from ..net.stream import Stream
from ..protocol import ConnectionClosed, Event, ServerProtocol
from .listening import HANDSHAKE_TIMEOUT

logger: logging.Logger = logging.getLogger("mqttws.local")

MAX_PACKET_SIZE = 98 * 1024
"""Bytes: the documented 96 KB of a message (iot-dps-limits.md) and some for its topic."""


class Handler(Protocol):
    """A service's side of one connection."""

    def handle(self, event: Event) -> None:
        """Take one event. Called in order, and not again before it returns.

        ``ConnectReceived`` is answered by ``protocol.accept`` or ``protocol.refuse``, now or later;
        what the client sends until then waits. ``ConnectionClosed`` is the last event. After an
        answer that is given later, outside of this call, the handler calls ``link.pump``.
        """


class ServerLink:
    """One client's connection. It is the stream's receiver.

    Args:
        stream: carries the client's bytes, from where MQTT begins.
        label: the connection's name in the log.
        chain: certificates that the client has shown and proved, its own first.
        among: the open connections, which this one joins and leaves.
        connect_timeout: seconds within which CONNECT must come.
        max_packet_size: the largest packet in bytes that the client may send.

    Attributes:
        stream: may be wrapped by a handler, to disturb what is sent.
        protocol: the server's end of MQTT; call ``pump`` after using it outside of ``handle``.
        handler: takes the events; may be replaced at CONNECT by the one whose client it is.
        loop: the event loop; its time is the protocol's.
        ended: whether the service has ended the connection: what comes after is not served.
    """

    def __init__(
        self,
        stream: Stream,
        label: str,
        chain: Chain = (),
        *,
        among: "set[ServerLink] | None" = None,
        connect_timeout: float = HANDSHAKE_TIMEOUT,
        max_packet_size: int = MAX_PACKET_SIZE,
    ) -> None:
        self.stream = stream
        self.label = label
        self.chain = chain
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.protocol: ServerProtocol = ServerProtocol(
            self.loop.time(), connect_timeout=connect_timeout, max_packet_size=max_packet_size
        )
        self.handler: Handler
        self.ended: bool = False
        self._among = set() if among is None else among
        self._pumping = False
        self._held: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    def begin(self, handler: Handler) -> None:
        """Serve what the client says."""
        self.handler = handler
        self._among.add(self)
        self.stream.attach(self)
        self.pump()

    def close(self, reason: str) -> None:
        """End the connection; ``reason`` goes into the log."""
        self.end(ProtocolError(reason))
        self.pump()

    def end(self, error: MqttwsError) -> None:
        """End the connection from the service's side, within ``handle``."""
        self.ended = True
        self.protocol.close(error)

    async def stop(self) -> None:
        """End the connection because the service ends, and wait until it is closed."""
        self.end(ConnectionLost("the service has ended"))
        self.pump()
        if self._closing is not None:
            await self._closing

    def hold(self, reason: str) -> None:
        """Read no more of the client's bytes until every reason has been released."""
        if not self._held:
            self.stream.pause_reading()
        self._held.add(reason)

    def release(self, reason: str) -> None:
        """Read on, if nothing else holds."""
        if reason in self._held:
            self._held.discard(reason)
            if not self._held and self._closing is None:
                self.stream.resume_reading()

    def pump(self) -> None:
        """Hand events to the handler, send what they led to, and set the timer."""
        if self._pumping:  # a handler's call; the loop below goes on behind it
            return
        self._pumping = True
        try:
            while (event := self.protocol.next_event()) is not None:
                self.handler.handle(event)
                if isinstance(event, ConnectionClosed):
                    self._finish(event.error)
        finally:
            self._pumping = False
        self.pump_out()
        if self._timer is None and self._closing is None:
            self._set_timer()

    def pump_out(self) -> None:
        """Send what the protocol has for the client."""
        data = self.protocol.data_to_send(self.loop.time())
        if data:
            self.stream.write(data)

    def log(self, line: str, *values: object) -> None:
        """Write one line about this connection."""
        logger.info("%s: " + line, self.label, *values)

    # For the stream

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self.protocol.receive_data(data, self.loop.time())
        self.pump()

    def stream_ended(self, cause: MqttwsError) -> None:
        """Handle the end of the client's bytes."""
        if isinstance(cause, ProtocolError):
            self.end(cause)
        else:
            self.protocol.receive_eof(self.loop.time(), cause)
        self.pump()

    def writing_paused(self, paused: bool) -> None:
        """A client that does not take its answers is not read either."""
        if paused:
            self.hold("its answers wait")
        else:
            self.release("its answers wait")

    # Inside

    def _finish(self, error: MqttwsError | None) -> None:
        self._among.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.pump_out()  # what waits, such as a refusing CONNACK, goes before the close
        self._closing = self.loop.create_task(self.stream.close(error))
        _closing.add(self._closing)
        self._closing.add_done_callback(_closing.discard)

    def _set_timer(self) -> None:
        deadline = self.protocol.deadline
        if deadline is not None:
            self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.protocol.tick(self.loop.time())
        self.pump()


_closing: set[asyncio.Task[None]] = set()
"""Connections that are being closed: a task that nothing refers to could be collected too early."""
