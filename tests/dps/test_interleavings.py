"""Front ends over one store, interleaved at random, agree with one that serves in some order."""

import itertools
import json
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from types import coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mqttws.dps.certificates import Certificate
from mqttws.dps.directory import Directory, place_of
from mqttws.dps.effects import Answer, Device
from mqttws.dps.records import DeviceRecord, EnrollmentGroup
from mqttws.dps.sas import derive_device_key
from mqttws.dps.service import Service
from mqttws.dps.settings import Settings
from mqttws.dps.tables import DEVICES
from mqttws.dps.topics import Message, poll_topic, register_topic
from mqttws.local.stores.memory import MemoryStore
from mqttws.provisioning.symmetric_key import SymmetricKey

from .world import KEY, SCOPE, UNIX_START, at_once, b64, group, individual

HUBS = ("hub-a", "hub-b", "hub-c")


@coroutine
def turn() -> Iterator[None]:
    """Let the others go on."""
    yield


@dataclass
class Happened:
    """The order in which requests took place: by their last load, or by their commit."""

    now: Iterator[int] = field(default_factory=itertools.count)
    at: dict[int, int] = field(default_factory=dict)
    request: int = -1


class Interleaved:
    """A store in which every call may be overtaken."""

    shared = True

    def __init__(self, store: MemoryStore, happened: Happened) -> None:
        self._store = store
        self._happened = happened

    async def load(self, *keys: Any) -> Any:
        await turn()
        self._happened.at[self._happened.request] = next(self._happened.now)
        return await self._store.load(*keys)

    async def page(self, *arguments: Any, **options: Any) -> Any:
        await turn()
        return await self._store.page(*arguments, **options)

    async def find(self, *arguments: Any) -> Any:
        await turn()
        return await self._store.find(*arguments)

    async def commit(self, writes: Any, checks: Any = ()) -> bool:
        await turn()
        done = await self._store.commit(writes, checks)
        if done:
            self._happened.at[self._happened.request] = next(self._happened.now)
        return done


@dataclass(frozen=True)
class Request:
    """What is asked: ``register``, ``poll``, or a change of an enrollment by the admin API."""

    number: int
    kind: str
    device: str
    front_end: int


def ids_of(happened: Happened) -> Iterator[str]:
    """Yield ids by the request that is under way, so that both worlds give the same."""
    while True:
        yield f"op-{happened.request}"


def front_end(store: Any, happened: Happened) -> Service:
    made = Settings.of(SCOPE, HUBS, assigning_polls=1)
    return Service(
        made, store, operation_ids=ids_of(happened), tracking_ids=itertools.repeat("track")
    )


def signing(provisioning_status: Any = "enabled") -> EnrollmentGroup:
    return EnrollmentGroup(
        primary_certificate=b"a CA", enrollment_group_id="crt-1",
        provisioning_status=provisioning_status,
    )  # fmt: skip


def shown(name: str) -> tuple[Certificate, Certificate]:
    """Return a device's certificate and its CA's, as if they had been proved."""
    (ca,) = signing().fingerprints
    end = UNIX_START + 1
    return (
        Certificate("1" * 64, "1" * 40, name, f"CN={name}", "CN=CA", 0, end, "1"),
        Certificate(ca, "2" * 40, "CA", "CN=CA", "CN=CA", 0, end, "2"),
    )


def device_of(name: str) -> Device:
    if name.startswith("c"):
        return Device(name, SCOPE, "2021-06-01", None, shown(name))
    key = derive_device_key(KEY, name) if name.startswith("g") else KEY
    password = SymmetricKey(name, b64(key)).password(SCOPE, UNIX_START)
    return Device(name, SCOPE, "2021-06-01", password)


async def do(request: Request, service: Service, directory: Directory, polled: str) -> Any:
    """Do one request; return its answer."""
    if request.kind in ("register", "poll"):
        topic = register_topic("1") if request.kind == "register" else poll_topic("1", polled)
        handled = await service.handle(device_of(request.device), Message(topic), 1)
        (answer,) = handled.effects
        assert isinstance(answer, Answer)
        return answer.message.topic, json.loads(answer.message.payload)
    status: Any = "disabled" if request.kind == "disable" else "enabled"
    made = {"g": group, "c": signing}.get(request.device[0])
    enrollment: Any = (
        made(provisioning_status=status)
        if made is not None
        else individual(request.device, provisioning_status=status)
    )
    table, key = place_of(enrollment)
    while True:
        row = await directory.row(table, key)
        if request.kind == "delete":
            if not row.version or await directory.remove(row.value, row):
                return None
        elif await directory.put(enrollment, row):
            return None


def new_store() -> MemoryStore:
    store = MemoryStore(lambda: UNIX_START)
    for enrollment in (group(), signing(), individual("i-1"), individual("i-2")):
        at_once(Directory(store).add(enrollment))
    return store


def devices_of(store: MemoryStore) -> dict[str, DeviceRecord]:
    return {key: row.value for key, row in at_once(store.page(DEVICES)).items}


requests = st.lists(
    st.tuples(
        st.sampled_from(["register", "register", "poll", "disable", "enable", "delete"]),
        st.sampled_from(["i-1", "i-2", "g-1", "c-1"]),
        st.integers(0, 1),
    ),
    max_size=9,
)


@settings(max_examples=100, deadline=None)
@given(requests, st.randoms(use_true_random=False))
def test_any_interleaving_is_some_order_of_the_requests(asked: Any, chance: Any) -> None:
    todo = [Request(number, *one) for number, one in enumerate(asked)]
    polled = {one.number: f"op-{chance.randrange(max(len(todo), 1))}" for one in todo}
    happened, store = Happened(), new_store()
    shared = Interleaved(store, happened)
    ends = [front_end(shared, happened) for _ in range(2)]
    directory = Directory(shared)  # type: ignore[arg-type]
    running: dict[int, Coroutine[Any, Any, Any]] = {
        one.number: do(one, ends[one.front_end], directory, polled[one.number]) for one in todo
    }
    answers: dict[int, Any] = {}
    try:
        while running:
            happened.request = chance.choice(sorted(running))
            try:
                running[happened.request].send(None)
            except StopIteration as end:
                answers[happened.request] = end.value
                del running[happened.request]
    finally:
        for left in running.values():  # the source of chance may run dry
            left.close()
    assert sum(end.counts.given_up for end in ends) == 0

    alone, model = Happened(), new_store()
    single = front_end(model, alone)
    for one in sorted(todo, key=lambda one: happened.at[one.number]):
        alone.request = one.number
        answer = at_once(do(one, single, Directory(model), polled[one.number]))
        assert answer == answers[one.number], one
    assert devices_of(store) == devices_of(model)
