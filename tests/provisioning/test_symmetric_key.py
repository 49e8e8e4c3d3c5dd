import copy
import hmac
import pickle

import pytest

from mqttws.dps.sas import parse_token, sign_token, token_fault
from mqttws.errors import UsageError
from mqttws.provisioning.symmetric_key import SymmetricKey

from ..dps.world import KEY, OTHER_KEY, SCOPE, VECTORS, b64


def test_the_password_is_a_good_token_for_the_device():
    password = SymmetricKey("dev-01", b64(KEY)).password(SCOPE, 1000.9, lifetime=60)
    token = parse_token(password)
    assert token is not None
    assert token.expiry == 1060
    assert token_fault(password, SCOPE, "dev-01", [KEY], 1059) is None


@pytest.mark.parametrize("key", [b64(KEY), b64(KEY).encode(), f" {b64(KEY)}\n"])
def test_a_key_is_base64_as_text_or_ascii_bytes(key):
    assert SymmetricKey("dev-01", key) == SymmetricKey("dev-01", b64(KEY))


@pytest.mark.parametrize("case", VECTORS["derived_keys"], ids=lambda c: c["registration_id"][:40])
def test_a_group_key_gives_the_derived_key(case):
    group_key = VECTORS["master_keys"][case["master"]]["b64"]
    derived = SymmetricKey.from_group_key(case["registration_id"], group_key)
    assert derived == SymmetricKey(case["registration_id"], case["derived_key"])
    assert derived.registration_id == case["registration_id"]


@pytest.mark.rule("DPS-B-registration-id/device")
@pytest.mark.parametrize("make", [SymmetricKey, SymmetricKey.from_group_key])
@pytest.mark.parametrize(
    ("registration_id", "key"),
    [("dev/01", b64(KEY)), ("", b64(KEY)), ("dev-01", "c2VjcmV0"), ("dev-01", "se cret!"),
     ("dev-01", b"\xff\xfe"), ("dev-01", None), (5, b64(KEY))],
)  # fmt: skip
def test_a_wrong_id_or_key_is_refused_at_once_and_not_shown(make, registration_id, key):
    with pytest.raises(UsageError) as caught:
        make(registration_id, key)
    if isinstance(key, str):
        assert key not in f"{caught.value!r}{caught.value}{caught.value.hint}"


def test_the_key_is_in_no_repr_and_cannot_be_pickled():
    credential = SymmetricKey("dev-01", b64(KEY))
    assert repr(credential) == str(credential) == "SymmetricKey('dev-01')"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(credential, protocol)
    assert copy.copy(credential) is copy.deepcopy(credential) is credential


def test_a_credential_is_an_immutable_value():
    credential = SymmetricKey("dev-01", b64(KEY))
    with pytest.raises(AttributeError):
        credential.registration_id = "dev-02"
    with pytest.raises(AttributeError):
        credential._key = b""
    with pytest.raises(AttributeError):
        del credential._key
    assert len({credential, SymmetricKey("dev-01", b64(KEY))}) == 1
    assert credential != SymmetricKey("dev-01", b64(OTHER_KEY))
    assert credential != SymmetricKey("dev-02", b64(KEY))
    assert credential != "dev-01"


def test_a_password_is_good_for_an_hour_and_other_resources_are_signed_with_the_same_key():
    credential = SymmetricKey("dev-01", b64(KEY))
    token = parse_token(credential.password(SCOPE, 1000.9))
    assert token is not None
    assert token.expiry == 4600
    assert credential.sign("hub/devices/dev-01", 60) == sign_token(
        "hub/devices/dev-01", KEY, 60, key_name=""
    )
    with pytest.raises(UsageError, match="resource"):
        credential.sign(1, 60)


def test_a_digest_is_bound_to_its_purpose_and_stays_the_same_over_versions():
    credential = SymmetricKey("dev-01", b64(KEY))
    expected = hmac.new(KEY, b"mqttws assignment h s", "sha256").hexdigest()
    assert credential.digest("assignment h s") == f"key:{expected}"
    assert credential.digest("other") != credential.digest("assignment h s")
    with pytest.raises(UsageError, match="context"):
        credential.digest(1)


def test_each_wrong_argument_has_its_name():
    for make, name in ((SymmetricKey, "key"), (SymmetricKey.from_group_key, "group_key")):
        with pytest.raises(UsageError, match=f"^{name}: found int; allowed: base64"):
            make("dev-01", 5)
    credential = SymmetricKey("dev-01", b64(KEY))
    for change in (lambda: setattr(credential, "x", 1), lambda: delattr(credential, "x")):
        with pytest.raises(AttributeError, match="SymmetricKey is immutable: x"):
            change()
    assert credential.__eq__(5) is NotImplemented


def test_a_lifetime_of_nothing_is_refused():
    with pytest.raises(UsageError, match="lifetime"):
        SymmetricKey("dev-01", b64(KEY)).password(SCOPE, 0, lifetime=0)
