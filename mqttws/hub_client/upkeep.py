"""Keeps a hub client's connection usable: subscriptions, fresh tokens, and the way to another hub.

Knows when a connection came and what must be done on it before it can be used. Does not know
what the application sends over it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from ..client.client import AsyncClient
from ..client.options import ClientState, OnState
from ..errors import (
    ConnectionLost,
    MqttwsError,
    RequestTimedOut,
    SubscribeRefused,
    UsageError,
)
from ..hops import Cause, Hop
from ..hub.device.identity import HubIdentity
from ..hub.device.renewal import Rehoming
from ..text import shown
from .access import HubAccess

logger: logging.Logger = logging.getLogger("mqttws.hub_client")
"""What a hub client does by itself: renewals, a new hub, and handlers that fail."""

GOOD_AFTER = 60.0
"""Seconds after which a connection counts as good."""

RENEWAL_RETRY = 10.0
"""Seconds, at most, before a token is asked for again when that failed."""

REFUSALS = (Cause.NOT_AUTHORIZED, Cause.LOGIN_REFUSED, Cause.CLIENT_ID_REFUSED)
"""The hub's ways to say that this device does not belong to it: CONNACK 5, in practice."""


class AssignedHub(Protocol):
    """The part of an assignment that leads to a hub."""

    @property
    def assigned_hub(self) -> str:
        """The hub's full host name."""

    @property
    def device_id(self) -> str:
        """The device's name there."""


Provisioning = Callable[[], AssignedHub | Awaitable[AssignedHub]]
"""A function, plain or async, that asks DPS where the device belongs now. A plain one runs in a
thread of its own."""


class Upkeep:
    """Keeps one client usable.

    Args:
        access: the way into the hub; changed when the device goes to another one.
        filters: topic filters that are subscribed on each connection, and their QoS.
        provisioning: asks DPS; None for never.
        limit: how many times in a row DPS is asked.
        on_state: the application's.

    Attributes:
        number: of the newest connection, 1 for the first.
        on_ready: called when a connection can be used, with its number.
        on_connected: called with each CONNACK that accepts the device.
        before_judging: called with each failed attempt; True for another one at once.
        on_lost: called when the connection is lost, and when the client has ended.
        error: why the client ended; None before, and if it was asked to.
    """

    def __init__(
        self,
        access: HubAccess,
        *,
        provisioning: Provisioning | None,
        limit: int,
        on_state: OnState | None,
    ) -> None:
        self.access = access
        self.filters: dict[str, int] = {}
        self.number: int = 0
        self.on_ready: list[Callable[[int], None]] = []
        self.on_connected: list[Callable[[], None]] = []
        self.before_judging: Callable[[MqttwsError], bool] | None = None
        self.on_lost: list[Callable[[], None]] = []
        self.error: MqttwsError | None = None
        self._provisioning = provisioning
        self._policy = Rehoming(limit)
        self._on_state = on_state
        self._client: AsyncClient | None = None
        self._ready = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribing: dict[str, asyncio.Task[None]] = {}

    @property
    def client(self) -> AsyncClient:
        """The client that is kept up."""
        assert self._client is not None, "attach comes first"
        return self._client

    def attach(self, client: AsyncClient) -> None:
        """Begin with a client; once."""
        self._client = client

    # For the application's calls

    async def connect(self) -> None:
        """Open the first connection, at another hub if this one refuses the device.

        Raises:
            MqttwsError: as ``AsyncClient.connect``.
        """
        while True:
            try:
                await self.client.connect()
            except MqttwsError as error:
                if await self.judge(error) is not True:
                    raise
                await asyncio.sleep(random.uniform(0.0, 1.0))  # noqa: S311 - spread
            else:
                break
        if self.access.renew_at is not None:
            self.start(self._renew())

    async def ready(self) -> int:
        """Wait until the connection can be used; return its number.

        Raises:
            MqttwsError: the client has ended, or was never connected.
        """
        while not self._ready.is_set() or self.client.state is ClientState.CLOSED:
            self.require_open()
            await self._ready.wait()
        return self.number

    def require_open(self) -> None:
        """Refuse a call before connecting and after the end.

        Raises:
            UsageError: the client is not connected, or was disconnected.
            MqttwsError: why it ended.
        """
        if self.client.state is ClientState.NEW:
            raise UsageError(
                "the hub client is not connected",
                cause=Cause.WRONG_MOMENT,
                hint="call connect() first",
            )
        if self.client.state is ClientState.CLOSED:
            if self.error is not None:
                raise self.error.with_traceback(None)
            raise UsageError(
                "the hub client was disconnected", cause=Cause.DISCONNECTED, hint="make a new one"
            )

    def want_soon(self, topic_filter: str, qos: int = 0) -> None:
        """Subscribe without waiting, and on each connection from now on."""
        if topic_filter in self.filters:
            return
        self.filters[topic_filter] = qos
        if self.client.state is not ClientState.NEW:
            self._subscribing[topic_filter] = self.start(self._subscribe(topic_filter, qos))

    async def want(self, topic_filter: str, qos: int = 0) -> None:
        """Subscribe, if that was not done yet, and wait until the hub has confirmed it."""
        self.want_soon(topic_filter, qos)
        task = self._subscribing.get(topic_filter)
        if task is not None:
            await asyncio.wait({task})

    async def _subscribe(self, topic_filter: str, qos: int) -> None:
        try:
            await self.client.subscribe(topic_filter, qos)
        except MqttwsError as error:
            logger.warning("subscribing to %r failed: %s", topic_filter, error)
        finally:
            self._subscribing.pop(topic_filter, None)

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something until it ends or the client does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    async def stop(self) -> None:
        """End everything that runs here."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)

    # Hooks of the client

    def on_state(self, state: ClientState, reason: MqttwsError | None) -> None:
        """Follow the client's state, and pass it on."""
        if state is ClientState.CONNECTED:
            self.number += 1
            self._policy.on_connected()
            for tell in self.on_connected:
                tell()
            self.start(self._settle(self.number))
            asyncio.get_running_loop().call_later(GOOD_AFTER, self._note_good, self.number)
        elif state is ClientState.CLOSED:
            self.error = reason
            self._ready.set()  # every waiting caller looks, and finds the end
            self._lose()
        elif self._ready.is_set():
            self._ready.clear()
            self._lose()
        if self._on_state is not None:
            self._on_state(state, reason)

    async def judge(self, error: MqttwsError) -> bool | None:
        """Decide after a failed attempt whether the device asks DPS where it belongs."""
        if self.before_judging is not None and self.before_judging(error):
            return True
        refused = error.cause in REFUSALS
        if refused:
            self.access.forget_token()
        if self._provisioning is None:
            return None
        if refused:
            asks = self._policy.on_refused()
        elif error.cause is Cause.NAME_UNKNOWN and error.hop is Hop.NAME:
            asks = self._policy.on_unresolved()
        else:
            return None
        if asks:
            return await self._ask(error, self._provisioning)
        if refused and self._policy.exhausted:
            error.add_note(f"DPS was asked {self._policy.asked} times without success")
            return False
        return True

    # Inside

    def _lose(self) -> None:
        for tell in self.on_lost:
            tell()

    def _note_good(self, number: int) -> None:
        if number == self.number and self.client.connected:
            self._policy.on_good()

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the hub client failed", exc_info=error)

    async def _settle(self, number: int) -> None:
        """Subscribe on a new connection, whether or not the hub has kept the subscriptions."""
        while self.number == number and self.client.connected:
            try:
                if self.filters:
                    await self.client.subscribe(list(self.filters.items()))
            except SubscribeRefused as error:
                logger.error("the hub refused a subscription: %s", error)  # noqa: TRY400
            except RequestTimedOut as error:
                logger.warning("the hub did not confirm the subscriptions: %s", error)
                continue
            except MqttwsError:
                return  # the next connection has a task of its own
            break
        if self.number == number and self.client.connected:
            self._ready.set()
            for tell in self.on_ready:
                tell(number)

    async def _renew(self) -> None:
        """Renew the connection before its token expires, again and again."""
        while True:
            await self.access.until_renewal()
            try:
                longer = await self.access.refresh()
            except Exception as error:
                # A failing function is asked again, and then by the connection that needs it.
                logger.warning("no new token: %s: %s", type(error).__name__, shown(str(error)))
                longer = False
            if longer:
                logger.info("the token is renewed: connecting anew")
                try:
                    await self.client.reconnect()
                except MqttwsError:
                    return  # the client has ended
            else:
                await asyncio.sleep(RENEWAL_RETRY)

    async def _ask(self, error: MqttwsError, provisioning: Provisioning) -> bool:
        """Ask DPS and go where it says; return whether another attempt makes sense."""
        wait = self._policy.on_asked()
        logger.warning("%s refused the device (%s): asking DPS in %g s", self.access.identity.hub,
                       error, wait)  # fmt: skip
        await asyncio.sleep(wait)
        try:
            found = await asyncio.to_thread(provisioning)
            assignment = await found if isinstance(found, Awaitable) else found
            identity = HubIdentity(
                assignment.assigned_hub, assignment.device_id, self.access.identity.module_id
            )
        except MqttwsError as failure:
            error.add_note(f"DPS was asked, and this failed: {failure}")
            logger.warning("DPS was asked, and this failed: %s", failure)
            return True  # the limit ends it
        if identity.device_id != self.access.identity.device_id:
            error.add_note(
                f"DPS now names the device {shown(identity.device_id)}; a client keeps its name"
            )
            return False
        if identity != self.access.identity:
            logger.warning("the device belongs to %s now", identity.hub)
            self.access.move(identity)
            self.client.redirect(self.access.targets, username=self.access.username)
        if self.access.certificate is not None:  # DPS may have issued another one
            self.access.show_certificate()
            self.client.redirect(
                self.access.targets, username=self.access.username, tls=self.access.tls
            )
        return True


def ended(upkeep: Upkeep) -> bool:
    """Tell whether the client has closed; raises its error if it was not closed by request."""
    if upkeep.client.state is not ClientState.CLOSED:
        return False
    if upkeep.error is not None and not isinstance(upkeep.error, ConnectionLost):
        raise upkeep.error.with_traceback(None)
    return True
