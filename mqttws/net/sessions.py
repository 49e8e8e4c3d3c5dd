"""TLS sessions of this process, to be resumed when it connects again.

A resumed session skips the certificate check, and with TLS 1.2 a round trip: it is only offered
where host, port, proxy, trust and client certificate are those of the handshake that was checked.
The context stands for trust and certificate: there is one for each content. A search
for a fault makes full handshakes.

To read a session from OpenSSL takes a third as long as a full handshake, and is in vain with a
server that resumes none: one that has shown that is left alone for a while.
"""

import math
import ssl
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from .proxy import Proxy
from .target import Target

MAX_SESSIONS = 64
"""Sessions that are kept; one has a few KiB."""

LONGEST = 3600.0
"""Seconds after a certificate check in which handshakes may be resumed: a certificate that was
revoked or renewed counts after that, however long the server would resume."""

UNRESUMED = 900.0
"""Seconds for which no session is kept of a server that gave none, or has not resumed one."""

READING_LEAKS: bool = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)
"""Whether ``SSLObject.session`` loses a copy of the session, about 7 KiB, each time it is read
(CPython since 3.10, gh-116810; 3.11 is never mended)."""

MAX_READ = 200
"""Sessions that a process reads where that leaks; after them its handshakes are full ones."""

Key = tuple[ssl.SSLContext, str, int, str]


class Kept(NamedTuple):
    """The knowledge of a server that is kept.

    Attributes:
        session: what can be resumed; None for a server that does not resume.
        until: when that ends, in seconds of ``time.monotonic``.
    """

    session: ssl.SSLSession | None
    until: float


class Sessions:
    """The sessions that are kept, and the count of those that were read."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._read = 0

    def take(self, key: Key) -> Kept | None:
        """Return a session to be offered once; None for a full handshake.

        It is kept again after a good handshake: one that a server chokes on is not offered twice.
        """
        kept = self._kept.get(key)
        if kept is None or kept.session is None:
            return None
        del self._kept[key]
        return kept if time.monotonic() < kept.until else None

    def keeper(
        self, key: Key, made: ssl.SSLObject, offer: Kept | None
    ) -> Callable[[ssl.SSLSession], None] | None:
        """Return the function that keeps a connection's session; None if none is to be read.

        Where reading leaks, a session of TLS 1.2 that was resumed is kept as it is. One of TLS 1.3
        should be offered once only (RFC 8446 appendix C.4), and its successor is read.

        Args:
            key: of the connection.
            made: its TLS object, after the handshake.
            offer: the session that was offered; None for none.
        """
        resumed = offer if made.session_reused else None
        if offer is not None and resumed is None:
            self._keep_none(key)
        if not self._wants(key):
            return None
        if READING_LEAKS:
            if resumed is not None and made.version() != "TLSv1.3":
                self._put(key, resumed)
                return None
            if self._read >= MAX_READ:
                return None
            self._read += 1
        return partial(self.keep, key, until=math.inf if resumed is None else resumed.until)

    def keep(self, key: Key, session: ssl.SSLSession, until: float = math.inf) -> None:
        """Keep a session for the next connection, until then at most."""
        if not session.has_ticket and not session.id:
            self._keep_none(key)
            return
        left = session.time + session.timeout - time.time()
        self._put(key, Kept(session, min(time.monotonic() + min(left, LONGEST), until)))

    def forget(self) -> None:
        """Make full handshakes from now on, until there are new sessions."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _wants(self, key: Key) -> bool:
        """Tell whether the next session is worth reading; False where the server resumes none."""
        kept = self._kept.get(key)
        return kept is None or kept.session is not None or time.monotonic() >= kept.until

    def _keep_none(self, key: Key) -> None:
        """Keep no session for a while: the server gave none, or made a full handshake of one."""
        self._put(key, Kept(None, time.monotonic() + UNRESUMED))

    def _put(self, key: Key, kept: Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_SESSIONS:
            self._kept.popitem(last=False)


SESSIONS = Sessions()
"""The process's."""


def key_of(context: ssl.SSLContext, target: Target, proxy: Proxy | None) -> Key:
    """Return what must be the same for a session to be resumed."""
    return context, target.server_name.lower(), target.port, "" if proxy is None else proxy.url
