"""Devices that prove themselves with certificates, judged without TLS."""

from typing import Any

import pytest

from mqttws.dps.certificates import Certificate, chain_fault
from mqttws.dps.effects import Answer, Device
from mqttws.dps.names import build_username
from mqttws.dps.tables import AnyEnrollment
from mqttws.dps.topics import Message, register_topic

from .world import SCOPE, UNIX_START, Instance, connect, group, individual, make_service, provision

BEGINS, ENDS = UNIX_START - 100, UNIX_START + 100


def certificate(sha256: str, name: str = "dev-01", **members: Any) -> Certificate:
    members = {"not_before": BEGINS, "not_after": ENDS} | members
    return Certificate(sha256, "", name, f"CN={name}", "CN=ca", serial_number="0f", **members)


LEAF, LINE, ROOT = certificate("1"), certificate("2", "line"), certificate("3", "root")
CHAIN = (LEAF, LINE, ROOT)


@pytest.mark.rule("DPS-B-common-name/service", "DPS-B-dates/service")
@pytest.mark.parametrize(
    ("chain", "enrolled", "now", "fault"),
    [
        (CHAIN, ["1"], UNIX_START, None),
        (CHAIN, ["2"], UNIX_START, None),
        (CHAIN, ["9", "3"], UNIX_START, None),
        (CHAIN, ["9"], UNIX_START, "none of the chain's certificates is the enrolled one"),
        (CHAIN, [], UNIX_START, "none of the chain's certificates is the enrolled one"),
        (CHAIN, ["3"], BEGINS, None),
        (CHAIN, ["3"], ENDS, None),
        (CHAIN, ["3"], BEGINS - 1,
         "certificate 1 of 3 in the chain, 'CN=dev-01': not valid before 2027-01-15T07:58:20Z"),
        (CHAIN, ["3"], ENDS + 1,
         "certificate 1 of 3 in the chain, 'CN=dev-01': expired at 2027-01-15T08:01:40Z"),
        ((LEAF, certificate("2", "line", not_after=0.0), ROOT), ["3"], UNIX_START,
         "certificate 2 of 3 in the chain, 'CN=line': expired at 1970-01-01T00:00:00Z"),
        # A certificate above the enrolled one proves nothing, and so may have expired.
        ((LEAF, LINE, certificate("3", "root", not_after=0.0)), ["2"], UNIX_START, None),
        ((certificate("1", "DEV-01"), LINE), ["2"], UNIX_START, None),
        ((certificate("1", "other"), LINE), ["2"], UNIX_START,
         "the certificate's common name is 'other'"),
        ((LEAF, certificate("2", "dev-01", fault="odd")), ["2"], UNIX_START, None),
    ],
)  # fmt: skip
def test_a_chain_lets_in_or_is_described(
    chain: tuple[Certificate, ...], enrolled: list[str], now: float, fault: str | None
) -> None:
    assert chain_fault(chain, "dev-01", enrolled, now) == fault


def shows(service: Instance, chain: tuple[Certificate, ...], name: str = "dev-01") -> Device:
    """Return a device as the service admits it with a chain, and no password."""
    device = service.admit(name, build_username(SCOPE, name, "2019-03-31"), b"", chain)
    assert isinstance(device, Device)
    return device


def answered(service: Instance, device: Device) -> Answer:
    (effect,) = service.handle(device, Message(register_topic("1")), 1, UNIX_START)
    assert isinstance(effect, Answer)
    return effect


def enrolled_by(der: bytes, name: str = "dev-01") -> Certificate:
    """Return a certificate with the fingerprint of an enrolled one."""
    return certificate(individual(primary_certificate=der).fingerprints[0], name)


OWN = enrolled_by(b"own")
CA = enrolled_by(b"ca", "ca")
CERTIFIED = individual(primary_key=b"", primary_certificate=b"own")
OF_CA = group("fleet", b"", primary_certificate=b"ca")


@pytest.mark.rule("DPS-S401/service", "DPS-E401002/service")
@pytest.mark.parametrize(
    ("enrollments", "chain", "logged"),
    [
        ([], (OWN,), "404201: no enrollment for 'dev-01'"),
        ([group()], (OWN,), "404201: no enrollment for 'dev-01'"),
        ([OF_CA], (OWN,), "401002: no certificate of the chain is enrolled"),
        ([CERTIFIED], (LEAF,), "401002: none of the chain's certificates is the enrolled one"),
        ([CERTIFIED], (certificate("x", fault="an odd version"),), "401002: an odd version"),
        ([individual()], (OWN,), "401002: a certificate; this enrollment is attested by keys"),
        ([individual(primary_key=b"", endorsement_key="AAAA")], (OWN,),
         "401002: a certificate; this enrollment is attested by a TPM"),
        ([individual(primary_key=b"", primary_certificate=b"own", provisioning_status="disabled")],
         (OWN,), "401002: the enrollment is disabled"),
        ([group("fleet", b"", primary_certificate=b"ca", provisioning_status="disabled")],
         (LEAF, CA), "401002: the enrollment is disabled"),
        ([individual(), OF_CA], (LEAF, CA),
         "401002: a certificate; this enrollment is attested by keys"),
    ],
)  # fmt: skip
def test_a_chain_that_proves_nothing_is_refused_and_the_log_says_why(
    enrollments: list[AnyEnrollment], chain: tuple[Certificate, ...], logged: str
) -> None:
    service = make_service(*enrollments)
    answer = answered(service, shows(service, chain))
    assert answer.reason == f"register {logged[:3]} {logged}"
    assert answer.error_code == int(logged[:6])
    assert service.records.devices() == []


@pytest.mark.rule("DPS-T18/service")
@pytest.mark.parametrize(
    ("enrollments", "chain"), [([CERTIFIED], (OWN,)), ([OF_CA, group("keyed")], (LEAF, LINE, CA))]
)
def test_a_chain_that_leads_to_an_enrolled_certificate_lets_in(
    enrollments: list[AnyEnrollment], chain: tuple[Certificate, ...]
) -> None:
    service = make_service(*enrollments)
    assert answered(service, shows(service, chain)).status == 202
    registration = service.records.registration("dev-01")
    assert registration is not None
    assert registration.enrollment_group_id == ("fleet" if chain[-1] is CA else "")
    assert registration.key_name == ""


@pytest.mark.parametrize(
    ("enrollment", "logged"),
    [
        (individual(primary_key=b"", endorsement_key="AAAA"), "is attested by a TPM"),
        (CERTIFIED, "a token; this enrollment is attested by certificates"),
    ],
)
def test_a_token_proves_nothing_where_the_enrollment_has_no_keys(
    enrollment: AnyEnrollment, logged: str
) -> None:
    service = make_service(enrollment)
    answer = answered(service, connect(service))
    assert (answer.status, answer.error_code) == (401, 401000)
    assert logged in answer.reason


def test_a_password_counts_more_than_a_certificate() -> None:
    service = make_service(individual())
    by_key = connect(service)
    token = (by_key.password or "").encode()
    username = build_username(SCOPE, "dev-01", "2019-03-31")
    device = service.admit("dev-01", username, token, (LEAF,))
    assert isinstance(device, Device)
    assert answered(service, device).status == 202
    assert provision(service)["status"] == "assigned"


@pytest.mark.parametrize(
    ("enrollment", "chain", "told"),
    [(CERTIFIED, (OWN,), {}), (OF_CA, (LEAF, CA), {"enrollmentGroupId": "fleet"})],
)
def test_an_assignment_names_how_the_device_is_attested(
    enrollment: AnyEnrollment, chain: tuple[Certificate, ...], told: dict[str, str]
) -> None:
    service = make_service(enrollment)
    answered(service, shows(service, chain))
    (record,) = service.records.devices()
    state = record.operations[0].state
    assert state is not None
    assert state["x509"] == told
    assert "symmetricKey" not in state
