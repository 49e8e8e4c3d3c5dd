"""A device's certificate as a credential: what is taken, what is refused, and what it shows."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

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
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from mqttws import Cause, TlsConfig, UsageError, X509Certificate
from mqttws.errors import CertificateNotValid, UnusableFile
from mqttws.provisioning.x509 import ExternalKey

BEGINS = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDS = BEGINS + timedelta(days=3650)


@cache
def key_of(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(*names: str, ca: bool | None = None, by: str = "") -> x509.Certificate:
    """Return a certificate with these common names; ``ca`` None leaves the extension out."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]) if by else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key_of(names[0] if names else "").public_key())
        .serial_number(7)
        .not_valid_before(BEGINS)
        .not_valid_after(ENDS)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    return builder.sign(key_of(by or (names[0] if names else "")), hashes.SHA256())


def pem(*chain: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in chain)


def key_pem(name: str, encryption: KeySerializationEncryption = NoEncryption()) -> bytes:  # noqa: B008
    return key_of(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def dev(**options: Any) -> X509Certificate:
    return X509Certificate(pem(certificate("dev")), key_pem("dev"), **options)


def test_it_is_known_by_its_name_and_its_fingerprint() -> None:
    one = dev()
    fingerprint = hashlib.sha256(certificate("dev").public_bytes(Encoding.DER)).hexdigest()
    assert (one.registration_id, one.fingerprint) == ("dev", fingerprint)
    assert one.digest("any") == f"x509:{fingerprint}"
    assert repr(one) == f"X509Certificate('dev', sha256={fingerprint[:16]})"
    with pytest.raises(UsageError, match="context"):
        one.digest(5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unix_now"):
        one.password("0ne00", "now")  # type: ignore[arg-type]


def test_two_are_equal_by_certificate_and_name() -> None:
    assert dev() == dev()
    assert hash(dev()) == hash(dev())
    assert dev() != dev(registration_id="DEV")
    other = X509Certificate(pem(certificate("other")), key_pem("other"))
    assert dev() != other
    assert dev().__eq__("dev") is NotImplemented


def test_the_name_may_be_given_and_must_be_the_certificates() -> None:
    assert dev(registration_id="DEV").registration_id == "DEV"
    with pytest.raises(UsageError) as caught:
        dev(registration_id="other")
    assert str(caught.value) == (
        "the certificate's common name is 'dev', the registration id 'other'; allowed: the same"
    )
    assert caught.value.hint == "use the certificate that was issued for this device"
    with pytest.raises(UsageError, match="registration"):
        dev(registration_id="a/b")
    with pytest.raises(UsageError, match="registration id"):
        X509Certificate(pem(certificate("a b")), key_pem("a b"), registration_id="a b")
    with pytest.raises(UsageError, match="chain"):
        X509Certificate(5, key_pem("dev"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^key_password: found"):
        dev(key_password=5)


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_it_has_one_common_name(names: tuple[str, ...]) -> None:
    with pytest.raises(
        UsageError, match=f"has {len(names)} common names; allowed: one, the registration id"
    ):
        X509Certificate(pem(certificate(*names)), key_pem(names[0] if names else ""))


def test_a_name_that_can_be_none_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="'a b', which cannot be a registration id: ") as caught:
        X509Certificate(pem(certificate("a b")), key_pem("a b"))
    assert "use the device's certificate" in caught.value.hint


DEVICE = certificate("device", ca=False, by="root")
ROOT = certificate("root", ca=True)


def test_the_devices_certificate_comes_first() -> None:
    chain = X509Certificate(pem(DEVICE, ROOT), key_pem("device"))
    assert chain.registration_id == "device"
    with pytest.raises(UsageError, match="begins with the certificate of a CA") as caught:
        X509Certificate(pem(ROOT, DEVICE), key_pem("device"))
    assert "CN=root" in str(caught.value)
    assert "put the certificate of 'CN=device' first" in caught.value.hint
    plain = certificate("plain")  # without the extension it is no CA's
    with pytest.raises(UsageError, match="begins with the certificate of a CA"):
        X509Certificate(pem(ROOT, plain), key_pem("plain"))
    assert X509Certificate(pem(ROOT), key_pem("root")).registration_id == "root"


def test_what_is_no_chain_or_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="certificate chain"):
        X509Certificate(b"x", key_pem("dev"))
    with pytest.raises(UsageError, match="private key"):
        X509Certificate(pem(certificate("dev")), b"x")
    with pytest.raises(UsageError, match="does not belong to the certificate"):
        X509Certificate(pem(certificate("dev")), key_pem("other"))
    (tmp_path / "key.pem").write_bytes(key_pem("other"))
    with pytest.raises(UnusableFile, match="does not belong to the certificate") as caught:
        X509Certificate(pem(certificate("dev")), str(tmp_path / "key.pem"))
    assert caught.value.cause is Cause.KEY_MISMATCH
    assert "the key its own" in caught.value.hint


@pytest.mark.parametrize("password", ["pw", b"pw"])
def test_an_encrypted_key_needs_its_password(password: str | bytes) -> None:
    chain, sealed = pem(certificate("dev")), key_pem("dev", BestAvailableEncryption(b"pw"))
    assert X509Certificate(chain, sealed, key_password=password) == dev()
    for given, told, hint in (
        (None, "it is encrypted", "give its password: key_password=, --cert-key-password-file"),
        ("no", "it cannot be read with this password", "check the password"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            X509Certificate(chain, sealed, key_password=given)
        assert caught.value.hint == hint
        assert caught.value.__context__ is None
    with pytest.raises(UsageError, match="not encrypted, yet has a password") as caught:
        dev(key_password=password)
    assert caught.value.hint == "give no password for it"


def test_the_key_is_held_encrypted_under_a_password_of_its_own() -> None:
    one, other = dev(), dev()
    sealed, password = one._key
    assert b"ENCRYPTED PRIVATE KEY" in sealed
    assert password != other._key[1]
    key = load_pem_private_key(sealed, password)
    assert key.public_key() == key_of("dev").public_key()


def test_it_is_valid_from_its_first_to_its_last_second() -> None:
    one = dev()
    for moment in (BEGINS, ENDS):
        assert one.password("0ne00", moment.timestamp()) is None  # type: ignore[func-returns-value]
    with pytest.raises(CertificateNotValid) as caught:
        one.password("0ne00", BEGINS.timestamp() - 1)
    assert str(caught.value) == (
        "the certificate of 'dev' is not valid before 2026-01-02 03:04:05Z"
    )
    assert caught.value.cause is Cause.OWN_CERTIFICATE_NOT_YET_VALID
    assert "wait until then" in caught.value.hint
    with pytest.raises(CertificateNotValid, match="expired at 2035-12-31 03:04:05Z") as caught:
        one.password("0ne00", ENDS.timestamp() + 1)
    assert caught.value.cause is not Cause.OWN_CERTIFICATE_NOT_YET_VALID
    assert "renew it" in caught.value.hint


def test_a_context_is_made_once_for_those_whom_it_trusts() -> None:
    one = dev()
    usual, own = None, TlsConfig(ca=pem(ROOT), only_ca=True)
    first = one.context(usual)
    assert isinstance(first, ssl.SSLContext)
    assert one.context(TlsConfig()) is first
    second = one.context(own)
    assert second is not first
    assert one.context(own) is second
    assert [each["serialNumber"] for each in second.get_ca_certs()] == ["07"]
    assert len(one._contexts) == 1, "the one that was used last"
    assert dev().context(own) is not second, "each device shows its own"
    for tls, told in ((ssl.create_default_context(), "a TLS context of its own"), (5, "tls")):
        with pytest.raises(UsageError, match=told):
            one.context(tls)  # type: ignore[arg-type]


def test_a_key_in_a_ready_context_is_taken_as_it_is() -> None:
    one, ready = ExternalKey("dev"), ssl.create_default_context()
    assert one.context(ready) is ready
    assert one.registration_id == "dev"
    assert repr(one) == "ExternalKey('dev')"
    for tls in (None, TlsConfig()):
        with pytest.raises(UsageError, match="an ExternalKey needs tls=") as caught:
            one.context(tls)
        assert "or use X509Certificate" in caught.value.hint
    for call in (
        lambda: one.digest(5),  # type: ignore[arg-type]
        lambda: one.password("s", "now"),  # type: ignore[arg-type, func-returns-value]
        lambda: ExternalKey("a/b"),
    ):
        with pytest.raises(UsageError):
            call()
