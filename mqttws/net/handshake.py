"""One TLS handshake as a client: its object stays readable after it has failed.

asyncio makes the ``SSLObject`` of a handshake itself and drops it with the error. A context of our
own passes the making on to the real context and keeps the object: the chain that the peer sent is
read from the very handshake that failed, and no second one is needed. The first bytes that came are
kept too: they tell who answered where the answer is not TLS.
"""

import ssl
import sys
from typing import Any, Self, cast

from .names import plain_host

_spare: "list[Handshake]" = []
"""Those whose handshake is over: OpenSSL's part of a new one takes longer than the rest of it."""

MAX_SPARE = 8


class Handshake(ssl.SSLContext):
    """Stands in for a TLS context during one handshake, which another context carries out.

    Args:
        context: carries it out: its trust, versions and client certificate apply.
        session: an earlier session to resume; None for a full handshake.

    Attributes:
        made: the TLS object; None before the handshake began.
        begun: the first raw bytes from the peer; empty until they came.
    """

    made: ssl.SSLObject | None
    begun: bytes

    def __new__(cls, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Self:
        """Make it; OpenSSL's own part stays unused."""
        try:
            self = cast(Self, _spare.pop())
        except IndexError:
            self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self._real = context
        self._session = session
        self.made = None
        self.begun = b""
        return self

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        """Leave everything to ``__new__``, as ``ssl.SSLContext`` does."""

    _real: ssl.SSLContext | None
    _session: ssl.SSLSession | None

    def release(self) -> None:
        """Let it serve again: its handshake has succeeded, and nothing is read from it any more."""
        self._real = self._session = self.made = None
        if len(_spare) < MAX_SPARE:
            _spare.append(self)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Have the real context make the TLS object, and keep it."""
        assert self._real is not None, "it is not released before its handshake"
        if type(self._real) is ssl.SSLContext and isinstance(server_hostname, str):
            server_hostname = plain_host(server_hostname)
        self.made = self._real.wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            session=session or self._session,
        )
        self._watch(self.made, incoming)
        return self.made

    def _watch(self, made: ssl.SSLObject, incoming: ssl.MemoryBIO) -> None:
        """Keep the first bytes before OpenSSL takes them, which does not give them back."""

        def do_handshake() -> None:
            if incoming.pending:
                data = incoming.read()
                incoming.write(data)
                self.begun = data[:MAX_BEGUN]
                del vars(made)["do_handshake"]  # once is enough
            type(made).do_handshake(made)

        vars(made)["do_handshake"] = do_handshake


MAX_BEGUN = 4096
"""Bytes of an answer that are kept: enough for a banner, or a page's title."""


def shown_chain(session: ssl.SSLObject) -> list[bytes]:
    """Return the certificates that the peer sent in the handshake, DER, its own first."""
    return _chain(session, "get_unverified_chain")


def proved_chain(session: ssl.SSLObject) -> list[bytes]:
    """Return the path from the peer's certificate towards a trusted one, DER, both included.

    Made of the certificates that were sent and of the trusted ones. After a failed verification it
    is as long as OpenSSL could make it.
    """
    return _chain(session, "get_verified_chain")


def _chain(session: ssl.SSLObject, name: str) -> list[bytes]:
    """Read a chain: public from Python 3.13 on, behind the object before."""
    try:
        if sys.version_info >= (3, 13):
            return list(getattr(session, name)())
        import _ssl

        inner: Any = vars(session).get("_sslobj")
        chain = getattr(inner, name)() or ()
        return [item.public_bytes(_ssl.ENCODING_DER) for item in chain]
    except (AttributeError, ValueError, ssl.SSLError):
        return []  # there was no handshake yet, or a client that showed nothing: a chain of None
