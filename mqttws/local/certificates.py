"""A development CA and a server certificate, made once and kept in a folder.

Knows X.509 through ``cryptography``. The keys are for development: they are on disk, mode 0600,
not encrypted, and nothing but tests should trust this CA.
"""

import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import UsageError, store_failed
from ..net.issuers import DEVELOPMENT_CA
from .alerts import send_alerts

CA_LIFETIME = datetime.timedelta(days=3650)
SERVER_LIFETIME = datetime.timedelta(days=397)
RENEW_BEFORE = datetime.timedelta(days=30)
"""A certificate that expires sooner than this is renewed at the next start."""

BACKDATED = datetime.timedelta(hours=1)
"""Certificates begin this much in the past: clocks of test machines differ."""

ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")
"""What the server certificate is good for, besides the host that is asked for."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The files of a server's certificate.

    Attributes:
        ca_file: what a client must trust, PEM.
        chain_file: the server's certificate, PEM.
        key_file: the server's private key, PEM, mode 0600.
    """

    ca_file: Path
    chain_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Return the server's TLS context: TLS 1.2 or newer."""
        context = server_context()
        context.load_cert_chain(self.chain_file, self.key_file)
        send_alerts(context)
        return context

    def written(self) -> tuple[int, ...]:
        """Return when each file was written, in nanoseconds; 0 for one that is not there."""
        found = []
        for file in (self.chain_file, self.key_file):
            try:
                found.append(file.stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return tuple(found)


def load_ca(folder: Path) -> tuple[x509.Certificate, "Key"]:
    """Return the CA that ``prepare_certificates`` has put into a folder, and its key."""
    return _load(folder / "ca.pem"), _load_key(folder / "ca.key")


def prepare_certificates(
    folder: Path, hosts: Iterable[str] = (), name: str = "server"
) -> ServerCertificate:
    """Return the certificates in ``folder``; make anew what is missing, ending or for other hosts.

    Args:
        folder: is made if need be, mode 0700.
        hosts: names and addresses by which clients connect; localhost, 127.0.0.1 and ::1 always,
            and those of the certificate that is replaced.
        name: of the files of the server's certificate; a CA serves several servers.

    Raises:
        StoreFailed: the folder cannot be written, or holds files that are none of ours.
    """
    names = tuple(dict.fromkeys([*ALWAYS_NAMED, *hosts]))
    for host in names:
        _general_name(host)  # an impossible host is reported before anything is written
    files = ServerCertificate(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(folder):  # another process may start on the same folder
            _prepare(files, folder / "ca.key", names)
    except OSError as error:
        raise store_failed(
            f"the state folder cannot be used: {folder}: {error.strerror}",
            error,
            hint="name another with --state",
        ) from error
    except (ValueError, TypeError) as error:
        raise store_failed(
            f"the state folder holds a certificate or key that cannot be read: {folder}",
            error,
            hint="remove it, or name another with --state",
        ) from error
    return files


def _prepare(files: ServerCertificate, ca_key_file: Path, names: tuple[str, ...]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if not _fit(files.ca_file, ca_key_file) or _ends(files.ca_file, now):
        ca, ca_key = make_ca(now)
        files.chain_file.unlink(missing_ok=True)
        write_secret(ca_key_file, key_pem(ca_key))
        write_public(files.ca_file, certificate_pem(ca))
    if not _serves(files, names, now):
        ca, ca_key = _load(files.ca_file), _load_key(ca_key_file)
        known = _names_in(files.chain_file)  # by which clients may come still
        every = tuple(dict.fromkeys([*names, *known]))
        server, server_key = make_server_certificate(ca, ca_key, every, now)
        write_secret(files.key_file, key_pem(server_key))
        write_public(files.chain_file, certificate_pem(server))
    for key_file in (ca_key_file, files.key_file):
        key_file.chmod(0o600)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out, where the system has a way to do it (POSIX)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock too


Key = ec.EllipticCurvePrivateKey


def make_ca(now: datetime.datetime) -> tuple[x509.Certificate, Key]:
    """Return a fresh development CA and its key."""
    key = new_key()
    name = new_name(DEVELOPMENT_CA)
    certificate = (
        new_builder(name, name, key, _validity(now, CA_LIFETIME))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(new_key_usage(ca=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def make_server_certificate(
    ca: x509.Certificate, ca_key: Key, hosts: Iterable[str], now: datetime.datetime
) -> tuple[x509.Certificate, Key]:
    """Return a fresh server certificate for ``hosts``, signed by ``ca``, and its key."""
    key = new_key()
    certificate = (
        new_builder(new_name("mqttws local DPS"), ca.subject, key, _validity(now, SERVER_LIFETIME))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(new_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, key


def _validity(
    now: datetime.datetime, lifetime: datetime.timedelta
) -> tuple[datetime.datetime, datetime.datetime]:
    return now - BACKDATED, now + lifetime


def new_key() -> Key:
    """Return a fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def new_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    validity: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    """Return what every certificate here has; ``validity`` is its first and its last moment."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def new_name(common_name: str) -> x509.Name:
    """Return a subject that says what to think of it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mqttws development, not to be trusted"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def new_key_usage(*, ca: bool) -> x509.KeyUsage:
    """Return what a CA's key, or another one, may be used for."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii"))
    except UnicodeError:
        raise UsageError(f"host {host!r}; allowed: a host name or an address") from None


def _serves(files: ServerCertificate, hosts: tuple[str, ...], now: datetime.datetime) -> bool:
    """Whether the server certificate there is good for a while, for all ``hosts``, by our CA."""
    if not _fit(files.chain_file, files.key_file):
        return False
    if _ends(files.chain_file, now):
        return False
    certificate = _load(files.chain_file)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if not all(_general_name(host) in names for host in hosts):
        return False
    try:
        certificate.verify_directly_issued_by(_load(files.ca_file))
    except Exception:
        return False
    return True


def _names_in(file: Path) -> list[str]:
    """Return the names and addresses of a certificate; none if it is not there."""
    if not file.exists():
        return []
    names = _load(file).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def _fit(certificate_file: Path, key_file: Path) -> bool:
    """Whether both are there and belong together."""
    if not (certificate_file.exists() and key_file.exists()):
        return False
    return _load(certificate_file).public_key() == _load_key(key_file).public_key()


def _ends(file: Path, now: datetime.datetime) -> bool:
    return _load(file).not_valid_after_utc - now < RENEW_BEFORE


def _load(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _load_key(file: Path) -> Key:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA's key is not one of ours")
    return key


def server_context() -> ssl.SSLContext:
    """Return a server's TLS context without a certificate: TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Key) -> bytes:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_secret(file: Path, data: bytes) -> None:
    """Write a file that only its owner may read, from its first moment on, whole or not at all."""
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        new.write(data)  # made with mode 0600
    Path(new.name).replace(file)


def write_public(file: Path, data: bytes) -> None:
    """Write a file that every user may read, whole or not at all."""
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        new.write(data)
    os.chmod(new.name, 0o644)
    Path(new.name).replace(file)
