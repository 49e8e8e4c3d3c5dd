"""Server certificates that a device must refuse, for handshakes that an ordered fault strikes.

Knows X.509 through ``cryptography``. Each is made for one handshake, with the development CA where
it needs one, and leaves no file behind.
"""

import datetime
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..dps.faults import Kind
from .certificates import (
    SERVER_LIFETIME,
    Key,
    ServerCertificate,
    certificate_pem,
    key_pem,
    load_ca,
    make_ca,
    make_server_certificate,
    new_builder,
    new_key,
    new_key_usage,
    new_name,
    write_public,
    write_secret,
)

WRONG_NAME = "wrong-name.invalid"
"""The only host that a certificate of the wrong name is good for (RFC 2606 section 2)."""

_Made = tuple[x509.Certificate, Key]


def bad_context(kind: Kind, folder: Path, hosts: Sequence[str]) -> ssl.SSLContext:
    """Return a server's TLS context that shows a bad certificate.

    Args:
        kind: of a fault, such as ``expired-certificate``.
        folder: where ``prepare_certificates`` has put the CA.
        hosts: names that the certificate is good for, where its names are not at fault.
    """
    ca, ca_key = load_ca(folder)
    certificate, key = _MAKERS[kind](ca, ca_key, hosts)
    with TemporaryDirectory(prefix="mqttws-") as temporary:
        chain_file, key_file = Path(temporary) / "server.pem", Path(temporary) / "server.key"
        write_secret(key_file, key_pem(key))
        write_public(chain_file, certificate_pem(certificate))
        return ServerCertificate(folder / "ca.pem", chain_file, key_file).context()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _expired(ca: x509.Certificate, ca_key: Key, hosts: Sequence[str]) -> _Made:
    return make_server_certificate(ca, ca_key, hosts, _now() - 2 * SERVER_LIFETIME)


def _wrong_name(ca: x509.Certificate, ca_key: Key, _: Sequence[str]) -> _Made:
    return make_server_certificate(ca, ca_key, [WRONG_NAME], _now())


def _unknown_ca(_: x509.Certificate, __: Key, hosts: Sequence[str]) -> _Made:
    return make_server_certificate(*make_ca(_now()), hosts, _now())


def _missing_intermediate(ca: x509.Certificate, ca_key: Key, hosts: Sequence[str]) -> _Made:
    key = new_key()
    name = new_name("mqttws intermediate that is not sent")
    until = min(_now() + SERVER_LIFETIME, ca.not_valid_after_utc)
    intermediate = (
        new_builder(name, ca.subject, key, (_now() - datetime.timedelta(hours=1), until))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(new_key_usage(ca=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    return make_server_certificate(intermediate, key, hosts, _now())


_MAKERS: Mapping[str, Callable[[x509.Certificate, Key, Sequence[str]], _Made]] = {
    "expired-certificate": _expired,
    "wrong-name-certificate": _wrong_name,
    "unknown-ca-certificate": _unknown_ca,
    "missing-intermediate": _missing_intermediate,
}
