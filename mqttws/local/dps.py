"""LocalDps: the Device Provisioning Service as a program on this machine.

Joins the pure service (``dps.service``) to TLS, WebSocket and MQTT. Two listeners, WSS and MQTT
over TLS, feed one service object; nothing behind a listener knows which it was. There is no plain
one.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import socket
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..dps.enrollments import (
    EnrollmentGroup,
    IndividualEnrollment,
    MemoryRecords,
    parse_enrollments,
)
from ..dps.service import Answer, Device, Refusal, Service
from ..dps.topics import Message
from ..errors import ConnectionLost, Hop, MqttwsError, ProtocolError, UsageError
from ..net.failures import reason_of, translate
from ..net.stream import ByteStream, Stream
from ..net.websocket import accept_websocket
from ..protocol import (
    ConnectionClosed,
    ConnectReceived,
    Event,
    MessageReceived,
    ServerProtocol,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
)
from ..wire import REFUSED
from .certificates import prepare_certificates

logger = logging.getLogger("mqttws.local")
"""One line for each thing that happens at the service, without secrets."""

DEFAULT_ID_SCOPE = "0ne00LOCAL"
DEFAULT_HUB = "local-hub.azure-devices.net"

MAX_PACKET_SIZE = 98 * 1024
"""Bytes: the documented 96 KB of a message (iot-dps-limits.md) and some for its topic."""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a client is given for TLS, for the upgrade, and for CONNECT, each."""

MAX_UNACKNOWLEDGED = 64
"""Answers that a device may leave without PUBACK before its connection is closed."""

WEBSOCKET_PATHS = ("/$iothub/websocket", "/")
"""Where the official SDKs ask for the WebSocket: Python, Node and C; C# and Java."""

Greet = Callable[[ByteStream], Awaitable[Stream]]
"""Brings a connection from TLS to where MQTT begins."""


class LocalDps:
    """A local DPS with real TLS and real credential checks.

    >>> async with mqttws.LocalDps() as dps:
    ...     key = dps.enroll_device("my-device")
    ...     assignment = await mqttws.provision_async(
    ...         dps.id_scope,
    ...         mqttws.SymmetricKey("my-device", key),
    ...         host=dps.host,
    ...         port=dps.wss_port,
    ...         tls=mqttws.TlsConfig(ca=dps.ca_file),
    ...     )

    Args:
        host: the address to listen on; a name or address by which clients connect.
        wss_port: for MQTT over WebSocket; 0 takes a free one, None does not listen.
        mqtts_port: for MQTT over TLS; 0 takes a free one, None does not listen.
        state: folder for the CA and the server's certificate, kept and reused; None for a
            temporary one.
        id_scope: of this instance.
        enrollments: who may register; more can be added later.
        hubs: host names of the linked IoT hubs.
        retry_after: seconds that a device is told to wait before its next poll.
        assigning_polls: how many polls are answered 202 before the final 200.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        wss_port: int | None = 0,
        mqtts_port: int | None = 0,
        state: str | os.PathLike[str] | None = None,
        id_scope: str = DEFAULT_ID_SCOPE,
        enrollments: Sequence[IndividualEnrollment | EnrollmentGroup] = (),
        hubs: Sequence[str] = (DEFAULT_HUB,),
        retry_after: int = 3,
        assigning_polls: int = 0,
    ) -> None:
        for port in (wss_port, mqtts_port):
            if port is not None and not (isinstance(port, int) and 0 <= port <= 65535):
                raise UsageError(f"port {port!r}; allowed: 0 to 65535, or None")
        self.host = host
        self.wss_port = wss_port
        self.mqtts_port = mqtts_port
        self.id_scope = id_scope
        self.service = Service(
            id_scope,
            MemoryRecords(enrollments),
            hubs=hubs,
            operation_ids=_operation_ids(),
            tracking_ids=_uuids(),
            retry_after=retry_after,
            assigning_polls=assigning_polls,
        )
        self._state = state
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._ca_file: Path | None = None
        self._servers: list[asyncio.Server] = []
        self._greeting: dict[asyncio.Task[None], ByteStream] = {}
        self._links: set[_DeviceLink] = set()
        self._by_id: dict[str, _DeviceLink] = {}
        self._connections = 0

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust, a PEM file.

        Raises:
            UsageError: the service has not been started.
        """
        if self._ca_file is None:
            raise UsageError("the local DPS has not been started")
        return self._ca_file

    def enroll(self, record: Mapping[str, Any]) -> None:
        """Let a device, or a group of them, register from now on.

        Args:
            record: an individual enrollment or a group, in the shape of the DPS service API.

        Raises:
            UsageError: names the member that is wrong and what was expected.
        """
        for enrollment in parse_enrollments(json.dumps([record]), "enroll"):
            self.service.records.add(enrollment)

    def enroll_device(self, registration_id: str) -> str:
        """Enroll one device with fresh keys; return its primary key, base64."""
        primary, secondary = (b64encode(secrets.token_bytes(64)).decode() for _ in range(2))
        self.enroll(
            {
                "registrationId": registration_id,
                "attestation": {
                    "type": "symmetricKey",
                    "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
                },
            }
        )
        return primary

    async def start(self) -> None:
        """Make or load the certificates and listen.

        Raises:
            UsageError: a port is taken or may not be used, or the state folder cannot be.
        """
        if self._servers:
            raise UsageError("the local DPS has been started already")
        if self.wss_port is None and self.mqtts_port is None:
            raise UsageError("the local DPS needs a port to listen on")
        addresses = await self._addresses()
        if self._state is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mqttws-")
            folder = Path(self._temporary.name)
        else:
            folder = Path(self._state)
        try:
            certificates = await asyncio.to_thread(
                prepare_certificates, folder, (self.host, *_own_names())
            )
            self._ca_file = certificates.ca_file
            self._context = certificates.context()
            if self.wss_port is not None:
                self.wss_port = await self._listen(
                    addresses, self.wss_port, "wss", self._greet_websocket
                )
            if self.mqtts_port is not None:
                self.mqtts_port = await self._listen(
                    addresses, self.mqtts_port, "mqtts", self._greet_plain
                )
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection and stop listening; bounded in time."""
        for server in self._servers:
            server.close()
        greeting = dict(self._greeting)
        for task, stream in greeting.items():
            task.cancel()
            stream.abort()  # a task that has not begun yet would not do it
        await asyncio.gather(*greeting, return_exceptions=True)
        await asyncio.gather(*(link.stop() for link in list(self._links)))
        self._servers.clear()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

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

    # Listeners

    async def _listen(self, addresses: Sequence[str], port: int, name: str, greet: Greet) -> int:
        def connected(stream: ByteStream) -> None:
            self._connections += 1
            label = f"#{self._connections} {name} {stream.peer}"
            task = asyncio.get_running_loop().create_task(self._greet(stream, label, greet))
            self._greeting[task] = stream
            task.add_done_callback(self._greeting.pop)

        for address in addresses:
            try:
                server = await asyncio.get_running_loop().create_server(
                    lambda: ByteStream(connected), address, port, backlog=1024
                )
            except OSError as error:
                raise UsageError(
                    f"cannot listen on {self.host} port {port}: {reason_of(error)}",
                    hint="choose another port, or 0 for a free one; below 1024 needs rights",
                ) from error
            self._servers.append(server)
            # A name with several addresses is served on one port.
            port = server.sockets[0].getsockname()[1]
        return port

    async def _addresses(self) -> list[str]:
        """Return the addresses that ``host`` means."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"cannot listen on {self.host}: it has no address here",
                hint="name an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all",
            ) from error
        return list(dict.fromkeys(str(address[4][0]) for address in found))

    async def _greet(self, stream: ByteStream, label: str, greet: Greet) -> None:
        """Bring a connection to where MQTT begins; whatever goes wrong ends it, in one log line."""
        hop = Hop.TLS
        try:
            await stream.start_tls(self._context, None, HANDSHAKE_TIMEOUT)
            hop = Hop.UPGRADE
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                upgraded = await greet(stream)
            link = _DeviceLink(self, upgraded, label)
            self._links.add(link)
            link.begin()
        except TimeoutError:
            logger.info("%s: %s: nothing came within %g s", label, hop.value, HANDSHAKE_TIMEOUT)
            stream.abort()
        except OSError as error:
            logger.info("%s: %s", label, translate(error, hop))
            stream.abort()
        except MqttwsError as error:
            logger.info("%s: %s", label, error)
            await stream.close()

    async def _greet_websocket(self, stream: ByteStream) -> Stream:
        return await accept_websocket(stream, WEBSOCKET_PATHS.__contains__, 4 * MAX_PACKET_SIZE)

    async def _greet_plain(self, stream: ByteStream) -> Stream:
        return stream

    # For the links

    def register_link(self, link: "_DeviceLink", device: Device) -> None:
        """Take a device in; an older connection of the same device ends [MQTT-3.1.4-2]."""
        key = device.registration_id.lower()
        older = self._by_id.get(key)
        if older is not None:
            older.close("taken over by a new connection of the same device")
        self._by_id[key] = link

    def forget_link(self, link: "_DeviceLink", device: Device | None) -> None:
        """Let a closed connection go."""
        self._links.discard(link)
        if device is not None and self._by_id.get(device.registration_id.lower()) is link:
            del self._by_id[device.registration_id.lower()]


class _DeviceLink:
    """One device's connection: its protocol object, its stream and its timer.

    It is the stream's receiver.
    """

    def __init__(self, dps: LocalDps, stream: Stream, label: str) -> None:
        self._dps = dps
        self._stream = stream
        self._label = label
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(
            self._loop.time(), connect_timeout=HANDSHAKE_TIMEOUT, max_packet_size=MAX_PACKET_SIZE
        )
        self._device: Device | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Take what the device says."""
        self._stream.attach(self)
        self._pump()

    def close(self, reason: str) -> None:
        """End the connection; ``reason`` goes into the log."""
        self._protocol.close(ProtocolError(reason))
        self._pump()

    async def stop(self) -> None:
        """End the connection because the service ends, and wait for that."""
        self._protocol.close(ConnectionLost("the service has ended"))
        self._pump()
        if self._closing is not None:
            await self._closing

    # For the stream

    def data_received(self, data: bytes) -> None:
        """Take bytes from the device."""
        self._protocol.receive_data(data, self._loop.time())
        self._pump()

    def stream_ended(self, cause: MqttwsError) -> None:
        """Learn that the device's bytes have ended."""
        if isinstance(cause, ProtocolError):
            self._protocol.close(cause)
        else:
            self._protocol.receive_eof(self._loop.time(), cause)
        self._pump()

    def writing_paused(self, paused: bool) -> None:
        """A device that does not take its answers is not read either."""
        if paused:
            self._stream.pause_reading()
        else:
            self._stream.resume_reading()

    # Inside

    def _pump(self) -> None:
        while (event := self._protocol.next_event()) is not None:
            self._on_event(event)
        data = self._protocol.data_to_send(self._loop.time())
        if data:
            self._stream.write(data)
        self._set_timer()

    def _on_event(self, event: Event) -> None:
        match event:
            case ConnectReceived(connect):
                self._admit(connect.client_id, connect.username, connect.password)
            case SubscribeReceived(packet_id, subscriptions):
                self._grant(packet_id, [(wish.topic_filter, wish.qos) for wish in subscriptions])
            case UnsubscribeReceived(packet_id):
                if self._protocol.state is State.CONNECTED:
                    self._protocol.unsuback(packet_id)
            case MessageReceived(topic, payload, qos):
                self._serve(Message(topic, payload), qos, event.packet_id)
            case ConnectionClosed(error):
                self._finish(error)

    def _admit(self, client_id: str, username: str | None, password: bytes | None) -> None:
        verdict = self._dps.service.admit(client_id, username, password)
        if isinstance(verdict, Refusal):
            self._log("CONNACK %d: %s", verdict.return_code, verdict.reason)
            self._protocol.refuse(verdict.return_code)
            return
        self._device = verdict
        self._label += f" {verdict.registration_id}"
        self._dps.register_link(self, verdict)
        self._log("CONNACK 0")
        # No session is kept, whatever CleanSession says: session present is always 0.
        self._protocol.accept(self._loop.time())

    def _grant(self, packet_id: int, wishes: list[tuple[str, int]]) -> None:
        if self._protocol.state is not State.CONNECTED:
            return
        granted = [self._dps.service.grant(topic_filter, qos) for topic_filter, qos in wishes]
        self._protocol.suback(packet_id, [REFUSED if qos is None else qos for qos in granted])
        if None in granted:
            refused = wishes[granted.index(None)][0]
            self._protocol.close(ProtocolError(f"undocumented topic filter {refused[:100]!r}"))

    def _serve(self, message: Message, qos: int, packet_id: int | None) -> None:
        if self._protocol.state is not State.CONNECTED or self._device is None:
            return
        effects = self._dps.service.handle(self._device, message, qos, time.time())
        if packet_id is not None and qos == 1:
            # PUBACK comes before the answer: the C# SDK needs that order.
            self._protocol.acknowledge(packet_id)
        for effect in effects:
            if len(self._protocol.session.outgoing) >= MAX_UNACKNOWLEDGED:
                self._protocol.close(ProtocolError("the device acknowledges none of its answers"))
                return
            if isinstance(effect, Answer):
                self._log("%s", effect.reason)
                if not self._protocol.publish(effect.message.topic, effect.message.payload, qos=1):
                    self._log("the device has not subscribed: the answer is lost")
            else:
                self._protocol.close(ProtocolError(effect.reason))

    def _finish(self, error: MqttwsError | None) -> None:
        who = "after the refusal" if self._device is None else "by the device"
        self._log("closed: %s", error or who)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._dps.forget_link(self, self._device)
        # What waits, such as a refusing CONNACK, goes out before the close.
        self._closing = self._loop.create_task(self._close_stream(error))
        _closing.add(self._closing)
        self._closing.add_done_callback(_closing.discard)

    async def _close_stream(self, error: MqttwsError | None) -> None:
        await self._stream.close(error)

    def _set_timer(self) -> None:
        deadline = self._protocol.deadline
        if deadline is not None and self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._protocol.tick(self._loop.time())
        self._pump()

    def _log(self, line: str, *values: object) -> None:
        logger.info("%s: " + line, self._label, *values)


_closing: set[asyncio.Task[None]] = set()
"""Connections that are being closed: a task that nobody holds could be collected before its end."""


def _own_names() -> list[str]:
    """Return the machine's name, if it is one that can stand in a certificate."""
    name = socket.gethostname()
    return [name] if re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", name) else []


def _operation_ids() -> Iterator[str]:
    """Yield ids as the real service's look: 5, sixteen digits of the instance, a UUID."""
    instance = secrets.token_hex(8)
    while True:
        yield f"5.{instance}.{uuid.uuid4()}"


def _uuids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())
