"""Request ids, error answers, back-off, token renewal, and going back to DPS."""

import pytest

from mqttws.hub.device.renewal import Rehoming, renewal_time
from mqttws.hub.device.requests import HubFault, RequestIds, fault_from_json, wait_before


def test_request_ids_are_never_given_out_twice():
    ids = RequestIds("ab-")
    found = [ids.next() for _ in range(300)]
    assert len(set(found)) == 300
    assert found[:2] == ["ab-1", "ab-2"]


@pytest.mark.parametrize(
    ("status", "value", "fault"),
    [
        (429, None, HubFault(429)),
        (400, {"errorCode": 400004, "trackingId": "t", "message": "bad\nx"},
         HubFault(400, 400004, "t", "bad x")),
        (400, {"errorCode": "400004", "trackingId": 7, "message": None}, HubFault(400)),
        (503, [1], HubFault(503)),
    ],
)  # fmt: skip
def test_an_error_answer_is_read_whatever_its_body(status, value, fault: HubFault):
    assert fault_from_json(status, value) == fault


def test_only_throttling_and_the_servers_trouble_pass():
    passing = [status for status in (200, 400, 404, 413, 429, 500, 503) if HubFault(status).passes]
    assert passing == [429, 500, 503]


def test_waits_double_up_to_a_limit_and_are_spread():
    assert [wait_before(n, 1.0) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert wait_before(3, 0.0) == 2
    assert wait_before(10_000, 1.0) == 30


@pytest.mark.parametrize(
    ("life", "earliest", "latest"),
    [(3600, 240, 120), (600, 150, 120), (10, 2.5, 2), (2, 0.5, 0.4), (0, 0, 0)],
)
def test_a_token_is_renewed_before_its_expiry(life: float, earliest: float, latest: float):
    assert renewal_time(1000, 1000 + life, 0.0) == pytest.approx(1000 + life - latest)
    assert renewal_time(1000, 1000 + life, 1.0) == pytest.approx(1000 + life - earliest)


def test_a_token_that_has_expired_is_renewed_at_once():
    assert renewal_time(1000, 900, 0.5) == 900


def test_dps_is_asked_after_some_refusals_with_growing_waits_and_a_limit():
    policy = Rehoming(limit=3, refusals=2)
    waits = []
    for _ in range(3):
        assert not policy.on_refused()
        assert policy.on_refused()
        waits.append(policy.on_asked())
    assert waits == [0, 1, 2]
    assert policy.exhausted
    assert not policy.on_refused()
    assert not policy.on_refused()


def test_a_connection_forgets_the_refusals_and_only_a_lasting_one_the_limit():
    policy = Rehoming(limit=1, refusals=2)
    policy.on_refused()
    policy.on_connected()
    assert not policy.on_refused()
    assert policy.on_refused()
    policy.on_asked()
    policy.on_connected()
    assert policy.exhausted  # it did not last
    policy.on_good()
    assert not policy.exhausted
    assert policy.asked == 0


def test_dps_is_asked_when_the_hubs_name_is_gone():
    policy = Rehoming(limit=5)
    assert [policy.on_unresolved() for _ in range(3)] == [False, False, True]
