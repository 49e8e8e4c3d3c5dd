"""Queries: each word and sign that is served, and the place at which all else is refused."""

from typing import Any

import pytest

from mqttws.hub.service.codes import Code, Fault
from mqttws.hub.service.query import Query, parse_query

ROWS: list[dict[str, Any]] = [
    {"deviceId": "a", "n": 1, "on": True, "nil": None, "tags": {"x": "c"}},
    {"deviceId": "b", "n": 2.5, "on": False},
    {"deviceId": "c", "n": "2"},
]


def found(where: str, source: str = "devices") -> str:
    query = parse_query(f"SELECT * FROM {source} WHERE {where}")
    assert isinstance(query, Query), query
    return "".join(row["deviceId"] for row in query.rows(ROWS))


def refused_at(text: str) -> str:
    fault = parse_query(text)
    assert isinstance(fault, Fault)
    assert fault.code is Code.ArgumentInvalid
    return fault.message.removeprefix("the query cannot be read at ")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("n = 1", "a"),
        ("n != 1", "bc"),
        ("n <> 1", "bc"),
        ("n < 2", "a"),
        ("n <= 2.5", "ab"),
        ("n > 1", "b"),
        ("n >= 1", "ab"),
        ("on = true", "a"),
        ("on = FALSE", "b"),
        ("nil = null", "a"),
        ("NOT nil = null", "bc"),
        ("IS_DEFINED(nil)", "a"),
        ("tags.x = 'c'", "a"),
        ("deviceId = 'it\\'s'", ""),
        ("deviceId IN ['a', 'c']", "ac"),
        ("deviceId IN ['b']", "b"),
        ("n = 1 OR n = 2.5", "ab"),
        ("n = 1 OR n = 2.5 AND on = true", "a"),
        ("(n = 1 OR n = 2.5) AND on = false", "b"),
        (" AND ".join(["n = 1"] * 150), "a"),
        ("(" * 99 + "n = 1" + ")" * 99, "a"),
    ],
)
def test_a_condition_finds(where: str, expected: str) -> None:
    assert found(where) == expected


@pytest.mark.parametrize("source", ["devices", "DEVICES", "devices c", "devices AS d"])
def test_a_source_may_have_another_name(source: str) -> None:
    assert found("n = 1", source) == "a"


def test_the_source_is_devices_or_modules() -> None:
    for source, modules in (("devices", False), ("devices.modules", True)):
        query = parse_query(f"SELECT * FROM {source}")
        assert isinstance(query, Query)
        assert query.modules is modules
        assert query.rows(ROWS) == ROWS


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("COUNT()", {"count": 3}),
        ("COUNT(*)", {"count": 3}),
        ("count(*) AS total", {"total": 3}),
    ],
)
def test_devices_are_counted(what: str, expected: dict[str, int]) -> None:
    query = parse_query(f"SELECT {what} FROM devices")
    assert isinstance(query, Query)
    assert query.rows(ROWS) == [expected]


def test_a_condition_is_true_or_false() -> None:
    for where, expected in (("n < 'x'", False), ("other = 1", False), ("n = 1", True)):
        query = parse_query(f"SELECT * FROM devices WHERE {where}")
        assert isinstance(query, Query)
        assert query.matches(ROWS[0]) is expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "'its end'"),
        ("SELECT", "'its end'"),
        ("SELECT * WHERE", "'WHERE'"),
        ("SELECT * FROM", "'its end'"),
        ("SELECT * FROM jobs", "'jobs'"),
        ("SELECT * FROM devices x", "'x'"),
        ("SELECT * FROM devices AS", "'its end'"),
        ("SELECT * FROM devices c c", "'c'"),
        ("SELECT = FROM devices", "'='"),
        ("SELECT a, FROM devices AS", "'devices'"),
        ("SELECT COUNT FROM devices", "'FROM'"),
        ("SELECT * FROM devices WHERE n ( 1", "'('"),
        ("SELECT * FROM devices WHERE n [ 1", "'['"),
        ("SELECT * FROM devices WHERE n = other", "'other'"),
        ("SELECT * FROM devices WHERE n = )", "')'"),
        ("SELECT * FROM devices WHERE n IN 1", "'1'"),
        ("SELECT * FROM devices WHERE n IN [1", "'its end'"),
        ("SELECT * FROM devices WHERE IS_DEFINED n", "'n'"),
        ("SELECT * FROM devices WHERE (n = 1", "'its end'"),
        ("SELECT * FROM devices WHERE n = 1 n", "'n'"),
        ("SELECT * FROM devices WHERE n = ;", "' ;'"),
        (
            "SELECT * FROM devices WHERE " + "(" * 100 + "n = 1" + ")" * 100,
            "'too many parentheses'",
        ),
        (
            "SELECT * FROM devices WHERE " + "n = 1 AND " * 9 + "(" * 100 + "n = 1" + ")" * 100,
            "'too many parentheses'",
        ),
    ],
)
def test_a_query_is_refused_at_its_place(text: str, place: str) -> None:
    assert refused_at(text) == place
