"""A device's connection to the local hub: what the rules decide, carried out in MQTT.

Knows the order of MQTT's answers and which messages wait for PUBACK. Does not know the rules, nor
how bytes travel.
"""

import asyncio
import time
from collections import deque
from dataclasses import replace
from typing import NamedTuple, Protocol

from ..errors import ProtocolError, StoreFailed
from ..hub.service.access import SERVER_UNAVAILABLE, Presented, Refused, admit
from ..hub.service.codes import Code, Fault
from ..hub.service.decisions import (
    Answered,
    Close,
    Decision,
    Effect,
    Incoming,
    Peer,
    Publish,
    Send,
    TwinChanged,
    on_publish,
    on_will,
    twin_refusal,
    will_fault,
)
from ..hub.service.faults import HubFault
from ..hub.service.methods import bad_answer
from ..hub.service.queue import Ended, complete, redeliver
from ..hub.service.records import Key, Record
from ..hub.service.requests import (
    MethodAnswered,
    Names,
    TelemetrySent,
    TwinRead,
    TwinReported,
    parse_names,
    parse_request,
)
from ..hub.service.session import opened, subscribed, unsubscribed
from ..hub.service.throttles import MAX_DELAY
from ..protocol import (
    AnswerIgnored,
    ConnectionClosed,
    ConnectReceived,
    Event,
    MessageReceived,
    PublishCompleted,
    Session,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
    WillDue,
)
from ..text import shown
from ..wire import Connect
from .hub_base import MethodResult, tracking_id
from .hub_core import Hub
from .link import ServerLink

MAX_PACKET_SIZE = 256 * 1024 + 65536 + 16
"""Bytes: a message of the largest size and a topic of the largest length."""

MAX_SILENCE = 1767.0
"""Seconds after which the load balancer cuts a silent connection, whatever its keep-alive says."""

MAX_WAITING = 64
"""A device's packets that may wait for their turn; no more of its bytes are read then."""

MAX_UNACKNOWLEDGED = 256
"""Messages that a device may leave without PUBACK before its connection is closed."""


class Registry(Protocol):
    """The hubs behind a port."""

    async def find(self, names: Names) -> "Hub | None":
        """Return the hub that a user name means; None for none."""


class _Completed(NamedTuple):
    """A message to the device that it has acknowledged."""

    sequence: int


class _LockEnded(NamedTuple):
    """A message to the device that it has not acknowledged in time."""

    sequence: int


class HubDevice:
    """The handler of one device's connection.

    Args:
        registry: the hubs.
        link: the connection.
    """

    def __init__(self, registry: Registry, link: ServerLink) -> None:
        self.link = link
        self.record: Record
        self._registry = registry
        self._hub: Hub
        self._peer: Peer | None = None
        self._key: Key
        self._waiting: deque[Event | _Completed | _LockEnded] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        self._timers: dict[int | str, asyncio.TimerHandle] = {}
        self._unacknowledged: list[int] = []  # packet ids, in the order of sending
        self._sent: dict[int, int] = {}  # packet id: a message's number in the queue
        self._delivered: set[int] = set()

    # For the hub

    @property
    def expires_at(self) -> float | None:
        """Unix time in seconds at which its token ends; None for a certificate."""
        return None if self._peer is None else self._peer.admitted.expires_at

    def listens(self, topic_filter: str) -> bool:
        """Whether the device is connected and has subscribed to this filter."""
        protocol = self.link.protocol
        return protocol.state is State.CONNECTED and topic_filter in protocol.session.granted

    def send(self, message: Send) -> bool:
        """Send the device a message; return whether it has subscribed to it."""
        protocol = self.link.protocol
        if protocol.state is not State.CONNECTED:
            return False
        if len(protocol.session.outgoing) >= MAX_UNACKNOWLEDGED:
            self.close("the device acknowledges none of its messages")
            return False
        sent = self._publish(message.topic, message.payload, message.qos)
        if message.reason:
            self.link.log("%s", message.reason)
        self.link.pump()
        return sent is not None

    def deliver(self) -> None:
        """Send the messages of the record's queue that have not been sent yet."""
        protocol = self.link.protocol
        for message in self.record.queue.messages:
            if message.sequence in self._delivered or protocol.state is not State.CONNECTED:
                continue
            topic = message.topic(self.record.identity.device_id)
            packet_id = self._publish(topic, message.payload, 1)
            if packet_id is None:
                return  # it has not subscribed
            self._delivered.add(message.sequence)
            self.link.log("message %d to the device", message.sequence)
            if packet_id == 0:  # QoS 0: completed when it is sent
                self._take(_Completed(message.sequence))
                continue
            self._sent[packet_id] = message.sequence
            self._set_timer(message.sequence)
        self.link.pump()

    def _publish(self, topic: str, payload: bytes, qos: int) -> int | None:
        """Send a message; return its packet id, 0 for QoS 0, None without a subscription."""
        protocol = self.link.protocol
        outgoing = protocol.session.outgoing
        before = len(outgoing)
        if not protocol.publish(topic, payload, qos):
            return None
        if len(outgoing) == before:
            return 0
        packet_id = next(reversed(outgoing))
        self._unacknowledged.append(packet_id)
        return packet_id

    def close(self, reason: str) -> None:
        """End the connection; ``reason`` goes into the log."""
        self.link.close(reason)

    # For the link

    def handle(self, event: Event) -> None:
        """Take an event of the connection."""
        match event:
            case ConnectReceived(connect):
                self._worker = self.link.loop.create_task(self._admit(connect))
            case ConnectionClosed(error):
                self._finish(error)
            case WillDue(will):
                self._publish_will(will.topic, will.payload)
            case PublishCompleted(packet_id):
                self._acknowledged(packet_id)
            case AnswerIgnored(error=error):
                self.link.end(error)
            case MessageReceived() | SubscribeReceived() | UnsubscribeReceived():
                self._take(event)

    def _take(self, item: Event | _Completed | _LockEnded) -> None:
        if self.link.ended or self._peer is None:
            return
        if self._worker is None and isinstance(item, MessageReceived) and self._quick(item):
            return
        self._waiting.append(item)
        if len(self._waiting) >= MAX_WAITING:
            self.link.hold("packets wait")
        if self._worker is None:
            self._worker = self.link.loop.create_task(self._work())

    def _quick(self, event: MessageReceived) -> bool:
        """Serve telemetry at once, where nothing is in the way; it touches no record."""
        hub, peer = self._hub, self._peer
        assert peer is not None
        if not event.topic.startswith("devices/") or hub.settings.limits.telemetry is not None:
            return False
        if hub.faults.standing:
            return False
        message = Incoming(event.topic, event.payload, event.qos, event.retain)
        decision = on_publish(self.record, peer, message, time.time(), "")
        self._carry_out(decision, event)
        return True

    async def _work(self) -> None:
        """Serve what waits, one after the other."""
        try:
            while self._waiting:
                item = self._waiting.popleft()
                await self._serve(item)
                self.link.pump()
        except StoreFailed as error:
            self.close(f"the hub's store fails: {error}")
        finally:
            self._worker = None
        self.link.release("packets wait")

    async def _serve(self, item: Event | _Completed | _LockEnded) -> None:
        match item:
            case MessageReceived():
                await self._on_message(item)
            case SubscribeReceived(packet_id, subscriptions):
                wanted = [(asked.topic_filter, asked.qos) for asked in subscriptions]
                await self._subscribe(packet_id, wanted)
            case UnsubscribeReceived(packet_id, topic_filters):
                await self._unsubscribe(packet_id, topic_filters)
            case _Completed(sequence):
                await self._complete(sequence)
            case _LockEnded(sequence):
                await self._deliver_again(sequence)

    # CONNECT

    async def _admit(self, connect: Connect) -> None:
        try:
            verdict = await self._judge(connect)
        except StoreFailed as error:
            verdict = Refused(f"the hub's store fails: {error}", SERVER_UNAVAILABLE)
        finally:
            self._worker = None
        if self._closed or self.link.protocol.state is not State.CONNECTING:
            return
        if isinstance(verdict, Refused):
            self.link.log("CONNACK %d: %s", verdict.return_code, verdict.reason)
            self.link.protocol.refuse(verdict.return_code)
        else:
            self._accept(verdict[0], verdict[1], present=verdict[2], record=verdict[3])
        self.link.pump()

    async def _judge(self, connect: Connect) -> Refused | tuple[Peer, Key, bool, Record]:
        names = parse_names(connect.username or "")
        if names is None:
            return Refused(f"user name {shown(connect.username)}; allowed: {{hub}}/{{device}}/?...")
        if connect.will is not None:
            fault = will_fault(names, connect.will.topic, connect.will.qos)
            if fault:
                return Refused(fault)
        hub = await self._registry.find(names)
        if hub is None:
            return Refused(f"there is no hub {shown(names.hub)} here")
        self._hub = hub
        now = time.time()
        refused = await self._disturbed(names)
        if refused is not None:
            return refused
        if not hub.connects.take(now):
            return Refused("more connections than the hub takes (429001)", SERVER_UNAVAILABLE)
        key = hub.key(names.device_id, names.module_id)
        record = await hub.load(key)
        parent = await hub.load(hub.key(names.device_id)) if names.module_id else None
        presented = Presented(connect.client_id, names, connect.password, self.link.chain)
        verdict = admit(
            presented,
            None if record is None else record.identity,
            None if parent is None else parent.identity,
            hub.policies,
            now,
        )
        if isinstance(verdict, Refused):
            return verdict
        return await self._open(Peer(names, verdict), key, clean=connect.clean_session)

    async def _disturbed(self, names: Names) -> Refused | None:
        """Let an ordered fault strike a CONNECT."""
        fault = self._hub.faults.strike(names.device_id, "connect")
        if fault is None:
            return None
        self.link.log("fault: %s at connect", fault.kind)
        if fault.kind == "refuse":
            return Refused("fault: refuse", fault.return_code)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "silence":
            await asyncio.get_running_loop().create_future()
        else:
            self.close("fault: dropped at connect")
        return None

    async def _open(
        self, peer: Peer, key: Key, *, clean: bool
    ) -> Refused | tuple[Peer, Key, bool, Record]:
        """Open the session of an admitted device."""

        def rule(before: Record | None) -> tuple[Record | None, tuple[Record, bool] | None]:
            if before is None:
                return before, None
            session, present = opened(before.session, clean=clean)
            after = before
            if session != before.session:
                after = replace(before, session=session)
            return after, (after, present)

        found = await self._hub.change(key, rule)
        if found is None:
            return Refused("its identity has just been deleted")
        return peer, key, found[1], found[0]

    def _accept(self, peer: Peer, key: Key, *, present: bool, record: Record) -> None:
        link = self.link
        self._peer, self._key, self.record = peer, key, record
        link.label += f" {record.identity.name}"
        self._hub.connected(self)
        link.log("CONNACK 0%s", ", session present" if present else "")
        session = Session()
        session.granted.update(record.session.subscriptions)
        link.protocol.accept(
            link.loop.time(),
            session_present=present,
            session=session,
            max_silence=MAX_SILENCE,
            max_packet_size=MAX_PACKET_SIZE,
        )
        if peer.admitted.expires_at is not None:
            seconds = max(0.0, peer.admitted.expires_at - time.time())
            self._timers["token"] = link.loop.call_later(seconds, self._expire)
        if link.protocol.state is State.CONNECTED:
            self._hub.note_subscriptions()
            self.deliver()  # straight behind CONNACK, before the device subscribes again

    def _expire(self) -> None:
        self.close("its SAS token has expired (401003)")

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

    # Faults on order

    async def _is_struck(self, operation: str) -> bool:
        fault = self._hub.faults.strike(self._key.device_id, operation)
        return fault is not None and await self._strikes(fault, operation)

    async def _strikes(self, fault: HubFault, operation: str) -> bool:
        """Let a fault strike; return whether the operation is not done."""
        self.link.log("fault: %s at %s", fault.kind, operation)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "drop":
            self._end(f"fault: dropped at {operation}")
        return fault.kind in ("drop", "silence")

    # Messages to the device

    def _acknowledged(self, packet_id: int) -> None:
        if self._unacknowledged[:1] != [packet_id]:
            self._end(f"PUBACK {packet_id} out of order")
            return
        del self._unacknowledged[0]
        sequence = self._sent.pop(packet_id, None)
        if sequence is not None and sequence in self._delivered:
            timer = self._timers.pop(sequence, None)
            if timer is not None:
                timer.cancel()
            self._take(_Completed(sequence))

    async def _complete(self, sequence: int) -> None:
        """Take a message out of the queue: the device has acknowledged it."""
        if await self._is_struck("puback"):
            self._set_timer(sequence)
            return
        await self._hub.end_messages(self._key, lambda record, _: complete(record.queue, sequence))
        self._delivered.discard(sequence)

    async def _deliver_again(self, sequence: int) -> None:
        """Put a message back whose lock has ended, and send it again."""
        counted = self._hub.settings.count_deliveries

        def how(record: Record, now: float) -> Ended:
            return redeliver(record.queue, sequence, counted=counted)

        await self._hub.end_messages(self._key, how)
        self._delivered.discard(sequence)
        self.deliver()

    def _set_timer(self, sequence: int) -> None:
        def due() -> None:
            self._timers.pop(sequence, None)
            self._take(_LockEnded(sequence))

        seconds = self._hub.settings.lock_seconds
        self._timers[sequence] = self.link.loop.call_later(seconds, due)

    # The end

    def _end(self, reason: str) -> None:
        """End the connection from within an event."""
        self.link.end(ProtocolError(reason))

    def _finish(self, error: Exception | None) -> None:
        self._closed = True
        self.link.log("closed: %s", error or "by the device")
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if error is not None:  # else what came before DISCONNECT is served
            self._waiting.clear()
            if self._worker is not None and self._worker is not asyncio.current_task():
                self._worker.cancel()
        if self._peer is not None:
            self._hub.disconnected(self)


_OPERATIONS: dict[type, str] = {
    TelemetrySent: "telemetry",
    TwinRead: "twin-get",
    TwinReported: "twin-patch",
    MethodAnswered: "method",
}


def _code_of(status: int) -> Code:
    found = [code for code in Code if code.status == status]
    return found[0] if found else Code.ServerError
