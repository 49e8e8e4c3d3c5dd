"""What does a device program cost beside azure-iot-device? ``python -m benchmarks.hub_client``.

The same device program on ``mqttws`` and on the official SDK, each with its asyncio client and with
its synchronous one: it serves a method, takes messages and desired properties, and sends telemetry,
over MQTT and TLS on port 8883, as the SDK knows no other. The programs run in turns, each in a
process of its own, against one local hub, in a network namespace (Linux). Asked is: CPU for a
telemetry message that is waited for, CPU of a reconnect, resident memory of the idle program, and
the time from the process's start until the hub has confirmed its first message. Writes
hub_client.json and hub_client.md.
"""

import argparse
import asyncio
import compileall
import json
import os
import platform
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "hub_client.json"
REPORT = HERE / "hub_client.md"

LIBRARIES = ("mqttws", "azure-iot-device")
PROGRAMS = tuple((library, style) for style in ("asyncio", "sync") for library in LIBRARIES)
DEVICE = "device-1"
MESSAGES = 1000
RECONNECTS = 10
ROUNDS = 5

SILENCE = 30.0
"""Seconds without a word after which a device program hangs; each of its jobs takes few."""

ATTEMPTS = 3
"""Processes that are run for a row of theirs, if all but the last one hang."""

ROWS = {
    "telemetry": ("CPU per telemetry message", "µs", 0.3),
    "reconnect": ("CPU of a reconnect", "ms", 0.6),
    "resident": ("resident memory, idle", "MiB", 0.9),
    "start": ("start to first message", "ms", 0.8),
    "resumed": ("CPU of a reconnect, TLS resumed", "ms", None),
}
"""By name: the figure, its unit, and the goal as a part of azure-iot-device's; None for none."""

REMARKS = (
    "A synchronous telemetry message is what the asyncio client needs, and the passage to the",
    "event loop's thread and back, some 40 µs: two switches between threads, a pipe that wakes the",
    "loop, and a turn of it more. To send it within the turn that takes it over, and to wake the",
    "caller before the loop's next turn, was tried: together it saved 2 to 5 %.",
    "",
    "The CPU of one reconnect of the asyncio client, by the turns of its loop (medians of 30 on a",
    "busy machine, where all of it took 3.8 to 5 ms; the rest is the loop's own):",
    "",
    "| part | ms |",
    "| --- | --- |",
    "| the old connection's end | 0.3 |",
    "| settings, proxy, name | 0.5 |",
    "| TCP | 0.3 |",
    "| TLS: its objects, and the client's first message | 0.4 |",
    "| TLS: the server's answer, its certificate checked | 0.8 |",
    "| CONNECT, CONNACK, and the connection taken into use | 0.5 |",
    "| subscriptions | 0.3 |",
    "| the twin read again | 0.2 |",
    "| the message | 0.3 |",
    "",
    "Only mqttws reads the twin again: a change may have been missed without a connection.",
)
"""The report's last word about the goals."""


class Hung(Exception):
    """A device program that has said nothing for ``SILENCE`` seconds, or has ended."""


async def measure(
    library: str, style: str, hub: Any, place: dict[str, str], *, resumed: bool = False
) -> dict[str, float]:
    """Run one device program and return its row; the ``resumed`` figure alone, or the others.

    Raises:
        Hung: there is no row.
    """
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.hub_client_device", library, style,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HERE.parent,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    async def said() -> Any:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(SILENCE):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise Hung(f"{library} {style}")
        return json.loads(line)

    async def answer(question: object) -> Any:
        assert process.stdin is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        while (line := await said()) == "cut":
            hub.drop(DEVICE)
        return line

    try:
        assert await answer(place) == "first"
        found = {"start": (time.perf_counter() - began) * 1e3}
        await answer(["telemetry", MESSAGES // 10])  # warm
        if resumed:
            return {"resumed": await answer(["reconnect", RECONNECTS])}
        found["telemetry"] = await answer(["telemetry", MESSAGES])
        found["resident"] = await answer(["resident"])
        found["reconnect"] = await answer(["reconnect", RECONNECTS])
        return found
    finally:
        process.kill()  # the figures are here; how a program ends is not the question
        await process.wait()


async def measure_again(
    hangs: Counter[str], library: str, style: str, hub: Any, place: dict[str, str], **options: bool
) -> dict[str, float]:
    """Return a program's row; count each program of theirs that hangs, and run another one.

    Raises:
        Hung: one of ours did, or ``ATTEMPTS`` of theirs one after the other.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return await measure(library, style, hub, place, **options)
        except Hung:
            if library == "mqttws" or not left:
                raise
            hangs[f"{library} {style}"] += 1
    raise AssertionError("not reached")


@asynccontextmanager
async def resuming_front(hub: Any) -> AsyncIterator[str]:
    """Be the end of TLS on port 8883 before a hub, with session tickets; yield its CA's file."""
    from mqttws.local.certificates import prepare_certificates
    from tests.chaos import Relay

    with TemporaryDirectory() as folder:
        certificates = prepare_certificates(Path(folder), ["localhost"])
        front = Relay(hub.dps.mqtts_port)
        front.tls_behind = ssl.create_default_context(cafile=str(hub.dps.ca_file))
        server = await asyncio.start_server(
            front.started, "localhost", 8883, ssl=certificates.context()
        )
        try:
            yield str(certificates.ca_file)
        finally:
            server.close()
            await front.stop()


async def run(rounds: int) -> dict[str, Any]:
    """Run the programs in turns and return every figure."""
    from mqttws import AsyncLocalHub
    from mqttws.wire import COMPILED

    runs: dict[str, list[dict[str, float]]] = {" ".join(program): [] for program in PROGRAMS}
    hangs: Counter[str] = Counter()
    async with AsyncLocalHub(host="localhost", wss_port=443, mqtts_port=8883) as hub:
        await hub.create_device(DEVICE)
        place = {
            "connection_string": await hub.connection_string(DEVICE),
            "ca": str(hub.dps.ca_file),
        }
        for _ in range(rounds):
            for library, style in PROGRAMS:
                found = await measure_again(hangs, library, style, hub, place)
                runs[f"{library} {style}"].append(found)
    async with AsyncLocalHub(host="localhost", wss_port=443, mqtts_port=0) as hub:
        await hub.create_device(DEVICE)
        async with resuming_front(hub) as ca:
            place = {"connection_string": await hub.connection_string(DEVICE), "ca": ca}
            for number in range(rounds):
                for library in LIBRARIES:
                    found = await measure_again(hangs, library, "sync", hub, place, resumed=True)
                    runs[f"{library} sync"][number] |= found
    return {
        "runs": runs,
        "hangs": hangs,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f},"
        f" Python {platform.python_version()}, {ssl.OPENSSL_VERSION},"
        f" {'compiled' if COMPILED else 'pure'} codec",
        "versions": {library: version(library) for library in LIBRARIES},
        "messages": MESSAGES,
        "reconnects": RECONNECTS,
        "date": time.strftime("%Y-%m-%d"),
        "commit": os.environ.get("COMMIT", ""),
    }


def render(kept: dict[str, Any]) -> str:
    """Return the report of what was measured."""
    rounds = len(next(iter(kept["runs"].values())))
    lines = [
        "# A device program beside azure-iot-device",
        "",
        "The same device program (a method, messages, desired properties, telemetry) on mqttws and",
        "on the official SDK, MQTT over TLS on port 8883 against one local hub, each with its",
        f"asyncio and its synchronous client. {rounds} rounds in turns, each in a new process; the",
        "smallest figure of each, the median in brackets. CPU and memory are those of the device's",
        "process, which loads nothing of the benchmark.",
    ]
    for style in ("asyncio", "sync"):
        ours, theirs = (kept["runs"][f"{library} {style}"] for library in LIBRARIES)
        lines += [
            "",
            f"| {style} | mqttws | azure-iot-device | ratio | goal | |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, (title, unit, goal) in ROWS.items():
            if name not in ours[0]:
                continue
            mine, other = [row[name] for row in ours], [row[name] for row in theirs]
            ratio = min(mine) / min(other)
            end = "" if goal is None else "reached" if ratio <= goal else "not reached"
            lines.append(
                f"| {title} | {min(mine):.1f} ({median(mine):.1f}) {unit}"
                f" | {min(other):.1f} ({median(other):.1f}) {unit} | {ratio:.2f} | {goal or ''} |"
                f" {end} |"
            )
    versions = ", ".join(f"{name} {found}" for name, found in kept["versions"].items())
    hangs = (
        ", ".join(f"{count} of {name}" for name, count in kept.get("hangs", {}).items()) or "none"
    )
    commit = f", commit {kept['commit']}" if kept.get("commit") else ""
    lines += [
        "",
        "A telemetry message is confirmed by the hub before the next one is sent;",
        f"{kept['messages']} of them are averaged. A reconnect follows a cut by the hub and ends",
        f"with a confirmed message; {kept['reconnects']} are averaged. mqttws speaks TLS 1.3 here,",
        "azure-iot-device TLS 1.2, its only one. Programs that hung and were run again:",
        f"{hangs}.",
        "",
        "The local hub resumes no TLS session. By public sources IoT Hub does not either: its",
        "servers were seen to ignore it (Azure/azure-c-shared-utility#64, 2017), and the SDK of",
        "nRF Connect turned it off for that reason (nrfconnect/sdk-nrf#3962, 2021). The row of",
        "resumed sessions is for a server that does: a TLS end that sends session tickets stands",
        "before the hub. azure-iot-device resumes none. CPU is not saved by it: to read the",
        "session from OpenSSL takes as long as the checks that it spares.",
        "",
        *REMARKS,
        "",
        f"Command for every row: `python -m benchmarks.hub_client --rounds {rounds}`.",
        f"{kept['date']}{commit}, {versions},",
        f"{kept['machine']}. With a load above the number of cores the times to the first message",
        "say little.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Be what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    if given.inside:
        kept = asyncio.run(run(given.rounds))
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        REPORT.write_text(render(kept))
        print(REPORT.read_text())
    else:
        from tests.namespace import in_namespace

        head = subprocess.run(
            ["git", "log", "-1", "--format=%h", "--", "mqttws"],
            capture_output=True,
            check=False,
            cwd=HERE.parent,
        )
        os.environ["COMMIT"] = head.stdout.decode().strip()
        for package in ("mqttws", "benchmarks"):  # as pip does when it installs the SDK
            compileall.compile_dir(HERE.parent / package, quiet=1)
        own = [sys.executable, "-m", "benchmarks.hub_client", "--inside", "--rounds"]
        sys.exit(subprocess.run(in_namespace([*own, str(given.rounds)]), check=False).returncode)


if __name__ == "__main__":
    main()
