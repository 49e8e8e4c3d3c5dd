"""Twins: merge patches, versions and gaps; no change is missed and none is applied twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws.hub.device.twin import (
    MAX_READS,
    MAX_WAITING,
    DesiredChange,
    DesiredTracker,
    Twin,
    difference,
    merged,
    twin_from_json,
)

VALUES = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.dictionaries(st.text("abc", min_size=1, max_size=1), VALUES, max_size=3)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396 appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ([1], {"a": "b", "c": None}, {"a": "b"}),
    ],
)
def test_merge_patches_are_applied_as_rfc_7396_has_it(target, patch, result):
    assert merged(target, patch) == result


@given(SECTIONS, SECTIONS)
def test_the_difference_leads_from_one_section_to_the_other(before, after):
    assert merged(before, difference(before, after)) == after
    assert difference(after, after) == {}


def test_true_is_not_one():
    assert difference({"a": 1}, {"a": True}) == {"a": True}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "a twin that is NoneType"),
        ({"desired": {"$version": 1}}, "whose reported is None"),
        ({"desired": [], "reported": {"$version": 1}}, "whose desired is []"),
        ({"desired": {"$version": "1"}, "reported": {"$version": 1}}, r"\$version is '1'"),
        ({"desired": {"$version": True}, "reported": {"$version": 1}}, r"\$version is True"),
    ],
)
def test_a_twin_that_is_none_is_told(value, fault: str):
    found = twin_from_json(value)
    assert isinstance(found, str)
    assert fault.replace("\\", "") in found


def test_a_twin_is_read_without_its_versions():
    value = {"desired": {"a": 1, "$version": 4}, "reported": {"b": 2, "$version": 9}}
    assert twin_from_json(value) == Twin({"a": 1}, {"b": 2}, 4, 9)


def changes(tracker: DesiredTracker) -> list[DesiredChange]:
    return list(iter(tracker.next_change, None))


def reading(desired: dict, version: int) -> Twin:
    return Twin(desired, {}, version, 1)


def test_the_first_read_is_the_first_change_and_notifications_follow():
    tracker = DesiredTracker()
    assert tracker.wants_twin
    tracker.on_twin(reading({"a": 1}, 3))
    tracker.on_notification(4, {"b": {"c": 2}, "$version": 4})
    assert not tracker.wants_twin
    assert changes(tracker) == [
        DesiredChange({"a": 1}, {"a": 1}, 3, read=True),
        DesiredChange({"b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, 4),
    ]


def test_an_old_or_repeated_notification_changes_nothing():
    tracker = DesiredTracker()
    tracker.on_twin(reading({"a": 1}, 3))
    changes(tracker)
    tracker.on_notification(3, {"a": 7})
    tracker.on_notification(2, {"a": 8})
    tracker.on_notification(4, {"a": 2})
    tracker.on_notification(4, {"a": 2})
    assert changes(tracker) == [DesiredChange({"a": 2}, {"a": 2}, 4)]


def test_notifications_before_the_read_are_applied_behind_it():
    tracker = DesiredTracker()
    tracker.on_notification(5, {"a": 5})
    tracker.on_notification(4, {"a": 4})
    tracker.on_twin(reading({"a": 4, "b": 1}, 4))
    assert [change.desired for change in changes(tracker)] == [
        {"a": 4, "b": 1},
        {"a": 5, "b": 1},
    ]


def test_a_gap_asks_for_a_read_and_nothing_is_handed_out_before():
    tracker = DesiredTracker()
    tracker.on_twin(reading({"a": 1}, 1))
    changes(tracker)
    tracker.on_notification(3, {"c": 3})
    assert tracker.wants_twin
    assert changes(tracker) == []
    tracker.on_twin(reading({"a": 1, "b": 2, "c": 3}, 3))
    assert not tracker.wants_twin
    assert changes(tracker) == [
        DesiredChange({"b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}, 3, read=True)
    ]


def test_a_read_that_was_older_than_the_notification_is_made_again_but_not_for_ever():
    tracker = DesiredTracker()
    tracker.on_twin(reading({}, 1))
    tracker.on_notification(9, {"a": 1})
    for _ in range(MAX_READS):
        if tracker.wants_twin:
            tracker.on_twin(reading({}, 1))
    assert not tracker.wants_twin
    assert changes(tracker)[-1] == DesiredChange({"a": 1}, {"a": 1}, 9)


def reads_for(tracker: DesiredTracker, version: int) -> int:
    """Let a change come behind a gap that reads do not fill; return how many are asked for."""
    tracker.on_notification(version, {"a": version})
    known, count = tracker.version, 0
    assert known is not None
    while tracker.wants_twin:
        tracker.on_twin(reading({}, known))
        count += 1
    assert tracker.version == version
    return count


def test_a_gap_stands_after_three_reads_in_a_row():
    tracker = DesiredTracker()
    tracker.on_twin(reading({}, 1))
    assert reads_for(tracker, 9) == MAX_READS - 1, "with the first"
    assert reads_for(tracker, 19) == MAX_READS, "none since the last change"
    tracker = DesiredTracker()
    tracker.on_twin(reading({}, 1))
    tracker.on_connected()
    tracker.on_twin(reading({}, 1))
    assert reads_for(tracker, 9) == MAX_READS - 1, "a connection begins the count anew"


def test_a_change_that_comes_before_the_read_of_a_twin_that_was_made_anew_is_not_missed():
    tracker = DesiredTracker()
    tracker.on_twin(reading({"a": 1}, 50))
    changes(tracker)
    tracker.on_connected()
    tracker.on_notification(2, {"b": 2})
    tracker.on_twin(reading({}, 1))
    assert changes(tracker) == [
        DesiredChange({"a": None}, {}, 1, read=True),
        DesiredChange({"b": 2}, {"b": 2}, 2),
    ]


def test_a_change_that_is_joined_with_a_read_comes_from_a_read():
    tracker = DesiredTracker()
    tracker.on_twin(reading({}, 1))
    changes(tracker)
    for version in range(2, 2 + MAX_WAITING):
        tracker.on_notification(version, {"a": version})
    tracker.on_notification(200, {"a": 200})
    tracker.on_twin(reading({"a": 200}, 200))
    tracker.on_notification(201, {"a": 201})
    found = changes(tracker)
    assert [change.read for change in found] == [False] * (MAX_WAITING - 1) + [True]
    assert (found[-1].version, found[-1].desired) == (201, {"a": 201})


def test_after_a_reconnect_the_read_brings_what_was_missed_as_a_difference():
    tracker = DesiredTracker()
    tracker.on_twin(reading({"a": 1, "b": 1}, 1))
    changes(tracker)
    tracker.on_connected()
    assert tracker.wants_twin
    tracker.on_twin(reading({"a": 2}, 5))
    assert changes(tracker) == [DesiredChange({"a": 2, "b": None}, {"a": 2}, 5, read=True)]
    tracker.on_connected()
    tracker.on_twin(reading({"a": 2}, 5))
    assert changes(tracker) == []  # nothing has changed


def test_a_twin_that_was_made_anew_with_a_lower_version_is_taken():
    tracker = DesiredTracker()
    tracker.on_twin(reading({"a": 1}, 50))
    changes(tracker)
    tracker.on_connected()
    tracker.on_twin(reading({}, 1))
    assert changes(tracker) == [DesiredChange({"a": None}, {}, 1, read=True)]


def test_changes_that_nobody_takes_are_joined_and_the_last_state_stays_right():
    tracker = DesiredTracker()
    tracker.on_twin(reading({}, 1))
    for version in range(2, 2 + 3 * MAX_WAITING):
        tracker.on_notification(version, {str(version % 7): version})
    found = changes(tracker)
    assert len(found) == MAX_WAITING
    state: dict = {}
    for change in found:
        state = merged(state, change.patch)
        assert state == change.desired
    assert state == {str(n % 7): n for n in range(2, 2 + 3 * MAX_WAITING)}


@given(st.lists(st.tuples(SECTIONS, st.sampled_from(["sent", "lost", "cut"])), max_size=12))
def test_a_reader_always_ends_with_the_hubs_state(story):
    """Whatever is lost or cut, and whenever: a last read leaves both sides alike."""
    hub, version = {}, 1
    tracker = DesiredTracker()
    state: dict = {}
    for patch, fate in story:
        if tracker.wants_twin and fate == "sent":
            tracker.on_twin(reading(hub, version))
        hub, version = merged(hub, patch), version + 1
        if fate == "sent":
            tracker.on_notification(version, patch)
        elif fate == "cut":
            tracker.on_connected()
        for change in changes(tracker):
            state = merged(state, change.patch)
            assert state == change.desired
    tracker.on_connected()
    tracker.on_twin(reading(hub, version))
    for change in changes(tracker):
        state = merged(state, change.patch)
    assert state == hub
