"""Asks what a window costs and brings: ``python -m benchmarks.client_window``.

Messages per second that the asyncio client publishes through mosquitto, for windows of 20, 100 and
1000 messages in flight and round trips of 0, 50 and 300 ms, which a relay adds. Prints a table, and
writes it to client_window.md.
"""

import asyncio
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mqttws
from benchmarks.client import await_port, free_port

WINDOWS = (20, 100, 1000)
ROUND_TRIPS = (0.0, 0.05, 0.3)
PAYLOAD = b"x" * 64
LONGEST = 1.5
"""Seconds about which each cell takes at most."""


class Delay(asyncio.Protocol):
    """Passes bytes on, each half a round trip later."""

    def __init__(self, seconds: float, port: int) -> None:
        self._seconds = seconds
        self._port = port
        self._other: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._port:
            self._task = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        far, protocol = await loop.create_connection(
            lambda: Delay(self._seconds, 0), "127.0.0.1", self._port
        )
        protocol._other = self._transport  # type: ignore[assignment]
        self._other = far
        for data in self._early:
            far.write(data)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        elif self._seconds:
            asyncio.get_running_loop().call_later(self._seconds / 2, self._other.write, data)
        else:
            self._other.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None:
            self._other.close()


@asynccontextmanager
async def delayed(port: int, seconds: float) -> AsyncIterator[int]:
    """Run the relay; yields its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Delay(seconds, port), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def rate(port: int, seconds: float, window: int, qos: int) -> float:
    """Return the messages per second of one cell."""
    trips = 2 if qos == 2 else 1
    expected = window / (seconds * trips) if seconds else 10_000
    count = max(window, min(20_000, int(expected * LONGEST)))
    async with (
        delayed(port, seconds) as way,
        mqttws.AsyncClient(
            f"mqtt://127.0.0.1:{way}",
            max_in_flight=window,
            max_in_flight_qos2=window,
            max_outgoing=30_000,
            request_timeout=60,
        ) as client,
    ):
        await client.publish("t", PAYLOAD, qos=qos)
        began = time.perf_counter()
        receipts = [client.publish_nowait("t", PAYLOAD, qos=qos) for _ in range(count)]
        for receipt in receipts:
            await receipt
        return count / (time.perf_counter() - began)


async def measure(port: int) -> str:
    lines = [
        "# What a window brings",
        "",
        "Written by `python -m benchmarks.client_window`: messages per second that the asyncio"
        " client",
        "publishes through mosquitto (64 bytes, plain TCP), by the window and the round trip that a"
        " relay adds.",
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "",
        "| QoS | window | " + " | ".join(f"{trip * 1000:g} ms" for trip in ROUND_TRIPS) + " |",
        "| ---: | ---: | " + "---: | " * len(ROUND_TRIPS),
    ]
    for qos in (1, 2):
        for window in WINDOWS:
            found = [await rate(port, trip, window, qos) for trip in ROUND_TRIPS]
            cells = " | ".join(f"{one:,.0f}".replace(",", " ") for one in found)
            lines.append(f"| {qos} | {window} | {cells} |")
            print(lines[-1], flush=True)
    lines += [
        "",
        "The client's own windows are 100 for QoS 1 and 2 together and 20 for QoS 2, mosquitto's"
        " limit.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run mosquitto without a limit of its own, and ask."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        raise SystemExit("mosquitto is not installed; the benchmark is measured against it")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(
            "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
            f"set_tcp_nodelay true\nlistener {port} 127.0.0.1\n"
        )
        with subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL) as process:
            try:
                await_port(port)
                page = asyncio.run(measure(port))
            finally:
                process.terminate()
    Path(__file__).with_name("client_window.md").write_text(page)


if __name__ == "__main__":
    main()
