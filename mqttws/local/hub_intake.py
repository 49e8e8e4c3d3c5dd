"""A connected device's subscriptions and messages: the rules' decisions, carried out in order."""

import asyncio
import time
from dataclasses import replace

from ..hub.service.codes import Code, Fault
from ..hub.service.decisions import (
    Answered,
    Close,
    Decision,
    Effect,
    Incoming,
    Publish,
    Send,
    TwinChanged,
    on_publish,
    on_will,
    twin_refusal,
)
from ..hub.service.faults import HubFault
from ..hub.service.methods import bad_answer
from ..hub.service.records import Record
from ..hub.service.requests import (
    CertificateAsked,
    MethodAnswered,
    TelemetrySent,
    TwinRead,
    TwinReported,
    parse_request,
)
from ..hub.service.session import subscribed, unsubscribed
from ..hub.service.throttles import MAX_DELAY
from ..protocol import (
    MessageReceived,
    State,
)
from .hub_base import MethodResult, tracking_id
from .hub_delivery import Delivery


class Intake(Delivery):
    """A connection whose device subscribes and publishes."""

    # Subscriptions

    async def _subscribe(self, packet_id: int, wanted: list[tuple[str, int]]) -> None:
        if await self._is_struck("subscribe"):
            return

        def rule(before: Record | None) -> tuple[Record | None, list[int] | str]:
            if before is None:
                return before, "its identity has been deleted"
            found = subscribed(before.session, before.identity, wanted)
            if isinstance(found, str):
                return before, found
            session, codes = found
            return (
                (before, codes)
                if session == before.session
                else (replace(before, session=session), codes)
            )

        codes = await self._hub.change(self._key, rule)
        if isinstance(codes, str):
            self._end(codes)
        elif self.link.protocol.state is State.CONNECTED:
            self.link.protocol.suback(packet_id, codes)
            self._hub.note_subscriptions()
            self.deliver()

    async def _unsubscribe(self, packet_id: int, topic_filters: list[str]) -> None:
        def rule(before: Record | None) -> tuple[Record | None, None]:
            if before is None:
                return before, None
            return replace(before, session=unsubscribed(before.session, topic_filters)), None

        await self._hub.change(self._key, rule)
        if self.link.protocol.state is State.CONNECTED:
            self.link.protocol.unsuback(packet_id)

    # Messages from the device

    async def _on_message(self, event: MessageReceived) -> None:
        hub, peer = self._hub, self._peer
        assert peer is not None
        message = Incoming(event.topic, event.payload, event.qos, event.retain)
        request = parse_request(event.topic)
        if isinstance(request, CertificateAsked):
            await self._ask_certificate(request.request_id, event)
            return
        operation = _OPERATIONS.get(type(request), "telemetry")
        fault = hub.faults.strike(self._key.device_id, operation)
        if fault is not None and await self._strikes(fault, operation):
            return
        now = time.time()
        refused = await self._throttled(request, fault, now)
        if refused is not None:
            if isinstance(refused, Decision):
                self._carry_out(refused, event)
            return
        if isinstance(request, TwinRead | TwinReported):

            def rule(before: Record | None) -> tuple[Record | None, Decision]:
                if before is None:
                    return before, Decision(self.record, (Close("its identity was deleted"),))
                decision = on_publish(before, peer, message, now, tracking_id())
                return decision.record, decision

            decision = await hub.change(self._key, rule)
        else:
            decision = on_publish(self.record, peer, message, now, "")
        self._carry_out(decision, event)
        if fault is not None and fault.kind == "drop-after":
            self._end("fault: dropped after it was served")

    async def _throttled(
        self, request: object, fault: HubFault | None, now: float
    ) -> Decision | Close | None:
        """Return what a throttle or an ordered fault answers instead of the rules."""
        hub = self._hub
        if isinstance(request, TwinRead | TwinReported):
            bucket = hub.twin_reads if isinstance(request, TwinRead) else hub.twin_updates
            refusal = None
            if fault is not None and fault.kind == "answer":
                refusal = Fault(_code_of(fault.status), "fault: answer")
            elif not bucket.take(now):
                refusal = Fault(Code.ThrottlingException, "more requests than the hub takes")
            if refusal is None:
                return None
            tracked = tracking_id()
            effects = twin_refusal(self.record, request.request_id, refusal, now, tracked)
            return Decision(self.record, effects)
        if isinstance(request, TelemetrySent):
            delay = hub.telemetry.delay(now)
            if delay > MAX_DELAY:
                self._end("more telemetry than the hub takes (429002)")
                return Close("")
            if delay:
                await asyncio.sleep(delay)
        return None

    def _carry_out(self, decision: Decision, event: MessageReceived) -> None:
        protocol = self.link.protocol
        closing = [effect for effect in decision.effects if isinstance(effect, Close)]
        if closing:
            self._end(closing[0].reason)
            return
        for effect in decision.effects:
            if isinstance(effect, Publish):  # before PUBACK: it is kept by then
                self._hub.events.add_telemetry(effect.telemetry)
        if event.packet_id is not None and protocol.state is State.CONNECTED:
            protocol.acknowledge(event.packet_id)  # before the answer: Python awaits it first
        for effect in decision.effects:
            self._on_effect(effect)

    def _on_effect(self, effect: Effect) -> None:
        match effect:
            case Send():
                self.send(effect)
            case Answered(request_id, status, payload, fault):
                result = bad_answer(fault) if fault else MethodResult(status, payload)
                key = (self._key.device_id, self._key.module_id)
                if not self._hub.answered(key, request_id, result):
                    self.link.log("an answer to a method that does not wait for one")
            case TwinChanged(patch):
                self._hub.events.add("twinChanged", *self._key[1:], reported=patch)

    def _publish_will(self, topic: str, payload: bytes) -> None:
        if self._peer is not None:
            will = on_will(self._peer, topic, payload, time.time())
            if will is not None:
                self._hub.events.add_telemetry(will)


_OPERATIONS: dict[type, str] = {
    TelemetrySent: "telemetry",
    TwinRead: "twin-get",
    TwinReported: "twin-patch",
    MethodAnswered: "method",
}


def _code_of(status: int) -> Code:
    found = [code for code in Code if code.status == status]
    return found[0] if found else Code.ServerError
