"""A device and a service joined by method calls; time is a number."""

import base64
import itertools
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mqttws.dps.directory import Directory, place_of
from mqttws.dps.effects import AllocationRequested, Answer, Close, Device, Effect, Refusal
from mqttws.dps.names import build_username
from mqttws.dps.records import (
    DeviceRecord,
    EnrollmentGroup,
    IndividualEnrollment,
    RegistrationRecord,
)
from mqttws.dps.registration import Registration
from mqttws.dps.service import Service
from mqttws.dps.settings import Settings
from mqttws.dps.tables import DEVICES, INDIVIDUALS, AnyEnrollment
from mqttws.dps.topics import Message, poll_topic, register_topic
from mqttws.local.stores.memory import MemoryStore
from mqttws.provisioning.symmetric_key import SymmetricKey

T = TypeVar("T")

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
SCOPE = VECTORS["id_scope"]
KEY = base64.b64decode(VECTORS["master_keys"]["M1"]["b64"])
OTHER_KEY = base64.b64decode(VECTORS["master_keys"]["M2"]["b64"])
EXPIRY = VECTORS["fixed_expiry"]
UNIX_START = 1_800_000_000.0
HUB = "my-hub.azure-devices.net"


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


def counted(prefix: str):
    return (f"{prefix}{number}" for number in itertools.count(1))


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing, as over a store in memory."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


class Records:
    """A store in memory, asked without waiting."""

    def __init__(self, store: MemoryStore) -> None:
        self.directory = Directory(store)
        self.store = store

    def registration(self, registration_id: str) -> RegistrationRecord | None:
        return at_once(self.directory.registration(registration_id))

    def remove_registration(self, registration_id: str) -> None:
        row = at_once(self.directory.row(DEVICES, registration_id))
        assert at_once(self.directory.remove_registration(registration_id, row))

    def put(self, enrollment: AnyEnrollment) -> None:
        row = at_once(self.directory.row(*place_of(enrollment)))
        assert at_once(self.directory.put(enrollment, row))

    def individuals(self) -> Sequence[AnyEnrollment]:
        return [row.value for _, row in at_once(self.store.page(INDIVIDUALS)).items]

    def devices(self) -> Sequence[DeviceRecord]:
        return [row.value for _, row in at_once(self.store.page(DEVICES)).items]

    def remove(self, enrollment: AnyEnrollment) -> None:
        row = at_once(self.directory.row(*place_of(enrollment)))
        assert at_once(self.directory.remove(enrollment, row))


class Instance:
    """A service over a store in memory, whose time is a number, asked without waiting."""

    def __init__(self, settings: Settings, enrollments: Sequence[AnyEnrollment]) -> None:
        self.now = UNIX_START
        self.store = MemoryStore(lambda: self.now)
        self.records = Records(self.store)
        self.service = Service(
            settings, self.store, operation_ids=counted("op-"), tracking_ids=counted("track-")
        )
        for enrollment in enrollments:
            self.records.put(enrollment)

    def admit(self, *arguments: Any) -> Device | Refusal:
        return self.service.admit(*arguments)

    def handle(self, device: Device, message: Message, qos: int, unix_now: float) -> list[Effect]:
        self.now = unix_now
        return at_once(self.service.handle(device, message, qos)).effects

    def refuse(self, *arguments: Any) -> list[Effect]:
        return self.service.refuse(*arguments)

    def allocated(
        self, request: AllocationRequested, status: int, answer: bytes, unix_now: float
    ) -> None:
        self.now = unix_now
        at_once(self.service.allocated(request, status, answer))


def make_service(*enrollments, hubs=(HUB,), **options) -> Instance:
    return Instance(Settings.of(SCOPE, hubs, **options), enrollments)


def individual(registration_id="dev-01", primary_key=KEY, **fields) -> IndividualEnrollment:
    return IndividualEnrollment(registration_id, primary_key=primary_key, **fields)


def group(name="grp-1", primary_key=KEY, **fields) -> EnrollmentGroup:
    return EnrollmentGroup(name, primary_key=primary_key, **fields)


def connect(
    service: Instance,
    registration_id: str = "dev-01",
    key: bytes | None = KEY,
    *,
    password: str | None = None,
    api_version: str = "2019-03-31",
    unix_now: float = UNIX_START,
) -> Device:
    """Return the device as the service admits it, with a good token for ``key``."""
    if password is None and key is not None:
        password = SymmetricKey(registration_id, b64(key)).password(SCOPE, unix_now)
    device = service.admit(
        registration_id,
        build_username(SCOPE, registration_id, api_version),
        None if password is None else password.encode(),
    )
    assert isinstance(device, Device)
    return device


def ask(
    service: Instance, device: Device, topic: str, body: bytes = b"", unix_now: float = UNIX_START
) -> tuple[str, dict[str, Any]]:
    """Return the topic and the body of the one answer to a request."""
    (effect,) = service.handle(device, Message(topic, body), 1, unix_now)
    assert isinstance(effect, Answer)
    return effect.message.topic, json.loads(effect.message.payload)


def register(service: Instance, device: Device, body: bytes = b"", **options):
    return ask(service, device, register_topic("1"), body, **options)


def poll(service: Instance, device: Device, operation_id: str, body: bytes = b"", **options):
    return ask(service, device, poll_topic("1", operation_id), body, **options)


def make_registration(registration_id: str = "dev-01", **options) -> Registration:
    return Registration(registration_id, **{"request_ids": counted("r"), **options})


def run(
    service: Instance,
    device: Device,
    registration: Registration,
    unix_start: float = UNIX_START,
    change: Callable[[Message], Message] = lambda answer: answer,
) -> list[float]:
    """Let a registration run to its end; return when each request was sent."""
    now = 0.0
    sent = []
    request: Message | None = registration.start(now)
    while not registration.done:
        if request is not None:
            sent.append(now)
            for effect in service.handle(device, request, 1, unix_start + now):
                assert not isinstance(effect, Close)
                registration.receive(change(effect.message), now)
        if registration.deadline is not None:
            now = registration.deadline
            request = registration.tick(now)
    return sent


def provision(service: Instance, registration_id="dev-01", key=KEY, **options):
    """Return the final registration state of a whole registration."""
    device = connect(service, registration_id, key, **options)
    topic, body = register(service, device)
    assert topic.startswith("$dps/registrations/res/202/"), body
    topic, body = poll(service, device, body["operationId"])
    assert topic == "$dps/registrations/res/200/?$rid=1"
    return body["registrationState"]
