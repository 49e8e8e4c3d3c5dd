"""Limits on how often a device, and all of them, may ask."""

import json
from collections import Counter

import pytest

from mqttws import UsageError
from mqttws.dps.throttle import WINDOWS_BEFORE_CLEANING, Throttle

from .world import KEY, UNIX_START, connect, individual, make_service, poll, provision, register


def test_a_window_slides_and_says_how_long_to_wait():
    throttle = Throttle(2, 10)
    assert [throttle.take("a", now) for now in (0, 4, 5, 9.5)] == [0, 0, 5, 1]
    assert throttle.take("b", 5) == 0
    assert throttle.take("a", 10) == 0
    assert throttle.take("a", 13) == 1
    assert throttle.take("a", 14) == 0


def test_names_are_forgotten_in_time():
    throttle = Throttle(1, 10)
    for number in range(3 * WINDOWS_BEFORE_CLEANING):
        assert throttle.take(f"device-{number}", number) == 0
    assert len(throttle._happened) <= WINDOWS_BEFORE_CLEANING + 1


def test_a_crowd_within_one_window_is_not_looked_through_for_each_newcomer(monkeypatch):
    throttle, looked = Throttle(1, 10), []
    clean = throttle._clean
    monkeypatch.setattr(throttle, "_clean", lambda now: (looked.append(now), clean(now)))
    for number in range(8 * WINDOWS_BEFORE_CLEANING):
        assert throttle.take(f"device-{number}", 0) == 0
    assert len(looked) == 3
    throttle.take("a", 11)
    for number in range(9 * WINDOWS_BEFORE_CLEANING):
        throttle.take(f"later-{number}", 11 + number)
    assert len(throttle._happened) <= WINDOWS_BEFORE_CLEANING + 1


def test_a_limit_is_at_least_one():
    with pytest.raises(UsageError):
        Throttle(0, 1)


@pytest.mark.rule("DPS-S429/service", "DPS-E429001/service")
def test_registers_and_polls_are_throttled_apart_from_each_other():
    service = make_service(individual(), registers_per_minute=2, polls_per_10s=5)
    device = connect(service)
    _, body = register(service, device)
    register(service, device, unix_now=UNIX_START + 1)
    topic, error = register(service, device, unix_now=UNIX_START + 2)
    assert topic == "$dps/registrations/res/429/?$rid=1&retry-after=58"
    assert error["errorCode"] == 429001
    for _ in range(5):
        assert "/res/200/" in poll(service, device, body["operationId"])[0]
    topic, error = poll(service, device, body["operationId"])
    assert topic == "$dps/registrations/res/429/?$rid=1&retry-after=10"
    assert json.dumps(error).isascii()
    topic, _ = poll(service, device, body["operationId"], unix_now=UNIX_START + 10)
    assert "/res/200/" in topic


def test_hubs_are_given_out_by_weight_and_for_ever():
    names = [f"device-{number}" for number in range(600)]
    service = make_service(*(individual(name) for name in names), hubs={"light": 1, "heavy": 3})
    first = [provision(service, name, KEY)["assignedHub"] for name in names]
    assert 0.68 < Counter(first)["heavy"] / len(first) < 0.82
    assert [provision(service, name, KEY)["assignedHub"] for name in names[:50]] == first[:50]


@pytest.mark.parametrize("weight", [0, 1001, "1"])
def test_a_weight_is_a_number_from_1_to_1000(weight):
    with pytest.raises(UsageError, match="1 to 1000"):
        make_service(hubs={"hub": weight})
