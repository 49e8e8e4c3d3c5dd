import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws.dps.assignment import RegistrationResult
from mqttws.dps.registration import MAX_BODY, Registration
from mqttws.dps.rejections import HINTS_BY_CODE
from mqttws.dps.topics import Message, Poll, Register, parse_request_topic, response_topic
from mqttws.errors import (
    MalformedAnswer,
    RegistrationFailed,
    RegistrationRejected,
    UsageError,
)

from .world import HUB, VECTORS, counted, make_registration

BODIES = {case["name"]: case for case in VECTORS["response_bodies"]}
OPERATION = BODIES["register-assigning"]["body"]["operationId"]


def answer(name: str, request_id: str, retry_after: int | None = None, status: int = 0) -> Message:
    """Return the service's answer of that name from the vectors."""
    case = BODIES[name]
    wait = case["retry_after"] if retry_after is None else retry_after
    topic = response_topic(status or case["topic_status"], request_id, wait)
    return Message(topic, case["body_text"].encode())


def started(**options) -> Registration:
    registration = make_registration(**options)
    registration.start(0.0)
    return registration


def polling(**options) -> Registration:
    """Return a registration whose first poll was sent at 3.0 with request id r2."""
    registration = started(**options)
    registration.receive(answer("register-assigning", "r1"), 0.0)
    assert registration.tick(3.0) is not None
    return registration


@pytest.mark.rule("DPS-T11/device")
def test_it_begins_by_registering():
    registration = make_registration()
    assert not registration.done
    assert registration.deadline is None
    assert registration.tick(1e9) is None
    request = registration.start(5.0)
    assert parse_request_topic(request.topic) == Register("r1")
    assert json.loads(request.payload) == {"registrationId": "dev-01"}
    assert registration.deadline == 35.0
    assert registration.waiting_for == "register"


@pytest.mark.rule("DPS-T21/device")
def test_a_payload_is_sent_as_ascii_json():
    registration = make_registration(payload={"modelId": "dtmi:x;1", "name": "\u0159"})
    body = registration.start(0.0).payload
    assert body.isascii()
    assert json.loads(body)["payload"] == {"modelId": "dtmi:x;1", "name": "\u0159"}


@pytest.mark.parametrize("payload", [0, False, "", [], {}])
def test_an_empty_payload_is_still_a_payload(payload):
    assert json.loads(make_registration(payload=payload).start(0.0).payload)["payload"] == payload


def test_what_json_does_not_have_is_refused_as_a_payload():
    loop: list[object] = []
    loop.append(loop)
    for payload in (object(), math.nan, loop, {1: b""}):
        with pytest.raises(UsageError, match="payload"):
            make_registration(payload=payload)


def test_a_payload_that_no_message_can_hold_is_refused():
    longest = MAX_BODY - len('{"registrationId":"dev-01","payload":""}')
    assert len(make_registration(payload="x" * longest).start(0.0).payload) == MAX_BODY
    with pytest.raises(UsageError, match=str(MAX_BODY)) as refused:
        make_registration(payload="x" * (longest + 1))
    assert refused.value.hint


@pytest.mark.parametrize("registration_id", ["", "dev/01", "x" * 129, None])
def test_a_wrong_registration_id_is_refused(registration_id):
    with pytest.raises(UsageError):
        make_registration(registration_id)


@pytest.mark.rule("DPS-T19/device", "DPS-T22/device", "DPS-S202-register/device")
def test_it_polls_after_the_time_that_the_service_asks_for():
    """Also after the first 202."""
    registration = started()
    registration.receive(answer("register-assigning", "r1"), 10.0)
    assert registration.status == "assigning"
    assert registration.operation_id == OPERATION
    assert registration.retry_after == 3.0
    assert registration.deadline == 13.0
    assert registration.waiting_for == "poll"
    assert registration.last_response is not None
    assert registration.last_response.status == 202
    assert registration.tick(12.9) is None
    request = registration.tick(13.0)
    assert request is not None
    assert parse_request_topic(request.topic) == Poll("r2", OPERATION)
    assert request.payload == b""
    assert registration.retry_after is None


@pytest.mark.rule("DPS-T22/device", "DPS-S202-poll/device")
def test_it_goes_on_polling_while_the_service_says_assigning():
    registration = polling()
    registration.receive(answer("poll-assigning", "r2", retry_after=7), 4.0)
    assert registration.deadline == 11.0
    request = registration.tick(11.0)
    assert request is not None
    assert parse_request_topic(request.topic) == Poll("r3", OPERATION)


ASSIGNED = [name for name in BODIES if name.startswith("assigned-")]


@pytest.mark.rule("DPS-S200-assigned/device")
@pytest.mark.parametrize("name", ASSIGNED)
def test_every_assigned_body_gives_an_assignment(name):
    registration = polling()
    registration.receive(answer(name, "r2"), 4.0)
    state = BODIES[name]["body"]["registrationState"]
    assert registration.result == RegistrationResult(
        HUB,
        "dev-01",
        state["substatus"],
        "dev-01",
        OPERATION,
        state.get("payload"),
        "2026-11-22T19:00:00.1234567Z",
        "2026-11-22T19:00:03.7654321Z",
        state["etag"],
    )
    assert registration.done
    assert registration.deadline is None
    assert registration.error is None
    assert registration.tick(1e9) is None


@pytest.mark.rule("DPS-S200-assigned/device")
def test_an_assignment_may_come_at_once():
    registration = started()
    registration.receive(answer("assigned-symmetric", "r1"), 0.0)
    assert registration.result is not None
    assert registration.result.operation_id == OPERATION


@pytest.mark.rule("DPS-T12/device", "DPS-S200-disabled/device", "DPS-S200-failed/device")
@pytest.mark.parametrize(
    ("name", "state", "error_code"),
    [("failed-custom-allocation", "failed", 400207), ("failed-hub-not-found", "failed", 401001),
     ("disabled", "disabled", None)],
)  # fmt: skip
def test_200_is_not_success(name, state, error_code):
    """Only the body says how the operation ended."""
    for registration, request_id in ((started(), "r1"), (polling(), "r2")):
        registration.receive(answer(name, request_id), 4.0)
        error = registration.error
        assert isinstance(error, RegistrationFailed)
        assert (error.state, error.error_code) == (state, error_code)
        assert error.hint
        assert registration.status == state
        assert registration.result is None
        assert registration.deadline is None


REJECTIONS = [
    name
    for name, case in BODIES.items()
    if 400 <= case["topic_status"] < 500 and case["topic_status"] != 429
]


@pytest.mark.rule("DPS-S400/device", "DPS-S404/device")
@pytest.mark.parametrize("name", REJECTIONS)
def test_an_error_status_ends_it_with_what_the_service_said(name):
    registration = started()
    registration.receive(answer(name, "r1"), 0.0)
    error, body = registration.error, BODIES[name]["body"]
    assert isinstance(error, RegistrationRejected)
    assert error.status == BODIES[name]["topic_status"]
    assert error.error_code == body["errorCode"]
    assert error.tracking_id == body["trackingId"]
    assert body["message"] in str(error)
    if error.error_code != 400004:
        assert error.hint


CODES = [400004, 400207, 400208, 400209, 401000, 401001, 401002, 404201, 404202, 404203]


@pytest.mark.rule(
    "DPS-E400004/device",
    "DPS-E400012/device",
    "DPS-E400207/device",
    "DPS-E400208/device",
    "DPS-E400209/device",
    "DPS-E401000/device",
    "DPS-E401001/device",
    "DPS-E401002/device",
    "DPS-E404201/device",
    "DPS-E404202/device",
    "DPS-E404203/device",
)
@pytest.mark.parametrize("code", CODES)
def test_every_code_that_is_known_has_its_hint(code):
    rejected, failed = started(), polling()
    body = json.dumps({"errorCode": code, "message": "m"}).encode()
    rejected.receive(Message(response_topic(code // 1000, "r1"), body), 0.0)
    state = {"status": "failed", "errorCode": code, "errorMessage": "m"}
    body = json.dumps({"status": "failed", "registrationState": state}).encode()
    failed.receive(Message(response_topic(200, "r2"), body), 4.0)
    for error in (rejected.error, failed.error):
        assert isinstance(error, RegistrationRejected | RegistrationFailed)
        assert error.error_code == code
        assert str(code) in str(error)
        assert error.hint
        assert HINTS_BY_CODE.get(code, error.hint) == error.hint


@pytest.mark.rule("DPS-T8/device")
@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"oops", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000,
     b'{"errorCode": "x", "trackingId": 5, "message": []}', b'{"errorCode": true}'],
)  # fmt: skip
def test_an_error_status_needs_no_readable_body(body):
    registration = started()
    registration.receive(Message(response_topic(401, "r1"), body), 0.0)
    error = registration.error
    assert isinstance(error, RegistrationRejected)
    assert (error.status, error.error_code, error.tracking_id) == (401, None, "")
    assert error.hint


def test_the_services_words_cannot_break_the_line_or_the_terminal():
    body = {"errorCode": 401000, "message": "a\r\nb\x1b[31m" + "x" * 5000 + "\ud800"}
    registration = started()
    registration.receive(Message(response_topic(401, "r1"), json.dumps(body).encode()), 0.0)
    assert str(registration.error).isprintable()
    assert len(str(registration.error)) < 300


@pytest.mark.rule(
    "DPS-T8/device",
    "DPS-S429/device",
    "DPS-S5xx/device",
    "DPS-E429001/device",
    "DPS-E500000/device",
)
@pytest.mark.parametrize("status", [429, 500, 503, 599])
@pytest.mark.parametrize("body", [b"", b'{"errorCode":429001}'])
def test_throttling_and_faults_of_the_service_are_tried_again(status, body):
    registration = started()
    registration.receive(Message(response_topic(status, "r1", 5), body), 0.0)
    assert registration.deadline == 5.0
    request = registration.tick(5.0)
    assert request is not None
    assert parse_request_topic(request.topic) == Register("r2")
    registration.receive(answer("register-assigning", "r2"), 5.0)
    registration.tick(8.0)
    registration.receive(Message(response_topic(status, "r3"), body), 8.0)
    request = registration.tick(10.0)  # 2 s where the service does not say
    assert request is not None
    assert parse_request_topic(request.topic) == Poll("r4", OPERATION)


def test_it_tries_again_without_limit():
    registration = started()
    for number in range(1, 501):
        registration.receive(answer("error-throttled", f"r{number}"), registration.deadline or 0)
        assert registration.tick(registration.deadline or 0) is not None
    assert not registration.done


def test_jitter_comes_on_top_of_a_capped_wait():
    registration = started(jitter=lambda: 1.5, max_retry_after=60.0)
    registration.receive(answer("register-assigning", "r1", retry_after=86_400), 0.0)
    assert registration.retry_after == registration.deadline == 61.5


def test_the_default_wait_can_be_set():
    registration = started(default_retry_after=9.0)
    registration.receive(answer("register-assigning", "r1"), 0.0)
    assert registration.deadline == 3.0
    registration.tick(3.0)
    registration.receive(Message(response_topic(500, "r2")), 3.0)
    assert registration.deadline == 12.0


def test_a_wait_of_nothing_is_a_wait_that_was_asked_for():
    registration = started()
    registration.receive(answer("register-assigning", "r1", retry_after=0), 1.0)
    assert registration.deadline == 1.0
    assert registration.tick(1.0) is not None


def test_an_unanswered_request_is_sent_again_with_another_id():
    for registration, kind, ids in (
        (started(answer_timeout=10.0), Register, ("r2",)),
        (polling(), Poll, ("r3", OPERATION)),
    ):
        deadline = registration.deadline
        assert deadline is not None
        assert registration.tick(deadline - 0.001) is None
        request = registration.tick(deadline)
        assert request is not None
        assert parse_request_topic(request.topic) == kind(*ids)
        assert not registration.done
        registration.receive(answer("assigned-symmetric", ids[0]), deadline + 1)
        assert registration.result is not None


@pytest.mark.parametrize("body", [b'{"errorCode": 404203}', b'{"errorCode": 404202}', b""])
def test_an_operation_that_the_service_has_forgotten_begins_again_with_register(body):
    registration = polling()
    registration.receive(Message(response_topic(404, "r2"), body), 4.0)
    assert not registration.done
    assert registration.operation_id == ""
    assert registration.waiting_for == "register"
    assert registration.retry_after is not None
    assert registration.retry_after <= 1.0
    request = registration.tick(registration.deadline)
    assert request is not None
    assert parse_request_topic(request.topic) == Register("r3")
    registration.receive(answer("assigned-symmetric", "r3"), 6.0)
    assert registration.result is not None


def test_an_operation_that_is_forgotten_again_and_again_is_begun_ever_more_seldom():
    registration = started(request_ids=iter("1" * 99))
    waits = []
    for _ in range(14):
        registration.receive(answer("register-assigning", "1"), 0.0)
        registration.tick(registration.deadline)
        registration.receive(Message(response_topic(404, "1"), b'{"errorCode": 404203}'), 0.0)
        waits.append(registration.retry_after)
        registration.tick(registration.deadline)
    assert waits == [min(0.5 * 2**number, 1800.0) for number in range(14)]


def test_a_missing_enrollment_ends_a_poll():
    registration = polling()
    registration.receive(answer("error-enrollment-not-found", "r2", status=404), 4.0)
    assert isinstance(registration.error, RegistrationRejected)
    assert registration.error.error_code == 404201


def test_waits_grow_under_refusals_up_to_an_hour_and_never_below_what_the_service_wants():
    registration = started(request_ids=iter("1" * 99), spread=lambda: 1.0)
    waits = []
    for _ in range(20):
        registration.receive(Message(response_topic(429, "1", 3)), 0.0)
        waits.append(registration.retry_after)
        assert registration.earliest == 3.0
        registration.tick(registration.deadline)
    assert waits[:6] == [3.5, 4.0, 5.0, 8.0, 16.0, 32.0]
    assert waits[-1] == 3600.0
    registration.receive(Message(response_topic(503, "1", 86_400)), 0.0)
    assert registration.earliest == 3600.0


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_with_another_register_is_tried_again(status):
    registration = started()
    registration.receive(Message(response_topic(status, "r1", 2)), 0.0)
    assert registration.tick(registration.deadline) is not None
    registration.receive(answer("assigned-symmetric", "r2"), 3.0)
    assert registration.result is not None


@pytest.mark.parametrize("status", [302, 305, 405, 413, 418, 451])
def test_every_refusal_has_a_hint(status):
    registration = started()
    registration.receive(Message(response_topic(status, "r1")), 0.0)
    assert isinstance(registration.error, RegistrationRejected)
    assert registration.error.hint


def test_what_was_asked_and_answered_is_counted():
    registration = started()
    assert registration.describe() == "asked: register once; answered: nothing"
    registration.receive(Message(response_topic(503, "r1")), 0.0)
    registration.tick(registration.deadline)
    registration.receive(Message(response_topic(503, "r2")), 0.0)
    registration.tick(registration.deadline)
    registration.receive(answer("register-assigning", "r3"), 0.0)
    registration.tick(registration.deadline)
    registration.receive(answer("assigned-symmetric", "foreign"), 0.0)
    assert registration.describe() == (
        "asked: register 3 times and poll once; answered: 503 2 times, 202 assigning once;"
        " answers to other requests ($rid): 1"
    )


def assigned(state: str) -> Registration:
    """Return a registration that was answered 200 assigned, with these members of its state."""
    body = f'{{"operationId": "5.x", "status": "assigned", "registrationState": {{{state}}}}}'
    registration = started()
    registration.receive(Message(response_topic(200, "r1"), body.encode()), 0.0)
    return registration


GOOD = '"assignedHub": "hub.example", "deviceId": "d"'


@pytest.mark.parametrize(
    ("state", "words"),
    [('"assignedHub": "evil.com/..", "deviceId": "d"', "host name"),
     ('"assignedHub": "h..x", "deviceId": "d"', "host name"),
     ('"assignedHub": "h:443", "deviceId": "d"', "host name"),
     ('"assignedHub": 5, "deviceId": "d"', "assignedHub 5; allowed: a JSON string"),
     ('"assignedHub": "h", "deviceId": "#/+"', "no /"),
     ('"assignedHub": "h", "deviceId": "a b"', "no blank"),
     ('"assignedHub": "h", "deviceId": "' + "d" * 129 + '"', "1 to 128"),
     (GOOD + ', "payload": 1e999', "too large"),
     (GOOD + ', "payload": -1e999', "too large"),
     (GOOD + ', "payload": Infinity', "not JSON"),
     (GOOD + ', "payload": ' + "[" * 120 + "]" * 120, "nested"),
    ],
)  # fmt: skip
def test_an_assignment_that_cannot_be_used_is_no_success(state, words):
    registration = assigned(state)
    assert isinstance(registration.error, MalformedAnswer)
    assert words in str(registration.error)
    assert len(str(registration.error)) < 300
    assert registration.result is None


@pytest.mark.parametrize("profile", ["", ', "connectionProfile": null',
                                     ', "connectionProfile": "classic"'])  # fmt: skip
def test_a_hub_of_the_classic_profile_is_a_success(profile):
    assert assigned(GOOD + profile).result is not None


@pytest.mark.parametrize(
    ("profile", "words"),
    [('"mqttV5"', "MQTT 5 only"), ('"mqttV6"', "'mqttV6'"), ("7", "connectionProfile 7"),
     ("[]", "connectionProfile []"), ('"' + "x" * 5000 + '"', "'xxx")],
)  # fmt: skip
def test_a_hub_of_another_profile_ends_it_in_an_error_that_names_it(profile, words):
    error = assigned(f'{GOOD}, "connectionProfile": {profile}').error
    assert isinstance(error, RegistrationFailed)
    assert words in str(error)
    assert "hub.example" in str(error)
    assert len(str(error)) < 300
    assert error.hint


@pytest.mark.parametrize(
    ("operation_id", "words"),
    [("5" * 1025, "1025 characters"), ("a\nb", "control characters"), (7, "a JSON string")],
)
def test_an_operation_id_that_cannot_be_used_is_described(operation_id, words):
    registration = started()
    body = json.dumps({"status": "assigning", "operationId": operation_id})
    registration.receive(Message(response_topic(202, "r1"), body.encode()), 0.0)
    assert isinstance(registration.error, MalformedAnswer)
    assert words in str(registration.error)


def test_an_error_code_of_thousands_of_digits_is_none():
    registration = started()
    body = b'{"errorCode": ' + b"4" * 4000 + b', "message": "m"}'
    registration.receive(Message(response_topic(401, "r1"), body), 0.0)
    assert isinstance(registration.error, RegistrationRejected)
    assert registration.error.error_code is None
    assert len(str(registration.error)) < 300


def test_an_answer_after_the_end_changes_nothing():
    registration = polling()
    registration.receive(answer("error-unauthorized-sas", "r2"), 4.0)
    error = registration.error
    registration.receive(answer("assigned-symmetric", "r2"), 5.0)
    assert registration.error is error
    assert registration.result is None


@pytest.mark.parametrize("request_id", ["other", "r0", "R1", ""])
def test_an_answer_to_someone_elses_request_is_passed_over(request_id):
    registration = started()
    registration.receive(answer("error-unauthorized-sas", request_id), 1.0)
    assert not registration.done
    assert registration.deadline == 30.0
    assert registration.last_response is None


def test_other_topics_and_answers_without_a_request_id_are_passed_over():
    registration = started()
    for topic in ("t", "$dps/registrations/res/401/", "$dps/registrations/res/x/?$rid=r1"):
        registration.receive(Message(topic, b"{}"), 1.0)
    assert not registration.done
    assert registration.unmatched == 2


def test_an_answer_that_comes_twice_counts_once():
    registration = started()
    registration.receive(answer("register-assigning", "r1"), 0.0)
    registration.receive(answer("register-assigning", "r1", retry_after=99), 1.0)
    assert registration.deadline == 3.0


@pytest.mark.rule("DPS-T16/device")
def test_request_ids_may_repeat():
    """Embedded C uses 1 for every request."""
    registration = Registration("dev-01", request_ids=iter("1" * 9))
    registration.start(0.0)
    registration.receive(answer("register-assigning", "1"), 0.0)
    registration.tick(3.0)
    registration.receive(answer("assigned-symmetric", "1"), 4.0)
    assert registration.result is not None


def test_an_odd_request_id_comes_back_as_it_was():
    registration = Registration("dev-01", request_ids=iter(["a b&c=d/+#$\u0159", "2"]))
    request = parse_request_topic(registration.start(0.0).topic)
    assert isinstance(request, Register)
    registration.receive(answer("register-assigning", request.request_id), 0.0)
    assert registration.status == "assigning"


@pytest.mark.rule("DPS-B-json/device")
@pytest.mark.parametrize(
    "body",
    [b"", b"oops", b"\xff", b"[]", b"5", b"{}", b'{"status": 5}', b'{"status": "lost"}',
     b'{"status": "assigning"}', b'{"status": "assigning", "operationId": 5}',
     b'{"status": "assigned"}', b'{"status": "assigned", "registrationState": []}',
     b'{"status": "assigned", "registrationState": {"assignedHub": "h"}}',
     b'{"status": "assigned", "registrationState": {"deviceId": "d"}}',
     b'{"status": "assigned", "registrationState": {"assignedHub": "", "deviceId": "d"}}',
     b'{"status": "assigned", "registrationState": {"assignedHub": "h", "deviceId": NaN}}',
     b'{"status": "assigning", "operationId": "\\ud800"}',
     b'{"status": "assigning", "operationId": "' + b"5" * 70_000 + b'"}',
     b'{"status": "assigned", "registrationState": {"assignedHub": "\\ud800", "deviceId": "d"}}',
     b'{"status": "assigned", "registrationState": {"assignedHub": "h", "deviceId": "d\\n"}}',
     b"[" * 100_000],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_ends_it(body):
    for status in (200, 202):
        registration = started()
        registration.receive(Message(response_topic(status, "r1"), body), 0.0)
        assert isinstance(registration.error, MalformedAnswer)
        assert str(registration.error).isprintable()
        assert registration.result is None


@pytest.mark.parametrize("status", [0, 100, 600, 999])
def test_a_status_that_nobody_documents_ends_it(status):
    registration = started()
    registration.receive(Message(f"$dps/registrations/res/{status:03}/?$rid=r1", b"{}"), 0.0)
    assert isinstance(registration.error, MalformedAnswer)


@pytest.mark.parametrize("member", ["", ', "operationId": null', ', "operationId": ""'])
def test_a_poll_answer_may_lack_the_operation_id(member):
    registration = polling()
    body = f'{{"status": "assigning"{member}}}'.encode()
    registration.receive(Message(response_topic(202, "r2", 1), body), 3.0)
    assert registration.operation_id == OPERATION
    assert registration.deadline == 4.0


def test_after_a_reconnect_it_polls_the_same_operation():
    registration = polling()
    request = registration.resume(10.0)
    assert parse_request_topic(request.topic) == Poll("r3", OPERATION)
    registration.receive(answer("assigned-symmetric", "r2"), 10.0)  # of the lost connection
    assert not registration.done
    registration.receive(answer("assigned-symmetric", "r3"), 11.0)
    assert registration.result is not None


def test_after_a_reconnect_without_an_operation_it_registers_again():
    registration = started()
    assert parse_request_topic(registration.resume(9.0).topic) == Register("r2")
    assert registration.deadline == 39.0


def test_it_starts_once_and_does_not_resume_after_its_end():
    registration = started()
    with pytest.raises(UsageError):
        registration.start(1.0)
    registration.receive(answer("disabled", "r1"), 1.0)
    for call in (registration.start, registration.resume):
        with pytest.raises(UsageError):
            call(2.0)


STATUSES = st.sampled_from([0, 200, 201, 202, 302, 400, 401, 404, 429, 500, 600])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(["assigned", "assigning", "failed", "disabled"]),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["status", "operationId", "registrationState", "assignedHub", "deviceId",
                         "errorCode", "message", "x"]), inner),
)  # fmt: skip


@given(
    status=STATUSES,
    body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
    query=st.text() | st.just("&retry-after=4"),
)
def test_any_answer_is_taken_without_an_exception(status, body, query):
    registration = Registration("dev-01", request_ids=counted("r"))
    registration.start(0.0)
    registration.receive(Message(f"$dps/registrations/res/{status:03}/?$rid=r1{query}", body), 1.0)
    registration.receive(Message(query, body), 1.0)
    assert registration.done == (registration.deadline is None)
    if registration.error is not None:
        assert str(registration.error).isprintable()


def test_an_answer_for_another_device_is_no_assignment_of_this_one():
    registration = assigned(
        '"assignedHub": "h.example", "deviceId": "x", "registrationId": "another"'
    )
    assert isinstance(registration.error, MalformedAnswer)
    assert "'another'; allowed: that of this device" in str(registration.error)
    name = registration.registration_id.upper()
    good = assigned(f'"assignedHub": "h.example", "deviceId": "x", "registrationId": "{name}"')
    assert good.error is None
    assert good.result is not None
    assert good.result.registration_id == name
    unnamed = assigned('"assignedHub": "h.example", "deviceId": "x"').result
    assert unnamed is not None
    assert unnamed.registration_id == registration.registration_id


def test_a_wait_that_the_service_has_not_named_is_not_the_services():
    registration = started()
    registration.receive(Message(response_topic(503, "r1", None)), 0.0)
    assert registration.earliest == 0.0
    assert registration.deadline >= 1.0
