"""Identities, twins and records to the letter: what services read, and what they may write."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from mqttws.hub.service.codes import Code, Fault
from mqttws.hub.service.identity import (
    Credentials,
    Identity,
    completed,
    credentials_view,
    identity_view,
    is_thumbprint,
    read_identity,
    same_but_revision,
)
from mqttws.hub.service.issuance import Issuance
from mqttws.hub.service.queue import CloudMessage
from mqttws.hub.service.records import Record, parts_of, record_from_json
from mqttws.hub.service.requests import Names
from mqttws.hub.service.session import Session
from mqttws.hub.service.telemetry import size_of as message_size
from mqttws.hub.service.twin import (
    MAX_SECTION,
    MAX_TAGS,
    ServiceWrite,
    Twin,
    device_view,
    new_twin,
    report,
    section_fault,
    service_view,
    size_of,
    write,
)

from .world import DEVICE, MODULE, NOW, PRIMARY, SECONDARY

KEYS = {
    "primaryKey": base64.b64encode(PRIMARY).decode(),
    "secondaryKey": base64.b64encode(SECONDARY).decode(),
}
SAS = Credentials("sas")
NO_PRINTS = {"primaryThumbprint": None, "secondaryThumbprint": None}
THEN = "2027-01-15T08:00:00.0000000Z"  # NOW


def fault_of(found: object) -> str:
    assert isinstance(found, Fault), found
    return found.message


# Identities


def test_a_device_is_shown_whole() -> None:
    assert (DEVICE.name, MODULE.name) == ("dev", "dev/mod")
    assert (DEVICE.path, MODULE.path) == ("devices/dev", "devices/dev/modules/mod")
    shown = replace(DEVICE, revision=12, iot_edge=True)
    assert identity_view(shown) == {
        "deviceId": "dev",
        "generationId": "g1",
        "etag": "MTI=",
        "authentication": {"symmetricKey": KEYS, "x509Thumbprint": NO_PRINTS, "type": "sas"},
        "status": "enabled",
        "statusReason": None,
        "statusUpdatedTime": "0001-01-01T00:00:00Z",
        "capabilities": {"iotEdge": True},
    }
    off = identity_view(replace(DEVICE, enabled=False, status_reason="lost", status_updated=NOW))
    assert off["status"] == "disabled"
    assert off["statusReason"] == "lost"
    assert off["statusUpdatedTime"] == THEN
    assert off["capabilities"] == {"iotEdge": False}


def test_a_module_has_no_status() -> None:
    assert identity_view(MODULE) == {
        "deviceId": "dev",
        "moduleId": "mod",
        "generationId": "g1",
        "etag": "MQ==",
        "authentication": {"symmetricKey": KEYS, "x509Thumbprint": NO_PRINTS, "type": "sas"},
    }


def test_thumbprints_are_shown_in_capitals() -> None:
    assert credentials_view(Credentials("selfSigned", thumbprints=("ab" * 20, "cd" * 32))) == {
        "symmetricKey": {"primaryKey": None, "secondaryKey": None},
        "x509Thumbprint": {
            "primaryThumbprint": "AB" * 20,
            "secondaryThumbprint": "CD" * 32,
        },
        "type": "selfSigned",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Identity("d", "m", Credentials("sas"))),
        ({"deviceId": "d", "moduleId": "m"}, Identity("d", "m", Credentials("sas"))),
        ({"deviceId": None, "moduleId": ""}, Identity("d", "m", Credentials("sas"))),
        ({"status": "disabled"}, Identity("d", "m", Credentials("sas"), enabled=False)),
        ({"statusReason": "r"}, Identity("d", "m", Credentials("sas"), status_reason="r")),
        (
            {"capabilities": {"iotEdge": True}},
            Identity("d", "m", Credentials("sas"), iot_edge=True),
        ),
        ({"capabilities": {"iotEdge": 1}}, Identity("d", "m", Credentials("sas"))),
        ({"capabilities": [1]}, Identity("d", "m", Credentials("sas"))),
    ],
)
def test_an_identity_is_read(body: dict[str, Any], expected: Identity) -> None:
    assert read_identity(body, "d", "m") == expected


def test_a_wrong_identity_is_refused_with_the_reason() -> None:
    assert "'/' in an id" in fault_of(read_identity({}, "d/", "m"))
    assert "'/' in an id" in fault_of(read_identity({}, "d", "m/"))
    assert fault_of(read_identity({"deviceId": "e"}, "d")) == "deviceId is another than the path's"
    assert fault_of(read_identity({"moduleId": "n"}, "d", "m")) == (
        "moduleId is another than the path's"
    )
    prints = {"authentication": {"type": "selfSigned", "x509Thumbprint": ["ab" * 20]}}
    assert fault_of(read_identity(prints, "d")) == (
        "authentication.x509Thumbprint: expected an object"
    )


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        (base64.b64encode(bytes(15)).decode(), False),
        (base64.b64encode(bytes(16)).decode(), True),
        (base64.b64encode(bytes(64)).decode(), True),
        (base64.b64encode(bytes(65)).decode(), False),
        (base64.b64encode(bytes(18)).decode() + "!!!!", False),
        (7, False),
    ],
)
@pytest.mark.parametrize("name", ["primaryKey", "secondaryKey"])
def test_a_key_has_16_to_64_bytes_in_base64(name: str, key: object, taken: bool) -> None:
    found = read_identity({"authentication": {"symmetricKey": {name: key}}}, "d")
    if taken:
        assert isinstance(found, Identity)
        assert found.credentials == Credentials("sas", (base64.b64decode(str(key)),))
    else:
        assert fault_of(found) == f"{name}: allowed are 16 to 64 bytes in base64"


@pytest.mark.parametrize("name", ["primaryThumbprint", "secondaryThumbprint"])
def test_one_thumbprint_is_enough(name: str) -> None:
    found = read_identity({"authentication": {"x509Thumbprint": {name: "AB" * 32}}}, "d")
    assert isinstance(found, Identity)
    assert found.credentials == Credentials("selfSigned", thumbprints=("ab" * 32,))
    for size in (39, 41, 63, 65):
        assert not is_thumbprint("a" * size)


def test_what_is_stored_is_completed() -> None:
    fresh = (b"f" * 32, b"g" * 32)
    new = completed(Identity("d", credentials=Credentials("sas")), None, fresh, "g1", NOW)
    assert new.credentials.keys == fresh
    assert (new.generation_id, new.revision, new.status_updated) == ("g1", 1, 0.0)
    one = replace(new, credentials=Credentials("sas", (b"n" * 32,)), generation_id="")
    same = completed(one, new, (b"x" * 32,) * 2, "g2", NOW)
    assert same.credentials.keys == (b"n" * 32, b"g" * 32)
    assert (same.generation_id, same.revision, same.status_updated) == ("g1", 2, 0.0)
    off = completed(replace(one, enabled=False), same, fresh, "g2", NOW)
    assert (off.revision, off.status_updated) == (3, NOW)
    still = completed(replace(one, enabled=False), off, fresh, "g2", NOW + 9)
    assert still.status_updated == NOW
    by_print = Identity("d", credentials=Credentials("selfSigned", thumbprints=("ab" * 20,)))
    assert completed(by_print, off, fresh, "g2", NOW).credentials == by_print.credentials
    from_print = completed(Identity("d", credentials=Credentials("sas")), by_print, fresh, "", NOW)
    assert from_print.credentials.keys == fresh


def test_two_states_differ_in_their_revision_at_most() -> None:
    assert same_but_revision(DEVICE, replace(DEVICE, revision=9)) is True
    assert same_but_revision(DEVICE, replace(DEVICE, enabled=False)) is False


# Twins


def test_a_new_twin_is_at_version_1_everywhere() -> None:
    stamp = {"$lastUpdated": THEN}
    empty = new_twin(None, NOW)
    assert isinstance(empty, Twin)
    assert service_view(empty) == {
        "version": 1,
        "tags": {},
        "properties": {
            "desired": {"$metadata": stamp, "$version": 1},
            "reported": {"$metadata": stamp, "$version": 1},
        },
    }
    assert (empty.revision, empty.etag) == (1, "AAAAAAAAAAE=")
    initial = new_twin({"tags": {"t": 1, "n": None}, "properties": {"desired": {"d": 2}}}, NOW)
    assert isinstance(initial, Twin)
    assert (initial.version, initial.revision) == (1, 1)
    both = {**stamp, "$lastUpdatedVersion": 1}
    assert service_view(initial) == {
        "version": 1,
        "tags": {"t": 1},
        "properties": {
            "desired": {"d": 2, "$metadata": {**both, "d": both}, "$version": 1},
            "reported": {"$metadata": stamp, "$version": 1},
        },
    }


def test_a_report_raises_the_version_and_not_the_revision() -> None:
    twin = report(Twin(), {"a": 1}, NOW)
    assert isinstance(twin, Twin)
    assert (twin.version, twin.revision, twin.reported.version) == (2, 1, 2)
    assert twin.reported.metadata == {"$lastUpdated": THEN, "a": {"$lastUpdated": THEN}}
    assert device_view(twin)["reported"] == {"a": 1, "$version": 2}


def test_a_service_raises_both() -> None:
    written = write(Twin(), {"tags": {"a": 1}}, NOW)
    assert isinstance(written, ServiceWrite)
    assert (written.twin.version, written.twin.revision) == (2, 2)
    again = write(written.twin, {"tags": {"b": None}}, NOW, replace_all=True)
    assert isinstance(again, ServiceWrite)
    assert again.twin.tags == {}


def test_a_part_that_was_no_object_is_stamped_as_one() -> None:
    first = write(Twin(), {"properties": {"desired": {"a": {"b": 1}}}}, NOW)
    assert isinstance(first, ServiceWrite)
    second = write(first.twin, {"properties": {"desired": {"a": 5}}}, NOW)
    assert isinstance(second, ServiceWrite)
    third = write(second.twin, {"properties": {"desired": {"a": {"c": 2}}}}, NOW + 60)
    assert isinstance(third, ServiceWrite)
    late = {"$lastUpdated": "2027-01-15T08:01:00.0000000Z", "$lastUpdatedVersion": 4}
    assert third.twin.desired.metadata == {**late, "a": {**late, "c": late}}


def test_the_limits_of_a_section_and_of_tags_hold_for_the_whole() -> None:
    text = "x" * 4095
    full = {str(number): text for number in range(8)}  # 8 times 4096 bytes
    assert size_of(full) == MAX_SECTION
    assert section_fault(full) is None
    twin = report(Twin(), full, NOW)
    assert isinstance(twin, Twin)
    assert fault_of(report(twin, {"a": None, "b": True}, NOW)) == (
        f"{MAX_SECTION + 5} bytes of properties; allowed: {MAX_SECTION}"
    )
    tags = {"0": text, "1": text}
    assert size_of(tags) == MAX_TAGS
    written = write(Twin(), {"tags": tags, "properties": {"desired": full}}, NOW)
    assert isinstance(written, ServiceWrite)
    for more in ({"tags": {"2": 1}}, {"properties": {"desired": {"8": 1}}}):
        found = write(written.twin, more, NOW)
        assert isinstance(found, Fault)
        assert found.code is Code.MessageTooLarge


def test_sizes_are_counted_by_kind() -> None:
    assert [size_of(value) for value in (True, 1, 1.5, None, "é", ["a", True])] == [
        4, 8, 8, 0, 2, 5,
    ]  # fmt: skip
    lone = "\ud800"  # from an escape in JSON: no character, counted as one byte
    assert size_of({lone: lone}) == 2
    assert message_size(b"xy", {lone: lone, "a": None}) == 5


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("x", "found a string; expected a JSON object"),
        ([], "found a list; expected a JSON object"),
        (True, "found a boolean; expected a JSON object"),
        (None, "found null; expected a JSON object"),
        (1, "found a number; expected a JSON object"),
        ({"\x1f": 1}, "the property name '\\x1f'"),
        ({"\x7f": 1}, "the property name '\\x7f'"),
        ({"\x80": 1}, None),
        ({"\ud800": "\ud800"}, None),
        ({"\ud800" * 1025: 1}, "a property name of 1025 characters"),
    ],
)
def test_what_breaks_a_rule_is_named(values: object, told: str | None) -> None:
    found = section_fault(values)
    if told is None:
        assert found is None
    else:
        assert fault_of(found).startswith(told)


def test_another_etag_writes_nothing() -> None:
    found = write(Twin(), {}, NOW, etag="other")
    assert isinstance(found, Fault)
    assert found.code is Code.PreconditionFailed


# Records, names and messages


def test_a_record_keeps_the_policy_of_its_certificates() -> None:
    identity = replace(DEVICE, credentials=Credentials("certificateAuthority", policy="p"))
    record = Record(identity)
    assert record_from_json(parts_of(record)) == record


def test_a_record_differs_in_its_queue_alone_or_not() -> None:
    record = Record(DEVICE)
    assert record.differs_in_queue_alone(replace(record, versions=(1, 1))) is True
    for changed in (
        replace(record, identity=replace(DEVICE)),
        replace(record, twin=Twin()),
        replace(record, session=Session()),
        replace(record, issuance=Issuance("r", "c", NOW, "")),
    ):
        assert record.differs_in_queue_alone(changed) is False


def test_names_make_a_client_id() -> None:
    assert (Names("h", "d").client_id, Names("h", "d", "m").client_id) == ("d", "d/m")


def test_a_message_has_the_id_that_its_sender_gave() -> None:
    assert CloudMessage(b"", system={"$.mid": "m"}).message_id == "m"
    assert CloudMessage(b"").message_id == ""
