"""A device's connection to the local DPS: what the rules decide, carried out in MQTT.

Knows the order of MQTT's answers, and which connection speaks for a device. Does not know the
rules, nor how bytes travel.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, Protocol

from ..dps.certificates import Chain
from ..dps.decisions import api_version_note, grant, read_request
from ..dps.effects import AllocationRequested, Answer, Close, Device, Effect, Refusal
from ..dps.faults import Fault
from ..dps.topics import Message, Request
from ..errors import ProtocolError
from ..protocol import (
    ConnectionClosed,
    ConnectReceived,
    Event,
    MessageReceived,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
)
from ..text import shown
from ..wire import REFUSED, Connect
from .dps_events import DpsEvents, note_answer
from .link import ServerLink
from .sabotage import Sabotage, spoiled

MAX_UNACKNOWLEDGED = 64
"""Answers that a device may leave without PUBACK before its connection is closed."""

MAX_WAITING = 16
"""Requests of one device that may wait for their turn; no more of its bytes are read then."""

AUTHENTICATION_TIMEOUT = 60.0
"""Seconds after CONNECT within which a device must have proved its identity by a request."""


class Served(NamedTuple):
    """A request that has been decided, and committed where it changed something.

    Attributes:
        effects: for the connection.
        fault: the ordered fault that struck the request; None for none.
        proved_at: the store's time at which the request proved the device's identity; None where
            it did not.
    """

    effects: list[Effect]
    fault: Fault | None = None
    proved_at: float | None = None


class Front(Protocol):
    """The interface of the service for a connection."""

    presence: "Presence"
    events: DpsEvents
    restart: Callable[[float], None]

    def admit(
        self, client_id: str, username: str | None, password: bytes | None, chain: Chain
    ) -> Device | Refusal:
        """Judge a CONNECT by its names."""

    def concern(self, hop: str, registration_id: str = "") -> bool:
        """Whether an ordered fault may strike a leg of a device's way."""

    async def strike(self, hop: str, registration_id: str = "", label: str = "") -> Fault | None:
        """Return what goes wrong on a leg of a device's way; None for nothing."""

    async def serve(self, device: Device, request: Request, body: bytes) -> Served:
        """Decide about a request, and commit what it changes."""

    def request_allocation(self, request: AllocationRequested) -> None:
        """Ask an enrollment's webhook for a hub, in the background."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something that ends with the service at the latest."""


class Presence:
    """The connections of a device: at most one that has proved its identity, and one that has not.

    A connection takes the place of an older one of the same device [MQTT-3.1.4-2], once it has
    proved at least as much: a stranger who knows a registration id does not disconnect its device.

    Attributes:
        on_proved: is given the key of each device that a connection has proved, and the store's
            time; None for no call.
    """

    def __init__(self) -> None:
        self._unproved: dict[str, DpsDevice] = {}
        self._proved: dict[str, DpsDevice] = {}
        self.on_proved: Callable[[str, float], None] | None = None

    def arrive(self, connection: "DpsDevice") -> None:
        """Take in a connection whose CONNECT has been accepted."""
        self._take_over(self._unproved, connection)

    def prove(self, connection: "DpsDevice", at: float) -> None:
        """Note that a connection has proved its device's identity, at a time of the store."""
        connection.proved_at = at
        if self._unproved.get(connection.key) is connection:
            del self._unproved[connection.key]
        self._take_over(self._proved, connection)
        if self.on_proved is not None:
            self.on_proved(connection.key, at)

    def proved_elsewhere(self, key: str, at: float) -> None:
        """Close the connection of a device that proved itself at another front end later."""
        older = self._proved.get(key)
        if older is not None and older.proved_at is not None and older.proved_at < at:
            older.link.close("taken over by another client with this id, at another front end")

    def proofs(self) -> list[tuple[str, float]]:
        """Return the devices that have proved their identity here, each with the store's time."""
        return [
            (key, connection.proved_at)
            for key, connection in self._proved.items()
            if connection.proved_at is not None
        ]

    def leave(self, connection: "DpsDevice") -> None:
        """Forget a closed connection."""
        for known in (self._unproved, self._proved):
            if known.get(connection.key) is connection:
                del known[connection.key]

    @staticmethod
    def _take_over(known: "dict[str, DpsDevice]", connection: "DpsDevice") -> None:
        older = known.get(connection.key)
        known[connection.key] = connection
        if older is not None and older is not connection:
            newer = connection.link.label
            older.link.close(f"taken over by another client with this id, on connection {newer}")


class DpsDevice:
    """The handler of one device's connection.

    Args:
        front: the service.
        link: the connection.

    Attributes:
        key: the registration id, in lower case; empty before CONNECT has been accepted.
        proved_at: the store's time at which it proved the device's identity; None before.
    """

    def __init__(self, front: Front, link: ServerLink) -> None:
        self.link = link
        self.key: str = ""
        self._front = front
        self._device: Device | None = None
        self.proved_at: float | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._waiting: deque[MessageReceived | SubscribeReceived] = deque()
        self._working = False
        self._sabotage = Sabotage(link, front.restart)

    def handle(self, event: Event) -> None:
        """Take an event of the connection."""
        match event:
            case ConnectReceived(connect):
                self._admit(connect)
            case SubscribeReceived():
                if self._working or self._front.concern("subscribe", self.key):
                    self._take(event)
                else:
                    self._grant(event)
            case UnsubscribeReceived(packet_id):
                if self.link.protocol.state is State.CONNECTED:
                    self.link.protocol.unsuback(packet_id)
            case MessageReceived():
                self._take(event)
            case ConnectionClosed(error):
                self._finish(error)

    # What the device says

    def _admit(self, connect: Connect) -> None:
        link = self.link
        verdict = self._front.admit(
            connect.client_id, connect.username, connect.password, link.chain
        )
        if isinstance(verdict, Refusal):
            self._note_refused(verdict.return_code, verdict.reason)
            link.protocol.refuse(verdict.return_code)
            return
        self._device = verdict
        self.key = verdict.registration_id.lower()
        link.label += f" {verdict.registration_id}"
        self._front.presence.arrive(self)
        self._deadline = link.loop.call_later(AUTHENTICATION_TIMEOUT, self._give_up)
        if self._front.concern("connect", self.key):
            self._front.spawn(self._accept_struck(verdict))
        else:
            self._accept(verdict)

    def _accept(self, device: Device) -> None:
        link = self.link
        if link.protocol.state is not State.CONNECTING:
            return  # it has left meanwhile
        note = api_version_note(device.api_version)
        link.log("CONNACK 0%s", f": {note}" if note else "")
        name, label = device.registration_id, link.label
        self._front.events.add("connected", name, label, apiVersion=device.api_version)
        # No session is kept, whatever CleanSession says: session present is always 0.
        link.protocol.accept(link.loop.time())

    def _note_refused(self, code: int, reason: str) -> None:
        self.link.log("CONNACK %d: %s", code, reason)
        name = "" if self._device is None else self._device.registration_id
        facts = {"hop": "connect", "returnCode": code, "reason": reason}
        self._front.events.add("refused", name, self.link.label, **facts)

    async def _accept_struck(self, device: Device) -> None:
        fault = await self._front.strike("connect", device.registration_id)
        if fault is None:
            self._accept(device)
        elif fault.kind == "answer":
            self._note_refused(fault.return_code, "an ordered fault")
            if self.link.protocol.state is State.CONNECTING:
                self.link.protocol.refuse(fault.return_code)
        else:
            self._sabotage.disturb(fault, lambda: self._accept(device))
        self.link.pump()

    def _grant(self, event: SubscribeReceived, *, refused: bool = False) -> None:
        protocol, subscriptions = self.link.protocol, event.subscriptions
        if protocol.state is not State.CONNECTED:
            return
        granted = [grant(asked.topic_filter, asked.qos) for asked in subscriptions]
        if refused:
            protocol.suback(event.packet_id, [REFUSED] * len(granted))
            return
        protocol.suback(event.packet_id, [REFUSED if qos is None else qos for qos in granted])
        if None in granted:
            undocumented = subscriptions[granted.index(None)].topic_filter
            self.link.end(ProtocolError(f"undocumented topic filter {shown(undocumented)}"))

    async def _grant_struck(self, event: SubscribeReceived) -> None:
        fault = await self._front.strike("subscribe", self.key)
        if fault is None or fault.kind == "answer":
            self._grant(event, refused=fault is not None)
        else:
            self._sabotage.disturb(fault, lambda: self._grant(event))

    def _take(self, event: MessageReceived | SubscribeReceived) -> None:
        if self.link.ended or self._device is None:
            return
        self._waiting.append(event)
        if len(self._waiting) >= MAX_WAITING:
            self.link.hold("requests wait")
        if not self._working:
            self._working = True
            self._front.spawn(self._work(self._device))

    async def _work(self, device: Device) -> None:
        """Serve what waits, one after the other."""
        try:
            while self._waiting and not self.link.ended:
                event = self._waiting.popleft()
                if isinstance(event, SubscribeReceived):
                    await self._grant_struck(event)
                else:
                    await self._serve(device, event)
                self.link.pump()
        finally:
            self._working = False
        self.link.release("requests wait")

    async def _serve(self, device: Device, event: MessageReceived) -> None:
        message = Message(event.topic, event.payload)
        request = read_request(message, event.qos)
        if isinstance(request, Close):
            self._carry_out(Served([request]), event)
        else:
            self._carry_out(await self._front.serve(device, request, message.payload), event)

    def _give_up(self) -> None:
        self.link.close(f"no proof of identity within {AUTHENTICATION_TIMEOUT:g} s")

    # What it is answered

    def _carry_out(self, served: Served, event: MessageReceived) -> None:
        link, fault = self.link, served.fault
        if link.ended:
            return
        if fault is not None and not served.effects:
            self._sabotage.disturb(fault, lambda: None)
            return
        proved_at = served.proved_at
        first = proved_at is not None and self.proved_at is None
        if proved_at is not None and first and link.protocol.state is State.CONNECTED:
            self._front.presence.prove(self, proved_at)
            if self._deadline is not None:
                self._deadline.cancel()
        if event.packet_id is not None and event.qos == 1:
            # PUBACK comes before the answer: the C# SDK needs that order.
            self._acknowledge(event.packet_id)
        for effect in served.effects:
            if len(link.protocol.session.outgoing) >= MAX_UNACKNOWLEDGED:
                link.end(ProtocolError("the device acknowledges none of its answers"))
                return
            if isinstance(effect, AllocationRequested):
                link.log("%s", effect.reason)
                self._front.request_allocation(effect)
            elif not isinstance(effect, Answer):
                link.end(ProtocolError(effect.reason))
            elif fault is None:
                self._send(effect)
            else:
                self._sabotage.disturb(fault, partial(self._send, spoiled(effect, fault)))

    def _acknowledge(self, packet_id: int) -> None:
        """Send PUBACK, unless the device has left right behind its message."""
        if self.link.protocol.state is State.CONNECTED:
            self.link.protocol.acknowledge(packet_id)

    def _send(self, answer: Answer) -> None:
        link = self.link
        link.log("%s", answer.reason)
        assert self._device is not None
        note_answer(self._front.events, self._device.registration_id, link.label, answer)
        if link.protocol.state is not State.CONNECTED:
            link.log("the device has left: the answer is lost")
            return
        topic, payload = answer.message
        if not link.protocol.publish(topic, payload, qos=1):
            link.log("the device has not subscribed: the answer is lost")

    def _finish(self, error: Exception | None) -> None:
        who = "after the refusal" if self._device is None else "by the device"
        self.link.log("closed: %s", error or who)
        if self._device is not None:
            name, reason = self._device.registration_id, str(error or who)
            self._front.events.add("disconnected", name, self.link.label, reason=reason)
        if self._deadline is not None:
            self._deadline.cancel()
        self._sabotage.abandon()
        self._front.presence.leave(self)
