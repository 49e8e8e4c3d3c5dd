"""Certificates re-issued by the hub: each end alone against bytes of public sources."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqttws.dps.issuance import read_chain
from mqttws.hub.credentials import (
    CREDENTIALS_FILTER,
    IssueResponse,
    expiry_of,
    is_request_id,
    issue_answer_topic,
    issue_body,
    issue_topic,
    parse_issue_answer_topic,
    parse_issue_topic,
    read_object,
    retry_after,
)
from mqttws.hub.device.requests import fault_from_json
from mqttws.hub.service.codes import Code, Fault
from mqttws.hub.service.identity import Credentials, Identity
from mqttws.hub.service.issuance import (
    OPERATION_SECONDS,
    Issuance,
    ended,
    fault_body,
    judge,
    may_ask,
    refused,
)
from mqttws.hub.service.records import Record, parts_of, record_from_json
from mqttws.hub.service.requests import CertificateAsked, documented_filters, parse_request

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "credentials_vectors.json").read_text()
)
CSR = base64.b64encode(b"a request").decode()
NOW = 1_800_000_000.0

# The device's side


@pytest.mark.parametrize("row", VECTORS["request_topics"], ids=lambda row: row["request_id"])
def test_the_topic_of_a_request(row: dict[str, Any]) -> None:
    assert issue_topic(row["request_id"]) == row["topic"]
    assert VECTORS["filter"]["text"] == CREDENTIALS_FILTER


@pytest.mark.parametrize("row", VECTORS["answer_topics"], ids=lambda row: row["topic"])
def test_the_topic_of_an_answer_is_read(row: dict[str, Any]) -> None:
    wanted = None if row["status"] is None else IssueResponse(row["status"], row["request_id"])
    assert parse_issue_answer_topic(row["topic"]) == wanted


@pytest.mark.parametrize("row", VECTORS["request_bodies"], ids=lambda row: row["replace"] or "-")
def test_the_body_of_a_request(row: dict[str, Any]) -> None:
    body = issue_body(row["device_id"], base64.b64decode(row["csr"]), row["replace"])
    assert json.loads(body) == row["body"]


def test_the_answers_are_read() -> None:
    accepted = VECTORS["accepted"]
    assert expiry_of(accepted["body"]["operationExpires"]) == accepted["expires"]
    assert expiry_of("soon") is None
    body = {VECTORS["completed"]["member"]: VECTORS["completed"]["chain"]}
    chain = read_chain(read_object(json.dumps(body).encode()), "certificates")
    assert [base64.b64encode(der).decode() for der in chain] == VECTORS["completed"]["chain"]
    assert read_object(b"[]") == read_object(b"{") == {}


@pytest.mark.parametrize("row", VECTORS["errors"], ids=lambda row: str(row["status"]))
def test_an_error_is_read_by_its_status(row: dict[str, Any]) -> None:
    fault = fault_from_json(row["status"], row["body"])
    assert fault.error_code == row["body"]["errorCode"]
    assert fault.passes is row["transient"]
    assert retry_after(row["body"]) == row["retry_after"]
    assert row["body"].get("info", {}).get("requestId") == row.get("active")


# The hub's side


@pytest.mark.parametrize("row", VECTORS["request_topics"], ids=lambda row: row["request_id"])
def test_a_request_is_recognised_by_its_topic(row: dict[str, Any]) -> None:
    assert parse_issue_topic(row["topic"]) == row["request_id"]
    assert parse_request(row["topic"]) == CertificateAsked(row["request_id"])
    assert parse_request(row["topic"].partition("?")[0]) == CertificateAsked("")
    assert issue_answer_topic(202, "req-001") == VECTORS["answer_topics"][0]["topic"]
    assert CREDENTIALS_FILTER in documented_filters("dev")
    assert CREDENTIALS_FILTER not in documented_filters("dev", "module")


def test_request_ids_are_judged() -> None:
    ids = VECTORS["request_ids"]
    assert all(map(is_request_id, ids["good"]))
    assert not any(map(is_request_id, ids["bad"]))
    for request_id in ids["bad"]:
        assert "$rid" in (may_ask(request_id, "certificateAuthority", None) or "")


def test_a_request_needs_a_connection_made_with_a_certificate() -> None:
    assert may_ask("req-001", "certificateAuthority", None) is None
    assert may_ask("req-001", "selfSigned", None) is None
    assert "not made with a certificate" in (may_ask("req-001", "sas", NOW) or "")


@pytest.mark.parametrize("row", VECTORS["refused_requests"], ids=lambda row: row["name"])
def test_a_bad_request_is_refused_with_the_codes_seen(row: dict[str, Any]) -> None:
    found = judge(None, "req-001", row["payload"].encode(), "dev", "c-1", NOW)
    assert isinstance(found, Fault)
    assert found.code == row["error_code"]


def asked(active: Issuance | None = None, request_id: str = "req-001", **more: Any) -> Any:
    body = json.dumps({"id": "dev", "csr": CSR, **more}).encode()
    return judge(active, request_id, body, "dev", "c-1", NOW)


@pytest.mark.rule("HUB-38")
def test_one_operation_at_a_time_unless_it_is_replaced() -> None:
    first = asked()
    assert first == Issuance("req-001", "c-1", NOW + OPERATION_SECONDS, CSR)
    assert asked(first) is first  # the same request, sent again
    conflict = asked(first, "req-002")
    assert isinstance(conflict, Fault)
    assert conflict.code.status == 409
    assert (
        fault_body(conflict, NOW, "t")["info"].keys() == VECTORS["errors"][1]["body"]["info"].keys()
    )
    for replace_by in ("*", "req-001"):
        assert asked(first, "req-002", replace=replace_by).request_id == "req-002"
    nothing = asked(first, "req-002", replace="req-009")
    assert (nothing.code, nothing.code.value) == (Code.PreconditionFailed, 412001)
    assert asked(None, replace="req-009").code.value == 412001
    assert isinstance(asked(None, replace="*"), Issuance)
    assert isinstance(asked(replace(first, expires=NOW), "req-002"), Issuance)
    assert isinstance(asked(ended(first, []), "req-002"), Issuance)  # the first one has ended
    other = judge(first, "req-001", b'{"id":"dev","csr":"QUJD"}', "dev", "c-2", NOW)
    assert isinstance(other, Issuance)  # the same id for another request
    assert other.csr == "QUJD"


def test_an_operation_ends_with_certificates_or_a_refusal() -> None:
    first = asked()
    topic, body = first.accepted()
    assert topic == VECTORS["answer_topics"][0]["topic"]
    assert json.loads(body).keys() == VECTORS["accepted"]["body"].keys()
    topic, body = ended(first, ["QUJD"]).answer()
    assert topic == VECTORS["answer_topics"][1]["topic"]
    assert json.loads(body) == {"correlationId": "c-1", "certificates": ["QUJD"]}
    topic, body = refused(first, "FailedToDecodeCsr", "no PKCS#10", NOW, "t-1").answer()
    told = VECTORS["errors"][0]["body"]
    assert topic.startswith("$iothub/credentials/res/400/")
    assert json.loads(body).keys() == told.keys()
    assert json.loads(body)["errorCode"] == told["errorCode"]
    assert json.loads(body)["info"].keys() == told["info"].keys()


def test_an_operation_survives_the_store() -> None:
    credentials = Credentials("certificateAuthority", certificates=(b"ca",), common_name="Dev")
    record = Record(Identity("dev", credentials=credentials), issuance=ended(asked(), ["QUJD"]))
    assert record_from_json(json.loads(json.dumps(parts_of(record)))) == record
    old = parts_of(Record(Identity("dev")))
    del old["issuance"], old["identity"]["credentials"]["common_name"]
    del old["identity"]["credentials"]["policy"]
    assert record_from_json(old) == Record(Identity("dev"))  # as an earlier version has written it
