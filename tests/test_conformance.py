"""The matrix is complete, names only what exists, and is what the documentation shows."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests import conformance, packet_table, proven
from tests.conformance import LIBRARY, OPEN, Rule
from tests.dps import operations, proofs
from tests.hub import features
from tests.notes import cells

RULES = conformance.read()
BY_ID = {rule.id: rule for rule in RULES}

# How many numbered statements each section of the standard has: 141 in all.
STATEMENTS = {
    "1.5.3": 3, "2.2.2": 2, "2.3.1": 7, "3.1.0": 2, "3.1.2": 24, "3.1.3": 11, "3.1.4": 5,
    "3.2.0": 1, "3.2.2": 6, "3.3.1": 12, "3.3.2": 3, "3.3.4": 1, "3.3.5": 2, "3.6.1": 1,
    "3.8.1": 1, "3.8.3": 4, "3.8.4": 6, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2, "3.10.4": 6,
    "3.12.4": 1, "3.14.1": 1, "3.14.4": 3, "4.1.0": 2, "4.3.1": 1, "4.3.2": 2, "4.3.3": 2,
    "4.4.0": 1, "4.5.0": 2, "4.6.0": 6, "4.7.1": 3, "4.7.2": 1, "4.7.3": 4, "4.8.0": 2,
    "6.0.0": 4, "7.0.0": 2, "7.1.1": 1, "7.1.2": 1,
}  # fmt: skip
UNNUMBERED = 23
WEBSOCKET = 70

PARTIES = {"client", "server", "both"}
LAYERS = {"codec", "client", "server", "transport"}


def test_every_rule_has_its_row_and_no_other_has() -> None:
    assert sum(STATEMENTS.values()) == 141
    expected = {
        f"MQTT-{section}-{number + 1}"
        for section, count in STATEMENTS.items()
        for number in range(count)
    }
    expected |= {f"U-{number + 1}" for number in range(UNNUMBERED)}
    expected |= {f"WS-{number + 1}" for number in range(WEBSOCKET)}
    ids = [rule.id for rule in RULES]
    assert set(ids) ^ expected == set()
    assert [id for id, count in Counter(ids).items() if count > 1] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_row_says_all_there_is_to_say(rule: Rule) -> None:
    assert rule.section
    assert rule.rule
    assert rule.party in PARTIES
    assert rule.layer in LAYERS
    if rule.applies:
        assert rule.enforced
        assert rule.tests
    else:
        assert rule.remark
        assert not rule.tests


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_row_names_only_what_exists(rule: Rule) -> None:
    for where in rule.enforced:
        assert where in (LIBRARY, OPEN) or conformance.has_name(where), where


def test_no_row_is_left_open() -> None:
    assert [rule.id for rule in RULES if rule.is_open] == []


def test_only_what_dps_does_not_do_is_not_applicable() -> None:
    assert {rule.layer for rule in RULES if not rule.applies} <= {"server", "transport"}


def test_every_mark_of_a_test_names_a_row_of_a_table() -> None:
    known = {*BY_ID, *(operation.name for operation in operations.read())}
    known |= {f"DPS-{row.id}/{side}" for row in proofs.read() for side in ("service", "device")}
    known |= {feature.id for feature in features.read()}
    marks = proven.tests_by_name()
    assert len(marks) > 300
    assert sorted(marks.keys() - known) == []


def test_every_mark_stands_where_it_is_read() -> None:
    found = {path: proven.unread(path) for path in proven.TESTS.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


UNREAD = """
import pytest

pytestmark = pytest.mark.rule("MQTT-1")
ROWS = [pytest.param(1, marks=pytest.mark.rule("MQTT-2"))]
NAME = "MQTT-3"

@pytest.mark.parametrize("row", ROWS)
@pytest.mark.rule(NAME)
@pytest.mark.rule("MQTT-4")
def test_one(row): ...

class TestTwo:
    @pytest.mark.rule("MQTT-5")
    def test_two(self): ...

@pytest.mark.rule("MQTT-6")
def helper(): ...
"""


def test_a_mark_in_another_place_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test_unread.py"
    path.write_text(UNREAD)
    lines = UNREAD.splitlines()
    assert sorted(lines[number - 1].strip() for number in proven.unread(path)) == [
        '@pytest.mark.rule("MQTT-5")',
        '@pytest.mark.rule("MQTT-6")',
        "@pytest.mark.rule(NAME)",
        'ROWS = [pytest.param(1, marks=pytest.mark.rule("MQTT-2"))]',
        'pytestmark = pytest.mark.rule("MQTT-1")',
    ]


def test_every_rule_that_the_packet_table_cites_is_in_the_matrix() -> None:
    cited = {row.rule for row in packet_table.BAD}
    cited |= {row.rule for row in packet_table.UNUSABLE if row.rule}
    assert cited <= set(BY_ID)


def test_the_page_has_every_rule_with_its_places_and_tests() -> None:
    rows = cells(conformance.render(RULES))
    assert [row[0] for row in rows] == [rule.id for rule in RULES]
    for rule, (_, text, _, enforced, tests, _) in zip(RULES, rows, strict=True):
        assert text.replace("\\|", "|") == rule.rule.strip()
        assert re.findall("`(.+?)`", enforced) == list(rule.enforced)
        assert re.findall("`(.+?)`", tests) == list(rule.tests)


def test_the_checks_can_fail() -> None:
    assert not conformance.has_name("wire.publishing:Publish.nothing")
    assert not conformance.has_name("wire.nothing:Publish")
    assert conformance.has_name("wire.publishing:Publish.decode")
    assert proven.tests_of("MQTT-0.0.0-1") == ()
    assert "wire/test_packets.py::test_bytes_decode_to_their_packet" in proven.tests_of(
        "MQTT-1.5.3-3"
    )
