"""A registration as an iterator of its steps, without a network."""

import asyncio
from typing import Any

import pytest

from mqttws import Assignment, ConnectionLost, ProvisioningSteps, SymmetricKey, UsageError
from mqttws.hops import Hop
from mqttws.net.hops import OnStep, Step
from mqttws.provisioning import steps as steps_module

from .scripted_dps import KEY

PLACE = Assignment("hub", "dev", "", "dev", "op")


class Provisioning:
    """Stands in for ``provision_async``: one step, and then its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.options: dict[str, Any] = {}
        self.cancelled = False
        self.go = asyncio.Event()
        self.go.set()
        self._error = error
        monkeypatch.setattr(steps_module, "provision_async", self)

    async def __call__(self, *, on_step: OnStep, **options: Any) -> Assignment:
        self.options = options
        step = Step(Hop.TCP, facts={"a": "1"})
        on_step(step)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        step.ended, step.facts["a"] = 1.0, "2"
        on_step(step)
        if self._error is not None:
            raise self._error
        return PLACE


def made(**options: Any) -> ProvisioningSteps:
    return ProvisioningSteps("0ne00", SymmetricKey("dev", KEY), **options)


async def test_each_step_comes_as_it_was_then_and_the_assignment_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = Provisioning(monkeypatch)
    watched: list[Step] = []
    steps = made(on_step=watched.append, timeout=7.0)
    with pytest.raises(UsageError, match="has not ended") as early:
        _ = steps.assignment
    assert early.value.hint == "iterate over all steps first"
    async with asyncio.timeout(10):
        async with steps as entered:
            assert entered is steps
            assert aiter(steps) is steps
            found = [(step.outcome, step.facts["a"]) async for step in steps]
            assert [step async for step in steps] == [], "and again the same"
    assert found == [("open", "1"), ("ok", "2")]
    assert steps.assignment == PLACE
    assert len(watched) == 2
    assert watched[0] is watched[1], "the watcher has the step itself"
    assert (called.options["timeout"], called.options["id_scope"]) == (7.0, "0ne00")
    with pytest.raises(UsageError, match="make a new ProvisioningSteps"):
        async with steps:
            pass


async def test_a_failure_comes_after_the_last_step_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Provisioning(monkeypatch, ConnectionLost("reset"))
    steps = made()
    async with asyncio.timeout(10), steps:
        assert [(await anext(steps)).outcome for _ in range(2)] == ["open", "ok"]
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="reset"):
                await anext(steps)
    with pytest.raises(ConnectionLost, match="reset"):
        _ = steps.assignment


async def test_leaving_early_gives_the_registration_up(monkeypatch: pytest.MonkeyPatch) -> None:
    called = Provisioning(monkeypatch)
    called.go.clear()
    steps = made()
    with pytest.raises(UsageError, match="async with ProvisioningSteps"):
        await anext(steps)
    async with asyncio.timeout(10), steps:
        assert (await anext(steps)).name == "tcp"
        with pytest.raises(UsageError, match="has not ended"):
            _ = steps.assignment
    assert called.cancelled
    with pytest.raises(UsageError, match="has not ended"):
        _ = steps.assignment
    async with asyncio.timeout(10):
        assert [step async for step in steps] == []
