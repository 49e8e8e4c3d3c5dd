"""The upgraded stream: MQTT's bytes in the binary frames of a WebSocket, from either end.

Knows the sans-I/O protocol objects of ``websockets``, and the rules of MQTT 3.1.1 section 6:
binary frames only, frames are no packets, the subprotocol is ``mqtt``. No extensions and no
WebSocket pings: MQTT has its own.
"""

import asyncio
import logging
import secrets
import struct
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import (  # type: ignore[attr-defined]  # masking: its C part's, if any
    Close,
    CloseCode,
    Frame,
    Opcode,
    apply_mask,
)
from websockets.protocol import Event, State

from ..errors import (
    ConnectionLost,
    MqttwsError,
    PacketTooLarge,
    ProtocolError,
)
from ..hops import Cause
from ..text import one_line
from .frames import PLAIN, FrameSplitter
from .stream import CLOSE_TIMEOUT, ByteStream, Receiver

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

Parts = list[bytes | bytearray | memoryview]
"""Payloads in their order."""

PIECE = 64 * 1024
"""Bytes of a large message that are masked at a time: a multiple of the mask's four."""

LARGE_HEADER = struct.Struct("!BBQ4s")
"""A frame's first byte, 127 with the bit for a mask, length and mask (RFC 6455 section 5.2)."""

# The library's own log would show headers; it is never let near a handler.
silent_logger: logging.Logger = logging.Logger("mqttws.websocket", level=logging.CRITICAL + 1)
silent_logger.disabled = True


class WebSocketStream:
    """A ``Stream`` inside a WebSocket, after the upgrade.

    Args:
        stream: the bytes below.
        protocol: the sans-I/O end of the WebSocket.
        early: frames that came in the same segment as the end of the upgrade (WS-26).
        splitter: takes plain frames out ahead of the library; None leaves every frame to it.
    """

    def __init__(
        self,
        stream: ByteStream,
        protocol: "ClientProtocol | ServerProtocol",
        early: Sequence[Event] = (),
        splitter: FrameSplitter | None = None,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._early = early
        self._splitter = splitter
        self._receiver: Receiver | None = None
        self._ended = False
        self._finished = asyncio.get_running_loop().create_future()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on."""
        return self._protocol.subprotocol

    # Called by the byte stream below

    def data_received(self, data: bytes) -> None:
        """Take bytes of frames."""
        if self._protocol.state is State.CLOSED:
            return
        # What one read brought is decoded together: frames mean nothing to MQTT [MQTT-6.0.0-2].
        parts: Parts = []
        if self._splitter is None:
            self._feed(parts, data)
        else:
            self._splitter.split(data, parts.append, partial(self._feed, parts))
        self._hand_over(parts)
        self._flush()

    def _feed(self, parts: Parts, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._sort(parts, self._protocol.events_received())

    def _sort(self, parts: Parts, events: Sequence[Event]) -> None:
        """Add what the library found to ``parts``; hand them over before the connection's end."""
        for event in events:
            if type(event) is Frame:
                opcode = event.opcode
                if opcode is Opcode.BINARY or opcode is Opcode.CONT:
                    parts.append(event.data)
                else:
                    self._hand_over(parts)
                    self._on_frame(event)
        if self._protocol.parser_exc is not None:
            self._hand_over(parts)
            self._flush()
            too_big = isinstance(self._protocol.parser_exc, PayloadTooBig)
            self._end(
                ProtocolError(
                    f"a broken WebSocket frame: {one_line(str(self._protocol.parser_exc))}",
                    rule="MQTT-4.8.0-1",
                    cause=Cause.PACKET_TOO_LARGE if too_big else None,
                )
            )

    def stream_ended(self, cause: MqttwsError) -> None:
        """Handle the end of the bytes below."""
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        self._end(self._lost(cause))
        if not self._finished.done():
            self._finished.set_result(None)

    def writing_paused(self, paused: bool) -> None:
        """Pass on that the peer is slow, or is no longer."""
        if self._receiver is not None:
            self._receiver.writing_paused(paused)

    # Called by the code that speaks MQTT in it

    def attach(self, receiver: Receiver) -> None:
        """Push the bytes of every binary frame into ``receiver``."""
        self._receiver = receiver
        early, self._early = self._early, ()
        parts: Parts = []
        self._sort(parts, early)
        self._hand_over(parts)
        self._flush()
        self._stream.attach(self)

    def write(self, data: bytes) -> None:
        """Send bytes in one binary message."""
        if self._protocol.state is State.OPEN:
            if len(data) > PIECE and isinstance(self._protocol, ClientProtocol):
                self._write_large(data)
            else:
                self._protocol.send_binary(data)
                self._flush()

    def _write_large(self, data: bytes) -> None:
        """Write one masked frame in pieces.

        The library makes several blocks of its size, and TLS as many: a block of a megabyte costs
        more in page faults than in copies.
        """
        mask = secrets.token_bytes(4)
        self._stream.write(LARGE_HEADER.pack(PLAIN, 0x80 | 127, len(data), mask))
        whole = memoryview(data)
        for at in range(0, len(data), PIECE):
            self._stream.write(apply_mask(whole[at : at + PIECE], mask))

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        await self._stream.drain()

    @property
    def cause(self) -> MqttwsError | None:
        """The error that ended the connection below; None as long as that is open."""
        return self._stream.cause

    @property
    def acknowledged(self) -> int:
        """The number of bytes that the peer's TCP has acknowledged since the connection began."""
        return self._stream.acknowledged

    @property
    def unacknowledged(self) -> int:
        """About how many bytes were written that are not among them."""
        return self._stream.unacknowledged

    def pause_reading(self) -> None:
        """Leave the peer's bytes where they are until ``resume_reading``."""
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Take the peer's bytes again."""
        self._stream.resume_reading()

    async def close(self, error: MqttwsError | None = None, timeout: float = CLOSE_TIMEOUT) -> None:
        """Make the closing handshake (RFC 6455 section 7) and close, within ``timeout`` seconds."""
        self._receiver = None
        until = asyncio.get_running_loop().time() + timeout
        if self._protocol.state is State.OPEN:
            code, reason = _close_code(error)
            self._protocol.send_close(code, reason)
            self._flush()
        try:
            if isinstance(self._protocol, ClientProtocol):  # the server closes TCP first (WS-52)
                async with asyncio.timeout_at(until):
                    await asyncio.shield(self._finished)
        except TimeoutError:
            pass
        finally:
            await self._stream.close(timeout=max(0.0, until - asyncio.get_running_loop().time()))

    async def finish(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Send a Close frame and shut the sending half; the peer's Close is not awaited."""
        self._receiver = None
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        await self._stream.finish(timeout)

    def end(self, code: int) -> None:
        """Begin the closing handshake with a code of the caller's choice."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._flush()

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        self._stream.abort()

    @property
    def peer(self) -> str:
        """The peer's address, for a log."""
        return self._stream.peer

    @property
    def address(self) -> str:
        """The peer's address alone, as the name service gave it."""
        return self._stream.address

    # Inside

    def _hand_over(self, parts: Parts) -> None:
        data = b"".join(parts)
        parts.clear()
        if data and self._receiver is not None:
            self._receiver.data_received(data)

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:  # [MQTT-6.0.0-1]
            self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT needs binary frames")
            self._end(
                ProtocolError(
                    "a text frame; MQTT travels in binary frames only", rule="MQTT-6.0.0-1"
                )
            )
        elif frame.opcode is Opcode.CLOSE:
            self._end(self._lost(ConnectionLost("the peer closed the WebSocket")))

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._stream.write(data)
            else:  # the library's sign for the end of what we send
                self._stream.transport.close()

    def _end(self, cause: MqttwsError) -> None:
        if self._ended:
            return
        self._ended = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.stream_ended(cause)

    def _lost(self, cause: MqttwsError) -> MqttwsError:
        close: Close | None = self._protocol.close_rcvd
        if close is None or not isinstance(cause, ConnectionLost):
            return cause
        said = f", {one_line(close.reason)}" if close.reason else ""
        lost = ConnectionLost(
            f"the peer closed the WebSocket with code {close.code}{said}",
            close_code=close.code,
            close_reason=close.reason,
        )
        lost.__cause__ = cause.__cause__
        return lost


def _close_code(error: MqttwsError | None) -> tuple[CloseCode, str]:
    """Return the close code that fits why we close (WS-61); the reason holds 123 bytes at most."""
    if error is None:
        return CloseCode.NORMAL_CLOSURE, ""
    if isinstance(error, PacketTooLarge):
        return CloseCode.MESSAGE_TOO_BIG, ""
    if isinstance(error, ConnectionLost):  # it is we who leave
        return CloseCode.GOING_AWAY, ""
    return CloseCode.POLICY_VIOLATION, ""
