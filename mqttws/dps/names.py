"""The names that DPS uses: registration ids, user names, hubs and device ids, built and checked.

Knows what the names may be. Does not know who is enrolled.
"""

import re
import string
from dataclasses import dataclass

from ..errors import UsageError
from ..utf8 import percent_encoded

DEFAULT_API_VERSION = "2019-03-31"
"""The service API's version that most official SDKs ask for."""

MAX_REGISTRATION_ID = 128
"""The longest registration id, in characters (``concepts-service.md``)."""

_ALPHANUMERIC = frozenset(string.ascii_letters + string.digits)
_ALLOWED = _ALPHANUMERIC | frozenset("-._:")


HOST_NAME_RULE = "a host name"
DEVICE_ID_RULE = "1 to 128 ASCII characters, no blank and no /"
"""For messages."""

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DEVICE_ID = re.compile(r"[!-.0-~]{1,128}")


def is_host_name(text: str) -> bool:
    """Tell whether an IoT hub can have this name (RFC 1123 section 2.1, and ``_``)."""
    return len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None


def is_device_id(text: str) -> bool:
    """Tell whether a device can have this id at its hub, where it stands in topics."""
    return _DEVICE_ID.fullmatch(text) is not None


def registration_id_fault(text: str) -> str | None:
    """Say what is wrong with a registration id; None if it may be one.

    1 to 128 ASCII letters, digits and ``-._:``, the last one a letter, a digit or ``-``
    (``concepts-service.md``, ``iot-dps-https-sym-key-support.md``). Case does not matter to DPS.
    """
    if not text:
        return "the registration id is empty"
    if len(text) > MAX_REGISTRATION_ID:
        return f"a registration id of {len(text)} characters; allowed: at most 128"
    for character in text:
        if character not in _ALLOWED:
            return f"{character!a} in the registration id; allowed: letters, digits and -._:"
    if text[-1] not in _ALPHANUMERIC and text[-1] != "-":
        return f"the registration id ends in {text[-1]!r}; allowed: a letter, a digit or '-'"
    return None


def check_registration_id(text: str) -> str:
    """Return ``text``, which may be a registration id.

    Raises:
        UsageError: it may not.
    """
    if not isinstance(text, str):
        raise UsageError(f"registration id: found {type(text).__name__}; allowed: str")
    fault = registration_id_fault(text)
    if fault:
        raise UsageError(fault)
    return text


def build_username(
    id_scope: str,
    registration_id: str,
    api_version: str = DEFAULT_API_VERSION,
    client_version: str = "",
) -> str:
    """Return the user name of a device's CONNECT; unlike IoT Hub's it has no ``?``.

    Args:
        id_scope: of the DPS instance, such as ``0ne00ABCDEF``.
        registration_id: the device's.
        api_version: of the service API.
        client_version: what the device calls its software; left out when empty.

    Raises:
        UsageError: a name that cannot stand there.
    """
    if not id_scope or "/" in id_scope or not (id_scope.isascii() and id_scope.isprintable()):
        # Not checked more closely: its form, 0ne and 8 letters or digits, is nowhere promised.
        raise UsageError(f"id scope {id_scope!r}; allowed: what DPS shows, such as 0ne00ABCDEF")
    check_registration_id(registration_id)
    version = percent_encoded(api_version, "api version")
    username = f"{id_scope}/registrations/{registration_id}/api-version={version}"
    if client_version:
        username += f"&ClientVersion={percent_encoded(client_version, 'client version')}"
    return username


@dataclass(frozen=True, slots=True)
class Username:
    """The parts of a device's user name.

    Attributes:
        id_scope: which DPS instance the device takes us for.
        registration_id: who it says it is; not judged yet.
        api_version: of the service API.
    """

    id_scope: str
    registration_id: str
    api_version: str


def parse_username(text: str) -> Username | None:
    """Return what a user name says; None if it cannot be read.

    Lenient, since every SDK has its own tail: after ``{scope}/registrations/{id}/`` come pairs
    joined by ``&``, of which only ``api-version`` must be there.
    """
    id_scope, _, rest = text.partition("/registrations/")
    registration_id, _, tail = rest.partition("/")
    for pair in tail.split("&"):
        name, _, value = pair.partition("=")
        if name == "api-version" and value and id_scope and registration_id:
            return Username(id_scope, registration_id, value)
    return None


def is_certificate_name(text: str) -> bool:
    """Whether a text can be the name of an uploaded CA's certificate: 1 to 64 characters."""
    return re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text) is not None
