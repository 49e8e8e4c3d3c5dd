"""Topic names, topic filters, and which filter matches which name."""

import pytest

from mqttws.wire import matches, topic_filter_fault, topic_name_fault


@pytest.mark.rule("MQTT-4.7.1-1", "MQTT-4.7.3-1", "U-23")
@pytest.mark.parametrize("topic", ["a", "/", "a/b", "/a", "a/", "//", " ", "a b/ c", "$SYS/x", "é"])
def test_a_topic_name_is_any_text_without_wildcards(topic: str) -> None:
    assert topic_name_fault(topic) is None
    assert topic_filter_fault(topic) is None


@pytest.mark.rule("MQTT-3.3.2-2", "MQTT-4.7.1-1")
@pytest.mark.parametrize("topic", ["#", "+", "a/#", "+/a", "a+", "a#b"])
def test_a_wildcard_in_a_topic_name_is_a_fault(topic: str) -> None:
    fault = topic_name_fault(topic)
    assert fault is not None
    assert fault[0] == "MQTT-3.3.2-2"
    assert repr(topic) in fault[1]


@pytest.mark.rule("MQTT-4.7.1-2", "MQTT-4.7.1-3")
@pytest.mark.parametrize(
    "topic_filter", ["#", "a/#", "/#", "+", "+/a", "a/+/b", "/+", "+/+/#", "a/+"]
)
def test_a_wildcard_that_is_a_whole_level_is_allowed(topic_filter: str) -> None:
    assert topic_filter_fault(topic_filter) is None


@pytest.mark.rule("MQTT-4.7.1-2")
@pytest.mark.parametrize(
    "topic_filter", ["a#", "a/#/b", "#/a", "##", "a/b#", "#a", "#/", "+#", "a/#+"]
)
def test_a_hash_stands_alone_and_last(topic_filter: str) -> None:
    fault = topic_filter_fault(topic_filter)
    assert fault is not None
    assert fault[0] == "MQTT-4.7.1-2"


@pytest.mark.rule("MQTT-4.7.1-3")
@pytest.mark.parametrize("topic_filter", ["a+", "+a", "a/+b/c", "++", "a/b+", "+a/#"])
def test_a_plus_stands_alone_in_its_level(topic_filter: str) -> None:
    fault = topic_filter_fault(topic_filter)
    assert fault is not None
    assert fault[0] == "MQTT-4.7.1-3"


@pytest.mark.rule("MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-4.7.3-3", "MQTT-1.5.3-1")
@pytest.mark.parametrize("fault_of", [topic_name_fault, topic_filter_fault])
def test_what_is_no_text_of_the_standard_is_neither(fault_of) -> None:  # type: ignore[no-untyped-def]
    for text, rule in [
        ("", "MQTT-4.7.3-1"),
        (None, "MQTT-4.7.3-1"),
        (b"a", "MQTT-4.7.3-1"),
        ("a\0", "MQTT-4.7.3-2"),
        ("\ud800", "MQTT-1.5.3-1"),
        ("é" * 32768, "MQTT-4.7.3-3"),
        ("a" * 65536, "MQTT-4.7.3-3"),
    ]:
        fault = fault_of(text)
        assert fault is not None
        assert fault[0] == rule
        assert all(fault)
    assert fault_of("a" * 65535) is None
    assert fault_of("é" * 32767) is None


@pytest.mark.rule("MQTT-3.3.2-3", "U-22", "U-23")
@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("#", "a"),
        ("#", "a/b/c"),
        ("#", "/"),
        ("a/#", "a"),
        ("a/#", "a/b"),
        ("a/#", "a/b/c"),
        ("a/#", "a/"),
        ("+", "a"),
        ("+", " "),
        ("+/+", "/a"),
        ("/+", "/a"),
        ("+/b", "a/b"),
        ("a/+/c", "a/b/c"),
        ("a/+", "a/"),
        ("+/#", "a"),
        ("+/#", "a/b"),
        ("$dps/#", "$dps/x"),
        ("$dps/#", "$dps"),
        ("$dps/+", "$dps/x"),
        ("a/$x", "a/$x"),
        ("+/$x", "a/$x"),
        ("/#", "/"),
        ("/", "/"),
    ],
)
def test_a_filter_matches(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic) is True


@pytest.mark.rule("MQTT-4.7.2-1", "MQTT-4.7.3-4", "U-23")
@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [
        ("a", "b"),
        ("a", "A"),
        ("a", "a/"),
        ("a", "/a"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/#", "b"),
        ("a/#", "ab"),
        ("a/#", "b/a"),
        ("a/b/#", "a"),
        ("+", "/a"),
        ("+", "a/b"),
        ("+", ""),
        ("a/+", "a"),
        ("a/+", "a/b/c"),
        ("#", "$dps/x"),
        ("#", "$"),
        ("+/x", "$dps/x"),
        ("+/#", "$dps/x"),
        ("\u00e9", "e\u0301"),
        ("a ", "a"),
        ("/", "//"),
    ],
)
def test_a_filter_does_not_match(topic_filter: str, topic: str) -> None:
    if topic:
        assert matches(topic_filter, topic) is False
    else:
        assert topic_name_fault(topic) is not None
