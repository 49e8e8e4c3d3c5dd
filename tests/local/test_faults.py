"""Faults on order, over real connections, and what our device makes of them."""

import asyncio
from typing import Any

import pytest

from mqttws import (
    Assignment,
    CertificateRejected,
    ConnectionLost,
    Hop,
    LocalDps,
    MalformedAnswer,
    MqttwsError,
    RegistrationRejected,
    RequestTimedOut,
    Step,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.net import provisioning


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "FIRST_PAUSE", 0.01)


async def register(
    dps: LocalDps, transport: str = "wss", name: str = "dev", **options: Any
) -> Assignment:
    if dps.records.individual(name) is None:
        dps.enroll_device(name)
    enrollment = dps.records.individual(name)
    assert enrollment is not None
    from base64 import b64encode

    return await provision_async(
        dps.id_scope,
        SymmetricKey(name, b64encode(enrollment.primary_key)),
        host=dps.host,
        port=dps.wss_port if transport == "wss" else dps.mqtts_port,
        transport=transport,  # type: ignore[arg-type]
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
        **options,
    )


def hops(steps: list[Step]) -> list[Hop]:
    return [step.hop for step in steps if step.ended is not None]


@pytest.mark.parametrize("request_", ["register", "poll"])
@pytest.mark.parametrize("status", [429, 500, 503, 599])
async def test_429_and_5xx_are_asked_again(local_dps: LocalDps, status: int, request_: str) -> None:
    async with local_dps:
        local_dps.fault("answer", status=status, retry_after=0, times=3, request=request_)
        assert (await register(local_dps)).device_id == "dev"
        assert local_dps.faults.orders() == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 415])
@pytest.mark.parametrize("request_", ["register", "poll"])
async def test_4xx_ends_at_once_with_all_that_the_service_said(
    local_dps: LocalDps, status: int, request_: str
) -> None:
    async with local_dps:
        local_dps.fault("answer", "DEV", status=status, request=request_)
        with pytest.raises(RegistrationRejected) as refused:
            await register(local_dps)
    error = refused.value
    assert error.status == status
    assert error.error_code is not None
    assert error.error_code // 1000 == status
    assert "Ordered fault." in str(error)
    assert error.tracking_id


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "close-websocket"])
@pytest.mark.parametrize("request_", ["register", "poll"])
async def test_a_connection_lost_in_the_middle_is_made_anew(
    local_dps: LocalDps, kind: str, request_: str, transport: str
) -> None:
    steps: list[Step] = []
    async with local_dps:
        local_dps.service.assigning_polls = 1
        local_dps.fault(kind, request=request_)
        assignment = await register(
            local_dps, transport, on_step=lambda s: steps.append(s) if s.ended else None
        )
    assert assignment.device_id == "dev"
    walked = hops(steps)
    assert walked.count(Hop.CONNECT) == 2
    assert walked.count(Hop.SUBSCRIBE) == 2
    # Once the operation's id is known it is only asked about, never begun again.
    answered = kind == "drop-after" or request_ == "poll"
    assert walked.count(Hop.REGISTER) == (1 if answered else 2)


async def test_a_connection_that_is_always_lost_ends_at_the_deadline(local_dps: LocalDps) -> None:
    async with local_dps:
        local_dps.fault("drop-before", times=None)
        began = asyncio.get_running_loop().time()
        with pytest.raises((ConnectionLost, RequestTimedOut, MqttwsError)):
            await register(local_dps, timeout=0.5)
        assert asyncio.get_running_loop().time() - began < 3


async def test_a_service_that_goes_away_in_the_middle_is_waited_for(local_dps: LocalDps) -> None:
    local_dps.service.assigning_polls = 1
    async with local_dps:
        local_dps.fault("drop-after", request="register")
        port = local_dps.wss_port
        key = local_dps.enroll_device("dev")
        answered = asyncio.Event()

        def on_step(step: Step) -> None:
            if step.hop is Hop.REGISTER and step.ended is not None:
                answered.set()

        task = asyncio.create_task(
            provision_async(
                local_dps.id_scope,
                SymmetricKey("dev", key),
                host=local_dps.host,
                port=port,
                tls=TlsConfig(ca=local_dps.ca_file, only_ca=True),
                on_step=on_step,
            )
        )
        await answered.wait()
        await local_dps.stop()  # refused for a while
        await local_dps.start()
        assert (await task).device_id == "dev"


async def test_bad_json_is_an_error_of_its_own(local_dps: LocalDps) -> None:
    async with local_dps:
        local_dps.fault("bad-json")
        with pytest.raises(MalformedAnswer):
            await register(local_dps)


async def test_no_answer_is_noticed(local_dps: LocalDps) -> None:
    async with local_dps:
        local_dps.fault("silence")
        with pytest.raises(RequestTimedOut):
            await register(local_dps, hop_timeout=0.5)


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize("kind", ["delay", "trickle"])
async def test_a_slow_answer_is_waited_for(local_dps: LocalDps, kind: str, transport: str) -> None:
    async with local_dps:
        local_dps.fault(kind, seconds=0.001, times=None)
        assert (await register(local_dps, transport)).device_id == "dev"


async def test_a_device_that_leaves_during_a_delay_leaves_nothing(local_dps: LocalDps) -> None:
    async with local_dps:
        for kind in ("delay", "trickle"):
            local_dps.fault(kind, seconds=60)
            with pytest.raises(RequestTimedOut):
                await register(local_dps, hop_timeout=0.3)


async def test_an_expired_service_certificate_is_told_once(local_dps: LocalDps) -> None:
    async with local_dps:
        local_dps.fault("expired-certificate")
        with pytest.raises(CertificateRejected, match="expired"):
            await register(local_dps)
        assert (await register(local_dps)).device_id == "dev"


async def test_one_devices_faults_do_not_touch_another(local_dps: LocalDps) -> None:
    async with local_dps:
        local_dps.fault("answer", "unlucky", status=401, times=None)
        results = await asyncio.gather(
            register(local_dps, name="unlucky"),
            *(register(local_dps, name=f"lucky-{number}") for number in range(5)),
            return_exceptions=True,
        )
    assert isinstance(results[0], RegistrationRejected)
    assert all(isinstance(result, Assignment) for result in results[1:])


async def test_cancelling_leaves_nothing_behind(local_dps: LocalDps) -> None:
    async with local_dps:
        local_dps.fault("silence", times=None)
        asked = asyncio.Event()
        task = asyncio.create_task(
            register(local_dps, on_step=lambda s: asked.set() if s.hop is Hop.REGISTER else None)
        )
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
