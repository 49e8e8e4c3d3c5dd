"""Custom allocation without a webhook: the question as JSON, and what each answer leads to."""

import json
from typing import Any

import pytest

from mqttws.dps.certificates import Certificate
from mqttws.dps.effects import AllocationRequested, Answer, Device
from mqttws.dps.names import build_username
from mqttws.dps.records import ReprovisionPolicy
from mqttws.dps.sas import derive_device_key
from mqttws.dps.topics import Message, poll_topic, register_topic
from mqttws.errors import UsageError

from .world import (
    KEY,
    SCOPE,
    UNIX_START,
    Instance,
    connect,
    group,
    individual,
    make_service,
    poll,
    provision,
)

HUBS = ("a.azure-devices.net", "b.azure-devices.net")
CUSTOM: dict[str, Any] = {
    "allocation_policy": "custom",
    "webhook_url": "https://webhook.example/?code=s",
}
CHOSEN = json.dumps({"iotHubHostName": HUBS[1]}).encode()
LEAF = Certificate("ab" * 32, "cd" * 20, "dev-01", "CN=dev-01", "CN=ca", 0.0, 4e9, "0f")


def ask(service: Instance, device: Device, body: bytes = b"") -> AllocationRequested:
    """Return the question that a registration leads to."""
    answer, asked = service.handle(device, Message(register_topic("1"), body), 1, UNIX_START)
    assert isinstance(answer, Answer)
    assert isinstance(asked, AllocationRequested)
    return asked


def state_after(
    service: Instance, status: int, answer: bytes, api_version: str = "2019-03-31"
) -> dict[str, Any]:
    """Return a registration's final state after this answer of the webhook."""
    device = connect(service, api_version=api_version)
    asked = ask(service, device)
    assert poll(service, device, asked.operation_id)[1]["status"] == "assigning"
    service.allocated(asked, status, answer, UNIX_START)
    body = poll(service, device, asked.operation_id)[1]
    state: dict[str, Any] = body["registrationState"]
    assert body["status"] == state["status"]
    return state


def test_the_question_about_a_device_with_keys() -> None:
    service = make_service(individual(**CUSTOM, device_id="Pump"), hubs=HUBS)
    asked = ask(service, connect(service), b'{"payload": {"model": 1}}')
    assert asked.url == CUSTOM["webhook_url"]
    assert asked.reason == f"{asked.operation_id}: the webhook is asked"
    assert json.loads(asked.body) == {
        "individualEnrollment": {
            "registrationId": "dev-01",
            "deviceId": "Pump",
            "attestation": {"type": "symmetricKey"},
            "capabilities": {"iotEdge": False},
            "provisioningStatus": "enabled",
            "allocationPolicy": "custom",
            "customAllocationDefinition": {"webhookUrl": CUSTOM["webhook_url"]},
        },
        "deviceRuntimeContext": {
            "registrationId": "dev-01",
            "currentIotHubHostName": None,
            "currentDeviceId": None,
            "payload": {"model": 1},
            "symmetricKey": {},
        },
        "linkedHubs": list(HUBS),
    }


def test_the_question_about_a_device_with_certificates() -> None:
    enrolled = group("g", b"", **CUSTOM, primary_certificate=b"ca", iot_hubs=HUBS[1:])
    service = make_service(enrolled, hubs=HUBS)
    issuer = Certificate(enrolled.fingerprints[0], "", "ca", "CN=ca", "CN=ca", 0.0, 4e9, "01")
    username = build_username(SCOPE, "dev-01", "2019-03-31")
    device = service.admit("dev-01", username, None, (LEAF, issuer))
    assert isinstance(device, Device)
    asked = json.loads(ask(service, device).body)
    assert asked["enrollmentGroup"]["enrollmentGroupId"] == "g"
    assert asked["enrollmentGroup"]["attestation"] == {"type": "x509"}
    context = asked["deviceRuntimeContext"]
    assert context["x509"] == {"certificateInfo": LEAF.to_json()}
    assert "symmetricKey" not in context
    assert asked["linkedHubs"] == [HUBS[1]]


def test_the_question_names_where_the_device_is_now() -> None:
    service = make_service(individual(**CUSTOM, device_id="Pump"), hubs=HUBS)
    assert state_after(service, 200, CHOSEN)["assignedHub"] == HUBS[1]
    context = json.loads(ask(service, connect(service)).body)["deviceRuntimeContext"]
    assert (context["currentIotHubHostName"], context["currentDeviceId"]) == (HUBS[1], "Pump")


@pytest.mark.parametrize(
    ("answer", "hub", "payload"),
    [
        ({"iotHubHostName": HUBS[0]}, HUBS[0], None),
        ({"iotHubHostName": HUBS[1].upper(), "initialTwin": None}, HUBS[1], None),
        (
            {"iotHubHostName": HUBS[1], "initialTwin": {"tags": {}}, "payload": {"hall": 7}},
            HUBS[1],
            {"hall": 7},
        ),
    ],
)
def test_the_webhook_chooses_the_hub_and_speaks_to_the_device(
    answer: dict[str, Any], hub: str, payload: object
) -> None:
    service = make_service(individual(**CUSTOM), hubs=HUBS)
    state = state_after(service, 200, json.dumps(answer).encode())
    assert (state["status"], state["assignedHub"]) == ("assigned", hub)
    assert state.get("payload") == payload
    registration = service.records.registration("dev-01")
    assert registration is not None
    assert registration.payload == payload


@pytest.mark.parametrize(
    ("status", "answer", "code", "message"),
    [
        (0, b"", 400207, "Custom allocation failed with status code: none"),
        (201, CHOSEN, 400207, "Custom allocation failed with status code: 201"),
        (500, CHOSEN, 400207, "Custom allocation failed with status code: 500"),
        (200, b"no JSON", 400207, "Custom allocation failed: its answer names no iotHubHostName"),
        (200, b"[]", 400207, "Custom allocation failed: its answer names no iotHubHostName"),
        (200, b"{}", 400207, "Custom allocation failed: its answer names no iotHubHostName"),
        (200, CHOSEN.replace(b"}", b', "initialTwin": 7}'), 400207,
         "Custom allocation failed: its answer's initialTwin is no object"),
        (200, b'{"iotHubHostName": "elsewhere.azure-devices.net"}', 401001, "IoTHub not found."),
    ],
)  # fmt: skip
def test_an_answer_that_names_no_hub_fails_the_registration(
    status: int, answer: bytes, code: int, message: str
) -> None:
    service = make_service(individual(**CUSTOM), hubs=HUBS)
    state = state_after(service, status, answer)
    assert state["status"] == "failed"
    assert (state["errorCode"], state["errorMessage"]) == (code, message)
    assert service.records.registration("dev-01") is None


def test_a_hub_that_the_enrollment_does_not_name_is_none_of_its_choice() -> None:
    service = make_service(individual(**CUSTOM, iot_hubs=HUBS[:1]), hubs=HUBS)
    assert state_after(service, 200, CHOSEN)["errorCode"] == 401001
    other = make_service(individual(**CUSTOM, iot_hubs=HUBS[1:]), hubs=HUBS[:1])
    assert state_after(other, 200, CHOSEN)["assignedHub"] == HUBS[1]


def test_a_deleted_enrollment_fails_what_its_webhook_decides() -> None:
    enrolled = individual(**CUSTOM)
    service = make_service(enrolled, hubs=HUBS)
    device = connect(service)
    asked = ask(service, device)
    service.records.remove(enrolled)
    service.allocated(asked, 200, CHOSEN, UNIX_START)
    assert service.records.registration("dev-01") is None
    service.records.put(enrolled)
    state = poll(service, device, asked.operation_id)[1]["registrationState"]
    assert state["errorCode"] == 400207
    assert state["errorMessage"] == "Custom allocation failed: the enrollment has been deleted"


@pytest.mark.parametrize(
    ("policy", "api_version", "asked"),
    [
        (None, "2019-03-31", True),
        (None, "2018-04-01", False),
        (None, "2018-04-01-preview", False),
        (ReprovisionPolicy(update_hub_assignment=True), "2018-04-01", True),
        (ReprovisionPolicy(update_hub_assignment=False), "2019-03-31", False),
    ],
)
def test_the_webhook_is_asked_again_where_the_device_may_move(
    policy: ReprovisionPolicy | None, api_version: str, asked: bool
) -> None:
    service = make_service(individual(**CUSTOM, reprovision_policy=policy), hubs=HUBS)
    assert state_after(service, 200, CHOSEN, api_version)["assignedHub"] == HUBS[1]
    device = connect(service, api_version=api_version)
    effects = service.handle(device, Message(register_topic("1")), 1, UNIX_START)
    assert [type(each) for each in effects] == [Answer, AllocationRequested][: 1 + asked]
    if not asked:
        registration = service.records.registration("dev-01")
        assert registration is not None
        assert registration.assigned_hub == HUBS[1]


@pytest.mark.parametrize(
    ("late", "status"), [(0.0, "assigning"), (29.9, "assigning"), (30.0, "failed")]
)
@pytest.mark.parametrize("assigning_polls", [0, 2])
def test_an_answer_that_does_not_come_within_30_s_fails_the_registration(
    late: float, status: str, assigning_polls: int
) -> None:
    service = make_service(individual(**CUSTOM), hubs=HUBS, assigning_polls=assigning_polls)
    device = connect(service)
    asked = ask(service, device)
    body = poll(service, device, asked.operation_id, unix_now=UNIX_START + late)[1]
    assert body["status"] == status
    if status == "failed":
        message = "Custom allocation failed: the webhook's answer never came"
        assert body["registrationState"]["errorMessage"] == message
        assert body["registrationState"]["errorCode"] == 400207
        service.allocated(asked, 200, CHOSEN, UNIX_START + late)  # too late
        assert service.records.registration("dev-01") is None


def test_an_operation_that_has_ended_does_not_fail_when_it_is_asked_about_late() -> None:
    service = make_service(individual(**CUSTOM), hubs=HUBS)
    device = connect(service)
    asked = ask(service, device)
    service.allocated(asked, 200, CHOSEN, UNIX_START)
    late = poll(service, device, asked.operation_id, unix_now=UNIX_START + 31)
    assert late[1]["status"] == "assigned"


def test_how_a_registration_ended_is_logged() -> None:
    for answer, told in (
        (CHOSEN, f"poll 200 assigned to '{HUBS[1]}' as 'dev-01'"),
        (b"{}", "poll 200 failed 400207: Custom allocation failed: its answer names no"),
    ):
        service = make_service(individual(**CUSTOM), hubs=HUBS)
        device = connect(service)
        asked = ask(service, device)
        service.allocated(asked, 200, answer, UNIX_START)
        topic = poll_topic("1", asked.operation_id)
        (effect,) = service.handle(device, Message(topic), 1, UNIX_START)
        assert effect.reason.startswith(told)


def test_hashed_allocation_gives_a_device_the_same_hub_for_ever() -> None:
    """A later version that chose otherwise would move the devices of a whole fleet."""
    hubs = {"a.azure-devices.net": 1, "b.azure-devices.net": 3, "c.azure-devices.net": 1}
    service = make_service(group(), hubs=hubs)
    names = [f"dev-{number:02}" for number in range(24)]
    found = [
        provision(service, name, derive_device_key(KEY, name))["assignedHub"][0] for name in names
    ]
    assert "".join(found) == "bccbbbcababccccbabcbbaab"


def test_a_hub_without_a_weight_counts_as_one_of_weight_1() -> None:
    linked = {"a.azure-devices.net": 1, "b.azure-devices.net": 1}
    names = [f"dev-{number:02}" for number in range(50)]
    keys = [derive_device_key(KEY, name) for name in names]
    places = []
    for hubs in (linked, {}):
        service = make_service(group(iot_hubs=tuple(linked)), hubs=hubs)
        places.append(
            [provision(service, *each)["assignedHub"] for each in zip(names, keys, strict=True)]
        )
        halved = make_service(group(iot_hubs=tuple(linked)), hubs={"a.azure-devices.net": 1})
        places.append(
            [provision(halved, *each)["assignedHub"] for each in zip(names, keys, strict=True)]
        )
    assert places[1:] == places[:-1]


@pytest.mark.parametrize("hub", ["", "a b", "a/b", "h:443", "\u0159.example", "\ud800", 5])
def test_a_linked_hub_has_a_host_name(hub: Any) -> None:
    """A device refuses an assignment to any other."""
    with pytest.raises(UsageError, match=r"a hub .*; allowed: a host name"):
        make_service(hubs=(HUBS[0], hub))
