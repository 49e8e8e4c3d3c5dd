"""The service's loop: decide, commit, and decide again where something has moved meanwhile."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mqttws.dps.certificates import Certificate, Chain
from mqttws.dps.effects import AllocationRequested, Answer, Close, Device
from mqttws.dps.names import build_username
from mqttws.dps.records import DeviceRecord, Operation
from mqttws.dps.sas import derive_device_key
from mqttws.dps.service import Service
from mqttws.dps.store import Check, Write
from mqttws.dps.tables import DEVICES
from mqttws.dps.topics import Lookup, Message, Poll, Register, poll_topic, register_topic
from mqttws.errors import StoreFailed

from .world import (
    HUB,
    KEY,
    OTHER_KEY,
    SCOPE,
    UNIX_START,
    Instance,
    at_once,
    connect,
    counted,
    group,
    individual,
    make_service,
    poll,
    provision,
    register,
)

CUSTOM: dict[str, Any] = {"allocation_policy": "custom", "webhook_url": "https://webhook"}
CHOSEN = json.dumps({"iotHubHostName": HUB}).encode()


def before_each_commit(service: Instance, times: int, act: Callable[[], object]) -> list[int]:
    """Have something happen right before a device's record is written, this often."""
    commit, left = service.store.commit, [times]

    async def overtaken(writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        if left[0] and any(write.table is DEVICES for write in writes):
            left[0] -= 1
            act()
        return await commit(writes, checks)

    service.store.commit = overtaken  # type: ignore[method-assign]
    return left


def another_request(service: Instance) -> Callable[[], object]:
    """Return what another front end does meanwhile: it moves the device's record."""
    commit = service.store.commit
    other = Operation("other", UNIX_START, 0, "individual", "dev-01", state={"status": "assigned"})

    def act() -> None:
        row = at_once(service.records.directory.row(DEVICES, "dev-01"))
        record: DeviceRecord = row.value or DeviceRecord()
        at_once(commit([Write(DEVICES, "dev-01", record.with_operation(other))]))

    return act


# One request


def test_a_register_takes_an_operation_id_and_a_poll_takes_none() -> None:
    service = make_service(individual())
    device = connect(service)
    assert register(service, device)[1]["operationId"] == "op-1"
    poll(service, device, "op-1")
    assert register(service, device)[1]["operationId"] == "op-2"


def test_what_was_served_says_when_it_was_proved_and_what_was_assigned() -> None:
    service = make_service(individual())
    device = connect(service)
    first = at_once(service.service.handle(device, Message(register_topic("1")), 1))
    assert first.proved_at == UNIX_START
    assert first.assigned is not None
    assert first.assigned.registration == service.records.registration("dev-01")
    assert first.assigned.earlier is None
    assert first.assigned.enrollment == individual()
    assert first.assigned.chain == ()
    again = at_once(service.service.handle(device, Message(register_topic("1")), 1))
    assert again.assigned is not None
    assert again.assigned.earlier == first.assigned.registration
    polled = at_once(service.service.handle(device, Message(poll_topic("1", "op-1")), 1))
    assert (polled.proved_at, polled.assigned) == (UNIX_START, None)
    stranger = connect(service, key=OTHER_KEY)
    refused = at_once(service.service.handle(stranger, Message(register_topic("1")), 1))
    assert (refused.proved_at, refused.assigned) == (None, None)
    closed = at_once(service.service.handle(device, Message("t"), 1))
    assert [type(effect) for effect in closed.effects] == [Close]
    assert (closed.proved_at, closed.assigned) == (None, None)


def test_an_assignment_by_a_group_names_the_group() -> None:
    of = group("Fleet")
    service = make_service(of, group("other", OTHER_KEY))
    device = connect(service, key=derive_device_key(KEY, "dev-01"))
    handled = at_once(service.service.handle(device, Message(register_topic("1")), 1))
    assert handled.assigned is not None
    assert handled.assigned.enrollment == of


def test_a_disabled_device_has_proved_itself_and_is_assigned_nothing() -> None:
    service = make_service(individual(provisioning_status="disabled"))
    handled = at_once(service.service.handle(connect(service), Message(register_topic("1")), 1))
    assert (handled.proved_at, handled.assigned) == (UNIX_START, None)


def test_the_registration_is_looked_up_and_changes_nothing() -> None:
    service = make_service(individual())
    device = connect(service)

    def look_up() -> Answer:
        (answer,) = at_once(service.service.serve(device, Lookup(), b"")).effects
        assert isinstance(answer, Answer)
        return answer

    missing = look_up()
    assert (missing.status, missing.error_code) == (404, 404202)
    assert missing.reason == "lookup 404 404202: Registration not found."
    state = provision(service)
    before = service.records.devices()
    found = look_up()
    assert (found.status, json.loads(found.body)) == (200, state)
    assert found.reason == f"lookup 200 assigned to '{HUB}' as 'dev-01'"
    assert service.records.devices() == before


def test_how_a_poll_was_answered_is_logged() -> None:
    service = make_service(individual(), assigning_polls=1)
    device = connect(service)
    (answer,) = service.handle(device, Message(register_topic("1")), 1, UNIX_START)
    assert answer.reason == "register 202 op-1"
    message = Message(poll_topic("1", "op-1"))
    told = [service.handle(device, message, 1, UNIX_START)[0].reason for _ in range(2)]
    assert told == ["poll 202 assigning", f"poll 200 assigned to '{HUB}' as 'dev-01'"]
    (answer,) = service.handle(device, Message(poll_topic("1", "op-9")), 1, UNIX_START)
    assert answer.reason == "poll 404 404203: unknown operation 'op-9'"


@pytest.mark.parametrize(
    ("request_of", "retry_after"), [(Register("r"), None), (Poll("r", "op"), 7), (Lookup("r"), 0)]
)
def test_an_ordered_refusal_is_answered_without_a_look(
    request_of: Register | Poll | Lookup, retry_after: int | None
) -> None:
    service = make_service()
    answer = service.service.refuse(request_of, 503001, UNIX_START, retry_after=retry_after)
    assert (answer.status, answer.error_code, answer.request_id) == (503, 503001, "r")
    assert answer.retry_after == retry_after
    body = json.loads(answer.body)
    assert body["message"] == "Ordered fault."
    assert body["trackingId"] == "track-1"
    assert body["timestampUtc"] == "2027-01-15T08:00:00.0000000Z"
    worded = service.service.refuse(request_of, 429001, UNIX_START, message="later")
    assert json.loads(worded.body)["message"] == "later"


# Limits


def test_polls_and_look_ups_of_a_device_count_together_whatever_its_case() -> None:
    service = make_service(individual(), individual("dev-02"), polls_per_10s=2)
    device, upper = connect(service), connect(service, "DEV-01")
    statuses = []
    for each, request in (
        (device, Poll("1", "op")), (upper, Lookup()), (device, Lookup()),
        (connect(service, "dev-02"), Lookup()),
    ):  # fmt: skip
        (answer,) = at_once(service.service.serve(each, request, b"")).effects
        assert isinstance(answer, Answer)
        statuses.append(answer.status)
    assert statuses == [404, 404, 429, 404]


def test_a_device_that_asks_too_often_is_answered_429_and_when_to_ask_again() -> None:
    service = make_service(individual(), registers_per_minute=1)
    device = connect(service)
    register(service, device)
    (answer,) = service.handle(device, Message(register_topic("1")), 1, UNIX_START + 20)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.retry_after) == (429, 40)
    assert answer.reason == "register 429 429001: ask again in 40 s"
    body = json.loads(answer.body)
    assert body["message"] == "Too many requests."
    assert body["timestampUtc"] == "2027-01-15T08:00:20.0000000Z"


# Another request is faster


def test_a_decision_is_taken_again_where_another_request_was_faster() -> None:
    service = make_service(individual())
    left = before_each_commit(service, 9, another_request(service))
    assert register(service, connect(service))[1]["status"] == "assigning"
    assert left == [0]
    counts = service.service.counts
    assert (counts.conflicts, counts.given_up, counts.store_failures) == (9, 0, 0)
    assert service.records.registration("dev-01") is not None


def test_a_request_that_is_always_overtaken_is_answered_503() -> None:
    service = make_service(individual())
    before_each_commit(service, 99, another_request(service))
    (answer,) = service.handle(connect(service), Message(register_topic("1")), 1, UNIX_START)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.error_code, answer.retry_after) == (503, 503000, 2)
    assert "10 times another request was faster" in answer.reason
    counts = service.service.counts
    assert (counts.conflicts, counts.given_up, counts.store_failures) == (10, 1, 1)


@pytest.mark.parametrize("enrolled", ["individual", "group"])
def test_an_enrollment_that_is_disabled_meanwhile_decides(enrolled: str) -> None:
    make = individual if enrolled == "individual" else group
    service = make_service(make())
    key = KEY if enrolled == "individual" else derive_device_key(KEY, "dev-01")
    device = connect(service, key=key)
    disable = make(provisioning_status="disabled")
    before_each_commit(service, 1, lambda: service.records.put(disable))
    assert register(service, device)[1]["status"] == "disabled"
    assert service.service.counts.conflicts == 1
    assert service.records.devices() == []


def test_an_own_enrollment_that_comes_meanwhile_decides() -> None:
    service = make_service(group())
    device = connect(service, key=derive_device_key(KEY, "dev-01"))
    before_each_commit(service, 1, lambda: service.records.put(individual(primary_key=OTHER_KEY)))
    assert register(service, device)[1]["errorCode"] == 401000
    assert service.service.counts.conflicts == 1


# A webhook's answer


def asked_by(service: Instance) -> AllocationRequested:
    answer, asked = service.handle(connect(service), Message(register_topic("1")), 1, UNIX_START)
    assert isinstance(answer, Answer)
    assert isinstance(asked, AllocationRequested)
    return asked


def test_a_webhooks_answer_is_an_assignment_once() -> None:
    service = make_service(individual(**CUSTOM))
    asked = asked_by(service)
    assigned = at_once(service.service.allocated(asked, 200, CHOSEN))
    assert assigned is not None
    assert assigned.registration == service.records.registration("dev-01")
    assert assigned.earlier is None
    before = service.records.devices()
    assert at_once(service.service.allocated(asked, 200, CHOSEN)) is None
    assert at_once(service.service.allocated(asked_by(service), 500, b"")) is None
    assert service.records.registration("dev-01") == before[0].registration


def test_a_webhooks_answer_counts_though_other_requests_are_faster() -> None:
    service = make_service(individual(**CUSTOM))
    asked = asked_by(service)
    left = before_each_commit(service, 9, another_request(service))
    assert at_once(service.service.allocated(asked, 200, CHOSEN)) is not None
    assert left == [0]
    assert service.service.counts.conflicts == 9


def test_a_webhooks_answer_that_cannot_be_written_fails() -> None:
    service = make_service(individual(**CUSTOM))
    asked = asked_by(service)
    before_each_commit(service, 99, another_request(service))
    with pytest.raises(StoreFailed, match="10 times another request was faster"):
        at_once(service.service.allocated(asked, 200, CHOSEN))
    assert service.service.counts.conflicts == 10
    assert service.records.registration("dev-01") is None


# Chains


class Continued:
    """Adds to a chain what has signed it; remembers among which certificates it looked."""

    def __init__(self, *above: Certificate) -> None:
        self.above = above
        self.looked: list[Sequence[bytes]] = []

    def continued(self, chain: Chain, enrolled: Sequence[bytes]) -> Chain:
        self.looked.append(enrolled)
        return (*chain, *self.above)

    def subject(self, der: bytes) -> str | None:
        return None


def certificate(name: str, der: bytes) -> Certificate:
    (sha256,) = individual(primary_key=b"", primary_certificate=der).fingerprints
    return Certificate(sha256, "", name, f"CN={name}", "CN=ca", 0.0, 4e9, "0f")


LEAF, CA = certificate("dev-01", b"leaf"), certificate("ca", b"ca")


def serving(service: Instance, chains: Continued | None) -> Instance:
    service.service = Service(
        service.service.settings,
        service.store,
        operation_ids=counted("op-"),
        tracking_ids=counted("track-"),
        chains=chains,
    )
    return service


@pytest.mark.parametrize(
    ("shown", "password", "continued", "status"),
    [
        ((LEAF,), b"", True, 202),
        ((LEAF, CA), b"", False, 202),
        ((LEAF,), b"no token", False, 401),
        ((), b"", False, 401),
    ],
)
def test_a_chain_is_continued_where_it_shows_no_enrolled_certificate(
    shown: tuple[Certificate, ...], password: bytes, continued: bool, status: int
) -> None:
    """Of an individual enrollment, whose certificate may be its signer's."""
    chains = Continued(CA)
    service = serving(make_service(individual(primary_key=b"", primary_certificate=b"ca")), chains)
    device = service.admit("dev-01", build_username(SCOPE, "dev-01", "2019-03-31"), password, shown)
    assert isinstance(device, Device)
    handled = at_once(service.service.handle(device, Message(register_topic("1")), 1))
    (answer,) = handled.effects
    assert isinstance(answer, Answer)
    assert answer.status == status
    assert chains.looked == ([(b"ca",)] if continued else [])
    if status == 202:
        assert handled.assigned is not None
        assert tuple(handled.assigned.chain) == (LEAF, CA)
