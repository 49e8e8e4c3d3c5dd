"""FrontEnd: the local DPS behind its listener; each request is struck by faults, decided, answered.

Knows the service's loop, the ordered faults, webhooks, and the hubs that share the ports. Does not
know the rules, nor how a connection came about.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ..dps.answers import verb
from ..dps.certificates import Chain
from ..dps.codes import INTERNAL_ERROR
from ..dps.decisions import admit_names
from ..dps.effects import AllocationRequested, Answer, Assigned, Device, Refusal
from ..dps.faults import Fault
from ..dps.names import Username
from ..dps.service import Service
from ..dps.topics import Request
from ..errors import StoreFailed
from ..net.stream import ByteStream, Stream
from ..net.upgrade import accept_websocket
from ..protocol import ConnectReceived, Event
from . import listening
from .clock import StoreClock
from .device import DpsDevice, Presence, Served
from .dps_events import MAX_EVENTS, DpsEvents
from .http_door import HttpDoor
from .link import Handler, ServerLink
from .orders import FaultOrders
from .sabotage import EarlySabotage
from .webhook import ask_webhook

logger: logging.Logger = logging.getLogger("mqttws.local")

INSTEAD = ("drop-before", "close-websocket", "restart")
"""Kinds of faults whose requests are not served."""

STOP_TIMEOUT = 2.0
"""Seconds that requests under way are given to end when the service stops."""


class HubSide(Protocol):
    """The hubs that share a DPS's ports."""

    def __call__(self, link: ServerLink) -> Handler:
        """Return the handler of a connection whose user name is no DPS device's."""

    async def assigned(self, assigned: Assigned) -> None:
        """Make the identity of a device that has been assigned."""

    async def reset(self) -> None:
        """Delete every device and every ordered fault."""


class FrontEnd:
    """The service's front for connections: serves their requests, asks their webhooks.

    Args:
        service: the rules over the store.
        faults: what shall go wrong.
        http: the services that answer HTTP requests.
        restart: lets the whole service go away for some seconds; an ordered fault.
        clock: of the store.

    Attributes:
        presence: which connection speaks for a device.
        hub: the hubs behind the same ports; None for none.
        restart: as given.
        events: what happens.
        early: the faults of connections that have not reached MQTT.
        on_served: is given the seconds that each decision took, with its commit; None for no call.
    """

    def __init__(
        self,
        service: Service,
        faults: FaultOrders,
        http: HttpDoor,
        restart: Callable[[float], None],
        clock: StoreClock,
    ) -> None:
        self.presence: Presence = Presence()
        self.hub: HubSide | None = None
        self.restart: Callable[[float], None] = restart
        self.events: DpsEvents = DpsEvents(MAX_EVENTS)
        self.early: EarlySabotage = EarlySabotage(self._strike_early, restart)
        self.on_served: Callable[[float], None] | None = None
        self._service = service
        self._clock = clock
        self._faults = faults
        self._http = http
        self._requests: set[asyncio.Task[None]] = set()
        self._webhooks: set[asyncio.Task[None]] = set()
        self._links: set[ServerLink] = set()

    @property
    def connections(self) -> int:
        """The number of MQTT connections that are open."""
        return len(self._links)

    def cut_all(self) -> None:
        """Cut every connection, without a word."""
        for link in list(self._links):
            link.stream.abort()

    async def stop(self) -> None:
        """End what is under way, and close every connection; bounded in time."""
        if self._requests:  # a commit that is under way may be answered yet
            await asyncio.wait(self._requests, timeout=STOP_TIMEOUT)
        tasks = {*self._requests, *self._webhooks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(link.stop() for link in list(self._links)))

    def take(self, stream: Stream, label: str, chain: Chain) -> None:
        """Serve a connection from where MQTT begins."""
        timeout = listening.HANDSHAKE_TIMEOUT
        link = ServerLink(stream, label, chain, among=self._links, connect_timeout=timeout)
        link.begin(_Newcomer(self, link))

    async def take_http(self, stream: ByteStream, label: str, chain: Chain) -> None:
        """Hand an HTTP request to the services of its path; without any, refuse it."""
        if not await self._http.take(stream, label, chain):
            await accept_websocket(
                stream, listening.WEBSOCKET_PATHS.__contains__, listening.MAX_HEAD
            )

    def admit(
        self, client_id: str, username: str | None, password: bytes | None, chain: Chain
    ) -> Device | Refusal:
        """Judge a CONNECT by its names."""
        return self._service.admit(client_id, username, password, chain)

    def admit_names(self, names: Username, token: str | None, chain: Chain) -> Device | Refusal:
        """Judge the names in an HTTPS request."""
        return admit_names(self._service.settings, names, token, chain)

    def concern(self, hop: str, registration_id: str = "") -> bool:
        """Whether an ordered fault may strike a leg of a device's way."""
        return self._faults.concern(hop, registration_id)

    async def strike(self, hop: str, registration_id: str = "", label: str = "") -> Fault | None:
        """Return what goes wrong on a leg of a device's way; None for nothing."""
        try:
            fault = await self._faults.strike(hop, registration_id)
        except StoreFailed:
            return None  # it is not known then, and the service says what failed
        if fault is not None:
            logger.info("%s: fault at %s: %s", registration_id or label, hop, fault.kind)
            self.events.add("fault", registration_id, label, hop=hop, fault=fault.kind)
        return fault

    def note_refused(self, label: str, hop: str, reason: str) -> None:
        """Take in that a connection has ended before MQTT."""
        self.events.add("refused", "", label, hop=hop, reason=reason)

    async def _strike_early(self, hop: str, label: str) -> Fault | None:
        return await self.strike(hop, label=label)

    async def serve(self, device: Device, request: Request, body: bytes) -> Served:
        """Decide about a request, and commit what it changes; ordered faults come first."""
        leg = verb(request)
        concerned = self.concern(leg, device.registration_id)
        fault = await self.strike(leg, device.registration_id) if concerned else None
        if fault is not None and fault.kind == "answer":
            return Served([self._ordered_answer(request, fault)], fault)
        if fault is not None and fault.kind in INSTEAD:
            return Served([], fault)
        began = time.perf_counter()
        try:
            handled = await self._service.serve(device, request, body)
            if self.on_served is not None:
                self.on_served(time.perf_counter() - began)
            await self._tell_hub(handled.assigned)
        except Exception as error:  # a fault of ours costs the device one answer, no connection
            logger.error("%s: %s", device.registration_id, describe(error))  # noqa: TRY400
            refusal = self._service.refuse(
                request, INTERNAL_ERROR, self._clock.now(), message="Internal error."
            )
            return Served([refusal])
        return Served(handled.effects, fault, handled.proved_at)

    def _ordered_answer(self, request: Request, fault: Fault) -> Answer:
        code = fault.full_error_code
        message = "Ordered fault." if fault.message is None else fault.message
        answer = self._service.refuse(
            request, code, self._clock.now(), message=message, retry_after=fault.retry_after
        )
        if fault.body is None:
            return answer
        return replace(
            answer, status=fault.status, body=fault.body.encode(errors="replace"), error_code=0
        )

    async def _tell_hub(self, assigned: Assigned | None) -> None:
        """Let the hub make the identity of an assigned device, before the device hears of it."""
        if assigned is None:
            return
        found = assigned.registration
        self.events.add(
            "assigned",
            found.registration_id,
            assignedHub=found.assigned_hub,
            deviceId=found.device_id,
            substatus=found.substatus,
        )
        if self.hub is not None:
            try:
                await self.hub.assigned(assigned)
            except StoreFailed as error:
                name = found.registration_id
                logger.warning("%s: the hub could not keep the device: %s", name, error)

    def request_allocation(self, request: AllocationRequested) -> None:
        """Ask an enrollment's webhook, in the background, and assign by its answer."""
        task = asyncio.get_running_loop().create_task(self._allocate(request))
        self._webhooks.add(task)
        task.add_done_callback(self._webhooks.discard)

    async def _allocate(self, request: AllocationRequested) -> None:
        status, answer, reason = await ask_webhook(request.url, request.body)
        name = request.device.registration_id
        logger.info("%s: the webhook %s", name, reason)
        try:
            await self._tell_hub(await self._service.allocated(request, status, answer))
        except StoreFailed as error:
            logger.warning("%s: the webhook's answer could not be kept: %s", name, error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that ends with the service at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return task


class _Newcomer:
    """The handler of a connection until its CONNECT names the device."""

    def __init__(self, front: FrontEnd, link: ServerLink) -> None:
        self._front = front
        self._link = link

    def handle(self, event: Event) -> None:
        """Give the connection to the hub's handler or to the DPS's."""
        make: Callable[[ServerLink], Handler] = partial(DpsDevice, self._front)
        hub = self._front.hub
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
