"""The configuration of docs/team.md: haproxy in TCP mode before two front ends."""

import re
from contextlib import AsyncExitStack
from pathlib import Path

from mqttws import AsyncLocalDps, SymmetricKey, TlsConfig, provision_async
from tests.documents import ROOT, blocks
from tests.peers import programs
from tests.ports import free_port

from . import x509_world
from .test_durability import KEY, keyed


async def test_devices_register_behind_the_balancer_while_a_front_end_is_away(
    tmp_path: Path, dps_state: Path
) -> None:
    """By key and by certificate: TLS is the front ends'."""
    (text,) = [
        block.text for block in blocks(ROOT / "docs" / "team.md") if block.title == "haproxy.cfg"
    ]
    records = tmp_path / "records.sqlite"
    async with AsyncExitStack() as stack:
        one, other = [
            AsyncLocalDps(state=dps_state, retry_after=0, records=records) for _ in range(2)
        ]
        await stack.enter_async_context(one)
        await one.enroll(keyed("dev"))
        certified = await one.enroll_certificate("leaf")
        await stack.enter_async_context(other)  # trusts that certificate from the beginning
        wss, mqtts = free_port(), free_port()
        text = text.replace("bind :443", f"bind 127.0.0.1:{wss}")
        text = text.replace("bind :8883", f"bind 127.0.0.1:{mqtts}")
        for address, dps in (("10.0.0.1", one), ("10.0.0.2", other)):
            text = text.replace(f"{address}:443", f"127.0.0.1:{dps.wss_port}")
            line = rf"{re.escape(address)}:8883 check port 443"
            text = re.sub(line, f"127.0.0.1:{dps.mqtts_port} check port {dps.wss_port}", text)
        assert "10.0.0" not in text
        tls = TlsConfig(ca=one.ca_file, only_ca=True)
        with programs.haproxy(text, wss):
            for away in (None, one):
                if away is not None:
                    await away.stop()
                for transport, port in (("wss", wss), ("mqtts", mqtts)):
                    for credential in (
                        SymmetricKey("dev", KEY),
                        x509_world.LateCertificate(certified.chain, certified.key),
                    ):
                        found = await provision_async(
                            one.id_scope,
                            credential,
                            host="127.0.0.1",
                            port=port,
                            transport=transport,  # type: ignore[arg-type]
                            tls=tls,
                            timeout=30,
                            wait_for_network=True,
                        )
                        assert found.assigned_hub
