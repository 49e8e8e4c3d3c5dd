"""Bodies of the service's answers, as the service API publishes their shapes.

Every answer has a JSON body, in ASCII: the Node SDK crashes on an empty one.
"""

import base64
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from ..text import shown
from .assignment import CLASSIC
from .effects import Answer
from .json_text import build_json
from .records import RegistrationRecord
from .settings import Settings
from .topics import Lookup, Poll, Register, Request

_GROUP_IN_ANSWER_SINCE = "2021-06-01"
_PROFILE_SINCE = "2026-11-02"

_REPROVISIONED_SINCE = "2019-04-15"
"""The first with ``reprovisionedToInitialAssignment`` (azure-iot-sdk-csharp pull 2397)."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - without an offset in its ISO form


def assigned_state(
    record: RegistrationRecord, api_version: str, profile: str = CLASSIC
) -> dict[str, Any]:
    """Return a DeviceRegistrationResult, its members in the order of the published samples."""
    state: dict[str, Any] = {
        "registrationId": record.registration_id,
        "createdDateTimeUtc": record.created,
        "assignedHub": record.assigned_hub,
        "deviceId": record.device_id,
        "status": "assigned",
        "substatus": _substatus(record.substatus, api_version),
        "lastUpdatedDateTimeUtc": record.last_updated,
        "etag": record.etag,
    }
    if api_version >= _PROFILE_SINCE:
        state["connectionProfile"] = profile
    if record.payload is not None:
        state["payload"] = record.payload
    named = {"enrollmentGroupId": record.enrollment_group_id} if record.enrollment_group_id else {}
    if not record.key_name:
        state["x509"] = named
    elif named and api_version >= _GROUP_IN_ANSWER_SINCE:
        state["symmetricKey"] = named
    return state


def _substatus(substatus: str, api_version: str) -> str:
    if substatus == "reprovisionedToInitialAssignment" and api_version < _REPROVISIONED_SINCE:
        return "initialAssignment"
    return substatus


def error_body(
    error_code: int, message: str, tracking_id: str, unix_now: float
) -> dict[str, str | int]:
    """Return a ProvisioningServiceErrorDetails of the service API."""
    return {
        "errorCode": error_code,
        "trackingId": tracking_id,
        "message": message,
        "timestampUtc": timestamp(unix_now),
    }


def outcome(state: dict[str, Any]) -> str:
    """Return how an operation ended, one line for the log."""
    if state["status"] == "assigned":
        return f"assigned to {shown(state['assignedHub'])} as {shown(state['deviceId'])}"
    return f"failed {state['errorCode']}: {state['errorMessage']}"


_VERBS: Mapping[type[Request], str] = {Register: "register", Poll: "poll", Lookup: "lookup"}


def verb(request: Request) -> str:
    """Return the name of a request, for the log and for ordered faults."""
    return _VERBS[type(request)]


def timestamp(unix_now: float) -> str:
    """Return ISO 8601 with the service's seven fractional digits."""
    seconds, ticks = divmod(round(unix_now * 10**7), 10**7)
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}.{ticks:07d}Z"


@lru_cache(16)  # an operation's stands in its state and in the device's record
def new_etag(name: str) -> str:
    """Return an etag of the service's form, a quoted guid in base64, made from ``name``."""
    return base64.b64encode(f'"{uuid.uuid5(uuid.NAMESPACE_OID, name)}"'.encode()).decode()


class Rejection(Exception):
    """A request that gets an error status.

    Args:
        error_code: six digits; its first three are the status.
        message: for the device.
        reason: for the log; the message where empty.
        retry_after: seconds; None where the device need not come again.
    """

    def __init__(
        self, error_code: int, message: str, reason: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.error_code = error_code
        self.message = message
        self.reason: str = reason or message


def build_answer(
    request: Request,
    status: int,
    body: dict[str, Any],
    reason: str,
    retry_after: int | None = None,
) -> Answer:
    """Return an answer to a request; ``reason`` goes into the log."""
    told = f"{verb(request)} {status} {reason}"
    return Answer(status, build_json(body), told, request.request_id, retry_after)


def assigning(settings: Settings, request: Request, body: dict[str, Any], reason: str) -> Answer:
    """Return an answer that asks the device to poll later."""
    return build_answer(request, 202, body, reason, settings.retry_after)


def rejected(request: Request, rejection: Rejection, tracking_id: str, unix_now: float) -> Answer:
    """Return an error answer."""
    code = rejection.error_code
    body = error_body(code, rejection.message, tracking_id, unix_now)
    reason = f"{code}: {rejection.reason}"
    answer = build_answer(request, code // 1000, body, reason, rejection.retry_after)
    return replace(answer, error_code=code)


def disabled(request: Request, registration_id: str, unix_now: float) -> Answer:
    """Return the answer to a disabled device: status 200, and no operation that can be polled."""
    now = timestamp(unix_now)
    state = {
        "registrationId": registration_id,
        "status": "disabled",
        "lastUpdatedDateTimeUtc": now,
        "etag": new_etag(f"{registration_id} {now}"),
    }
    body = {"operationId": "", "status": "disabled", "registrationState": state}
    return build_answer(request, 200, body, "disabled")
