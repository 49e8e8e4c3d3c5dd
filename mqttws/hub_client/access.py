"""A device's access to its hub: address, user name, and token or certificate.

Knows credentials and the clock of tokens. Does not connect.
"""

import asyncio
import inspect
import math
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NoReturn, Protocol, runtime_checkable

from ..dps.sas import decode_key, parse_token, sign_token
from ..errors import UsageError
from ..hub.credentials import ISSUE_API_VERSION
from ..hub.device.connection_string import ConnectionString, parse_connection_string
from ..hub.device.identity import HubIdentity
from ..hub.device.renewal import renewal_time
from ..hub.topics import DEFAULT_API_VERSION, build_username
from ..net.target import Target, make_target
from ..net.tls import Tls
from ..options import WEBSOCKET_PATH

HubTransport = Literal["wss", "mqtts", "auto"]
"""MQTT over WebSocket on port 443, over TLS on port 8883, or whichever is open."""

TRANSPORTS: dict[HubTransport, tuple[str, ...]] = {
    "wss": ("wss",),
    "mqtts": ("mqtts",),
    "auto": ("mqtts", "wss"),
}


@runtime_checkable
class SignsTokens(Protocol):
    """A credential that signs SAS tokens, such as a ``SymmetricKey``."""

    def sign(self, resource: str, expiry: int) -> str:
        """Return a token for ``resource`` that is good until ``expiry``, Unix time in seconds."""


@runtime_checkable
class ShowsCertificate(Protocol):
    """A credential that speaks in the TLS handshake: ``X509Certificate``, ``ExternalKey``."""

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Return a TLS context with the device's certificate, if any, and the trust of ``tls``."""


class CertificateRequest(Protocol):
    """A certificate that a device asks for."""

    csr: bytes
    """PKCS#10 in DER."""

    def accept(self, chain: Sequence[bytes]) -> None:
        """Check the chain that came, DER, and store it with its key."""


@runtime_checkable
class RenewsCertificate(ShowsCertificate, Protocol):
    """A credential whose certificate can be issued anew: a ``CertificateStore``."""

    def begin_renewal(self) -> CertificateRequest:
        """Return a request for a certificate in the place of the present one."""

    def renewal_time(self, chance: float = 0.0) -> float | None:
        """Return the Unix time at which it is due; ``chance``, 0 to 1, spreads a fleet."""

    def expires_at(self) -> float | None:
        """Return the Unix time at which it expires."""

    def confirm(self) -> None:
        """Note that the hub has accepted the present certificate."""

    def revert(self) -> bool:
        """Go back to the certificate before this one, if it can serve; return whether."""


TokenFunction = Callable[[str], str | Awaitable[str]]
"""A function, plain or async, that returns a SAS token for a resource, such as
``my-hub.azure-devices.net/devices/my-device``. It is called before the last token expires."""

HubCredential = SignsTokens | ShowsCertificate | TokenFunction | str
"""A device's credential at its hub; text is its symmetric key in base64."""


class HubKey:
    """A symmetric key as a hub's connection string holds it. It is in no ``repr`` and no pickle.

    Args:
        key: base64 as the portal shows it.
        policy: name of the shared access policy that the key belongs to; empty for the device's
            own key.

    Raises:
        UsageError: the key cannot be one. The message does not show it.
    """

    __slots__ = ("_key", "_policy")

    def __init__(self, key: str, policy: str = "") -> None:
        self._key = decode_key(key)
        self._policy = policy

    def sign(self, resource: str, expiry: int) -> str:
        """Return a token for ``resource`` that is good until ``expiry``, Unix time in seconds."""
        return sign_token(resource, self._key, expiry, key_name=self._policy)

    def __repr__(self) -> str:
        return f"HubKey(policy={self._policy!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a HubKey cannot be pickled: it holds a secret")


class FixedToken:
    """A SAS token from a connection string; it cannot be renewed."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, resource: str) -> str:
        """Return the token, whatever the resource: the hub judges that."""
        return self._token

    def __repr__(self) -> str:
        return "FixedToken()"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a FixedToken cannot be pickled: it holds a secret")


def read_connection_string(
    text: str | ConnectionString, credential: HubCredential | None
) -> tuple[ConnectionString, HubCredential]:
    """Return the parts of a connection string, and the credential that belongs to it.

    Args:
        text: of a device or module.
        credential: the certificate that ``x509=true`` wants; else None.

    Raises:
        UsageError: it is not a device's, or the credential does not belong to it.
    """
    parts = text if isinstance(text, ConnectionString) else parse_connection_string(text)
    if parts.x509:
        if credential is None:
            raise UsageError(
                "the connection string has x509=true: give the certificate as credential"
            )
        return parts, credential
    if credential is not None:
        raise UsageError("the connection string holds a credential: give no other")
    return parts, FixedToken(parts.token) if parts.token else HubKey(parts.key, parts.key_name)


class HubAccess:
    """The way of one device into its hub.

    Args:
        identity: the device at its hub.
        credential: signs tokens, shows a certificate, or is a function that returns tokens.
        transport: ``wss``, ``mqtts``, or ``auto`` for whichever is open.
        host: host name or address to connect to; None for the hub's own name. A gateway or a
            stand-in has another one.
        port: None for the transport's own.
        tls: whom to trust.
        api_version: of the hub's API.
        token_lifetime: seconds for which a signed token is good.
        client_type: what the device calls its software.
        model_id: Plug and Play model (``dtmi:...``); empty for none.

    Attributes:
        renew_at: Unix time at which the token in use is to be renewed; None for never.
        certificate: the credential, if its certificate can be issued anew; else None.
        reverted: whether the newest certificate was refused, and the one before is shown again.
    """

    def __init__(
        self,
        identity: HubIdentity,
        credential: HubCredential,
        *,
        transport: HubTransport,
        host: str | None,
        port: int | None,
        tls: Tls,
        api_version: str,
        token_lifetime: float,
        client_type: str,
        model_id: str,
    ) -> None:
        if transport == "auto" and port is not None:
            raise UsageError("transport 'auto' tries ports 8883 and 443; give no port with it")
        self.identity: HubIdentity = identity
        self.renew_at: float | None = None
        self.tls = tls
        self._trust = tls
        self.certificate: RenewsCertificate | None = None
        self.reverted: bool = False
        self._schemes = TRANSPORTS[transport]
        self._host = host
        self._port = port
        self._names = {"client_type": client_type, "model_id": model_id}
        self._api_version = api_version
        self._lifetime = token_lifetime
        self._expiry = 0.0
        self._token: str | None = None
        self._unused = False
        self._make_token = self._token_function(credential)
        self._signs = isinstance(credential, SignsTokens | str)

    def _token_function(self, credential: HubCredential) -> TokenFunction | None:
        if isinstance(credential, str):
            credential = HubKey(credential)
        if isinstance(credential, RenewsCertificate):
            self.certificate = credential
            if self._api_version == DEFAULT_API_VERSION:
                self._api_version = ISSUE_API_VERSION
        if isinstance(credential, ShowsCertificate):
            self.tls = credential.context(self._trust)
            return None
        if isinstance(credential, SignsTokens):
            sign = credential.sign
            return lambda resource: sign(resource, int(time.time() + self._lifetime))
        return credential

    @property
    def targets(self) -> list[Target]:
        """The targets of a connection."""
        host = self._host or self.identity.hub
        return [
            make_target(scheme, host, self._port, WEBSOCKET_PATH if scheme == "wss" else "/")
            for scheme in self._schemes
        ]

    @property
    def username(self) -> str:
        """The user name of CONNECT."""
        identity = self.identity
        return build_username(
            identity.hub,
            identity.device_id,
            self._api_version,
            module_id=identity.module_id,
            **self._names,
        )

    @property
    def password(self) -> Callable[[], Awaitable[str]] | None:
        """The function that returns a token for each connection; None with a certificate."""
        return None if self._make_token is None else self._take_token

    def show_certificate(self) -> None:
        """Have the next connection show the certificate that is stored now."""
        if self.certificate is not None:
            self.tls = self.certificate.context(self._trust)
            self.reverted = False

    def move(self, identity: HubIdentity) -> None:
        """Have the next connection lead to another hub."""
        self.identity = identity
        self.forget_token()

    def forget_token(self) -> None:
        """Have a token made for the next connection: the hub has refused the last one."""
        self._token = None

    async def refresh(self) -> bool:
        """Get a token for the next connection; return whether it is good for longer than ours.

        Raises:
            UsageError: the token cannot be read.
            Exception: what the application's function raised.
        """
        before = self._expiry
        self._token = await self._new_token()
        self._unused = True
        return self._expiry > before

    async def _take_token(self) -> str:
        # One that we have signed serves every connection until its renewal.
        token = self._token
        if token is None or not (self._unused or (self._signs and self._until() > 0)):
            token = self._token = await self._new_token()
        self._unused = False
        return token

    async def _new_token(self) -> str:
        make = self._make_token
        assert make is not None, "password says so"
        resource = self.identity.resource
        found = make(resource)
        token = await found if inspect.isawaitable(found) else found
        fields = parse_token(token) if isinstance(token, str) else None
        if fields is None:
            raise UsageError(
                "credential: its function returned no SAS token; allowed:"
                " SharedAccessSignature sr=...&sig=...&se=..."
            )
        now = time.time()
        self._expiry = float(fields.expiry)
        if isinstance(make, FixedToken):
            self.renew_at = None
            if fields.expiry <= now:
                raise UsageError(
                    f"the connection string's token expired {now - fields.expiry:.0f} s ago",
                    hint="get a new one, or use a connection string with a key",
                )
        else:
            chance = random.random()  # noqa: S311 - spread, not secrecy
            self.renew_at = renewal_time(now, fields.expiry, chance)
        return token

    async def until_renewal(self) -> None:
        """Wait until the token in use is to be renewed; for ever where it never is."""
        while (left := self._until()) > 0:  # noqa: ASYNC110 - time itself is awaited
            # In short steps: the clock may be set meanwhile, and the machine may be suspended.
            await asyncio.sleep(min(left, LOOK))

    def _until(self) -> float:
        return math.inf if self.renew_at is None else self.renew_at - time.time()


LOOK = 5.0
"""Seconds after which the clock is looked at again."""
