"""One hub's work: load a record, decide, commit, and carry the effects out.

Knows the store, the live connections, and who waits for a method's answer. Does not know MQTT, HTTP
or ports: connections and REST call it. The rules are ``hub.service``'s.
"""

import asyncio
import itertools
import logging
import random
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from ..dps.json_text import build_json
from ..errors import StoreFailed
from ..hub.service.access import RIGHTS, Policy
from ..hub.service.codes import Code, Fault
from ..hub.service.decisions import Send, desired_message
from ..hub.service.faults import HubFaults
from ..hub.service.identity import Identity, completed, same_but_revision
from ..hub.service.methods import Invocation, displaced, offline, unanswered
from ..hub.service.queue import (
    LOCK_SECONDS,
    CloudMessage,
    Ended,
    Feedback,
    enqueue,
    expire,
    feedback_wanted,
    purge,
)
from ..hub.service.records import HubStore, Key, Record
from ..hub.service.throttles import Limits, Throttle
from ..hub.service.twin import ServiceWrite, Twin, new_twin, write
from ..hub.topics import METHODS_FILTER, method_topic
from .hub_events import EventStream, FeedbackBox

logger = logging.getLogger("mqttws.local.hub")
"""One line for each thing that happens at a hub, without secrets."""

MAX_ATTEMPTS = 100
"""Decisions about one record before a commit that always comes too late is given up."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a hub can be told to do otherwise.

    Attributes:
        limits: throttles.
        lock_seconds: after which a message without PUBACK is delivered again.
        count_deliveries: whether such a delivery counts towards ``maxDeliveryCount``, as in the
            documents until about 2025.
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


class Hub:
    """One hub.

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
        trust: lets TLS know a device's certificate, DER.
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
        self.policies = new_policies() if policies is None else policies
        self.settings = settings or Settings()
        self.events: EventStream = EventStream()
        self.feedback: FeedbackBox = FeedbackBox()
        self.faults: HubFaults = HubFaults(random.Random(fault_seed).random)  # noqa: S311 - no secret
        self.connections: dict[tuple[str, str], Connection] = {}
        self.trust: Callable[[bytes], None] = lambda der: None
        self.seen: dict[tuple[str, str], float] = {}
        limits = self.settings.limits
        self.connects: Throttle = Throttle(limits.connects)
        self.telemetry: Throttle = Throttle(limits.telemetry)
        self.twin_reads: Throttle = Throttle(limits.twin_reads)
        self.twin_updates: Throttle = Throttle(limits.twin_updates)
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._calls: dict[str, asyncio.Future[MethodResult | Fault]] = {}
        self._call_of: dict[str, tuple[str, str]] = {}
        self._call_ids = itertools.count(1)
        self._arrivals: set[asyncio.Future[None]] = set()
        self._expiries: dict[Key, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

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

    # The registry

    async def register(
        self,
        new: Identity,
        *,
        etag: str | None = None,
        initial_twin: Mapping[str, Any] | Twin | None = None,
        replace_any: bool = False,
    ) -> Identity | Fault:
        """Create an identity, or change one whose etag is known.

        Args:
            new: as ``read_identity`` returns it.
            etag: of ``If-Match``: None creates, ``*`` changes any.
            initial_twin: of a new identity: ``tags`` and ``properties.desired``, or a twin as
                another hub has kept it.
            replace_any: create or change, whichever it is.
        """
        for der in new.credentials.certificates:
            self.trust(der)
        now = time.time()
        twin = initial_twin if isinstance(initial_twin, Twin) else new_twin(initial_twin, now)
        if isinstance(twin, Fault):
            return twin
        if new.module_id and await self.load(self.key(new.device_id)) is None:
            return Fault(Code.DeviceNotFound, "there is no such device")
        fresh = (secrets.token_bytes(32), secrets.token_bytes(32))
        generation = str(time.time_ns() // 100)

        def rule(before: Record | None) -> tuple[Record | None, Identity | Fault]:
            fault = None if replace_any else _registry_fault(new, before, etag)
            if fault is not None:
                return before, fault
            old = None if before is None else before.identity
            identity = completed(new, old, fresh, generation, now)
            if before is None:
                return Record(identity, twin), identity
            if same_but_revision(identity, before.identity):
                return before, before.identity
            return replace(before, identity=identity), identity

        found = await self.change(self.key(new.device_id, new.module_id), rule)
        if isinstance(found, Identity):
            created = found.revision == 1
            logger.info("%s: %s %s", self.name, found.name, "created" if created else "changed")
            if not found.enabled:
                self._end(found.device_id, found.module_id, "its identity has been disabled")
        return found

    async def delete(
        self, device_id: str, module_id: str = "", *, etag: str | None = None
    ) -> Fault | None:
        """Delete an identity, with its twin, session and queue; a device with its modules."""
        key = self.key(device_id, module_id)

        def rule(before: Record | None) -> tuple[Record | None, Fault | None]:
            if before is None:
                return before, _not_found(module_id)
            if etag not in (None, "*", before.identity.etag):
                return before, Fault(Code.PreconditionFailed, "the identity's etag is another")
            return None, None

        fault = await self.change(key, rule)
        if fault is not None:
            return fault
        logger.info("%s: %s deleted", self.name, device_id + f"/{module_id}" * bool(module_id))
        self._end(device_id, module_id, "its identity has been deleted")
        if not module_id:
            for record in await self.modules(device_id):
                await self.delete(device_id, record.identity.module_id)
        return None

    async def modules(self, device_id: str) -> list[Record]:
        """Return the modules of a device."""
        found = await self.store.list(self.name, after=(device_id, ""))
        return [of for of in found if of.identity.device_id == device_id]

    def _end(self, device_id: str, module_id: str, reason: str) -> None:
        for key, connection in list(self.connections.items()):
            if key[0] == device_id and module_id in ("", key[1]):
                connection.close(reason)

    # Twins

    async def twin(self, key: Key) -> Twin | Fault:
        """Return a twin."""
        record = await self.load(key)
        return _not_found(key.module_id) if record is None else record.twin

    async def write_twin(
        self, key: Key, body: object, *, replace_all: bool = False, etag: str | None = None
    ) -> Twin | Fault:
        """Patch or replace tags and desired properties, and send the change to the device."""
        now = time.time()

        def rule(before: Record | None) -> tuple[Record | None, ServiceWrite | Fault]:
            if before is None:
                return before, _not_found(key.module_id)
            done = write(before.twin, body, now, replace_all=replace_all, etag=etag)
            if isinstance(done, Fault):
                return before, done
            return replace(before, twin=done.twin), done

        done = await self.change(key, rule)
        if isinstance(done, Fault):
            return done
        connection = self.connections.get((key.device_id, key.module_id))
        if done.desired is not None and connection is not None:
            # Never kept for an absent device: it reads its twin when it comes.
            connection.send(desired_message(done.desired, done.twin.desired.version))
        return done.twin

    # Methods

    async def invoke(self, key: Key, invocation: Invocation) -> MethodResult | Fault:
        """Call a method of a device and return its answer."""
        if await self.load(key) is None:
            return _not_found(key.module_id)
        connection = await self._listening(key, invocation.connect_timeout)
        if connection is None:
            return offline(invocation)
        request_id = f"{next(self._call_ids):x}"
        future: asyncio.Future[MethodResult | Fault] = asyncio.get_running_loop().create_future()
        self._calls[request_id] = future
        self._call_of[request_id] = (key.device_id, key.module_id)
        try:
            connection.send(_call(invocation, request_id))
            async with asyncio.timeout(invocation.response_timeout):
                return await future
        except TimeoutError:
            return unanswered()
        finally:
            del self._calls[request_id], self._call_of[request_id]

    async def _listening(self, key: Key, seconds: float) -> Connection | None:
        """Return the connection of a device that listens for methods, once there is one."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            connection = self.connections.get((key.device_id, key.module_id))
            if connection is not None and connection.listens(METHODS_FILTER):
                return connection
            arrival = asyncio.get_running_loop().create_future()
            self._arrivals.add(arrival)
            try:
                async with asyncio.timeout_at(deadline):
                    await arrival
            except TimeoutError:
                return None
            finally:
                self._arrivals.discard(arrival)

    def answered(self, key: tuple[str, str], request_id: str, result: MethodResult | Fault) -> bool:
        """Hand a device's answer to the waiting call; return whether one waits."""
        future = self._calls.get(request_id)
        if future is None or future.done() or self._call_of[request_id] != key:
            return False
        future.set_result(result)
        return True

    # Messages to devices

    async def send(self, key: Key, message: CloudMessage) -> CloudMessage | Fault:
        """Queue a message to a device and deliver it if the device listens; return it as queued."""
        now = time.time()

        def rule(
            before: Record | None,
        ) -> tuple[Record | None, tuple[Record, Ended] | Fault]:
            if before is None:
                return before, _not_found(key.module_id)
            ended = expire(before.queue, now)
            queue = enqueue(ended.queue, message, now)
            if isinstance(queue, Fault):
                return before, queue
            after = replace(before, queue=queue)
            return after, (after, ended)

        done = await self.change(key, rule)
        if isinstance(done, Fault):
            return done
        record, ended = done
        self._tell(record.identity, ended)
        self._watch_expiry(key, record)
        connection = self.connections.get((key.device_id, key.module_id))
        if connection is not None:
            connection.deliver()
        return record.queue.messages[-1]

    async def end_messages(
        self, key: Key, how: Callable[[Record, float], Ended]
    ) -> tuple[Record, Ended] | None:
        """Take messages out of a queue and give their senders the feedback they wanted."""
        now = time.time()

        def rule(before: Record | None) -> tuple[Record | None, tuple[Record, Ended] | None]:
            if before is None:
                return before, None
            ended = how(before, now)
            after = before
            if ended.queue is not before.queue:
                after = replace(before, queue=ended.queue)
            return after, (after, ended)

        done = await self.change(key, rule)
        if done is not None:
            self._tell(done[0].identity, done[1])
            self._watch_expiry(key, done[0])
        return done

    async def purge(self, key: Key) -> int | Fault:
        """Empty a device's queue; return how many messages were in it."""
        done = await self.end_messages(key, lambda record, _: purge(record.queue))
        return _not_found(key.module_id) if done is None else len(done[1].ended)

    def _tell(self, identity: Identity, ended: Ended) -> None:
        for message, status in ended.ended:
            if feedback_wanted(message, status):
                self.feedback.add(
                    Feedback(
                        message.message_id,
                        status,
                        message.enqueued_at,
                        identity.device_id,
                        identity.generation_id,
                    )
                )
            self.events.add(
                "messageEnded",
                identity.device_id,
                messageId=message.message_id or None,
                statusCode=status,
            )

    def _watch_expiry(self, key: Key, record: Record) -> None:
        """See to it that the next message of a queue that expires does so in time."""
        timer = self._expiries.pop(key, None)
        if timer is not None:
            timer.cancel()
        if record.queue.messages:
            seconds = min(m.expires_at for m in record.queue.messages) - time.time()
            loop = asyncio.get_running_loop()
            self._expiries[key] = loop.call_later(max(0.0, seconds) + 0.001, self._expire, key)

    def _expire(self, key: Key) -> None:
        self._expiries.pop(key, None)
        self.spawn(self._expired(key))

    async def _expired(self, key: Key) -> None:
        await self.end_messages(key, lambda record, now: expire(record.queue, now))

    # Connections

    def connected(self, connection: Connection) -> None:
        """Take in a device's new connection; its older one ends first, without a packet."""
        identity = connection.record.identity
        key = (identity.device_id, identity.module_id)
        older = self.connections.pop(key, None)
        if older is not None:
            for request_id, of in list(self._call_of.items()):
                if of == key:
                    self.answered(key, request_id, displaced())
            older.close("taken over by a new connection of the same device (400027)")
        self.connections[key] = connection
        self.seen[key] = time.time()
        self.events.add("deviceConnected", *key)

    def disconnected(self, connection: Connection) -> None:
        """Forget a closed connection."""
        identity = connection.record.identity
        key = (identity.device_id, identity.module_id)
        if self.connections.get(key) is connection:
            del self.connections[key]
        self.seen[key] = time.time()
        self.events.add("deviceDisconnected", *key)

    def note_subscriptions(self) -> None:
        """Let those look again who wait for a device to listen for methods."""
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(None)

    async def start(self) -> None:
        """Watch the queues that were stored before."""
        after = ("", "")
        while found := await self.store.list(self.name, after=after):
            for record in found:
                for der in record.identity.credentials.certificates:
                    self.trust(der)
                identity = record.identity
                self._watch_expiry(self.key(identity.device_id, identity.module_id), record)
            after = (found[-1].identity.device_id, found[-1].identity.module_id)

    async def stop(self) -> None:
        """End what goes on behind; the connections are their listener's matter."""
        for timer in self._expiries.values():
            timer.cancel()
        self._expiries.clear()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Run something that ends with the hub at the latest."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def new_policies() -> list[Policy]:
    """Return the policies of a new hub, with fresh keys."""
    return [
        Policy(name, (secrets.token_bytes(32), secrets.token_bytes(32)), rights)
        for name, rights in RIGHTS.items()
    ]


def tracking_id() -> str:
    """Return an id as the hub's error bodies have it."""
    moment = time.strftime("%m/%d/%Y %H:%M:%S", time.gmtime())
    return f"{uuid.uuid4().hex.upper()}-G:0-TimeStamp:{moment}"


def _call(invocation: Invocation, request_id: str) -> Send:
    topic = method_topic(invocation.name, request_id)
    payload = build_json(invocation.payload)
    return Send(topic, payload, 0, f"method {invocation.name}, request {request_id}")


def _not_found(module_id: str) -> Fault:
    if module_id:
        return Fault(Code.ModuleNotFound, "there is no such module")
    return Fault(Code.DeviceNotFound, "there is no such device")


def _registry_fault(new: Identity, before: Record | None, etag: str | None) -> Fault | None:
    if etag is None and before is not None:
        code = Code.ModuleAlreadyExistsOnDevice if new.module_id else Code.DeviceAlreadyExists
        return Fault(code, "the identity exists already; If-Match changes it")
    if etag is not None and before is None:
        return _not_found(new.module_id)
    if before is not None and etag not in ("*", before.identity.etag):
        return Fault(Code.PreconditionFailed, "the identity's etag is another")
    return None
