"""The identity registry's records: a device or module, its status and its credentials.

The JSON is that of the hub's service API (azure-iot-hub for Python, ``models/device.py``). Knows
no connection and no store. Keys stand in no ``repr``.
"""

import base64
import binascii
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...text import shown
from .codes import Code, Fault, timestamp

AuthenticationType = Literal["sas", "selfSigned", "certificateAuthority", "none"]

_ALLOWED = frozenset(string.ascii_letters + string.digits + "-:.+%_#*?!(),=@$'")
MAX_ID = 128


def id_fault(text: object) -> str | None:
    """Return the rule that a device's or module's id breaks; None if it breaks none.

    1 to 128 ASCII letters, digits and ``-:.+%_#*?!(),=@$'``; case counts
    (azure-docs ``iot-hub-devguide-identity-registry.md``).
    """
    if not isinstance(text, str) or not text:
        return "an id is empty or not a string"
    if len(text) > MAX_ID:
        return f"an id of {len(text)} characters; allowed: at most {MAX_ID}"
    for character in text:
        if character not in _ALLOWED:
            return f"{character!a} in an id; allowed: letters, digits and -:.+%_#*?!(),=@$'"
    return None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials by which an identity is recognised.

    Attributes:
        kind: ``sas`` (keys), ``selfSigned`` (thumbprints), ``certificateAuthority`` (the common
            name, below a trusted CA), or ``none`` (nothing lets it in).
        keys: primary and secondary, decoded; both are valid at any time.
        thumbprints: SHA-1 or SHA-256 of the device's certificate, lower-case hexadecimal.
        certificates: DER, for TLS, which must know the certificates that it lets through; with
            ``certificateAuthority``, the CAs that this identity's certificates must lead to, or
            none for any that is trusted.
        common_name: of its certificates; empty for the device id.
        policy: by which the hub issues certificates to it; empty for none.
    """

    kind: AuthenticationType = "none"
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    thumbprints: tuple[str, ...] = ()
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    common_name: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device, or a module of one.

    Attributes:
        device_id: case counts.
        module_id: empty for a device.
        credentials: by which it is recognised.
        enabled: False refuses it and closes its connection.
        status_reason: the operator's own text.
        iot_edge: whether it is an edge device.
        generation_id: another one for each creation under the same id.
        revision: rises with each change; the etag is made from it.
        status_updated: Unix time in seconds; 0 for never.
    """

    device_id: str
    module_id: str = ""
    credentials: Credentials = Credentials()
    enabled: bool = True
    status_reason: str = ""
    iot_edge: bool = False
    generation_id: str = ""
    revision: int = 1
    status_updated: float = 0.0

    @property
    def name(self) -> str:
        """The ClientId: ``device`` or ``device/module``."""
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    @property
    def path(self) -> str:
        """The path below the hub's name that a SAS token must open."""
        module = f"/modules/{self.module_id}" if self.module_id else ""
        return f"devices/{self.device_id}{module}"

    @property
    def etag(self) -> str:
        """The identity's etag, without quotes."""
        return base64.b64encode(str(self.revision).encode()).decode()


def read_identity(body: object, device_id: str, module_id: str = "") -> Identity | Fault:
    """Return the identity in a request's body.

    Keys that the body does not have are empty: ``completed`` puts in those that exist, or new
    ones.
    """
    fault = id_fault(device_id) or (id_fault(module_id) if module_id else None)
    if fault:
        return Fault(Code.ArgumentInvalid, fault)
    if not isinstance(body, dict):
        return Fault(Code.IotHubFormatError, "expected a JSON object")
    for name, expected in (("deviceId", device_id), ("moduleId", module_id)):
        if body.get(name) not in (None, "", expected):
            return Fault(Code.ArgumentInvalid, f"{name} is another than the path's")
    status = body.get("status") or "enabled"
    if status not in ("enabled", "disabled"):
        return Fault(Code.ArgumentInvalid, "status: allowed are enabled and disabled")
    credentials = _read_credentials(body.get("authentication") or {})
    if isinstance(credentials, Fault):
        return credentials
    capabilities = body.get("capabilities")
    return Identity(
        device_id,
        module_id,
        credentials,
        status == "enabled",
        str(body.get("statusReason") or ""),
        isinstance(capabilities, dict) and capabilities.get("iotEdge") is True,
    )


def _read_credentials(body: object) -> Credentials | Fault:
    if not isinstance(body, dict):
        return Fault(Code.ArgumentInvalid, "authentication: expected a JSON object")
    kind = body.get("type") or _guess(body)
    if kind == "sas":
        return _read_keys(body.get("symmetricKey") or {})
    if kind == "selfSigned":
        return _read_thumbprints(body.get("x509Thumbprint") or {})
    if kind == "certificateAuthority":
        return Credentials("certificateAuthority")
    if kind == "none":
        return Credentials()
    return Fault(Code.ArgumentInvalid, f"authentication.type: found {shown(str(kind))}")


def _guess(body: Mapping[str, Any]) -> str:
    thumbprints = body.get("x509Thumbprint")
    named = isinstance(thumbprints, dict) and any(thumbprints.values())
    return "selfSigned" if named else "sas"


def _read_keys(body: object) -> Credentials | Fault:
    if not isinstance(body, dict):
        return Fault(Code.ArgumentInvalid, "authentication.symmetricKey: expected a JSON object")
    keys: list[bytes] = []
    for name in ("primaryKey", "secondaryKey"):
        text = body.get(name)
        if not text:
            continue
        key = _decode(text)
        if key is None:
            return Fault(Code.ArgumentInvalid, f"{name}: allowed are 16 to 64 bytes in base64")
        keys.append(key)
    return Credentials("sas", tuple(keys))


def _decode(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if 16 <= len(key) <= 64 else None


def _read_thumbprints(body: object) -> Credentials | Fault:
    if not isinstance(body, dict):
        return Fault(Code.ArgumentInvalid, "authentication.x509Thumbprint: expected an object")
    found: list[str] = []
    for name in ("primaryThumbprint", "secondaryThumbprint"):
        text = body.get(name)
        if not text:
            continue
        if not is_thumbprint(text):
            return Fault(Code.ArgumentInvalid, f"{name}: allowed is SHA-1 or SHA-256, hexadecimal")
        found.append(str(text).lower())
    if not found:
        return Fault(Code.ArgumentInvalid, "selfSigned needs a thumbprint")
    return Credentials("selfSigned", thumbprints=tuple(found))


def is_thumbprint(text: object) -> bool:
    """Return whether a text is a SHA-1 or SHA-256 digest in hexadecimal."""
    return (
        isinstance(text, str)
        and len(text) in (40, 64)
        and all(character in string.hexdigits for character in text)
    )


def completed(
    new: Identity,
    old: Identity | None,
    fresh_keys: tuple[bytes, bytes],
    generation_id: str,
    now: float,
) -> Identity:
    """Return an identity that may be stored: with keys, generation and revision.

    Keys that the body left out are the old record's, else ``fresh_keys``: no request replaces a
    device's keys unless it names new ones.
    """
    credentials = new.credentials
    if credentials.kind == "sas" and len(credentials.keys) < 2:
        known = old.credentials.keys if old and old.credentials.kind == "sas" else fresh_keys
        keys = (*credentials.keys, *known[len(credentials.keys) :])
        credentials = replace(credentials, keys=keys)
    same_status = old is not None and old.enabled == new.enabled
    return replace(
        new,
        credentials=credentials,
        generation_id=old.generation_id if old else generation_id,
        revision=old.revision + 1 if old else 1,
        status_updated=old.status_updated if old and same_status else (now if old else 0.0),
    )


def same_but_revision(one: Identity, other: Identity) -> bool:
    """Return whether two states of an identity differ in their revision at most."""
    return replace(one, revision=other.revision) == other


def identity_view(identity: Identity) -> dict[str, Any]:
    """Return an identity as the service API has it; the keys are in it."""
    authentication = credentials_view(identity.credentials)
    view: dict[str, Any] = {"deviceId": identity.device_id}
    if identity.module_id:
        view["moduleId"] = identity.module_id
    view |= {
        "generationId": identity.generation_id,
        "etag": identity.etag,
        "authentication": authentication,
    }
    if not identity.module_id:
        view |= {
            "status": "enabled" if identity.enabled else "disabled",
            "statusReason": identity.status_reason or None,
            "statusUpdatedTime": status_time(identity),
            "capabilities": {"iotEdge": identity.iot_edge},
        }
    return view


def status_time(identity: Identity) -> str:
    """Return when the status was last changed; year 1 for never, as the hub writes it."""
    return timestamp(identity.status_updated) if identity.status_updated else "0001-01-01T00:00:00Z"


def credentials_view(credentials: Credentials) -> dict[str, Any]:
    """Return credentials as the service API has them, with the keys."""
    keys = [*(base64.b64encode(key).decode() for key in credentials.keys), None, None]
    prints = [*(text.upper() for text in credentials.thumbprints), None, None]
    return {
        "symmetricKey": {"primaryKey": keys[0], "secondaryKey": keys[1]},
        "x509Thumbprint": {"primaryThumbprint": prints[0], "secondaryThumbprint": prints[1]},
        "type": credentials.kind,
    }
