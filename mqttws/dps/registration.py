"""The device's side of DPS: register, poll, and the answers to both.

Messages and seconds in, messages out. Does not know how messages travel, what time it is, or who
the device is beyond its registration id. Its driver sends what ``start`` and ``tick`` return, hands
in what arrives, and calls ``tick`` when ``deadline`` has come::

    send(registration.start(now))
    while not registration.done:
        ...                                  # a message, or the deadline, whichever comes first
        registration.receive(message, now)
        request = registration.tick(now)     # None until it is time
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

from ..errors import MalformedAnswer, MqttwsError, UsageError
from ..hops import Hop
from ..retry import BUSY, LONGEST_WAIT
from ..text import short_line, shown
from .assignment import RegistrationResult, read_assignment, read_state, read_text
from .codes import OPERATION_NOT_FOUND, REGISTRATION_NOT_FOUND
from .issuance import CHAIN, encode_der, read_chain
from .json_text import build_json, parse_json
from .names import check_registration_id
from .rejections import failed, rejected
from .topics import (
    RESPONSE_PREFIX,
    Message,
    Response,
    parse_response_topic,
    poll_topic,
    register_topic,
)

DEFAULT_RETRY_AFTER = 2.0
"""Seconds to wait where an answer does not say: the Python and the Node SDK wait as long."""

MAX_RETRY_AFTER = LONGEST_WAIT
"""The longest Retry-After in seconds that is kept."""

LEAST_WAITS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds that are waited at least: the first time, the second, …; the last holds from then on."""

MAX_BODY = 96 * 1024
"""Bytes of a register request: the service's limit for a message (``iot-dps-limits.md``)."""

MAX_NAME = 1024
"""Characters of an operation id, which becomes part of a topic. Operation ids have 55."""

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for an answer; the Python SDK waits as long."""

CONFLICTS = frozenset({409, 412})
"""Statuses of a request that met another one for the same device (azure-iot-sdk-c #2250)."""

_FORGOTTEN = frozenset({None, REGISTRATION_NOT_FOUND, OPERATION_NOT_FOUND})
"""Error codes of a poll's 404 after which the device registers again; without a code, the register
request's own answer tells whether there is an enrollment."""


def _nothing() -> float:
    return 0.0


class Registration:
    """One registration of one device, from the first request to its end.

    It ends in ``result`` or in ``error``, never in an exception. Whatever can pass is tried again
    without limit, since the overall deadline is the driver's: an unanswered request is sent again,
    429 and 5xx are asked again after longer and longer waits, and an operation that the service has
    forgotten begins again with register.

    Args:
        registration_id: the device's.
        payload: for the enrollment's custom allocation, any value that JSON has; None for none.
        csr: a certificate signing request, PKCS#10 in DER, whose common name is the registration
            id; None asks for no certificate.
        request_ids: endless; one is used for each request. They may repeat.
        jitter: returns seconds to add to each wait, so that a fleet does not come back all at once.
        spread: returns a random number from 0 to 1, the random part of a wait that grows.
        default_retry_after: seconds to wait where an answer does not say.
        max_retry_after: the longest Retry-After in seconds that is kept, jitter not counted.
        answer_timeout: seconds after which a request counts as unanswered.

    Attributes:
        deadline: when ``tick`` is due, in the seconds of ``now``; None if nothing is awaited.
        earliest: when the service wants to be asked again, in the seconds of ``now``; the least
            wait of a device where it has not said so; None while an answer is awaited and after the
            end. ``deadline`` is later where the wait has grown.
        result: the assignment, once there is one.
        issued_chain: the certificates that came with it, DER; empty for none.
        error: why there will be none, once that is certain.
        status: the operation's last status, such as ``assigning``; empty before.
        operation_id: the operation's, once the service has named it; else empty.
        last_response: status, request id and retry-after of the last answer; None before.
        retry_after: how many seconds the last answer's wait lasts, jitter included; None while an
            answer is awaited and after the end.
        answers: how often each answer came, by status, such as ``503`` or ``202 assigning``.
        asked: how many register and how many poll requests were made, by name.
        unmatched: how many answers came that belong to no request of this registration: with
            another request id ($rid), or without one.
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
        csr: bytes | None = None,
        request_ids: Iterator[str],
        jitter: Callable[[], float] = _nothing,
        spread: Callable[[], float] = _nothing,
        default_retry_after: float = DEFAULT_RETRY_AFTER,
        max_retry_after: float = MAX_RETRY_AFTER,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self.registration_id: str = check_registration_id(registration_id)
        self._register_body = _register_body(registration_id, payload, csr)
        self._request_ids = request_ids
        self._jitter = jitter
        self._spread = spread
        self._default_retry_after = default_retry_after
        self._max_retry_after = max_retry_after
        self._answer_timeout = answer_timeout
        self._waits = 0
        self._busy = 0  # refusals that can pass, in a row
        self._forgotten = 0
        self._request_id: str | None = None  # of the request that awaits its answer
        self.deadline: float | None = None
        self.earliest: float | None = None
        self.result: RegistrationResult | None = None
        self.issued_chain: tuple[bytes, ...] = ()
        self.error: MqttwsError | None = None
        self.status: str = ""
        self.operation_id: str = ""
        self.last_response: Response | None = None
        self.retry_after: float | None = None
        self.answers: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.unmatched: int = 0

    @property
    def done(self) -> bool:
        """Whether it has ended, in ``result`` or in ``error``."""
        return self.result is not None or self.error is not None

    @property
    def waiting_for(self) -> Literal["register", "poll"]:
        """The request that is on its way, or is the next to be sent."""
        return "poll" if self.operation_id else "register"

    @property
    def awaits_answer(self) -> bool:
        """Whether a request is on its way."""
        return self._request_id is not None

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

        What was on its way over the old connection is given up: the service answers only on the
        connection that carried the request.

        Raises:
            UsageError: it has ended.
        """
        if self.done:
            raise UsageError("this registration has ended")
        return self._request(now)

    def tick(self, now: float) -> Message | None:
        """Return the next request if its time has come; None until then.

        A request whose answer has not come in time is sent again, with another request id.
        """
        if self.deadline is None or now < self.deadline:
            return None
        return self._request(now)

    def receive(self, message: Message, now: float) -> None:
        """Take a message that arrived; one that answers no request of ours is only counted."""
        if self.done or not message.topic.startswith(RESPONSE_PREFIX):
            return
        response = parse_response_topic(message.topic)
        awaited = self._request_id
        if response is None or awaited is None or response.request_id != awaited:
            self.unmatched += 1
            return
        self._request_id = None
        self.last_response = response
        try:
            self._take(response, message.payload, now)
        except MqttwsError as error:
            self.answers[f"{response.status}"] += 1
            error.hop = error.hop or Hop(self.waiting_for)
            self.error = error
            self.deadline = None

    def describe(self) -> str:
        """Return what was asked and answered so far, and how often, in one sentence."""
        asked = " and ".join(f"{name} {_times(count)}" for name, count in self.asked.items())
        answered = ", ".join(f"{name} {_times(count)}" for name, count in self.answers.items())
        found = f"asked: {asked or 'nothing'}; answered: {answered or 'nothing'}"
        if self.unmatched:
            found += f"; answers to other requests ($rid): {self.unmatched}"
        return found

    def _request(self, now: float) -> Message:
        self._request_id = next(self._request_ids)
        self.retry_after = self.earliest = None
        self.deadline = now + self._answer_timeout
        self.asked[self.waiting_for] += 1
        if self.operation_id:
            # No body: the service ignores it, and Embedded C and C# send none either.
            return Message(poll_topic(self._request_id, self.operation_id))
        return Message(register_topic(self._request_id), self._register_body)

    def _take(self, response: Response, payload: bytes, now: float) -> None:
        """Act on the answer's status."""
        status, hundreds = response.status, response.status // 100
        if hundreds == 5 or status == 429 or status in CONFLICTS:
            self.answers[f"{status}"] += 1
            self._wait(response, now, self._busy)
            self._busy += 1
        elif hundreds in (3, 4):
            error = rejected(status, self.waiting_for, payload)
            if not (status == 404 and self.operation_id and error.error_code in _FORGOTTEN):
                raise error
            self.answers["404 operation unknown"] += 1
            self.operation_id = self.status = ""
            self._wait(response, now, self._forgotten, otherwise=0.0)
            self._forgotten += 1
        elif hundreds == 2:
            self._busy = 0
            self._take_operation(response, payload, now)
        else:
            raise MalformedAnswer(f"DPS answered the {self.waiting_for} with status {status}")

    def _take_operation(self, response: Response, payload: bytes, now: float) -> None:
        """Act on the body's status: 200 only says that the operation has ended, not how."""
        body = _parse_operation(payload)
        operation_id = _operation_id(body, self.operation_id)
        status = read_text(body, "status")
        if status in ("assigning", "unassigned"):
            if not operation_id:
                raise MalformedAnswer(f"DPS says {status!r} but names no operationId to ask about")
            self.answers[f"{response.status} {status}"] += 1
            self.status = status
            self.operation_id = operation_id
            self._wait(response, now)
        elif status == "assigned":
            self.issued_chain = read_chain(read_state(body), CHAIN)
            self.result = read_assignment(body, operation_id, self.registration_id)
            self.answers[f"{response.status} {status}"] += 1
            self.status = status
            self.operation_id = operation_id
            self.deadline = None
        elif status in ("failed", "disabled"):
            self.status = status
            raise failed(status, body)
        else:
            raise MalformedAnswer(
                f"DPS says status {shown(body.get('status'))}; "
                "allowed: assigning, assigned, failed or disabled"
            )

    def _wait(
        self,
        response: Response,
        now: float,
        refusals: int | None = None,
        otherwise: float | None = None,
    ) -> None:
        """Wait as long as the service wants, and longer after refusals.

        Args:
            response: the answer.
            now: when it came.
            refusals: how many have come before, if it is one; None if it is none.
            otherwise: seconds where the answer does not say; None for the default.
        """
        named = response.retry_after
        wanted = named
        if wanted is None:
            wanted = self._default_retry_after if otherwise is None else otherwise
        # A service that says 0 again and again must not be asked without pause and without end.
        least = LEAST_WAITS[min(self._waits, len(LEAST_WAITS) - 1)]
        self._waits += 1
        wanted = min(max(wanted, least), self._max_retry_after)
        self.earliest = now + min(wanted, self._max_retry_after if named is not None else least)
        wait = wanted if refusals is None else BUSY.wait(refusals, self._spread(), wanted)
        # Jitter comes on top of the cap: it must spread a fleet that got the longest wait.
        self.retry_after = wait + max(0.0, self._jitter())
        self.deadline = now + self.retry_after


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _register_body(registration_id: str, payload: object, csr: bytes | None) -> bytes:
    body: dict[str, object] = {"registrationId": registration_id}
    if csr is not None:
        body["csr"] = encode_der(csr)
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


def _operation_id(body: dict[str, Any], known: str) -> str:
    """Return the id of a body's operation; ``known`` where it is missing, null or empty.

    Raises:
        MalformedAnswer: it could not stand in a topic.
    """
    value = body.get("operationId")
    if value is None or value == "":
        return known
    if not isinstance(value, str):
        raise MalformedAnswer(f"DPS sent operationId {shown(value)}; allowed: a JSON string")
    if len(value) > MAX_NAME:
        raise MalformedAnswer(
            f"DPS sent an operationId of {len(value)} characters; allowed: at most {MAX_NAME}"
        )
    if not value.isprintable():
        raise MalformedAnswer(
            f"DPS sent operationId {shown(value)}; allowed: no control characters"
        )
    return value
