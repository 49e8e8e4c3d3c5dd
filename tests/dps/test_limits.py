"""Names, topics, tokens, certificates and settings at the limits of what they may be."""

import base64
from typing import Any

import pytest

from mqttws.dps.csr import read_csr
from mqttws.dps.issuance import (
    LONGEST_VALIDITY,
    CredentialPolicy,
    decode_der,
    encode_der,
    knows_issuance,
    read_chain,
)
from mqttws.dps.names import (
    build_username,
    check_registration_id,
    is_certificate_name,
    is_device_id,
    is_host_name,
    registration_id_fault,
)
from mqttws.dps.sas import Token, read_token, token_fault
from mqttws.dps.settings import Settings
from mqttws.dps.store import Table
from mqttws.dps.tables import (
    CAS,
    DEVICES,
    FAULTS,
    GROUPS,
    INDIVIDUALS,
    MARKS,
    SIGNERS,
    Signer,
    device_alias,
)
from mqttws.dps.throttle import Throttle
from mqttws.dps.topics import Poll, Register, Response, parse_request_topic, parse_response_topic
from mqttws.errors import MalformedAnswer, UsageError

from .test_directory import record
from .world import KEY, SCOPE

# Names


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("h", True),
        ("my_hub-1.azure-devices.net", True),
        ("a" * 63 + ".b", True),
        ("a" * 64 + ".b", False),
        (".".join(["a" * 62] * 4) + ".b", True),
        (".".join(["a" * 62] * 4) + ".bc", False),
        ("-a", False),
        ("a-", False),
        ("a..b", False),
        ("a.", False),
        ("", False),
    ],
)
def test_a_host_name_has_253_characters_in_labels_of_63(text: str, good: bool) -> None:
    assert len(text) in (253, 254) or len(text) < 100
    assert is_host_name(text) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [("d" * 128, True), ("d" * 129, False), ("", False), ("!.0~", True), ("a/b", False),
     ("a b", False), ("\x7f", False)],
)  # fmt: skip
def test_a_device_id_has_128_characters_without_blank_and_slash(text: str, good: bool) -> None:
    assert is_device_id(text) is good


@pytest.mark.parametrize(
    ("text", "good"), [("a" * 64, True), ("a" * 65, False), ("", False), ("a.b_c-1", True)]
)
def test_a_certificates_name_has_64_characters(text: str, good: bool) -> None:
    assert is_certificate_name(text) is good


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the registration id is empty"),
        ("x" * 129, "a registration id of 129 characters; allowed: at most 128"),
        ("a/", "'/' in the registration id; allowed: letters, digits and -._:"),
        ("\u0159", r"'\u0159' in the registration id; allowed: letters, digits and -._:"),
        ("a_", "the registration id ends in '_'; allowed: a letter, a digit or '-'"),
        ("a-", None),
        ("x" * 128, None),
    ],
)
def test_a_registration_ids_fault_is_said(text: str, fault: str | None) -> None:
    assert registration_id_fault(text) == fault
    if fault is None:
        assert check_registration_id(text) == text
        return
    with pytest.raises(UsageError) as caught:
        check_registration_id(text)
    assert str(caught.value) == fault


def test_a_user_name_quotes_what_stands_in_it() -> None:
    assert build_username("S", "d", "2019/03", "a b/1&2") == (
        "S/registrations/d/api-version=2019%2F03&ClientVersion=a%20b%2F1%262"
    )
    for scope in ("a b\t", "\u0159", "a/b", ""):
        with pytest.raises(UsageError, match=r"id scope .*; allowed: what DPS shows"):
            build_username(scope, "d")
    assert build_username("a b", "d").startswith("a b/registrations/d/")


# Topics

REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid="


def test_a_request_topic_has_65000_bytes() -> None:
    longest = REGISTER + "x" * (65_000 - len(REGISTER))
    assert parse_request_topic(longest) == Register(longest[len(REGISTER) :])
    assert parse_request_topic(longest + "x") is None
    wide = REGISTER + "\u0159" * ((65_000 - len(REGISTER)) // 2)
    assert isinstance(parse_request_topic(wide), Register)
    assert parse_request_topic(wide + "\u0159") is None
    assert isinstance(parse_request_topic(REGISTER + "\ud800"), Register)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("999999999", 999_999_999.0),
        ("1000000000", None),
        ("%33", 3.0),
        ("\u0663", None),
    ],
)
def test_a_retry_after_has_nine_digits(text: str, seconds: float | None) -> None:
    topic = f"$dps/registrations/res/202/?$rid=a%20b&retry-after={text}"
    assert parse_response_topic(topic) == Response(202, "a b", seconds)


def test_properties_may_come_in_any_order() -> None:
    poll = "$dps/registrations/GET/iotdps-get-operationstatus/?operationId=a%2Fb=c&$rid=1"
    assert parse_request_topic(poll) == Poll("1", "a/b=c")
    assert parse_request_topic(f"{poll.partition('?')[0]}?$rid=1") == Poll("1", "")
    answer = parse_response_topic("$dps/registrations/res/202/retry-after=3&x&$rid=")
    assert answer == Response(202, "", 3.0)


# Tokens


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the password does not begin with SharedAccessSignature"),
        ("Bearer sr=a&sig=b&se=1", "the password does not begin with SharedAccessSignature"),
        ("SharedAccessSignature sig=b&se=1", "the token has no sr"),
        ("SharedAccessSignature sr=a&sig=&se=1", "the token has no sig"),
        ("SharedAccessSignature sr=a&sig=b", "the token has no se"),
        ("SharedAccessSignature sr=a&sig=b&se=1&se=1", "the token has two fields 'se'"),
        ("SharedAccessSignature sr=a&sig=b&se=1.5",
         "the token's se is '1.5'; allowed: Unix time in whole seconds"),
        ("SharedAccessSignature sr=a&sig=b&se=" + "1" * 16,
         "the token's se is '1111111111111111'; allowed: Unix time in whole seconds"),
        ("SharedAccessSignature sr=a&sig=b=&se=1", "the token's sig is not percent-encoded"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_tokens_form_is_said(text: str, found: str) -> None:
    assert read_token(text) == found
    assert token_fault(text, SCOPE, "d", [KEY], 0.0) == found


def test_a_tokens_fields_are_read_as_they_stand() -> None:
    text = "  SharedAccessSignature   sr=a%2fb&sig=x%2By+%3D&se=999999999999999&skn=a%20b \n"
    assert read_token(text) == Token("a%2fb", "x+y+=", 999_999_999_999_999, "a b")
    assert read_token("SharedAccessSignature sr=a=b&sig=x&se=1") == Token("a=b", "x", 1, "")


def test_half_a_character_in_a_token_signs_nothing() -> None:
    for sr, sig in ((f"{SCOPE}%2Fregistrations%2Fd&x=\ud800", "A"), (f"{SCOPE}/\ud800", "\ud800")):
        token = read_token(f"SharedAccessSignature sr={sr}&sig={sig}&se=9")
        assert isinstance(token, Token)
        assert not token.is_signed_by(KEY)
        assert token.signed.endswith(b"\n9")


@pytest.mark.parametrize(
    ("resource", "fault"),
    [
        ("nothing", "the token is for 'nothing'; allowed: {idScope}/registrations/{id}"),
        ("other%2Fregistrations%2Fd", "the token is for id scope 'other'"),
        (f"{SCOPE}/registrations/other", "the token is for registration id 'other'"),
    ],
)
def test_a_token_for_something_else_says_for_what(resource: str, fault: str) -> None:
    token = Token(resource, "AAAA", 2, "")
    assert token_fault(token, SCOPE, "d", [KEY], 1.0) == fault


# Certificates issued


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["AAAA"] * 11, "chain: found 11 members; allowed: a list of up to 10 texts"),
        ("AAAA", "chain: found 'AAAA'; allowed: a list of up to 10 texts"),
        (["AAAA", 5], r"chain\[1\]: found 5; allowed: base64 of a certificate's DER form"),
        (["AAA"], r"chain\[0\]: found a text of 3 characters"),
        ([""], r"chain\[0\]: found a text of 0 characters"),
    ],
)
def test_a_chain_that_cannot_be_one_is_described(value: object, told: str) -> None:
    with pytest.raises(MalformedAnswer, match=f"^{told}"):
        read_chain({"chain": value}, "chain")


def test_a_chain_has_ten_certificates_and_may_be_missing() -> None:
    assert read_chain({"chain": ["AAAA"] * 10}, "chain") == (b"\0\0\0",) * 10
    for members in ({}, {"chain": None}, {"chain": []}):
        assert read_chain(members, "chain") == ()
    assert encode_der(b"\0\0\0") == "AAAA"
    assert decode_der("AA AA") is None


@pytest.mark.parametrize(
    ("version", "known"),
    [("2025-06-30", False), ("2025-07-01-preview", True), ("2025-07-01", True),
     ("2021-11-01-preview", False), ("2026-11-01", True)],
)  # fmt: skip
def test_certificates_are_issued_since_2025(version: str, known: bool) -> None:
    assert knows_issuance(version) is known
    assert read_csr({}, version) is read_csr({"csr": None}, version) is None


@pytest.mark.parametrize(
    "members",
    [
        {"validity": 1},
        {"validity": LONGEST_VALIDITY},
        {"intermediates": 0},
        {"intermediates": 3},
    ],
)
def test_a_policy_may_be_at_its_limits(members: dict[str, Any]) -> None:
    policy = CredentialPolicy(**members)
    assert {name: getattr(policy, name) for name in members} == members


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"validity": 0.99}, "validity 0.99; allowed: 1 second to 90 days"),
        ({"validity": LONGEST_VALIDITY + 1}, "validity 7776001.0; allowed: 1 second to 90 days"),
        ({"validity": float("nan")}, "validity nan; allowed: 1 second to 90 days"),
        ({"validity": True}, "validity True; allowed: 1 second to 90 days"),
        ({"intermediates": -1}, "intermediates -1; allowed: 0 to 3"),
        ({"intermediates": 1.0}, "intermediates 1.0; allowed: 0 to 3"),
        ({"name": 5}, "name 5; allowed: a name"),
    ],
)
def test_a_policy_beyond_its_limits_is_refused(members: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        CredentialPolicy(**members)
    assert str(caught.value) == f"credential policy: {told}"


# Settings


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"retry_after": -1}, "retry_after -1; allowed: whole seconds"),
        ({"retry_after": 1.5}, "retry_after 1.5; allowed: whole seconds"),
        ({"registers_per_minute": 0}, "registers_per_minute: a limit of 0; allowed: at least 1"),
        ({"polls_per_10s": 0}, "polls_per_10s: a limit of 0; allowed: at least 1"),
        ({"weights": {"h": 0}}, "the weight of 'h' is 0; allowed: 1 to 1000"),
        ({"weights": {"h": 1001}}, "the weight of 'h' is 1001; allowed: 1 to 1000"),
        ({"weights": {"h": 1.5}}, "the weight of 'h' is 1.5; allowed: 1 to 1000"),
    ],
)
def test_a_setting_beyond_its_limits_is_refused(members: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings("S", ("h",), **members)
    assert str(caught.value) == told


def test_settings_may_be_at_their_limits() -> None:
    made = Settings.of("S", {"h": 1, "i": 1000}, retry_after=0, registers_per_minute=1)
    assert (made.hubs, made.weights) == (("h", "i"), {"h": 1, "i": 1000})
    plain = Settings.of("S", ["h"], polls_per_10s=1)
    assert (plain.hubs, plain.weights, plain.polls_per_10s) == (("h",), {}, 1)


# Limits on how often


def test_a_throttle_waits_whole_seconds_and_one_at_least() -> None:
    throttle = Throttle(1, 10.0)
    assert throttle.take("a", 0.0) == 0
    assert [throttle.take("a", now) for now in (0.5, 9.0, 9.5, 9.999)] == [10, 1, 1, 1]
    assert throttle.take("a", 10.0) == 0
    with pytest.raises(UsageError, match="a limit of 0; allowed: at least 1"):
        Throttle(0, 10.0)


# Rows


def test_a_device_is_found_by_its_group_and_by_its_name_at_its_hub() -> None:
    device = record(1)
    assert DEVICES.alias(device) == device_alias("h", "d1") == "h\nd1"
    assert DEVICES.alias(type(device)()) == DEVICES.group(type(device)()) == ""
    assert DEVICES.group(device) == ""


def test_a_signer_is_found_by_its_name_and_read_as_it_was_written() -> None:
    signer = Signer("sha256 x", "group\u0159")
    assert SIGNERS.alias(signer) == "sha256 x"
    assert SIGNERS.decode(SIGNERS.encode(signer)) == signer
    assert MARKS.decode(MARKS.encode(7)) == 7


def test_users_of_a_store_keep_the_orders_of_faults_alone() -> None:
    tables: list[Table[Any]] = [INDIVIDUALS, GROUPS, DEVICES, CAS, SIGNERS, MARKS]
    assert not any(table.kept("") for table in tables)
    assert FAULTS.kept("")
    assert Table("t", str, str).group("x") == Table("t", str, str).alias("x") == ""


def test_a_ca_is_written_as_base64() -> None:
    from mqttws.dps.records import CaCertificate

    ca = CaCertificate("Ca", b"\xff\0", "e", "then", "now")
    assert base64.b64encode(b"\xff\0").decode() in CAS.encode(ca)
    assert CAS.decode(CAS.encode(ca)) == ca
