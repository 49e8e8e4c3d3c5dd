"""The CA of the local services: what it issues, what it refuses, and its files."""

import base64
import stat
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import NameOID

from mqttws import CertificateNotIssued, StoreDamaged, UnusableFile, UsageError
from mqttws.dps.issuance import (
    CertificateWanted,
    ChainFault,
    CredentialPolicy,
    Issued,
    NotIssued,
    decode_der,
)
from mqttws.local.certificates import key_pem, make_ca
from mqttws.local.issuing import IssuingCa, policies_by_name
from mqttws.provisioning.issued_chain import check_chain, public_key_of

KEY = ec.generate_private_key(ec.SECP256R1())


def request(common_name: str = "dev", key: Any = KEY) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


async def no_fault(common_name: str) -> None:
    return None


def ca(folder: Path, *policies: CredentialPolicy, given: Path | None = None) -> IssuingCa:
    made = IssuingCa(policies_by_name(policies), given, no_fault)
    made.begin(folder)
    return made


def wanted(of: IssuingCa, csr: bytes, policy: str = "default", name: str = "dev") -> Any:
    return CertificateWanted(csr, name, of.policies[policy])


def ders(found: Issued | NotIssued) -> list[bytes]:
    assert isinstance(found, Issued)
    return [base64.b64decode(text) for text in found.chain or ()]


@pytest.mark.parametrize("intermediates", [0, 1, 3])
def test_a_policy_says_how_long_and_below_how_many_cas(tmp_path: Path, intermediates: int) -> None:
    issuing = ca(tmp_path, CredentialPolicy("p", 60, intermediates))
    csr = request("Dev")
    chain = ders(issuing.sign(wanted(issuing, csr, "p"), None))
    key = public_key_of(x509.load_der_x509_csr(csr))
    now = x509.load_der_x509_certificate(chain[0]).not_valid_before_utc.timestamp()
    checked = check_chain(chain, "dev", key, now)
    assert len(checked) == intermediates + 2
    assert chain[-1] == issuing.anchor
    leaf = checked[0]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 60
    again = ders(issuing.sign(wanted(issuing, csr, "p"), None))
    assert again[1:] == chain[1:]
    assert again[0] != chain[0]


@pytest.mark.parametrize("fault", [f for f in get_args(ChainFault) if f != "broken"])
def test_a_device_refuses_each_chain_that_is_spoilt_on_order(
    tmp_path: Path, fault: ChainFault
) -> None:
    issuing = ca(tmp_path)
    csr = request()
    found = issuing.sign(wanted(issuing, csr), fault)
    assert isinstance(found, Issued)
    assert (found.chain is None) is (fault == "missing")
    chain, key = ders(found), public_key_of(x509.load_der_x509_csr(csr))
    with pytest.raises(CertificateNotIssued):
        check_chain(chain, "dev", key, time.time())


def test_a_broken_chain_is_no_base64(tmp_path: Path) -> None:
    issuing = ca(tmp_path)
    found = issuing.sign(wanted(issuing, request()), "broken")
    assert isinstance(found, Issued)
    assert decode_der((found.chain or ("",))[-1]) is None


def test_requests_that_may_not_be_granted_are_refused(tmp_path: Path) -> None:
    issuing = ca(tmp_path)
    good = request()
    for csr, reason in (
        (b"no DER", "FailedToDecodeCsr"),
        (good[:-1] + bytes([good[-1] ^ 1]), "InvalidSignature"),
        (request("other"), "CommonNameMismatch"),
        (request(key=rsa.generate_private_key(65537, 1024)), "UnsupportedKey"),
        (request(key=dsa.generate_private_key(2048)), "UnsupportedKey"),
    ):
        found = issuing.sign(wanted(issuing, csr), None)
        assert isinstance(found, NotIssued)
        assert found.reason == reason
    assert ders(
        issuing.sign(wanted(issuing, request(key=rsa.generate_private_key(65537, 2048))), None)
    )


def test_the_development_ca_is_kept_and_its_key_is_the_owners_alone(tmp_path: Path) -> None:
    first = ca(tmp_path)
    assert ca(tmp_path).anchor == first.anchor
    assert stat.S_IMODE((tmp_path / "issuing-ca.key").stat().st_mode) == 0o600
    (tmp_path / "issuing-ca.key").write_text("no key")
    with pytest.raises(StoreDamaged, match="issuing CA"):
        ca(tmp_path)


def given_ca(folder: Path) -> Path:
    import datetime

    certificate, key = make_ca(datetime.datetime.now(datetime.UTC))
    file = folder / "given.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key_pem(key))
    return file


def test_a_ca_can_be_given(tmp_path: Path) -> None:
    file = given_ca(tmp_path)
    issuing = ca(tmp_path / "state", given=file)
    chain = ders(issuing.sign(wanted(issuing, request()), None))
    given = x509.load_pem_x509_certificate(file.read_bytes())
    assert chain[-1] == issuing.anchor == given.public_bytes(serialization.Encoding.DER)
    with pytest.raises(UsageError, match="3 intermediates; allowed below this CA: 1"):
        ca(tmp_path, CredentialPolicy("p", intermediates=3), given=file)


def test_a_ca_that_cannot_be_one_is_refused_without_its_key(tmp_path: Path) -> None:
    text = given_ca(tmp_path).read_bytes()
    certificate, _, key = text.partition(b"-----BEGIN PRIVATE")
    other = given_ca(tmp_path).read_bytes()
    for wrong in (
        certificate,
        b"-----BEGIN PRIVATE" + key,
        certificate + other[other.find(b"-----BEGIN PRIVATE") :],
        b"",
    ):
        file = tmp_path / "wrong.pem"
        file.write_bytes(wrong)
        with pytest.raises(UnusableFile, match="issuing_ca") as refused:
            ca(tmp_path, given=file)
        assert "PRIVATE KEY" not in str(refused.value)
    with pytest.raises(UnusableFile, match="issuing_ca"):
        ca(tmp_path, given=tmp_path / "none.pem")


def test_policies_have_different_names() -> None:
    with pytest.raises(UsageError, match="'p' is there twice"):
        policies_by_name([CredentialPolicy("p"), CredentialPolicy("p")])
    with pytest.raises(UsageError, match="allowed: CredentialPolicy"):
        policies_by_name(["p"])  # type: ignore[list-item]
    changed = CredentialPolicy("default", 60)
    assert policies_by_name([changed])["default"] == changed
