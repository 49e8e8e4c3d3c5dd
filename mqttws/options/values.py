"""Tests of values: an object is judged by its class's name, or by its members."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .option import MAX_SECONDS, Test


def or_none(test: Test) -> Test:
    """Return a test that takes None too."""

    def either(value: object) -> bool:
        return value is None or test(value)

    return _with_choices(either, getattr(test, "choices", ()))


def is_bool(value: object) -> bool:
    """Whether it is True or False."""
    return isinstance(value, bool)


def is_text(value: object) -> bool:
    """Whether it is a str."""
    return isinstance(value, str)


def is_some_text(value: object) -> bool:
    """Whether it is a str of more than white space."""
    return isinstance(value, str) and bool(value.strip())


def is_function(value: object) -> bool:
    """Whether a value can be called."""
    return callable(value)


def is_number(value: object) -> bool:
    """Whether it is an int or a float; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_seconds(value: Any) -> bool:
    """Whether it is a number of seconds above 0."""
    return is_number(value) and 0 < value < MAX_SECONDS


def is_seconds_or_0(value: Any) -> bool:
    """Whether it is a number of seconds, 0 or more."""
    return is_number(value) and 0 <= value < MAX_SECONDS


def whole(least: int, most: int) -> Test:
    """Return a test for an int between two limits, both allowed."""

    def test(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return test


def one_of(*values: str) -> Test:
    """Return a test for a str that is one of these."""

    def test(value: object) -> bool:
        return isinstance(value, str) and value in values

    return _with_choices(test, values)


def _with_choices(test: Test, choices: tuple[str, ...]) -> Test:
    """Note the words that a test takes, for lists of them."""
    if choices:
        test.choices = choices  # type: ignore[attr-defined]
    return test


def is_path(value: object) -> bool:
    """Whether it is the path of a file or folder."""
    return (isinstance(value, str) and bool(value)) or has("__fspath__")(value)


def is_file(value: object) -> bool:
    """Whether it is the path of a file, as text."""
    if hasattr(type(value), "__fspath__"):
        value = value.__fspath__()  # type: ignore[attr-defined]
    return isinstance(value, str) and bool(value) and "\0" not in value


def is_mapping(value: object) -> bool:
    """Whether it is a mapping, such as a dict."""
    return isinstance(value, Mapping)


def is_json(value: object) -> bool:
    """Whether it has a JSON form; names of members are text."""
    json.dumps(value, allow_nan=False)
    return _names_are_text(value)


def _names_are_text(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _names_are_text(of) for name, of in value.items())
    return not isinstance(value, list | tuple) or all(map(_names_are_text, value))


def is_json_object(value: object) -> bool:
    """Whether it is a mapping with a JSON form."""
    return isinstance(value, Mapping) and is_json(dict(value))


def instance(*names: str) -> Test:
    """Return a test for classes by module and name, such as ``ssl.SSLContext``."""
    return lambda value: any(
        f"{kind.__module__}.{kind.__qualname__}" in names for kind in type(value).__mro__
    )


def has(*members: str) -> Test:
    """Return a test for an object, not a class, that has these members."""
    return lambda value: (
        not isinstance(value, type) and all(hasattr(value, name) for name in members)
    )


def is_iterable(value: object) -> bool:
    """Whether it can be iterated; text and mappings are none."""
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping)


def is_sequence(value: object) -> bool:
    """Whether it is a list or a tuple, or another sequence; text is none."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def is_proxy(value: object) -> bool:
    """Whether it is a URL or a ProxyConfig."""
    return is_some_text(value) or instance("mqttws.net.proxy.ProxyConfig")(value)
