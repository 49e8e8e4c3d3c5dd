import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws.dps.names import (
    Username,
    build_username,
    parse_username,
    registration_id_fault,
)
from mqttws.errors import UsageError

from .world import SCOPE, VECTORS


@pytest.mark.parametrize("case", VECTORS["registration_id_cases"], ids=lambda c: c["id"][:20])
def test_registration_ids_are_judged_as_the_vectors_say(case):
    assert (registration_id_fault(case["id"]) is None) == case["valid"]


def test_a_fault_is_one_printable_line():
    fault = registration_id_fault("a\n\ud800")
    assert fault is not None
    assert fault.isascii()
    assert fault.isprintable()


@pytest.mark.parametrize("case", VECTORS["usernames"], ids=lambda c: c["style"])
def test_user_names_of_every_sdk_are_read(case):
    parsed = parse_username(case["username"])
    if "expected" in case:
        assert parsed is None
        return
    assert parsed is not None
    assert (parsed.id_scope, parsed.registration_id) == (SCOPE, "dev-01")
    assert f"api-version={parsed.api_version}" in case["username"]


@pytest.mark.rule("DPS-T23/device")
def test_the_documented_user_name_is_built():
    documented = VECTORS["usernames"][0]["username"]
    assert build_username(SCOPE, "dev-01") == documented


def test_a_client_version_is_quoted_whole():
    node = next(case for case in VECTORS["usernames"] if case["style"] == "node 1.9.1")
    built = build_username(SCOPE, "dev-01", client_version="azure-iot-provisioning-device/1.9.1")
    assert built == node["username"]


def test_pairs_come_in_any_order_and_unknown_ones_are_passed_over():
    parsed = parse_username("S/registrations/d/x=1&y&api-version=2021-06-01&api-version=9&=")
    assert parsed == Username("S", "d", "2021-06-01")


@pytest.mark.parametrize(
    "text",
    ["", "S", "S/registrations/d", "S/registrations/d/", "S/registrations//api-version=1",
     "/registrations/d/api-version=1", "S/registrations/d/api-version=",
     "hub/d/?api-version=1", "S/registrations/d/?api-version=1"],
)  # fmt: skip
def test_other_user_names_are_refused(text):
    assert parse_username(text) is None


@pytest.mark.parametrize(
    ("scope", "device"),
    [("", "d"), ("a/b", "d"), ("a\n", "d"), ("\u0159", "d"), ("S", "d/e"), ("S", 5)],
)
def test_a_user_name_is_not_built_from_what_cannot_be_one(scope, device):
    with pytest.raises(UsageError):
        build_username(scope, device)


def test_an_id_scope_is_not_held_to_its_usual_form():
    parsed = parse_username(build_username("my-scope", "dev-01"))
    assert parsed == Username("my-scope", "dev-01", "2019-03-31")


@given(st.text())
def test_any_text_is_read_or_refused(text):
    registration_id_fault(text)
    parse_username(text)
    parse_username(f"S/registrations/{text}")
