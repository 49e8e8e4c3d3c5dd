"""The group that has signed a token is found among many, by as few hashes as can be."""

import hmac
import random
from base64 import b64encode
from typing import Any

import pytest

from mqttws.dps import authentication, group_keys, sas
from mqttws.dps.authentication import Proof, authenticate
from mqttws.dps.effects import Device
from mqttws.dps.group_keys import GroupKeys
from mqttws.dps.records import DeviceRecord, EnrollmentGroup, Groups, Operation, Snapshot
from mqttws.dps.records import RegistrationRecord as Registration
from mqttws.dps.sas import derive_device_key, read_token, sign_token
from mqttws.dps.settings import Settings

SCOPE = "0ne00LOCAL"
SETTINGS = Settings(SCOPE, ("hub.example",))
NOW = 1_700_000_000.0


def groups(count: int, seed: int = 1) -> Groups:
    chance = random.Random(seed)
    made = [
        EnrollmentGroup(
            primary_key=chance.randbytes(chance.randint(16, 64)),
            secondary_key=chance.randbytes(chance.randint(16, 64)),
            enrollment_group_id=f"Group-{number}",
        )
        for number in range(count)
    ]
    return Groups(1, tuple(made), {})


def device(name: str, key: bytes, spelling: str = "") -> Device:
    derived = derive_device_key(key, spelling or name)
    token = sign_token(f"{SCOPE}/registrations/{name}", derived, int(NOW) + 60)
    return Device(name, SCOPE, "2019-03-31", token, ())


def judged(of: Groups, one: Device, record: DeviceRecord | None = None) -> Proof:
    return authenticate(SETTINGS, Snapshot(record or DeviceRecord(), None, of, NOW), one)


@pytest.mark.parametrize("seed", range(30))
def test_the_hash_of_a_search_is_that_of_the_standard_library(seed: int) -> None:
    chance = random.Random(seed)
    keys = [[chance.randbytes(chance.randint(16, 64)) for _ in range(2)] for _ in range(5)]
    place, turn = chance.randrange(5), chance.randrange(2)
    name = "".join(chance.choices("abcXYZ019-._:", k=chance.randint(1, 128)))
    derived = hmac.digest(keys[place][turn], name.encode(), "sha256")
    token = read_token(sign_token(f"{SCOPE}/registrations/{name}", derived, int(NOW)))
    assert isinstance(token, sas.Token)
    assert list(GroupKeys(keys).signers(token, [name])) == [place]
    assert not list(GroupKeys(keys).signers(token, [name + "x"]))


@pytest.mark.parametrize("signature", ["", "=", "AAAA", "ü", "A" * 44])
def test_a_signature_that_is_none_fits_no_group(signature: str) -> None:
    token = sas.Token("x", signature, int(NOW), "")
    assert not list(GroupKeys([[b"k" * 32]]).signers(token, ["dev"]))


@pytest.mark.parametrize(
    ("turn", "key_name"), [("primary_key", "primary"), ("secondary_key", "secondary")]
)
@pytest.mark.parametrize("spelling", ["Dev-7", "dev-7"])
def test_a_device_is_let_in_by_any_of_its_groups_keys(
    turn: str, key_name: str, spelling: str
) -> None:
    known = groups(20)
    group = known.groups[13]
    proof = judged(known, device("Dev-7", getattr(group, turn), spelling))
    assert proof == Proof(group, key_name)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    tried: list[Any] = []
    real = GroupKeys.signers

    def signers(self: GroupKeys, *given: Any) -> Any:
        tried.append(given)
        return real(self, *given)

    monkeypatch.setattr(group_keys.GroupKeys, "signers", signers)
    return tried


@pytest.mark.parametrize("known_by", ["registration", "operation"])
def test_no_group_is_searched_for_a_device_that_is_known(
    known_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = groups(50)
    group = known.groups[31]
    name = group.enrollment_group_id
    registration = Registration("dev", "hub", "dev", "x", "", "", "", name, "primary")
    operation = Operation("5.1", NOW, 0, "group", name)
    record = (
        DeviceRecord(registration)
        if known_by == "registration"
        else DeviceRecord(None, (operation,))
    )
    tried = counting(monkeypatch)
    assert judged(known, device("dev", group.primary_key), record).enrollment is group
    assert not tried
    moved = known.groups[2]  # its key is another group's now
    assert judged(known, device("dev", moved.primary_key), record).enrollment is moved
    assert len(tried) == 1


def test_a_key_of_no_group_is_refused_and_the_first_that_telling_says_why() -> None:
    known = groups(3)
    with pytest.raises(authentication.Rejection) as refused:
        judged(known, device("dev", b"another key, of no group"))
    assert "none of the" in refused.value.reason or "3 group(s)" in refused.value.reason
    late = sign_token(
        f"{SCOPE}/registrations/dev", derive_device_key(known.groups[2].primary_key, "dev"), 1
    )
    with pytest.raises(authentication.Rejection) as refused:
        judged(known, Device("dev", SCOPE, "2019-03-31", late, ()))
    assert "expired" in refused.value.reason


def test_two_groups_with_one_certificate_the_first_counts() -> None:
    pair = [EnrollmentGroup(primary_certificate=b"x", enrollment_group_id=name) for name in "ab"]
    known = Groups(1, tuple(pair))
    assert [group.enrollment_group_id for group in known.by_fingerprint.values()] == ["a"]
    assert b64encode(b"x").decode() not in repr(known.keys)
