"""Topic names and topic filters: what they may be, and which filter matches which name.

Knows MQTT 3.1.1 section 4.7. Does not know packets, sessions or who subscribed to what.
"""

from ..errors import UsageError
from ..text import shown
from ._given import Given
from .fields import MAX_FIELD_SIZE, Fault


def topic_name_fault(topic: Given[str]) -> Fault | None:
    """Return a topic name's fault: the rule, what was found, what is allowed; None if valid."""
    fault = _text_fault(topic, "topic name")
    if fault is None and ("#" in topic or "+" in topic):
        return ("MQTT-3.3.2-2", f"a wildcard in topic name {shown(topic)}", "no '#' and no '+'")
    return fault


def topic_filter_fault(topic_filter: Given[str]) -> Fault | None:
    """Return a topic filter's fault, as ``topic_name_fault`` does; None if valid."""
    fault = _text_fault(topic_filter, "topic filter")
    if fault is not None or ("#" not in topic_filter and "+" not in topic_filter):
        return fault
    levels = topic_filter.split("/")
    for number, level in enumerate(levels, 1):
        if "#" in level and (level != "#" or number < len(levels)):
            return (
                "MQTT-4.7.1-2",
                f"'#' inside topic filter {shown(topic_filter)}",
                "'#' alone as the last level",
            )
        if "+" in level and level != "+":
            return (
                "MQTT-4.7.1-3",
                f"'+' beside other characters in topic filter {shown(topic_filter)}",
                "'+' alone in its level",
            )
    return None


def _text_fault(text: Given[str], what: str) -> Fault | None:
    """Say what is wrong with a text that is to be a topic name or filter."""
    if not isinstance(text, str):
        return ("MQTT-4.7.3-1", f"{what} of type {type(text).__name__}", "str")
    if not text:
        return ("MQTT-4.7.3-1", f"an empty {what}", "at least one character")
    if "\0" in text:
        return ("MQTT-4.7.3-2", f"U+0000 in {what} {shown(text)}", "no U+0000")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return ("MQTT-1.5.3-1", f"a lone surrogate in {what} {shown(text)}", "well-formed text")
    if size > MAX_FIELD_SIZE:
        return ("MQTT-4.7.3-3", f"{what} of {size} bytes", f"at most {MAX_FIELD_SIZE} bytes")
    return None


def matches(topic_filter: Given[str], topic: Given[str]) -> bool:
    """Tell whether a topic name matches a topic filter (both valid).

    Levels are compared character by character, with no normalization [MQTT-4.7.3-4]; a filter that
    starts with a wildcard does not match a name that starts with ``$`` [MQTT-4.7.2-1]; ``a/#``
    matches ``a`` too (U-22).

    Raises:
        UsageError: one of them is no str.
    """
    if not isinstance(topic_filter, str):
        raise UsageError(f"topic_filter: found {type(topic_filter).__name__}; allowed: a str")
    if not isinstance(topic, str):
        raise UsageError(f"topic: found {type(topic).__name__}; allowed: a str")
    if topic.startswith("$") and topic_filter[:1] in ("#", "+"):
        return False
    wanted = topic_filter.split("/")
    found = topic.split("/")
    if wanted[-1] == "#":
        del wanted[-1]
        if len(found) < len(wanted):
            return False
    elif len(found) != len(wanted):
        return False
    return all(want in ("+", level) for want, level in zip(wanted, found, strict=False))
