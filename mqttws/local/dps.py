"""AsyncLocalDps: the Device Provisioning Service as a program on this machine.

Joins the pure service (``dps.service``) to TLS, WebSocket and MQTT. Two listeners, WSS and MQTT
over TLS, feed one service object; nothing behind a listener knows which it was. There is no plain
one.
"""

import asyncio
import json
import logging
import os
import random
import re
import secrets
import socket
import tempfile
import time
import uuid
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..dps.certificates import Chain
from ..dps.effects import AllocationRequested, Answer, Device, Refusal
from ..dps.enrollment_json import parse_enrollments
from ..dps.faults import Fault, Faults, parse_fault
from ..dps.records import EnrollmentGroup, IndividualEnrollment
from ..dps.service import Service
from ..dps.store import MemoryRecords, Records
from ..dps.topics import Message, Poll, parse_request_topic
from ..errors import ConnectionLost, MqttwsError, ProtocolError, UsageError
from ..hops import Hop
from ..net.failures import reason_of, translate
from ..net.stream import ByteStream, Stream
from ..net.upgrade import accept_websocket
from ..net.websocket import WebSocketStream
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
from .certificates import expired_context, prepare_certificates
from .listeners import close_listeners
from .webhook import ask_webhook
from .x509 import TrustAnchors, parse_certificate

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

MakeLink = Callable[[Stream, str, Chain], "DeviceLink"]
"""Takes a connection, its name in the log, and the certificates shown, from where MQTT begins."""


class AsyncLocalDps:
    """A local DPS with real TLS and real credential checks.

    >>> async with mqttws.AsyncLocalDps() as dps:
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
        records: where enrollments and registrations live; None for memory.
        hubs: host names of the linked IoT hubs, or names and weights of the hashed allocation.
        retry_after: seconds that a device is told to wait before its next poll.
        assigning_polls: how many polls are answered 202 before the final 200.
        registers_per_minute: of all devices together; more are answered 429; None for no limit.
        polls_per_10s: of each device; likewise.
        fault_seed: for the faults that strike at random; the same seed strikes the same requests.

    Attributes:
        records: enrollments and registrations.
        faults: what shall go wrong.
        service: the rules.
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
        records: Records | None = None,
        hubs: Sequence[str] | Mapping[str, int] = (DEFAULT_HUB,),
        retry_after: int = 3,
        assigning_polls: int = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
        fault_seed: int | None = None,
    ) -> None:
        for port in (wss_port, mqtts_port):
            if port is not None and not (isinstance(port, int) and 0 <= port <= 65535):
                raise UsageError(f"port {port!r}; allowed: 0 to 65535, or None")
        self.faults = Faults(random.Random(fault_seed).random)  # noqa: S311 - no secret comes of it
        self.host = host
        self.wss_port = wss_port
        self.mqtts_port = mqtts_port
        self.id_scope = id_scope
        self.records = MemoryRecords() if records is None else records
        self.service = Service(
            id_scope,
            self.records,
            hubs=hubs,
            operation_ids=_operation_ids(),
            tracking_ids=_uuids(),
            retry_after=retry_after,
            assigning_polls=assigning_polls,
            registers_per_minute=registers_per_minute,
            polls_per_10s=polls_per_10s,
        )
        self._state = state
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._ca_file: Path | None = None
        self._servers: list[asyncio.Server] = []
        self._anchors: TrustAnchors | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeting: set[ByteStream] = set()
        self._links: set[DeviceLink] = set()
        self._by_id: dict[str, DeviceLink] = {}
        self._connections = 0
        for enrollment in enrollments:
            self.keep(enrollment)

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust, a PEM file.

        Raises:
            UsageError: the service has not been started.
        """
        if self._ca_file is None:
            raise UsageError("the local DPS has not been started")
        return self._ca_file

    def enroll(self, record: Mapping[str, Any], *, replace: bool = False) -> None:
        """Let a device, or a group of them, register from now on.

        Args:
            record: an individual enrollment or a group, in the shape of the DPS service API.
            replace: whether it may take the place of the one that has its id.

        Raises:
            UsageError: names the member that is wrong and what was expected.
        """
        for enrollment in parse_enrollments(json.dumps([record]), "enroll"):
            self.keep(enrollment, replace=replace)

    def keep(
        self, enrollment: IndividualEnrollment | EnrollmentGroup, *, replace: bool = False
    ) -> None:
        """Take an enrollment that has been read already; otherwise like ``enroll``."""
        for der in enrollment.certificates:
            parse_certificate(der)
        if replace:
            self.records.put(enrollment)
        else:
            self.records.add(enrollment)
        if self._anchors is not None:
            self._anchors.add(enrollment.certificates)

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

    def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Let something go wrong from now on; return the order's number, for ``faults.cancel``.

        >>> dps.fault("answer", "my-device", status=429, retry_after=1, times=2)
        >>> dps.fault("drop-after", request="register", probability=0.1, times=None)

        Args:
            kind: see ``mqttws.dps.faults.Kind``.
            device: a registration id; None for all.
            **members: of ``mqttws.dps.faults.Fault``.

        Raises:
            UsageError: names the member and what is allowed.
        """
        return self.faults.order(parse_fault({"kind": kind, "device": device, **members}))

    async def start(self) -> None:
        """Make or load the certificates and listen.

        Raises:
            UsageError: a port is taken or may not be used, or the state folder cannot be.
        """
        if self._servers:
            raise UsageError("the local DPS has been started already")
        if self.wss_port is None and self.mqtts_port is None:
            raise UsageError("the local DPS needs a port to listen on")
        self._listening_on = await self._addresses()
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
            self._folder = folder
            self._context = certificates.context()
            self._anchors = TrustAnchors(self._context)
            for enrollment in (*self.records.individuals(), *self.records.groups()):
                self._anchors.add(enrollment.certificates)
            if self.wss_port is not None:
                servers, self.wss_port = await self.listen(
                    self.wss_port, "wss", self.greet_websocket, self._make_link
                )
                self._servers += servers
            if self.mqtts_port is not None:
                servers, self.mqtts_port = await self.listen(
                    self.mqtts_port, "mqtts", self.greet_plain, self._make_link
                )
                self._servers += servers
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection and stop listening; bounded in time."""
        await close_listeners(self._servers)
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        for stream in set(self._greeting):
            stream.abort()  # a task that has not begun yet would not do it
        await asyncio.gather(*tasks, return_exceptions=True)
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

    def _make_link(self, stream: Stream, label: str, chain: Chain) -> "DeviceLink":
        link = DeviceLink(self, stream, label, chain)
        self._links.add(link)
        return link

    async def listen(
        self, port: int, name: str, greet: Greet, make_link: MakeLink
    ) -> tuple[list[asyncio.Server], int]:
        """Listen with the service's certificate; return the listeners and the port.

        Args:
            port: 0 takes a free one.
            name: for the log.
            greet: brings a connection to where MQTT begins.
            make_link: takes it from there.

        Raises:
            UsageError: the port is taken or may not be used.
        """
        servers: list[asyncio.Server] = []

        def connected(stream: ByteStream) -> None:
            self._connections += 1
            label = f"#{self._connections} {name} {stream.peer}"
            self._greeting.add(stream)
            task = self._spawn(self._greet(stream, label, greet, make_link))
            task.add_done_callback(lambda _: self._greeting.discard(stream))

        for address in self._listening_on:
            try:
                server = await asyncio.get_running_loop().create_server(
                    lambda: ByteStream(connected), address, port, backlog=1024
                )
            except OSError as error:
                for opened in servers:
                    opened.close()
                raise UsageError(
                    f"cannot listen on {self.host} port {port}: {reason_of(error)}",
                    hint="choose another port, or 0 for a free one; below 1024 needs rights",
                ) from error
            servers.append(server)
            # A name with several addresses is served on one port.
            port = server.sockets[0].getsockname()[1]
        return servers, port

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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done that ends with the service at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _greet(
        self, stream: ByteStream, label: str, greet: Greet, make_link: MakeLink
    ) -> None:
        """Bring a connection to where MQTT begins; whatever goes wrong ends it, in one log line."""
        hop = Hop.TLS
        try:
            context = self._context
            if self.faults.strike_handshake():
                logger.info("%s: fault: an expired certificate is shown", label)
                names = (self.host, *_own_names())
                context = await asyncio.to_thread(expired_context, self._folder, names)
            await stream.start_tls(context, None, HANDSHAKE_TIMEOUT)
            assert self._anchors is not None, "the service has been started"
            chain = self._anchors.chain(stream.info("ssl_object"))
            hop = Hop.UPGRADE
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                upgraded = await greet(stream)
            make_link(upgraded, label, chain).begin()
        except TimeoutError:
            logger.info("%s: %s: nothing came within %g s", label, hop.value, HANDSHAKE_TIMEOUT)
            stream.abort()
        except OSError as error:
            logger.info("%s: %s", label, translate(error, hop))
            stream.abort()
        except MqttwsError as error:
            logger.info("%s: %s", label, error)
            await stream.close()
        except BaseException:
            stream.abort()
            raise

    async def greet_websocket(self, stream: ByteStream) -> Stream:
        """Open the WebSocket that MQTT travels in."""
        return await accept_websocket(stream, WEBSOCKET_PATHS.__contains__, 4 * MAX_PACKET_SIZE)

    async def greet_plain(self, stream: ByteStream) -> Stream:
        """Do nothing: MQTT follows TLS at once."""
        return stream

    # For the links

    def register_link(self, link: "DeviceLink", device: Device) -> None:
        """Take a device in; an older connection of the same device ends [MQTT-3.1.4-2]."""
        key = device.registration_id.lower()
        older = self._by_id.get(key)
        if older is not None:
            older.close("taken over by a new connection of the same device")
        self._by_id[key] = link

    def request_allocation(self, request: AllocationRequested) -> None:
        """Ask an enrollment's webhook, and let the service know what it answers."""
        self._spawn(self._allocate(request))

    async def _allocate(self, request: AllocationRequested) -> None:
        status, answer = await ask_webhook(request.url, request.body)
        name = request.device.registration_id
        logger.info("%s: the webhook answered %s", name, status or "nothing")
        self.service.allocated(request, status, answer, time.time())

    def forget_link(self, link: "DeviceLink", device: Device | None) -> None:
        """Let a closed connection go."""
        self._links.discard(link)
        if device is not None and self._by_id.get(device.registration_id.lower()) is link:
            del self._by_id[device.registration_id.lower()]


class DeviceLink:
    """One device's connection: its protocol object, its stream and its timer.

    It is the stream's receiver.
    """

    def __init__(self, dps: AsyncLocalDps, stream: Stream, label: str, chain: Chain) -> None:
        self._dps = dps
        self._stream = stream
        self._label = label
        self._chain = chain
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(
            self._loop.time(), connect_timeout=HANDSHAKE_TIMEOUT, max_packet_size=MAX_PACKET_SIZE
        )
        self._device: Device | None = None
        self.ended = False  # from our side
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._late: set[asyncio.TimerHandle] = set()  # what faults have put off
        self._trickle: deque[bytes] = deque()  # bytes that go out one by one

    def begin(self) -> None:
        """Take what the device says."""
        self._stream.attach(self)
        self._pump()

    def close(self, reason: str) -> None:
        """End the connection; ``reason`` goes into the log."""
        self.end(ProtocolError(reason))
        self._pump()

    def end(self, error: MqttwsError) -> None:
        """End the connection from our side: what the device sent after this is not served."""
        self.ended = True
        self._protocol.close(error)

    async def stop(self) -> None:
        """End the connection because the service ends, and wait for that."""
        self.end(ConnectionLost("the service has ended"))
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
            self.end(cause)
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
        if data and self._trickle:
            self._trickle += [data[at : at + 1] for at in range(len(data))]
        elif data:
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
        verdict = self._dps.service.admit(client_id, username, password, self._chain)
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
            self.end(ProtocolError(f"undocumented topic filter {refused[:100]!r}"))

    def _serve(self, message: Message, qos: int, packet_id: int | None) -> None:
        if self.ended or self._device is None:
            return
        fault = self._strike(message)
        if fault is not None and fault.kind in ("drop-before", "close-websocket"):
            self._cut(fault)
            return
        service, now = self._dps.service, time.time()
        if fault is not None and fault.kind == "answer":
            effects = service.refuse(message, fault.error_code, fault.retry_after, now)
        else:
            effects = service.handle(self._device, message, qos, now)
        if packet_id is not None and qos == 1:
            # PUBACK comes before the answer: the C# SDK needs that order.
            self._acknowledge(packet_id)
        for effect in effects:
            if len(self._protocol.session.outgoing) >= MAX_UNACKNOWLEDGED:
                self.end(ProtocolError("the device acknowledges none of its answers"))
                return
            if isinstance(effect, Answer):
                self._answer(effect, fault)
            elif isinstance(effect, AllocationRequested):
                self._log("%s", effect.reason)
                self._dps.request_allocation(effect)
            else:
                self.end(ProtocolError(effect.reason))

    def _acknowledge(self, packet_id: int) -> None:
        """Tell the device that its message has come, unless it has left right behind it."""
        if self._protocol.state is State.CONNECTED:
            self._protocol.acknowledge(packet_id)

    def _send_answer(self, answer: Answer) -> None:
        self._log("%s", answer.reason)
        if self._protocol.state is not State.CONNECTED:
            self._log("the device has left: the answer is lost")
        elif not self._protocol.publish(answer.message.topic, answer.message.payload, qos=1):
            self._log("the device has not subscribed: the answer is lost")

    # Faults on order

    def _strike(self, message: Message) -> Fault | None:
        """Return what is to go wrong with a request."""
        request = parse_request_topic(message.topic)
        if request is None or self._device is None:
            return None
        name = "poll" if isinstance(request, Poll) else "register"
        fault = self._dps.faults.strike(self._device.registration_id, name)
        if fault is not None:
            self._log("fault: %s", fault.kind)
        return fault

    def _cut(self, fault: Fault) -> None:
        """End the connection in the place of an answer."""
        if fault.kind == "close-websocket" and isinstance(self._stream, WebSocketStream):
            self._stream.end(fault.code)
        else:
            self._stream.abort()

    def _answer(self, answer: Answer, fault: Fault | None) -> None:
        """Send an answer, or what a fault makes of it."""
        match fault.kind if fault is not None else "":
            case "silence":
                return
            case "bad-json":
                topic, payload = answer.message
                self._send_answer(replace(answer, message=Message(topic, payload[:-2])))
            case "drop-after":
                self._send_answer(answer)
                self.end(ProtocolError("fault: dropped after the answer"))
            case "delay":
                assert fault is not None
                self._put_off(fault.seconds, lambda: self._send_late(answer))
            case "trickle":
                assert fault is not None
                self._begin_trickle(answer, fault.seconds)
            case _:
                self._send_answer(answer)

    def _put_off(self, seconds: float, act: Callable[[], None]) -> None:
        def due() -> None:
            self._late.discard(timer)
            act()

        timer = self._loop.call_later(seconds, due)
        self._late.add(timer)

    def _send_late(self, answer: Answer) -> None:
        self._send_answer(answer)
        self._pump()

    def _begin_trickle(self, answer: Answer, seconds: float) -> None:
        data = self._protocol.data_to_send(self._loop.time())  # PUBACK is not part of it
        if data and not self._trickle:
            self._stream.write(data)
        begun = bool(self._trickle)
        self._send_answer(answer)
        data = self._protocol.data_to_send(self._loop.time())
        self._trickle += [data[at : at + 1] for at in range(len(data))]
        if not begun:
            self._drip(seconds)

    def _drip(self, seconds: float) -> None:
        """Send the next byte, and see to the one after it; all else waits behind them."""
        if self._trickle:
            self._stream.write(self._trickle.popleft())
        if self._trickle:
            self._put_off(seconds, lambda: self._drip(seconds))

    def _finish(self, error: MqttwsError | None) -> None:
        who = "after the refusal" if self._device is None else "by the device"
        self._log("closed: %s", error or who)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for timer in self._late:
            timer.cancel()
        self._late.clear()
        self._forget()
        # What waits, such as a refusing CONNACK, goes out before the close.
        self._closing = self._loop.create_task(self._stream.close(error))
        _closing.add(self._closing)
        self._closing.add_done_callback(_closing.discard)

    def _forget(self) -> None:
        self._dps.forget_link(self, self._device)

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
