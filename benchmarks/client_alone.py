"""One client without load, in a process of its own: ``python -m benchmarks.client_alone WHAT``.

Knows the questions that are not about many messages: how long a lone publish takes, what an idle
connection holds in memory, what an import costs. Prints the answer as JSON.
"""

import argparse
import asyncio
import gc
import json
import os
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.client_candidates import PAYLOAD, TOPIC

URL = "{scheme}://127.0.0.1:{port}/mqtt"


async def _timed(call: Callable[[], Awaitable[object]], times: list[float]) -> None:
    began = time.perf_counter()
    await call()
    times.append(time.perf_counter() - began)


async def round_trips(place: dict[str, Any], count: int) -> dict[str, float]:
    """Time a lone QoS 1 publish and a bare echo of as many bytes, in turns, microseconds."""
    from websockets.asyncio.client import connect

    import mqttws
    from mqttws.wire import Publish

    packet = Publish(TOPIC, PAYLOAD, 1, packet_id=1).encode()
    bare = await connect(URL.format(scheme="ws", port=place["echo"]), compression=None)
    client = mqttws.AsyncClient(URL.format(scheme="ws", port=place["mqtt"]))
    await client.connect()

    async def echo() -> None:
        await bare.send(packet)
        await bare.recv()

    async def publish() -> None:
        await client.publish(TOPIC, PAYLOAD, qos=1)

    echoes: list[float] = []
    publishes: list[float] = []
    for _ in range(count):
        await _timed(echo, echoes)
        await _timed(publish, publishes)
    await client.disconnect()
    await bare.close()
    return _micro(echoes, "echo") | _micro(publishes, "publish")


def blocking_calls(place: dict[str, Any], count: int) -> dict[str, float]:
    """Time a lone blocking publish of the sync client, one after the other, and its CPU time."""
    import mqttws

    times = []
    with mqttws.Client(URL.format(scheme="ws", port=place["mqtt"])) as client:
        client.publish(TOPIC, PAYLOAD, qos=1)
        spent = time.process_time()
        for _ in range(count):
            began = time.perf_counter()
            client.publish(TOPIC, PAYLOAD, qos=1)
            times.append(time.perf_counter() - began)
        spent = time.process_time() - spent
    return _micro(times, "blocking") | {"blocking CPU": spent / count * 1e6}


def _micro(times: list[float], name: str) -> dict[str, float]:
    return {name: statistics.median(times) * 1e6, f"{name}, least": min(times) * 1e6}


def resident() -> float:
    """Return this process's resident memory in KiB (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


async def memory(place: dict[str, Any], kind: str, count: int) -> dict[str, float]:
    """Return KiB of resident memory for each of ``count`` idle connections over TLS."""
    kept: list[Any] = []
    context = ssl.create_default_context(cafile=place["ca"])
    what = "mqtt tls" if kind == "mqttws" else "echo tls"
    url = URL.format(scheme="wss", port=place[what])

    async def one() -> None:
        if kind == "mqttws":
            import mqttws

            client = mqttws.AsyncClient(url, tls=context)
            await client.connect()
            await client.publish(TOPIC, PAYLOAD, qos=1)
            kept.append(client)
        else:
            from websockets.asyncio.client import connect

            bare = await connect(url, ssl=context, compression=None, ping_interval=None)
            await bare.send(PAYLOAD)
            await bare.recv()
            kept.append(bare)

    for _ in range(20):  # what is there once does not count
        await one()
    before = resident()
    for _ in range(count):
        await one()
    await asyncio.sleep(0.1)
    after = resident()
    close: Callable[[Any], Awaitable[None]] = (
        (lambda each: each.disconnect()) if kind == "mqttws" else (lambda each: each.close())
    )
    await asyncio.gather(*map(close, kept))
    return {kind: (after - before) / count}


IMPORTS = {
    "websockets": "import websockets.asyncio.client",
    "mqttws": "import mqttws",
    "mqttws.AsyncClient": "import mqttws; mqttws.AsyncClient",
    "mqttws.Client": "import mqttws; mqttws.Client",
}


def main() -> None:
    """Print one answer."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=["round-trips", "blocking", "memory"])
    options.add_argument("--name", default="")
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--place", default="{}", help="what client_server printed")
    given = options.parse_args()
    place = json.loads(given.place)
    if given.what == "round-trips":
        print(json.dumps(asyncio.run(round_trips(place, given.count))))
    elif given.what == "blocking":
        print(json.dumps(blocking_calls(place, given.count)))
    else:
        print(json.dumps(asyncio.run(memory(place, given.name, given.count))))


if __name__ == "__main__":
    main()
