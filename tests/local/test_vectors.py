"""Packets as the SDKs send them, byte for byte, and the service's answers to them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mqttws import AsyncLocalDps
from mqttws.dps.sas import Token, decode_key, is_signed, read_token, sign_token
from mqttws.hub import topics as hub
from mqttws.hub.service.access import covers
from mqttws.wire import Connect, Publish, UnsubAck, decode, encode

from ..dps.world import EXPIRY, KEY, SCOPE, VECTORS
from .device import device

PACKETS: dict[str, bytes] = {
    case["name"]: bytes.fromhex(case["hex"]) for case in VECTORS["packets"]
}
HUB: dict[str, Any] = VECTORS["hub"]
OPERATION = "5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550"


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_of_the_sdks_and_the_service_is_read_and_written_again(name: str) -> None:
    assert encode(decode(PACKETS[name])) == PACKETS[name]


CONNECTS = [name for name in PACKETS if name.startswith("connect-")]
REGISTERS = [name for name in PACKETS if name.startswith("publish-register-")]
SUBSCRIBES = [name for name in PACKETS if name.startswith("subscribe-")]


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("register", REGISTERS)
async def test_a_device_that_sends_these_packets_is_served(
    local_dps: AsyncLocalDps, connect: str, register: str
) -> None:
    subscribe = SUBSCRIBES[CONNECTS.index(connect) % len(SUBSCRIBES)]
    local_dps.service.settings = replace(local_dps.service.settings, id_scope=SCOPE)
    sent = decode(PACKETS[register])
    assert isinstance(sent, Publish)
    async with local_dps as dps:
        keys = {
            "type": "symmetricKey",
            "symmetricKey": {"primaryKey": VECTORS["master_keys"]["M1"]["b64"]},
        }
        await dps.enroll({"registrationId": "dev-01", "attestation": keys})
        async with device(dps) as peer:
            for name in (connect, subscribe, register):
                await peer.socket.send(PACKETS[name])
            assert encode(await peer.receive()) == PACKETS["connack-0"]
            assert encode(await peer.receive()) == PACKETS["suback-1"]
            if sent.qos:
                acknowledged = await peer.receive()
                assert acknowledged.packet_id == sent.packet_id  # type: ignore[union-attr]
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            request_id = sent.topic.partition("$rid=")[2]
            # Without a token there is nothing to prove the device by: it has no certificate here.
            if "x509" in connect:
                assert answer.topic == f"$dps/registrations/res/401/?$rid={request_id}"
                return
            assert answer.topic == f"$dps/registrations/res/202/?$rid={request_id}&retry-after=0"
            operation = json.loads(answer.payload)["operationId"]
            poll = decode(PACKETS["publish-poll"])
            assert isinstance(poll, Publish)
            topic = poll.topic.replace(OPERATION, operation)
            await peer.send(Publish(topic, poll.payload, 0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            assert json.loads(answer.payload)["registrationState"]["deviceId"] == "dev-01"
            await peer.socket.send(PACKETS["unsubscribe"] + PACKETS["pingreq"])
            answers = {encode(await peer.receive()) for _ in range(2)}  # in either order
            assert answers == {PACKETS["pingresp"], encode(UnsubAck(9))}
            await peer.socket.send(PACKETS["disconnect"])
            await peer.socket.wait_closed()


@pytest.mark.parametrize("case", HUB["usernames"], ids=lambda case: case["style"])
def test_the_user_names_of_the_hub_are_read(case: dict[str, str]) -> None:
    parsed = hub.parse_username(case["username"])
    assert parsed is not None
    assert (parsed.hub, parsed.device_id) == ("my-hub.azure-devices.net", "dev-01")
    if case["style"] == "documented":
        assert hub.build_username(parsed.hub, parsed.device_id) == case["username"]


@pytest.mark.parametrize("case", HUB["sas"], ids=lambda case: case["style"])
def test_the_tokens_of_the_hub_are_signed_and_taken(case: dict[str, str]) -> None:
    resource = "my-hub.azure-devices.net/devices/dev-01"
    if case["style"] == "module":
        resource += "/modules/mod-a"
    key = decode_key(case["key"])
    assert key == KEY
    assert sign_token(resource, key, EXPIRY, key_name="") == case["token"]
    token = read_token(case["token"])
    assert isinstance(token, Token)
    assert is_signed(token, [key])
    assert covers(token.resource_text, resource)
    assert token.expiry == EXPIRY


def test_the_topics_of_the_hub_are_the_documented_ones() -> None:
    topics: dict[str, str] = HUB["topics"]
    assert hub.telemetry_topic("dev-01") == topics["telemetry"]
    telemetry = hub.parse_telemetry_topic(topics["telemetry_props"])
    assert telemetry is not None
    device_id, bag = telemetry
    assert bag == {
        "$.mid": "m-1",
        "$.ct": "application/json",
        "$.ce": "utf-8",
        "temperatureAlert": "true",
    }
    built = hub.telemetry_topic(device_id, bag)
    pairs = [
        set(topic.rpartition("/")[2].split("&")) for topic in (built, topics["telemetry_props"])
    ]
    assert pairs[0] == pairs[1]
    assert hub.devicebound_filter("dev-01") == topics["c2d_filter"]
    found = hub.parse_devicebound_topic(topics["c2d_example"])
    assert found is not None
    assert found[1]["$.to"] == "/devices/dev-01/messages/devicebound"
    assert topics["methods_filter"] == hub.METHODS_FILTER
    assert hub.method_topic("reboot", "1") == topics["method_request"]
    assert hub.method_response_topic(200, "1") == topics["method_response"]
    assert topics["twin_res_filter"] == hub.TWIN_RESPONSE_FILTER
    assert hub.twin_get_topic("1") == topics["twin_get"]
    assert hub.parse_twin_response_topic(topics["twin_get_response"]) == hub.TwinResponse(200, "1")
    assert hub.twin_report_topic("2") == topics["twin_patch"]
    patched = hub.parse_twin_response_topic(topics["twin_patch_response"])
    assert patched == hub.TwinResponse(204, "2", 5)
    assert topics["twin_desired_filter"] == hub.DESIRED_FILTER
    assert hub.parse_desired_topic(topics["twin_desired"]) == 6


def test_every_connect_of_the_sdks_says_what_it_is_said_to_say() -> None:
    for name in CONNECTS:
        connect = decode(PACKETS[name])
        assert isinstance(connect, Connect)
        assert connect.client_id == "dev-01"
        assert (connect.password is None) == ("x509" in name)
        assert connect.clean_session == ("python" not in name)
        assert connect.keep_alive == {"python": 60, "node": 180, "c": 0}[name.split("-")[1]]
