"""CA certificates as they are handed out: PEM with text around it, DER, PKCS#7; from any system."""

import codecs
import re
from base64 import b64decode
from binascii import Error as NotBase64

from ..errors import UsageError
from ..hops import Cause

_BEGIN = b"-----BEGIN "
_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL
)  # RFC 7468 section 3
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_PKCS7 = (b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA")


def ca_certificates(data: bytes, source: str) -> bytes:
    """Return the certificates in a CA file, DER, one behind the other, as OpenSSL loads them.

    PEM may have text before, a byte order mark, CRLF, or be UTF-16 (PowerShell); DER (``.cer``,
    ``.crt``) and PKCS#7 (``.p7b``), in PEM or DER, are read too.

    Args:
        data: the file's content.
        source: the file's name, or other words for it.

    Raises:
        UsageError: no certificate can be read from it; says what it is, and how to convert it.
    """
    text = _as_bytes(data)
    if _BEGIN in text:
        found = _from_pem(text, source)
    elif data[:1] == b"\x30":  # an ASN.1 SEQUENCE
        found = _from_der(data, source)
    else:
        found = []
    if not found:
        raise _unusable(source, *_looks_like(data, text))
    return b"".join(found)


def _as_bytes(data: bytes) -> bytes:
    """Return text as ASCII, whatever Windows wrapped it in."""
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            return data[2:].decode(name, "replace").encode("ascii", "replace")
    if data[:200].count(b"\0") > 20 and b"-\0-\0" in data:  # UTF-16 without its mark
        return data.replace(b"\0", b"")
    return data.removeprefix(codecs.BOM_UTF8)


def _from_pem(text: bytes, source: str) -> list[bytes]:
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


def _from_der(data: bytes, source: str) -> list[bytes]:
    from cryptography import x509

    first = _first_element(data, source)
    try:
        x509.load_der_x509_certificate(first)
    except ValueError:
        return _from_pkcs7(data, source, quietly=True)
    return [first]


def _first_element(der: bytes, source: str) -> bytes:
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


def _from_pkcs7(der: bytes, source: str, *, quietly: bool = False) -> list[bytes]:
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


_PKCS12 = b"\x02\x01\x03"
"""How a PKCS#12 file goes on after its first length: version 3 (RFC 7292 section 4)."""


def _looks_like(data: bytes, text: bytes) -> tuple[str, str]:
    """Return what a file seems to be, and what to do with it."""
    start = text[:400].lstrip().lower()
    if not text.strip():
        return "it is empty: no certificate is in it", "copy it again"
    if b"PRIVATE KEY-----" in text:
        return "it holds a private key and no certificate", "give the CA's certificate"
    if b"BEGIN CERTIFICATE REQUEST" in text or b"BEGIN NEW CERTIFICATE REQUEST" in text:
        return "it holds a certificate request", "give the certificate that the CA made of it"
    if data[:1] == b"\x30" and _PKCS12 in data[:8]:
        return (
            "it is PKCS#12 (.pfx, .p12)",
            "convert it: openssl pkcs12 -in FILE -nokeys -cacerts -out ca.pem",
        )
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page", "the download needs a login, or its address is wrong"
    if data.startswith((b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")):
        return (
            "it is a Java key store",
            "convert it: keytool -exportcert -rfc -keystore FILE -alias NAME -file ca.pem",
        )
    if _BEGIN in text:
        return "no certificate is complete in it", "copy it again, with its last line -----END"
    return (
        "no certificate in PEM or DER form was found in it",
        "have the CA exported as Base-64 X.509 (.cer or .pem)",
    )


def _unusable(source: str, found: str, remedy: str) -> UsageError:
    remedy = remedy.replace("FILE", source) if "FILE" in remedy else remedy
    return UsageError(f"the CA file {source}: {found}", cause=Cause.ARGUMENT, hint=remedy)
