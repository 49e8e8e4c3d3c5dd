"""CertificateStore: a device's issued certificate with its key, in a folder, and as a credential.

One file holds the key, the chain and the assignment: it is replaced by one rename: a process that
is killed at any moment finds the old pair or the new one. The pair before it stays beside it until
the hub has accepted the new one. Knows files, keys and certificates; no service.
"""

import hashlib
import json
import logging
import os
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..dps.json_text import parse_json
from ..dps.names import check_registration_id
from ..errors import MqttwsError, StoreDamaged, StoreFailed, UsageError, store_failed
from ..hops import Cause
from ..net.certificate import load_certificates
from ..net.client_certificate import certificates_only
from ..net.tls import Tls
from ..options import CONTEXT, DIGEST, PASSWORD, RENEWAL
from .assignment import Assignment
from .files import locked, read_file, remove_leftovers, replace_file, sync_folder
from .pending import DeviceKey, PendingCertificate, common_name_of, make_request
from .x509 import X509Certificate

if TYPE_CHECKING:
    from cryptography import x509

logger: logging.Logger = logging.getLogger("mqttws.provisioning")

FILE = "certificate.pem"
PREVIOUS = "previous.pem"
"""The names of the files in the folder: the pair in use, and the one before it."""

MAX_SIZE = 256 * 1024
"""Bytes of a file that are read."""

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What reading a file's content may raise; ``UsageError`` is a ``ValueError``."""

_HEAD = "# mqttws: "
"""What stands before the JSON of the assignment; readers of PEM pass it over."""

_JITTER = 0.05
"""The part of a certificate's life by which renewals are spread, at random."""


@dataclass(frozen=True)
class StoredCertificate:
    """The contents of a store.

    Attributes:
        common_name: of the certificate: the registration id.
        begins: Unix time in seconds.
        ends: Unix time in seconds; its last second.
        fingerprint: SHA-256 of the certificate, in hexadecimal.
        binding: of the registration that led to it: host, id scope and registration id.
        assignment: of that registration; None where none was stored.
    """

    common_name: str
    begins: float
    ends: float
    fingerprint: str
    binding: dict[str, str] = field(default_factory=dict)
    assignment: "Assignment | None" = None
    _pem: bytes = field(default=b"", repr=False)

    def is_valid(self, unix_now: float) -> bool:
        """Whether the certificate has not expired."""
        return unix_now <= self.ends


class CertificateStore:
    """The issued certificate of one device, its key, and its assignment, in a folder.

    It is a credential like an ``X509Certificate``, and shows what it holds when a connection is
    made: ``HubClient(hub, device_id, CertificateStore("dir"))``. It cannot be pickled.

    Args:
        folder: is made if need be, mode 0700. One device's alone.
        key: a key that never leaves its hardware; None makes an EC P-256 key for each certificate,
            which is stored in the folder, mode 0600, not encrypted.
        renew_after: the part of a certificate's life after which it is due for renewal, above 0
            and below 1.

    Raises:
        UsageError: an argument is invalid.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        key: DeviceKey | None = None,
        renew_after: float = 0.5,
    ) -> None:
        if not isinstance(folder, str | os.PathLike) or not str(folder) or "\0" in str(folder):
            raise UsageError(f"folder: found {type(folder).__name__}; allowed: a folder's path")
        if key is not None and (isinstance(key, type) or not isinstance(key, DeviceKey)):
            raise UsageError(
                f"key: found {type(key).__name__}; allowed: an object with request() and context(),"
                " or None"
            )
        if not isinstance(renew_after, int | float) or not 0 < renew_after < 1:
            raise UsageError(f"renew_after: found {renew_after!r}; allowed: above 0, below 1")
        self._folder = Path(folder)
        self._file = self._folder / FILE
        self._previous = self._folder / PREVIOUS
        self._key = key
        self._renew_after = float(renew_after)
        self._shown: tuple[bytes, X509Certificate] | None = None  # by what was read

    @property
    def file(self) -> Path:
        """The file that holds the pair."""
        return self._file

    def __repr__(self) -> str:
        return f"CertificateStore({str(self._folder)!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a CertificateStore cannot be pickled: it leads to a secret")

    # What it holds

    def load(self) -> StoredCertificate | None:
        """Return what is stored; None for nothing, or for what cannot be used."""
        try:
            return self._read(read_file(self._file, MAX_SIZE))
        except FileNotFoundError:
            return None
        except (OSError, *_UNREADABLE) as error:
            logger.warning("the stored certificate cannot be used: %s", type(error).__name__)
            return None

    def _read(self, data: bytes) -> StoredCertificate:
        head, _, _ = data.partition(b"\n")
        members = parse_json(head.removeprefix(_HEAD.encode()))
        chain = certificates_only(data)
        leaf = load_certificates(chain)[0]
        if self._key is None:
            self._software(data)  # whether the key is there, and the certificate's
        assignment = members["assignment"]
        return StoredCertificate(
            common_name_of(leaf),
            leaf.not_valid_before_utc.timestamp(),
            leaf.not_valid_after_utc.timestamp(),
            hashlib.sha256(_der(leaf)).hexdigest(),
            {str(name): str(value) for name, value in members["binding"].items()},
            None if assignment is None else Assignment(**assignment),
            data,
        )

    def _software(self, data: bytes) -> X509Certificate:
        if self._shown is None or self._shown[0] != hashlib.sha256(data).digest():
            made = X509Certificate(certificates_only(data), data)
            self._shown = hashlib.sha256(data).digest(), made
        return self._shown[1]

    def _required(self) -> StoredCertificate:
        """Return what is stored.

        Raises:
            UsageError: nothing is.
            StoreFailed: it cannot be read; ``StoreDamaged`` where it is none that can be used.
        """
        try:
            return self._read(read_file(self._file, MAX_SIZE))
        except FileNotFoundError:
            fault: MqttwsError = UsageError(
                f"no certificate is stored in {self._folder}",
                cause=Cause.WRONG_MOMENT,
                hint="let provision(..., issue=CertificateStore(...)) have one issued first",
            )
        except OSError as error:
            fault = store_failed(
                f"the stored certificate cannot be read: {self._file}: {error.strerror}", error
            )
        except _UNREADABLE:
            fault = StoreDamaged(
                f"the stored certificate cannot be used: {self._file}",
                hint="have another issued: provision(..., issue=CertificateStore(...))",
            )
        raise fault  # out here: the other exception may hold what it read

    def check(self) -> None:
        """Find out, before anything is sent, whether a certificate can be stored.

        Raises:
            StoreFailed: the folder cannot be made, or not be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise store_failed(f"{self._folder}: {error.strerror}", error) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise StoreFailed(f"{self._folder}: the folder cannot be written to")

    # As a credential

    @property
    def registration_id(self) -> str:
        """The common name of the stored certificate.

        Raises:
            UsageError: none is stored.
        """
        return self._required().common_name

    def digest(self, context: str) -> str:
        """Return a fingerprint of this credential, which gives no secret away."""
        DIGEST.check(locals())
        return f"x509:{self._required().fingerprint}"

    def password(self, id_scope: str, unix_now: float) -> None:
        """Return None: the certificate speaks in the TLS handshake, CONNECT has no password."""
        PASSWORD.check(locals())

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Return a TLS context that shows the certificate that is stored now.

        Args:
            tls: whom to trust; with a key in software, no ready context.

        Raises:
            UsageError: no certificate is stored, or ``tls`` cannot be used.
        """
        CONTEXT.check(locals())
        found = self._required()
        if self._key is not None:
            return self._key.context(self._file, tls)
        return self._software(found._pem).context(tls)

    # Renewing

    def renewal_time(self, chance: float = 0.0) -> float | None:
        """Return the Unix time at which the stored certificate is due; None where none is stored.

        Args:
            chance: 0 to 1, at random: fleets are issued their certificates together.
        """
        RENEWAL.check(locals())
        found = self.load()
        if found is None:
            return None
        life = found.ends - found.begins
        return found.begins + life * min(1.0, self._renew_after + _JITTER * chance)

    def is_due(self, unix_now: float) -> bool:
        """Whether no certificate is stored, or one that is due for renewal."""
        RENEWAL.check(locals())
        at = self.renewal_time()
        return at is None or unix_now >= at

    def expires_at(self) -> float | None:
        """Return the Unix time at which the stored certificate expires; None where none is."""
        found = self.load()
        return None if found is None else found.ends

    def begin_renewal(self) -> "PendingCertificate":
        """Return a request for a certificate in the place of the stored one.

        Raises:
            UsageError: none is stored.
        """
        found = self._required()
        return self.begin(found.common_name, found.binding, found.assignment)

    def begin(
        self,
        common_name: str,
        binding: dict[str, str] | None = None,
        assignment: "Assignment | None" = None,
    ) -> "PendingCertificate":
        """Return a request for a certificate; with a key in software, for a fresh one.

        Args:
            common_name: of the certificate: the registration id.
            binding: of the registration, for which the certificate will be good.
            assignment: to be stored with the certificate, where it is known already.

        Raises:
            UsageError: the key's own request cannot be read, or is not for this name.
        """
        name = check_registration_id(common_name)
        key_pem, csr = make_request(name, self._key)

        def keep(chain: Sequence["x509.Certificate"], new: "Assignment | None") -> None:
            self._keep(key_pem, chain, binding or {}, new or assignment)

        return PendingCertificate(name, csr, keep)

    def confirm(self) -> None:
        """Delete the pair before the stored one: the hub has accepted this one."""
        with suppress(OSError):
            self._previous.unlink()

    def revert(self) -> bool:
        """Go back to the pair before the stored one, if there is one; return whether there was.

        For a hub that refuses the new certificate while the old one is valid.

        Raises:
            StoreFailed: it cannot be put in the stored one's place.
        """
        try:
            before = self._read(read_file(self._previous, MAX_SIZE))
        except (OSError, *_UNREADABLE):
            return False
        if not before.is_valid(time.time()):
            return False
        try:
            with locked(self._folder):
                self._previous.replace(self._file)
                sync_folder(self._folder)
        except OSError as error:
            raise store_failed(
                f"the certificate before this one cannot be taken: {self._file}: {error.strerror}",
                error,
            ) from error
        logger.warning("the certificate before the last one is used again: the last was refused")
        return True

    def _keep(
        self,
        key_pem: bytes,
        chain: Sequence["x509.Certificate"],
        binding: dict[str, str],
        assignment: "Assignment | None",
    ) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding

        members = {
            "binding": binding,
            "assignment": None if assignment is None else asdict(assignment),
        }
        head = f"{_HEAD}{json.dumps(members)}\n".encode()
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
        self.check()
        try:
            with locked(self._folder):
                remove_leftovers(self._file)
                remove_leftovers(self._previous)
                self._keep_previous()
                replace_file(self._file, head + key_pem + pem)
        except OSError as error:
            raise store_failed(
                f"the certificate cannot be stored: {self._file}: {error.strerror}", error
            ) from error

    def _keep_previous(self) -> None:
        """Keep what is stored beside it, unless the pair before that has not been replaced by use.

        A certificate that no hub has accepted yet must not push out the one that one has.
        """
        try:
            if self._read(read_file(self._previous, MAX_SIZE)).is_valid(time.time()):
                return
        except (OSError, *_UNREADABLE):
            pass
        with suppress(FileNotFoundError, ValueError):
            replace_file(self._previous, read_file(self._file, MAX_SIZE))


def _der(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)
