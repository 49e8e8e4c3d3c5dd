"""Errors made from the service's answers: its status, its six-digit code, its words, and a hint.

Knows how a body names a fault. Does not know when an answer is an error.
"""

from typing import Any

from ..errors import RegistrationFailed, RegistrationRejected
from ..text import short_line
from .assignment import read_state, read_text
from .json_text import parse_json

MAX_CODE = 999_999
"""Error codes have six digits; a longer number is none."""

HINTS_BY_CODE: dict[int | None, str] = {
    400012: "the payload must be a JSON object",
    400207: "the custom allocation webhook of the enrollment failed; look at its log",
    400208: "no IoT hub is linked or allowed for this enrollment; link one to the DPS instance",
    400040: "the CA refused the certificate signing request: its common name must be the"
    " registration id; look at the enrollment's credential policy",
    400209: "the device is blocked or not authorized; look at its enrollment",
    401000: "check the key (a group's device needs the key derived for its id) and this clock",
    401001: "the IoT hub is not linked to the DPS instance, or its link has lost its rights",
    401002: "check that the certificate chain is sent whole, enrolled and not expired, "
    "and that its common name is the registration id",
    404201: "no enrollment for this registration id; enroll it, or check the id and the id scope",
    404202: "no registration for this id; register first",
    404203: "the service has forgotten the operation; register again",
}

_HINTS_BY_STATUS = {
    400: "the request was not understood; check the payload",
    401: "check the key or the certificate, and this machine's clock",
    403: "the device may not register; look at its enrollment",
    404: "check the registration id and the id scope",
    409: "another program is registering this device at the same time: give each device an id of"
    " its own",
    412: "another program is registering this device at the same time: give each device an id of"
    " its own",
    413: "the request is too long for the service; send a shorter payload",
}

_HINTS_BY_STATE = {
    "failed": "look at the enrollment's allocation policy and IoT hubs",
    "disabled": "enable the enrollment, or the group that the device belongs to",
}


def failed(status: str, body: dict[str, Any]) -> RegistrationFailed:
    """Return the error for an operation that has ended without an assignment."""
    state = read_state(body)
    error_code = read_code(state)
    return RegistrationFailed(
        _sentence(f"the registration ended {status}", error_code, read_text(state, "errorMessage")),
        hint=HINTS_BY_CODE.get(error_code, _HINTS_BY_STATE[status]),
        state=status,
        error_code=error_code,
    )


def rejected(status: int, request: str, payload: bytes) -> RegistrationRejected:
    """Return the error for an error status; its body may be anything, even nothing."""
    try:
        body = parse_json(payload)
    except ValueError:
        body = None
    details = body if isinstance(body, dict) else {}
    error_code = read_code(details)
    return RegistrationRejected(
        _sentence(
            f"DPS answered the {request} {status}", error_code, read_text(details, "message")
        ),
        hint=HINTS_BY_CODE.get(error_code) or _hint_for(status),
        status=status,
        error_code=error_code,
        tracking_id=short_line(read_text(details, "trackingId")),
    )


def _hint_for(status: int) -> str:
    if status in _HINTS_BY_STATUS:
        return _HINTS_BY_STATUS[status]
    if status // 100 == 3:
        return "DPS sends no redirects over MQTT: check that the host is a DPS endpoint"
    return "DPS does not document this status: check the host, and the api-version that is asked"


def read_code(members: dict[str, Any]) -> int | None:
    """Return a body's error code; None where it is missing or has more than six digits."""
    value = members.get("errorCode")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CODE:
        return value
    return None


def _sentence(beginning: str, error_code: int | None, message: str) -> str:
    code = f" (error code {error_code})" if error_code is not None else ""
    return f"{beginning}{code}: {short_line(message)}" if message else f"{beginning}{code}"
