"""What do 2 000 devices cost one local hub? ``python -m benchmarks.bench_hub``.

One process serves the hub; another runs the devices, over WSS, each sending one message of QoS 1 a
second. The hub cuts connections at random, with a seed. Counts what arrived against what was sent:
every message must be there, and a message that came twice is counted too. Asks at the end what the
hub's process used. With ``--records`` the hub is ended and begun again, and must still know its
devices' sessions, queues and twins. Writes hub.json and hub.md.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mqttws import AsyncClient, AsyncLocalHub, Backoff, TlsConfig
from mqttws.dps.sas import sign_token
from mqttws.hub.service.telemetry import Telemetry
from mqttws.hub.topics import build_username, telemetry_topic
from mqttws.net.stream import limit_tls_buffers

HERE = Path(__file__).parent
KEY = bytes(range(32))
KEY_TEXT = base64.b64encode(KEY).decode()
HUB = "bench-hub.azure-devices.net"
DRAIN_SECONDS = 240.0
AT_ONCE = 50


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident() -> float:
    """Return this process's resident memory in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024 / 1024


# The devices' process


async def devices(order: dict[str, Any]) -> None:
    """Run devices until the time is over; print how many messages each has sent."""
    limit_tls_buffers()
    gate = asyncio.Semaphore(AT_ONCE)
    context = TlsConfig(ca=order["ca"], only_ca=True).context()
    clients = [client(order, number, context) for number in range(order["devices"])]
    connecting = [asyncio.create_task(connect(of, gate)) for of in clients]
    await asyncio.gather(*connecting)
    print("ready", flush=True)
    until = time.monotonic() + order["seconds"]
    sent = await asyncio.gather(
        *(send(of, f"d{number}", until, order["devices"]) for number, of in enumerate(clients))
    )
    await asyncio.gather(*(of.disconnect() for of in clients))
    print(json.dumps(sent), flush=True)


def client(order: dict[str, Any], number: int, context: Any) -> AsyncClient:
    name = f"d{number}"
    return AsyncClient(
        f"wss://127.0.0.1:{order['port']}/$iothub/websocket",
        client_id=name,
        username=build_username(HUB, name),
        password=lambda: sign_token(f"{HUB}/devices/{name}", KEY, int(time.time()) + 3600, ""),
        clean_session=False,
        keep_alive=120,
        tls=context,
        proxy=None,
        reconnect=Backoff(first=0.05, limit=2.0),
    )


async def connect(device: AsyncClient, gate: asyncio.Semaphore) -> None:
    async with gate:
        await device.connect()


async def send(device: AsyncClient, name: str, until: float, of: int) -> int:
    """Send once a second, beginning at a moment of its own; return how many were confirmed."""
    number = 0
    receipts = []
    due = time.monotonic() + int(name[1:]) / of
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        body = json.dumps({"n": number, "t": 21.5}).encode()
        receipts.append(device.publish_nowait(telemetry_topic(name), body, qos=1))
        number += 1
        due += 1.0
    async with asyncio.timeout(DRAIN_SECONDS):
        for receipt in receipts:
            await receipt
    return number


# The hub's process


async def measure(count: int, seconds: float, cuts: float, seed: int) -> dict[str, Any]:
    """Serve devices for some time; return what it cost and what was lost."""
    limit_tls_buffers()
    with tempfile.TemporaryDirectory() as folder:
        records = str(Path(folder) / "records.sqlite")
        async with AsyncLocalHub(name=HUB, mqtts_port=None, records=records) as hub:
            await create(hub, count)
            row = await watched(hub, count, seconds, cuts, seed)
            for number in range(min(count, 50)):
                await hub.patch_twin(f"d{number}", desired={"n": number})
                await hub.send(f"d{number}", b"waits")
        async with AsyncLocalHub(name=HUB, mqtts_port=None, records=records) as hub:
            row["kept"] = await kept(hub, min(count, 50))
    return row


async def create(hub: AsyncLocalHub, count: int) -> None:
    names = iter(range(count))

    async def some() -> None:
        for number in names:
            await hub.create_device(f"d{number}", key=KEY_TEXT)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def watched(
    hub: AsyncLocalHub, count: int, seconds: float, cuts: float, seed: int
) -> dict[str, Any]:
    order = {
        "port": hub.wss_port,
        "ca": str(hub.dps.ca_file),
        "devices": count,
        "seconds": seconds,
    }
    before_memory = resident()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bench_hub", "--devices-of", json.dumps(order),
        stdout=subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    assert process.stdout is not None
    seen: Counter[tuple[str, int]] = Counter()
    reader = asyncio.create_task(read(hub, seen))
    connecting = cpu()
    assert (await process.stdout.readline()).strip() == b"ready"
    connected = {"connect_cpu_ms": (cpu() - connecting) * 1000 / count}
    connected["memory_kib"] = (resident() - before_memory) * 1024 / count
    began, used = time.monotonic(), cpu()
    made = [0]
    cutter = asyncio.create_task(cut(hub, count, cuts, random.Random(seed), made))
    sent = json.loads(await process.stdout.readline())
    took, used = time.monotonic() - began, cpu() - used
    cutter.cancel()
    await process.wait()
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(cutter, reader, return_exceptions=True)
    wanted = {(f"d{device}", n) for device, number in enumerate(sent) for n in range(number)}
    return {
        "devices": count,
        "seconds": round(took, 1),
        "messages": len(wanted),
        "lost": len(wanted - seen.keys()),
        "twice": sum(number - 1 for number in seen.values()),
        "cuts": made[0],
        "cpu_percent": used / took * 100,
        "cpu_us_per_message": used / len(wanted) * 1e6,
        "memory_mib": resident(),
        **connected,
    }


async def cut(
    hub: AsyncLocalHub, count: int, share: float, chance: random.Random, made: list[int]
) -> None:
    """Cut a share of the connections each second."""
    while True:
        await asyncio.sleep(1.0)
        for _ in range(round(count * share)):
            made[0] += hub.drop(f"d{chance.randrange(count)}")


async def read(hub: AsyncLocalHub, seen: Counter[tuple[str, int]]) -> None:
    async for event in hub.events(0):
        if isinstance(event, Telemetry):
            seen[event.device_id, json.loads(event.payload)["n"]] += 1


async def kept(hub: AsyncLocalHub, count: int) -> int:
    """Return how many devices still have their session, queue and twin."""
    good = 0
    for number in range(count):
        record = await hub.core.load(hub.core.key(f"d{number}"))
        good += (
            record is not None
            and record.session.kept
            and [of.payload for of in record.queue.messages] == [b"waits"]
            and record.twin.desired.values == {"n": number}
        )
    return good


def render(kept_rows: dict[str, Any]) -> str:
    """Return the report."""
    lines = [
        "# What 2 000 devices cost one local hub",
        "",
        "One process serves the hub (SQLite records), another runs the devices over WSS; each",
        "sends one message of QoS 1 a second, and connections are cut at random. Made by",
        "`python -m benchmarks.bench_hub`; " + kept_rows["machine"] + ".",
        "",
        "| devices | seconds | messages | lost | came twice | connections cut | CPU of one core"
        " | CPU a message | memory a connected device | memory of the process | CPU a connect"
        " | kept over a restart |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['devices']} | {row['seconds']:.0f} | {row['messages']} | {row['lost']}"
        f" | {row['twice']} | {row['cuts']} | {row['cpu_percent']:.0f} %"
        f" | {row['cpu_us_per_message']:.0f} µs | {row['memory_kib']:.0f} KiB"
        f" | {row['memory_mib']:.0f} MiB | {row['connect_cpu_ms']:.1f} ms | {row['kept']} of"
        f" {min(row['devices'], 50)} |"
        for row in kept_rows["rows"]
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--cuts", type=float, default=0.005, help="share of connections a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--devices-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.devices_of:
        asyncio.run(devices(json.loads(given.devices_of)))
        return
    row = asyncio.run(measure(given.devices, given.seconds, given.cuts, given.seed))
    print(json.dumps(row))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    result = {"machine": machine, "rows": [row]}
    HERE.joinpath("hub.json").write_text(json.dumps(result, indent=1) + "\n")
    HERE.joinpath("hub.md").write_text(render(result))


if __name__ == "__main__":
    main()
