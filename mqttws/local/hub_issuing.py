"""A connected device's requests for certificates: judged, accepted, and answered when it listens.

Knows the order of MQTT's answers. Does not know the CA, nor the rules.
"""

import time

from ..dps.json_text import build_json
from ..hub.credentials import CREDENTIALS_FILTER, ISSUE_API_VERSION, issue_answer_topic
from ..hub.service.codes import Code, Fault
from ..hub.service.decisions import Send
from ..hub.service.faults import HubFault
from ..hub.service.issuance import Issuance, fault_body, may_ask
from ..protocol import MessageReceived, State
from .hub_base import tracking_id
from .hub_connection import HubConnection


class Issuing(HubConnection):
    """A connection whose device asks for certificates."""

    _issued: tuple[int, Issuance] | None = None  # the packet id of an answer, and its operation

    async def _ask_certificate(self, request_id: str, event: MessageReceived) -> None:
        peer, hub, key = self._peer, self._hub, self._key
        assert peer is not None
        credentials = self.record.identity.credentials
        reason = may_ask(request_id, credentials.kind, peer.admitted.expires_at)
        if key.module_id or peer.names.api_version[:10] < ISSUE_API_VERSION[:10]:
            reason = (
                f"issueCertificate needs a device with api-version {ISSUE_API_VERSION} or later"
            )
        if reason is not None:
            self._end(reason)
            return
        fault = hub.faults.strike(key.device_id, "issue")
        if fault is not None and fault.kind != "delay" and await self._strikes(fault, "issue"):
            return
        if event.packet_id is not None and self.link.protocol.state is State.CONNECTED:
            self.link.protocol.acknowledge(event.packet_id)
        if not self.listens(CREDENTIALS_FILTER):
            self.link.log("issueCertificate: no answer: the device has not subscribed")
            return
        now = time.time()
        if fault is not None and fault.kind == "answer":
            self._refuse(request_id, _ordered(fault), now, fault.retry_after)
            return
        found = await hub.ask_certificate(key, request_id, event.payload, now)
        if isinstance(found, Fault):
            self._refuse(request_id, found, now)
            return
        topic, body = found.accepted()
        self.send(Send(topic, body, 1, "issueCertificate: 202"))
        if found.status:
            self.deliver_certificate()
        else:
            spoilt = fault.chain if fault is not None and fault.kind == "bad-chain" else None
            wait = fault.seconds if fault is not None and fault.kind == "delay" else 0.0
            hub.issue_soon(key, found, spoilt, wait)
        if fault is not None and fault.kind == "drop-after":
            self._end("fault: dropped after it was served")

    def _refuse(
        self, request_id: str, fault: Fault, now: float, retry_after: float | None = None
    ) -> None:
        status = fault.code.status
        body = build_json(fault_body(fault, now, tracking_id(), retry_after))
        topic = issue_answer_topic(status, request_id)
        self.send(Send(topic, body, 1, f"issueCertificate: {status}, {fault.message}"))

    def deliver_certificate(self) -> None:
        """Send the answer of an operation that has ended, if the device listens for it."""
        operation = self.record.issuance
        if operation is None or not operation.status or not self.listens(CREDENTIALS_FILTER):
            return
        if self._issued is not None and self._issued[1] == operation:
            return  # on its way
        packet_id = self._publish(*operation.answer(), 1)
        if packet_id is None:
            return
        self._issued = packet_id, operation
        self.link.log("issueCertificate: %d", operation.status)
        if packet_id == 0:  # QoS 0: completed when it is sent
            self._certificate_acknowledged(0)

    def _certificate_acknowledged(self, packet_id: int) -> None:
        if self._issued is not None and self._issued[0] == packet_id:
            self._hub.spawn(self._hub.certificate_delivered(self._key, self._issued[1]))


def _ordered(fault: HubFault) -> Fault:
    """Return the fault that an order says; throttling of certificates has a code of its own."""
    if fault.status == 429:
        return Fault(Code.CredentialThrottled, "fault: answer")
    found = [code for code in Code if code.status == fault.status]
    return Fault(found[0] if found else Code.ServerError, "fault: answer")
