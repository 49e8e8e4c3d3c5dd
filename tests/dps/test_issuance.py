"""Certificates at registration: each end alone against bodies from the public specification."""

import json
from pathlib import Path
from typing import Any

import pytest

from mqttws import Cause, CertificateNotIssued, MalformedAnswer, RegistrationFailed, UsageError
from mqttws.dps.effects import Answer
from mqttws.dps.issuance import CertificateWanted, CredentialPolicy, Issued, NotIssued, decode_der
from mqttws.dps.registration import Registration
from mqttws.dps.service import Service
from mqttws.dps.settings import Settings
from mqttws.dps.topics import Lookup, Message, response_topic
from mqttws.provisioning.issued_chain import check_chain, public_key_of

from .world import (
    HUB,
    SCOPE,
    UNIX_START,
    Instance,
    at_once,
    connect,
    counted,
    group,
    individual,
    make_registration,
    poll,
    register,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "issuance_vectors.json").read_text())
CSR = decode_der(VECTORS["csr"])
CHAIN = VECTORS["answers"][0]["body"]["registrationState"]["issuedCertificateChain"]
POLICY = CredentialPolicy("short", validity=60, intermediates=1)


def named(case: dict[str, Any]) -> str:
    return str(case["name"])


GOOD = Issued(tuple(CHAIN))


class Ca:
    """Issues the vectors' chain, or what it is told; remembers what was wanted."""

    def __init__(self, answer: Issued | NotIssued = GOOD) -> None:
        self.answer = answer
        self.wanted: list[CertificateWanted] = []

    async def issue(self, wanted: CertificateWanted) -> Issued | NotIssued:
        self.wanted.append(wanted)
        return self.answer


def instance(ca: Ca, *enrollments: Any, **options: Any) -> Instance:
    settings = Settings.of(SCOPE, (HUB,), policies={POLICY.name: POLICY}, **options)
    made = Instance(settings, enrollments or (individual(credential_policy="short"),))
    made.service = Service(
        settings,
        made.store,
        operation_ids=counted("op-"),
        tracking_ids=counted("track-"),
        issuer=ca,
    )
    return made


# The service alone


@pytest.mark.parametrize("case", VECTORS["requests"], ids=named)
def test_the_service_takes_and_refuses_what_the_specification_does(case: dict[str, Any]) -> None:
    service = instance(ca := Ca())
    device = connect(service, api_version=case["api_version"])
    topic, body = register(service, device, json.dumps(case["body"]).encode())
    assert topic.startswith(f"$dps/registrations/res/{case['status']}/"), body
    asked = case["status"] == 202 and case["body"]["csr"] is not None
    assert ca.wanted == ([CertificateWanted(CSR, "dev-01", POLICY)] if asked else [])
    if case["status"] == 400:
        assert body["errorCode"] == case["error_code"]
        return
    state = poll(service, device, body["operationId"])[1]["registrationState"]
    assert state["status"] == "assigned"
    assert state.get("issuedCertificateChain") == (CHAIN if asked else None)


def test_a_certificate_request_in_a_status_look_up_is_refused_with_400() -> None:
    service = instance(Ca())
    device = connect(service, api_version="2026-11-01")
    _, body = register(service, device, json.dumps({"csr": VECTORS["csr"]}).encode())
    asked = json.dumps(VECTORS["status_lookup"]["body"]).encode()
    (answer,) = at_once(service.service.serve(device, Lookup(), asked)).effects
    assert isinstance(answer, Answer)
    assert (answer.status, answer.error_code) == (400, 400004)
    # The C SDK sends the body of its register with each poll.
    assert poll(service, device, body["operationId"], asked)[1]["status"] == "assigned"


@pytest.mark.rule("DPS-E400040/service")
def test_the_refusal_of_the_ca_fails_the_operation_and_leaves_the_registration() -> None:
    service = instance(ca := Ca())
    device = connect(service, api_version="2026-11-01")
    csr = json.dumps({"csr": VECTORS["csr"]}).encode()
    register(service, device, csr)
    before = service.records.registration("dev-01")
    assert before is not None
    assert before.certified
    ca.answer = NotIssued("FailedToDecodeCsr", "no PKCS#10")
    topic, body = register(service, device, csr)
    assert topic.startswith("$dps/registrations/res/202/")
    ended = poll(service, device, body["operationId"])[1]
    told = VECTORS["refused_by_the_ca"]["body"]["registrationState"]
    assert {name: ended["registrationState"][name] for name in told} == told
    assert ended["status"] == "failed"
    assert service.records.registration("dev-01") == before


@pytest.mark.parametrize(
    ("size", "api_version", "code"),
    [(8192, "2026-11-01", None), (8196, "2026-11-01", 400004), (8192, "2021-10-01", 400012)],
)
def test_a_request_for_a_certificate_has_8192_characters_and_needs_a_version_that_has_it(
    size: int, api_version: str, code: int | None
) -> None:
    """Also where bodies are judged leniently: a device that asks for one waits for it."""
    for lenient in (False, True):
        service = instance(ca := Ca(), lenient=lenient)
        device = connect(service, api_version=api_version)
        _, body = register(service, device, json.dumps({"csr": "A" * size}).encode())
        assert body.get("errorCode") == code
        assert len(ca.wanted) == (0 if code else 1)


@pytest.mark.parametrize(("policy", "word"), [("", "it has none"), ("other", "is unknown")])
def test_an_enrollment_without_a_policy_is_refused(policy: str, word: str) -> None:
    service = instance(ca := Ca(), individual(credential_policy=policy))
    device = connect(service, api_version="2026-11-01")
    topic, body = register(service, device, json.dumps({"csr": VECTORS["csr"]}).encode())
    assert topic.startswith("$dps/registrations/res/400/")
    assert word in body["message"]
    assert ca.wanted == []


def test_a_wrong_key_gets_no_certificate() -> None:
    service = instance(ca := Ca())
    device = connect(service, key=b"x" * 32, api_version="2026-11-01")
    topic, _ = register(service, device, json.dumps({"csr": VECTORS["csr"]}).encode())
    assert topic.startswith("$dps/registrations/res/401/")
    assert ca.wanted == []


def test_the_certificate_is_issued_once_for_a_request_whatever_moves_meanwhile() -> None:
    service = instance(ca := Ca())
    device = connect(service, api_version="2026-11-01")
    commit, refusals = service.store.commit, [True, True]

    async def late(*arguments: Any) -> bool:
        return False if refusals and refusals.pop() else await commit(*arguments)

    service.store.commit = late  # type: ignore[method-assign]
    register(service, device, json.dumps({"csr": VECTORS["csr"]}).encode())
    assert len(ca.wanted) == 1
    assert service.service.counts.conflicts == 2


def test_the_chain_survives_the_store_and_is_not_in_the_registration_record() -> None:
    from mqttws.dps.tables import DEVICES
    from mqttws.dps.topics import register_topic

    service = instance(Ca())
    device = connect(service, api_version="2026-11-01")
    body = json.dumps({"csr": VECTORS["csr"]}).encode()
    service.handle(device, Message(register_topic("1"), body), 1, UNIX_START)
    (record,) = service.records.devices()
    assert DEVICES.decode(DEVICES.encode(record)) == record
    assert CHAIN[0] not in str(record.registration)


@pytest.mark.parametrize(
    ("api_version", "profile"),
    [
        ("2026-11-01", None),
        ("2026-11-02-preview", "mqttV5"),
        ("2026-11-02", "mqttV5"),
        ("2027-01-01", "mqttV5"),
    ],
)
def test_the_connection_profile_is_served_to_the_version_that_has_it(
    api_version: str, profile: str | None
) -> None:
    service = instance(Ca(), profiles={HUB.lower(): "mqttV5"})
    device = connect(service, api_version=api_version)
    operation = register(service, device)[1]["operationId"]
    state = poll(service, device, operation)[1]["registrationState"]
    assert state.get("connectionProfile") == profile
    plain = instance(Ca())
    device = connect(plain, api_version="2026-11-02-preview")
    operation = register(plain, device)[1]["operationId"]
    assert poll(plain, device, operation)[1]["registrationState"]["connectionProfile"] == "classic"


def test_a_group_names_a_policy_too() -> None:
    from mqttws.dps.enrollment_json import enrollment_to_json, parse_enrollments

    for enrollment in (group(credential_policy="p"), individual(credential_policy="p")):
        record = enrollment_to_json(enrollment)
        assert record["credentialPolicyName"] == "p"
        assert parse_enrollments(json.dumps([record]), "test") == [enrollment]


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"validity": 0.5}, {"validity": 91 * 86_400}, {"validity": "1"},
     {"intermediates": 4}, {"intermediates": True}],
)  # fmt: skip
def test_a_wrong_policy_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"credential policy: {next(iter(wrong))} "):
        CredentialPolicy(**wrong)


# The device alone


def answered(body: dict[str, Any]) -> Registration:
    registration = make_registration(csr=CSR)
    registration.start(0.0)
    registration.receive(Message(response_topic(200, "r1"), json.dumps(body).encode()), 1.0)
    return registration


def test_the_device_sends_the_members_of_the_specification() -> None:
    for payload in (None, {"a": 1}):
        message = make_registration(csr=CSR, payload=payload).start(0.0)
        case = VECTORS["requests"][1 if payload is None else 2]
        assert json.loads(message.payload) == case["body"]
    assert "csr" not in json.loads(make_registration().start(0.0).payload)


@pytest.mark.parametrize("case", VECTORS["answers"], ids=named)
def test_the_device_reads_and_checks_a_chain(case: dict[str, Any]) -> None:
    from cryptography import x509

    registration = answered(case["body"])
    if case["read"] is None:
        assert isinstance(registration.error, MalformedAnswer)
        assert registration.error.cause.value == case["cause"]
        return
    assert registration.error is None
    chain = registration.issued_chain
    assert len(chain) == case["read"]
    key = public_key_of(x509.load_der_x509_csr(CSR or b""))
    if case["cause"] is None:
        checked = check_chain(chain, "DEV-01", key, UNIX_START)
        assert len(checked) == case["read"]
        return
    with pytest.raises(CertificateNotIssued, match=case.get("word")) as failed:
        check_chain(chain, "dev-01", key, UNIX_START)
    assert failed.value.cause.value == case["cause"]
    assert failed.value.hint


def test_a_chain_is_refused_by_a_clock_that_is_far_off() -> None:
    from cryptography import x509

    key = public_key_of(x509.load_der_x509_csr(CSR or b""))
    chain = answered(VECTORS["answers"][0]["body"]).issued_chain
    for now, word in ((0.0, "in the future"), (9e9, "expired")):
        with pytest.raises(CertificateNotIssued, match=word):
            check_chain(chain, "dev-01", key, now)


@pytest.mark.rule("DPS-E400040/device")
def test_a_failed_issuance_is_an_error_with_its_cause() -> None:
    registration = answered(VECTORS["refused_by_the_ca"]["body"])
    error = registration.error
    assert isinstance(error, RegistrationFailed)
    assert (error.error_code, error.cause) == (400040, Cause.CERTIFICATE_NOT_ISSUED)
    assert "credential policy" in error.hint
