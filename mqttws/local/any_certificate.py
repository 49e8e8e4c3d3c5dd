"""TLS handshakes in which a client may show any certificate, to be judged later.

The real service lets a chain through TLS that it does not know, and answers 401 at register: an
answer tells a device more than the end of a handshake. What is enrolled changes all the time, and
may be more than one process can hold; so TLS checks no more than that a client has the key of its
certificate, and that what it has shown above it fits together.

``ssl`` takes a certificate only if it is trusted before it comes, and has no callback that judges
it. But it tells each handshake message to ``_msg_callback`` (in CPython since 3.8, for debugging)
before OpenSSL acts on it: there the client's own certificate is trusted for this handshake, by a
store that holds nothing else. Without that callback the handshake would end in an alert.
"""

import ssl
from collections.abc import Callable
from typing import Any

_HANDSHAKE = 22  # a record's content type (RFC 8446 section 5.1)
_CERTIFICATE = 11  # a handshake message's type (RFC 8446 section 4)
_HEAD = 4  # bytes before a handshake message's body: its type and its length
_TLS_1_3 = 0x0304

_NO_COMPRESSION = 1 << 32
"""OpenSSL's ``SSL_OP_NO_RX_CERTIFICATE_COMPRESSION`` (ssl.h, from 3.2 on): a client's certificate
comes as it is."""


def accept_any_certificate(
    context: ssl.SSLContext, make_trusting: Callable[[bytes], ssl.SSLContext]
) -> None:
    """Let clients show any certificate, or none, in handshakes of a server's context.

    Args:
        context: of the server.
        make_trusting: returns a server's context without a certificate of its own, which trusts
            the certificate, DER, and nothing else, or nothing if that is empty; it may raise
            ``ssl.SSLError``.
    """

    def see(  # noqa: PLR0917 - as OpenSSL calls it
        session: ssl.SSLObject,
        direction: str,
        version: int,
        content_type: int,
        message_type: int,
        data: bytes,
    ) -> None:
        if message_type != _CERTIFICATE or content_type != _HANDSHAKE or direction != "read":
            return
        own = own_certificate(data, has_context=version >= _TLS_1_3)
        try:
            after = make_trusting(own)
        except (ssl.SSLError, ValueError):  # OpenSSL cannot read it, and will send the alert
            return
        # The context that runs this very call may have no other owner any more.
        vars(after)["begun_by"] = session.context
        session.context = after  # whose handshakes are not watched

    if ssl.OPENSSL_VERSION_INFO >= (3, 2):
        context.options |= _NO_COMPRESSION
    # Not ``context._msg_callback``: it makes three enums of each call.
    callback: Any = vars(ssl.SSLContext.__base__)["_msg_callback"]
    callback.__set__(context, see)


def own_certificate(message: bytes, *, has_context: bool) -> bytes:
    """Return a client's own certificate, DER, from its Certificate message; empty for none.

    Args:
        message: with its head (RFC 8446 section 4.4.2, RFC 5246 section 7.4.6).
        has_context: whether it has a request context: TLS 1.3.
    """
    at = _HEAD
    if has_context:
        at += 1 + int.from_bytes(message[at : at + 1])
    at += 3  # the length of the whole list
    size = int.from_bytes(message[at : at + 3])
    return message[at + 3 : at + 3 + size]
