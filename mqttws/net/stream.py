"""A connected byte stream: TCP, with TLS on it or not.

Knows sockets and asyncio's transports. Does not know what the bytes mean. It is read by awaiting
while a hop is walked, and pushes into a receiver once one is attached.
"""

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

from ..errors import ConnectionLost, MqttwsError
from ..hops import Cause
from .failures import reason_of
from .transports import acknowledged_bytes, bytes_in_kernel, close_tls, keep_buffer_small

CLOSE_TIMEOUT = 2.0
"""Seconds that a peer has by default to take the last bytes and to close too."""


DRAIN_PAUSE = 0.005
"""Seconds between two looks at whether a slow peer has taken the last bytes."""

TLS_RECORD = 16 * 1024
"""Bytes: the most that one TLS record holds (RFC 8446 section 5.1)."""


DPS_BUFFER = 4 * 1024
"""Bytes: more than what a device and DPS say to each other mostly; what is longer takes several
reads."""


def limit_tls_buffers(size: int = TLS_RECORD) -> None:
    """Let asyncio's TLS keep a read buffer of ``size`` bytes for each connection from now on.

    The default is 256 KiB, which a server of thousands of devices notices. It affects the whole
    process, so it is for processes that only serve. It sets a private attribute of asyncio, and
    does nothing where that attribute is missing.
    """
    if isinstance(getattr(sslproto.SSLProtocol, "max_size", None), int):
        sslproto.SSLProtocol.max_size = size


class Receiver(Protocol):
    """The receiver of a stream's bytes."""

    def data_received(self, data: bytes) -> None:
        """Take the next bytes."""

    def stream_ended(self, cause: MqttwsError) -> None:
        """Handle the end of the bytes, and its cause; called once."""

    def writing_paused(self, paused: bool) -> None:
        """Handle that the peer takes bytes too slowly (True), or takes them again (False)."""


class Stream(Protocol):
    """A stream of MQTT's bytes, over any transport."""

    def attach(self, receiver: Receiver) -> None:
        """Push everything that comes, and has come, into ``receiver``."""

    def write(self, data: bytes) -> None:
        """Send bytes; what the peer does not take yet is kept."""

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""

    def pause_reading(self) -> None:
        """Leave the peer's bytes where they are until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Take the peer's bytes again."""

    async def close(self, error: MqttwsError | None = None, timeout: float = CLOSE_TIMEOUT) -> None:
        """Send what waits, say goodbye (``error`` says why), and close within ``timeout`` seconds.

        With a ``timeout`` of 0 it is closed at once.
        """

    async def finish(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Send what waits and the goodbye, shut the sending half, and close.

        Unlike ``close`` it does not wait for the peer to close too: a round trip less. A peer that
        does not take the last bytes is cut off after ``timeout`` seconds.
        """

    def abort(self) -> None:
        """Close at once; what waits is lost."""

    @property
    def cause(self) -> MqttwsError | None:
        """The error that ended the connection below; None as long as that is open."""

    @property
    def acknowledged(self) -> int:
        """The number of bytes that the peer's TCP has acknowledged since the connection began."""

    @property
    def unacknowledged(self) -> int:
        """About how many bytes were written that are not among them; at the end, of the end."""

    @property
    def peer(self) -> str:
        """The peer's address, for a log."""

    @property
    def address(self) -> str:
        """The peer's address alone, as the name service gave it."""


class ByteStream(asyncio.Protocol):
    """A ``Stream`` over one socket.

    Args:
        on_connected: called once, when a server's socket has accepted a connection.

    Attributes:
        received: bytes that came before a receiver was attached.
        on_session: called once with the TLS session, when the connection ends: with TLS 1.3 it can
            only be resumed once the server's tickets have come, behind the handshake.
    """

    def __init__(self, on_connected: Callable[["ByteStream"], None] | None = None) -> None:
        self._on_connected = on_connected
        self._transport: asyncio.Transport | None = None
        self._socket: asyncio.Transport | None = None  # the transport below all TLS
        self._receiver: Receiver | None = None
        self._unread = bytearray()
        self.received: int = 0
        self._cause: MqttwsError | None = None
        self._changed: asyncio.Future[None] | None = None  # woken by whatever happens next
        self._writable: asyncio.Future[None] | None = None
        self._lost = asyncio.get_running_loop().create_future()
        self._closing = False
        self._written = 0  # bytes; counted where the kernel does not
        self._left: int | None = None  # bytes unacknowledged when the peer's end came
        self.on_session: Callable[[ssl.SSLSession], None] | None = None

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        if self._socket is None:
            self._socket = self._transport
            keep_buffer_small(self.info("socket"))
        if self._on_connected is not None:
            # A server goes on in TLS: not a byte of the client's greeting may be taken before.
            self._transport.pause_reading()
            self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        if self._receiver is not None:
            self._receiver.data_received(data)
        elif not self._closing:
            self._unread += data
            self.received += len(data)
            self._wake()

    def eof_received(self) -> bool:
        """Let the transport close: MQTT has no use for a half-open connection."""
        self._left = self.unacknowledged
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the transport's close."""
        self._report_session()
        reason = f": {reason_of(exc)}" if isinstance(exc, OSError) else ""
        self._cause = ConnectionLost(
            f"the connection was closed by the peer{reason}",
            cause=Cause.RESET if isinstance(exc, OSError) else None,
        )
        self._cause.__cause__ = exc
        if not self._lost.done():
            self._lost.set_result(None)
        self.resume_writing()
        self._wake()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.stream_ended(self._cause)

    def pause_writing(self) -> None:
        """Handle that the transport's buffer is full."""
        self._writable = asyncio.get_running_loop().create_future()
        if self._receiver is not None:
            self._receiver.writing_paused(True)

    def resume_writing(self) -> None:
        """Handle that the transport's buffer has room again."""
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None
            if self._receiver is not None:
                self._receiver.writing_paused(False)

    # Called by us

    @property
    def connected(self) -> bool:
        """Whether there has been a transport below, open or closed by now."""
        return self._transport is not None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport below."""
        assert self._transport is not None, "the stream is connected before it is used"
        return self._transport

    async def read(self) -> bytes:
        """Wait for the next bytes; none means that the peer has closed."""
        while not self._unread and self._cause is None:
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed
        data = bytes(self._unread)
        self._unread.clear()
        return data

    def put_back(self, data: bytes) -> None:
        """Let ``data`` be read again, before what comes next."""
        self._unread[:0] = data

    async def read_until(self, until: float | None) -> bytes:
        """Read, but at most until a moment of the loop's clock; none where nothing came by then."""
        try:
            async with asyncio.timeout_at(until):
                return await self.read()
        except TimeoutError:
            return b""

    async def start_tls(
        self, context: ssl.SSLContext, server_hostname: str | None, timeout: float
    ) -> None:
        """Go on in TLS, within ``timeout`` seconds; as the server if no host name is given."""
        transport = await asyncio.get_running_loop().start_tls(
            self.transport,
            self,
            context,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
            ssl_handshake_timeout=timeout,
            ssl_shutdown_timeout=CLOSE_TIMEOUT,
        )
        if transport is None:  # closed while the handshake was being finished
            raise ConnectionResetError("closed during the TLS handshake")
        self._transport = transport

    def info(self, name: str) -> Any:
        """Return what asyncio knows of the transport, such as ``ssl_object``."""
        return self.transport.get_extra_info(name)

    @property
    def cause(self) -> MqttwsError | None:
        """The error that ended it; None as long as it is open."""
        return self._cause

    @property
    def peer(self) -> str:
        """The peer's address, for a log."""
        address = self.info("peername")
        if not address:
            return "?"
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"

    @property
    def address(self) -> str:
        """The peer's address alone, as the name service gave it."""
        found = self.info("peername")
        return str(found[0]) if found else ""

    def attach(self, receiver: Receiver) -> None:
        """Push everything that comes, and has come, into ``receiver``."""
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            receiver.data_received(data)
        if self._cause is not None:
            receiver.stream_ended(self._cause)
        else:
            self._receiver = receiver

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens on a closed stream, whose receiver knows of the end."""
        if not self.transport.is_closing() and not self._closing:
            self._written += len(data)
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def pause_reading(self) -> None:
        """Leave the peer's bytes where they are until ``resume_reading``."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the peer's bytes again."""
        self.transport.resume_reading()

    @property
    def acknowledged(self) -> int:
        """The number of bytes that the peer's TCP has acknowledged, as far as the kernel says."""
        found = acknowledged_bytes(self.info("socket"))
        if found is None:  # what the kernel took, then: its buffer is small
            return self._written - self.transport.get_write_buffer_size()
        return found

    @property
    def unacknowledged(self) -> int:
        """About how many bytes were written and are not acknowledged."""
        if self._left is not None:
            return self._left
        return self.transport.get_write_buffer_size() + bytes_in_kernel(self.info("socket"))

    async def close(self, error: MqttwsError | None = None, timeout: float = CLOSE_TIMEOUT) -> None:
        """Send what waits, shut the sending half, read the other to its end, and close.

        A socket that is closed with unread bytes resets the connection, and the peer loses what it
        has not read yet. A peer that does not close in its turn is cut off after ``timeout``.
        """
        self._receiver = None
        self._report_session()
        self._closing = True
        self._unread.clear()
        until = asyncio.get_running_loop().time() + timeout
        try:
            if timeout > 0 and self._cause is None and not self.transport.is_closing():
                self.transport.resume_reading()
                if not self._shut_sending():
                    await self._ended(timeout / 2)
                    self.transport.close()
            await self._ended(until - asyncio.get_running_loop().time())
        finally:
            self.abort()

    def _shut_sending(self) -> bool:
        if not self.transport.can_write_eof():
            return close_tls(self.transport)
        try:
            self.transport.write_eof()
        except OSError:  # the peer has reset the connection
            return False
        return True

    async def _ended(self, timeout: float) -> None:
        """Wait for the connection's end, ``timeout`` seconds at most."""
        if self._lost.done():
            return
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._lost)
        except TimeoutError:
            pass

    async def finish(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Send what waits, shut the sending half, and close; the peer's end is not awaited."""
        self._receiver = None
        self._report_session()
        below = self._socket
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
                if below is not None and not below.is_closing():
                    if self.transport is not below:
                        self.transport.close()  # TLS sends close_notify at once
                    below.write_eof()
                    while below.get_write_buffer_size():  # noqa: ASYNC110 - asyncio has no event
                        await asyncio.sleep(DRAIN_PAUSE)
        except OSError:  # TimeoutError among them: it is cut off, as is a socket that was reset
            pass
        finally:
            self.abort()
        with suppress(TimeoutError):  # the transports end in the loop's next turns
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._lost)

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        self._report_session()
        if self._cause is None:  # a transport that has ended has let go of its loop
            self.transport.abort()

    def _report_session(self) -> None:
        report, self.on_session = self.on_session, None
        made = self.info("ssl_object") if report is not None else None
        # Reading it once is enough: OpenSSL copies the session each time.
        session = None if made is None else made.session
        if report is not None and session is not None:
            report(session)

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
