import base64
import hmac
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqttws.dps.sas import (
    Token,
    decode_key,
    derive_device_key,
    parse_token,
    sign_token,
    token_fault,
)
from mqttws.errors import UsageError

from .world import EXPIRY, KEY, OTHER_KEY, SCOPE, VECTORS, b64

NOW = EXPIRY - 60.0


def fault(token, registration_id="dev-01", keys=(KEY,), unix_now=NOW, leeway=0.0):
    return token_fault(token, SCOPE, registration_id, keys, unix_now, leeway)


def case_name(case):
    return f"{case['case']}-{case.get('style', '')}"


@pytest.mark.parametrize("case", VECTORS["derived_keys"], ids=lambda c: c["registration_id"][:40])
def test_device_keys_are_derived_as_documented(case):
    group_key = decode_key(VECTORS["master_keys"][case["master"]]["b64"])
    assert b64(derive_device_key(group_key, case["registration_id"])) == case["derived_key"]


@pytest.mark.rule("DPS-T2/service", "DPS-T3/service", "DPS-T4/service")
@pytest.mark.parametrize("case", VECTORS["sas_tokens"], ids=case_name)
def test_the_token_of_every_sdk_is_good(case):
    """Rows 2, 3 and 4: ``skn`` may be absent or empty; ``sr`` counts as written."""
    keys = [decode_key(case["key_b64"])]
    assert fault(case["token"], case["registration_id"], keys) is None
    token = parse_token(case["token"])
    assert token is not None
    assert token.resource_text == case["sr_as_sent"]
    assert token.signature == case["signature_b64"]
    assert token.expiry == EXPIRY


SIGNED_OUR_WAY = [case for case in VECTORS["sas_tokens"] if case["style"] in ("doc", "python")]


@pytest.mark.rule("DPS-T3/device", "DPS-T4/device")
@pytest.mark.parametrize("case", SIGNED_OUR_WAY, ids=case_name)
def test_tokens_are_signed_as_documented(case):
    resource = f"{SCOPE}/registrations/{case['registration_id']}"
    key_name = "registration" if case["style"] == "doc" else ""
    key = decode_key(case["key_b64"])
    assert sign_token(resource, key, EXPIRY, key_name) == case["token"]


@pytest.mark.rule("DPS-T2/device")
def test_the_key_name_is_registration_unless_told_otherwise():
    assert sign_token("r", KEY, EXPIRY).endswith("&skn=registration")


BAD = {
    "expired": "expired",
    "wrong-key": "fits none",
    "other-registration": "'dev-02'",
    "other-scope": "'0ne99999999'",
    "signed-over-decoded-but-sent-encoded": "fits none",
    "sig-not-url-encoded": "not percent-encoded",
    "key-not-base64-decoded": "fits none",
    "group-master-used-directly": "fits none",
}


@pytest.mark.parametrize("case", VECTORS["sas_bad"], ids=case_name)
def test_every_bad_token_is_refused_with_its_reason(case):
    registration_id, keys = "dev-01", [KEY]
    if case["case"] == "sig-not-url-encoded":
        registration_id = "thermostat_7:eu.1-a"
    if case["case"] == "group-master-used-directly":
        keys = [derive_device_key(KEY, "dev-01")]
    reason = fault(case["token"], registration_id, keys)
    assert reason is not None
    assert BAD[case["case"]] in reason


@pytest.mark.rule("DPS-T2/service")
@pytest.mark.parametrize("skn", ["", "&skn=", "&skn=registration"])
def test_the_key_name_may_be_absent_empty_or_registration(skn):
    assert fault(sign_token(f"{SCOPE}/registrations/dev-01", KEY, EXPIRY, "") + skn) is None


def test_another_key_name_is_refused():
    token = sign_token(f"{SCOPE}/registrations/dev-01", KEY, EXPIRY, "owner")
    assert "'owner'" in str(fault(token))


@pytest.mark.rule("DPS-T3/service")
@pytest.mark.parametrize(
    "resource_text",
    ["{}/registrations/dev-01", "{}%2Fregistrations%2Fdev-01", "{}%2fregistrations%2Fdev%2d01"],
)
def test_the_signature_is_checked_over_the_very_text_of_sr(resource_text):
    """Every SDK quotes ``sr`` in its own way."""
    sr = resource_text.format(SCOPE)
    mac = base64.b64encode(hmac.digest(KEY, f"{sr}\n{EXPIRY}".encode(), "sha256")).decode()
    assert fault(f"SharedAccessSignature sr={sr}&sig={quote(mac, safe='')}&se={EXPIRY}") is None


@pytest.mark.rule("DPS-T4/service")
def test_a_plus_in_sig_is_data():
    """Form decoding would turn it into a blank."""
    for number in range(100):
        token = sign_token(f"{SCOPE}/registrations/dev-01", KEY, EXPIRY + number)
        if "%2B" in token:
            assert fault(token.replace("%2B", "+")) is None
            return
    pytest.fail("no signature with a plus")


@pytest.mark.rule("DPS-T20/service")
@pytest.mark.parametrize("written", ["DEV-01", "Dev-01", "dev-01"])
def test_ids_are_compared_without_regard_to_case(written):
    token = sign_token(f"{SCOPE.upper()}/registrations/{written}", KEY, EXPIRY)
    assert fault(token, "dEv-01") is None
    assert token_fault(token, SCOPE.upper(), "dEv-01", [KEY], NOW) is None


def test_fields_come_in_any_order():
    scheme, _, fields = sign_token(f"{SCOPE}/registrations/dev-01", KEY, EXPIRY).partition(" ")
    assert fault(f"{scheme} {'&'.join(reversed(fields.split('&')))}&later=1") is None


def test_either_key_may_have_signed():
    token = sign_token(f"{SCOPE}/registrations/dev-01", OTHER_KEY, EXPIRY)
    assert fault(token, keys=[KEY, OTHER_KEY]) is None
    assert fault(token, keys=[]) is not None


@pytest.mark.parametrize(
    ("unix_now", "leeway", "good"),
    [(EXPIRY - 0.5, 0, True), (EXPIRY, 0, False), (EXPIRY + 299, 300, True),
     (EXPIRY + 300, 300, False)],
)  # fmt: skip
def test_a_token_is_good_until_its_expiry(unix_now, leeway, good):
    token = sign_token(f"{SCOPE}/registrations/dev-01", KEY, EXPIRY)
    assert (fault(token, unix_now=unix_now, leeway=leeway) is None) == good


@pytest.mark.parametrize(
    "text",
    ["", "SharedAccessSignature", "SharedAccessSignature sr=a&sig=b", "Bearer sr=a&sig=b&se=1",
     "SharedAccessSignature sr=a&sig=b&se=soon", "SharedAccessSignature sr=a&sig=b&se=-1",
     "SharedAccessSignature sr=a&sr=a&sig=b&se=1", "SharedAccessSignature sr=&sig=b&se=1",
     "SharedAccessSignature sr=a&sig=b&se=" + "9" * 5000,
     "SharedAccessSignature sr=a&sig=b&se=\u0661"],
)  # fmt: skip
def test_what_is_no_token_is_refused(text):
    assert parse_token(text) is None
    assert fault(text)


def test_a_token_hides_its_signature():
    token = parse_token(sign_token("r", KEY, EXPIRY))
    assert isinstance(token, Token)
    assert token.signature not in repr(token)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_keys_of_16_to_64_bytes_are_decoded(size):
    key = bytes(range(size))
    assert decode_key(f"  {b64(key)}\r\n") == key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HostName=h;DeviceId=d;SharedAccessKey={}", "connection string"),
        ("SharedAccessSignature sr=a&sig={}&se=1", "SAS token"),
        ('"{}"', "quotation marks"),
        ("-----BEGIN PRIVATE KEY-----\n{}", "PEM"),
    ],
)
def test_what_stands_in_a_keys_place_is_named_and_not_shown(text, words):
    key = b64(bytes(range(32)))
    with pytest.raises(UsageError, match=words) as caught:
        decode_key(text.format(key))
    assert key not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda key: key[:20] + "\n" + key[20:], "folded"),
        (lambda key: key.rstrip("="), "end is missing"),
        (lambda key: "-_" + key[2:], "for URLs"),
        (lambda key: key.encode("utf-16-le").decode(), "UTF-16"),
    ],
)
def test_a_key_that_was_copied_wrongly_says_how(change, words):
    with pytest.raises(UsageError, match=words):
        decode_key(change(b64(bytes(range(32)))))


@pytest.mark.rule("DPS-B-key/device")
@pytest.mark.parametrize("text", ["", "AAAA", b64(bytes(15)), b64(bytes(65)), "not base64!", "é",
                                  b64(KEY)[:-1], b64(KEY) + "!"])  # fmt: skip
def test_other_keys_are_refused_without_being_shown(text):
    with pytest.raises(UsageError) as caught:
        decode_key(text)
    assert not text or text not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.text())
def test_any_text_is_a_token_or_refused_in_one_printable_line(text):
    for token in (text, f"SharedAccessSignature {text}",
                  f"SharedAccessSignature sr={text}&sig={text}&se=1"):  # fmt: skip
        parse_token(token)
        reason = fault(token)
        assert reason is not None
        assert reason.isprintable()


def test_a_resource_that_has_no_utf8_is_named() -> None:
    with pytest.raises(UsageError, match=r"^resource: text with a lone surrogate"):
        sign_token("\ud800", KEY, EXPIRY)
