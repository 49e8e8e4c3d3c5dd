"""A certification authority by script: chains with one fault each."""

import datetime
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mqttws.local.alerts import send_alerts

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def name(common: str, organization: str = "Field Test Ltd") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


@dataclass
class Issued:
    """A certificate, its key, and the certificates above it that are sent with it."""

    certificate: x509.Certificate
    key: Any
    above: tuple["Issued", ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def issue(
    subject: x509.Name,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    hosts: Sequence[str] = (),
    begins: float = -30,
    ends: float = 365,
    key: Any = None,
    digest: Any = None,
    path_length: int | None = None,
    usage: Any = ExtendedKeyUsageOID.SERVER_AUTH,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    above: Sequence[Issued] = (),
    signed_by: Any = None,
) -> Issued:
    """Return a certificate; days count from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins * DAY)
        .not_valid_after(NOW + ends * DAY)
        .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if hosts:
        names = [x509.DNSName(host) for host in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if not ca and usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    signer = signed_by or (issuer.key if issuer else key)
    return Issued(builder.sign(signer, digest or hashes.SHA256()), key, tuple(above))


def weak_rsa() -> Any:
    return rsa.generate_private_key(65537, 1024)


def strong_rsa() -> Any:
    return rsa.generate_private_key(65537, 2048)


def with_sha1(issued: Issued, issuer: Issued) -> Issued:
    """Return a certificate of RSA signed anew with SHA-1, which ``cryptography`` no longer does."""
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    old = issued.certificate
    to_be_signed = old.tbs_certificate_bytes.replace(sha256, sha1)
    signature = issuer.key.sign(to_be_signed, padding.PKCS1v15(), hashes.SHA1())
    der = old.public_bytes(DER).replace(sha256, sha1).replace(old.signature, signature)
    return Issued(x509.load_der_x509_certificate(der), issued.key, issued.above)


class Pki:
    """A root, an intermediate, and chains for ``dps.test``; files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = issue(name("Field Root"), ca=True)
        self.issuing = issue(name("Field Issuing 1"), self.root, ca=True)
        self.host = "dps.test"

    def leaf(self, issuer: Issued | None = None, **options: Any) -> Issued:
        """Return a server's certificate; the intermediate is sent along."""
        issuer = issuer or self.issuing
        options.setdefault("hosts", [self.host])
        options.setdefault("above", [issuer] if issuer is not self.root else [])
        subject = options.pop("subject", None) or name("dps.test")
        return issue(subject, issuer, **options)

    def file(self, data: bytes, suffix: str = ".pem") -> Path:
        path = self.folder / f"{abs(hash(data))}{suffix}"
        path.write_bytes(data)
        return path

    def server(self, leaf: Issued, *, weak: bool = False) -> ssl.SSLContext:
        """Return a server's context that shows a leaf and what stands above it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if weak:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        chain = leaf.pem + b"".join(issued.pem for issued in leaf.above)
        context.load_cert_chain(self.file(chain + leaf.key_pem))
        send_alerts(context)
        return context
