"""A client's certificate and key from memory: OpenSSL's function, as Python has it, reads files.

Knows how a key is handed to OpenSSL without a file that is of use to its finder.
"""

import os
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import MqttwsError, UsageError, store_failed
from ..hops import Cause
from .pem import CHAIN, KEY, PemSource, as_ascii, looks_like


def load_client_certificate(
    context: ssl.SSLContext, chain: PemSource, key: PemSource, password: bytes | None
) -> None:
    """Have a context prove itself with a certificate whose content is in memory.

    Raises:
        UnusableFile: a file holds something else, or the two do not fit each other.
        UsageError: the same of bytes; the password is wrong, or there is none.
        StoreFailed: this host cannot hand OpenSSL a key.
    """

    def given() -> bytes:
        # Without this function OpenSSL would ask on the terminal.
        if password is None:
            raise UsageError("the client key is encrypted: give TlsConfig(key_password=...)")
        return password

    certificate, private = as_ascii(chain.data), as_ascii(key.data)
    try:
        if hasattr(os, "memfd_create"):
            with _in_memory(certificate) as chain_file, _in_memory(private) as key_file:
                context.load_cert_chain(chain_file, key_file, given)
        else:
            _load_from_disk(context, certificate, key, password)
    except ssl.SSLError as error:
        fault = _fault(error, chain, key, password)
    except OSError as error:
        raise store_failed(f"a key cannot be handed to OpenSSL: {error.strerror}", error) from error
    else:
        return
    raise fault


def _fault(
    error: ssl.SSLError, chain: PemSource, key: PemSource, password: bytes | None
) -> MqttwsError:
    """Return the error for a certificate and key that OpenSSL does not take."""
    for source, wanted, mark in (
        (chain, CHAIN, b"CERTIFICATE-----"),
        (key, KEY, b"PRIVATE KEY-----"),
    ):
        if mark not in as_ascii(source.data):
            found, remedy = looks_like(source.data, wanted)
            return source.error(f"{source}: {found}", remedy)
    where = chain if chain.file else key
    files = "" if not where.file else " " + " and ".join(dict.fromkeys((chain.file, key.file)))
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return where.error(
            f"the client key is not the certificate's{files and ':'}{files}",
            "the chain's first certificate must be the client's, and the key its own",
            Cause.KEY_MISMATCH,
        )
    if b"ENCRYPTED" in as_ascii(key.data):
        return UsageError(f"the client key cannot be read with this password: {reason_of(error)}")
    return where.error(
        f"the client certificate or key cannot be used{files and ':'}{files}: {reason_of(error)}",
        "both must be PEM, complete",
    )


def reason_of(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in plain letters."""
    return (error.reason or "unreadable").replace("_", " ").lower()


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Lend a file that exists in memory only, and only in this process."""
    file = os.memfd_create("mqttws", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb") as writer:
            writer.write(data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _load_from_disk(
    context: ssl.SSLContext, certificate: bytes, key: PemSource, password: bytes | None
) -> None:
    """Load through a file that is of no use to its finder: its password is used once.

    A program that is killed meanwhile leaves the file behind, but nothing that opens it.
    """
    from cryptography.hazmat.primitives import serialization

    once = secrets.token_hex(32).encode()
    try:
        private = serialization.load_pem_private_key(as_ascii(key.data), password)
    except TypeError:
        raise UsageError(
            "the client key is encrypted, or a password is given and it is not",
            hint="see TlsConfig(key_password=...)",
        ) from None
    except ValueError:
        if b"ENCRYPTED" in as_ascii(key.data):
            raise UsageError("the client key cannot be read with this password") from None
        found, remedy = looks_like(key.data, KEY)
        raise key.error(f"{key}: {found}", remedy) from None
    encrypted = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(once),
    )
    import tempfile  # here: it imports the archives' modules, and few clients need it

    number, path = tempfile.mkstemp(prefix="mqttws-")  # mode 0600
    try:
        with os.fdopen(number, "wb") as writer:
            writer.write(encrypted + b"\n" + certificates_only(certificate))
        context.load_cert_chain(path, password=once)
    finally:
        with suppress(OSError):
            os.unlink(path)


def certificates_only(pem: bytes) -> bytes:
    """Return the certificates in a PEM text, and nothing else that stands in it."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    found = [part.partition(end)[0] for part in pem.split(begin)[1:]]
    return b"".join(begin + body + end + b"\n" for body in found)
