"""A fleet's turns: how many are on their way, who waits for whom, and what each device is given."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqttws import Assignment, SymmetricKey, UsageError
from mqttws.errors import ConnectFailed, MqttwsError, ProxyRefused, RequestTimedOut, StoreFailed
from mqttws.hops import Cause, Hop
from mqttws.net.hops import Step
from mqttws.provisioning import fleet
from mqttws.provisioning.fleet import FleetResult, _Gate, provision_fleet_async
from mqttws.retry import MIN_ATTEMPT

from .scripted_dps import KEY

PASSING = ConnectFailed("no", hop=Hop.TCP, cause=Cause.SILENT, retryable=True)


def device(name: str) -> SymmetricKey:
    return SymmetricKey(name, KEY)


def assigned(name: str) -> Assignment:
    return Assignment("hub", name, "", name, "op")


class Clock:
    """A gate's time: sleeping passes it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def gate(
    monkeypatch: pytest.MonkeyPatch, *, jitter: float = 0.0, total: float | None = None
) -> tuple[_Gate, Clock]:
    clock, made = Clock(), _Gate(jitter, None)
    made._now = lambda: clock.now
    made._until = math.inf if total is None else clock.now + total
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return made, clock


# The gate


@pytest.mark.parametrize("hop", list(Hop))
async def test_the_way_is_open_once_a_connection_is_behind_the_proxy(hop: Hop) -> None:
    made = _Gate(0.0, None)
    assert not made.open
    made.on_step(Step(hop))
    assert made.open is (hop in (Hop.TLS, Hop.UPGRADE, Hop.CONNECT))


async def test_one_device_goes_ahead_until_the_way_is_open() -> None:
    made = _Gate(0.0, None)
    assert await made.enter() == math.inf
    second, third = (asyncio.create_task(made.enter()) for _ in range(2))
    await asyncio.sleep(0)
    assert not second.done()
    made.leave()  # it has not got through: one other goes ahead
    done, waiting = await asyncio.wait([second, third], return_when="FIRST_COMPLETED", timeout=10)
    assert (len(done), len(waiting)) == (1, 1)
    made.on_step(Step(Hop.TLS))
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    made.leave()
    assert made._scouting, "where the way is open, no scout is needed"


@pytest.mark.parametrize(
    ("step", "waits"),
    [
        (Step(Hop.POLL, ended=1.0, status=429, retry_after=7.0), 7.0),
        (Step(Hop.POLL, ended=1.0, status=503, retry_after=0.5), 0.5),
        (Step(Hop.POLL, ended=1.0, status=429), fleet.DEFAULT_RETRY_AFTER),
        (Step(Hop.POLL, ended=1.0, status=429, retry_after=0.0), 0.0),
        (Step(Hop.POLL, ended=1.0, status=202, retry_after=7.0), 0.0),
        (Step(Hop.POLL, ended=1.0, status=500, retry_after=7.0), 0.0),
        (Step(Hop.POLL, status=429, retry_after=7.0), 0.0),  # it has not ended
    ],
)
async def test_a_busy_service_is_left_alone_by_all(
    monkeypatch: pytest.MonkeyPatch, step: Step, waits: float
) -> None:
    made, clock = gate(monkeypatch)
    made.on_step(step)
    assert await made.enter() == math.inf
    assert clock.slept == ([waits] if waits else [])


async def test_the_longest_wait_counts_and_chance_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = gate(monkeypatch, jitter=4.0)
    monkeypatch.setattr("random.uniform", lambda least, most: (least + most) / 2)
    for seconds in (9.0, 3.0):
        made.on_step(Step(Hop.POLL, ended=1.0, status=429, retry_after=seconds))
    await made.enter()
    assert clock.slept == [11.0]


async def test_what_is_left_of_the_time_for_all_is_told_and_not_slept_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, clock = gate(monkeypatch, total=10.0)
    assert await made.enter() == 10.0
    assert not made.is_over
    made.open = True
    made.on_step(Step(Hop.POLL, ended=1.0, status=429, retry_after=4.0))
    assert await made.enter() == 6.0
    made.on_step(Step(Hop.POLL, ended=1.0, status=429, retry_after=6.0))
    assert not made.is_late
    assert await made.enter() == 0.0
    assert made.is_late
    assert clock.slept == [4.0], "the last wait would have been in vain"
    clock.now = 110.0 - MIN_ATTEMPT
    assert not made.is_over
    assert await made.enter() == 0.0, "DPS wants to be left alone until the end"
    made._opens = 0.0
    assert await made.enter() == MIN_ATTEMPT
    clock.now += 0.01
    assert made.is_over
    assert await made.enter() == 0.0


async def test_a_device_that_waits_for_the_way_leaves_in_time() -> None:
    made = _Gate(0.0, MIN_ATTEMPT + 0.05)
    assert 0 < await made.enter() <= MIN_ATTEMPT + 0.05
    async with asyncio.timeout(10):
        assert await made.enter() == 0.0
    assert made.is_late


# One device


async def result_of(
    monkeypatch: pytest.MonkeyPatch, error: MqttwsError, *, over: bool = False, whole: bool = True
) -> FleetResult:
    async def fail(**_: Any) -> Assignment:
        raise error

    monkeypatch.setattr(fleet, "provision_async", fail)
    made, clock = gate(monkeypatch, total=10.0)
    if over:
        clock.now += 10.0
    return await fleet._provision({"credential": device("d")}, made, whole=whole)


async def test_a_failure_is_the_devices_result(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await result_of(monkeypatch, PASSING) == FleetResult("d", error=PASSING)
    final = ConnectFailed("no", hop=Hop.TCP, retryable=False)
    assert (await result_of(monkeypatch, final, over=True)).error is final


@pytest.mark.parametrize(
    ("cause", "over", "whole", "cut"),
    [
        (Cause.SILENT, False, True, False),
        (Cause.SILENT, False, False, False),
        (Cause.SILENT, True, True, True),
        (Cause.OUT_OF_TIME, False, True, False),
        (Cause.OUT_OF_TIME, False, False, True),
    ],
)
async def test_a_device_that_the_end_of_the_time_for_all_cuts_off_says_so(
    monkeypatch: pytest.MonkeyPatch, cause: Cause, over: bool, whole: bool, cut: bool
) -> None:
    error = RequestTimedOut("late", hop=Hop.POLL, cause=cause, retryable=True)
    found = (await result_of(monkeypatch, error, over=over, whole=whole)).error
    assert (found is not error) is cut
    if cut:
        assert isinstance(found, RequestTimedOut)
        assert str(found) == "the time for all devices was over before this one was done: late"
        assert (found.hop, found.cause, found.__cause__) == (Hop.POLL, Cause.OUT_OF_TIME, error)
        assert found.hint == "run it again for this device"


@pytest.mark.parametrize(
    "cause", [Cause.PROXY_LOGIN_REFUSED, Cause.PROXY_LOGIN_MISSING, Cause.PROXY_FORBIDS]
)
async def test_a_refusal_by_the_proxy_is_no_devices_result(
    monkeypatch: pytest.MonkeyPatch, cause: Cause
) -> None:
    with pytest.raises(ProxyRefused):
        await result_of(monkeypatch, ProxyRefused("no", cause=cause))


# All devices


class Provisioning:
    """Stands in for ``provision_async``; each call ends when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_once: bool = True) -> None:
        self.options: list[dict[str, Any]] = []
        self.steps: list[Callable[[Step], None]] = []
        self.go = asyncio.Event()
        self.at_once = at_once
        self.most = self._now = 0
        monkeypatch.setattr(fleet, "provision_async", self)

    async def __call__(self, *, on_step: Callable[[Step], None], **options: Any) -> Assignment:
        self.options.append(options)
        self.steps.append(on_step)
        self._now += 1
        self.most = max(self.most, self._now)
        on_step(Step(Hop.TLS))
        if not self.at_once:
            await self.go.wait()
        await asyncio.sleep(0)
        self._now -= 1
        return assigned(options["credential"].registration_id)


async def run(names: str, **options: Any) -> list[FleetResult]:
    results: list[FleetResult] = []
    await provision_fleet_async("0ne00", map(device, names), results.append, **options)
    return results


async def test_each_device_has_its_own_arguments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called = Provisioning(monkeypatch)
    results = await run(
        "aB", payloads={"a": 1}, timeout=50.0, cache=tmp_path, hop_timeout=3.0, force=True
    )
    assert results == [FleetResult("a", assigned("a")), FleetResult("B", assigned("B"))]
    first, second = called.options
    assert (first["payload"], second["payload"]) == (1, None)
    assert (first["cache"], second["cache"]) == (tmp_path / "a.json", tmp_path / "b.json")
    assert (first["timeout"], second["timeout"]) == (50.0, 50.0)
    assert first["wait_for_network"] is False
    assert second["wait_for_network"] is True, "there was a network for the first"
    assert (first["id_scope"], first["hop_timeout"], first["force"]) == ("0ne00", 3.0, True)
    assert (await run("c"))[0].assignment == assigned("c")
    assert called.options[-1]["cache"] is None
    assert called.options[-1]["payload"] is None


def test_a_name_in_a_cache_cannot_leave_its_folder(tmp_path: Path) -> None:
    class Named:
        registration_id = "A/..:b"

    assert fleet._file_of(tmp_path, Named()) == tmp_path / "a%2F..%3Ab.json"  # type: ignore[arg-type]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_so_many_are_on_their_way_at_once_and_no_more(
    monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    called = Provisioning(monkeypatch)
    results = await run("abcdefgh", concurrency=concurrency)
    assert called.most == concurrency
    assert sorted(result.registration_id for result in results) == list("abcdefgh")


async def test_the_time_for_all_bounds_each_and_ends_in_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = Provisioning(monkeypatch, at_once=False)

    async def later() -> None:
        await asyncio.sleep(0.1)
        called.go.set()

    task = asyncio.create_task(later())
    with pytest.raises(RequestTimedOut, match=r"^the fleet was not done within 0\.3 s") as caught:
        await run("ab", concurrency=1, total_timeout=0.3, timeout=50.0)
    assert caught.value.cause is Cause.OUT_OF_TIME
    assert "no result" in caught.value.hint
    (only,) = called.options
    assert 0 < only["timeout"] <= 0.3
    await task


async def test_a_device_that_has_all_the_time_that_one_may_take_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = RequestTimedOut("late", cause=Cause.OUT_OF_TIME, retryable=True)

    async def fail(**_: Any) -> Assignment:
        raise late

    async def enter(_: _Gate) -> float:
        return 5.0

    monkeypatch.setattr(fleet, "provision_async", fail)
    monkeypatch.setattr(_Gate, "enter", enter)
    for timeout, whole in ((5.0, True), (5.1, False)):
        (result,) = await run("a", timeout=timeout)
        assert (result.error is late) is whole


def test_the_synchronous_form_has_the_same_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []

    async def provision(*, on_step: object, **options: Any) -> Assignment:
        called.append(options)
        return assigned(options["credential"].registration_id)

    monkeypatch.setattr(fleet, "provision_async", provision)
    results: list[FleetResult] = []
    fleet.provision_fleet("0ne00", [device("a")], results.append, timeout=7.0)
    assert results == [FleetResult("a", assigned("a"))]
    assert (called[0]["id_scope"], called[0]["timeout"]) == ("0ne00", 7.0)


async def test_the_synchronous_form_names_the_other_inside_a_running_loop() -> None:
    with pytest.raises(UsageError, match=r"^provision_fleet\b") as caught:
        fleet.provision_fleet("0ne00", [device("a")], print)
    assert "provision_fleet_async" in caught.value.hint


async def test_what_the_program_raises_ends_it_all_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Provisioning(monkeypatch)

    def fail(_: FleetResult) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as caught:
        await provision_fleet_async("0ne00", map(device, "ab"), fail)
    assert caught.value.__suppress_context__


async def test_a_device_whose_turn_ends_in_an_error_lets_the_next_go_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(**_: Any) -> Assignment:
        await asyncio.sleep(0)
        raise PASSING

    monkeypatch.setattr(fleet, "provision_async", fail)
    async with asyncio.timeout(10):
        results = await run("abc")
    assert [result.error for result in results] == [PASSING] * 3


async def test_a_cache_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="no such folder; nothing was sent") as caught:
        await run("a", cache=tmp_path / "none")
    assert caught.value.hint == "make it first"
