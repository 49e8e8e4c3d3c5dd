"""CA files as Windows, browsers and proxies hand them out."""

import base64
import codecs
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from mqttws import TlsConfig
from mqttws.hops import Cause, Hop, Party  # noqa: F401 - the columns of the table

from .pki import DER, PEM, Pki
from .row import Device, Network, Row
from .world import World


def file(make: Callable[[Pki], bytes], suffix: str) -> Network:
    """The root of the server's chain lies in a file of this form."""

    @asynccontextmanager
    async def network(world: World) -> AsyncIterator[Device]:
        path = world.folder / f"given{suffix}"
        path.write_bytes(make(world.pki))
        async with world.fronted(world.pki.server(world.pki.leaf())):
            yield Device(tls=TlsConfig(ca=path))

    return network


def text(pki: Pki) -> str:
    return pki.root.pem.decode()


def p7b(encoding: serialization.Encoding) -> Callable[[Pki], bytes]:
    return lambda pki: pkcs7.serialize_certificates(
        [pki.issuing.certificate, pki.root.certificate], encoding
    )


def pfx(pki: Pki) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"x", pki.root.key, pki.root.certificate, None, serialization.NoEncryption()
    )


def trusted(pki: Pki) -> bytes:
    """OpenSSL's own form: the certificate, and behind it what it is trusted for."""
    uses = b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"
    body = base64.encodebytes(pki.root.der + uses)
    return b"-----BEGIN TRUSTED CERTIFICATE-----\n" + body + b"-----END TRUSTED CERTIFICATE-----\n"


def utf16(pki: Pki) -> bytes:
    return codecs.BOM_UTF16_LE + text(pki).replace("\n", "\r\n").encode("utf-16-le")


def refused(name: str, make: Callable[[Pki], bytes], suffix: str, *says: str) -> Row:
    return Row(name, file(make, suffix), says=(f"given{suffix}", *says), refused=True, sdk=False)


ROWS = [
    Row("PEM", file(lambda pki: pki.root.pem, ".pem")),
    Row(
        "PEM with text before it",
        file(lambda pki: b"Subject: root\n\n" + pki.root.pem, ".txt"),
        sdk=False,
    ),
    Row(
        "PEM with text that is not ASCII",
        file(lambda pki: "Müller CA\n".encode() + pki.root.pem, ".u"),
        sdk=False,
    ),
    Row(
        "PEM with a byte order mark",
        file(lambda pki: codecs.BOM_UTF8 + pki.root.pem, ".bom"),
        sdk=False,
    ),
    Row(
        "PEM with CRLF", file(lambda pki: pki.root.pem.replace(b"\n", b"\r\n"), ".crlf"), sdk=False
    ),
    Row("PEM in UTF-16 (PowerShell)", file(utf16, ".utf16"), sdk=False),
    Row("PEM, BEGIN TRUSTED CERTIFICATE", file(trusted, ".trusted"), sdk=False),
    Row(
        "PEM of two certificates",
        file(lambda pki: pki.issuing.pem + pki.root.pem, ".two"),
        sdk=False,
    ),
    Row("DER (.cer)", file(lambda pki: pki.root.certificate.public_bytes(DER), ".cer"), sdk=False),
    Row("PKCS#7, DER (.p7b)", file(p7b(DER), ".p7b"), sdk=False),
    Row("PKCS#7, PEM (.p7c)", file(p7b(PEM), ".p7c"), sdk=False),
    refused("PKCS#12 (.pfx)", pfx, ".pfx", "PKCS#12", "openssl pkcs12"),
    refused("a private key", lambda pki: pki.root.key_pem, ".key", "private key"),
    refused("an empty file", lambda pki: b"", ".empty", "empty"),
    refused("a web page", lambda pki: b"<!DOCTYPE html><html>log in</html>", ".html", "web page"),
    refused("a file that is cut off", lambda pki: pki.root.pem[:200], ".cut", "copy it again"),
    refused("anything else", lambda pki: b"\x00\x01\x02 something", ".bin", "Base-64"),
]
