"""Gateways that ask to be left alone for a while: Retry-After of an upgrade's refusal is kept."""

import asyncio
import time
from pathlib import Path

import pytest

from mqttws import AsyncLocalDps, SymmetricKey, TlsConfig, UpgradeRefused, provision_async
from mqttws.hops import Cause
from mqttws.local.certificates import prepare_certificates

from ..net.rogue import listening


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
            await provision_async(
                "0ne00000000",
                SymmetricKey("d", "A" * 43 + "="),
                host="127.0.0.1",
                port=port,
                tls=TlsConfig(ca=dps_state / "ca.pem"),
                timeout=20.0,
            )
    assert (caught.value.retry_after, caught.value.cause) == (600.0, Cause.SERVER_UNAVAILABLE)
    assert "600 s" in caught.value.hint
    assert len(asked) == 1
    assert time.monotonic() - began < 10
