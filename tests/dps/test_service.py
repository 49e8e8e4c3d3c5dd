import json
from base64 import b64decode
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqttws.dps.answers import Rejection, new_etag
from mqttws.dps.decisions import api_version_note, grant, read_register_body
from mqttws.dps.effects import Answer, Close, Device, Refusal
from mqttws.dps.records import OPERATIONS_PER_DEVICE, ReprovisionPolicy
from mqttws.dps.sas import derive_device_key
from mqttws.dps.topics import Message, poll_topic, register_topic
from mqttws.errors import UsageError

from .world import (
    EXPIRY,
    HUB,
    KEY,
    OTHER_KEY,
    SCOPE,
    UNIX_START,
    VECTORS,
    ask,
    connect,
    group,
    individual,
    make_service,
    poll,
    provision,
    register,
)

SHAPES = {case["name"]: list(case["body"]) for case in VECTORS["response_bodies"]}
STATE_SHAPES = {
    case["name"]: list(case["body"].get("registrationState", ()))
    for case in VECTORS["response_bodies"]
}


def check_error(answer, error_code, message=None):
    topic, body = answer
    assert topic == f"$dps/registrations/res/{error_code // 1000}/?$rid=1"
    assert list(body) == SHAPES["error-unauthorized-sas"]
    assert body["errorCode"] == error_code
    assert body["trackingId"].startswith("track-")
    if message is not None:
        assert body["message"] == message


def reason_of(service, device, topic, body=b"", unix_now=UNIX_START) -> str:
    (effect,) = service.handle(device, Message(topic, body), 1, unix_now)
    return effect.reason


# CONNECT


@pytest.mark.parametrize("case", VECTORS["usernames"][:-1], ids=lambda c: c["style"])
def test_every_sdk_is_admitted(case):
    device = make_service().admit("dev-01", case["username"], b"secret")
    assert isinstance(device, Device)
    assert device.registration_id == "dev-01"
    assert device.password == "secret"
    assert "secret" not in repr(device)


def test_a_device_without_a_password_is_admitted():
    username = f"{SCOPE}/registrations/dev-01/api-version=2019-03-31"
    for password in (None, b""):
        assert isinstance(make_service().admit("dev-01", username, password), Device)


@pytest.mark.rule("DPS-T6/service", "DPS-B-registration-id/service")
@pytest.mark.parametrize(
    ("client_id", "username", "return_code"),
    [
        ("dev-01", "0ne99999999/registrations/dev-01/api-version=2019-03-31", 3),
        ("dev-02", "0ne99999999/registrations/dev-01/api-version=2019-03-31", 3),
        ("dev-02", f"{SCOPE}/registrations/dev-01/api-version=2019-03-31", 5),
        ("", f"{SCOPE}/registrations/dev-01/api-version=2019-03-31", 5),
        ("dev-01", f"{SCOPE}/registrations/dev-01", 5),
        ("dev-01", "", 5),
        ("dev-01", None, 5),
        ("dev.", f"{SCOPE}/registrations/dev./api-version=2019-03-31", 2),
    ],
)
def test_names_are_judged_at_connect(client_id, username, return_code):
    """A wrong id scope is answered 3."""
    refusal = make_service(individual()).admit(client_id, username, b"secret")
    assert isinstance(refusal, Refusal)
    assert refusal.return_code == return_code
    assert refusal.reason.isprintable()
    assert "secret" not in refusal.reason


@pytest.mark.rule("DPS-T20/service")
def test_ids_are_compared_without_regard_to_case():
    """Case does not matter in DPS; at the hub it does: the device id stays as enrolled."""
    service = make_service(individual("Dev-01"))
    username = f"{SCOPE.upper()}/registrations/dev-01/api-version=2019-03-31"
    assert isinstance(service.admit("DEV-01", username, b""), Device)
    state = provision(service, "dev-01")
    assert (state["registrationId"], state["deviceId"]) == ("Dev-01", "Dev-01")
    body = b'{"registrationId": "DEV-01"}'
    assert "/202/" in register(service, connect(service, "dEV-01"), body)[0]


# SUBSCRIBE


def test_only_the_documented_filter_is_granted_and_at_most_qos_1():
    assert [grant("$dps/registrations/res/#", qos) for qos in (0, 1, 2)] == [0, 1, 1]
    refused = ["#", "$dps/#", "$dps/registrations/res/+", "$dps/registrations/+/#"]
    refused += ["$dps/registrations/res/200/#", "$dps/registrations/res/?$rid=1"]
    for topic_filter in refused:
        assert grant(topic_filter, 1) is None


# Requests


@pytest.mark.rule("DPS-S200-assigned/service", "DPS-S202-poll/service", "DPS-S202-register/service")
def test_the_answers_have_the_published_shapes():
    service = make_service(individual(), assigning_polls=1)
    device = connect(service)
    topic, body = register(service, device)
    assert topic == "$dps/registrations/res/202/?$rid=1&retry-after=3"
    assert list(body) == SHAPES["register-assigning"]
    assert body == {"operationId": "op-1", "status": "assigning"}

    topic, body = poll(service, device, "op-1")
    assert topic == "$dps/registrations/res/202/?$rid=1&retry-after=3"
    assert list(body) == SHAPES["poll-assigning"]
    assert body["registrationState"] == {"registrationId": "dev-01", "status": "assigning"}

    topic, body = poll(service, device, "op-1")
    assert topic == "$dps/registrations/res/200/?$rid=1"
    assert list(body) == SHAPES["assigned-symmetric"]
    assert body["status"] == "assigned"
    state = body["registrationState"]
    assert list(state) == STATE_SHAPES["assigned-symmetric"]
    assert state["assignedHub"] == HUB
    assert state["deviceId"] == state["registrationId"] == "dev-01"
    assert state["substatus"] == "initialAssignment"
    assert poll(service, device, "op-1")[1] == body


def test_times_have_seven_digits():
    service = make_service(individual())
    body = register(service, connect(service, key=None), unix_now=1_795_374_000.5)[1]
    assert body["timestampUtc"] == "2026-11-22T19:00:00.5000000Z"
    body = register(service, connect(service, key=None), unix_now=0.99999999)[1]
    assert body["timestampUtc"] == "1970-01-01T00:00:01.0000000Z"


def test_etags_are_quoted_guids_in_base64():
    for etag in (provision(make_service(individual()))["etag"], new_etag("of this test alone")):
        text = b64decode(etag).decode()
        assert text == f'"{UUID(text[1:-1])}"'


WITHOUT_CSR = [
    case for case in VECTORS["register_request_bodies"] if '"csr"' not in case["body_text"]
]
"""Requests for certificates have vectors of their own: ``issuance_vectors.json``."""


@pytest.mark.rule("DPS-T10/service", "DPS-T11/service")
@pytest.mark.operation(
    "Device API: register over MQTT and MQTT over WebSocket",
    "Device API: operation status over MQTT and MQTT over WebSocket",
)
@pytest.mark.parametrize("case", WITHOUT_CSR, ids=lambda c: c["sdk"])
def test_the_register_body_of_every_sdk_is_taken(case):
    """Rows 10 and 11: no body, no id and a payload of null are all fine."""
    service = make_service(individual())
    version = "2021-11-01-preview" if "Csr" in case["body_text"] else "2019-03-31"
    device = connect(service, api_version=version)
    topic, body = register(service, device, case["body_text"].encode())
    assert topic.startswith("$dps/registrations/res/202/"), body


@pytest.mark.rule("DPS-S400/service", "DPS-E400004/service", "DPS-B-json/service")
@pytest.mark.parametrize(
    ("body", "told"),
    [(b"oops", "not a JSON object"), (b"[]", "not a JSON object"), (b"\xff", "not a JSON object"),
     (b"null", "not a JSON object"), (b"[" * 100_000, "not a JSON object"),
     (b'{"registrationId": 5}', "not a string"), (b'{"registrationId": "dev-02"}', "differs"),
     (b'{"tpm": {"endorsementKey": "x"}}', "TPM attestation is not served here")],
)  # fmt: skip
@pytest.mark.operation("Device API: TPM attestation")
def test_a_wrong_register_body_is_answered_400(body, told):
    service = make_service(individual())
    answer = register(service, connect(service), body)
    check_error(answer, 400004)
    assert told in answer[1]["message"]
    assert provision(service)["substatus"] == "initialAssignment"


@pytest.mark.rule("DPS-E400012/service")
@pytest.mark.parametrize(
    ("body", "logged"),
    [(b'{"modelId": "dtmi:x;1"}', "unknown member 'modelId'"),
     (b'{"payload": "text"}', "payload is no JSON object"), (b'{"payload": [1]}', "payload is no"),
     (b'{"payload": 0}', "payload is no JSON object")],
)  # fmt: skip
def test_a_body_that_the_cloud_does_not_read_is_answered_400012_unless_lenient(body, logged):
    service = make_service(individual())
    answer = register(service, connect(service), body)
    check_error(answer, 400012)
    assert answer[1]["message"] == "Deserialization error."
    lenient = make_service(individual(), lenient=True)
    assert register(lenient, connect(lenient), body)[1]["status"] == "assigning"


@pytest.mark.parametrize(
    ("member", "since", "before"),
    [
        ("payload", "2018-09-01-preview", "2018-04-01"),
        ("payload", "2019-03-31", "2017-08-31-preview"),
        ("clientCertificateCsr", "2021-11-01-preview", "2021-10-01"),
    ],
)
def test_a_member_is_known_since_its_api_version(member, since, before):
    body = json.dumps({member: {} if member == "payload" else "MIIB"}).encode()
    service = make_service(individual())
    decided = read_register_body(body, connect(service, api_version=since))
    assert decided == ({} if member == "payload" else None, None)
    with pytest.raises(Rejection, match="Deserialization error") as refused:
        read_register_body(body, connect(service, api_version=before))
    assert f"{member} came with api-version" in refused.value.reason
    assert read_register_body(body, connect(service, api_version=before), lenient=True) == decided


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("2019-03-31", ""),
        ("2019-05-01", "api-version 2019-05-01 is not published; served as 2019-04-15"),
        ("2999-01-01", "api-version 2999-01-01 is not published; served as 2026-11-15-preview"),
        ("garbage", ""),
        ("2016-12-31", ""),
    ],
)
def test_an_api_version_that_no_document_names_is_told(version, told):
    assert api_version_note(version) == told


@pytest.mark.operation("Device API: api-version")
@pytest.mark.parametrize(
    "version", ["1999-01-01", "2017-08-30", "garbage", "2021-06", "2021-06-01-final"]
)
def test_an_api_version_that_never_was_is_answered_400_unless_lenient(version):
    service = make_service(individual())
    answer = register(service, connect(service, api_version=version))
    check_error(answer, 400004)
    assert "api-version" in answer[1]["message"]
    lenient = make_service(individual(), lenient=True)
    assert register(lenient, connect(lenient, api_version=version))[1]["status"] == "assigning"


@pytest.mark.parametrize(
    "version", ["2017-08-31", "2017-08-31-preview", "2019-03-31", "2999-01-01"]
)
def test_an_api_version_that_is_known_or_newer_is_served(version):
    service = make_service(individual())
    answer = register(service, connect(service, api_version=version))
    assert answer[1]["status"] == "assigning"


@pytest.mark.rule("DPS-T19/service")
@pytest.mark.parametrize("body", [b"", b" ", b"oops", b"\xff\x00", b'{"registrationId":"x"}'])
def test_a_poll_may_have_any_body(body):
    service = make_service(individual())
    device = connect(service)
    operation_id = register(service, device)[1]["operationId"]
    assert poll(service, device, operation_id, body)[1]["status"] == "assigned"


@pytest.mark.rule("DPS-T22/service")
def test_a_poll_may_come_before_its_time():
    """The Python SDK polls after 2 s whatever it was told."""
    service = make_service(individual())
    device = connect(service)
    operation_id = register(service, device)[1]["operationId"]
    answer = poll(service, device, operation_id, unix_now=UNIX_START + 0.1)
    assert answer[1]["status"] == "assigned"


@pytest.mark.rule("DPS-T16/service")
@pytest.mark.parametrize("request_id", ["1", "a%2fb", "b8a9c2f0-3c5e", ""])
def test_the_request_id_is_echoed_as_it_was_received(request_id):
    """It is opaque, and may repeat."""
    service = make_service(individual())
    device = connect(service)
    topic = f"$dps/registrations/PUT/iotdps-register/?$rid={request_id}"
    for _ in range(2):
        answered, _ = ask(service, device, topic)
        assert answered == f"$dps/registrations/res/202/?$rid={request_id}&retry-after=3"


def test_a_request_without_a_request_id_is_answered_with_an_empty_one():
    service = make_service(individual())
    answered, _ = ask(service, connect(service), "$dps/registrations/PUT/iotdps-register/?rid=1")
    assert answered == "$dps/registrations/res/202/?$rid=&retry-after=3"


@pytest.mark.parametrize("topic", ["t", "$dps/registrations/res/200/?$rid=1", "$dps/x"])
def test_an_undocumented_topic_closes_the_connection(topic):
    service = make_service(individual())
    (effect,) = service.handle(connect(service), Message(topic), 0, UNIX_START)
    assert isinstance(effect, Close)


def test_qos_2_closes_the_connection_and_qos_0_is_served():
    service = make_service(individual())
    device = connect(service)
    (effect,) = service.handle(device, Message(register_topic("1")), 2, UNIX_START)
    assert isinstance(effect, Close)
    (effect,) = service.handle(device, Message(register_topic("1")), 0, UNIX_START)
    assert isinstance(effect, Answer)


# Credentials


@pytest.mark.rule(
    "DPS-T5/service", "DPS-T8/service", "DPS-T9/service", "DPS-S401/service", "DPS-E401000/service"
)
@pytest.mark.parametrize("case", VECTORS["sas_bad"], ids=lambda c: c["case"])
def test_a_bad_token_is_admitted_and_answered_401_at_register(case):
    """Rows 5, 8 and 9: not at CONNECT, with a body, and the connection stays."""
    registration_id, enrollment = "dev-01", individual()
    if case["case"] == "sig-not-url-encoded":
        registration_id = "thermostat_7:eu.1-a"
        enrollment = individual(registration_id)
    if case["case"] == "group-master-used-directly":
        enrollment = group()
    service = make_service(enrollment)
    device = connect(service, registration_id, password=case["token"])
    now = EXPIRY - 60.0
    check_error(register(service, device, unix_now=now), 401000, "Unauthorized")
    (effect,) = service.handle(device, Message(register_topic("1")), 1, now)
    assert isinstance(effect, Answer)
    assert effect.reason.startswith("register 401 401000: ")
    assert "Unauthorized" not in effect.reason


@pytest.mark.rule("DPS-T2/service", "DPS-T3/service", "DPS-T4/service")
@pytest.mark.parametrize("case", VECTORS["sas_tokens"], ids=lambda c: f"{c['case']}-{c['style']}")
def test_the_token_of_every_sdk_is_let_in(case):
    """Rows 2, 3 and 4."""
    enrollments = [group()] if case["case"] == "group-derived" else [
        individual(case["registration_id"])]  # fmt: skip
    service = make_service(*enrollments)
    device = connect(service, case["registration_id"], password=case["token"])
    assert "/202/" in register(service, device, unix_now=EXPIRY - 60.0)[0]


def test_the_log_says_why_a_token_is_bad():
    service = make_service(individual(), leeway=10)
    device = connect(service)
    late = UNIX_START + 3600
    assert "/202/" in register(service, device, unix_now=late + 9)[0]
    assert reason_of(service, device, register_topic("1"), b"", late + 60) == (
        "register 401 401000: the token expired 60 s ago"
    )
    assert "no password" in reason_of(service, connect(service, key=None), register_topic("1"))


@pytest.mark.rule("DPS-S404/service", "DPS-E404201/service")
def test_no_password_is_unauthorized_and_no_enrollment_not_found():
    service = make_service(individual())
    check_error(register(service, connect(service, key=None)), 401000, "Unauthorized")
    check_error(register(service, connect(service, "dev-02")), 404201)
    check_error(poll(service, connect(service, "dev-02"), "op-1"), 404201)


def test_either_key_of_an_enrollment_lets_in():
    for key in (KEY, OTHER_KEY):
        provision(make_service(individual(secondary_key=OTHER_KEY)), key=key)


def test_a_registration_is_pinned_to_its_key_until_its_record_is_deleted():
    service = make_service(individual(secondary_key=OTHER_KEY))
    provision(service, key=OTHER_KEY)
    topic, body = register(service, connect(service, key=KEY))
    assert topic == "$dps/registrations/res/401/?$rid=1"
    assert body["errorCode"] == 401000
    logged = reason_of(service, connect(service, key=KEY), register_topic("1"))
    assert "signed with the primary key, and the device has registered with its secondary" in logged
    provision(service, key=OTHER_KEY)
    service.records.remove_registration("DEV-01")
    provision(service, key=KEY)
    assert register(service, connect(service, key=OTHER_KEY))[1]["errorCode"] == 401000


def test_a_groups_device_uses_its_derived_key():
    service = make_service(group("g1", OTHER_KEY), group("g2", KEY, secondary_key=bytes(32)))
    for group_key in (KEY, OTHER_KEY, bytes(32)):
        provision(service, key=derive_device_key(group_key, "dev-01"))
    # Which case the real service hashes is not published: as sent, then lower case.
    for name in ("DEV-02", "dev-02"):
        provision(service, "DEV-02", key=derive_device_key(KEY, name))
    check_error(register(service, connect(service, "dev-01", KEY)), 401000)


@pytest.mark.rule("DPS-B-se/service")
def test_the_log_tells_an_expired_group_token_from_a_wrong_one():
    service = make_service(group("g1", OTHER_KEY), group("g2", KEY))
    device = connect(service, key=derive_device_key(KEY, "dev-01"))
    reason = reason_of(service, device, register_topic("1"), b"", UNIX_START + 9999)
    assert "expired" in reason
    assert "2 group(s)" in reason_of(service, connect(service, key=bytes(32)), register_topic("1"))


def test_a_devices_own_enrollment_counts_alone():
    service = make_service(individual(), group("g", OTHER_KEY))
    derived = derive_device_key(OTHER_KEY, "dev-01")
    check_error(register(service, connect(service, key=derived)), 401000)
    provision(service)


@pytest.mark.rule("DPS-T12/service", "DPS-S200-disabled/service")
def test_a_disabled_enrollment_is_answered_200_disabled_and_no_group_steps_in():
    """200 is not success."""
    service = make_service(individual(provisioning_status="disabled"), group("g", OTHER_KEY))
    topic, body = register(service, connect(service))
    assert topic == "$dps/registrations/res/200/?$rid=1"
    assert list(body) == SHAPES["disabled"]
    assert (body["operationId"], body["status"]) == ("", "disabled")
    assert list(body["registrationState"]) == STATE_SHAPES["disabled"]
    assert body["registrationState"]["status"] == "disabled"
    logged = reason_of(service, connect(service), register_topic("1"))
    assert logged == "register 200 disabled"
    derived = derive_device_key(OTHER_KEY, "dev-01")
    check_error(register(service, connect(service, key=derived)), 401000)
    check_error(register(service, connect(service, key=OTHER_KEY)), 401000)


def test_a_disabled_group_is_answered_200_disabled_unless_the_device_has_its_own_enrollment():
    service = make_service(group(provisioning_status="disabled"), individual("dev-02"))
    device = connect(service, key=derive_device_key(KEY, "dev-01"))
    assert register(service, device)[1]["status"] == "disabled"
    provision(service, "dev-02")


def test_disabling_between_register_and_poll_ends_the_operation():
    service = make_service(individual())
    device = connect(service)
    operation_id = register(service, device)[1]["operationId"]
    service.records.remove(individual())
    check_error(poll(service, device, operation_id), 404201)
    service.records.put(individual(provisioning_status="disabled"))
    assert poll(service, device, operation_id)[1]["status"] == "disabled"


# Operations


@pytest.mark.rule("DPS-S404/service", "DPS-E404203/service")
def test_an_operation_can_be_asked_about_only_by_its_device_with_its_key():
    service = make_service(individual(), individual("dev-02"))
    device = connect(service)
    operation_id = register(service, device)[1]["operationId"]
    check_error(poll(service, device, "op-99"), 404203, "Operation not found.")
    check_error(poll(service, device, ""), 404203)
    check_error(poll(service, connect(service, "dev-02"), operation_id), 404203)
    check_error(poll(service, connect(service, key=OTHER_KEY), operation_id), 401000)
    assert poll(service, connect(service, "DEV-01"), operation_id)[1]["status"] == "assigned"


@pytest.mark.parametrize("policy", [None, "custom"])
@pytest.mark.parametrize("enrolled", ["individual", "group"])
def test_a_commit_that_took_place_though_it_seemed_lost_is_no_second_registration(policy, enrolled):
    enrollment = {"allocation_policy": policy, "webhook_url": "https://w" if policy else ""}
    service = make_service((individual if enrolled == "individual" else group)(**enrollment))
    commit, lost = service.store.commit, [True]

    async def commit_and_lose(*arguments):
        done = await commit(*arguments)
        return done and not (lost and lost.pop())

    service.store.commit = commit_and_lose
    key = KEY if enrolled == "individual" else derive_device_key(KEY, "dev-01")
    device = connect(service, key=key)
    answer, *asked = service.handle(device, Message(register_topic("1")), 1, UNIX_START)
    assert answer.status == 202
    assert len(asked) == (1 if policy else 0)
    assert service.service.counts.conflicts == 1
    (record,) = service.records.devices()
    (operation,) = record.operations
    assert operation.operation_id == json.loads(answer.body)["operationId"]
    assert (operation.state is None) == (policy == "custom")
    assert operation.enrollment_kind == enrolled
    assert operation.enrollment_id == ("dev-01" if enrolled == "individual" else "grp-1")
    if operation.state is not None:
        assert operation.state["substatus"] == "initialAssignment"


def test_only_the_latest_operations_of_a_device_are_remembered():
    service = make_service(individual())
    device = connect(service)
    ids = [register(service, device)[1]["operationId"] for _ in range(1000)]
    for operation_id in ids[-OPERATIONS_PER_DEVICE:]:
        assert poll(service, device, operation_id)[1]["status"] == "assigned"
    check_error(poll(service, device, ids[-OPERATIONS_PER_DEVICE - 1]), 404203)
    (kept,) = service.records.devices()
    assert len(kept.operations) == OPERATIONS_PER_DEVICE


def test_an_error_says_what_the_device_is_told():
    rejection = Rejection(401000, "Unauthorized", "for the log")
    assert str(rejection) == rejection.message == "Unauthorized"
    assert rejection.reason == "for the log"


def test_bad_credentials_leave_nothing_behind():
    service = make_service(individual(), group("g", OTHER_KEY))
    for number in range(100):
        register(service, connect(service, f"dev-{number}", bytes(32)))
    assert service.records.devices() == []


# Assignment


HUBS = tuple(f"hub-{number}.azure-devices.net" for number in range(5))


def test_hashed_spreads_devices_and_keeps_each_where_it_is():
    def places(hubs):
        service = make_service(group(), hubs=hubs)
        names = [f"dev-{number}" for number in range(200)]
        return {
            name: provision(service, name, derive_device_key(KEY, name))["assignedHub"]
            for name in names
        }

    first = places(HUBS)
    assert set(first.values()) == set(HUBS)
    assert places(tuple(reversed(HUBS))) == first
    fewer = places(HUBS[:-1])
    assert all(fewer[name] == hub for name, hub in first.items() if hub != HUBS[-1])


def test_an_enrollment_may_name_its_hubs():
    one = make_service(individual(iot_hub_host_name="a.azure-devices.net", iot_hubs=HUBS))
    assert provision(one)["assignedHub"] == "a.azure-devices.net"
    some = make_service(individual(iot_hubs=HUBS[:2]))
    assert provision(some)["assignedHub"] in HUBS[:2]


def test_static_takes_the_one_hub_and_geo_latency_the_first():
    static = make_service(individual(allocation_policy="static", iot_hubs=HUBS[:1]), hubs=HUBS)
    assert provision(static)["assignedHub"] == HUBS[0]
    nearest = make_service(individual(allocation_policy="geoLatency"), hubs=HUBS)
    assert provision(nearest)["assignedHub"] == HUBS[0]


@pytest.mark.rule("DPS-T12/service", "DPS-S200-failed/service", "DPS-E400208/service")
@pytest.mark.parametrize(
    ("hubs", "policy"), [((), None), ((), "geoLatency"), (HUBS, "static"), (HUBS[:2], "static")]
)
def test_without_a_hub_the_operation_fails(hubs, policy):
    """Status 200, and yet it failed."""
    service = make_service(individual(allocation_policy=policy), hubs=hubs)
    device = connect(service)
    operation_id = register(service, device)[1]["operationId"]
    topic, body = poll(service, device, operation_id)
    assert topic == "$dps/registrations/res/200/?$rid=1"
    assert body["status"] == "failed"
    assert list(body["registrationState"]) == STATE_SHAPES["failed-hub-not-found"]
    assert body["registrationState"]["errorCode"] == 400208
    assert service.records.registration("dev-01") is None


def test_the_device_id_may_be_overridden():
    assert provision(make_service(individual(device_id="Pump 7")))["deviceId"] == "Pump 7"


def test_a_groups_device_keeps_the_spelling_it_first_had():
    service = make_service(group())
    for written in ("Dev-01", "DEV-01", "dev-01"):
        key = derive_device_key(KEY, written)
        state = provision(service, written, key, api_version="2021-06-01")
        assert (state["registrationId"], state["deviceId"]) == ("Dev-01", "Dev-01")
    assert state["substatus"] == "reprovisionedToInitialAssignment"


@pytest.mark.parametrize(
    ("api_version", "told"), [("2019-03-31", False), ("2021-06-01", True), ("2021-10-01", True)]
)
def test_a_groups_name_is_told_since_2021(api_version, told):
    derived = derive_device_key(KEY, "dev-01")
    state = provision(make_service(group()), key=derived, api_version=api_version)
    if told:
        assert list(state) == STATE_SHAPES["assigned-symmetric-group"]
        assert state["symmetricKey"] == {"enrollmentGroupId": "grp-1"}
    else:
        assert "symmetricKey" not in state


# Registering again


@pytest.mark.rule("DPS-S200-assigned/service", "DPS-S202-register/service")
@pytest.mark.parametrize(
    ("policy", "api_version", "moved", "substatus"),
    [
        (None, "2019-03-31", True, "deviceDataMigrated"),
        (ReprovisionPolicy(True, True), "2019-03-31", True, "deviceDataMigrated"),
        (ReprovisionPolicy(True, False), "2019-03-31", True, "deviceDataReset"),
        (ReprovisionPolicy(False, True), "2019-03-31", False, "initialAssignment"),
        (ReprovisionPolicy(False, True), "2019-04-15", False, "reprovisionedToInitialAssignment"),
        (None, "2018-04-01", False, "initialAssignment"),
        (None, "2017-08-31-preview", False, "initialAssignment"),
        (ReprovisionPolicy(True, True), "2018-04-01", True, "deviceDataMigrated"),
    ],
)
def test_registering_again_follows_the_reprovision_policy(policy, api_version, moved, substatus):
    before = individual(reprovision_policy=policy, iot_hub_host_name=HUBS[0])
    service = make_service(before)
    first = provision(service, api_version=api_version)
    again = provision(service, api_version=api_version)
    same = "reprovisionedToInitialAssignment" if api_version > "2019-04" else "initialAssignment"
    assert first["substatus"] == "initialAssignment"
    assert again["substatus"] == same  # azure-iot-sdk-csharp pull 2397
    assert again["createdDateTimeUtc"] == first["createdDateTimeUtc"]
    assert again["etag"] != first["etag"]

    service.records.remove(before)
    service.records.put(replace(before, iot_hub_host_name=HUBS[1]))
    state = provision(service, api_version=api_version)
    assert state["assignedHub"] == HUBS[1 if moved else 0]
    assert state["substatus"] == substatus

    service.records.remove_registration("dev-01")
    state = provision(service, api_version=api_version)
    assert (state["assignedHub"], state["substatus"]) == (HUBS[1], "initialAssignment")


def test_a_registration_keeps_the_time_of_its_making():
    service = make_service(individual())
    device = connect(service)
    states = []
    for unix_now in (UNIX_START, UNIX_START + 100):
        operation_id = register(service, device, unix_now=unix_now)[1]["operationId"]
        body = poll(service, device, operation_id, unix_now=unix_now)[1]
        states.append(body["registrationState"])
    first, again = states
    assert first["createdDateTimeUtc"] == first["lastUpdatedDateTimeUtc"]
    assert again["createdDateTimeUtc"] == first["createdDateTimeUtc"]
    assert again["lastUpdatedDateTimeUtc"] > first["lastUpdatedDateTimeUtc"]


@pytest.mark.rule("DPS-T20/service")
def test_hashed_does_not_heed_the_case_of_an_id():
    service = make_service(group(), hubs=HUBS)
    for number in range(20):
        for written in (f"dev-{number}", f"DEV-{number}"):
            key = derive_device_key(KEY, written)
            state = provision(service, written, key, api_version="2021-06-01")
        assert state["substatus"] == "reprovisionedToInitialAssignment"


# Every answer


@pytest.mark.rule("DPS-T21/service")
def test_answers_are_ascii_whatever_they_hold():
    """The Node SDK reads payload bytes as ASCII."""
    service = make_service(individual(device_id="za\u0159\u00edzen\u00ed"))
    device = connect(service)
    operation_id = register(service, device)[1]["operationId"]
    (effect,) = service.handle(device, Message(poll_topic("1", operation_id)), 1, UNIX_START)
    assert isinstance(effect, Answer)
    assert effect.message.payload.isascii()
    state = json.loads(effect.message.payload)["registrationState"]
    assert state["deviceId"] == "za\u0159\u00edzen\u00ed"


@pytest.mark.rule("DPS-T7/service")
def test_retry_after_is_a_whole_number():
    with pytest.raises(UsageError, match="whole"):
        make_service(retry_after=2.5)
    service = make_service(individual(), retry_after=0)
    assert register(service, connect(service))[0].endswith("/?$rid=1&retry-after=0")


PREFIXES = st.sampled_from(
    ["", "$dps/registrations/PUT/iotdps-register/?",
     "$dps/registrations/PUT/iotdps-register/?$rid=",
     "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId="]
)  # fmt: skip
BODIES = st.binary() | st.dictionaries(
    st.sampled_from(["registrationId", "payload", "tpm", "x"]),
    st.none() | st.text() | st.integers() | st.just("dev-01"),
).map(lambda value: json.dumps(value).encode())


@pytest.mark.rule("DPS-T8/service")
@settings(deadline=None)
@given(PREFIXES, st.text(), BODIES, st.integers(0, 2), st.sampled_from([KEY, OTHER_KEY, None]))
def test_any_message_has_one_effect_and_no_exception(prefix, rest, body, qos, key):
    """And every answer has a JSON body."""
    service = make_service(individual(), group("g", bytes(32)))
    device = connect(service, key=key)
    (effect,) = service.handle(device, Message(prefix + rest, body), qos, UNIX_START)
    assert effect.reason.isprintable()
    if isinstance(effect, Answer):
        assert json.loads(effect.message.payload)
        assert effect.message.payload.isascii()


@given(st.text(), st.text() | st.none(), st.binary() | st.none())
def test_any_connect_is_judged(client_id, username, password):
    service = make_service(individual())
    judged = service.admit(client_id, username, password)
    assert isinstance(judged, Refusal)
    assert judged.reason.isprintable()
    service.admit(client_id, f"{SCOPE}/registrations/{client_id}/api-version=1", password)
