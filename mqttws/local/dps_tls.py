"""The DPS's side of TLS: its certificate, and the chains that devices show.

Knows ``ssl``. Does not know what is enrolled: TLS lets every chain through whose first certificate
the device has the key of, whatever its dates and its issuer, and the service judges it at register.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..dps.certificates import Chain
from ..dps.faults import Kind
from ..errors import UsageError
from ..net.handshake import shown_chain
from .any_certificate import accept_any_certificate
from .bad_certificates import bad_context
from .certificates import ServerCertificate, server_context
from .chains import read_chain

_NO_CHECK_TIME = 0x200000
"""OpenSSL's ``X509_V_FLAG_NO_CHECK_TIME`` (x509_vfy.h), which ``ssl`` has no name for: an expired
certificate is answered at register, which tells the device more than the end of TLS."""


class DpsTls:
    """The server's side of TLS of a local DPS.

    Args:
        strike: returns the bad certificate that an ordered fault wants in this handshake; it may
            raise, which ends the connection.
    """

    def __init__(self, strike: Callable[[str], Awaitable[Kind | None]]) -> None:
        self._strike = strike
        self._folder: Path
        self._names: tuple[str, ...]
        self._certificates: ServerCertificate | None = None
        self._context: ssl.SSLContext | None = None
        self._trusting_none = server_context()

    def begin(self, folder: Path, certificates: ServerCertificate, names: tuple[str, ...]) -> None:
        """Use these certificates from now on."""
        self._folder = folder
        self._names = names
        self._certificates = certificates
        self._context = None

    def written(self) -> tuple[int, ...]:
        """Return when the certificate's files were written."""
        return () if self._certificates is None else self._certificates.written()

    def renew(self) -> None:
        """Show from the next handshake on what stands in the certificate's files now.

        Raises:
            OSError: they cannot be read, or do not fit together; all stays as it was.
        """
        self._context = self._make_context()

    async def context(self, label: str) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        bad = await self._strike(label)
        if bad is not None:
            return await asyncio.to_thread(bad_context, bad, self._folder, self._names)
        if self._context is None:
            self._context = self._make_context()
        return self._context

    def chain(self, ssl_object: ssl.SSLObject) -> Chain:
        """Return the certificates that a client has shown and proved."""
        return read_chain(shown_chain(ssl_object))

    def _make_context(self) -> ssl.SSLContext:
        if self._certificates is None:
            raise UsageError("the local DPS has not been started")
        context = self._certificates.context()
        _ask_for_certificate(context)
        # A ticket does not bring the chain back: a device that resumed its session by one would
        # stand there without any certificate.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        accept_any_certificate(context, self._trusting)
        return context

    def _trusting(self, certificate: bytes) -> ssl.SSLContext:
        """Return a server's context that trusts one certificate, DER; or none, if it is empty."""
        if not certificate:
            return self._trusting_none
        context = server_context()
        _ask_for_certificate(context)
        context.load_verify_locations(cadata=certificate)
        return context


def _ask_for_certificate(context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
