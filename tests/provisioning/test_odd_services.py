"""A registration with services that answer oddly, and with another process of the same device."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    MqttwsError,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.hops import Hop
from mqttws.net.hops import Step
from mqttws.provisioning import exchange, plan
from mqttws.retry import Pauses

from ..client.relay import reset
from ..net.rogue import Certificates, listening
from .scripted_dps import ASSIGNED, Service, registered, scripted_dps


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(exchange, "LOST", Pauses(0.05, 30.0))
    plan._uncapped.clear()
    yield
    plan._uncapped.clear()


async def test_an_answer_counts_though_its_request_is_never_acknowledged(
    certificates: Certificates,
) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        while True:
            request_id = await service.request(acknowledged=False)
            service.answer(200, ASSIGNED, f"$rid={request_id}")

    async with scripted_dps(certificates, script) as seen:
        assert (await registered(seen, certificates)).device_id == "dev"
    assert (seen.connections, len(seen.requests)) == (1, 1)


@pytest.mark.parametrize("query", ["$rid=another", "$rid=", "retry-after=3"])
async def test_answers_to_other_requests_are_counted_in_the_error(
    certificates: Certificates, query: str
) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        while True:
            await service.request()
            service.answer(200, ASSIGNED, query)

    async with scripted_dps(certificates, script) as seen:
        with pytest.raises(MqttwsError) as caught:
            await registered(seen, certificates, timeout=2.5)
    told = f"{caught.value} {caught.value.hint}"
    assert "answers to other requests ($rid)" in told
    assert "asked: register" in told


async def test_a_lost_answer_is_asked_for_again(certificates: Certificates) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        while True:
            request_id = await service.request()
            if len(service.requests) == 1:
                service.answer(202, {"operationId": "op", "status": "assigning"},
                               f"$rid={request_id}&retry-after=0")  # fmt: skip
            elif len(service.requests) > 2:
                service.answer(200, ASSIGNED, f"$rid={request_id}")

    async with scripted_dps(certificates, script) as seen:
        assert (await registered(seen, certificates)).device_id == "dev"
    assert ["PUT" in topic for topic in seen.requests] == [True, False, False]
    assert all("operationId=op" in topic for topic in seen.requests[1:])


async def test_an_answer_above_the_limit_has_a_hint_that_can_be_followed(
    certificates: Certificates,
) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        request_id = await service.request()
        service.answer(200, b" " * 2**20 + b"{}", f"$rid={request_id}")
        await service.peer.packet()

    async with scripted_dps(certificates, script) as seen:
        with pytest.raises(MqttwsError) as caught:
            await registered(seen, certificates, timeout=3.0)
    assert "max_packet_size" not in f"{caught.value} {caught.value.hint}"


# Two processes with one identity


class Connects:
    """How many connections were accepted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, step: Step) -> None:
        self.count += step.hop is Hop.CONNECT and step.ended is None


async def _together(
    dps: AsyncLocalDps, transport: Literal["wss", "mqtts"], starts: list[float], **options: Any
) -> list[Assignment | BaseException]:
    key = await dps.enroll_device("dev")

    async def one(start: float) -> Assignment:
        await asyncio.sleep(start)
        return await provision_async(
            dps.id_scope,
            SymmetricKey("dev", key),
            host=dps.host,
            port=dps.wss_port if transport == "wss" else dps.mqtts_port,
            transport=transport,
            tls=TlsConfig(ca=dps.ca_file, only_ca=True),
            **options,
        )

    return await asyncio.gather(*map(one, starts), return_exceptions=True)


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_two_processes_with_one_identity_both_end_without_a_loop(
    dps_state: Any, caplog: pytest.LogCaptureFixture, transport: Literal["wss", "mqtts"]
) -> None:
    connects = Connects()
    with caplog.at_level(logging.WARNING, "mqttws.provisioning"):
        async with AsyncLocalDps(state=dps_state, retry_after=2, assigning_polls=1) as dps:
            both = await _together(dps, transport, [0.0, 1.0], on_step=connects)
    assert [getattr(each, "device_id", each) for each in both] == ["dev", "dev"]
    assert connects.count <= 8
    if transport == "wss":  # which says that it closes
        assert "another client with this registration id" in caplog.text


async def test_a_service_that_takes_over_at_connect_sees_no_loop(
    certificates: Certificates,
) -> None:
    newest: list[Service] = []

    async def script(service: Service) -> None:
        await service.welcome()
        for older in newest:
            older.peer.writer.close()
        newest[:] = [service]
        while True:
            request_id = await service.request()
            first = "PUT" in service.requests[-1]
            status, body = (202, {"operationId": "op", "status": "assigning"}) if first else OK
            service.answer(status, body, f"$rid={request_id}&retry-after=5")

    async def one(start: float) -> Assignment:
        await asyncio.sleep(start)
        return await registered(seen, certificates, timeout=30.0)

    async with scripted_dps(certificates, script) as seen:
        both = await asyncio.gather(one(0.0), one(1.0))
    assert [each.device_id for each in both] == ["dev", "dev"]
    assert seen.connections <= 5


OK = (200, ASSIGNED)


async def test_the_one_that_loses_has_the_reason_in_its_hint(dps_state: Any) -> None:
    async with AsyncLocalDps(state=dps_state, retry_after=3, assigning_polls=5) as dps:
        found = await _together(dps, "wss", [0.0, 0.5], timeout=5.0)
    hints = [error.hint for error in found if isinstance(error, MqttwsError)]
    assert hints
    assert any("another client with this registration id" in hint for hint in hints)


async def test_a_service_that_is_killed_again_and_again_is_no_other_client(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        request_id = await service.request()
        if service.peer.number > 3:
            service.answer(200, ASSIGNED, f"$rid={request_id}")
            await service.peer.packet()
        service.peer.reset()

    with caplog.at_level(logging.INFO, "mqttws.provisioning"):
        async with scripted_dps(certificates, script) as seen:
            assert (await registered(seen, certificates)).device_id == "dev"
    assert seen.connections == 4
    assert caplog.text == ""


async def test_a_hello_that_is_cut_off_once_is_repeated_as_it_was_where_one_was_answered(
    local_dps: AsyncLocalDps,
) -> None:
    connections = 0
    versions: list[str] = []

    async def way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        first = await reader.read(65536)
        if connections == 2:
            reset(writer)
            return
        answers, far = await asyncio.open_connection("127.0.0.1", dps.wss_port)
        far.write(first)
        up = asyncio.ensure_future(_carry(reader, far))
        await _carry(answers, writer)
        up.cancel()
        far.close()

    def note(step: Step) -> None:
        if step.hop is Hop.TLS and step.ended is not None and step.error is None:
            versions.append(step.facts["version"])

    async with local_dps as dps, listening(way) as port:
        await dps.fault("drop-before", hop="poll")
        await provision_async(
            dps.id_scope,
            SymmetricKey("dev", await dps.enroll_device("dev")),
            host="127.0.0.1",
            port=port,
            tls=TlsConfig(ca=dps.ca_file, only_ca=True),
            proxy=None,
            on_step=note,
        )
    assert versions == ["TLSv1.3", "TLSv1.3"]
    assert connections == 3


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
