"""A device's assignment in a file, so that it need not register at every start.

No key is in the file. It says for whom it is good: the same host, id scope, registration id and
credential; anything else, and any fault in the file, is as if there were none.
"""

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from ..dps.json_text import parse_json
from ..errors import StoreFailed, UsageError, store_failed
from ..text import one_line
from .assignment import Assignment
from .credentials import Credential, DigestibleCredential
from .files import check_replaceable, read_file, replace_file

logger: logging.Logger = logging.getLogger("mqttws.provisioning")

MAX_SIZE = 1024 * 1024
"""Bytes of a file that are read: what DPS sends fits, each of its bytes escaped as six."""


class AssignmentFile:
    """The file in which one device keeps its assignment.

    Args:
        path: of the file; its folder is there.
        host: the DPS endpoint.
        id_scope: of the DPS instance.
        credential: what the device registers with.

    Raises:
        UsageError: the credential has no fingerprint to identify it by.
    """

    def __init__(
        self, path: str | os.PathLike[str], host: str, id_scope: str, credential: Credential
    ) -> None:
        if not isinstance(credential, DigestibleCredential):
            raise UsageError(f"{type(credential).__name__} has no digest(): it cannot be cached")
        self._path = Path(path)
        self._binding = {
            "host": host.lower(),
            "id_scope": id_scope.lower(),
            "registration_id": credential.registration_id.lower(),
            # Bound to host and scope: the same key elsewhere has another digest.
            "credential": credential.digest(f"assignment {host.lower()} {id_scope.lower()}"),
        }

    def load(self) -> Assignment | None:
        """Return the assignment; None where there is none that is good for this device."""
        try:
            stored = parse_json(read_file(self._path, MAX_SIZE))
            if stored["binding"] != self._binding:
                logger.info("the stored assignment is for another device, host or key")
                return None
            return Assignment(**stored["assignment"])  # which refuses wrong members and names
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.warning("the stored assignment cannot be used: %s", type(error).__name__)
            return None

    def check(self) -> None:
        """Find out, before anything is sent, whether there can be such a file.

        Raises:
            StoreFailed: its folder is not there, nothing may be written to it, or what is there
                is no file.
        """
        try:
            check_replaceable(self._path)
        except OSError as error:
            raise self._cannot_be_kept(error) from error

    def store(self, assignment: Assignment) -> None:
        """Keep an assignment: the file is the old one or the new one, never half of it.

        Raises:
            StoreFailed: it cannot be written.
        """
        text = json.dumps({"binding": self._binding, "assignment": asdict(assignment)})
        try:
            replace_file(self._path, text.encode())
        except OSError as error:
            raise self._cannot_be_kept(error) from error

    def _cannot_be_kept(self, error: OSError) -> StoreFailed:
        return store_failed(
            f"the assignment cannot be kept: {one_line(str(self._path))}: {error.strerror}",
            error,
            hint="name another file with cache=",
        )
