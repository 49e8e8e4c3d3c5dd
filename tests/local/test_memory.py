"""What a connected device costs the service in memory."""

from asyncio import sslproto

import pytest

from mqttws import AsyncLocalDps
from mqttws.net.stream import DPS_BUFFER, TLS_RECORD, limit_tls_buffers

from .test_faults import register


@pytest.mark.parametrize("size", [TLS_RECORD, DPS_BUFFER])
async def test_asyncio_still_has_the_buffer_that_is_made_smaller(
    local_dps: AsyncLocalDps, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    assert sslproto.SSLProtocol.max_size == 256 * 1024
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 256 * 1024)  # is put back
    kept = []
    init = sslproto.SSLProtocol.__init__

    def noted(protocol: sslproto.SSLProtocol, *arguments: object, **options: object) -> None:
        init(protocol, *arguments, **options)  # type: ignore[arg-type]
        kept.append((len(protocol._ssl_buffer), len(protocol.get_buffer(-1))))

    monkeypatch.setattr(sslproto.SSLProtocol, "__init__", noted)
    limit_tls_buffers(size)
    async with local_dps as dps:
        payload = {"text": "x" * 90_000}  # several buffers full
        assert (await register(dps, payload=payload)).device_id == "dev"
        assert (await register(dps, "mqtts", "other", payload=payload)).device_id == "other"
    assert kept == [(size, size)] * 4
