"""AsyncLocalDps: the Device Provisioning Service as a program on this machine.

Joins the pure service (``dps.service``) to TLS, WebSocket and MQTT. Two ports, WSS and MQTT over
TLS, feed one service object; nothing behind a port knows which it was. There is no plain one.
"""

import asyncio
import json
import logging
import os
import random
import re
import secrets
import socket
import ssl
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from ..dps.answers import verb
from ..dps.certificates import Chain
from ..dps.effects import AllocationRequested, Device, Refusal
from ..dps.enrollment_json import parse_enrollments
from ..dps.faults import Faults, parse_fault
from ..dps.records import EnrollmentGroup, IndividualEnrollment, RegistrationRecord
from ..dps.service import Service
from ..dps.store import MemoryRecords, Records
from ..dps.topics import Message, parse_request_topic
from ..errors import UsageError
from ..net.stream import ByteStream, Stream
from ..net.upgrade import accept_websocket
from ..options import LOCAL_DPS
from ..protocol import ConnectReceived, Event
from . import listening
from .certificates import ServerCertificate, expired_context, prepare_certificates
from .device import DpsDevice, Presence, Served
from .link import Handler, ServerLink
from .listening import Listener, resolve
from .webhook import ask_webhook
from .x509 import TrustAnchors, parse_certificate

logger = logging.getLogger("mqttws.local")
"""One line for each thing that happens at the service, without secrets."""

DEFAULT_ID_SCOPE = "0ne00LOCAL"
DEFAULT_HUB = "local-hub.azure-devices.net"


class Assigned(NamedTuple):
    """A registration that has just ended well.

    Attributes:
        registration: as it is now.
        earlier: as it was before; None for a first one.
        enrollment: that let the device in.
        chain: the certificates that the device has shown.
    """

    registration: RegistrationRecord
    earlier: RegistrationRecord | None
    enrollment: IndividualEnrollment | EnrollmentGroup
    chain: Chain


class HubSide(Protocol):
    """The hubs that share a DPS's ports."""

    def __call__(self, link: ServerLink) -> Handler:
        """Return the handler of a connection whose user name is no DPS device's."""

    async def assigned(self, assigned: Assigned) -> None:
        """Make the identity of a device that has been assigned."""

    async def take_http(self, stream: ByteStream, label: str) -> bool:
        """Serve an HTTP request; return whether there is anything that could."""


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
        tls: the server's side of TLS, for other services on this machine.
        hub: the hubs behind the same ports; None for none.
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
        LOCAL_DPS.check(locals())
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
        self.tls = _Tls(self)
        self.hub: HubSide | None = None
        self.presence = Presence()
        self._listener = Listener(self.tls)
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[ServerLink] = set()
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
        if self.tls.anchors is not None:
            self.tls.anchors.add(enrollment.certificates)

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
        if self._listener.listening:
            raise UsageError("the local DPS has been started already")
        if self.wss_port is None and self.mqtts_port is None:
            raise UsageError("the local DPS needs a port to listen on")
        await resolve(self.host)
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
            self.tls.begin(folder, certificates)
            if self.wss_port is not None:
                self.wss_port = await self._listener.listen(
                    self.host,
                    self.wss_port,
                    "wss",
                    self._take,
                    websocket=True,
                    http=self._take_http,
                )
            if self.mqtts_port is not None:
                self.mqtts_port = await self._listener.listen(
                    self.host, self.mqtts_port, "mqtts", self._take, websocket=False
                )
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection and stop listening; bounded in time."""
        await self._listener.stop()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(link.stop() for link in list(self._links)))
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

    # For the connections

    def _take(self, stream: Stream, label: str, chain: Chain) -> None:
        timeout = listening.HANDSHAKE_TIMEOUT
        link = ServerLink(stream, label, chain, among=self._links, connect_timeout=timeout)
        link.begin(_Newcomer(self, link))

    async def _take_http(self, stream: ByteStream, label: str, chain: Chain) -> None:
        """Hand an HTTP request to the hub's service API; without one, refuse it."""
        if self.hub is None or not await self.hub.take_http(stream, label):
            await accept_websocket(
                stream, listening.WEBSOCKET_PATHS.__contains__, listening.MAX_HEAD
            )

    def admit(
        self, client_id: str, username: str | None, password: bytes | None, chain: Chain
    ) -> Device | Refusal:
        """Judge a CONNECT by its names."""
        return self.service.admit(client_id, username, password, chain)

    async def serve(self, device: Device, message: Message, qos: int) -> Served:
        """Decide about a message."""
        now = time.time()
        fault = None
        request = parse_request_topic(message.topic)
        if request is not None:
            name = verb(request)
            fault = self.faults.strike(device.registration_id, name)
        if fault is not None:
            logger.info("%s: fault: %s", device.registration_id, fault.kind)
            if fault.kind in ("drop-before", "close-websocket"):
                return Served([], fault)
            if fault.kind == "answer":
                effects = self.service.refuse(message, fault.error_code, fault.retry_after, now)
                return Served(effects, fault)
        with self._assigning(device) as assigned:
            effects = self.service.handle(device, message, qos, now)
        await self._tell_hub(device, assigned())
        return Served(effects, fault)

    @contextmanager
    def _assigning(self, device: Device) -> Iterator[Callable[[], Assigned | None]]:
        """Yield a function that says whether what is done within has assigned a device."""
        before = self.records.registration(device.registration_id)

        def assigned() -> Assigned | None:
            after = self.records.registration(device.registration_id)
            if after is None or after is before:
                return None
            enrollment = (
                self.records.group(after.enrollment_group_id)
                if after.enrollment_group_id
                else self.records.individual(after.registration_id)
            )
            return None if enrollment is None else Assigned(after, before, enrollment, device.chain)

        yield assigned

    async def _tell_hub(self, device: Device, assigned: "Assigned | None") -> None:
        """Let the hub make the identity of an assigned device, before the device hears of it."""
        if assigned is not None and self.hub is not None:
            await self.hub.assigned(assigned)

    def request_allocation(self, request: AllocationRequested) -> None:
        """Ask an enrollment's webhook, in the background, and assign by its answer."""
        self.spawn(self._allocate(request))

    async def _allocate(self, request: AllocationRequested) -> None:
        status, answer = await ask_webhook(request.url, request.body)
        name = request.device.registration_id
        logger.info("%s: the webhook answered %s", name, status or "nothing")
        with self._assigning(request.device) as assigned:
            self.service.allocated(request, status, answer, time.time())
        await self._tell_hub(request.device, assigned())

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that ends with the service at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Newcomer:
    """The handler of a connection until its CONNECT says whose it is."""

    def __init__(self, dps: AsyncLocalDps, link: ServerLink) -> None:
        self._dps = dps
        self._link = link

    def handle(self, event: Event) -> None:
        """Give the connection to the hub's handler or to the DPS's."""
        make: Callable[[ServerLink], Handler] = partial(DpsDevice, self._dps)
        hub = self._dps.hub
        if hub is not None and isinstance(event, ConnectReceived):
            make = make if _is_for_dps(event.connect.username) else hub
        self._link.handler = make(self._link)
        self._link.handler.handle(event)


def _is_for_dps(username: str | None) -> bool:
    return username is not None and "/registrations/" in username


class _Tls:
    """The DPS's side of TLS: its certificate, and the trust anchors of its enrollments."""

    def __init__(self, dps: AsyncLocalDps) -> None:
        self._dps = dps
        self.anchors: TrustAnchors | None = None
        self._folder: Path
        self._context: ssl.SSLContext

    def begin(self, folder: Path, certificates: ServerCertificate) -> None:
        """Use these certificates from now on, and trust what is enrolled."""
        self._folder = folder
        self._context = certificates.context()
        self.anchors = TrustAnchors(self._context)
        records = self._dps.records
        for enrollment in (*records.individuals(), *records.groups()):
            self.anchors.add(enrollment.certificates)

    async def context(self, label: str) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        if not self._dps.faults.strike_handshake():
            return self._context
        logger.info("%s: fault: an expired certificate is shown", label)
        names = (self._dps.host, *_own_names())
        return await asyncio.to_thread(expired_context, self._folder, names)

    def chain(self, ssl_object: ssl.SSLObject) -> Chain:
        """Return the certificates that a client has shown and proved."""
        assert self.anchors is not None, "the service has been started"
        return self.anchors.chain(ssl_object)


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
