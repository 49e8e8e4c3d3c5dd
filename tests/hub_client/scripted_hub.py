"""A small IoT hub for tests of the client's side, on our own server half; it does what it is told.

It keeps sessions, telemetry, one device's twin and the open method calls, and can refuse, forget,
throttle, stay silent, and lose notifications.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mqttws.dps.certificates import Chain
from mqttws.dps.sas import parse_token
from mqttws.errors import ProtocolError
from mqttws.hub.device.twin import merged
from mqttws.hub.topics import (
    devicebound_topic,
    method_topic,
    parse_raw,
    parse_username,
)
from mqttws.local.link import ServerLink
from mqttws.local.listening import FixedTls, Listener
from mqttws.net.stream import Stream
from mqttws.protocol import (
    ConnectReceived,
    Event,
    MessageReceived,
    Session,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
)
from mqttws.wire import Connect


class ScriptedHub:
    """One device's hub.

    Attributes:
        telemetry: topics and bodies, in order.
        connects: every CONNECT.
        refuse: CONNACK codes for the next connections, one each; then 0.
        keeps_sessions: whether a session outlives its connection.
        statuses: twin answers' statuses for the next requests, one each; then success. 0 answers
            nothing.
        loses_notifications: whether desired changes are not sent.
        subscribed: topic filters of every SUBSCRIBE, in order.
        requests: topics of twin requests, in order.
        answers: method answers by request id: status and payload.
    """

    def __init__(self) -> None:
        self.port = 0
        self.telemetry: list[tuple[str, bytes]] = []
        self.connects: list[Connect] = []
        self.refuse: list[int] = []
        self.keeps_sessions = True
        self.statuses: list[int] = []
        self.loses_notifications = False
        self.subscribed: list[str] = []
        self.requests: list[str] = []
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.desired: dict[str, Any] = {}
        self.desired_version = 1
        self.reported: dict[str, Any] = {}
        self.reported_version = 1
        self.link: HubLink | None = None
        self.links: list[HubLink] = []
        self.sessions: dict[str, Session] = {}
        self._owed: list[tuple[str, bytes]] = []
        self._rid = 0
        self.on_telemetry: Callable[[str], None] | None = None

    def cut(self) -> None:
        """Drop the device without a word."""
        if self.link is not None:
            self.link.link.stream.abort()

    def send(self, body: bytes, properties: dict[str, str | None] | None = None) -> None:
        """Send a message to the device, or keep it until the device comes."""
        bag = {"$.to": "/devices/d/messages/deviceBound"} | (properties or {})
        self._owed.append((devicebound_topic("d", bag), body))
        self.deliver()

    def deliver(self) -> None:
        link = self.link
        if link is None or link.link.protocol.state is not State.CONNECTED:
            return
        owed, self._owed = self._owed, []
        for topic, body in owed:
            if not link.link.protocol.publish(topic, body, qos=1):
                self._owed.append((topic, body))
        link.link.pump()

    def publish(self, topic: str, body: bytes) -> bool:
        """Send with QoS 0; return whether the device had subscribed."""
        link = self.link
        if link is None or link.link.protocol.state is not State.CONNECTED:
            return False
        sent = link.link.protocol.publish(topic, body)
        link.link.pump()
        return sent

    def invoke(self, name: str, payload: Any = None, rid: str = "") -> str:
        """Call a method; return the request id."""
        self._rid += 1
        rid = rid or f"{self._rid:x}"
        assert self.publish(method_topic(name, rid), b"" if payload is None else _json(payload))
        return rid

    def patch_desired(self, patch: dict[str, Any]) -> None:
        """Change the desired properties, and tell the device."""
        self.desired = merged(self.desired, patch)
        self.desired_version += 1
        if not self.loses_notifications:
            body = _json(patch | {"$version": self.desired_version})
            topic = f"$iothub/twin/PATCH/properties/desired/?$version={self.desired_version}"
            self.publish(topic, body)

    # For the links

    def take(self, link: "HubLink", topic: str, body: bytes) -> None:
        if topic.startswith("devices/"):
            self.telemetry.append((topic, body))
            if self.on_telemetry is not None:
                self.on_telemetry(topic)
        elif topic.startswith("$iothub/methods/res/"):
            status, _, bag = topic.removeprefix("$iothub/methods/res/").partition("/?")
            self.answers.setdefault(parse_raw(bag)["$rid"], []).append(
                (int(status), json.loads(body))
            )
        elif topic.startswith("$iothub/twin/"):
            self._answer_twin(link, topic, body)
        else:
            link.link.end(ProtocolError(f"topic {topic}"))

    def _answer_twin(self, link: "HubLink", topic: str, body: bytes) -> None:
        self.requests.append(topic)
        rid = parse_raw(topic.partition("?")[2])["$rid"]
        status = self.statuses.pop(0) if self.statuses else 200
        if not status:
            return
        answer, version = b"", ""
        if status >= 300:
            answer = _json({"errorCode": status * 1000, "trackingId": "t-1", "message": "no"})
        elif "/GET/" in topic:
            answer = _json(
                {
                    "desired": self.desired | {"$version": self.desired_version},
                    "reported": self.reported | {"$version": self.reported_version},
                }
            )
        else:
            self.reported = merged(self.reported, json.loads(body))
            self.reported_version += 1
            status, version = 204, f"&$version={self.reported_version}"
        link.link.protocol.publish(f"$iothub/twin/res/{status}/?$rid={rid}{version}", answer)


class HubLink:
    """The handler of one connection."""

    def __init__(self, hub: ScriptedHub, stream: Stream, label: str) -> None:
        self.hub = hub
        self.link = ServerLink(stream, label, max_packet_size=512 * 1024)
        hub.links.append(self)
        self.link.begin(self)

    def handle(self, event: Event) -> None:
        protocol, hub = self.link.protocol, self.hub
        match event:
            case ConnectReceived(connect):
                self._connect(connect)
            case SubscribeReceived(packet_id, subscriptions):
                hub.subscribed += [wish.topic_filter for wish in subscriptions]
                protocol.suback(packet_id, [min(1, wish.qos) for wish in subscriptions])
                self.link.loop.call_soon(hub.deliver)
            case UnsubscribeReceived(packet_id, _):
                protocol.unsuback(packet_id)
            case MessageReceived(topic, payload, packet_id=packet_id):
                if packet_id is not None:
                    if protocol.state is not State.CONNECTED:
                        return
                    protocol.acknowledge(packet_id)
                hub.take(self, topic, payload)

    def _connect(self, connect: Connect) -> None:
        hub, protocol = self.hub, self.link.protocol
        hub.connects.append(connect)
        assert parse_username(connect.username or "") is not None
        if hub.refuse and (code := hub.refuse.pop(0)):
            protocol.refuse(code)
            return
        older, hub.link = hub.link, self
        if older is not None and older.link.protocol.state is State.CONNECTED:
            older.link.close("taken over")
        kept = hub.sessions.get(connect.client_id) if hub.keeps_sessions else None
        session = hub.sessions[connect.client_id] = kept or Session()
        protocol.accept(self.link.loop.time(), session=session, session_present=kept is not None)
        token = parse_token((connect.password or b"").decode())
        if token is not None:
            import time

            self.link.loop.call_later(token.expiry - time.time(), self._expire)
        self.link.loop.call_soon(hub.deliver)

    def _expire(self) -> None:
        if self.link.protocol.state is State.CONNECTED:
            self.link.close("the token has expired")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@asynccontextmanager
async def scripted_hub(
    tls: ssl.SSLContext, *, websocket: bool = True
) -> AsyncIterator[ScriptedHub]:
    """Run a hub on a free loopback port."""
    hub = ScriptedHub()
    listener = Listener(FixedTls(tls))

    def take(stream: Stream, label: str, chain: Chain) -> None:
        HubLink(hub, stream, label)

    hub.port = await listener.listen("127.0.0.1", 0, "hub", take, websocket=websocket)
    try:
        yield hub
    finally:
        await listener.stop()
        await asyncio.gather(*(one.link.stop() for one in hub.links if not one.link.ended))
