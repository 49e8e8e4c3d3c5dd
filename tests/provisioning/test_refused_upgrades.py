"""Gateways that ask to be left alone for a while: Retry-After of an upgrade's refusal is kept."""

import asyncio
import time
from pathlib import Path

import pytest

from mqttws import (
    AsyncLocalDps,
    ConnectionLost,
    HopTimedOut,
    MqttwsError,
    RequestTimedOut,
    SymmetricKey,
    TlsConfig,
    UpgradeRefused,
    provision_async,
    retry,
)
from mqttws.hops import Cause, Hop
from mqttws.local.certificates import prepare_certificates

from ..net.rogue import listening, silent, upgrade


def refusing(times: int, answer: bytes, port: int):
    """Refuse the first upgrades, then join the client to the DPS."""
    asked: list[float] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        asked.append(time.monotonic())
        if len(asked) <= times:
            writer.write(answer)
            await writer.drain()
            return
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        there_writer.write(request)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)

        back = asyncio.ensure_future(pump(there_reader, writer))
        await pump(reader, there_writer)
        there_writer.close()
        await back

    return handler, asked


async def ask(port: int, dps_state: Path, timeout: float) -> None:
    """Register a device of which nothing is known at a port of this machine."""
    await provision_async(
        "0ne00000000",
        SymmetricKey("d", "A" * 43 + "="),
        host="127.0.0.1",
        port=port,
        tls=TlsConfig(ca=dps_state / "ca.pem"),
        timeout=timeout,
    )


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_within_the_deadline_is_waited_for(
    local_dps: AsyncLocalDps, dps_state: Path, status: int
) -> None:
    context = prepare_certificates(dps_state, ()).context()
    answer = f"HTTP/1.1 {status} Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".encode()
    async with local_dps:
        assert local_dps.wss_port
        key = await local_dps.enroll_device(f"patient-{status}")
        handler, asked = refusing(1, answer, local_dps.wss_port)
        async with listening(handler, context) as port:
            assigned = await provision_async(
                local_dps.id_scope,
                SymmetricKey(f"patient-{status}", key),
                host="127.0.0.1",
                port=port,
                tls=TlsConfig(ca=local_dps.ca_file),
                timeout=20.0,
            )
    assert assigned.device_id == f"patient-{status}"
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 1.0


async def test_a_retry_after_beyond_the_deadline_ends_it_at_once(
    local_dps: AsyncLocalDps, dps_state: Path
) -> None:
    context = prepare_certificates(dps_state, ()).context()
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n"
    handler, asked = refusing(9, answer, 1)
    async with listening(handler, context) as port:
        began = time.monotonic()
        with pytest.raises(UpgradeRefused) as caught:
            await ask(port, dps_state, timeout=20.0)
    assert (caught.value.retry_after, caught.value.cause) == (600.0, Cause.SERVER_UNAVAILABLE)
    assert "600 s" in caught.value.hint
    assert len(asked) == 1
    assert time.monotonic() - began < 10


async def refused_then_silent(dps_state: Path, after_101: bool = False) -> MqttwsError:
    """Register where the first upgrade is refused and the second attempt runs out of time."""
    asked = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            return
        if after_101:
            await upgrade(reader, writer)
        await silent(reader, writer)

    async with listening(handler, prepare_certificates(dps_state, ()).context()) as port:
        with pytest.raises(MqttwsError) as caught:
            await ask(port, dps_state, timeout=2.0)
    assert asked == 2
    return caught.value


async def test_an_attempt_without_time_does_not_hide_what_the_one_before_met(
    dps_state: Path,
) -> None:
    error = await refused_then_silent(dps_state)
    assert isinstance(error, UpgradeRefused)
    assert error.cause is Cause.SERVER_UNAVAILABLE
    assert "(2 connections were tried, the time was over at upgrade of the last)" in error.hint


async def test_a_long_silence_is_told_though_an_attempt_met_something_else(
    dps_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "TELLING_SILENCE", 0.1)
    error = await refused_then_silent(dps_state)
    assert isinstance(error, HopTimedOut)
    assert error.hint.endswith("(2 connections were tried)")


@pytest.mark.parametrize(
    ("error", "seconds", "before", "less"),
    [
        (HopTimedOut(hop=Hop.TLS), 1.9, UpgradeRefused(hop=Hop.TLS), True),
        (HopTimedOut(hop=Hop.TCP), 0.0, UpgradeRefused(hop=Hop.TLS), True),
        (RequestTimedOut(hop=Hop.POLL), 1.9, ConnectionLost(hop=Hop.POLL), True),
        (HopTimedOut(hop=Hop.TLS), 2.0, UpgradeRefused(hop=Hop.TLS), False),
        (HopTimedOut(hop=Hop.UPGRADE), 1.9, UpgradeRefused(hop=Hop.TLS), False),
        (ConnectionLost(hop=Hop.TLS), 1.9, UpgradeRefused(hop=Hop.TLS), False),
        (RequestTimedOut(), 1.9, ConnectionLost(hop=Hop.POLL), False),
        (RequestTimedOut(hop=Hop.POLL), 1.9, ConnectionLost(), False),
    ],
)
def test_a_short_silence_no_further_on_the_way_tells_less(
    error: MqttwsError, seconds: float, before: MqttwsError, less: bool
) -> None:
    assert retry.tells_less(error, seconds, before) is less


async def test_a_silence_further_on_the_way_is_told(dps_state: Path) -> None:
    error = await refused_then_silent(dps_state, after_101=True)
    assert isinstance(error, HopTimedOut)
    assert error.hop is Hop.CONNECT
