"""AsyncLocalHub: a small stand-in for the IoT hub that a device is assigned to.

It checks what a real hub checks of a device that comes from DPS: host, ClientId, user name, token
or certificate, topics. It takes telemetry and sends messages to devices. Twins, methods, kept
sessions and quotas it does not have: their topics are accepted and lead nowhere.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ..dps.certificates import Chain, chain_fault
from ..dps.records import EnrollmentGroup, IndividualEnrollment, RegistrationRecord
from ..dps.sas import derive_device_key, hub_token_fault
from ..dps.topics import Message
from ..errors import ProtocolError, UsageError
from ..hub.topics import (
    DESIRED_FILTER,
    METHODS_FILTER,
    TWIN_RESPONSE_FILTER,
    devicebound_filter,
    devicebound_topic,
    parse_telemetry_topic,
    parse_username,
)
from ..net.stream import Stream
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
from ..wire import REFUSED, Connect, Subscription
from .dps import AsyncLocalDps
from .link import ServerLink
from .listening import Listener

NOT_AUTHORIZED = 5

MAX_WAITING = 50
"""Messages to a device that wait for it, as in the real hub."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a device has published.

    Attributes:
        device_id: the device's name at the hub.
        payload: as it came.
        properties: of the topic's property bag.
    """

    device_id: str
    payload: bytes
    properties: Mapping[str, str | None] = field(default_factory=dict)


class AsyncLocalHub:
    """A stand-in for the hubs that a local DPS assigns devices to.

    It listens besides the DPS, with its certificate, and knows the devices that it has assigned.

    >>> async with AsyncLocalDps() as dps, AsyncLocalHub(dps) as hub:
    ...     telemetry = await hub.next_telemetry()
    ...     hub.send("my-device", b"hello", {"reason": "greeting"})

    Args:
        dps: running.
        wss_port: for MQTT over WebSocket; 0 takes a free one, None does not listen.
        mqtts_port: for MQTT over TLS; likewise.
    """

    def __init__(
        self, dps: AsyncLocalDps, *, wss_port: int | None = 0, mqtts_port: int | None = None
    ) -> None:
        self.wss_port = wss_port
        self.mqtts_port = mqtts_port
        self._dps = dps
        self._listener = Listener(dps.tls)
        self._links: set[ServerLink] = set()
        self._by_id: dict[str, _HubDevice] = {}
        self._waiting: dict[str, deque[Message]] = {}
        self._telemetry: asyncio.Queue[Telemetry] = asyncio.Queue()

    @property
    def host(self) -> str:
        """The address that it listens on: the DPS's."""
        return self._dps.host

    async def start(self) -> None:
        """Listen.

        Raises:
            ServiceFailed: a port is taken or may not be used.
            UsageError: the DPS is not running.
        """
        if self._listener.listening:
            raise UsageError("the local hub has been started already")
        if self.wss_port is not None:
            self.wss_port = await self._listener.listen(
                self.host, self.wss_port, "hub wss", self._take, websocket=True
            )
        if self.mqtts_port is not None:
            self.mqtts_port = await self._listener.listen(
                self.host, self.mqtts_port, "hub mqtts", self._take, websocket=False
            )

    async def stop(self) -> None:
        """Close every connection and stop listening; bounded in time."""
        await self._listener.stop()
        await asyncio.gather(*(link.stop() for link in list(self._links)))

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def next_telemetry(self) -> Telemetry:
        """Wait for what a device publishes, each once, in order."""
        return await self._telemetry.get()

    def send(
        self,
        device_id: str,
        payload: bytes,
        properties: Mapping[str, str | None] | None = None,
    ) -> None:
        """Send a device a message; it waits until the device has subscribed to such.

        Raises:
            UsageError: too many wait already.
        """
        waiting = self._waiting.setdefault(device_id, deque())
        if len(waiting) >= MAX_WAITING:
            raise UsageError(f"{MAX_WAITING} messages wait for {shown(device_id)} already")
        bag: dict[str, str | None] = {"$.to": f"/devices/{device_id}/messages/devicebound"}
        waiting.append(Message(devicebound_topic(device_id, bag | dict(properties or {})), payload))
        self.deliver(device_id)

    # For the links

    def deliver(self, device_id: str) -> None:
        """Send what waits for a device, if it listens."""
        link, waiting = self._by_id.get(device_id), self._waiting.get(device_id)
        while link is not None and waiting and link.deliver(waiting[0]):
            waiting.popleft()

    def take(self, telemetry: Telemetry) -> None:
        """Take what a device has published."""
        self._telemetry.put_nowait(telemetry)

    def judge(
        self, client_id: str, username: str | None, password: bytes | None, chain: Chain
    ) -> str | RegistrationRecord:
        """Return the device's registration; or why it may not connect, for the log."""
        names = parse_username(username or "")
        if names is None or "?" not in (username or "") or names.module_id:
            return f"user name {shown(username)}; allowed: {{hub}}/{{deviceId}}/?api-version=..."
        if client_id != names.device_id:  # case counts, unlike at DPS
            return f"ClientId {shown(client_id)} is not {shown(names.device_id)}"
        for record in self._dps.records.registrations():
            if (record.assigned_hub, record.device_id) == (names.hub, names.device_id):
                return self._fault(record, password, chain) or record
        return f"{shown(names.device_id)} is not assigned to {shown(names.hub)}"

    def _fault(
        self, record: RegistrationRecord, password: bytes | None, chain: Chain
    ) -> str | None:
        """Say why a device's credentials do not let it in; None if they do."""
        records = self._dps.records
        enrollment: IndividualEnrollment | EnrollmentGroup | None = (
            records.group(record.enrollment_group_id)
            if record.enrollment_group_id
            else records.individual(record.registration_id)
        )
        if enrollment is None:
            return "its enrollment has been deleted"
        now = time.time()
        if enrollment.certificates:
            if not chain:
                return "no certificate was shown"
            return chain_fault(chain, record.registration_id, enrollment.fingerprints, now)
        keys = list(enrollment.keys)
        if isinstance(enrollment, EnrollmentGroup):
            names = (record.registration_id, record.registration_id.lower())
            keys = [derive_device_key(key, name) for key in keys for name in names]
        resource = f"{record.assigned_hub}/devices/{record.device_id}"
        return hub_token_fault((password or b"").decode(errors="replace"), resource, keys, now)

    def register(self, link: "_HubDevice", device_id: str) -> None:
        """Take a device in; its older connection ends."""
        older = self._by_id.get(device_id)
        if older is not None:
            older.link.close("taken over by a new connection of the same device")
        self._by_id[device_id] = link

    def forget(self, link: "_HubDevice", device_id: str) -> None:
        """Let a closed connection go."""
        if self._by_id.get(device_id) is link:
            del self._by_id[device_id]

    def _take(self, stream: Stream, label: str, chain: Chain) -> None:
        link = ServerLink(stream, label, chain, among=self._links)
        link.begin(_HubDevice(self, link))


class _HubDevice:
    """The handler of one device's connection to the hub."""

    def __init__(self, hub: AsyncLocalHub, link: ServerLink) -> None:
        self.link = link
        self._hub = hub
        self._device_id = ""

    def deliver(self, message: Message) -> bool:
        """Send the device a message; return whether it listens."""
        if self.link.protocol.state is not State.CONNECTED:
            return False
        sent = self.link.protocol.publish(message.topic, message.payload, qos=1)
        self.link.pump()
        return sent

    def handle(self, event: Event) -> None:
        """Take an event of the connection."""
        protocol = self.link.protocol
        match event:
            case ConnectReceived(connect):
                self._admit(connect)
            case SubscribeReceived(packet_id, subscriptions):
                if protocol.state is State.CONNECTED:
                    self._grant(packet_id, subscriptions)
            case UnsubscribeReceived(packet_id):
                if protocol.state is State.CONNECTED:
                    protocol.unsuback(packet_id)
            case MessageReceived():
                self._serve(event)
            case ConnectionClosed(error):
                self.link.log("closed: %s", error or "by the device")
                self._hub.forget(self, self._device_id)

    def _admit(self, connect: Connect) -> None:
        link = self.link
        verdict = self._hub.judge(connect.client_id, connect.username, connect.password, link.chain)
        if isinstance(verdict, str):
            link.log("CONNACK %d: %s", NOT_AUTHORIZED, verdict)
            link.protocol.refuse(NOT_AUTHORIZED)
            return
        self._device_id = verdict.device_id
        link.label += f" {verdict.device_id}"
        self._hub.register(self, verdict.device_id)
        link.log("CONNACK 0")
        link.protocol.accept(link.loop.time())

    def _grant(self, packet_id: int, subscriptions: list[Subscription]) -> None:
        mine = devicebound_filter(self._device_id)
        known = (mine, METHODS_FILTER, TWIN_RESPONSE_FILTER, DESIRED_FILTER)
        codes = [
            min(asked.qos, 1) if asked.topic_filter in known else REFUSED for asked in subscriptions
        ]
        self.link.protocol.suback(packet_id, codes)
        # Not before the rest of what has come is done: this runs inside the pump.
        self.link.loop.call_soon(self._hub.deliver, self._device_id)

    def _serve(self, event: MessageReceived) -> None:
        link = self.link
        if link.ended or not self._device_id:
            return
        telemetry = parse_telemetry_topic(event.topic)
        known = telemetry is not None or event.topic.startswith("$iothub/")
        if event.qos > 1 or not known:
            link.end(ProtocolError(f"QoS {event.qos} to topic {shown(event.topic)}"))
            return
        if telemetry is not None and telemetry[0] != self._device_id:
            link.end(ProtocolError(f"telemetry of {shown(telemetry[0])}"))
            return
        if event.packet_id is not None and link.protocol.state is State.CONNECTED:
            link.protocol.acknowledge(event.packet_id)
        if telemetry is None:
            return
        device_id, properties = telemetry
        link.log("telemetry, %d bytes", len(event.payload))
        self._hub.take(Telemetry(device_id, event.payload, properties))
