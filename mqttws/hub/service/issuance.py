"""The hub's decisions about a device's request for another certificate.

A request that may be granted becomes the device's operation, answered 202; the CA's answer ends it
with 200 or an error, which stays until the device has acknowledged it, so that it arrives after a
reconnect too. One operation at a time: another request is a conflict unless it replaces it. Pure:
the CA, ids and time come from outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...dps.issuance import MAX_CSR, decode_der
from ...dps.json_text import build_json, parse_json
from ...text import shown
from ..credentials import is_request_id, issue_answer_topic
from .codes import Code, Fault, error_body, timestamp

OPERATION_SECONDS = 12 * 3600.0
"""Seconds after which an operation that has not ended is forgotten."""

_MEMBERS = frozenset(("id", "csr", "replace"))


@dataclass(frozen=True, slots=True)
class Issuance:
    """A device's request for a certificate, under way or ended.

    Attributes:
        request_id: the device's.
        correlation_id: the hub's.
        expires: Unix time in seconds.
        csr: as it came, base64.
        status: 0 as long as the CA works; then that of the answer.
        body: of the answer.
    """

    request_id: str
    correlation_id: str
    expires: float
    csr: str
    status: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)

    def answer(self) -> tuple[str, bytes]:
        """Return the topic and the body of the answer that ends it."""
        return issue_answer_topic(self.status, self.request_id), build_json(dict(self.body))

    def accepted(self) -> tuple[str, bytes]:
        """Return the topic and the body of the answer 202."""
        body = {"correlationId": self.correlation_id, "operationExpires": timestamp(self.expires)}
        return issue_answer_topic(202, self.request_id), build_json(body)


def may_ask(request_id: str, kind: str, expires_at: float | None) -> str | None:
    """Return the reason why a request only closes the connection; None where it is answered.

    Args:
        request_id: of the topic; empty for none.
        kind: of the identity's credentials.
        expires_at: of the connection's token; None with a certificate.
    """
    if not is_request_id(request_id):
        return (
            f"issueCertificate with $rid {shown(request_id)}; allowed: 4 to 36 letters, digits, -"
        )
    if expires_at is not None or kind in ("sas", "none"):
        return "issueCertificate on a connection that was not made with a certificate"
    return None


def judge(  # noqa: PLR0917 - all that the decision depends on
    active: Issuance | None,
    request_id: str,
    payload: bytes,
    device_id: str,
    correlation_id: str,
    now: float,
) -> Issuance | Fault:
    """Return the operation that a request begins, or goes on with; or the fault to answer.

    Args:
        active: the device's operation; None for none.
        request_id: of the request.
        payload: its body.
        device_id: of the connection.
        correlation_id: a fresh one.
        now: Unix time in seconds.
    """
    body = _read(payload, device_id)
    if isinstance(body, Fault):
        return body
    csr, replaces = body
    if active is not None and active.expires <= now:
        active = None
    if active is not None and active.request_id == request_id and active.csr == csr:
        return active  # sent again, after a reconnect
    running = active is not None and active.status == 0
    if replaces not in ("", "*") and (active is None or replaces != active.request_id):
        return Fault(Code.PreconditionFailed, f"no active request {shown(replaces)} to replace")
    if running and active is not None and not replaces and active.request_id != request_id:
        info = {
            "requestId": active.request_id,
            "correlationId": active.correlation_id,
            "operationExpires": timestamp(active.expires),
        }
        message = "A certificate signing request operation is already active"
        return Fault(Code.IssuanceActive, message, info)
    return Issuance(request_id, correlation_id, now + OPERATION_SECONDS, csr)


def _read(payload: bytes, device_id: str) -> tuple[str, str] | Fault:
    """Return the request in base64, and the id that it replaces; empty for none."""
    if not payload.strip():
        return Fault(Code.ArgumentInvalid, "the body is empty")
    try:
        body = parse_json(payload)
    except ValueError:
        return Fault(Code.IotHubFormatError, "the body is not JSON")
    if not isinstance(body, dict):
        return Fault(Code.ArgumentInvalid, "the body is no JSON object")
    unknown = sorted(set(body) - _MEMBERS)
    if unknown:
        return Fault(Code.ArgumentInvalid, f"unknown member {shown(unknown[0])}")
    if body.get("id") != device_id:
        return Fault(Code.ArgumentInvalid, "id: allowed is the device's own")
    csr, replaces = body.get("csr"), body.get("replace")
    if not isinstance(csr, str) or len(csr) > MAX_CSR or not decode_der(csr):
        return Fault(
            Code.ArgumentInvalid, f"csr: allowed is base64 of at most {MAX_CSR} characters"
        )
    if not (replaces is None or isinstance(replaces, str)):
        return Fault(Code.ArgumentInvalid, "replace: allowed is * or a request id")
    return csr, replaces or ""


def ended(active: Issuance, chain: list[str] | None) -> Issuance:
    """Return an operation with its certificates; None leaves the member out, an ordered fault."""
    body: dict[str, Any] = {"correlationId": active.correlation_id}
    if chain is not None:
        body["certificates"] = chain
    return _with(active, 200, body)


def refused(active: Issuance, reason: str, message: str, now: float, tracking_id: str) -> Issuance:
    """Return an operation that the CA has refused."""
    info = {
        "correlationId": active.correlation_id,
        "credentialError": reason,
        "credentialMessage": message,
    }
    fault = Fault(Code.IssuanceRefused, "A certificate signing request operation failed", info)
    return _with(active, fault.code.status, fault_body(fault, now, tracking_id))


def _with(active: Issuance, status: int, body: dict[str, Any]) -> Issuance:
    return Issuance(
        active.request_id, active.correlation_id, active.expires, active.csr, status, body
    )


def fault_body(
    fault: Fault, now: float, tracking_id: str, retry_after: float | None = None
) -> dict[str, Any]:
    """Return the body of an error answer."""
    body = error_body(fault.code, fault.message, now, tracking_id) | {"info": dict(fault.info)}
    return body if retry_after is None else body | {"retryAfter": retry_after}
