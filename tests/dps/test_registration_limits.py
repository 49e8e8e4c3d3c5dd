"""A registration's waits, counts and limits to the letter."""

import json
from typing import Any

import pytest

from mqttws.dps.registration import LEAST_WAITS, MAX_NAME, Registration
from mqttws.dps.rejections import read_code
from mqttws.dps.topics import Message, Poll, Register, parse_request_topic, response_topic
from mqttws.errors import MalformedAnswer, MqttwsError, RegistrationFailed, RegistrationRejected
from mqttws.hops import Hop

from .world import HUB, make_registration

ASSIGNED = {
    "operationId": "op",
    "status": "assigned",
    "registrationState": {"assignedHub": HUB, "deviceId": "d"},
}
ASSIGNING = {"operationId": "op", "status": "assigning"}


def started(**options: Any) -> Registration:
    registration = make_registration(**options)
    registration.start(0.0)
    return registration


def take(
    registration: Registration,
    status: int,
    body: object = None,
    retry_after: int | None = None,
    now: float = 0.0,
) -> Registration:
    """Answer the request that is on its way."""
    number = sum(registration.asked.values())
    data = b"" if body is None else json.dumps(body).encode()
    topic = response_topic(status, f"r{number}", retry_after)
    registration.receive(Message(topic, data), now)
    return registration


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (199, MalformedAnswer),
        (200, None),
        (299, None),
        (300, RegistrationRejected),
        (400, RegistrationRejected),
        (499, RegistrationRejected),
        (600, MalformedAnswer),
    ],
)
def test_each_hundred_of_statuses_has_its_meaning(
    status: int, kind: type[MqttwsError] | None
) -> None:
    registration = take(started(), status, ASSIGNED)
    assert registration.done
    assert (registration.error if kind is None else type(registration.error)) is kind
    assert registration.deadline is None
    assert not registration.awaits_answer
    assert registration.last_response is not None
    assert registration.last_response.status == status
    if kind is not None:
        assert registration.answers == {f"{status}": 1}
        assert registration.error is not None
        assert registration.error.hop == Hop.REGISTER
        assert (
            f"DPS answered the register {'with status ' * (kind is MalformedAnswer)}{status}"
            in str(registration.error)
        )


@pytest.mark.parametrize("status", [409, 412, 429, 500, 599])
def test_what_can_pass_is_asked_again(status: int) -> None:
    registration = take(started(), status)
    assert not registration.done
    assert not registration.awaits_answer
    assert registration.answers == {f"{status}": 1}
    assert registration.deadline == 2.0


def test_a_poll_that_fails_is_an_error_of_the_poll() -> None:
    registration = take(started(), 202, ASSIGNING)
    registration.tick(2.0)
    assert registration.awaits_answer
    take(registration, 401, now=3.0)
    assert registration.error is not None
    assert registration.error.hop == Hop.POLL
    assert registration.asked == {"register": 1, "poll": 1}
    assert registration.answers == {"202 assigning": 1, "401": 1}


def test_nothing_is_awaited_after_the_end() -> None:
    for status, body in ((200, ASSIGNED), (401, None)):
        registration = take(started(), 202, ASSIGNING, 5)
        assert (registration.deadline, registration.earliest, registration.retry_after) == (5, 5, 5)
        registration.tick(5.0)
        assert (registration.deadline, registration.earliest, registration.retry_after) == (
            35.0,
            None,
            None,
        )
        take(registration, status, body, 9, now=6.0)
        assert (registration.deadline, registration.earliest, registration.retry_after) == (
            None,
            None,
            None,
        )


def test_a_service_that_says_0_is_asked_more_and_more_seldom() -> None:
    registration = started()
    waits = []
    for _ in range(len(LEAST_WAITS) + 1):
        take(registration, 202, ASSIGNING, 0, now=10.0)
        waits.append(registration.retry_after)
        assert registration.earliest == 10.0 + (registration.retry_after or 0)
        registration.tick(99.0)
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_where_the_service_says_nothing_the_least_wait_is_the_earliest() -> None:
    registration = take(started(default_retry_after=7.0), 202, ASSIGNING, now=10.0)
    assert (registration.earliest, registration.deadline) == (10.0, 17.0)
    registration.tick(17.0)
    take(registration, 202, ASSIGNING, now=20.0)
    assert (registration.earliest, registration.deadline) == (20.1, 27.0)


@pytest.mark.parametrize(
    ("asked", "jitter", "wait"),
    [(10, 0.0, 5.0), (5, 0.0, 5.0), (4, 0.0, 4.0), (10, 1.5, 6.5), (4, -3.0, 4.0)],
)
def test_a_wait_has_its_longest_and_jitter_comes_on_top(
    asked: int, jitter: float, wait: float
) -> None:
    registration = started(max_retry_after=5.0, jitter=lambda: jitter)
    take(registration, 202, ASSIGNING, asked, now=1.0)
    assert registration.retry_after == wait
    assert registration.deadline == 1.0 + wait
    assert registration.earliest == 1.0 + min(asked, 5)


def test_waits_under_refusals_begin_anew_after_an_answer() -> None:
    registration = started(spread=lambda: 1.0)
    waits = []
    for status in (503, 429, 503, 202, 503, 503):
        take(registration, status, ASSIGNING if status == 202 else None, 3)
        waits.append(registration.retry_after)
        registration.tick(1e6)
    assert waits == [3.5, 4.0, 5.0, 3.0, 3.5, 4.0]
    assert registration.answers == {"503": 4, "429": 1, "202 assigning": 1}


def test_a_forgotten_operation_begins_again_at_once() -> None:
    registration = take(started(), 202, ASSIGNING)
    registration.tick(2.0)
    take(registration, 404, {"errorCode": 404203}, now=3.0)
    assert (registration.earliest, registration.retry_after) == (3.1, 0.5)
    assert registration.status == registration.operation_id == ""
    assert registration.answers == {"202 assigning": 1, "404 operation unknown": 1}
    request = registration.tick(4.0)
    assert request is not None
    assert isinstance(parse_request_topic(request.topic), Register)
    take(registration, 404, {"errorCode": 404203}, now=5.0)
    assert isinstance(registration.error, RegistrationRejected)  # no operation was asked about


@pytest.mark.parametrize("status", ["assigning", "unassigned"])
def test_an_operation_that_is_under_way_is_polled(status: str) -> None:
    registration = take(started(), 202, {"operationId": "5.op", "status": status})
    assert registration.status == status
    assert registration.answers == {f"202 {status}": 1}
    request = registration.tick(2.0)
    assert request is not None
    assert parse_request_topic(request.topic) == Poll("r2", "5.op")


def test_an_assignment_keeps_the_status_and_the_operation() -> None:
    registration = take(started(), 200, ASSIGNED)
    assert (registration.status, registration.operation_id) == ("assigned", "op")
    assert registration.answers == {"200 assigned": 1}
    assert registration.result is not None
    assert registration.result.operation_id == "op"
    assert registration.result.substatus == registration.result.created == ""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "found list; allowed: an object"),
        ("x", "found str; allowed: an object"),
        ({"status": "assigning"}, "DPS says 'assigning' but names no operationId to ask about"),
        ({"status": "lost"}, "DPS says status 'lost'; allowed: assigning, assigned, failed or"),
        ({"status": "assigning", "operationId": "x" * (MAX_NAME + 1)}, "of 1025 characters"),
        ({"status": "assigned"}, "DPS says 'assigned' but gives no registrationState.assignedHub"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_described(body: object, told: str) -> None:
    registration = take(started(), 200, body)
    assert isinstance(registration.error, MalformedAnswer)
    assert told in str(registration.error)


def test_an_operation_id_may_have_1024_characters() -> None:
    name = "x" * MAX_NAME
    registration = take(started(), 202, {"operationId": name, "status": "assigning"})
    assert registration.operation_id == name


def test_an_operation_that_failed_without_a_code_is_described_by_its_state() -> None:
    for state, word in (("failed", "allocation policy"), ("disabled", "enable the enrollment")):
        registration = take(started(), 200, {"status": state})
        error = registration.error
        assert isinstance(error, RegistrationFailed)
        assert (error.state, error.error_code) == (state, None)
        assert str(error) == f"the registration ended {state}"
        assert word in error.hint
        assert registration.status == state


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (301, "DPS sends no redirects"),
        (399, "DPS sends no redirects"),
        (400, "the request was not understood"),
        (402, "DPS does not document this status"),
        (403, "the device may not register"),
        (413, "the request is too long"),
    ],
)
def test_a_refusal_without_a_code_has_the_hint_of_its_status(status: int, word: str) -> None:
    error = take(started(), status, {"message": "m", "trackingId": "t"}).error
    assert isinstance(error, RegistrationRejected)
    assert word in error.hint
    assert str(error) == f"DPS answered the register {status}: m"
    assert error.tracking_id == "t"


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, 0), (999_999, 999_999), (1_000_000, None), (-1, None), (True, None), ("1", None)],
)
def test_an_error_code_has_six_digits_at_most(value: object, code: int | None) -> None:
    assert read_code({"errorCode": value}) == code


def test_a_code_stands_in_the_sentence() -> None:
    state = {"errorCode": 400208, "errorMessage": "no hub"}
    failed = take(started(), 200, {"status": "failed", "registrationState": state}).error
    assert str(failed) == "the registration ended failed (error code 400208): no hub"
    error = take(started(), 401, {"errorCode": 401002, "message": "m"}).error
    assert str(error) == "DPS answered the register 401 (error code 401002): m"
    error = take(started(), 401, {"errorCode": 401002}).error
    assert str(error) == "DPS answered the register 401 (error code 401002)"


def test_it_is_not_done_before_its_end_and_awaits_what_it_sent() -> None:
    registration = make_registration()
    assert not registration.awaits_answer
    registration.start(0.0)
    assert registration.awaits_answer
    assert not registration.done
    assert (registration.unmatched, registration.issued_chain) == (0, ())
    assert registration.status == registration.operation_id == ""
    take(registration, 202, ASSIGNING)
    assert not registration.awaits_answer
    # An answer that comes though nothing is awaited belongs to none.
    registration.receive(Message(response_topic(200, "r1"), json.dumps(ASSIGNED).encode()), 1.0)
    assert registration.unmatched == 1
    assert not registration.done
