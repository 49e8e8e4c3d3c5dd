"""Half of a surrogate pair has no UTF-8: each way to the wire says so, and shows no text."""

from collections.abc import Callable

import pytest

from mqttws import TelemetryMessage, UsageError
from mqttws.client.arguments import payload_bytes
from mqttws.client.options import password_bytes
from mqttws.dps import names, sas
from mqttws.dps import topics as dps_topics
from mqttws.hub import topics
from mqttws.utf8 import percent_encoded, utf8

HALF = "secret \ud800"

WAYS: dict[str, Callable[[], object]] = {
    "utf8": lambda: utf8(HALF, "it"),
    "percent_encoded": lambda: percent_encoded(HALF, "it"),
    "payload": lambda: payload_bytes(HALF),
    "password": lambda: password_bytes(HALF),
    "a property's name": lambda: topics.telemetry_topic("d", {HALF: "x"}),
    "a property's value": lambda: topics.telemetry_topic("d", {"x": HALF}),
    "a long property": lambda: topics.telemetry_topic("d", {"x": HALF * 20}),
    "a property of telemetry": lambda: TelemetryMessage(b"", {"x": HALF}).bag(),
    "a twin's request": lambda: topics.twin_get_topic(HALF),
    "a report's request": lambda: topics.twin_report_topic(HALF),
    "a hub's api version": lambda: topics.build_username("h", "d", HALF),
    "a model id": lambda: topics.build_username("h", "d", model_id=HALF),
    "a client type": lambda: topics.build_username("h", "d", client_type=HALF),
    "a DPS api version": lambda: names.build_username("0ne", "d", HALF),
    "a client version": lambda: names.build_username("0ne", "d", "2019-03-31", HALF),
    "a registration's request": lambda: dps_topics.register_topic(HALF),
    "a poll's operation": lambda: dps_topics.poll_topic("1", HALF),
    "a token's resource": lambda: sas.sign_token(HALF, b"key", 1),
    "a token's key name": lambda: sas.sign_token("r", b"key", 1, HALF),
}


@pytest.mark.parametrize("way", WAYS)
def test_half_a_character_is_refused(way: str) -> None:
    with pytest.raises(UsageError, match="has no UTF-8") as refused:
        WAYS[way]()
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None


def test_what_is_whole_is_encoded() -> None:
    assert utf8("ü\U0001f600", "it") == b"\xc3\xbc\xf0\x9f\x98\x80"
    assert percent_encoded("a/b ü~_.-", "it") == "a%2Fb%20%C3%BC~_.-"
