"""TLS alerts for clients that fail the handshake (RFC 8446 section 6.2, RFC 5246 section 7.2.2).

OpenSSL writes the alert into its outgoing buffer; asyncio closes the socket without sending what is
there. The server's contexts therefore make TLS objects that send it themselves.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

_transport: ContextVar[asyncio.Transport | None] = ContextVar("transport", default=None)


class AlertingObject(ssl.SSLObject):
    """A server's TLS object that sends the alert of a failed handshake before the socket closes."""

    _outgoing: ssl.MemoryBIO
    _raw: asyncio.Transport | None

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **options: Any) -> Self:
        made: Self = super()._create(incoming, outgoing, **options)  # type: ignore[misc]
        made._outgoing = outgoing
        made._raw = _transport.get()
        return made

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            if self._raw is not None and self._outgoing.pending:
                self._raw.write(self._outgoing.read())
            raise


def send_alerts(context: ssl.SSLContext) -> None:
    """Let handshakes of this context end in an alert where they fail."""
    context.sslobject_class = AlertingObject


@contextmanager
def handshake_of(transport: asyncio.Transport) -> Iterator[None]:
    """Let a handshake that begins within send its alert over ``transport``."""
    token = _transport.set(transport)
    try:
        yield
    finally:
        _transport.reset(token)
