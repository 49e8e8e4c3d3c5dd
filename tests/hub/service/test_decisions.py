"""A device's messages: what each of them changes, sends, publishes or ends."""

import json
from dataclasses import replace

import pytest

from mqttws.hub.service.decisions import (
    Answered,
    Close,
    Incoming,
    Publish,
    Send,
    TwinChanged,
    desired_message,
    on_publish,
    on_will,
    will_fault,
)
from mqttws.hub.service.methods import MAX_PAYLOAD
from mqttws.hub.service.session import Session
from mqttws.hub.service.telemetry import MAX_SIZE

from .world import DEVICE, MODULE, NOW, names, peer, record

EVENTS = "devices/dev/messages/events/"
REPORTED = "$iothub/twin/PATCH/properties/reported/?$rid=7%20"


def decide(topic, payload=b"", qos=1, *, of=None, sender=None, retain=False):
    return on_publish(
        of or record(), sender or peer(), Incoming(topic, payload, qos, retain), NOW, "t"
    )


@pytest.mark.rule("HUB-22")
@pytest.mark.parametrize(
    ("topic", "payload", "qos", "reason"),
    [
        (EVENTS, b"", 2, "QoS 2"),
        ("devices/other/messages/events/", b"", 1, "other"),
        ("devices/dev/modules/m/messages/events/", b"", 1, "dev"),
        ("devices/dev/messages/events/a=1:2", b"", 1, "':'"),
        (EVENTS, b"x" * (MAX_SIZE + 1), 1, str(MAX_SIZE + 1)),
        (EVENTS + "a=" + "x" * 100, b"x" * (MAX_SIZE - 100), 1, str(MAX_SIZE)),
        ("devices/dev/messages/devicebound/", b"", 1, "no topic of the hub"),
        ("$iothub/twin/GET/", b"", 1, "no topic of the hub"),
        ("anything", b"", 0, "no topic of the hub"),
    ],
)
def test_what_a_device_may_not_send_ends_its_connection(topic, payload, qos, reason):
    decision = decide(topic, payload, qos)
    (effect,) = decision.effects
    assert isinstance(effect, Close)
    assert reason in effect.reason


@pytest.mark.rule("HUB-20", "HUB-21")
def test_telemetry_is_stamped():
    sender = peer(model_id="dtmi:a;1")
    bag = (
        "%24.mid=m&%24.cid=c&%24.uid=u&%24.ct=application%2Fjson&%24.ce=utf-8&%24.exp=x&own=1&null"
    )
    (effect,) = decide(EVENTS + bag, b"{}", sender=sender, retain=True).effects
    assert isinstance(effect, Publish)
    assert effect.telemetry.properties == {"own": "1", "null": None, "mqtt-retain": "true"}
    assert effect.telemetry.system_properties == {
        "message-id": "m",
        "correlation-id": "c",
        "user-id": "u",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "absolute-expiry-time": "x",
        "iothub-enqueuedtime": "2027-01-15T08:00:00.0000000Z",
        "iothub-connection-device-id": "dev",
        "iothub-connection-auth-generation-id": "g1",
        "iothub-connection-auth-method": "{}",
        "iothub-message-source": "Telemetry",
        "dt-dataschema": "dtmi:a;1",
    }


@pytest.mark.rule("HUB-20")
def test_a_modules_telemetry_names_the_module():
    topic = "devices/dev/modules/mod/messages/events/%24.on=out"
    (effect,) = decide(topic, sender=peer(MODULE)).effects
    assert effect.telemetry.system_properties["iothub-connection-module-id"] == "mod"
    assert effect.telemetry.system_properties["iothub-outputname"] == "out"


def test_bodies_are_shown_as_text_or_base64():
    (text,) = decide(EVENTS, "ü".encode()).effects
    (binary,) = decide(EVENTS, b"\xff").effects
    assert text.telemetry.to_json()["body"] == "ü"
    assert binary.telemetry.to_json()["bodyBase64"] == "/w=="


@pytest.mark.rule("HUB-31")
def test_a_twin_is_read_bare():
    (answer,) = decide("$iothub/twin/GET/?$rid=a%20b", b" ").effects
    assert isinstance(answer, Send)
    assert answer.topic == "$iothub/twin/res/200/?$rid=a%20b"
    assert json.loads(answer.payload) == {"desired": {"$version": 1}, "reported": {"$version": 1}}


@pytest.mark.rule("HUB-31")
def test_a_report_is_answered_204_with_its_version_and_no_body():
    decision = decide(REPORTED, b'{"a":1}')
    assert decision.record.twin.reported.values == {"a": 1}
    answer, changed = decision.effects
    assert (answer.topic, answer.payload) == ("$iothub/twin/res/204/?$rid=7%20&$version=2", b"")
    assert changed == TwinChanged({"a": 1})


@pytest.mark.rule("HUB-33")
@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"$a":1}', 400),
        (b'{"a":NaN}', 400),
        (b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}", 400),
        (json.dumps({str(n): "x" * 4096 for n in range(9)}).encode(), 413),
    ],
)
def test_a_wrong_report_is_answered_with_json_and_changes_nothing(payload, status):
    decision = decide(REPORTED, payload)
    assert decision.record == record()
    (answer,) = decision.effects
    assert answer.topic == f"$iothub/twin/res/{status}/?$rid=7%20"
    body = json.loads(answer.payload)
    assert body["errorCode"] // 1000 == status
    assert body.keys() == {"errorCode", "trackingId", "message", "info", "timestampUtc"}


def test_a_device_without_api_version_cannot_report():
    (answer,) = decide(REPORTED, b"{}", sender=peer(api_version="")).effects
    assert answer.topic.startswith("$iothub/twin/res/400/")
    (read,) = decide("$iothub/twin/GET/?$rid=1", sender=peer(api_version="")).effects
    assert read.topic.startswith("$iothub/twin/res/200/")


def test_a_lost_answer_is_said_in_the_log():
    (answer,) = decide("$iothub/twin/GET/?$rid=1", of=record(Session())).effects
    assert "has not subscribed" in answer.reason


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a":1}', Answered("1", 201, {"a": 1})),
        (b"", Answered("1", 201, None)),
        (b"null", Answered("1", 201, None)),
        (b"{", Answered("1", 201, None, "an answer that is not JSON")),
        (b"1" * (MAX_PAYLOAD + 1), Answered("1", 201, None, "an answer of 131073 bytes")),
    ],
)
def test_a_method_is_answered(payload, expected):
    assert decide("$iothub/methods/res/201/?$rid=1", payload).effects == (expected,)


def test_a_will_becomes_telemetry_with_a_mark():
    will = on_will(peer(), EVENTS + "a=1", b"gone", NOW)
    assert will.properties == {"a": "1", "iothub-MessageType": "Will"}
    assert on_will(peer(), "devices/other/messages/events/", b"", NOW) is None


@pytest.mark.rule("HUB-10")
@pytest.mark.parametrize(
    ("topic", "qos", "allowed"),
    [
        (EVENTS, 1, True),
        (EVENTS + "a=1", 0, True),
        (EVENTS, 2, False),
        ("devices/other/messages/events/", 1, False),
        ("$iothub/twin/GET/?$rid=1", 1, False),
    ],
)
def test_a_will_is_for_the_devices_own_telemetry(topic, qos, allowed):
    assert (will_fault(names(), topic, qos) is None) is allowed


@pytest.mark.rule("HUB-31")
def test_a_desired_change_has_its_sections_version():
    message = desired_message({"a": None, "$version": 4}, 4)
    assert message.topic == "$iothub/twin/PATCH/properties/desired/?$version=4"
    assert json.loads(message.payload) == {"a": None, "$version": 4}


def test_a_decision_does_not_change_the_record_it_was_given():
    before = record()
    decide(REPORTED, b'{"a":1}', of=before)
    assert before == record()
    assert replace(before, identity=DEVICE) == before
