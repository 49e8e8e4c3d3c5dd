"""The whole job: a device registers with the local DPS over both transports, or learns why not."""

import asyncio
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    ConnectionLost,
    MalformedAnswer,
    MqttwsError,
    ProvisioningSteps,
    RegistrationRejected,
    RequestTimedOut,
    Step,
    SymmetricKey,
    TlsConfig,
    UsageError,
    provision,
    provision_async,
)
from mqttws.dps.effects import Close, Device, Effect
from mqttws.dps.service import Handled
from mqttws.dps.topics import Poll, Request
from mqttws.protocol import MessageReceived, SubscribeReceived

from ..client.broker import broker
from ..net.rogue import Certificates

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


async def provisioned(dps: AsyncLocalDps, key: str, **options: object) -> Assignment:
    return await provision_async(
        dps.id_scope,
        SymmetricKey("my-device", key),
        host=dps.host,
        port=dps.wss_port if options.get("transport", "wss") == "wss" else dps.mqtts_port,
        tls=TlsConfig(ca=dps.ca_file),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_device_is_assigned_to_a_hub(local_dps: AsyncLocalDps, transport: str) -> None:
    async with local_dps as dps:
        assignment = await provisioned(
            dps, await dps.enroll_device("my-device"), transport=transport
        )
    assert assignment.assigned_hub == "local-hub.azure-devices.net"
    assert assignment.device_id == "my-device"
    assert assignment.substatus == "initialAssignment"


async def test_every_step_is_told_when_it_begins_and_when_it_has_ended(
    local_dps: AsyncLocalDps,
) -> None:
    told: list[tuple[str, str]] = []
    steps: list[Step] = []

    def on_step(step: Step) -> None:
        told.append((step.name, step.outcome))
        steps.append(step)

    async with local_dps as dps:
        dps.service.settings = replace(dps.service.settings, assigning_polls=1)
        await provisioned(dps, await dps.enroll_device("my-device"), on_step=on_step)
    names = ["name", "tcp", "tls", "upgrade", "connect", "subscribe", "register", "poll", "poll"]
    assert told == [(name, outcome) for name in names for outcome in ("open", "ok")]
    details = [step.detail for step in steps[1::2]]
    assert details[-3:] == [
        "202 assigning, ask again in 0 s",
        "202 assigning, ask again in 0.1 s",
        "200 assigned",
    ]
    assert all(step.seconds >= 0 and step.to_json()["outcome"] == "ok" for step in steps[1::2])


def options_for(dps: AsyncLocalDps) -> dict[str, Any]:
    return {
        "host": dps.host,
        "port": dps.wss_port,
        "tls": TlsConfig(ca=dps.ca_file, only_ca=True),
    }


async def test_steps_can_be_iterated_over_and_end_in_the_assignment(
    local_dps: AsyncLocalDps,
) -> None:
    watched: list[Step] = []
    async with local_dps as dps:
        credential = SymmetricKey("my-device", await dps.enroll_device("my-device"))
        options = options_for(dps) | {"on_step": watched.append}
        steps = ProvisioningSteps(dps.id_scope, credential, **options)
        with pytest.raises(UsageError, match="async with"):
            await anext(steps)
        async with steps:
            with pytest.raises(UsageError, match="has not ended"):
                _ = steps.assignment
            told = [(step.name, step.outcome) async for step in steps]
            assert [step async for step in steps] == []
    names = ["name", "tcp", "tls", "upgrade", "connect", "subscribe", "register", "poll"]
    assert told == [(name, outcome) for name in names for outcome in ("open", "ok")]
    assert [step.name for step in watched[::2]] == names
    assert steps.assignment.device_id == "my-device"
    with pytest.raises(UsageError, match="new ProvisioningSteps"):
        async with steps:
            pass


async def test_a_failure_comes_after_its_step(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        await dps.enroll_device("my-device")
        told: list[str] = []
        steps = ProvisioningSteps(dps.id_scope, SymmetricKey("my-device", KEY), **options_for(dps))

        async def walk() -> None:
            async with steps:
                async for step in steps:
                    told.append(step.outcome)

        with pytest.raises(RegistrationRejected):
            await walk()
        assert told[-1] == "RegistrationRejected"
        with pytest.raises(RegistrationRejected):
            _ = steps.assignment


@pytest.mark.parametrize("leave_at", ["tcp", "tls", "connect", "register", "poll"])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_whoever_leaves_early_leaves_nothing_behind(
    local_dps: AsyncLocalDps, leave_at: str, cancelled: bool
) -> None:
    async with local_dps as dps:
        dps.service.settings = replace(dps.service.settings, assigning_polls=10**9)
        credential = SymmetricKey("my-device", await dps.enroll_device("my-device"))
        reached = asyncio.Event()

        async def walk() -> None:
            async with ProvisioningSteps(dps.id_scope, credential, **options_for(dps)) as steps:
                async for step in steps:
                    if step.name == leave_at:
                        reached.set()
                        if not cancelled:
                            break
            with pytest.raises(UsageError, match="has not ended"):
                _ = steps.assignment

        task = asyncio.create_task(walk())
        await reached.wait()
        if cancelled:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await task


async def test_the_synchronous_form_says_so_inside_a_running_loop() -> None:
    with pytest.raises(UsageError) as caught:
        provision("0ne00", SymmetricKey("my-device", KEY))
    assert "provision_async" in caught.value.hint


@pytest.mark.parametrize("silent_at", ["subscribe", "puback", "register", "poll"])
@pytest.mark.parametrize("limit", ["timeout", "hop_timeout"])
async def test_silence_at_any_step_ends_by_the_deadline(
    local_dps: AsyncLocalDps,
    certificates: Certificates,
    silent_at: str,
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {"timeout": 1.0} if limit == "timeout" else {"hop_timeout": 1.0, "timeout": 3.0}
    if silent_at == "poll":
        async with local_dps as dps:
            say_nothing_to_polls(dps, monkeypatch)
            key = await dps.enroll_device("my-device")
            began = time.monotonic()
            with pytest.raises(RequestTimedOut) as caught:
                await provisioned(dps, key, **limits)
    else:
        async with broker(websocket=True, tls=certificates.server()) as server:
            # A broker that is no DPS takes the register request and never answers it.
            server.mute = {"subscribe": SubscribeReceived, "puback": MessageReceived}.get(silent_at)
            began = time.monotonic()
            with pytest.raises(RequestTimedOut) as caught:
                await provision_async(
                    "0ne00SILENT",
                    SymmetricKey("dev", KEY),
                    host="127.0.0.1",
                    port=server.port,
                    path="/mqtt",
                    tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
                    **limits,  # type: ignore[arg-type]
                )
    assert caught.value.hint
    assert time.monotonic() - began < (2.5 if limit == "timeout" else 4.5)


def say_nothing_to_polls(dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch) -> None:
    react_to_polls(dps, monkeypatch, [])


def react_to_polls(
    dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch, effects: list[Effect]
) -> None:
    serve = dps.service.serve

    async def instead(device: Device, request: Request, body: bytes) -> Handled:
        return Handled(effects) if isinstance(request, Poll) else await serve(device, request, body)

    monkeypatch.setattr(dps.service, "serve", instead)


async def test_a_service_that_always_says_now_is_not_asked_without_pause(
    local_dps: AsyncLocalDps,
) -> None:
    steps: list[Step] = []
    async with local_dps as dps:
        dps.service.settings = replace(dps.service.settings, assigning_polls=10**9)
        key = await dps.enroll_device("my-device")
        with pytest.raises(RequestTimedOut):
            await provisioned(dps, key, timeout=1.2, on_step=steps.append)
    assert 2 <= sum(step.name == "poll" for step in steps) / 2 <= 5


async def test_a_watcher_that_raises_ends_nothing(local_dps: AsyncLocalDps) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("watching went wrong")

    async with local_dps as dps:
        key = await dps.enroll_device("my-device")
        assert await provisioned(dps, key, on_step=fail, on_packet=fail)


async def test_a_wait_longer_than_the_time_left_ends_at_once(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        dps.service.settings = replace(dps.service.settings, retry_after=100)
        key = await dps.enroll_device("my-device")
        began = time.monotonic()
        with pytest.raises(RequestTimedOut) as caught:
            await provisioned(dps, key, timeout=20)
        assert re.search(r"in (100|9\d\.\d|9\d) s", caught.value.hint)  # what is left of it
        assert time.monotonic() - began < 10


async def test_a_connection_closed_instead_of_an_answer_is_told(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_dps as dps:
        react_to_polls(dps, monkeypatch, [Close("a fault on order")])
        key, steps = await dps.enroll_device("my-device"), list[Step]()
        # On a busy machine the time may be over within the last attempt.
        with pytest.raises((ConnectionLost, RequestTimedOut)) as caught:
            await provisioned(dps, key, timeout=2.0, on_step=steps.append)
        assert "connections were tried" in caught.value.hint
        assert "another client" in caught.value.hint
        lost = [step.error for step in steps if isinstance(step.error, ConnectionLost)]
        assert {error.close_code for error in lost} == {1008}


async def test_an_answer_counts_though_the_connection_ends_with_it(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real service drops the connection at some time after a 401."""
    async with local_dps as dps:
        serve = dps.service.serve

        async def instead(device: Device, request: Request, body: bytes) -> Handled:
            handled = await serve(device, request, body)
            return Handled([*handled.effects, Close("after 401")])

        monkeypatch.setattr(dps.service, "serve", instead)
        await dps.enroll_device("my-device")
        with pytest.raises(RegistrationRejected) as refused:
            await provisioned(dps, KEY)
        assert refused.value.error_code == 401000


async def test_a_connection_closed_between_two_polls_is_made_anew_when_the_turn_has_come(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        dps.service.settings = replace(dps.service.settings, retry_after=1)
        key = await dps.enroll_device("my-device")
        steps: list[tuple[float, str]] = []

        def cut_when_registered(step: Step) -> None:
            steps.append((time.monotonic(), f"{step.name} {step.outcome}"))
            if step.name == "register" and step.outcome == "ok":
                cutting.append(asyncio.ensure_future(dps.stop()))

        cutting: list[asyncio.Future[None]] = []
        task = asyncio.ensure_future(provisioned(dps, key, on_step=cut_when_registered))
        while not cutting:
            await asyncio.sleep(0.01)
        await asyncio.gather(*cutting)
        await dps.start()
        assert (await task).device_id == "my-device"
        times = {name: at for at, name in reversed(steps)}
        dialed = [at for at, name in steps if name == "name open"]
        assert len(dialed) == 2  # nobody could have been asked before
        assert dialed[1] - times["register ok"] > 0.9


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'{"status": "assigned"}', b'{"status": "strange"}', b"\xff"]
)
async def test_an_answer_that_cannot_be_read_is_told(local_dps: AsyncLocalDps, body: bytes) -> None:
    async with local_dps as dps:
        await dps.fault("answer", status=200, body=body.decode("latin-1"))
        with pytest.raises(MalformedAnswer):
            await provisioned(dps, await dps.enroll_device("my-device"))


async def test_cancelling_at_any_moment_leaves_nothing_behind(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("my-device")
        for turns in range(0, 120, 4):
            task = asyncio.ensure_future(provisioned(dps, key))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            # It may have ended just before; what counts is that it ends, with nothing left open.
            await asyncio.wait([task])
            assert task.cancelled() or not isinstance(task.exception(), MqttwsError)


@pytest.mark.parametrize(
    "options",
    [
        {"transport": "mqtt"},
        {"transport": "ws"},
        {"port": 99999},
        {"payload": {1, 2}},
        {"host": "a b"},
        {"host": "a/b"},
        {"host": "u:p@127.0.0.1"},
        {"host": None},
        {"path": "x"},
        {"tls": "x"},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"hop_timeout": "5"},
    ],
)
async def test_an_argument_that_cannot_be_right_is_told_before_anything_is_sent(
    options: dict[str, object],
) -> None:
    with pytest.raises(UsageError):
        await provision_async("0ne00", SymmetricKey("dev", KEY), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("id_scope", ["", "a/b", "a b", None])
async def test_an_id_scope_that_cannot_be_one_is_told(id_scope: str) -> None:
    with pytest.raises(UsageError, match="id scope"):
        await provision_async(id_scope, SymmetricKey("dev", KEY))
