"""The device and the service against each other, with pretend time and no MQTT."""

import pytest

from mqttws.dps.sas import derive_device_key
from mqttws.dps.topics import Message, register_topic
from mqttws.errors import RegistrationFailed, RegistrationRejected

from .world import (
    HUB,
    KEY,
    OTHER_KEY,
    UNIX_START,
    b64,
    connect,
    group,
    individual,
    make_registration,
    make_service,
    run,
)


def test_a_device_is_assigned():
    service = make_service(individual(), assigning_polls=2)
    registration = make_registration()
    sent = run(service, connect(service), registration)
    assert sent == [0.0, 3.0, 6.0, 9.0]
    assert registration.error is None
    assert registration.result is not None
    assert registration.result.assigned_hub == HUB
    assert registration.result.device_id == "dev-01"
    assert registration.result.substatus == "initialAssignment"
    assert registration.result.operation_id == "op-1"


def test_a_groups_device_is_assigned():
    service = make_service(group())
    registration = make_registration("Dev-02", payload={"modelId": "dtmi:x;1"})
    run(service, connect(service, "Dev-02", derive_device_key(KEY, "Dev-02")), registration)
    assert registration.result is not None
    assert registration.result.device_id == "Dev-02"


@pytest.mark.parametrize(
    ("enrollments", "key", "status", "error_code"),
    [((individual(),), OTHER_KEY, 401, 401000), ((), KEY, 404, 404201),
     ((group(),), KEY, 401, 401000)],
)  # fmt: skip
def test_a_refused_device_learns_why(enrollments, key, status, error_code):
    service = make_service(*enrollments)
    registration = make_registration()
    run(service, connect(service, key=key), registration)
    error = registration.error
    assert isinstance(error, RegistrationRejected)
    assert (error.status, error.error_code) == (status, error_code)
    assert error.tracking_id == "track-1"
    assert error.hint


@pytest.mark.rule("DPS-T12/device")
def test_a_disabled_device_and_one_without_a_hub_fail():
    disabled = make_service(individual(provisioning_status="disabled"))
    registration = make_registration()
    run(disabled, connect(disabled), registration)
    assert isinstance(registration.error, RegistrationFailed)
    assert registration.error.state == "disabled"

    homeless = make_service(individual(), hubs=())
    registration = make_registration()
    run(homeless, connect(homeless), registration)
    assert isinstance(registration.error, RegistrationFailed)
    assert (registration.error.state, registration.error.error_code) == ("failed", 400208)


def test_a_register_request_that_arrives_twice_does_no_harm():
    """A QoS 1 message may be delivered again; its device only sees one of the answers."""
    service = make_service(individual())
    device = connect(service)
    registration = make_registration()
    request = registration.start(0.0)
    for _ in range(3):
        (effect,) = service.handle(device, request, 1, UNIX_START)
        registration.receive(effect.message, 0.0)
    poll = registration.tick(3.0)
    assert poll is not None
    (effect,) = service.handle(device, poll, 1, UNIX_START + 3)
    registration.receive(effect.message, 3.0)
    assert registration.result is not None


def test_a_lost_connection_is_resumed_over_a_new_one():
    service = make_service(individual())
    registration = make_registration()
    lost = registration.start(0.0)
    (effect,) = service.handle(connect(service), lost, 1, UNIX_START)
    again = registration.resume(5.0)
    (effect,) = service.handle(connect(service), again, 1, UNIX_START + 5)
    registration.receive(effect.message, 5.0)
    poll = registration.resume(6.0)
    (effect,) = service.handle(connect(service), poll, 1, UNIX_START + 6)
    registration.receive(effect.message, 6.0)
    assert registration.result is not None


def test_another_devices_answers_are_passed_over():
    service = make_service(individual())
    registration = make_registration()
    registration.start(0.0)
    (effect,) = service.handle(connect(service), Message(register_topic("else")), 1, UNIX_START)
    registration.receive(effect.message, 0.0)
    assert registration.operation_id == ""


def test_no_secret_is_in_any_repr_reason_or_error():
    secrets = [b64(KEY), b64(OTHER_KEY), repr(KEY), repr(OTHER_KEY), KEY.hex()]
    derived = derive_device_key(KEY, "dev-01")
    secrets += [b64(derived), repr(derived)]
    seen: list[object] = []
    for enrollments in ((individual(),), (group(),), (), (individual(secondary_key=OTHER_KEY),)):
        for key in (KEY, OTHER_KEY, derived, None):
            for late in (0.0, 1e6):
                service = make_service(*enrollments)
                device = connect(service, key=key)
                token = device.password or ""
                if token:
                    secrets += [token, token.split("sig=")[1].split("&")[0]]
                registration = make_registration()
                run(service, device, registration, UNIX_START + late)
                (effect,) = service.handle(
                    device, Message(register_topic("1")), 1, UNIX_START + late
                )
                seen += [service, device, registration, registration.result, effect, *enrollments]
                seen += [registration.error, service.records.registration("dev-01")]
                if registration.error is not None:
                    seen += [str(registration.error), registration.error.hint]
    text = "\n".join(map(repr, seen))
    assert not [secret for secret in secrets if secret in text]
