"""The DPS's side of TLS: its certificate, and the certificates in which a device's chain may end.

Knows ``ssl`` and what is enrolled. TLS lets every chain through that ends in an enrolled
certificate, whatever its dates, and the service judges it at register.
"""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from cryptography import x509

from ..dps.certificates import Chain
from ..dps.faults import Kind
from ..dps.store import Store
from ..dps.tables import CERTIFIED, GROUPS, INDIVIDUALS
from ..errors import UsageError
from .bad_certificates import bad_context
from .certificates import ServerCertificate
from .x509 import load_certificate, proved_chain

logger: logging.Logger = logging.getLogger("mqttws.local")

_NO_CHECK_TIME = 0x200000
"""OpenSSL's ``X509_V_FLAG_NO_CHECK_TIME`` (x509_vfy.h), which ``ssl`` has no name for: an expired
certificate is answered at register, which tells the device more than the end of TLS."""


class TrustAnchors:
    """The certificates in which a device's chain may end; they change while handshakes go on.

    OpenSSL cannot forget a certificate, and takes the first one of a name: after one was removed,
    the next handshake gets a fresh context.

    Args:
        make_context: returns a server's TLS context.
    """

    def __init__(self, make_context: Callable[[], ssl.SSLContext]) -> None:
        self._make_context = make_context
        self._counts: Counter[bytes] = Counter()
        self._certificates: dict[bytes, x509.Certificate] = {}
        self._context: ssl.SSLContext | None = None
        self._others: list[bytes] = []

    def add(self, ders: Iterable[bytes]) -> None:
        """Trust certificates that no enrollment holds, DER, from now on.

        Raises:
            UsageError: one of them is no certificate.
        """
        for der in ders:
            if der not in self._others:
                self.change([der], [])
                self._others.append(der)

    def replace(self, ders: Iterable[bytes]) -> None:
        """Trust these certificates, DER, and no others; one that cannot be read is left out."""
        self._counts.clear()
        self._certificates.clear()
        self._context = None
        for der in (*self._others, *ders):
            try:
                self.change([der], [])
            except UsageError as error:
                logger.warning("an enrolled certificate is not trusted: %s", error)

    def change(self, added: Iterable[bytes], removed: Iterable[bytes]) -> None:
        """Trust some certificates more, and some less, from the next handshake on.

        Raises:
            UsageError: one of them is no certificate.
        """
        for der in added:
            if der not in self._certificates:
                self._certificates[der] = load_certificate(der)
                if self._context is not None:
                    self._context.load_verify_locations(cadata=der)
            self._counts[der] += 1
        for der in removed:
            self._counts[der] -= 1
            if self._counts[der] <= 0:
                del self._counts[der]
                if self._certificates.pop(der, None) is not None:
                    self._context = None

    def renew(self) -> None:
        """Make the context of the next handshake anew."""
        self._context = None

    def context(self) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        if self._context is None:
            context = self._make_context()
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
            # A ticket does not bring the chain back: a device that resumed its session by one would
            # stand there without any certificate.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
            for der in self._certificates:
                context.load_verify_locations(cadata=der)
            self._context = context
        return self._context

    def chain(self, ssl_object: ssl.SSLObject) -> Chain:
        """Return the chain that the peer has proved: its own certificate first."""
        return proved_chain(ssl_object, self._certificates.values())


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
        self.anchors: TrustAnchors = TrustAnchors(self._make_context)

    def begin(self, folder: Path, certificates: ServerCertificate, names: tuple[str, ...]) -> None:
        """Use these certificates from now on."""
        self._folder = folder
        self._names = names
        self._certificates = certificates

    def written(self) -> tuple[int, ...]:
        """Return when the certificate's files were written."""
        return () if self._certificates is None else self._certificates.written()

    def renew(self) -> None:
        """Show from the next handshake on what stands in the certificate's files now.

        Raises:
            OSError: they cannot be read, or do not fit together; all stays as it was.
        """
        self._make_context()
        self.anchors.renew()

    def _make_context(self) -> ssl.SSLContext:
        if self._certificates is None:
            raise UsageError("the local DPS has not been started")
        return self._certificates.context()

    async def load(self, store: Store) -> None:
        """Trust what is enrolled in a store, and nothing else."""
        ders: list[bytes] = []
        for table in (INDIVIDUALS, GROUPS):
            more, after = True, ""
            while more:
                items, more = await store.page(table, after, group=CERTIFIED)
                ders += [der for _, row in items for der in row.value.certificates]
                after = items[-1][0] if items else ""
        self.anchors.replace(ders)

    async def context(self, label: str) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        bad = await self._strike(label)
        if bad is None:
            return self.anchors.context()
        return await asyncio.to_thread(bad_context, bad, self._folder, self._names)

    def chain(self, ssl_object: ssl.SSLObject) -> Chain:
        """Return the certificates that a client has shown and proved."""
        return self.anchors.chain(ssl_object)
