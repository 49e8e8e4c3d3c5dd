"""The device's side of DPS: register, poll, and what came of it.

Messages and seconds in, messages out. Does not know how messages travel, what time it is, or who
the device is beyond its registration id. Whoever drives it sends what ``start`` and ``tick``
return, hands in what arrives, and calls ``tick`` when ``deadline`` has come::

    send(registration.start(now))
    while not registration.done:
        ...                                  # a message, or the deadline, whichever comes first
        registration.receive(message, now)
        request = registration.tick(now)     # None until it is time
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import (
    MalformedAnswer,
    MqttwsError,
    RegistrationFailed,
    RegistrationRejected,
    RequestTimedOut,
    UsageError,
)
from ..text import short_line, shown
from .json_text import build_json, parse_json
from .names import check_registration_id
from .topics import Message, Response, parse_response_topic, poll_topic, register_topic

DEFAULT_RETRY_AFTER = 2.0
"""Seconds to wait where an answer does not say: the Python and the Node SDK wait as long."""

MAX_RETRY_AFTER = 300.0
"""The longest wait in seconds that is obeyed; the C SDK caps at as much."""

LEAST_WAITS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds that are waited at least: the first time, the second, …; the last holds from then on."""

MAX_BODY = 96 * 1024
"""Bytes of a register request: the service's limit for a message (``iot-dps-limits.md``)."""

MAX_NAME = 1024
"""Characters of an operation id, hub or device id: each becomes part of a topic or a user name.
Operation ids have 55."""

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for an answer; the Python SDK waits as long."""

_HINTS_BY_CODE = {
    400207: "the custom allocation webhook of the enrollment failed; look at its log",
    400208: "no IoT hub is linked or allowed for this enrollment; link one to the DPS instance",
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
}

_HINTS_BY_STATE = {
    "failed": "look at the enrollment's allocation policy and IoT hubs",
    "disabled": "enable the enrollment, or the group that the device belongs to",
}


@dataclass(frozen=True)
class Assignment:
    """Where a device has been assigned to.

    Attributes:
        assigned_hub: host name of the IoT hub.
        device_id: the device's name there; the hub, unlike DPS, heeds its case.
        substatus: ``initialAssignment``, ``deviceDataMigrated``, ``deviceDataReset`` or
            ``reprovisionedToInitialAssignment``; empty where the service gave none.
        registration_id: the device's name at DPS.
        operation_id: of the registration that led here.
        payload: what the service's custom allocation sent back, as JSON gives it; None if nothing.
        created: when the registration was made, ISO 8601, as the service wrote it.
        last_updated: when it changed last, likewise.
        etag: the registration's version.
    """

    assigned_hub: str
    device_id: str
    substatus: str
    registration_id: str
    operation_id: str
    payload: Any = None
    created: str = ""
    last_updated: str = ""
    etag: str = ""


def _no_jitter() -> float:
    return 0.0


class Registration:
    """One registration of one device, from the first request to its end.

    It ends in ``result`` or in ``error``, never in an exception. 429 and 5xx are tried again
    without limit: the overall deadline is the driver's.

    Args:
        registration_id: the device's.
        payload: for the enrollment's custom allocation, any value that JSON has; None for none.
        request_ids: endless; one is used for each request. They may repeat.
        jitter: seconds to add to each wait, so that a fleet does not come back all at once.
        default_retry_after: seconds to wait where an answer does not say.
        max_retry_after: the longest wait in seconds that is obeyed, jitter not counted.
        answer_timeout: seconds after which a request counts as unanswered.

    Attributes:
        deadline: when ``tick`` is due, in the seconds of ``now``; None if nothing is awaited.
        result: the assignment, once there is one.
        error: why there will be none, once that is certain.
        status: what the service last said of the operation, such as ``assigning``; empty before.
        operation_id: the operation's, once the service has named it; else empty.
        last_response: status, request id and retry-after of the last answer; None before.
        retry_after: how many seconds the last answer's wait lasts, jitter included; None while an
            answer is awaited and after the end.
        waiting_for: which request is on its way, or is the next to be sent.

    Raises:
        UsageError: the registration id cannot be one, or the payload has no JSON form or is too
            long.
    """

    def __init__(
        self,
        registration_id: str,
        *,
        payload: object = None,
        request_ids: Iterator[str],
        jitter: Callable[[], float] = _no_jitter,
        default_retry_after: float = DEFAULT_RETRY_AFTER,
        max_retry_after: float = MAX_RETRY_AFTER,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self.registration_id = check_registration_id(registration_id)
        self._register_body = _register_body(registration_id, payload)
        self._request_ids = request_ids
        self._jitter = jitter
        self._default_retry_after = default_retry_after
        self._max_retry_after = max_retry_after
        self._answer_timeout = answer_timeout
        self._waits = 0
        self._request_id: str | None = None  # of the request that awaits its answer
        self.deadline: float | None = None
        self.result: Assignment | None = None
        self.error: MqttwsError | None = None
        self.status = ""
        self.operation_id = ""
        self.last_response: Response | None = None
        self.retry_after: float | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, in ``result`` or in ``error``."""
        return self.result is not None or self.error is not None

    @property
    def waiting_for(self) -> Literal["register", "poll"]:
        """Which request is on its way, or is the next to be sent."""
        return "poll" if self.operation_id else "register"

    def start(self, now: float) -> Message:
        """Return the first request.

        Raises:
            UsageError: it has been started already.
        """
        if self.done or self.deadline is not None:
            raise UsageError("this registration has been started already")
        return self._request(now)

    def resume(self, now: float) -> Message:
        """Return the request to send after a reconnect: go on polling if there is an operation.

        What was on its way over the old connection is given up: the service answers only where
        it was asked.

        Raises:
            UsageError: it has ended.
        """
        if self.done:
            raise UsageError("this registration has ended")
        return self._request(now)

    def tick(self, now: float) -> Message | None:
        """Return the next request if its time has come; None until then."""
        if self.deadline is None or now < self.deadline:
            return None
        if self._request_id is None:
            return self._request(now)
        self._end_with(
            RequestTimedOut(
                f"DPS did not answer the {self.waiting_for} request "
                f"within {self._answer_timeout:g} s",
                hint="try again; a request can get lost when the service restarts",
            )
        )
        return None

    def receive(self, message: Message, now: float) -> None:
        """Take a message that arrived; one that answers no request of ours is passed over."""
        response = parse_response_topic(message.topic)
        if response is None or self._request_id is None:
            return
        if response.request_id != self._request_id:
            return
        self._request_id = None
        self.last_response = response
        try:
            self._take(response, message.payload, now)
        except MqttwsError as error:
            self._end_with(error)

    def _request(self, now: float) -> Message:
        self._request_id = next(self._request_ids)
        self.retry_after = None
        self.deadline = now + self._answer_timeout
        if self.operation_id:
            # No body: the service ignores it, and Embedded C and C# send none either.
            return Message(poll_topic(self._request_id, self.operation_id))
        return Message(register_topic(self._request_id), self._register_body)

    def _end_with(self, error: MqttwsError) -> None:
        self.error = error
        self._rest()

    def _rest(self) -> None:
        self._request_id = None
        self.deadline = None
        self.retry_after = None

    def _take(self, response: Response, payload: bytes, now: float) -> None:
        """Act on the answer's status."""
        status = response.status
        if status == 429 or 500 <= status <= 599:
            self._wait(response, now)  # the same request again
        elif 300 <= status <= 499:
            raise _rejected(status, self.waiting_for, payload)
        elif 200 <= status <= 299:
            self._take_operation(response, payload, now)
        else:
            raise MalformedAnswer(f"DPS answered the {self.waiting_for} with status {status}")

    def _take_operation(self, response: Response, payload: bytes, now: float) -> None:
        """Act on the body's status: 200 only says that the operation has ended, not how."""
        body = _parse_operation(payload)
        # An answer may lack the id; then the one we know still holds.
        operation_id = _name(body, "operationId") or self.operation_id
        status = _text(body, "status")
        if status in ("assigning", "unassigned"):
            if not operation_id:
                raise MalformedAnswer(f"DPS says {status!r} but names no operationId to ask about")
            self.status = status
            self.operation_id = operation_id
            self._wait(response, now)
        elif status == "assigned":
            self.result = _build_assignment(body, operation_id, self.registration_id)
            self.status = status
            self.operation_id = operation_id
            self._rest()
        elif status in ("failed", "disabled"):
            self.status = status
            raise _failed(status, body)
        else:
            raise MalformedAnswer(
                f"DPS says status {shown(body.get('status'))}; "
                "allowed: assigning, assigned, failed or disabled"
            )

    def _wait(self, response: Response, now: float) -> None:
        wanted = response.retry_after
        if wanted is None:
            wanted = self._default_retry_after
        # A service that says 0 again and again must not be asked without pause and without end.
        least = LEAST_WAITS[min(self._waits, len(LEAST_WAITS) - 1)]
        self._waits += 1
        # Jitter comes on top of the cap: it must spread a fleet that was told the longest wait.
        self.retry_after = min(max(wanted, least), self._max_retry_after) + max(0.0, self._jitter())
        self.deadline = now + self.retry_after


def _register_body(registration_id: str, payload: object) -> bytes:
    body = {"registrationId": registration_id}
    try:
        built = build_json(body if payload is None else body | {"payload": payload})
    except ValueError as error:
        raise UsageError(f"the payload has no JSON form: {error}") from None
    if len(built) > MAX_BODY:
        raise UsageError(
            f"the payload makes a request of {len(built)} bytes; allowed: {MAX_BODY}",
            hint="send less: DPS takes messages of 96 KiB",
        )
    return built


def _parse_operation(payload: bytes) -> dict[str, Any]:
    """Return a RegistrationOperationStatus, or any other object that came in its place."""
    try:
        body = parse_json(payload)
    except ValueError as error:
        fault = short_line(str(error))
    else:
        if isinstance(body, dict):
            return body
        fault = f"found {type(body).__name__}; allowed: an object"
    raise MalformedAnswer(f"DPS sent a body that is not the documented JSON: {fault}")


def _build_assignment(body: dict[str, Any], operation_id: str, registration_id: str) -> Assignment:
    """Return what a body of status ``assigned`` says."""
    state = _state(body)
    assigned_hub, device_id = _name(state, "assignedHub"), _name(state, "deviceId")
    if not assigned_hub or not device_id:
        missing = "deviceId" if assigned_hub else "assignedHub"
        raise MalformedAnswer(f"DPS says 'assigned' but gives no registrationState.{missing}")
    return Assignment(
        assigned_hub=assigned_hub,
        device_id=device_id,
        substatus=_text(state, "substatus"),
        registration_id=_text(state, "registrationId") or registration_id,
        operation_id=operation_id,
        payload=state.get("payload"),
        created=_text(state, "createdDateTimeUtc"),
        last_updated=_text(state, "lastUpdatedDateTimeUtc"),
        etag=_text(state, "etag"),
    )


def _failed(status: str, body: dict[str, Any]) -> RegistrationFailed:
    """Return the error for an operation that has ended without an assignment."""
    state = _state(body)
    error_code = _code(state)
    return RegistrationFailed(
        _sentence(f"the registration ended {status}", error_code, _text(state, "errorMessage")),
        hint=_HINTS_BY_CODE.get(error_code or 0, _HINTS_BY_STATE[status]),
        state=status,
        error_code=error_code,
    )


def _rejected(status: int, request: str, payload: bytes) -> RegistrationRejected:
    """Return the error for an error status; its body may be anything, even nothing."""
    try:
        body = parse_json(payload)
    except ValueError:
        body = None
    details = body if isinstance(body, dict) else {}
    error_code = _code(details)
    return RegistrationRejected(
        _sentence(f"DPS answered the {request} {status}", error_code, _text(details, "message")),
        hint=_HINTS_BY_CODE.get(error_code or 0, _HINTS_BY_STATUS.get(status, "")),
        status=status,
        error_code=error_code,
        tracking_id=short_line(_text(details, "trackingId")),
    )


def _sentence(beginning: str, error_code: int | None, message: str) -> str:
    code = f" (error code {error_code})" if error_code is not None else ""
    return f"{beginning}{code}: {short_line(message)}" if message else f"{beginning}{code}"


def _state(body: dict[str, Any]) -> dict[str, Any]:
    state = body.get("registrationState")
    return state if isinstance(state, dict) else {}


def _text(members: dict[str, Any], name: str) -> str:
    """Return a member's text; empty where it is missing or no text."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _name(members: dict[str, Any], name: str) -> str:
    """Return a member's text; empty where it could not stand in a topic or a user name either."""
    text = _text(members, name)
    return text if len(text) <= MAX_NAME and text.isprintable() else ""


def _code(members: dict[str, Any]) -> int | None:
    value = members.get("errorCode")
    return value if isinstance(value, int) and not isinstance(value, bool) else None
