"""A fleet client for ``benchmarks.scale``: the memory of devices that are under way.

``python -m benchmarks.scale_fleet PORT CA SCOPE KEY COUNT`` lets so many devices register at a
service that lets them wait, and prints the KiB that each of them holds.
"""

import asyncio
import os
import sys

from mqttws import SymmetricKey, TlsConfig, provision_fleet_async
from mqttws.net.stream import DPS_BUFFER, limit_tls_buffers

from .scale_service import resident

UNDER_WAY = 25.0
"""Seconds after which all are connected and wait for their poll."""


async def main(port: int, ca: str, scope: str, key: str, count: int) -> None:
    """Let two fleets register, a small one first, which loads what is loaded once."""
    limit_tls_buffers(DPS_BUFFER)  # as ``mqttws provision-fleet`` does

    async def fleet(first: int, several: int) -> None:
        credentials = [SymmetricKey(f"dev-{first + n}", key) for n in range(several)]
        await provision_fleet_async(
            scope,
            credentials,
            lambda result: None,
            host="127.0.0.1",
            port=port,
            transport="mqtts",
            tls=TlsConfig(ca=ca, only_ca=True),
            concurrency=several,
        )

    tasks = [asyncio.create_task(fleet(0, 5))]
    await asyncio.sleep(UNDER_WAY / 5)
    before = resident([os.getpid()])
    tasks.append(asyncio.create_task(fleet(5, count)))
    await asyncio.sleep(UNDER_WAY)
    print(round((resident([os.getpid()]) - before) / count, 1), flush=True)
    for task in tasks:
        assert not task.done(), "its devices are under way"
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
