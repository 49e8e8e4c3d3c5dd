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
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypedDict

from ..dps.answers import verb
from ..dps.certificates import Chain
from ..dps.codes import INTERNAL_ERROR
from ..dps.directory import CERTIFICATES_MARK, Directory, place_of
from ..dps.effects import AllocationRequested, Assigned, Device, Refusal
from ..dps.enrollment_json import parse_enrollments
from ..dps.faults import parse_fault
from ..dps.records import RegistrationRecord
from ..dps.service import Service
from ..dps.settings import Settings
from ..dps.store import Row, Store
from ..dps.tables import MARKS, AnyEnrollment
from ..dps.topics import Message, parse_request_topic
from ..errors import StoreFailed, UsageError
from ..loop_thread import AsyncOnly
from ..net.stream import ByteStream, Stream
from ..net.tls import TlsConfig
from ..net.upgrade import accept_websocket
from ..options import LOCAL_DPS
from ..protocol import ConnectReceived, Event
from ..text import short_line, shown
from . import listening
from .anchors import DpsTls
from .certificates import prepare_certificates
from .device import DpsDevice, Presence, Served
from .http_door import HttpDoor
from .link import Handler, ServerLink
from .listening import Listener, resolve
from .orders import FaultOrders
from .stores import open_store
from .webhook import ask_webhook
from .x509 import load_certificate

logger: logging.Logger = logging.getLogger("mqttws.local")
"""One line for each thing that happens at the service, without secrets."""

DEFAULT_ID_SCOPE = "0ne00LOCAL"
DEFAULT_HUB = "local-hub.azure-devices.net"

WATCH_INTERVAL = 1.0
"""Seconds between two looks at what other processes have changed in the store."""

_AT_ONCE = 500  # enrollments that are stored together

STOP_TIMEOUT = 2.0
"""Seconds that requests under way are given to end when the service stops."""


class WayToDps(TypedDict):
    """The arguments of ``provision`` that lead to a local DPS."""

    host: str
    port: int
    tls: TlsConfig


class HubSide(Protocol):
    """The hubs that share a DPS's ports."""

    def __call__(self, link: ServerLink) -> Handler:
        """Return the handler of a connection whose user name is no DPS device's."""

    async def assigned(self, assigned: Assigned) -> None:
        """Make the identity of a device that has been assigned."""


class AsyncLocalDps(AsyncOnly):
    """A local DPS with real TLS and real credential checks.

    >>> async with mqttws.AsyncLocalDps() as dps:
    ...     key = await dps.enroll_device("my-device")
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
        enrollments: who may register; more can be added later. Records that hold something win:
            only ids that they have never held are added to them.
        first_enrollments: who may register where the records hold nothing yet.
        records: where enrollments and registrations live: a path for SQLite, ``postgresql://…``, or
            a store; None for memory.
        hubs: host names of the linked IoT hubs, or names and weights of the hashed allocation.
        retry_after: seconds that a device is told to wait before its next poll.
        assigning_polls: how many polls are answered 202 before the final 200.
        registers_per_minute: of all devices together; more are answered 429; None for no limit.
        polls_per_10s: of each device; likewise.
        lenient: whether bodies and api-versions that the real service refuses are served.
        fault_seed: for the faults that strike at random; the same seed strikes the same requests.

    Attributes:
        store: where everything is kept.
        directory: enrollments and registrations in it.
        faults: what shall go wrong.
        service: the rules over the store.
        tls: the server's side of TLS, for other services on this machine.
        hub: the hubs behind the same ports; None for none.
        http: the services that answer HTTP requests on the WebSocket's port.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        wss_port: int | None = 0,
        mqtts_port: int | None = 0,
        state: str | os.PathLike[str] | None = None,
        id_scope: str = DEFAULT_ID_SCOPE,
        enrollments: Sequence[AnyEnrollment] = (),
        first_enrollments: Sequence[AnyEnrollment] = (),
        records: str | os.PathLike[str] | Store | None = None,
        hubs: Sequence[str] | Mapping[str, int] = (DEFAULT_HUB,),
        retry_after: int = 3,
        assigning_polls: int = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
        lenient: bool = False,
        fault_seed: int | None = None,
    ) -> None:
        LOCAL_DPS.check(locals())
        self.host = host
        self.wss_port = wss_port
        self.mqtts_port = mqtts_port
        self.id_scope = id_scope
        settings = Settings.of(
            id_scope,
            hubs,
            retry_after=retry_after,
            assigning_polls=assigning_polls,
            registers_per_minute=registers_per_minute,
            polls_per_10s=polls_per_10s,
            lenient=lenient,
        )
        self.store: Store = open_store(records)
        self.directory: Directory = Directory(self.store)
        self.faults: FaultOrders = FaultOrders(self.store, random.Random(fault_seed).random)  # noqa: S311 - no secret
        self.service: Service = Service(
            settings, self.store, operation_ids=_operation_ids(), tracking_ids=_uuids()
        )
        self._state = state
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._ca_file: Path | None = None
        self.tls: DpsTls = DpsTls(self.faults.strike_handshake)
        self.hub: HubSide | None = None
        self.http: HttpDoor = HttpDoor()
        self.presence: Presence = Presence()
        self._listener = Listener(self.tls)
        self._tasks: set[asyncio.Task[None]] = set()
        self._webhooks: set[asyncio.Task[None]] = set()
        self._links: set[ServerLink] = set()
        self._enrollments = tuple(enrollments)
        self._first_enrollments = tuple(first_enrollments)
        self._watcher: asyncio.Task[None] | None = None

    @property
    def options(self) -> WayToDps:
        """The arguments of ``provision`` that lead here, over WebSocket; only its CA is trusted."""
        tls = TlsConfig(ca=self.ca_file, only_ca=True)
        return WayToDps(host=self.host, port=self.wss_port or 0, tls=tls)

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust, a PEM file.

        Raises:
            UsageError: the service has not been started.
        """
        if self._ca_file is None:
            raise UsageError("the local DPS has not been started")
        return self._ca_file

    async def enroll(self, record: Mapping[str, Any], *, replace: bool = False) -> None:
        """Let a device, or a group of them, register from now on.

        Args:
            record: an individual enrollment or a group, in the shape of the DPS service API.
            replace: whether it may take the place of the one that has its id.

        Raises:
            UsageError: names the member that is wrong and what was expected.
            StoreFailed: it could not be stored.
        """
        for enrollment in parse_enrollments(json.dumps([record]), "enroll"):
            await self.keep(enrollment, replace=replace)

    async def keep(self, enrollment: AnyEnrollment, *, replace: bool = False) -> None:
        """Take an enrollment that has been read already; otherwise like ``enroll``."""
        before = await self.directory.row(*place_of(enrollment))
        if before.version and not replace:
            _, name = place_of(enrollment)
            raise UsageError(f"there is an enrollment {shown(name)} already")
        if not await self.change(enrollment, before, any_version=replace):
            raise UsageError("another client enrolls the same id at the same moment")

    async def change(
        self, enrollment: AnyEnrollment, before: Row, *, any_version: bool = False
    ) -> bool:
        """Keep an enrollment in the place of the row that was loaded; False if that has moved."""
        for der in enrollment.certificates:
            load_certificate(der)
        if not await self.directory.put(enrollment, before, any_version=any_version):
            return False
        self._trust(enrollment, before.value)
        return True

    async def remove(self, enrollment: AnyEnrollment, before: Row) -> bool:
        """Delete an enrollment; False if it is not the one that was loaded any more."""
        if not await self.directory.remove(enrollment, before):
            return False
        self._trust(None, enrollment)
        return True

    async def enroll_once(self, enrollments: Sequence[AnyEnrollment]) -> list[str]:
        """Enroll those whose ids the records have never held; return the ids of the others."""

        async def add(enrollment: AnyEnrollment) -> bool:
            added = await self.directory.add(enrollment, once=True)
            if added:
                self._trust(enrollment, None)
            return added

        for enrollment in enrollments:
            for der in enrollment.certificates:
                load_certificate(der)
        known = []
        for at in range(0, len(enrollments), _AT_ONCE):
            some = enrollments[at : at + _AT_ONCE]
            added = await asyncio.gather(*map(add, some))
            known += [place_of(one)[1] for one, new in zip(some, added, strict=True) if not new]
        return known

    async def _enroll_given(self) -> None:
        if await self.directory.is_empty():
            await self.enroll_once(self._first_enrollments)
        known = await self.enroll_once(self._enrollments)
        if known:
            logger.info(
                "%d of %d enrollments given are known to the records, which win: %s",
                len(known),
                len(self._enrollments),
                short_line(", ".join(known[:10])),
            )

    def _trust(self, after: AnyEnrollment | None, before: AnyEnrollment | None) -> None:
        if self._listener.listening:
            added, removed = (
                () if known is None else known.certificates for known in (after, before)
            )
            self.tls.anchors.change(added, removed)

    async def enroll_device(self, registration_id: str) -> str:
        """Enroll one device with fresh keys; return its primary key, base64."""
        primary, secondary = (b64encode(secrets.token_bytes(64)).decode() for _ in range(2))
        await self.enroll(
            {
                "registrationId": registration_id,
                "attestation": {
                    "type": "symmetricKey",
                    "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
                },
            }
        )
        return primary

    async def registration(self, registration_id: str) -> RegistrationRecord | None:
        """Return the registration record of a device; None if it is not assigned."""
        return await self.directory.registration(registration_id)

    async def fault(self, kind: str, device: str | None = None, **members: Any) -> int:
        """Let something go wrong from now on; return the order's number, for ``faults.cancel``.

        >>> await dps.fault("answer", "my-device", status=429, retry_after=1, times=2)
        >>> await dps.fault("drop-after", request="register", probability=0.1, times=None)

        Args:
            kind: see ``mqttws.dps.faults.Kind``.
            device: a registration id; None for all.
            **members: of ``mqttws.dps.faults.Fault``.

        Raises:
            UsageError: names the member and what is allowed.
            StoreFailed: it could not be stored.
        """
        return await self.faults.order(parse_fault({"kind": kind, "device": device, **members}))

    async def cancel_faults(self) -> None:
        """Take every order for a fault back."""
        await self.faults.cancel()

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
            names = (self.host, *_own_names())
            certificates = await asyncio.to_thread(prepare_certificates, folder, names)
            self._ca_file = certificates.ca_file
            self.tls.begin(folder, certificates, names)
            await self.store.open()
            await self.faults.refresh()
            await self._enroll_given()
            await self.tls.load(self.store)
            if self.store.shared:
                self._watcher = asyncio.get_running_loop().create_task(self._watch())
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
        await self.http.stop()
        if self._watcher is not None:
            self._watcher.cancel()
        tasks = {*self._tasks, *self._webhooks, *([self._watcher] if self._watcher else ())}
        if self._tasks:  # a commit that is under way may be answered yet
            await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(link.stop() for link in list(self._links)))
        await self.store.close()
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
        """Hand an HTTP request to the services of its path; without any, refuse it."""
        if not await self.http.take(stream, label, chain):
            await accept_websocket(
                stream, listening.WEBSOCKET_PATHS.__contains__, listening.MAX_HEAD
            )

    def admit(
        self, client_id: str, username: str | None, password: bytes | None, chain: Chain
    ) -> Device | Refusal:
        """Judge a CONNECT by its names."""
        return self.service.admit(client_id, username, password, chain)

    async def serve(self, device: Device, message: Message, qos: int) -> Served:
        """Decide about a message, and commit what it changes; ordered faults come first."""
        request = parse_request_topic(message.topic)
        fault = None
        try:
            if request is not None:
                fault = await self.faults.strike(device.registration_id, verb(request))
            if fault is not None:
                logger.info("%s: fault: %s", device.registration_id, fault.kind)
                if fault.kind in ("drop-before", "close-websocket"):
                    return Served([], fault)
                if fault.kind == "answer":
                    code, retry_after = fault.error_code, fault.retry_after
                    effects = self.service.refuse(message, code, retry_after, time.time())
                    return Served(effects, fault)
        except StoreFailed:
            pass  # no fault is known then, and the service says what failed
        try:
            handled = await self.service.handle(device, message, qos)
            await self._tell_hub(handled.assigned)
        except Exception as error:  # a fault of ours costs the device one answer, no connection
            logger.error("%s: %s", device.registration_id, describe(error))  # noqa: TRY400
            return Served(self.service.refuse(message, INTERNAL_ERROR, None, time.time()))
        return Served(handled.effects, fault, handled.proved)

    async def _tell_hub(self, assigned: Assigned | None) -> None:
        """Let the hub make the identity of an assigned device, before the device hears of it."""
        if assigned is not None and self.hub is not None:
            try:
                await self.hub.assigned(assigned)
            except StoreFailed as error:
                name = assigned.registration.registration_id
                logger.warning("%s: the hub could not keep the device: %s", name, error)

    def request_allocation(self, request: AllocationRequested) -> None:
        """Ask an enrollment's webhook, in the background, and assign by its answer."""
        task = asyncio.get_running_loop().create_task(self._allocate(request))
        self._webhooks.add(task)
        task.add_done_callback(self._webhooks.discard)

    async def _allocate(self, request: AllocationRequested) -> None:
        status, answer = await ask_webhook(request.url, request.body)
        name = request.device.registration_id
        logger.info("%s: the webhook answered %s", name, status or "nothing")
        try:
            await self._tell_hub(await self.service.allocated(request, status, answer))
        except StoreFailed as error:
            logger.warning("%s: the webhook's answer could not be kept: %s", name, error)

    async def _watch(self) -> None:
        """Follow what other front ends change: ordered faults, and certificates to trust."""
        seen = None
        while True:
            with suppress(StoreFailed):  # the store itself has said so
                mark = (await self.store.load((MARKS, CERTIFICATES_MARK))).rows[0].version
                if seen not in (None, mark):
                    await self.tls.load(self.store)
                seen = mark
                await self.faults.refresh()
            await asyncio.sleep(WATCH_INTERVAL)

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


def describe(error: Exception) -> str:
    """Return an unexpected exception in one line: its class and where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    code = "" if place is None else f" at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
    return f"internal error: {type(error).__name__}{code}"


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
