import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws.dps.topics import (
    RESPONSE_FILTER,
    Poll,
    Register,
    Response,
    parse_request_topic,
    parse_response_topic,
    poll_topic,
    register_topic,
    response_topic,
)

from .world import VECTORS

TOPICS = VECTORS["topics"]


def test_topics_are_built_as_documented():
    assert TOPICS["subscribe_filter"] == RESPONSE_FILTER
    assert register_topic("r1") == TOPICS["register"].format(request_id="r1")
    assert poll_topic("r1", "5.a-b") == TOPICS["poll"].format(request_id="r1", operation_id="5.a-b")
    assert response_topic(200, "r1") == TOPICS["response"].format(status=200, request_id="r1")
    assert response_topic(202, "r1", 3) == TOPICS["response_retry"].format(
        status=202, request_id="r1", seconds=3
    )


@pytest.mark.parametrize("topic", TOPICS["examples"])
def test_every_example_topic_is_built_again_from_what_was_parsed(topic):
    parsed = parse_request_topic(topic) or parse_response_topic(topic)
    match parsed:
        case Register(request_id):
            assert register_topic(request_id) == topic
        case Poll(request_id, operation_id):
            assert poll_topic(request_id, operation_id) == topic
        case Response(status, request_id, retry_after):
            seconds = None if retry_after is None else int(retry_after)
            assert response_topic(status, request_id, seconds) == topic
        case _:
            pytest.fail(f"not parsed: {topic}")


@pytest.mark.rule("DPS-T7/device")
@pytest.mark.parametrize("case", VECTORS["response_topic_parse_cases"], ids=lambda c: c["topic"])
def test_response_topics_are_parsed_as_the_vectors_say(case):
    expected = Response(case["status"], case["rid"], case["retry_after"])
    assert parse_response_topic(case["topic"]) == expected


@pytest.mark.rule("DPS-T7/device")
@pytest.mark.parametrize(
    "junk", ["", "-1", "+3", "3.0", "soon", "\u0663", "1e3", "9" * 5000, " 3", "nan"]
)
def test_a_retry_after_that_cannot_be_read_is_as_good_as_none(junk):
    topic = f"$dps/registrations/res/202/?$rid=1&retry-after={junk}"
    assert parse_response_topic(topic) == Response(202, "1", None)


@pytest.mark.rule("DPS-T7/service")
def test_the_request_id_comes_first_and_retry_after_is_a_whole_number():
    """The Python SDK splits at ``$`` and reads ``int``."""
    topic = response_topic(202, "abc", 3)
    assert topic.split("$")[2] == "rid=abc&retry-after=3"


@pytest.mark.rule("DPS-T16/service")
@pytest.mark.parametrize("raw", ["a%2fb", "a%2Fb", "a:b", "", "1", "%zz", "a=b", "%24x"])
def test_a_request_id_is_echoed_byte_for_byte(raw):
    """``$rid`` is opaque."""
    request = parse_request_topic(f"$dps/registrations/PUT/iotdps-register/?$rid={raw}")
    assert isinstance(request, Register)
    assert response_topic(200, request.request_id) == f"$dps/registrations/res/200/?$rid={raw}"


@pytest.mark.parametrize("query", ["", "rid=1", "$rid", "&&", "$rid="])
def test_a_request_without_a_request_id_is_served(query):
    assert parse_request_topic(f"$dps/registrations/PUT/iotdps-register/?{query}") == Register("")
    poll = parse_request_topic(
        f"$dps/registrations/GET/iotdps-get-operationstatus/?{query}&operationId=op"
    )
    assert poll == Poll("", "op")


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "devices/dev-01/messages/events/",
        "$dps/registrations/PUT/iotdps-register",
        "$dps/registrations/PUT/iotdps-register/",
        "$dps/registrations/put/iotdps-register/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/x/?$rid=1",
        "$dps/registrations/GET/iotdps-register/?$rid=1",
        "$dps/registrations/res/200/?$rid=1",
        "x$dps/registrations/PUT/iotdps-register/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/?$rid=" + "x" * 65_000,  # its answer may not fit
    ],
)
def test_undocumented_request_topics_are_not_parsed(topic):
    assert parse_request_topic(topic) is None


@pytest.mark.parametrize(
    "topic",
    ["", "$dps/registrations/res/", "$dps/registrations/res/20/", "$dps/registrations/res/abc/",
     "$dps/registrations/res/2000/?$rid=1", "$dps/registrations/res/\u0662\u0660\u0660/?$rid=1",
     "$iothub/twin/res/200/?$rid=1"],
)  # fmt: skip
def test_other_topics_are_no_responses(topic):
    assert parse_response_topic(topic) is None


def test_a_response_without_properties_has_no_request_id():
    assert parse_response_topic("$dps/registrations/res/429/") == Response(429, None, None)


def test_of_two_properties_alike_the_first_counts():
    topic = "$dps/registrations/res/202/?$rid=1&retry-after=3&$rid=2&retry-after=9"
    assert parse_response_topic(topic) == Response(202, "1", 3)


@given(st.text(), st.text())
def test_a_device_gets_its_ids_back_whatever_they_hold(request_id, operation_id):
    request = parse_request_topic(poll_topic(request_id, operation_id))
    assert isinstance(request, Poll)
    assert request.operation_id == operation_id
    answer = parse_response_topic(response_topic(200, request.request_id, 0))
    assert answer == Response(200, request_id, 0)
    assert not {"+", "#"} & set(poll_topic(request_id, operation_id))


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    for topic in (text, f"$dps/registrations/res/{text}", f"$dps/registrations/res/202/?{text}"):
        parse_response_topic(topic)
        parse_request_topic(topic)
