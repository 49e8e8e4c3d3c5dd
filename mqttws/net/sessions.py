"""TLS sessions of this process, to be resumed when it connects again.

A resumed session skips the certificate check, and with TLS 1.2 a round trip: it is only offered
where host, port, proxy, trust and client certificate are those of the handshake that was checked.
The context stands for trust and certificate: there is one for each content. A search
for a fault makes full handshakes.

To read a session from OpenSSL takes a third as long as a full handshake, and is in vain with a
server that resumes none: one that has shown that is left alone for a while.
"""

import ssl
import time
from collections import OrderedDict

from .proxy import Proxy
from .target import Target

MAX_SESSIONS = 64
"""Sessions that are kept; one has a few KiB."""

LONGEST = 3600.0
"""Seconds for which a session is kept at most: a certificate that was revoked or renewed counts
after that, however long the server would resume."""

UNRESUMED = 900.0
"""Seconds for which no session is kept of a server that gave none, or has not resumed one."""

Key = tuple[ssl.SSLContext, str, int, str]

_sessions: OrderedDict[Key, tuple[ssl.SSLSession | None, float]] = OrderedDict()
"""What is kept, and the monotonic time until when; None for a server that does not resume."""


def key_of(context: ssl.SSLContext, target: Target, proxy: Proxy | None) -> Key:
    """Return what must be the same for a session to be resumed."""
    return context, target.server_name.lower(), target.port, "" if proxy is None else proxy.url


def take_session(key: Key) -> ssl.SSLSession | None:
    """Return a session to be offered once; None for a full handshake.

    It is kept again after a good handshake: one that a server chokes on is not offered twice.
    """
    session, until = _sessions.get(key, (None, 0.0))
    if session is None:
        return None
    del _sessions[key]
    return session if time.monotonic() < until else None


def wants_session(key: Key) -> bool:
    """Tell whether the next session is worth keeping; False where the server resumes none."""
    session, until = _sessions.get(key, (None, 0.0))
    return session is not None or time.monotonic() >= until


def keep_session(key: Key, session: ssl.SSLSession) -> None:
    """Keep a session for the next connection."""
    if not session.has_ticket and not session.id:
        keep_none(key)
        return
    left = session.time + session.timeout - time.time()
    _keep(key, session, min(left, LONGEST))


def keep_none(key: Key) -> None:
    """Keep no session for a while: the server gave none, or made a full handshake of one."""
    _keep(key, None, UNRESUMED)


def _keep(key: Key, session: ssl.SSLSession | None, seconds: float) -> None:
    _sessions[key] = (session, time.monotonic() + seconds)
    _sessions.move_to_end(key)
    while len(_sessions) > MAX_SESSIONS:
        _sessions.popitem(last=False)


def forget_sessions() -> None:
    """Make full handshakes from now on, until there are new sessions."""
    _sessions.clear()
