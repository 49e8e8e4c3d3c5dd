"""Facts about a connection that asyncio's transports and the kernel tell only when asked."""

import asyncio
import socket
import ssl
import sys
from contextlib import suppress
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # another system
    _QUEUED = None
else:
    _QUEUED = termios.TIOCOUTQ

LINUX: bool = sys.platform == "linux"
"""Whether the kernel says how many bytes a peer's TCP has acknowledged."""


def acknowledged_bytes(connection: Any) -> int | None:
    """Return how many bytes the peer's TCP has acknowledged; None where that cannot be read.

    Linux counts them in struct tcp_info (bytes_acked, since 4.1).
    """
    if not LINUX or connection is None:
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    except OSError:
        return None
    return int.from_bytes(info[120:128], sys.byteorder) if len(info) == 128 else None


SMALL_BUFFER = 64 * 1024
"""Bytes of a socket's send buffer where the kernel does not say what was acknowledged."""


def keep_buffer_small(connection: Any) -> None:
    """Have the kernel take few bytes ahead where it does not say what the peer has acknowledged.

    What it took is then all that can be counted: soon after a peer's death it takes no more.
    """
    if not LINUX and connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)


def bytes_in_kernel(connection: Any) -> int:
    """Return how many bytes the kernel holds that the peer's TCP has not acknowledged."""
    if _QUEUED is None:
        return 0
    try:
        raw = fcntl.ioctl(connection.fileno(), _QUEUED, bytes(4))
    except (AttributeError, OSError, ValueError):  # closed
        return 0
    return int.from_bytes(raw, sys.byteorder)


def close_tls(transport: asyncio.Transport) -> bool:
    """Send TLS's close_notify and go on reading; return False where that cannot be done.

    asyncio's own ``close`` refuses what the peer sends from then on, and resets the connection
    for it. The second place that reaches into asyncio; where that has changed, nothing is done.
    """
    protocol = getattr(transport, "_ssl_protocol", None)
    session = getattr(protocol, "_sslobj", None)
    send = getattr(protocol, "_process_outgoing", None)
    if session is None or send is None or getattr(protocol, "_write_backlog", None):
        return False
    try:
        session.unwrap()
    except ssl.SSLError:  # the peer's own close_notify is still to come
        pass
    except (OSError, ValueError):
        return False
    send()
    return True
