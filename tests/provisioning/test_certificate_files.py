"""Certificate and key files that are not what was expected are named, with the remedy."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from mqttws import TlsConfig, UsageError, X509Certificate

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]

SAMPLE = "Azure IoT CA TestOnly Root CA"


@cache
def pair(common_name: str, *, ca: bool = False) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def pem(of: Pair) -> bytes:
    return of[0].public_bytes(Encoding.PEM)


def key_pem(of: Pair, encryption: KeySerializationEncryption = NoEncryption()) -> bytes:  # noqa: B008
    return of[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def utf_16(data: bytes) -> bytes:
    return data.decode().encode("utf-16")


DEVICE, ROOT = pair("dev-1"), pair(SAMPLE, ca=True)
CONNECTION_STRING = b"HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=c2VjcmV0"

CHAINS = {
    "ca first": (pem(ROOT) + pem(DEVICE), ["begins with the certificate of a CA", SAMPLE, "dev-1"]),
    "ca alone": (pem(ROOT), ["common name", SAMPLE, "registration id"]),
    "der": (DEVICE[0].public_bytes(Encoding.DER), ["DER", "openssl x509 -inform der"]),
    "pfx": (
        pkcs12.serialize_key_and_certificates(b"x", DEVICE[1], DEVICE[0], None, NoEncryption()),
        ["PKCS#12", "openssl pkcs12"],
    ),
    "key": (key_pem(DEVICE), ["private key and no certificate"]),
    "connection string": (CONNECTION_STRING, ["connection string"]),
    "cut off": (pem(DEVICE)[:200], ["-----END"]),
    "empty": (b" \n", ["empty"]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_that_is_none_is_named_with_its_remedy(name: str) -> None:
    data, words = CHAINS[name]
    with pytest.raises(UsageError) as caught:
        X509Certificate(data, key_pem(DEVICE))
    told = f"{caught.value} {caught.value.hint}"
    assert all(word in told for word in words), told
    assert "documentation" not in told
    assert "c2VjcmV0" not in told


KEYS = {
    "encrypted": (key_pem(DEVICE, BestAvailableEncryption(b"pw")), ["encrypted", "key_password"]),
    "der": (
        DEVICE[1].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        ["DER", "openssl pkey -inform der"],
    ),
    "certificate": (pem(DEVICE), ["certificate and no private key"]),
    "public": (
        DEVICE[1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ["public key"],
    ),
    "of another": (key_pem(ROOT), ["does not belong to the certificate"]),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_none_is_named_with_its_remedy(name: str) -> None:
    data, words = KEYS[name]
    with pytest.raises(UsageError) as caught:
        X509Certificate(pem(DEVICE), data)
    told = f"{caught.value} {caught.value.hint}"
    assert all(word in told for word in words), told


def test_a_wrong_password_is_named() -> None:
    sealed = key_pem(DEVICE, BestAvailableEncryption(b"pw"))
    with pytest.raises(UsageError, match="cannot be read with this password"):
        X509Certificate(pem(DEVICE), sealed, key_password="no")


def test_files_that_powershell_has_written_are_read() -> None:
    assert X509Certificate(utf_16(pem(DEVICE)), utf_16(key_pem(DEVICE))).registration_id == "dev-1"
    TlsConfig(certificate=utf_16(pem(DEVICE)), key=utf_16(key_pem(DEVICE))).context()


def test_a_clients_certificate_is_named_alike() -> None:
    der = DEVICE[0].public_bytes(Encoding.DER)
    with pytest.raises(UsageError, match="DER") as caught:
        TlsConfig(certificate=der, key=key_pem(DEVICE)).context()
    assert "openssl x509" in caught.value.hint
    with pytest.raises(UsageError, match="no private key"):
        TlsConfig(certificate=pem(DEVICE), key=pem(DEVICE)).context()


def test_a_certificate_of_openssl_that_calls_itself_a_ca_is_one_of_a_device() -> None:
    own = pair("self-signed", ca=True)
    assert X509Certificate(pem(own), key_pem(own)).registration_id == "self-signed"
