"""The hub's error codes, and the bodies in which devices and services receive them.

Six-digit codes as azure-docs ``troubleshoot-error-codes.md`` lists them; the first three digits are
the status. Knows no topic and no HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """A six-digit error code; its name is that of the header ``iothub-errorcode``."""

    ArgumentInvalid = 400004
    IotHubFormatError = 400006
    ConnectionForcefullyClosedOnNewConnection = 400027
    IssuanceRefused = 400040
    IotHubUnauthorizedAccess = 401003
    DeviceMaximumQueueDepthExceeded = 403004
    DeviceNotFound = 404001
    ModuleNotFound = 404010
    DeviceNotOnline = 404103
    DeviceAlreadyExists = 409001
    ModuleAlreadyExistsOnDevice = 409301
    IssuanceActive = 409005
    PreconditionFailed = 412001
    DeviceMessageLockLost = 412002
    MessageTooLarge = 413001
    ThrottlingException = 429001
    CredentialThrottled = 429002
    ServerError = 500001
    ServiceUnavailable = 503001
    GatewayTimeout = 504101

    @property
    def status(self) -> int:
        """The first three digits: the status of the answer."""
        return self.value // 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """A request that cannot be granted.

    Attributes:
        code: says the status too.
        message: one sentence, without secrets.
        info: members of the body's ``info``.
    """

    code: Code
    message: str
    info: Mapping[str, Any] = field(default_factory=dict)


def error_body(code: int, message: str, now: float, tracking_id: str) -> dict[str, Any]:
    """Return the body in which a device receives an error about its twin.

    The shape is that of a recorded answer (amenzhinsky/iothub #70). It always has ``errorCode``:
    the Node SDK takes an answer without it for a success.
    """
    return {
        "errorCode": code,
        "trackingId": tracking_id,
        "message": message,
        "info": {},
        "timestampUtc": timestamp(now),
    }


def timestamp(unix: float) -> str:
    """Return an instant as the hub writes it: UTC, with fractions of a second."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}0Z"
