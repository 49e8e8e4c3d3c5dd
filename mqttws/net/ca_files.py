"""CA certificates as they are handed out: PEM with text around it, DER, PKCS#7; from any system."""

import re
from base64 import b64decode
from binascii import Error as NotBase64

from ..errors import MqttwsError
from .certificate import load_certificate
from .pem import BEGIN, CA, PemSource, as_ascii, looks_like

_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL
)  # RFC 7468 section 3
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_PKCS7 = (b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA")


def ca_certificates(source: PemSource) -> bytes:
    """Return the certificates in a CA file, DER, one behind the other, as OpenSSL loads them.

    PEM may have text before, a byte order mark, CRLF, or be UTF-16 (PowerShell); DER (``.cer``,
    ``.crt``) and PKCS#7 (``.p7b``), in PEM or DER, are read too.

    Raises:
        UnusableFile: no certificate can be read from it; says what it is, and how to convert it.
        UsageError: the same of bytes.
    """
    data = source.data
    text = as_ascii(data)
    if BEGIN in text:
        found = _from_pem(text, source)
    elif data[:1] == b"\x30":  # an ASN.1 SEQUENCE
        found = _from_der(data, source)
    else:
        found = []
    if not found:
        raise _unusable(source, *looks_like(data, CA))
    return b"".join(found)


def _from_pem(text: bytes, source: PemSource) -> list[bytes]:
    found: list[bytes] = []
    for label, body in _BLOCK.findall(text):
        if label not in (*_CERTIFICATES, *_PKCS7):
            continue
        try:
            der = b64decode(b"".join(body.split()), validate=True)
        except NotBase64:
            raise _unusable(source, "a certificate in it is not base64", "copy it again") from None
        found += _from_pkcs7(der, source) if label in _PKCS7 else [_first_element(der, source)]
    return found


def _from_der(data: bytes, source: PemSource) -> list[bytes]:
    first = _first_element(data, source)
    try:
        load_certificate(first)
    except ValueError:
        return _from_pkcs7(data, source, quietly=True)
    return [first]


def _first_element(der: bytes, source: PemSource) -> bytes:
    """Return the first ASN.1 element: OpenSSL's trusted certificates have their uses behind it."""
    try:
        size, start = der[1], 2
        if size & 0x80:
            count = size & 0x7F
            size, start = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    except IndexError:
        size, start = len(der), 0
    if der[:1] != b"\x30" or len(der) < start + size:
        raise _unusable(source, "a certificate in it is cut off", "copy it again")
    return der[: start + size]


def _from_pkcs7(der: bytes, source: PemSource, *, quietly: bool = False) -> list[bytes]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    try:
        return [
            certificate.public_bytes(Encoding.DER)
            for certificate in pkcs7.load_der_pkcs7_certificates(der)
        ]
    except (ValueError, UnsupportedAlgorithm):
        if quietly:
            return []
        command = "openssl pkcs7 -print_certs -in FILE -out ca.pem"
        raise _unusable(
            source, "the PKCS#7 in it cannot be read", f"convert it: {command}"
        ) from None


def _unusable(source: PemSource, found: str, remedy: str) -> MqttwsError:
    return source.error(f"{source}: {found}", remedy)
