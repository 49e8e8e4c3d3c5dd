"""Which requests and connections are struck by the faults that were ordered."""

import json
import random
from typing import get_args

import pytest

from mqttws import UsageError
from mqttws.dps.faults import Fault, Faults, Kind, StruckHop, parse_fault
from mqttws.dps.strikes import Standing


class Orders:
    """Orders as they stand, and a source of chance."""

    def __init__(self, draw):
        self.faults = Faults()
        self.draw = draw

    def order(self, fault):
        self.faults = self.faults.order(fault)
        return self.faults.last

    def strike(self, registration_id, hop):
        found, self.faults = self.faults.strike(hop, registration_id, self.draw)
        return found

    def cancel(self, number=None):
        before, self.faults = self.faults, self.faults.cancel(number)
        return before.orders != self.faults.orders

    def orders(self):
        return self.faults.orders


def test_an_order_strikes_its_device_its_leg_and_as_often_as_it_says():
    faults = Orders(lambda: 0.5)
    faults.order(Fault("silence", "Dev-1", "poll", times=2))
    assert faults.strike("dev-2", "poll") is None
    assert faults.strike("dev-1", "register") is None
    assert [faults.strike("DEV-1", "poll") is not None for _ in range(3)] == [True, True, False]
    assert faults.orders() == {}


def test_the_first_order_that_fits_strikes_and_stands_until_cancelled():
    faults = Orders(lambda: 0.5)
    first = faults.order(Fault("delay", times=None))
    second = faults.order(Fault("silence"))
    kinds = [found.kind for _ in range(3) if (found := faults.strike("d", "poll"))]
    assert kinds == ["delay"] * 3
    assert faults.cancel(first)
    assert not faults.cancel(first)
    assert list(faults.orders()) == [second]
    assert faults.cancel()
    assert faults.strike("d", "poll") is None


def test_the_same_seed_of_the_service_strikes_the_same_requests():
    def struck(seed):
        faults = Orders(random.Random(seed).random)
        faults.order(Fault("drop-after", probability=0.3, times=None))
        return [faults.strike("d", "poll") is not None for _ in range(200)]

    assert struck(7) == struck(7) != struck(8)
    assert 40 < sum(struck(7)) < 80


def test_an_order_with_a_seed_strikes_the_same_whatever_else_draws():
    def struck(seed, others):
        faults = Orders(random.Random(1).random)
        faults.order(Fault("drop-after", "d", probability=0.3, times=None, seed=seed))
        faults.order(Fault("delay", probability=0.5, times=None))
        found = []
        for _ in range(200):
            for _ in range(others):
                faults.strike("other", "poll")
            fault = faults.strike("d", "poll")
            found.append(fault is not None and fault.kind == "drop-after")
        return found

    assert struck(7, others=0) == struck(7, others=3) != struck(8, others=0)
    assert 40 < sum(struck(7, 0)) < 80


def test_a_seed_strikes_the_same_ones_in_every_version_of_this_program():
    faults = Orders(lambda: 0.0)
    faults.order(Fault("delay", probability=0.5, times=None, seed=7))
    struck = ["-x"[faults.strike("d", "poll") is not None] for _ in range(32)]
    assert "".join(struck) == "-x-x--xxxxx---x---xxx-x--x-xx---"


@pytest.mark.parametrize(
    ("probability", "drawn", "struck"),
    [(1.0, 0.99, True), (0.5, 0.5, False), (0.5, 0.49, True), (0.0, 0.0, False)],
)
def test_chance_strikes_below_its_limit(probability, drawn, struck):
    faults = Orders(lambda: drawn)
    faults.order(Fault("delay", probability=probability))
    assert (faults.strike("d", "poll") is not None) is struck


def test_an_order_that_strikes_for_sure_leaves_the_chance_of_the_others():
    drawn = []
    faults = Orders(lambda: drawn.append(1) or 0.5)
    faults.order(Fault("delay"))
    faults.order(Fault("silence", probability=0.9))
    assert [faults.strike("d", "poll").kind for _ in range(2)] == ["delay", "silence"]
    assert len(drawn) == 1


def test_the_third_of_each_device_is_struck():
    faults = Orders(lambda: 0.5)
    faults.order(Fault("silence", "d", "poll", skip=2))
    looked = [faults.strike(name, "poll") is not None for name in ("d", "e", "d", "e", "d", "d")]
    assert looked == [False, False, False, False, True, False]
    assert faults.orders() == {}


def test_those_that_pass_are_no_part_of_the_times():
    faults = Orders(lambda: 0.5)
    faults.order(Fault("silence", skip=1, times=2))
    assert [faults.strike("d", "poll") is not None for _ in range(4)] == [False, True, True, False]


def test_an_order_that_passes_a_request_lets_the_next_one_strike_it():
    faults = Orders(lambda: 0.5)
    faults.order(Fault("silence", skip=1))
    faults.order(Fault("delay"))
    kinds = [found.kind for _ in range(2) if (found := faults.strike("d", "poll"))]
    assert kinds == ["delay", "silence"]


def test_without_a_leg_requests_are_meant_and_for_certificates_the_handshake():
    faults = Orders(lambda: 0.5)
    faults.order(Fault("expired-certificate"))
    assert faults.strike("d", "poll") is None
    assert [faults.strike("", "tls") is not None for _ in range(2)] == [True, False]
    faults.order(Fault("drop-before", times=None))
    struck = [hop for hop in get_args(StruckHop) if faults.strike("d", hop)]
    assert struck == ["register", "poll", "lookup"]
    assert Fault("bad-chain").hops == ("issue",)
    assert faults.faults.concern("poll", "d")
    assert not faults.faults.concern("connect", "d")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_can_be_ordered_by_its_name_alone(kind):
    assert parse_fault({"kind": kind}).hops


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([], "an object"),
        ({}, "kind is missing"),
        ({"kind": "rain"}, "allowed: answer, delay"),
        ({"kind": "delay", "second": 1}, "'second' is unknown"),
        ({"kind": "delay", "seconds": -1}, "seconds: found -1"),
        ({"kind": "delay", "seconds": "1"}, "seconds: found '1'"),
        ({"kind": "answer", "status": 199}, "allowed: 400 to 599"),
        ({"kind": "answer", "status": 200}, "200 without a body"),
        ({"kind": "answer", "retry_after": 1.5}, "retry_after: found 1.5"),
        ({"kind": "answer", "error_code": 401}, "100000 to 999999"),
        ({"kind": "silence", "times": 0}, "times: found 0"),
        ({"kind": "silence", "times": True}, "times: found True"),
        ({"kind": "silence", "skip": -1}, "skip: found -1"),
        ({"kind": "silence", "seed": "x"}, "seed: found 'x'"),
        ({"kind": "silence", "hop": "name"}, "allowed: one of tls, upgrade"),
        ({"kind": "silence", "probability": 2}, "0 to 1"),
        ({"kind": "close-websocket", "code": 1}, "1000 to 4999"),
        ({"kind": "slow", "bytes_per_second": 0}, "bytes_per_second: found 0"),
        ({"kind": "cut", "bytes": -1}, "bytes: found -1"),
        ({"kind": "answer", "hop": "connect", "return_code": 6}, "1 to 5"),
    ],
)
def test_a_wrong_order_is_told(members, told):
    with pytest.raises(UsageError, match=told):
        parse_fault(members)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"kind": "expired-certificate", "device": "d"}, "strikes tls, when no device has a name"),
        ({"kind": "expired-certificate", "hop": "poll"}, "cannot strike poll; allowed: tls"),
        ({"kind": "silence", "hop": "upgrade", "device": "d"}, "no device has a name yet"),
        ({"kind": "bad-json", "hop": "connect"}, "cannot strike connect"),
        ({"kind": "bad-chain", "hop": "register"}, "cannot strike register; allowed: issue"),
        ({"kind": "silence", "chain": "missing"}, "silence has no chain"),
        ({"kind": "drop-after", "hop": "tls"}, "cannot strike tls"),
        ({"kind": "close-websocket", "hop": "tls"}, "cannot strike tls"),
        ({"kind": "silence", "status": 429}, "silence has no status"),
        ({"kind": "delay", "code": 1001}, "delay has no code"),
        ({"kind": "answer", "seconds": 3}, "answer has no seconds"),
        ({"kind": "answer", "return_code": 5}, "answer has no return_code"),
        ({"kind": "answer", "hop": "poll", "return_code": 5}, "at poll has no return_code"),
        ({"kind": "answer", "hop": "connect", "status": 401}, "at connect has no status"),
        ({"kind": "answer", "hop": "subscribe", "status": 401}, "at subscribe has no status"),
        (
            {"kind": "answer", "hop": "upgrade", "error_code": 503000},
            "at upgrade has no error_code",
        ),
        ({"kind": "answer", "status": 401, "error_code": 404201}, "404201 with status 401"),
        ({"kind": "answer", "body": "x", "message": "y"}, "one or the other"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(members, told):
    with pytest.raises(UsageError, match=told):
        parse_fault(members)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"status": 400}, 400000),
        ({"status": 599}, 599000),
        ({"status": 200, "body": "{}"}, 200000),
        ({"status": 429, "body": "", "hop": "poll"}, 429001),
        ({"status": 401, "error_code": 401002, "message": "m", "retry_after": 3}, 401002),
        ({"hop": "upgrade", "status": 503, "retry_after": 1}, 503000),
        ({"hop": "connect", "return_code": 5}, 500000),
        ({"hop": "subscribe"}, 500000),
        ({"hop": "subscribe", "device": "d"}, 500000),
    ],
)
def test_what_goes_together_is_an_order(members, code):
    fault = parse_fault({"kind": "answer", **members})
    assert fault.full_error_code == code
    assert fault.to_json() == {"kind": "answer", **members}


def test_an_order_goes_through_json():
    fault = Fault(
        "answer", "d", "poll", times=None, skip=2, status=429, retry_after=3, error_code=429002
    )
    assert parse_fault(fault.to_json()) == fault
    assert fault.to_json()["times"] is None


def test_the_usual_error_code_goes_with_a_status():
    codes = {status: Fault("answer", status=status).full_error_code for status in (401, 404, 503)}
    assert codes == {401: 401000, 404: 404201, 503: 503000}
    assert Fault("answer", status=401, error_code=401002).full_error_code == 401002


def test_the_orders_go_through_json():
    faults = Faults().order(Fault("delay", times=None)).order(Fault("answer", "d", status=429))
    faults = faults.order(Fault("silence", skip=2)).strike("poll", "e", lambda: 0.5)[1].cancel(1)
    faults = faults.strike("poll", "e", lambda: 0.5)[1]
    assert faults.orders[3] == Standing(Fault("silence", skip=2), 1)
    assert Faults.from_json(json.loads(json.dumps(faults.to_json()))) == faults
