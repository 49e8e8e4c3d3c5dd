"""How many round trips does a registration take, and how long on a slow link?

``python -m benchmarks.round_trips`` (as root: the official SDK knows ports 443 and 8883 only). Each
candidate registers with the local DPS through a relay that delays every byte by half a round trip
in each direction, over both transports, one after the other in each round. A round trip is counted
each time the device sends after it has received; DISCONNECT, which follows the last answer, is
sent and not waited for. TCP is not part of it: the relay accepts at once.
"""

import asyncio
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mqttws import AsyncLocalDps, SymmetricKey, TlsConfig, provision_async
from mqttws.net.sessions import SESSIONS

ROUND_TRIP = 0.3
"""Seconds."""

ROUNDS = 3

PORTS = {"wss": 443, "mqtts": 8883}

GOALS = {
    ("mqttws", "wss"): 6,
    ("mqttws pipelined subscribe", "wss"): 5,
    ("mqttws pipelined register", "wss"): 4,
    ("mqttws TLS 1.2", "wss"): 7,
    ("mqttws TLS 1.2 resumed", "wss"): 6,
    ("mqttws", "mqtts"): 5,
    ("mqttws pipelined subscribe", "mqtts"): 4,
    ("mqttws pipelined register", "mqtts"): 3,
    ("mqttws TLS 1.2", "mqtts"): 6,
    ("mqttws TLS 1.2 resumed", "mqtts"): 5,
}
"""Round trips after TCP, over TLS 1.3 where nothing else is said, DISCONNECT not counted."""


class SlowLink:
    """A relay that delays all bytes, and counts how often the client sends after receiving."""

    def __init__(self, target: int) -> None:
        self.turns = 0
        self._target = target
        self._clients_turn = True
        self._tasks: set[asyncio.Task[None]] = set()

    def reset(self) -> None:
        """Count anew."""
        self.turns, self._clients_turn = 0, True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        answers, far = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(
                self._carry(reader, far, self._note_sent),
                self._carry(answers, writer, self._note_received),
            )
        except OSError:
            pass
        finally:
            far.close()
            writer.close()

    def _note_sent(self) -> None:
        if self._clients_turn:
            self.turns += 1
        self._clients_turn = False

    def _note_received(self) -> None:
        self._clients_turn = True

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await on_the_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    writer.write_eof()
                    return
                if note == self._note_received:
                    note()  # the client has it now
                writer.write(data)

        delivering = loop.create_task(deliver())
        try:
            while True:
                data = await reader.read(65536)
                if data and note == self._note_sent:
                    note()
                on_the_way.put_nowait((loop.time() + ROUND_TRIP / 2, data))
                if not data:
                    break
            await delivering
        finally:
            delivering.cancel()


@asynccontextmanager
async def slow_links(dps: AsyncLocalDps) -> AsyncIterator[dict[str, SlowLink]]:
    """Run a relay before each of the service's ports."""
    links = {"wss": SlowLink(dps.wss_port or 0), "mqtts": SlowLink(dps.mqtts_port or 0)}
    servers = [
        await asyncio.start_server(link.serve, "127.0.0.1", PORTS[name])
        for name, link in links.items()
    ]
    try:
        yield links
    finally:
        for server in servers:
            server.close()


async def ours(
    dps: AsyncLocalDps,
    key: str,
    transport: str,
    *,
    pipelined: str | None = None,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    resumed: bool = False,
) -> None:
    """Register with mqttws."""
    if not resumed:
        SESSIONS.forget()
    assigned = await provision_async(
        dps.id_scope,
        SymmetricKey("device", key),
        host="127.0.0.1",
        transport=transport,  # type: ignore[arg-type]
        pipelined=pipelined,  # type: ignore[arg-type]
        tls=TlsConfig(ca=dps.ca_file, only_ca=True, maximum_version=version),
        proxy=None,
    )
    assert assigned.device_id == "device"


SDK = """
import os, sys
from azure.iot.device import ProvisioningDeviceClient
scope, key, ca, websockets = sys.argv[1:]
client = ProvisioningDeviceClient.create_from_symmetric_key(
    provisioning_host="localhost", registration_id="device", id_scope=scope, symmetric_key=key,
    websockets=websockets == "wss", server_verification_cert=open(ca).read())
print("begin", flush=True)
sys.stdin.readline()
assert client.register().status == "assigned"
print("end", flush=True)
os._exit(0)
"""


async def sdk(dps: AsyncLocalDps, key: str, transport: str) -> float:
    """Register with the official SDK; return the seconds without the start of its process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SDK, dps.id_scope, key, str(dps.ca_file), transport),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begin\n"
    began = time.perf_counter()
    process.stdin.write(b"\n")
    assert await process.stdout.readline() == b"end\n"
    took = time.perf_counter() - began
    await process.wait()
    return took


async def measure() -> None:
    """Print a table: round trips, seconds, and the goal, for each candidate and transport."""
    candidates: dict[str, Callable[[AsyncLocalDps, str, str], Awaitable[float | None]]] = {
        "mqttws": ours,
        "mqttws pipelined subscribe": partial(ours, pipelined="subscribe"),
        "mqttws pipelined register": partial(ours, pipelined="register"),
        "mqttws TLS 1.2": partial(ours, version=ssl.TLSVersion.TLSv1_2),
        "mqttws TLS 1.2 resumed": partial(ours, version=ssl.TLSVersion.TLSv1_2, resumed=True),
        "azure-iot-device": sdk,
    }
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    with TemporaryDirectory() as state:
        dps = AsyncLocalDps(state=Path(state), retry_after=0)
        async with dps, slow_links(dps) as links:
            key = await dps.enroll_device("device")
            for _ in range(ROUNDS):
                for transport, link in links.items():
                    for name, register in candidates.items():
                        link.reset()
                        began = time.perf_counter()
                        took = await register(dps, key, transport)
                        took = took or time.perf_counter() - began
                        await asyncio.sleep(2 * ROUND_TRIP)  # what is left on the way
                        found.setdefault((name, transport), []).append((link.turns, took))
    print(f"a round trip of {ROUND_TRIP * 1000:.0f} ms; the least of {ROUNDS} interleaved rounds")
    print(f"{'':<28}{'':<7}{'round trips':>12}{'goal':>6}{'seconds':>9}")
    for (name, transport), runs in sorted(found.items(), key=lambda item: item[0][1]):
        # The last turn is DISCONNECT's: sent when the assignment has come.
        counts = sorted({turns - 1 for turns, _ in runs})
        goal = GOALS.get((name, transport))
        reached = "" if goal is None else str(goal)
        trips = "/".join(map(str, counts))
        seconds = min(took for _, took in runs)
        print(f"{name:<28}{transport:<7}{trips:>12}{reached:>6}{seconds:>9.2f}")


if __name__ == "__main__":
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        sys.exit("root is needed for ports 443 and 8883")
    asyncio.run(measure())
