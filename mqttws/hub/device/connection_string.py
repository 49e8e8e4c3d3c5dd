"""Device connection strings of IoT Hub (``HostName=…;DeviceId=…;SharedAccessKey=…``).

Knows which parts there are and which belong together. Does not sign anything. No value of a secret
part stands in an error or a ``repr``.
"""

from dataclasses import dataclass, field
from typing import NoReturn

from ...errors import UsageError
from ...text import shown

_PARTS = {
    "hostname": "hub",
    "deviceid": "device_id",
    "moduleid": "module_id",
    "gatewayhostname": "gateway",
    "sharedaccesskey": "key",
    "sharedaccesskeyname": "key_name",
    "sharedaccesssignature": "token",
    "x509": "x509",
    "x509cert": "x509",
}
"""The names of the parts in lower case, and what they are here."""

_HINT = "copy the device's own connection string from the portal or `az iot hub device-identity`"


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """The parts of a device connection string.

    Attributes:
        hub: the hub's full host name.
        device_id: the device's name at the hub; case counts.
        module_id: empty for the device itself.
        gateway: host name to connect to instead of the hub's (``GatewayHostName``); else empty.
        key: symmetric key in base64; empty where there is another credential.
        key_name: the shared access policy that the key belongs to; empty for the device's own key.
        token: a ready SAS token (``SharedAccessSignature``); else empty.
        x509: whether the device shows a certificate, which is given apart.
    """

    hub: str
    device_id: str
    module_id: str = ""
    gateway: str = ""
    key: str = field(default="", repr=False)
    key_name: str = ""
    token: str = field(default="", repr=False)
    x509: bool = False

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a ConnectionString cannot be pickled: it holds a secret")


def parse_connection_string(text: str) -> ConnectionString:
    """Return the parts of a device connection string; their names are read in any case.

    Raises:
        UsageError: it is not one, or it is a service's; the message shows no secret.
    """
    if not isinstance(text, str):
        raise UsageError(f"connection string: found {type(text).__name__}; allowed: str")
    parts: dict[str, str] = {}
    for pair in text.strip().split(";"):
        if not pair.strip():
            continue
        name, separator, value = pair.partition("=")
        part = _PARTS.get(name.strip().lower())
        if name.strip().lower() == "endpoint":
            _refuse("it is an Event Hubs endpoint's, not a device's")
        if not separator or part is None:
            # The text before "=" may itself be a secret that was cut off: it is not shown.
            _refuse(f"part {len(parts) + 1} has no known name; allowed: HostName, DeviceId, "
                    "ModuleId, GatewayHostName, SharedAccessKey, SharedAccessKeyName, "
                    "SharedAccessSignature, x509")  # fmt: skip
        if part in parts:
            _refuse(f"{name.strip()} stands in it twice")
        parts[part] = value.strip()
    return _checked(parts)


def _checked(parts: dict[str, str]) -> ConnectionString:
    if not parts.get("hub"):
        _refuse("it has no HostName")
    if not parts.get("device_id"):
        if parts.get("key_name"):
            _refuse(
                f"it has no DeviceId but the policy {shown(parts['key_name'])}: it is a service's"
            )
        _refuse("it has no DeviceId")
    for part in ("hub", "gateway"):
        if any(character in "/:@# \t" for character in parts.get(part, "")):
            _refuse(
                f"{'HostName' if part == 'hub' else 'GatewayHostName'} is {shown(parts[part])}; "
                "allowed: a host name alone, the port is given apart"
            )
    x509 = parts.pop("x509", "false").lower() == "true"
    shows = [
        name
        for name, there in (
            ("SharedAccessKey", parts.get("key")),
            ("SharedAccessSignature", parts.get("token")),
            ("x509=true", x509),
        )
        if there
    ]
    if len(shows) != 1:
        found = " and ".join(shows) or "none"
        _refuse(f"its credential: {found}; allowed: one of SharedAccessKey, "
                "SharedAccessSignature and x509=true")  # fmt: skip
    return ConnectionString(x509=x509, **parts)


def _refuse(fault: str) -> NoReturn:
    raise UsageError(f"connection string: {fault}", hint=_HINT)
