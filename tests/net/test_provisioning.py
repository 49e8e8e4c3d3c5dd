"""The whole job: a device registers with the local DPS over both transports."""

import pytest

from mqttws import LocalDps, SymmetricKey, TlsConfig, provision_async


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_device_is_assigned_to_a_hub(local_dps: LocalDps, transport: str) -> None:
    async with local_dps:
        key = local_dps.enroll_device("my-device")
        assignment = await provision_async(
            local_dps.id_scope,
            SymmetricKey("my-device", key),
            host=local_dps.host,
            port=local_dps.wss_port if transport == "wss" else local_dps.mqtts_port,
            transport=transport,
            tls=TlsConfig(ca=local_dps.ca_file),
        )
    assert assignment.assigned_hub == "local-hub.azure-devices.net"
    assert assignment.device_id == "my-device"
    assert assignment.substatus == "initialAssignment"
