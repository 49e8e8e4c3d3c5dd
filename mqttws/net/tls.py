"""TLS for clients: whom we trust, what we prove ourselves with, and at least which version.

Knows ``ssl`` contexts. TLS 1.2 is the minimum and the host's name is always checked; nothing here
can turn that off.
"""

import hashlib
import ssl
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib import import_module
from typing import Self, cast

from ..errors import UsageError
from ..options import TLS
from ..text import make_secret
from .ca_files import ca_certificates
from .client_certificate import load_client_certificate, reason_of
from .pem import Pem, PemSource, file_state, read_pem, refuse_text

_State = tuple[tuple[object, ...], tuple[object, ...]]
"""The files' states, and the settings beside them."""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS settings: the CAs that a client trusts, and the certificate that it shows.

    With a key's content or password in it, it cannot be pickled or made a dict of.

    Attributes:
        ca: certificates of CAs to trust, as a file's path or as bytes, in PEM, DER or PKCS#7;
            **added** to the system's. Each is an anchor, whether it is a root or an intermediate.
        only_ca: trust ``ca`` alone, and not the system's.
        certificate: the client's certificate and those that lead to its CA, as a file's path or as
            PEM bytes.
        key: its private key, as a path or PEM bytes; None if it stands behind the certificate.
        key_password: what the key is encrypted with; None if it is not.
        minimum_version: of TLS; nothing older than 1.2.
        maximum_version: of TLS; ``TLSv1_2`` where a device on the way does not let TLS 1.3 pass.
        truststore: ask the operating system's own store (Windows, macOS) through the package
            ``truststore``, instead of OpenSSL's files.
    """

    ca: Pem | None = None
    only_ca: bool = False
    certificate: Pem | None = field(default=None, repr=False)
    key: Pem | None = field(default=None, repr=False)
    key_password: str | bytes | None = field(default=None, repr=False)
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    truststore: bool = False

    def __post_init__(self) -> None:
        for name in ("ca", "certificate", "key"):
            refuse_text(getattr(self, name), name)
        TLS.check({one.name: getattr(self, one.name) for one in fields(self)})
        self._check()
        make_secret(self, "key_password")
        for name in ("certificate", "key"):
            if isinstance(getattr(self, name), bytes):  # and not a path
                make_secret(self, name)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def context(self) -> ssl.SSLContext:
        """Return the context, built once per process and content.

        Raises:
            UnusableFile: a file cannot be read, holds something else, or does not fit the others.
            UsageError: the same of bytes; a password is wrong, missing or not needed.
        """
        state = self._state()
        known = None if state is None else _contexts.get(_digests.get(state, b""))
        if known is not None:
            return known
        ca = _given(self.ca, "CA file")
        certificate = _given(self.certificate, "client certificate")
        key = _given(self.key, "client key") or certificate
        password = self.key_password
        if isinstance(password, str):
            password = password.encode()
        # The contents count and not the paths: a renewed certificate is taken at the next call.
        digest = hashlib.sha256()
        for part in (ca, certificate, key, password):
            data = part.data if isinstance(part, PemSource) else part
            digest.update(hashlib.sha256(data).digest() if data is not None else b"-")
        digest.update(repr(self._settings()).encode())
        known = _contexts.get(digest.digest())
        if known is None:
            known = self._new_context(ca)
            if certificate is not None and key is not None:
                load_client_certificate(known, certificate, key, password)
            while len(_contexts) >= MAX_CONTEXTS:
                del _contexts[next(iter(_contexts))]
            _contexts[digest.digest()] = known
        if state is not None:
            while len(_digests) >= MAX_CONTEXTS:
                del _digests[next(iter(_digests))]
            _digests[state] = digest.digest()
        return known

    def _state(self) -> _State | None:
        """Return what stands for all contents as long as no file changes; None for nothing."""
        files = tuple(file_state(one) for one in (self.ca, self.certificate, self.key))
        if None in files or self.key_password is not None:
            return None
        return files, self._settings()

    def _settings(self) -> tuple[object, ...]:
        return (self.only_ca, self.minimum_version, self.maximum_version, self.truststore)

    def new_context(self) -> ssl.SSLContext:
        """Return a context that is not shared, so that a certificate can be loaded into it.

        Raises:
            UnusableFile, UsageError: as for ``context``.
        """
        return self._new_context(_given(self.ca, "CA file"))

    def without_certificate(self) -> "TlsConfig":
        """Return the same trust, without the client's certificate."""
        return replace(self, certificate=None, key=None, key_password=None)

    def _check(self) -> None:
        if self.only_ca and self.ca is None:
            raise UsageError("TlsConfig(only_ca=True) needs ca=, else nothing would be trusted")
        if self.key is not None and self.certificate is None:
            raise UsageError("TlsConfig(key=...) needs certificate= too")
        if self.minimum_version not in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            raise UsageError("TlsConfig(minimum_version=...); allowed: TLS 1.2 or TLS 1.3")
        if self.maximum_version not in _VERSIONS or (
            self.maximum_version is ssl.TLSVersion.TLSv1_2
            and self.minimum_version is ssl.TLSVersion.TLSv1_3
        ):
            raise UsageError(
                "TlsConfig(maximum_version=...); allowed: TLS 1.2 or 1.3, not below minimum_version"
            )
        if self.only_ca and self.truststore:
            raise UsageError("TlsConfig: only_ca and truststore contradict each other")

    def _new_context(self, ca: PemSource | None) -> ssl.SSLContext:
        if self.truststore:
            context = _truststore_context()
        elif self.only_ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.create_default_context()
        context.minimum_version = self.minimum_version
        context.maximum_version = self.maximum_version
        # Python 3.13 refuses certificates that lack extensions which intercepting proxies and
        # private CAs often leave out (mitmproxy 8 does). Trust and names are checked all the same.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        # Python sets it from 3.13 on: a CA that was given is trusted though it is no root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if ca is not None:
            try:
                context.load_verify_locations(cadata=ca_certificates(ca))
            except ssl.SSLError as error:
                raise ca.error(f"{ca} cannot be used: {reason_of(error)}") from None
        return context


_VERSIONS = (
    ssl.TLSVersion.TLSv1_2,
    ssl.TLSVersion.TLSv1_3,
    ssl.TLSVersion.MAXIMUM_SUPPORTED,
)

MAX_CONTEXTS = 32
"""Contexts that are kept for another use; the system's roots take some 30 ms to load."""

_contexts: dict[bytes, ssl.SSLContext] = {}
"""By a digest of all that went into them, so that no key is kept in memory for the look-up."""

_digests: dict[_State, bytes] = {}
"""By the state of the files: one that has not changed is not read for each connection."""

Tls = TlsConfig | ssl.SSLContext | None
"""How a client may say whom it trusts; a context of its own passes through untouched."""


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the context that ``tls`` means; None trusts the system's CAs."""
    if isinstance(tls, ssl.SSLContext):
        if weakness := weakness_of(tls):
            warnings.warn(f"the SSLContext that was given {weakness}", stacklevel=2)
        return tls
    if tls is not None and not isinstance(tls, TlsConfig):
        raise UsageError(f"tls: found {type(tls).__name__}; allowed: TlsConfig or ssl.SSLContext")
    return (tls or TlsConfig()).context()


def weakness_of(context: ssl.SSLContext) -> str:
    """Return the check that a caller's context leaves out; empty where it makes all of them."""
    if context.verify_mode != ssl.CERT_REQUIRED:
        return "does not check the server's certificate: anybody on the way can read and alter all"
    if not context.check_hostname:
        return "does not check the server's name: any server with a valid certificate passes"
    oldest = context.minimum_version
    if oldest in (ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        return "allows TLS below 1.2, which is broken"
    return ""


def tls_at_most_1_2(tls: Tls) -> Tls | None:
    """Return the same trust with TLS 1.2 at most; None where it is capped, or not ours to cap."""
    if isinstance(tls, ssl.SSLContext):
        return None
    config = tls or TlsConfig()
    capped = ssl.TLSVersion.TLSv1_2
    if config.maximum_version is capped or config.minimum_version is ssl.TLSVersion.TLSv1_3:
        return None
    return replace(config, maximum_version=capped)


def proxy_context(own: Tls, servers: Tls) -> ssl.SSLContext:
    """Return the context for a proxy: its own, or the server's trust without its certificate.

    A context that the caller has made for the server may hold a certificate that is no business
    of the proxy's; without one of its own, the proxy then gets the system's trust.
    """
    if own is not None:
        return client_context(own)
    if isinstance(servers, TlsConfig):
        return servers.without_certificate().context()
    return TlsConfig().context()


_Name = tuple[tuple[tuple[str, str], ...], ...]
"""A distinguished name as Python's ``getpeercert`` has it."""


@lru_cache(maxsize=1)
def _system_roots() -> ssl.SSLContext:
    """Return a context that trusts what this system trusts, whatever SSL_CERT_FILE says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.platform in ("win32", "darwin"):
        context.load_default_certs()
    with suppress(OSError):  # ssl.SSLError is one
        context.load_verify_locations(cafile=ssl.get_default_verify_paths().openssl_cafile)
    return context


def default_roots() -> frozenset[bytes]:
    """Return the roots that this system trusts, DER."""
    return frozenset(_system_roots().get_ca_certs(binary_form=True))


@lru_cache(maxsize=1)
def public_organisations() -> frozenset[str]:
    """Return the organisations whose roots this system trusts."""
    parts = [
        pair
        for root in _system_roots().get_ca_certs()
        for part in cast(_Name, root.get("subject", ()))
        for pair in part
    ]
    return frozenset(value for key, value in parts if key == "organizationName")


def _truststore_context() -> ssl.SSLContext:
    try:
        truststore = import_module("truststore")
    except ImportError:
        raise UsageError(
            "TlsConfig(truststore=True) needs the package truststore",
            hint="pip install 'mqttws[truststore]'",
        ) from None
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


def _given(source: Pem | None, what: str) -> PemSource | None:
    return None if source is None else read_pem(source, what)
