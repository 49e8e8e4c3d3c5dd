"""A device's credentials, as the code that connects sees them."""

import ssl
from typing import Protocol, runtime_checkable

from ..net.tls import Tls


@runtime_checkable
class Credential(Protocol):
    """A device's credential."""

    @property
    def registration_id(self) -> str:
        """The device's name at DPS."""

    def password(self, id_scope: str, unix_now: float) -> str | None:
        """Return the password for CONNECT; None for none."""


@runtime_checkable
class TlsCredential(Credential, Protocol):
    """A credential that acts in the TLS handshake, such as a certificate."""

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Return a TLS context that shows it and trusts whom ``tls`` names."""


@runtime_checkable
class SigningCredential(Credential, Protocol):
    """A credential that signs tokens, such as a symmetric key."""

    def sign(self, resource: str, expiry: int) -> str:
        """Return a token for ``resource`` that is good until ``expiry``, Unix time in seconds."""


@runtime_checkable
class DigestibleCredential(Credential, Protocol):
    """A credential that can be compared with another one without giving anything away."""

    def digest(self, context: str) -> str:
        """Return a text that another credential does not have, for ``context`` only."""
