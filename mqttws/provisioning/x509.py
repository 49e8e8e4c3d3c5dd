"""A device's credential for DPS: an X.509 certificate, its chain and its key.

Knows files, PEM and TLS contexts. The key is in no ``repr`` and in no message; where it is given
as bytes it touches the disk only encrypted, under a password that is made for that moment.
"""

import hashlib
import hmac
import secrets
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn, Self

from ..dps.names import check_registration_id
from ..errors import CertificateNotValid, MqttwsError, UsageError
from ..hops import Cause
from ..net.certificate import load_certificates, plain_name
from ..net.client_certificate import load_client_certificate
from ..net.pem import CHAIN, KEY, Pem, PemSource, as_ascii, looks_like, read_pem
from ..net.tls import Tls, TlsConfig
from ..options import CONTEXT, DIGEST, PASSWORD, X509
from ..text import shown

if TYPE_CHECKING:
    from cryptography import x509


class X509Certificate:
    """A device's certificate chain and key; its common name is the registration id.

    The same for an individual enrollment and for a group: only the service tells them apart.
    Immutable, and cannot be pickled.

    Args:
        chain: PEM, the device's certificate first, then every intermediate up to (but not
            needing) the certificate that was enrolled: DPS must be sent the whole chain.
        key: its private key, PEM. May stand in the chain's file; give that file twice then.
        registration_id: None for the certificate's common name, which it must equal.
        key_password: None for a key that is not encrypted.

    Raises:
        UnusableFile: a file cannot be read, holds no certificate or no key, or the two do not
            belong together.
        UsageError: the same of bytes; the password is wrong, or the common name is not the
            registration id.
    """

    __slots__ = (
        "_certificate",
        "_chain",
        "_chain_pem",
        "_contexts",
        "_key",
        "_registration_id",
    )

    _certificate: "x509.Certificate"
    _chain_pem: bytes
    _chain: tuple[bytes, ...]
    _key: tuple[bytes, bytes]
    _registration_id: str
    _contexts: dict[ssl.SSLContext, ssl.SSLContext]  # by whom they trust

    def __init__(
        self,
        chain: Pem,
        key: Pem,
        *,
        registration_id: str | None = None,
        key_password: str | bytes | None = None,
    ) -> None:
        X509.check(locals())
        if registration_id is not None:
            check_registration_id(registration_id)
        source = read_pem(chain, "certificate chain")
        certificates = _parse_chain(source)
        _check_order(source, certificates)
        name = _common_name(source, certificates[0])
        if registration_id is None:
            registration_id = _checked_name(source, name)
        if name.lower() != registration_id.lower():
            raise UsageError(
                f"the certificate's common name is {name!a}, the registration id"
                f" {registration_id!a}; allowed: the same",
                hint="use the certificate that was issued for this device",
            )
        sealed = _seal(key, key_password, certificates[0])
        for slot, value in (
            ("_certificate", certificates[0]),
            # Anew, since the file may hold the key as it is.
            ("_chain_pem", b"".join(_pem(certificate) for certificate in certificates)),
            ("_chain", tuple(_der(certificate) for certificate in certificates)),
            ("_key", sealed),
            ("_registration_id", registration_id),
            ("_contexts", {}),
        ):
            object.__setattr__(self, slot, value)

    @property
    def registration_id(self) -> str:
        """The device's registration id."""
        return self._registration_id

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the device's certificate, in hexadecimal."""
        return hashlib.sha256(self._chain[0]).hexdigest()

    def digest(self, context: str) -> str:
        """Return a fingerprint of this credential, which gives no secret away."""
        DIGEST.check(locals())
        return f"x509:{self.fingerprint}"

    def password(self, id_scope: str, unix_now: float) -> None:
        """Return None: the certificate speaks in the TLS handshake, CONNECT has no password.

        Raises:
            CertificateNotValid: at ``unix_now``; no service would take it.
        """
        PASSWORD.check(locals())
        now = datetime.fromtimestamp(unix_now, UTC)
        begins = self._certificate.not_valid_before_utc
        ends = self._certificate.not_valid_after_utc
        if now < begins:
            raise CertificateNotValid(
                f"the certificate of {self._registration_id!a} is not valid before {begins:%F %T}Z",
                cause=Cause.OWN_CERTIFICATE_NOT_YET_VALID,
                hint="wait until then, or set this machine's clock right",
            )
        if now > ends:
            raise CertificateNotValid(
                f"the certificate of {self._registration_id!a} expired at {ends:%F %T}Z",
                hint="renew it, or set this machine's clock right",
            )

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Return a TLS context of this device's own, which shows the certificate.

        Args:
            tls: whom to trust. A ready context cannot be copied: it is refused.

        Raises:
            UsageError: ``tls`` is a ready context.
            UnusableFile: its CA cannot be read.
        """
        CONTEXT.check(locals())
        if isinstance(tls, ssl.SSLContext):
            raise UsageError(
                "an X.509 credential needs a TLS context of its own",
                hint="give tls=TlsConfig(ca=...); if the context shows the certificate already, use"
                " ExternalKey",
            )
        trust = (tls or TlsConfig()).context()  # the same one for the same content
        context = self._contexts.get(trust)
        if context is None:
            context = (tls or TlsConfig()).new_context()
            key, password = self._key
            load_client_certificate(
                context,
                PemSource(self._chain_pem, "certificate chain"),
                PemSource(key, "private key"),
                password,
            )
            self._contexts.clear()  # a process rarely trusts two CAs in turn
            self._contexts[trust] = context
        return context

    def __repr__(self) -> str:
        return f"X509Certificate({self._registration_id!r}, sha256={self.fingerprint[:16]})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, X509Certificate):
            return NotImplemented
        same = hmac.compare_digest(self.fingerprint, other.fingerprint)
        return same and self._registration_id == other._registration_id

    def __hash__(self) -> int:
        return hash(self._chain[0])

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"X509Certificate is immutable: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"X509Certificate is immutable: {name}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an X509Certificate cannot be pickled: it holds a secret")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class ExternalKey:
    """A device whose certificate the ``ssl.SSLContext`` that is given as ``tls`` shows by itself.

    For keys that never leave their hardware: OpenSSL's providers bring them into a context.

    Args:
        registration_id: the certificate's common name.
    """

    __slots__ = ("registration_id",)

    def __init__(self, registration_id: str) -> None:
        self.registration_id: str = check_registration_id(registration_id)

    def digest(self, context: str) -> str:
        """Return the registration id: what proves it is not known here."""
        DIGEST.check(locals())
        return f"prepared:{self.registration_id}"

    def password(self, id_scope: str, unix_now: float) -> None:
        """Return None: the certificate speaks in the TLS handshake, CONNECT has no password."""
        PASSWORD.check(locals())

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Return ``tls``, which must be a ready context, untouched.

        Raises:
            UsageError: it is not one.
        """
        if not isinstance(tls, ssl.SSLContext):
            raise UsageError(
                "an ExternalKey needs tls=, an ssl.SSLContext that shows the certificate",
                hint="or use X509Certificate, which takes the certificate's and the key's files",
            )
        return tls

    def __repr__(self) -> str:
        return f"ExternalKey({self.registration_id!r})"


def _parse_chain(source: PemSource) -> "list[x509.Certificate]":
    try:
        return load_certificates(as_ascii(source.data))
    except ValueError:
        found, remedy = looks_like(source.data, CHAIN)
    raise source.error(f"{source}: {found}", remedy)


def _check_order(source: PemSource, certificates: "list[x509.Certificate]") -> None:
    """Refuse a chain that begins with a CA's certificate and has the device's behind it."""
    own = next((one for one in certificates if not _is_ca(one)), None)
    if own is None or own is certificates[0]:
        return
    raise source.error(
        f"{source} begins with the certificate of a CA ({shown(_subject(certificates[0]))});"
        " allowed: the device's certificate first",
        f"put the certificate of {shown(_subject(own))} first, and those of its CAs behind it",
    )


def _is_ca(certificate: "x509.Certificate") -> bool:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return found.value.ca


def _subject(certificate: "x509.Certificate") -> str:
    return plain_name(certificate.subject.rfc4514_string())


def _checked_name(source: PemSource, name: str) -> str:
    """Return a common name that can be a registration id."""
    try:
        return check_registration_id(name)
    except UsageError as error:
        fault = str(error)
    raise source.error(
        f"the certificate's common name is {shown(name)}, which cannot be a registration id:"
        f" {fault}",
        "use the device's certificate, its common name the registration id; a CA's, or a sample's,"
        " has another one",
    )


def _common_name(source: PemSource, certificate: "x509.Certificate") -> str:
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise source.error(
            f"the certificate has {len(names)} common names; allowed: one, the registration id"
        )
    return str(names[0].value)


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _der(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _seal(
    source: Pem, password: str | bytes | None, certificate: "x509.Certificate"
) -> tuple[bytes, bytes]:
    """Return the key encrypted anew, and the password made for it; it fits the certificate.

    Errors are raised outside the handlers: what they came from must not travel along.
    """
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )

    secret = password.encode() if isinstance(password, str) else password
    read = read_pem(source, "private key")
    text = as_ascii(read.data)
    fault: MqttwsError
    try:
        key = load_pem_private_key(text, secret)
    except TypeError:
        found, hint = "it is not encrypted, yet has a password", "give no password for it"
        if password is None:
            found = "it is encrypted"
            hint = "give its password: key_password=, --cert-key-password-file"
        fault = UsageError(f"{read}: {found}", hint=hint)
    except Exception:
        if b"ENCRYPTED" in text:
            fault = UsageError(
                f"{read}: it cannot be read with this password", hint="check the password"
            )
        else:
            found, hint = looks_like(read.data, KEY)
            fault = read.error(f"{read}: {found}", hint)
    else:
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
            raise read.error(
                f"{read} does not belong to the certificate",
                "the chain's first certificate must be the device's, and the key its own",
                Cause.KEY_MISMATCH,
            )
        sealed_password = secrets.token_urlsafe(24).encode()
        encryption = BestAvailableEncryption(sealed_password)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), sealed_password
    raise fault
