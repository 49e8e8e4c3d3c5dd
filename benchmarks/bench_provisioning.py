"""What does a registration cost, and how does it grow? One service process, devices in another.

Prints, for 10, 100 and 1 000 devices at once over WSS: CPU milliseconds of the service and of the
devices for one registration (TLS handshake and one poll included), and the service's resident
memory for each device that stays connected. Run: ``python benchmarks/bench_provisioning.py``.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from mqttws import AsyncClient, LocalDps, SymmetricKey, TlsConfig, provision_async
from mqttws.dps.names import build_username
from mqttws.net.stream import limit_tls_buffers


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident() -> int:
    """Return this process's resident memory in KiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


async def serve() -> None:
    """Be the service: enroll, then answer each line of standard input with what has been used."""
    loop = asyncio.get_running_loop()
    limit_tls_buffers()  # as mqttws serve does
    async with LocalDps(mqtts_port=None, retry_after=0) as dps:
        count = int(sys.stdin.readline())
        keys = [dps.enroll_device(f"device-{number}") for number in range(count)]
        place = {"port": dps.wss_port, "ca": str(dps.ca_file), "scope": dps.id_scope, "keys": keys}
        print(json.dumps(place), flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps({"cpu": cpu(), "resident": resident()}), flush=True)


async def register(place: dict, number: int) -> None:
    credential = SymmetricKey(f"device-{number}", place["keys"][number])
    tls = TlsConfig(ca=place["ca"], only_ca=True)
    found = await provision_async(
        place["scope"], credential, host="127.0.0.1", port=place["port"], tls=tls, timeout=300,
        hop_timeout=120,
    )  # fmt: skip
    assert found.device_id == f"device-{number}"


async def connect(place: dict, number: int) -> AsyncClient:
    credential = SymmetricKey(f"device-{number}", place["keys"][number])
    client = AsyncClient(
        f"wss://127.0.0.1:{place['port']}/$iothub/websocket",
        client_id=credential.registration_id,
        username=build_username(place["scope"], credential.registration_id),
        password=credential.password(place["scope"], time.time()),
        tls=TlsConfig(ca=place["ca"], only_ca=True),
        connect_timeout=300,
        hop_timeout=120,
    )
    await client.connect()
    return client


async def measure(count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--serve"]
    service = subprocess.Popen(  # noqa: ASYNC220 - it starts before the clock does
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert service.stdin is not None
    assert service.stdout is not None

    def ask(line: str) -> dict:
        service.stdin.write(line + "\n")
        service.stdin.flush()
        return json.loads(service.stdout.readline())

    try:
        place = ask(str(count))
        await register(place, 0)  # what happens once does not count
        before, own = ask("?"), cpu()
        began = time.perf_counter()
        await asyncio.gather(*(register(place, number) for number in range(count)))
        took = time.perf_counter() - began
        after, own = ask("?"), cpu() - own
        clients = await asyncio.gather(*(connect(place, number) for number in range(count)))
        held = ask("?")
        await asyncio.gather(*(client.disconnect() for client in clients))
    finally:
        service.stdin.close()
        service.terminate()
        service.wait(20)
        service.stdout.close()
    return {
        "devices": count,
        "seconds": round(took, 2),
        "service_cpu_ms": round((after["cpu"] - before["cpu"]) * 1000 / count, 2),
        "device_cpu_ms": round(own * 1000 / count, 2),
        "service_kib_per_device": round((held["resident"] - before["resident"]) / count, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("counts", type=int, nargs="*", default=[10, 100, 1000])
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if options.serve:
        asyncio.run(serve())
        return
    for count in options.counts:
        print(json.dumps(asyncio.run(measure(count))), flush=True)


if __name__ == "__main__":
    main()
