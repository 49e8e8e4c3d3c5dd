"""A device's connection to the local hub: what the rules decide, carried out in MQTT.

Knows the order of MQTT's answers and which messages wait for PUBACK. Does not know the rules, nor
how bytes travel.
"""

import asyncio
import time

from ..errors import StoreFailed
from ..hub.service.access import SERVER_UNAVAILABLE, Refused
from ..hub.service.decisions import (
    Incoming,
    Peer,
    on_publish,
)
from ..hub.service.records import Key, Record
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
from ..wire import Connect
from .hub_admission import Admission
from .hub_connection import MAX_PACKET_SIZE, MAX_SILENCE, MAX_WAITING, Completed, LockEnded
from .hub_intake import Intake


class HubDevice(Admission, Intake):
    """The handler of one device's connection; see ``HubConnection`` for its arguments."""

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

    def _take(self, item: Event | Completed | LockEnded) -> None:
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

    async def _serve(self, item: Event | Completed | LockEnded) -> None:
        match item:
            case MessageReceived():
                await self._on_message(item)
            case SubscribeReceived(packet_id, subscriptions):
                wanted = [(asked.topic_filter, asked.qos) for asked in subscriptions]
                await self._subscribe(packet_id, wanted)
            case UnsubscribeReceived(packet_id, topic_filters):
                await self._unsubscribe(packet_id, topic_filters)
            case Completed(sequence):
                await self._complete(sequence)
            case LockEnded(sequence):
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

    def _accept(self, peer: Peer, key: Key, *, present: bool, record: Record) -> None:
        link = self.link
        self._peer, self._key = peer, key
        self.record: Record = record
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
