"""Devices that boot at once behind the cloud's quotas, with a virtual clock.

The service's side is its own: ``dps.throttle``, by which registrations are counted over a minute.
The device's side is its own too: ``retry.BUSY`` and the waits of ``dps.registration``. A million
such devices would take days in real time; here an event is some microseconds. ``check`` runs a
small fleet through the whole of both (``Service`` and ``Registration``) and finds the same.
"""

import heapq
import itertools
import json
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mqttws import SymmetricKey
from mqttws.dps.effects import Answer, Device
from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.dps.names import build_username
from mqttws.dps.registration import LEAST_WAITS, MAX_RETRY_AFTER, Registration
from mqttws.dps.service import Service
from mqttws.dps.settings import Settings
from mqttws.dps.store import Write
from mqttws.dps.tables import INDIVIDUALS
from mqttws.dps.throttle import Throttle
from mqttws.local.stores.memory import MemoryStore
from mqttws.retry import BUSY

MINUTE = 60.0
BOOT = 1.0
"""Seconds within which all devices send their first request."""

POLL_AFTER = 3
"""Seconds that the service lets a device wait before it polls."""

Policy = Callable[[int, float, float], float]
"""Returns the wait after a refusal: how many came before, a random number from 0 to 1, and the
seconds that the service wants."""


def as_told(refusals: int, spread: float, wanted: float) -> float:
    """Wait as long as the service says, each time: no growth, no jitter."""
    return wanted


POLICIES: dict[str, Policy] = {"old": as_told, "new": BUSY.wait}


@dataclass
class Outcome:
    """One fleet's registration.

    Attributes:
        devices: how many there are.
        per_minute: registrations that the service takes in a minute.
        policy: of ``POLICIES``.
        requests: of each device, polls among them.
        assigned: seconds at which each device was assigned, in order.
        arrivals: register requests that came in each minute.
    """

    devices: int
    per_minute: int
    policy: str
    requests: list[int] = field(default_factory=list)
    assigned: list[float] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)

    @property
    def quota_time(self) -> float:
        """Seconds that the quota alone makes of it: the last minute's share comes at its start."""
        return (self.devices / self.per_minute - 1) * MINUTE

    def summary(self) -> dict[str, Any]:
        """Return the figures."""
        ordered = sorted(self.requests)
        return {
            "devices": self.devices,
            "per_minute": self.per_minute,
            "policy": self.policy,
            "median": ordered[len(ordered) // 2],
            "p99": ordered[len(ordered) * 99 // 100],
            "most": ordered[-1],
            "last": round(self.assigned[-1]),
            "ratio": round(self.assigned[-1] / self.quota_time, 3),
            "busiest": max(self.arrivals),
        }


def simulate(devices: int, per_minute: int, policy: str, seed: int) -> Outcome:
    """Let a fleet register."""
    chance = random.Random(seed)
    wait_after = POLICIES[policy]
    throttle = Throttle(per_minute, MINUTE)
    outcome = Outcome(devices, per_minute, policy, [0] * devices)
    refusals = [0] * devices
    requests, arrivals = outcome.requests, outcome.arrivals
    events = [(chance.random() * BOOT, device) for device in range(devices)]
    heapq.heapify(events)
    while events:
        now, device = events[0]
        minute = int(now / MINUTE)
        while len(arrivals) <= minute:
            arrivals.append(0)
        arrivals[minute] += 1
        requests[device] += 1
        wait = throttle.take("register", now)
        if not wait:
            heapq.heappop(events)
            requests[device] += 1  # the poll
            outcome.assigned.append(now + POLL_AFTER)
            continue
        before = refusals[device]
        refusals[device] += 1
        wanted = min(max(wait, LEAST_WAITS[min(before, len(LEAST_WAITS) - 1)]), MAX_RETRY_AFTER)
        later = now + wait_after(before, chance.random(), wanted)
        heapq.heapreplace(events, (later, device))
    return outcome


# The whole of both sides


def check(devices: int, per_minute: int, seed: int) -> Outcome:
    """Let a small fleet register through ``Service`` and ``Registration``."""
    chance = random.Random(seed)
    outcome = Outcome(devices, per_minute, "new", [0] * devices)
    clock = [0.0]
    store = MemoryStore(lambda: clock[0])
    settings = Settings.of(
        "0ne00000000", ("hub",), retry_after=POLL_AFTER, registers_per_minute=per_minute,
        polls_per_10s=5,
    )  # fmt: skip
    ids = map(str, itertools.count())
    service = Service(settings, store, operation_ids=ids, tracking_ids=ids)
    key = b64encode(b"k" * 32).decode()
    attestation = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}
    names = [f"dev-{number}" for number in range(devices)]
    records = [{"registrationId": name, "attestation": attestation} for name in names]
    for enrollment in parse_enrollments(json.dumps(records), "benchmark"):
        write = Write(INDIVIDUALS, enrollment.registration_id, enrollment)  # type: ignore[union-attr]
        _at_once(store.commit([write]))
    fleet = [Registration(name, request_ids=_counted(), spread=chance.random) for name in names]
    admitted = []
    for name in names:
        password = SymmetricKey(name, key).password("0ne00000000", 10.0**9)
        verdict = service.admit(name, build_username("0ne00000000", name), password.encode())
        assert isinstance(verdict, Device)
        admitted.append(verdict)
    events = [(chance.random() * BOOT, device, True) for device in range(devices)]
    heapq.heapify(events)
    while events:
        now, number, first = heapq.heappop(events)
        clock[0] = now
        registration = fleet[number]
        request = registration.start(now) if first else registration.tick(now)
        assert request is not None
        outcome.requests[number] += 1
        (answer,) = _at_once(service.handle(admitted[number], request, 1)).effects
        assert isinstance(answer, Answer)
        registration.receive(answer.message, now)
        assert registration.error is None, registration.error
        if registration.deadline is not None:
            heapq.heappush(events, (registration.deadline, number, False))
        else:
            outcome.assigned.append(now)
    outcome.arrivals = [0]
    return outcome


def _counted() -> Iterator[str]:
    return map(str, itertools.count(1))


def _at_once(work: Any) -> Any:
    """Return the result of a coroutine that waits for nothing, as over a store in memory."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")
