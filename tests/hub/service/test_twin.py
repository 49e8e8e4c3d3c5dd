"""A twin's rules as a table: names, sizes, depth, merging, versions, etags."""

from typing import Any

import pytest

from mqttws.hub.service.codes import Code, Fault
from mqttws.hub.service.twin import (
    MAX_INTEGER,
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

from .world import NOW


def nested(levels: int, value: Any = 1) -> dict[str, Any]:
    for _ in range(levels):
        value = {"a": value}
    assert isinstance(value, dict)
    return value


def lists(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"a": value}


@pytest.mark.rule("HUB-32")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"a": None},
        {"a": [1, {"b": "c"}], "b": True, "c": 1.5},
        {"ü": "ß"},
        {"a": MAX_INTEGER, "b": -MAX_INTEGER},
        {"a" * 1024: "b" * 4096},
        nested(10),
        nested(10, [1]),
        lists(10),
    ],
)
def test_values_within_the_rules(values: object) -> None:
    assert section_fault(values) is None


@pytest.mark.rule("HUB-32")
@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], 400004),
        ("text", 400004),
        (None, 400004),
        ({"$a": 1}, 400004),
        ({"a.b": 1}, 400004),
        ({"a b": 1}, 400004),
        ({"a\n": 1}, 400004),
        ({"": 1}, 400004),
        ({"a": {"$version": 1}}, 400004),
        ({"a": [{"$b": 1}]}, 400004),
        ({"a": MAX_INTEGER + 1}, 400004),
        ({"a": -MAX_INTEGER - 1}, 400004),
        ({"a" * 1025: 1}, 400004),
        ({"a": "b" * 4097}, 400004),
        ({"a": "ü" * 2049}, 400004),
        (nested(11), 400004),
        (nested(10, [[1]]), 400004),
        (nested(10, [{}]), 400004),
        (lists(11), 400004),
        ({str(n): "b" * 4096 for n in range(9)}, 413001),
    ],
)
def test_values_against_the_rules(values: object, code: int) -> None:
    fault = section_fault(values)
    assert fault is not None
    assert fault.code == code


def test_a_size_counts_names_and_values() -> None:
    assert size_of({"ab": 1, "c": True, "d": "xyz", "e": {"f": [1.5]}, "g": None}) == 30


def test_a_report_merges_and_null_removes() -> None:
    twin = report(Twin(), {"a": {"b": 1, "c": 2}, "d": 3}, NOW)
    assert isinstance(twin, Twin)
    twin = report(twin, {"a": {"b": None}, "d": {"e": None, "f": 1}}, NOW)
    assert isinstance(twin, Twin)
    assert device_view(twin) == {
        "desired": {"$version": 1},
        "reported": {"a": {"c": 2}, "d": {"f": 1}, "$version": 3},
    }


def test_a_report_that_changes_nothing_raises_the_version() -> None:
    twin = report(Twin(), {}, NOW)
    assert isinstance(twin, Twin)
    assert twin.reported.version == 2
    assert twin.desired.version == 1


def test_a_section_that_grows_too_large_by_small_patches_is_refused() -> None:
    twin: Twin | Fault = Twin()
    for number in range(MAX_SECTION // 4096):
        assert isinstance(twin, Twin)
        twin = report(twin, {str(number): "x" * 4096}, NOW)
    assert isinstance(twin, Fault)
    assert twin.code is Code.MessageTooLarge


def test_a_service_patches_tags_and_desired() -> None:
    done = write(Twin(), {"tags": {"a": 1}, "properties": {"desired": {"b": {"c": 2}}}}, NOW)
    assert isinstance(done, ServiceWrite)
    assert done.desired == {"b": {"c": 2}, "$version": 2}
    done = write(done.twin, {"tags": {"a": None}, "properties": {"desired": {"d": None}}}, NOW)
    assert isinstance(done, ServiceWrite)
    assert done.desired == {"d": None, "$version": 3}  # the patch as the service made it
    assert done.twin.tags == {}
    assert done.twin.desired.values == {"b": {"c": 2}}


def test_tags_alone_tell_the_device_nothing() -> None:
    done = write(Twin(), {"tags": {"a": 1}}, NOW)
    assert isinstance(done, ServiceWrite)
    assert done.desired is None
    assert done.twin.desired.version == 1


@pytest.mark.rule("HUB-34")
def test_a_replace_tells_the_device_the_whole_section() -> None:
    done = write(Twin(), {"properties": {"desired": {"a": 1, "b": 2}}}, NOW)
    assert isinstance(done, ServiceWrite)
    done = write(done.twin, {"properties": {"desired": {"c": 3}}}, NOW, replace_all=True)
    assert isinstance(done, ServiceWrite)
    assert done.desired == {"c": 3, "$version": 3}
    assert done.twin.desired.values == {"c": 3}


def test_a_twin_that_was_read_can_be_sent_back() -> None:
    done = write(Twin(), {"properties": {"desired": {"a": 1}}}, NOW)
    assert isinstance(done, ServiceWrite)
    again = write(done.twin, service_view(done.twin), NOW)
    assert isinstance(again, ServiceWrite)
    assert again.twin.desired.values == {"a": 1}


@pytest.mark.rule("HUB-34")
@pytest.mark.parametrize(("etag", "taken"), [(None, True), ("*", True), ("AAA", False)])
def test_an_etag_guards_a_write(etag: str | None, taken: bool) -> None:
    done = write(Twin(), {"tags": {}}, NOW, etag=etag)
    assert isinstance(done, ServiceWrite) is taken
    if isinstance(done, Fault):
        assert done.code is Code.PreconditionFailed


def test_an_etag_moves_with_a_services_write_and_not_with_a_report() -> None:
    reported = report(Twin(), {"a": 1}, NOW)
    assert isinstance(reported, Twin)
    assert reported.etag == Twin().etag
    written = write(reported, {"tags": {"a": 1}}, NOW)
    assert isinstance(written, ServiceWrite)
    assert written.twin.etag != reported.etag


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"properties": []},
        {"properties": {"desired": 1}},
        {"tags": "x"},
        {"tags": {str(n): "x" * 4096 for n in range(MAX_TAGS // 4096 + 1)}},
    ],
)
def test_a_wrong_write_changes_nothing(body: object) -> None:
    assert isinstance(write(Twin(), body, NOW), Fault)


@pytest.mark.rule("HUB-34")
def test_metadata_stamps_what_was_touched() -> None:
    first = write(Twin(), {"properties": {"desired": {"a": {"b": 1}, "c": 2}}}, NOW)
    assert isinstance(first, ServiceWrite)
    second = write(first.twin, {"properties": {"desired": {"a": {"d": 3}}}}, NOW + 60)
    assert isinstance(second, ServiceWrite)
    metadata = second.twin.desired.metadata
    early, late = "2027-01-15T08:00:00.0000000Z", "2027-01-15T08:01:00.0000000Z"
    assert metadata["$lastUpdated"] == late
    assert metadata["$lastUpdatedVersion"] == 3
    assert metadata["c"] == {"$lastUpdated": early, "$lastUpdatedVersion": 2}
    assert metadata["a"]["$lastUpdated"] == late
    assert metadata["a"]["b"]["$lastUpdated"] == early
    assert metadata["a"]["d"]["$lastUpdated"] == late
    third = write(second.twin, {"properties": {"desired": {"a": {"b": 4}}}}, NOW + 120)
    assert isinstance(third, ServiceWrite)
    metadata = third.twin.desired.metadata["a"]
    assert metadata["b"] == {"$lastUpdated": metadata["$lastUpdated"], "$lastUpdatedVersion": 4}
    assert metadata["d"] == {"$lastUpdated": late, "$lastUpdatedVersion": 3}


def test_an_initial_twin_begins_at_version_1() -> None:
    twin = new_twin({"tags": {"a": 1}, "properties": {"desired": {"b": 2}}}, NOW)
    assert isinstance(twin, Twin)
    assert device_view(twin) == {
        "desired": {"b": 2, "$version": 1},
        "reported": {"$version": 1},
    }
    assert twin.tags == {"a": 1}


def test_an_initial_twin_of_tags_alone_begins_at_version_1_too() -> None:
    twin = new_twin({"tags": {"a": 1}}, NOW)
    assert isinstance(twin, Twin)
    assert device_view(twin) == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    assert (twin.version, twin.etag) == (1, Twin().etag)
