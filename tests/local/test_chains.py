"""Chains of certificates, shown and enrolled; and a client's own one in a TLS message."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mqttws.local.any_certificate import own_certificate
from mqttws.local.chains import MAX_CHAIN, EnrolledChains, read_chain
from mqttws.local.x509 import DeviceAuthority, read_certificate

Key = ec.EllipticCurvePrivateKey
Made = tuple[x509.Certificate, Key]


def make(name: str, issuer: Made | None, *extensions: x509.ExtensionType) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name.from_rfc4514_string(f"CN={name}")
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key if issuer is None else issuer[1], hashes.SHA256()), key


def der(made: Made) -> bytes:
    return made[0].public_bytes(serialization.Encoding.DER)


def ca(path_length: int | None = None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=True, path_length=path_length)


def usage(*, signs: bool) -> x509.KeyUsage:
    others = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "crl_sign", "encipher_only", "decipher_only"), False)  # fmt: skip
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, **others)


def names(shown: list[bytes], enrolled: list[bytes]) -> list[str]:
    chain = EnrolledChains().continued(read_chain(shown), enrolled)
    return [certificate.common_name for certificate in chain]


@pytest.mark.parametrize(
    ("root", "middle", "found"),
    [
        ([ca()], [ca()], ["dev", "middle", "root"]),
        ([ca(1)], [ca(0)], ["dev", "middle", "root"]),
        ([ca(0)], [ca()], ["dev", "middle"]),
        ([ca(), usage(signs=True)], [ca(), usage(signs=True)], ["dev", "middle", "root"]),
        ([ca(), usage(signs=False)], [ca()], ["dev", "middle"]),
        ([], [ca()], ["dev", "middle"]),
        ([x509.BasicConstraints(ca=False, path_length=None)], [ca()], ["dev", "middle"]),
        ([ca()], [], ["dev"]),
    ],
)
def test_a_chain_goes_on_to_those_that_may_sign(
    root: list[x509.ExtensionType], middle: list[x509.ExtensionType], found: list[str]
) -> None:
    top = make("root", None, *root)
    between = make("middle", top, *middle)
    device = make("dev", between)
    assert names([der(device), der(between)], [der(top)]) == found
    assert names([der(device)], [der(top), der(between)]) == found, "enrolled, none of it shown"
    assert names([der(device), der(top), der(between)], []) == found, "shown in another order"


def test_a_name_alone_proves_nothing() -> None:
    good, twin = make("root", None, ca()), make("root", None, ca())
    device = make("dev", good)
    assert names([der(device)], [der(twin)]) == ["dev"]
    assert names([der(device), der(twin)], [der(twin), der(good)]) == ["dev", "root"]
    chain = EnrolledChains().continued(read_chain([der(device)]), [der(twin), der(good)])
    assert chain[1].der == der(good)


def test_what_cannot_be_read_is_passed_over() -> None:
    root = make("root", None, ca())
    device = make("dev", root)
    assert names([der(device), b"junk"], [b"junk", der(root)]) == ["dev", "root"]
    chain = read_chain([b"junk", der(device)])
    assert chain[0].fault
    assert EnrolledChains().continued(chain, [der(root)]) == chain
    assert read_chain([]) == ()


def test_a_long_chain_and_a_circle_end() -> None:
    below: Made | None = None
    made = []
    for number in range(MAX_CHAIN + 3):
        below = make(f"n{number}", below, ca())
        made.append(der(below))
    assert len(names([made[-1]], made)) == MAX_CHAIN
    root = make("root", None, ca())
    assert names([der(root)], [der(root)]) == ["root"], "its own issuer"


def test_many_enrolled_certificates_are_read_once() -> None:
    authorities = [DeviceAuthority.root(f"CA {number}") for number in range(5)]
    enrolled = tuple(read_certificate(authority.pem) for authority in authorities)
    chains = EnrolledChains()
    for number, authority in enumerate(authorities):
        shown = read_chain([read_certificate(authority.issue("dev").certificate)])
        assert chains.continued(shown, enrolled)[1].der == enrolled[number]
        assert len(chains.continued(shown, enrolled[:number])) == 1, "and not by those before"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_clients_own_certificate_is_found_in_its_message(version: str) -> None:
    def sized(data: bytes, size: int = 3) -> bytes:
        return len(data).to_bytes(size) + data

    context, ends = (b"", b"") if version == "1.2" else (sized(b"abc", 1), sized(b"", 2))
    for shown, own in (([], b""), ([b"own"], b"own"), ([b"own" * 99, b"ca"], b"own" * 99)):
        entries = b"".join(sized(certificate) + ends for certificate in shown)
        message = b"\x0b" + sized(context + sized(entries))
        assert own_certificate(message, has_context=version == "1.3") == own
    for cut in range(4):
        assert own_certificate(b"\x0b\0\0\0"[:cut], has_context=version == "1.3") == b""
