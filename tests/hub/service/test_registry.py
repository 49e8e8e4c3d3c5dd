"""The registry's JSON, method calls, queries, and a record's way through a store."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from mqttws.hub.service.codes import Fault
from mqttws.hub.service.identity import (
    Credentials,
    Identity,
    completed,
    id_fault,
    identity_view,
    read_identity,
)
from mqttws.hub.service.methods import Invocation, offline, read_invocation
from mqttws.hub.service.query import Query, parse_query
from mqttws.hub.service.queue import CloudMessage, Queue, enqueue
from mqttws.hub.service.records import (
    Record,
    parts_of,
    queue_from_json,
    queue_to_json,
    record_from_json,
)
from mqttws.hub.service.twin import Twin, report

from .world import DEVICE, EVERYTHING, NOW, OTHER, PRIMARY, SECONDARY

KEY = base64.b64encode(PRIMARY).decode()
FRESH = (b"1" * 32, b"2" * 32)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a", True), ("a-:.+%_#*?!(),=@$'b", True), ("a" * 128, True),
        ("", False), ("a" * 129, False), ("a b", False), ("a/b", False), ("ü", False),
        ("a\n", False), (None, False), (7, False),
    ],
)  # fmt: skip
def test_an_id_is_judged(text: object, good: bool) -> None:
    assert (id_fault(text) is None) is good


@pytest.mark.parametrize(
    ("body", "credentials"),
    [
        ({}, Credentials("sas")),
        ({"authentication": None}, Credentials("sas")),
        ({"authentication": {"type": "sas", "symmetricKey": {"primaryKey": KEY}}},
         Credentials("sas", (PRIMARY,))),
        ({"authentication": {"x509Thumbprint": {"primaryThumbprint": "AB" * 20}}},
         Credentials("selfSigned", thumbprints=("ab" * 20,))),
        ({"authentication": {"type": "certificateAuthority"}}, Credentials("certificateAuthority")),
        ({"authentication": {"type": "none"}}, Credentials()),
    ],
)  # fmt: skip
def test_credentials_are_read(body: Any, credentials: Credentials) -> None:
    assert read_identity(body, "dev") == Identity("dev", credentials=credentials)


@pytest.mark.parametrize(
    "body",
    [
        [], {"deviceId": "other"}, {"status": "perhaps"}, {"authentication": 7},
        {"authentication": {"type": "tpm"}},
        {"authentication": {"type": "sas", "symmetricKey": {"primaryKey": "short"}}},
        {"authentication": {"type": "sas", "symmetricKey": 7}},
        {"authentication": {"type": "selfSigned"}},
        {"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "xy"}}},
    ],
)  # fmt: skip
def test_a_wrong_identity_is_refused(body: Any) -> None:
    assert isinstance(read_identity(body, "dev"), Fault)


def test_keys_are_made_once_and_never_replaced_without_a_word() -> None:
    new = read_identity({}, "dev")
    assert isinstance(new, Identity)
    first = completed(new, None, FRESH, "g", NOW)
    assert first.credentials.keys == FRESH
    again = completed(new, first, (PRIMARY, SECONDARY), "other", NOW)
    assert again.credentials.keys == FRESH
    assert (again.generation_id, again.revision) == ("g", 2)
    given = replace(new, credentials=Credentials("sas", (OTHER,)))
    assert completed(given, first, (PRIMARY, SECONDARY), "x", NOW).credentials.keys == (
        OTHER,
        FRESH[1],
    )


def test_an_identity_is_read_as_it_is_shown() -> None:
    view = json.loads(json.dumps(identity_view(DEVICE)))
    read = read_identity(view, "dev")
    assert isinstance(read, Identity)
    assert read.credentials == DEVICE.credentials
    assert view["status"] == "enabled"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"methodName": "m"}, Invocation("m")),
        ({"methodName": "m", "payload": {"a": 1}, "responseTimeoutInSeconds": 5,
          "connectTimeoutInSeconds": 300}, Invocation("m", {"a": 1}, 5, 300)),
        ({"methodName": "m", "payload": ""}, Invocation("m", "")),
        ({"methodName": "a/b"}, None),
        ({"methodName": ""}, None),
        ({"methodName": "ü"}, None),
        ({}, None),
        ([], None),
        ({"methodName": "m", "responseTimeoutInSeconds": 4}, None),
        ({"methodName": "m", "responseTimeoutInSeconds": 301}, None),
        ({"methodName": "m", "connectTimeoutInSeconds": 301}, None),
        ({"methodName": "m", "connectTimeoutInSeconds": True}, None),
    ],
)  # fmt: skip
def test_a_method_call_is_read(body: Any, expected: Invocation | None) -> None:
    found = read_invocation(body)
    assert isinstance(found, Fault) if expected is None else found == expected


def test_an_absent_device_is_404103() -> None:
    fault = offline(Invocation("m", connect_timeout=90))
    assert (fault.code, fault.info) == (404103, {"timeout": "00:01:30"})


TWINS: list[dict[str, Any]] = [
    {"deviceId": "a", "tags": {"floor": 1}, "properties": {"reported": {"t": 20.5}}},
    {"deviceId": "b", "tags": {"floor": 2}, "status": "disabled"},
    {"deviceId": "c's", "tags": {}},
]


@pytest.mark.rule("HUB-44")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT * FROM devices", "abc"),
        ("select * from devices", "abc"),
        ("SELECT * FROM devices WHERE deviceId = 'a'", "a"),
        ("SELECT * FROM devices WHERE deviceId='c\\'s'", "c"),
        ("SELECT * FROM devices WHERE tags.floor > 1", "b"),
        ("SELECT * FROM devices WHERE tags.floor = 1 OR tags.floor = 2", "ab"),
        ("SELECT * FROM devices WHERE NOT (tags.floor = 1)", "bc"),
        ("SELECT * FROM devices WHERE deviceId IN ['a','b'] AND status = 'disabled'", "b"),
        ("SELECT * FROM devices WHERE IS_DEFINED(tags.floor)", "ab"),
        ("SELECT * FROM devices WHERE properties.reported.t >= 20.5", "a"),
        ("SELECT * FROM devices WHERE tags.floor > 'x'", ""),
    ],
)
def test_a_query_finds(query: str, found: str) -> None:
    parsed = parse_query(query)
    assert isinstance(parsed, Query)
    assert "".join(row["deviceId"][0] for row in parsed.rows(TWINS)) == found


def test_a_query_selects_fields_and_counts() -> None:
    fields = parse_query("SELECT deviceId, tags.floor FROM devices WHERE deviceId = 'b'")
    assert isinstance(fields, Query)
    assert fields.rows(TWINS) == [{"deviceId": "b", "tags.floor": 2}]
    count = parse_query("SELECT COUNT() AS number FROM devices")
    assert isinstance(count, Query)
    assert count.rows(TWINS) == [{"number": 3}]


@pytest.mark.parametrize(
    "query",
    ["", "SELECT", "SELECT * FROM jobs", "SELECT * FROM devices WHERE", "SELECT * FROM devices x y",
     "SELECT * FROM devices GROUP BY a", "SELECT * FROM devices WHERE a = ;",
     "SELECT * FROM devices WHERE " + "(" * 5000, "SELECT * FROM devices WHERE a LIKE 'b'"],
)  # fmt: skip
def test_a_query_that_is_not_served_is_refused(query: str) -> None:
    assert isinstance(parse_query(query), Fault)


def test_a_record_comes_back_from_json_as_it_was() -> None:
    twin = report(Twin(tags={"a": 1}), {"b": {"c": [1, "ü"]}}, NOW)
    queue = enqueue(Queue(), CloudMessage(b"\xff", {"p": None}, {"$.mid": "m"}, "full"), NOW)
    assert isinstance(twin, Twin)
    assert isinstance(queue, Queue)
    record = Record(DEVICE, twin, EVERYTHING, queue)
    parts = json.loads(json.dumps(parts_of(record)))
    messages = json.loads(json.dumps(queue_to_json(queue)))
    assert replace(record_from_json(parts), queue=queue_from_json(messages)) == record
