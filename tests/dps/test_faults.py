"""Which requests are struck by the faults that were ordered."""

import json
import random

import pytest

from mqttws import UsageError
from mqttws.dps.faults import Fault, Faults, parse_fault


class Orders:
    """Orders as they stand, and a source of chance."""

    def __init__(self, draw):
        self.faults = Faults()
        self.draw = draw

    def order(self, fault):
        self.faults = self.faults.order(fault)
        return self.faults.last

    def strike(self, registration_id, request):
        found, self.faults = self.faults.strike(registration_id, request, self.draw)
        return found

    def strike_handshake(self):
        found, self.faults = self.faults.strike_handshake(self.draw)
        return found

    def cancel(self, number=None):
        before, self.faults = self.faults, self.faults.cancel(number)
        return before.orders != self.faults.orders

    def orders(self):
        return self.faults.orders


def test_an_order_strikes_its_device_its_request_and_as_often_as_it_says():
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


def test_the_same_seed_strikes_the_same_requests():
    def struck(seed):
        faults = Orders(random.Random(seed).random)
        faults.order(Fault("drop-after", probability=0.3, times=None))
        return [faults.strike("d", "poll") is not None for _ in range(200)]

    assert struck(7) == struck(7) != struck(8)
    assert 40 < sum(struck(7)) < 80


def test_a_certificate_expires_at_a_handshake_and_not_at_a_request():
    faults = Orders(lambda: 0.5)
    faults.order(Fault("expired-certificate"))
    assert faults.strike("d", "poll") is None
    assert [faults.strike_handshake() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([], "an object"),
        ({}, "kind is missing"),
        ({"kind": "rain"}, "allowed: answer, delay"),
        ({"kind": "delay", "second": 1}, "'second' is unknown"),
        ({"kind": "delay", "seconds": -1}, "seconds -1"),
        ({"kind": "delay", "seconds": "1"}, "seconds '1'"),
        ({"kind": "answer", "status": 200}, "allowed: 400 to 599"),
        ({"kind": "answer", "retry_after": 1.5}, "retry_after 1.5"),
        ({"kind": "silence", "times": 0}, "times 0"),
        ({"kind": "silence", "times": True}, "times True"),
        ({"kind": "silence", "request": "connect"}, "register or poll"),
        ({"kind": "silence", "probability": 2}, "0 to 1"),
        ({"kind": "close-websocket", "code": 1}, "1000 to 4999"),
        ({"kind": "expired-certificate", "device": "d"}, "neither device"),
    ],
)
def test_a_wrong_order_is_told(members, told):
    with pytest.raises(UsageError, match=told):
        parse_fault(members)


def test_an_order_goes_through_json():
    fault = Fault("answer", "d", "poll", times=None, status=429, retry_after=3)
    assert parse_fault(fault.to_json()) == fault
    assert fault.to_json()["times"] is None


def test_the_orders_go_through_json():
    faults = Faults().order(Fault("delay", times=None)).order(Fault("answer", "d", status=429))
    assert Faults.from_json(json.loads(json.dumps(faults.to_json()))) == faults
