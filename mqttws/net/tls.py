"""TLS for clients: whom we trust, and at least which version.

Knows ``ssl`` contexts. TLS 1.2 is the minimum and the host's name is always checked; nothing here
can turn that off.
"""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Whom a client trusts.

    Attributes:
        ca: certificates of CAs to trust, as a file's path or as PEM bytes; **added** to the
            system's.
        only_ca: trust ``ca`` alone, and not the system's.
    """

    ca: str | PathLike[str] | bytes | None = None
    only_ca: bool = False

    def context(self) -> ssl.SSLContext:
        """Return the context, built once per process and content.

        Raises:
            UsageError: ``ca`` cannot be read or holds no certificate.
        """
        return _context(self._checked_pem(), self.only_ca)

    def new_context(self) -> ssl.SSLContext:
        """Return a context that nobody else has, so that a certificate can be loaded into it.

        Raises:
            UsageError: as for ``context``.
        """
        return _new_context(self._checked_pem(), self.only_ca)

    def _checked_pem(self) -> str | None:
        if self.only_ca and self.ca is None:
            raise UsageError("TlsConfig(only_ca=True) needs ca=, else nothing would be trusted")
        return self._pem()

    def _pem(self) -> str | None:
        if self.ca is None:
            return None
        try:
            raw = self.ca if isinstance(self.ca, bytes) else Path(self.ca).read_bytes()
            return raw.decode("ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a PEM file"
            raise UsageError(f"the CA file cannot be read: {self._name}: {reason}") from None

    @property
    def _name(self) -> str:
        return "the given bytes" if isinstance(self.ca, bytes) else str(self.ca)


Tls = TlsConfig | ssl.SSLContext | None
"""How a client may say whom it trusts; a context of its own passes through untouched."""


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the context that ``tls`` means; None trusts the system's CAs."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is not None and not isinstance(tls, TlsConfig):
        raise UsageError(f"tls: found {type(tls).__name__}; allowed: TlsConfig or ssl.SSLContext")
    return (tls or TlsConfig()).context()


def _new_context(pem: str | None, only_ca: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if only_ca else ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pem is not None:
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError):  # ValueError: it is empty
            raise UsageError("ca: no certificate in PEM form was found") from None
    return context


# The system's roots take some 30 ms to load.
_context = lru_cache(maxsize=32)(_new_context)
