"""Faults on order, over real connections, and what our device makes of them.

Most are written as a user's tests are, with the plugin's fixture: the service runs in a thread.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    CertificateRejected,
    ConnectionLost,
    ConnectRefused,
    Hop,
    MalformedAnswer,
    MqttwsError,
    RegistrationFailed,
    RegistrationRejected,
    RequestTimedOut,
    Step,
    SymmetricKey,
    TlsConfig,
    provision,
    provision_async,
)
from mqttws.dps import registration
from mqttws.local import listening
from mqttws.local.running import LocalDps
from mqttws.provisioning import exchange as provisioning
from mqttws.pytest_plugin import _local_dps_state, local_dps
from mqttws.retry import Pauses

__all__ = ["_local_dps_state", "local_dps"]  # in place of conftest's


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name in ((provisioning, "LOST"), (registration, "BUSY")):
        monkeypatch.setattr(where, name, Pauses(0.01, 30.0))


@pytest.fixture
def local_dps_options() -> dict[str, Any]:
    return {"assigning_polls": 1}


@pytest.fixture
def here(dps_state: Path) -> AsyncLocalDps:
    """A service in the test's own loop, not started: for what needs to reach into it."""
    return AsyncLocalDps(state=dps_state, retry_after=0, assigning_polls=1)


@pytest.fixture
def here_polling(dps_state: Path) -> Iterator[LocalDps]:
    with LocalDps(state=dps_state, assigning_polls=5) as dps:
        yield dps


def registered(
    dps: LocalDps, transport: str = "wss", name: str = "dev", **options: Any
) -> Assignment:
    """Enroll a device, and register it."""
    where: dict[str, Any] = dict(dps.options)
    if transport == "mqtts":
        where |= {"transport": "mqtts", "port": dps.mqtts_port}
    credential = SymmetricKey(name, dps.enroll_device(name))
    return provision(dps.id_scope, credential, **(where | options))


async def register(
    dps: AsyncLocalDps, transport: str = "wss", name: str = "dev", **options: Any
) -> Assignment:
    """Enroll a device, and register it, in the service's own loop."""
    return await provision_async(
        dps.id_scope,
        SymmetricKey(name, await dps.enroll_device(name)),
        host=dps.host,
        port=dps.wss_port if transport == "wss" else dps.mqtts_port,
        transport=transport,  # type: ignore[arg-type]
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
        **options,
    )


class Walked:
    """The steps that have ended."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        if step.ended is not None:
            self.steps.append(step)

    def times(self, hop: Hop) -> int:
        return sum(step.hop is hop for step in self.steps)


@pytest.mark.rule(
    "DPS-S429/service",
    "DPS-S429/device",
    "DPS-S5xx/service",
    "DPS-S5xx/device",
    "DPS-E500000/service",
)
@pytest.mark.parametrize("request_", ["register", "poll"])
@pytest.mark.parametrize("status", [429, 500, 503, 599, 409, 412])
def test_what_can_pass_is_asked_again(local_dps: LocalDps, status: int, request_: str) -> None:
    walked = Walked()
    local_dps.fault("answer", status=status, retry_after=0, times=3, hop=request_)
    assert registered(local_dps, on_step=walked).device_id == "dev"
    assert [step.status for step in walked.steps if step.hop is Hop(request_)][:3] == [status] * 3


@pytest.mark.rule(
    "DPS-T8/service",
    "DPS-S405/service",
    "DPS-S405/device",
    "DPS-S409/service",
    "DPS-S409/device",
    "DPS-S412/service",
    "DPS-S412/device",
    "DPS-S415/service",
    "DPS-S415/device",
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415])
@pytest.mark.parametrize("request_", ["register", "poll"])
def test_4xx_ends_at_once_with_all_that_the_service_said(
    local_dps: LocalDps, status: int, request_: str
) -> None:
    local_dps.fault("answer", "DEV", status=status, hop=request_)
    with pytest.raises(RegistrationRejected) as refused:
        registered(local_dps)
    error = refused.value
    assert error.status == status
    assert error.error_code is not None
    assert error.error_code // 1000 == status
    assert "Ordered fault." in str(error)
    assert error.tracking_id


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "close-websocket"])
@pytest.mark.parametrize("request_", ["register", "poll"])
def test_a_connection_lost_in_the_middle_is_made_anew(
    local_dps: LocalDps, kind: str, request_: str, transport: str
) -> None:
    walked = Walked()
    local_dps.fault(kind, hop=request_)
    assert registered(local_dps, transport, on_step=walked).device_id == "dev"
    assert walked.times(Hop.CONNECT) == 2
    assert walked.times(Hop.SUBSCRIBE) == 2
    # Once the operation's id is known it is only asked about, never begun again.
    answered = kind == "drop-after" or request_ == "poll"
    assert walked.times(Hop.REGISTER) == (1 if answered else 2)


def test_a_connection_that_is_always_lost_ends_at_the_deadline(local_dps: LocalDps) -> None:
    local_dps.fault("drop-before", times=None)
    began = time.monotonic()
    with pytest.raises((ConnectionLost, RequestTimedOut, MqttwsError)):
        registered(local_dps, timeout=0.5)
    assert time.monotonic() - began < 3


async def test_a_service_that_goes_away_in_the_middle_is_waited_for(here: AsyncLocalDps) -> None:
    async with here as dps:
        await dps.fault("drop-after", hop="register")
        answered = asyncio.Event()

        def on_step(step: Step) -> None:
            if step.hop is Hop.REGISTER and step.ended is not None:
                answered.set()

        task = asyncio.create_task(register(dps, on_step=on_step))
        await answered.wait()
        await dps.stop()  # refused for a while
        await dps.start()
        assert (await task).device_id == "dev"


def test_bad_json_is_an_error_of_its_own(local_dps: LocalDps) -> None:
    local_dps.fault("bad-json")
    with pytest.raises(MalformedAnswer):
        registered(local_dps)


@pytest.mark.parametrize("request_", ["register", "poll"])
def test_a_lost_answer_is_asked_for_again(local_dps: LocalDps, request_: str) -> None:
    walked = Walked()
    local_dps.fault("silence", hop=request_)
    assert registered(local_dps, request_timeout=1.0, on_step=walked).device_id == "dev"
    assert walked.times(Hop.CONNECT) == 2
    assert walked.times(Hop.REGISTER) == (2 if request_ == "register" else 1)


def test_a_service_that_never_answers_ends_it_at_the_deadline(local_dps: LocalDps) -> None:
    local_dps.fault("silence", times=None)
    with pytest.raises(RequestTimedOut) as caught:
        registered(local_dps, hop_timeout=1.0, timeout=2.5)
    assert "asked: register" in caught.value.hint
    assert "answered: nothing" in caught.value.hint


@pytest.mark.rule("DPS-T14/device")
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize("kind", ["delay", "trickle"])
def test_a_slow_answer_is_waited_for(local_dps: LocalDps, kind: str, transport: str) -> None:
    local_dps.fault(kind, seconds=0.001, times=None)
    assert registered(local_dps, transport).device_id == "dev"


@pytest.mark.parametrize("kind", ["delay", "trickle"])
async def test_a_device_that_leaves_during_a_delay_leaves_nothing(
    here: AsyncLocalDps, kind: str
) -> None:
    async with here as dps:
        await dps.fault(kind, seconds=60)
        with pytest.raises(RequestTimedOut):
            await register(dps, timeout=1.0)


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("expired-certificate", "expired"),
        ("wrong-name-certificate", "wrong-name.invalid"),
        ("unknown-ca-certificate", "mqttws development CA"),
        ("missing-intermediate", "mqttws intermediate that is not sent"),
    ],
)
def test_a_bad_service_certificate_is_told_once(
    local_dps: LocalDps, kind: str, told: str, transport: str
) -> None:
    local_dps.fault(kind)
    with pytest.raises(CertificateRejected) as caught:
        registered(local_dps, transport)
    assert told in f"{caught.value} {caught.value.hint}"
    assert registered(local_dps, transport, name="next").device_id == "next"


def test_the_third_poll_gets_the_code_that_was_ordered(here_polling: LocalDps) -> None:
    walked = Walked()
    members: dict[str, Any] = {"status": 403, "error_code": 403007, "message": "Not today."}
    here_polling.fault("answer", "dev", hop="poll", skip=2, **members)
    with pytest.raises(RegistrationRejected, match="Not today") as refused:
        registered(here_polling, on_step=walked)
    assert refused.value.error_code == 403007
    assert [step.status for step in walked.steps if step.hop is Hop.POLL] == [202, 202, 403]


def test_a_body_that_was_ordered_is_sent_as_it_is(local_dps: LocalDps) -> None:
    state = {"errorCode": 400207, "errorMessage": "no", "status": "failed", "registrationId": "dev"}
    body = {"operationId": "o", "status": "failed", "registrationState": state}
    local_dps.fault("answer", status=200, body=json.dumps(body))
    with pytest.raises(RegistrationFailed) as failed:
        registered(local_dps)
    assert failed.value.error_code == 400207


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_connect_is_refused_with_the_code_that_was_ordered(
    local_dps: LocalDps, code: int
) -> None:
    local_dps.fault("answer", "dev", hop="connect", return_code=code, times=None)
    with pytest.raises(ConnectRefused) as refused:
        registered(local_dps, timeout=2.0)
    assert refused.value.return_code == code


def test_a_subscription_is_refused(local_dps: LocalDps) -> None:
    local_dps.fault("answer", "dev", hop="subscribe", times=None)
    with pytest.raises(MqttwsError) as refused:
        registered(local_dps, timeout=2.0)
    assert refused.value.hop is Hop.SUBSCRIBE


def test_an_upgrade_is_refused_and_asked_for_again(local_dps: LocalDps) -> None:
    walked = Walked()
    local_dps.fault("answer", hop="upgrade", status=503, retry_after=0, times=2)
    assert registered(local_dps, on_step=walked).device_id == "dev"
    assert walked.times(Hop.UPGRADE) == 3


@pytest.mark.parametrize("kind", ["delay", "slow", "trickle"])
@pytest.mark.parametrize("hop", ["connect", "subscribe"])
def test_a_slow_leg_is_waited_for(local_dps: LocalDps, kind: str, hop: str) -> None:
    pace = {"bytes_per_second": 10_000} if kind == "slow" else {"seconds": 0.001}
    local_dps.fault(kind, "dev", hop=hop, **pace)
    assert registered(local_dps).device_id == "dev"


@pytest.mark.parametrize("hop", ["tls", "upgrade", "connect", "subscribe"])
def test_a_leg_that_is_cut_is_walked_again(local_dps: LocalDps, hop: str) -> None:
    walked = Walked()
    local_dps.fault("drop-before", hop=hop)
    assert registered(local_dps, on_step=walked, timeout=20).device_id == "dev"
    assert walked.times(Hop.TCP) == 2
    assert walked.times(Hop(hop)) == 2


@pytest.mark.parametrize("hop", ["tls", "upgrade", "connect", "subscribe"])
def test_a_silent_leg_ends_at_its_deadline_and_is_walked_again(
    local_dps: LocalDps, hop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT", 1.0)
    walked = Walked()
    local_dps.fault("silence", hop=hop)
    limits: dict[str, Any] = {"hop_timeout": 1.0, "request_timeout": 1.0, "timeout": 30}
    assert registered(local_dps, on_step=walked, **limits).device_id == "dev"
    assert walked.times(Hop(hop)) >= 2  # a busy machine may miss a deadline once more
    assert len(local_dps.seen("fault")) == 1


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("hop", ["connect", "register", "poll"])
def test_an_answer_that_is_cut_in_its_middle_is_asked_for_again(
    local_dps: LocalDps, hop: str, size: int
) -> None:
    walked = Walked()
    local_dps.fault("cut", "dev", hop=hop, bytes=size)
    assert registered(local_dps, on_step=walked).device_id == "dev"
    assert walked.times(Hop.CONNECT) == 2


@pytest.mark.parametrize("hop", ["tls", "upgrade", "connect", "subscribe", "register", "poll"])
def test_a_restart_at_any_leg_is_survived(local_dps: LocalDps, hop: str) -> None:
    port = local_dps.wss_port
    local_dps.fault("restart", hop=hop, seconds=0.05)
    assert registered(local_dps, timeout=20).device_id == "dev"
    assert local_dps.wss_port == port
    assert registered(local_dps, name="next").device_id == "next"


def test_a_service_that_is_stopped_during_its_restart_is_stopped(dps_state: Path) -> None:
    with LocalDps(state=dps_state) as dps:
        dps.fault("restart", seconds=60)
        with pytest.raises(MqttwsError):
            registered(dps, timeout=0.5)


async def test_one_devices_faults_do_not_touch_another(here: AsyncLocalDps) -> None:
    async with here as dps:
        await dps.fault("answer", "unlucky", status=401, times=None)
        results = await asyncio.gather(
            register(dps, name="unlucky"),
            *(register(dps, name=f"lucky-{number}") for number in range(5)),
            return_exceptions=True,
        )
    assert isinstance(results[0], RegistrationRejected)
    assert all(isinstance(result, Assignment) for result in results[1:])


async def test_cancelling_leaves_nothing_behind(here: AsyncLocalDps) -> None:
    async with here as dps:
        await dps.fault("silence", times=None)
        asked = asyncio.Event()
        task = asyncio.create_task(
            register(dps, on_step=lambda s: asked.set() if s.hop is Hop.REGISTER else None)
        )
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
