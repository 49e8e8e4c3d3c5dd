"""JSON as DPS speaks it, at its limits."""

from typing import Any

import pytest

from mqttws.dps.json_reader import JsonValue, parse_text
from mqttws.dps.json_text import MAX_DEPTH, build_json, parse_json
from mqttws.errors import UsageError


def test_json_is_compact_and_ascii() -> None:
    value = {"a": [1, 2.5, None, True], "\u0159": "\ud83d\ude00"}
    built = build_json(value)
    assert built == b'{"a":[1,2.5,null,true],"\\u0159":"\\ud83d\\ude00"}'
    assert parse_json(built) == parse_json(built.decode()) == {**value, "\u0159": "\U0001f600"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {(1, 2): 3}, b""])
def test_what_has_no_json_form_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_json(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("NaN", "^NaN is not JSON$"),
        ("[Infinity]", "^Infinity is not JSON$"),
        ("[-Infinity]", "^-Infinity is not JSON$"),
        ("[1e999]", "^the number 1e999 is too large$"),
        ("[-1e999]", "^the number -1e999 is too large$"),
        ("9" * 400 + ".5", f"^the number {'9' * 20} is too large$"),
        ("", "Expecting value"),
        ("[", "Expecting value"),
        ("[1] 2", "Extra data"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "^nested too deep; allowed: 100 levels$"),
        ("[" * 100_000, "^nested too deep; allowed: 100 levels$"),
        ("[" * 101 + "1" + "]" * 101, "^nested too deep; allowed: 100 levels$"),
        ('{"a":' * 101 + "1" + "}" * 101, "^nested too deep; allowed: 100 levels$"),
    ],
)
def test_what_json_does_not_have_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), ("-1.5e3", -1500.0), ("1e308", 1e308), ("7", 7), (" null\n", None)],
)
def test_numbers_and_blanks_are_read(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize("begin", ["[", '{"a":'])
def test_a_hundred_levels_are_read(begin: str) -> None:
    end = "]" if begin == "[" else "}"
    assert parse_json(begin * (MAX_DEPTH - 1) + "[]" + end * (MAX_DEPTH - 1))
    depth, value = 0, parse_json(begin * MAX_DEPTH + "1" + end * MAX_DEPTH)
    while isinstance(value, list | dict):
        value = value[0] if isinstance(value, list) else value["a"]
        depth += 1
    assert (depth, value) == (MAX_DEPTH, 1)


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(b'"\xff"')


# Read member by member


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1,\n  x]", "file: line 2, column 3: not JSON: Expecting value"),
        ("[NaN]", "file: not JSON: NaN is not JSON"),
        ("[" * 200 + "]" * 200, "file: not JSON: nested too deep; allowed: 100 levels"),
    ],
)
def test_a_text_that_is_no_json_is_an_error_with_its_place(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_text(text, "file")
    assert str(caught.value) == told


ROOT = JsonValue({"a": {"b": [1]}, "n": None, "t": "x", "e": "", "f": False}, "", "file")


def test_a_value_knows_its_place() -> None:
    inner = ROOT.member("a").member("b").items("a list")[0]
    assert (inner.value, inner.path) == (1, "a.b[0]")
    assert str(inner.fault("wrong")) == "file: a.b[0]: wrong"
    assert str(ROOT.fault("wrong")) == "file: wrong"
    assert ROOT.member("n").missing
    assert ROOT.member("none").missing
    assert not ROOT.member("f").missing


@pytest.mark.parametrize(
    ("name", "read", "expected"),
    [
        ("a", lambda value: value.object("o") is not None, True),
        ("t", lambda value: value.text("t"), "x"),
        ("t", lambda value: value.optional_text("t"), "x"),
        ("n", lambda value: value.optional_text("t"), None),
        ("f", lambda value: value.flag(True), False),
        ("n", lambda value: value.flag(True), True),
        ("none", lambda value: value.flag(False), False),
    ],
)
def test_values_are_read_by_their_kind(name: str, read: Any, expected: object) -> None:
    assert read(ROOT.member(name)) == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("x", "found a string"),
        (1, "found a number"),
        (1.5, "found a number"),
        (True, "found true or false"),
        ([], "found a list"),
        (None, "missing"),
    ],
)
def test_another_kind_is_named_and_not_shown(value: object, found: str) -> None:
    member = JsonValue({"m": value}, "p", "file").member("m")
    reads: list[tuple[Any, type]] = [
        (member.object, type(None)),
        (member.items, list),
        (member.text, str),
    ]
    for read, kind in reads:
        if not isinstance(value, kind) or value is None:
            with pytest.raises(UsageError) as caught:
                read("what it is")
            assert str(caught.value) == f"file: p.m: {found}; expected what it is"
    if not isinstance(value, bool | None):
        with pytest.raises(UsageError, match=f"p.m: {found}; expected true or false"):
            member.flag(False)


def test_an_object_is_named_and_an_empty_text_is_none() -> None:
    with pytest.raises(UsageError, match=r"^file: a: found an object; expected a list$"):
        ROOT.member("a").items("a list")
    with pytest.raises(UsageError, match=r"^file: e: found a string; expected an id$"):
        ROOT.member("e").text("an id")
