"""The state of one hub, and the one way in which a record changes: load, decide, commit.

Knows the store and locks. Does not know what is decided: the rules are ``hub.service``'s.
"""

import asyncio
import itertools
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from ..errors import StoreFailed
from ..hub.service.access import RIGHTS, Policy
from ..hub.service.codes import Code, Fault
from ..hub.service.decisions import Send
from ..hub.service.faults import HubFaults
from ..hub.service.queue import (
    LOCK_SECONDS,
)
from ..hub.service.records import HubStore, Key, Record
from ..hub.service.throttles import Limits, Throttle
from .hub_events import EventStream, FeedbackBox
from .policies import new_policies

logger: logging.Logger = logging.getLogger("mqttws.local.hub")
"""One line for each thing that happens at a hub, without secrets."""

MAX_ATTEMPTS = 100
"""Decisions about one record before a commit that always comes too late is given up."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """A hub's settings.

    Attributes:
        limits: throttles.
        lock_seconds: after which a message without PUBACK is delivered again.
        count_deliveries: whether such a delivery counts towards ``maxDeliveryCount``; Azure's
            documentation said so until about 2025.
    """

    limits: Limits = field(default_factory=Limits)
    lock_seconds: float = LOCK_SECONDS
    count_deliveries: bool = False


@dataclass(frozen=True, slots=True)
class MethodResult:
    """A device's answer to a direct method.

    Attributes:
        status: any whole number.
        payload: any JSON value; None for none.
    """

    status: int
    payload: Any = None


class Connection(Protocol):
    """A device's live connection."""

    record: Record

    def listens(self, topic_filter: str) -> bool:
        """Whether the device is connected and has subscribed to this filter."""

    def send(self, message: Send) -> bool:
        """Send the device a message; return whether it has subscribed to it."""

    def deliver(self) -> None:
        """Send the messages of the record's queue that have not been sent yet."""

    def close(self, reason: str) -> None:
        """End the connection."""


class HubBase:
    """The records, settings and live connections of one hub.

    Args:
        name: its host name.
        store: of its records.
        policies: shared access policies; None for those of a new hub, with fresh keys.
        settings: throttles and the like.
        fault_seed: for the faults that strike at random.

    Attributes:
        events: telemetry and all else, for consumers.
        feedback: about messages to devices.
        faults: what shall go wrong.
        connections: live ones, by device id and module id.
        cas: certificates, DER, of the CAs whose devices may be created with ``ca_signed``.
        seen: Unix time in seconds at which a device last connected or disconnected.
    """

    def __init__(
        self,
        name: str,
        store: HubStore,
        *,
        policies: list[Policy] | None = None,
        settings: Settings | None = None,
        fault_seed: int | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.policies: list[Policy] = new_policies(RIGHTS) if policies is None else policies
        self.settings: Settings = settings or Settings()
        self.events: EventStream = EventStream()
        self.feedback: FeedbackBox = FeedbackBox()
        self.faults: HubFaults = HubFaults(random.Random(fault_seed).random)  # noqa: S311 - no secret
        self.connections: dict[tuple[str, str], Connection] = {}
        self.cas: list[bytes] = []
        self.seen: dict[tuple[str, str], float] = {}
        self.throttle(self.settings.limits)
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._calls: dict[str, asyncio.Future[MethodResult | Fault]] = {}
        self._call_of: dict[str, tuple[str, str]] = {}
        self._call_ids = itertools.count(1)
        self._arrivals: set[asyncio.Future[None]] = set()
        self._expiries: dict[Key, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def throttle(self, limits: Limits) -> None:
        """Let these throttles hold from now on, and no others."""
        self.settings = replace(self.settings, limits=limits)
        self.connects: Throttle = Throttle(limits.connects)
        self.telemetry: Throttle = Throttle(limits.telemetry)
        self.twin_reads: Throttle = Throttle(limits.twin_reads)
        self.twin_updates: Throttle = Throttle(limits.twin_updates)

    def key(self, device_id: str, module_id: str = "") -> Key:
        """Return the place of a record of this hub."""
        return Key(self.name, device_id, module_id)

    # Records

    async def load(self, key: Key) -> Record | None:
        """Return a record; None for none."""
        return await self.store.load(key)

    async def change(
        self, key: Key, rule: Callable[[Record | None], tuple[Record | None, _T]]
    ) -> _T:
        """Let a rule decide about a record, commit what it returns, and return its outcome.

        Changes of one record come one after the other; the caller's code up to its next ``await``
        runs before the next of them.

        Raises:
            StoreFailed: the store cannot serve, or others change this record without end.
        """
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            for _ in range(MAX_ATTEMPTS):
                before = await self.store.load(key)
                after, outcome = rule(before)
                if after is before:
                    return outcome
                if await self.store.commit(key, before, after):
                    connection = self.connections.get((key.device_id, key.module_id))
                    if connection is not None and after is not None:
                        connection.record = after
                    return outcome
        raise StoreFailed(f"a record of hub {self.name} is changed by others without end")

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Run something that ends with the hub at the latest."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def tracking_id() -> str:
    """Return an id as the hub's error bodies have it."""
    moment = time.strftime("%m/%d/%Y %H:%M:%S", time.gmtime())
    return f"{uuid.uuid4().hex.upper()}-G:0-TimeStamp:{moment}"


def not_found(module_id: str) -> Fault:
    """Return the fault of a device or module that is not there."""
    if module_id:
        return Fault(Code.ModuleNotFound, "there is no such module")
    return Fault(Code.DeviceNotFound, "there is no such device")
