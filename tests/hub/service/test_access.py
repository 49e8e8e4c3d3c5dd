"""A CONNECT and a service's request, judged: each refusal of a device is CONNACK 5."""

from dataclasses import replace
from typing import Any

import pytest

from mqttws.dps.certificates import Certificate
from mqttws.dps.sas import sign_token
from mqttws.hub.service.access import (
    RIGHTS,
    Admitted,
    Policy,
    Presented,
    Refused,
    admit,
    covers,
    service_fault,
)
from mqttws.hub.service.identity import Credentials, Identity

from .world import DEVICE, HUB, MODULE, NOW, OTHER, PRIMARY, SECONDARY, names

POLICIES = [
    Policy("iothubowner", (OTHER,), RIGHTS["iothubowner"]),
    Policy("service", (OTHER,), RIGHTS["service"]),
]
LATER = int(NOW) + 60
THUMBPRINT = "ab" * 32


def token(
    resource: str = f"{HUB}/devices/dev",
    key: bytes = PRIMARY,
    expiry: int = LATER,
    key_name: str = "",
) -> bytes:
    return sign_token(resource, key, expiry, key_name).encode()


def judge(
    password: bytes | None,
    identity: Identity | None = DEVICE,
    parent: Identity | None = None,
    **changes: Any,
) -> Admitted | Refused:
    module_id = identity.module_id if identity else ""
    presented = Presented(names(module_id).client_id, names(module_id), password)
    return admit(replace(presented, **changes), identity, parent, POLICIES, NOW)


@pytest.mark.rule("HUB-3")
@pytest.mark.parametrize(
    "password",
    [
        token(),
        token(key=SECONDARY),  # both keys at any time; DPS pins one
        token(HUB),
        token(f"{HUB}/devices"),
        token(f"{HUB}/devices/dev/"),
        token(f"{HUB.upper()}/devices/dev"),
        token(f"{HUB}/devices/dev/api-version=2016-11-14"),  # made by tools
        token(f"{HUB}/devices", OTHER, key_name="iothubowner"),
        token(HUB, OTHER, key_name="iothubowner"),
        b"SharedAccessSignature " + b"&".join(token()[22:].split(b"&")[::-1]),
    ],
)
def test_a_token_opens_the_device(password: bytes) -> None:
    verdict = judge(password)
    assert isinstance(verdict, Admitted)
    assert verdict.expires_at == LATER


@pytest.mark.rule("HUB-3")
@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (token(key=OTHER), "fits none of the keys"),
        (token(expiry=int(NOW)), "expired"),
        (token(f"{HUB}/devices/DEV"), "the token is for"),
        (token(f"{HUB}/devices/de"), "the token is for"),
        (token(f"{HUB}/devices/dev/modules/mod"), "the token is for"),
        (token("elsewhere/devices/dev"), "the token is for"),
        (token(key_name="registration"), "skn"),
        (token(key=OTHER, key_name="service"), "skn"),
        (token(key_name="iothubowner"), "fits none of the keys"),
        (b"text", "SharedAccessSignature"),
        (None, "no SAS token"),
        (b"", "no SAS token"),
    ],
)
def test_a_wrong_token_is_refused_with_5_and_a_reason(password: bytes, reason: str) -> None:
    verdict = judge(password)
    assert isinstance(verdict, Refused)
    assert verdict.return_code == 5
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"identity": None}, "no identity"),
        ({"identity": replace(DEVICE, enabled=False)}, "disabled"),
        ({"client_id": "DEV"}, "ClientId"),
        ({"identity": MODULE}, "no identity"),  # its device is not there
        ({"identity": MODULE, "parent": replace(DEVICE, enabled=False)}, "disabled"),
        ({"identity": replace(DEVICE, credentials=Credentials())}, "a SAS token"),
    ],
)
def test_an_identity_that_may_not_connect_is_refused(changes: Any, reason: str) -> None:
    verdict = judge(token(), **changes)
    assert isinstance(verdict, Refused)
    assert verdict.return_code == 5
    assert reason in verdict.reason


def test_a_module_needs_a_token_of_its_own() -> None:
    own = token(f"{HUB}/devices/dev/modules/mod")
    assert isinstance(judge(own, MODULE, DEVICE), Admitted)
    assert isinstance(judge(token(f"{HUB}/devices/dev"), MODULE, DEVICE), Admitted)  # by prefix


def certificate(**changes: Any) -> Certificate:
    fields = {
        "sha256": THUMBPRINT, "sha1": "cd" * 20, "common_name": "dev", "subject": "CN=dev",
        "issuer": "CN=ca", "not_before": NOW - 1, "not_after": NOW + 1, "serial_number": "1",
    }  # fmt: skip
    return Certificate(**fields | changes)


CA = certificate(sha256="00" * 32, common_name="ca", subject="CN=ca")
BY_THUMBPRINT = replace(DEVICE, credentials=Credentials("selfSigned", thumbprints=(THUMBPRINT,)))
BY_CA = replace(DEVICE, credentials=Credentials("certificateAuthority"))


@pytest.mark.rule("HUB-4")
@pytest.mark.parametrize(
    ("identity", "chain", "reason"),
    [
        (BY_THUMBPRINT, [certificate()], None),
        (BY_THUMBPRINT, [certificate(common_name="other")], None),
        (BY_THUMBPRINT, [certificate(), replace(CA, not_after=NOW - 1)], None),
        (BY_THUMBPRINT, [certificate(sha256="11" * 32)], "thumbprint"),
        (BY_THUMBPRINT, [certificate(not_after=NOW - 1)], "expired"),
        (BY_THUMBPRINT, [certificate(not_before=NOW + 1)], "not valid yet"),
        (BY_THUMBPRINT, [], "neither"),
        (BY_CA, [certificate(), CA], None),
        (BY_CA, [certificate(common_name="Dev"), CA], "common name"),
        (BY_CA, [certificate()], "none of the hub's CAs"),
        (BY_CA, [certificate(), replace(CA, sha256="22" * 32)], "none of the hub's CAs"),
        (BY_CA, [certificate(fault="it cannot be read")], "cannot be read"),
        (BY_CA, [certificate(), replace(CA, not_after=NOW - 1)], "expired"),
        (DEVICE, [certificate()], "has keys"),
        (replace(DEVICE, credentials=Credentials()), [certificate(), CA], "no credentials"),
    ],
)
def test_a_certificate_is_judged_by_the_identitys_kind(
    identity: Identity, chain: list[Certificate], reason: str | None
) -> None:
    verdict = judge(None, identity, chain=chain, cas={CA.sha256})
    if reason is None:
        assert isinstance(verdict, Admitted)
        assert verdict.expires_at is None
    else:
        assert isinstance(verdict, Refused)
        assert reason in verdict.reason


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ("a", "a/b", True),
        ("a/b", "a/b/c", True),
        ("a/b", "a/bc", False),
        ("a%2Fb", "a/b", True),
        ("a%2fb", "a/b", True),
        ("localhost%3A8443", "localhost:8443", True),
        ("localhost", "localhost:8443", False),
        ("a/b/c", "a/b", False),
        ("", "a", False),
    ],
)
def test_a_token_covers_by_whole_segments(given: str, wanted: str, fits: bool) -> None:
    assert covers(given, wanted) is fits


@pytest.mark.rule("HUB-46")
@pytest.mark.parametrize(
    ("right", "policy", "granted"),
    [
        ("service", "service", True),
        ("registry-read", "service", False),
        ("registry-write", "iothubowner", True),
        ("service", "device", False),
    ],
)
def test_a_policy_grants_its_own_rights(right: str, policy: str, granted: bool) -> None:
    policies = [Policy(name, (OTHER,), rights) for name, rights in RIGHTS.items()]
    header = sign_token(HUB, OTHER, LATER, policy)
    assert (service_fault(header, (HUB,), right, policies, NOW) is None) is granted


def test_no_key_is_shown() -> None:
    policy = Policy("service", (PRIMARY,))
    presented = Presented("dev", names(), token())
    assert "pppp" not in repr(policy) + repr(DEVICE)
    assert "sig=" not in repr(presented)
