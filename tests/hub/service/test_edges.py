"""The last value that is allowed and the first that is not; the exact words of refusals."""

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any, get_args

import pytest

from mqttws.dps.certificates import Certificate
from mqttws.dps.issuance import MAX_CSR
from mqttws.dps.sas import sign_token
from mqttws.hub.credentials import parse_issue_answer_topic
from mqttws.hub.service import methods
from mqttws.hub.service.access import RIGHTS, Admitted, Policy, Presented, Refused, admit
from mqttws.hub.service.codes import Code, Fault
from mqttws.hub.service.decisions import (
    Answered,
    Incoming,
    Publish,
    Send,
    desired_message,
    on_publish,
    on_will,
)
from mqttws.hub.service.faults import HubFault, HubFaults, Operation, allowed_operations
from mqttws.hub.service.identity import Credentials
from mqttws.hub.service.issuance import Issuance, fault_body, judge, may_ask
from mqttws.hub.service.methods import Invocation, method_name_fault, read_invocation
from mqttws.hub.service.requests import (
    MethodAnswered,
    Names,
    TelemetrySent,
    parse_names,
    parse_request,
)
from mqttws.hub.service.telemetry import MAX_SIZE

from .world import DEVICE, HUB, MODULE, NOW, OTHER, PRIMARY, names, peer, record

EVENTS = "devices/dev/messages/events/"


# Access


def by_token(password: bytes, *, module: bool = False) -> Admitted | Refused:
    identity = MODULE if module else DEVICE
    shown_by = Presented(names(identity.module_id).client_id, names(identity.module_id), password)
    policies = [Policy("iothubowner", (OTHER,), RIGHTS["iothubowner"])]
    return admit(shown_by, identity, DEVICE if module else None, policies, NOW)


def method(scope: str, kind: str) -> str:
    return f'{{"scope":"{scope}","type":"{kind}","issuer":"iothub","acceptingIpFilterRule":null}}'


def test_the_way_of_admission_is_said_in_telemetry() -> None:
    later = int(NOW) + 60
    own = sign_token(f"{HUB}/devices/dev", PRIMARY, later, "").encode()
    owner = sign_token(HUB, OTHER, later, "iothubowner").encode()
    assert by_token(own) == Admitted(DEVICE, float(later), method("device", "sas"))
    assert by_token(own, module=True) == Admitted(MODULE, float(later), method("module", "sas"))
    assert by_token(owner) == Admitted(DEVICE, float(later), method("hub", "sas"))
    by_print = replace(DEVICE, credentials=Credentials("selfSigned", thumbprints=("ab" * 32,)))
    for identity, parent, scope in (
        (by_print, None, "device"),
        (replace(by_print, module_id="mod"), by_print, "module"),
    ):
        of = names(identity.module_id)
        shown_by = Presented(of.client_id, of, None, (certificate(),))
        assert admit(shown_by, identity, parent, [], NOW) == Admitted(
            identity, None, method(scope, "x509")
        )


def test_a_password_that_is_no_text_is_refused() -> None:
    assert isinstance(by_token(b"\xff\xfe"), Refused)


def certificate(**changes: Any) -> Certificate:
    fields = {
        "sha256": "ab" * 32, "sha1": "cd" * 20, "common_name": "dev", "subject": "CN=dev",
        "issuer": "CN=ca", "not_before": NOW - 1, "not_after": NOW + 1, "serial_number": "1",
    }  # fmt: skip
    return Certificate(**fields | changes)


ANCHOR = b"the CA in DER"
ISSUER = certificate(sha256=hashlib.sha256(ANCHOR).hexdigest(), common_name="ca", subject="CN=ca")


def by_chain(chain: tuple[Certificate, ...], common_name: str = "") -> str:
    credentials = Credentials(
        "certificateAuthority", certificates=(ANCHOR,), common_name=common_name
    )
    shown_by = Presented("dev", names(), None, chain)
    verdict = admit(shown_by, replace(DEVICE, credentials=credentials), None, [], NOW)
    return verdict.reason if isinstance(verdict, Refused) else ""


def test_a_certificate_that_was_issued_leads_to_its_issuer() -> None:
    other = replace(ISSUER, sha256="11" * 32)
    assert by_chain((certificate(), ISSUER)) == ""
    assert by_chain((certificate(), other, ISSUER)) == ""
    assert by_chain((certificate(common_name="DEV"), ISSUER)) == ""
    assert by_chain((certificate(common_name="Reg-1"), ISSUER), "reg-1") == ""
    stranger = "the certificate is not one that was issued to its identity"
    assert by_chain((certificate(), other)) == stranger
    assert by_chain((certificate(),)) == stranger
    assert by_chain((replace(ISSUER, common_name="dev"),)) == stranger  # the CA itself
    assert (
        by_chain((certificate(common_name="x"), ISSUER)) == "the certificate's common name is 'x'"
    )
    assert by_chain((certificate(), ISSUER), "reg-1") == "the certificate's common name is 'dev'"


def test_a_certificate_is_valid_in_its_first_and_last_second() -> None:
    assert by_chain((certificate(not_before=NOW), ISSUER)) == ""
    assert by_chain((certificate(not_after=NOW), ISSUER)) == ""


# Requests


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        ("h/d/m/", Names("h", "d", "m")),
        ("h/d/", Names("h", "d")),
        ("h/d/m/?api-version=1", Names("h", "d", "m", "1")),
        ("h/d/?api-version=1/x/y/?api-version=2", Names("h", "d", "", "1")),
        ("h/d/api-version=1/m", Names("h", "d", "", "1")),
        ("h//", None),
        ("h/d//", None),
    ],
)
def test_a_user_name_ends_where_its_query_begins(username: str, expected: Names | None) -> None:
    assert parse_names(username) == expected


def test_a_request_has_an_id_and_a_status_of_at_most_9_digits() -> None:
    assert parse_request("$iothub/twin/GET/?a=1") is None
    assert parse_request("$iothub/twin/GET/?$rid=") is None
    answered = parse_request("$iothub/methods/res/123456789/?$rid=1")
    assert answered == MethodAnswered(123456789, "1")
    assert parse_request("$iothub/methods/res/1234567890/?$rid=1") is None


def test_a_question_mark_may_stand_before_the_properties() -> None:
    expected = TelemetrySent("d", "", {"a": "b"})
    for bag in ("/a=b", "/?a=b", "?a=b", "/?a=b/"):
        assert parse_request(f"devices/d/messages/events{bag}") == expected


@pytest.mark.parametrize(
    ("rest", "request_id"),
    [
        ("200/?$rid=ab-1", "ab-1"),
        ("200/ab-1", "ab-1"),
        ("200/?ab-1", None),
        ("200/a=b", None),
        ("200/?a=b", None),
        ("2000/?$rid=ab-1", None),
        ("20/?$rid=ab-1", None),
        ("2x0/?$rid=ab-1", None),
        ("\u0662\u0660\u0660/?$rid=ab-1", None),
    ],
)
def test_an_answer_about_a_certificate_is_read(rest: str, request_id: str | None) -> None:
    found = parse_issue_answer_topic(f"$iothub/credentials/res/{rest}")
    assert (found.request_id if found else None) == request_id


# Decisions


def test_the_largest_message_and_the_largest_answer_are_taken() -> None:
    message = Incoming(EVENTS + "a=b", b"x" * (MAX_SIZE - 2), 1, False)
    (effect,) = on_publish(record(), peer(), message, NOW, "t").effects
    assert isinstance(effect, Publish)
    body = b'"' + b"x" * (methods.MAX_PAYLOAD - 2) + b'"'
    answer = Incoming("$iothub/methods/res/200/?$rid=1", body, 1, False)
    assert on_publish(record(), peer(), answer, NOW, "t").effects == (
        Answered("1", 200, json.loads(body)),
    )


def test_a_will_that_is_no_telemetry_is_dropped() -> None:
    for topic in ("$iothub/twin/GET/?$rid=1", EVENTS + "a=1:2", "x"):
        assert on_will(peer(), topic, b"", NOW) is None


def test_what_a_device_hears_of_its_twin_is_sent_with_qos_1() -> None:
    assert desired_message({"a": 1}, 2).qos == 1
    question = Incoming("$iothub/twin/GET/?$rid=1", b"", 0)
    (answer,) = on_publish(record(), peer(), question, NOW, "t").effects
    assert isinstance(answer, Send)
    assert answer.qos == 1


# Methods


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, Invocation("m", None, 30, 0)),
        ({"responseTimeoutInSeconds": 0}, Invocation("m", None, 30, 0)),
        ({"responseTimeoutInSeconds": None}, Invocation("m", None, 30, 0)),
        ({"connectTimeoutInSeconds": None, "payload": 1}, Invocation("m", 1, 30, 0)),
        ({"connectTimeoutInSeconds": 300}, Invocation("m", None, 30, 300)),
        (
            {"responseTimeoutInSeconds": 4},
            "responseTimeoutInSeconds: allowed are 5 to 300 seconds",
        ),
        (
            {"connectTimeoutInSeconds": 301},
            "connectTimeoutInSeconds: allowed are 0 to 300 seconds",
        ),
        (
            {"connectTimeoutInSeconds": True},
            "connectTimeoutInSeconds: allowed are 0 to 300 seconds",
        ),
    ],
)
def test_a_call_is_read_within_its_limits(members: dict[str, Any], expected: object) -> None:
    found = read_invocation({"methodName": "m", **members})
    assert (found.message if isinstance(found, Fault) else found) == expected


def test_a_methods_name_has_100_characters_at_most() -> None:
    assert method_name_fault("m" * 100) is None
    assert method_name_fault("m" * 101) is not None


def test_a_call_that_fails_says_why() -> None:
    away = methods.offline(Invocation("m"))
    assert away.message == "The operation failed because the requested device isn't online."
    waited = methods.offline(Invocation("m", connect_timeout=90))
    assert waited.message == "Timed out waiting for device to connect."
    assert waited.info == {"timeout": "00:01:30"}
    assert methods.unanswered().code is Code.GatewayTimeout
    wrong = methods.bad_answer("not JSON")
    assert (wrong.code, wrong.message) == (
        Code.IotHubFormatError,
        "The device's response is not JSON.",
    )
    assert methods.displaced().code is Code.ConnectionForcefullyClosedOnNewConnection


# Faults on order


def test_each_kind_of_fault_strikes_its_operations() -> None:
    every = get_args(Operation)
    assert allowed_operations("refuse") == ("connect",)
    assert allowed_operations("answer") == ("twin-get", "twin-patch", "issue")
    assert allowed_operations("bad-chain") == ("issue",)
    assert allowed_operations("drop") == every
    assert allowed_operations("drop-after") == tuple(each for each in every if each != "connect")


def test_orders_are_numbered_shown_and_cancelled() -> None:
    faults = HubFaults(lambda: 0.0)
    assert faults.standing is False
    assert faults.cancel() is False
    drop, silence = HubFault("drop"), HubFault("silence", times=2)
    assert [faults.order(drop), faults.order(silence)] == [1, 2]
    assert faults.standing is True
    assert faults.orders == {1: drop, 2: silence}
    assert faults.cancel(3) is False
    assert faults.cancel(1) is True
    assert faults.orders == {2: silence}
    assert faults.cancel() is True
    assert faults.orders == {}


def test_a_fault_without_an_operation_strikes_those_of_its_kind() -> None:
    faults = HubFaults(lambda: 0.0)
    faults.order(HubFault("answer"))
    assert faults.strike("d", "telemetry") is None
    assert faults.strike("d", "twin-get") is not None


# Certificates


def test_a_certificate_is_asked_for_on_a_connection_made_with_one() -> None:
    assert may_ask("req-001", "certificateAuthority", None) is None
    for kind, expires_at in (("sas", None), ("none", None), ("certificateAuthority", NOW)):
        assert "was not made with a certificate" in str(may_ask("req-001", kind, expires_at))


def asked(csr: object = "AAAA", **members: object) -> Issuance | Fault:
    body = json.dumps({"id": "dev", "csr": csr, **members}).encode()
    return judge(None, "req-001", body, "dev", "c", NOW)


def test_a_request_is_at_most_8_kib() -> None:
    largest = base64.b64encode(bytes(MAX_CSR * 3 // 4)).decode()
    assert len(largest) == MAX_CSR
    assert isinstance(asked(largest), Issuance)
    assert isinstance(asked(largest + "AAAA"), Fault)
    assert asked(replace=5) == Fault(Code.ArgumentInvalid, "replace: allowed is * or a request id")
    assert judge(None, "req-001", b"[]", "dev", "c", NOW) == Fault(
        Code.ArgumentInvalid, "the body is no JSON object"
    )


def test_an_error_may_say_when_to_ask_again() -> None:
    fault = Fault(Code.ThrottlingException, "later")
    assert "retryAfter" not in fault_body(fault, NOW, "t")
    assert fault_body(fault, NOW, "t", 5.0)["retryAfter"] == 5.0
