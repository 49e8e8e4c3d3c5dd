"""What does a registration cost, and how does it grow? ``python -m benchmarks.bench_provisioning``.

One service process on one core, devices in others, over WSS. Asks four questions: what a
registration costs the service and the devices with 10, 100 and 1 000 of them at once; what 2 000
devices cost that register and stay connected, with asyncio's TLS buffers as they are and smaller;
what a registration costs a device beside the official Python SDK, one after the other in turns; and
what the imports cost. Writes provisioning.json and provisioning.md. The SDK knows no other ports
than 443 and 8883, so that question is asked in a network namespace, and needs Linux.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mqttws import AsyncClient, AsyncLocalDps, SymmetricKey, TlsConfig, provision, provision_async
from mqttws.dps.names import build_username
from mqttws.dps.registration import Registration
from mqttws.dps.topics import RESPONSE_FILTER, Message
from mqttws.net.stream import limit_tls_buffers

HERE = Path(__file__).parent
COUNTS = (10, 100, 1000)
HELD = 2000
PROCESSES = 4
AT_ONCE = 50
"""Devices of one process that connect at the same time; all of them are connected in the end."""

GOAL_CPU = 6.0
GOAL_MEMORY = {"as it is": 320.0, "smaller": 100.0}
GOAL_DEVICE = 0.6


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident() -> int:
    """Return this process's resident memory in KiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


class Process:
    """A part of the benchmark in a process of its own: it answers a line of JSON with another."""

    def __init__(
        self, *words: str, command: tuple[str, ...] = (), place: tuple[str, Path] | None = None
    ) -> None:
        python, folder = place or (sys.executable, HERE.parent)
        own = [python, "-m", "benchmarks.bench_provisioning", *words]
        self._process = subprocess.Popen(
            [*command, *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )

    def tell(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, value: object = "used?") -> Any:
        self.tell(value)
        return self.answer()

    def end(self) -> None:
        self._process.communicate(timeout=60)


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.end()


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def heard() -> Any:
    """Return the next line that this process is told; None at the end."""
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return json.loads(line) if line else None


# The service's process


async def serve(buffers: str, *, ports: bool) -> None:
    """Be the service: enroll, then answer each line with what has been used."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if buffers == "smaller":
        limit_tls_buffers()  # as serve --with-hub does
    listening: dict[str, Any] = {"wss_port": 443, "mqtts_port": 8883} if ports else {}
    host = "localhost" if ports else "127.0.0.1"
    async with AsyncLocalDps(host=host, retry_after=0, **listening) as dps:
        count = await heard()
        keys = [await dps.enroll_device(f"device-{number}") for number in range(count)]
        place = {"host": dps.host, "port": dps.wss_port, "ca": str(dps.ca_file)}
        say(place | {"scope": dps.id_scope, "keys": keys})
        while await heard() is not None:
            say({"cpu": cpu(), "resident": resident()})


# The devices' processes


async def register(place: dict, number: int) -> None:
    """Register with a connection that ends with it."""
    found = await provision_async(
        place["scope"],
        SymmetricKey(f"device-{number}", place["keys"][number]),
        host=place["host"],
        port=place["port"],
        tls=TlsConfig(ca=place["ca"], only_ca=True),
        timeout=300,
        hop_timeout=120,
    )
    assert found.device_id == f"device-{number}"


async def stay(place: dict, number: int) -> AsyncClient:
    """Register, and keep the connection."""
    credential = SymmetricKey(f"device-{number}", place["keys"][number])
    client = AsyncClient(
        f"wss://{place['host']}:{place['port']}/$iothub/websocket",
        client_id=credential.registration_id,
        username=build_username(place["scope"], credential.registration_id),
        password=credential.password(place["scope"], time.time()),
        tls=TlsConfig(ca=place["ca"], only_ca=True),
        connect_timeout=300,
        hop_timeout=120,
        keep_alive=600,
        reconnect=None,
    )
    await client.connect()
    await client.subscribe(RESPONSE_FILTER, qos=1)
    messages = client.messages()
    registration = Registration(credential.registration_id, request_ids=map(str, range(1, 99)))
    request: Message | None = registration.start(time.monotonic())
    while not registration.done:
        if request is not None:
            await client.publish(request.topic, request.payload, qos=1)
            message = await anext(messages)
            registration.receive(Message(message.topic, message.payload), time.monotonic())
        request = registration.tick(max(time.monotonic(), registration.deadline or 0.0))
    assert registration.result is not None, registration.error
    return client


async def be_devices(first: int, count: int) -> None:
    """Be some devices: as told, let all register at once, or register and stay connected."""
    place = await heard()
    numbers = range(first, first + count)
    room = asyncio.Semaphore(AT_ONCE)

    async def come(number: int) -> AsyncClient:
        async with room:
            return await stay(place, number)

    clients: list[AsyncClient] = []
    await register(place, first)  # what happens once in a process does not count
    say("ready")
    while (order := await heard()) is not None:
        before = cpu()
        if order == "register":
            await asyncio.gather(*(register(place, number) for number in numbers))
        elif order == "stay":
            clients += await asyncio.gather(*(come(number) for number in numbers))
        say({"cpu": cpu() - before, "connected": sum(c.connected for c in clients)})
    await asyncio.gather(*(client.disconnect() for client in clients))


def measure(
    count: int,
    order: str,
    buffers: str,
    *,
    service: tuple[str, Path] | None = None,
    devices: tuple[str, Path] | None = None,
) -> dict[str, float]:
    """Return what ``count`` devices cost that do ``order`` at once.

    ``service`` and ``devices`` are interpreter and folder of another tree.
    """
    share = min(PROCESSES, max(1, count // 10))
    server = Process("--be", "service", buffers, place=service)
    clients = [
        Process(
            "--be",
            "devices",
            str(count // share * number),
            str(count // share),
            place=devices,
        )
        for number in range(share)
    ]
    with running(*clients, server):
        place = server.ask(count)
        for process in clients:
            process.tell(place)
        assert [process.answer() for process in clients] == ["ready"] * share
        before = server.ask()
        began = time.perf_counter()
        for process in clients:
            process.tell(order)
        used = [process.answer() for process in clients]
        took = time.perf_counter() - began
        after = server.ask()
    if order == "stay":
        assert sum(one["connected"] for one in used) == count
    return {
        "devices": count,
        "seconds": round(took, 2),
        "service_ms": round((after["cpu"] - before["cpu"]) * 1000 / count, 2),
        "device_ms": round(sum(one["cpu"] for one in used) * 1000 / count, 2),
        "kib": round((after["resident"] - before["resident"]) / count, 1),
    }


# Beside the official SDK


def register_with_sdk(place: dict, number: int, trust: str) -> None:
    from azure.iot.device import ProvisioningDeviceClient  # not installed everywhere

    options = {"server_verification_cert": Path(place["ca"]).read_text()} if trust == "ca" else {}
    client = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=place["host"],
        registration_id=f"device-{number}",
        id_scope=place["scope"],
        symmetric_key=place["keys"][number],
        websockets=True,
        **options,
    )
    assert client.register().status == "assigned"


def register_with_ours(place: dict, number: int, trust: str) -> None:
    tls = TlsConfig(ca=place["ca"], only_ca=True) if trust == "ca" else None
    credential = SymmetricKey(f"device-{number}", place["keys"][number])
    found = provision(place["scope"], credential, host=place["host"], port=place["port"], tls=tls)
    assert found.device_id == f"device-{number}"


def be_both(rounds: int) -> None:
    """Register in turns, ours and the SDK's, each with a fresh client; say what each used."""
    service = Process("--be", "service-on-ports")
    found: dict[str, list[float]] = {}
    with running(service):
        place = service.ask(2)
        # The system's roots and the local CA: what both trust when they are told nothing.
        roots = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as bundle:
            bundle.write(roots.read_text() + Path(place["ca"]).read_text())
            bundle.flush()
            os.environ["SSL_CERT_FILE"] = bundle.name
            for turn in range(rounds + 1):
                for trust in ("ca", "system"):
                    for name, one in (("ours", register_with_ours), ("sdk", register_with_sdk)):
                        before = cpu()
                        one(place, turn % 2, trust)
                        if turn:  # the first of each loads what is loaded once
                            found.setdefault(f"{name} {trust}", []).append(cpu() - before)
    say({name: sorted(used)[len(used) // 2] * 1000 for name, used in found.items()})


def beside_sdk(rounds: int) -> dict[str, float]:
    from tests.namespace import in_namespace

    process = Process("--be", "both", str(rounds), command=tuple(in_namespace([])))
    with running(process):
        return {name: round(used, 2) for name, used in process.answer().items()}


# Imports

IMPORTS = {
    "python alone": "pass",
    "import mqttws": "import mqttws",
    "mqttws.provision": "import mqttws; mqttws.provision",
    "azure.iot.device": "import azure.iot.device",
}


def imports(rounds: int) -> dict[str, float]:
    """Return the CPU milliseconds of fresh interpreters, in turns; the least counts."""
    least = dict.fromkeys(IMPORTS, 1e9)
    for _ in range(rounds):
        for name, statement in IMPORTS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", statement], check=True, cwd=HERE.parent)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            least[name] = min(least[name], used * 1000)
    return {name: round(used, 1) for name, used in least.items()}


# The report


def verdict(value: float, goal: float) -> str:
    return f"{value:g} (goal {goal:g}: {'holds' if value <= goal else 'MISSED'})"


def render(found: dict[str, Any]) -> str:
    lines = [
        "# What a registration costs",
        "",
        "Written by `python -m benchmarks.bench_provisioning`; the figures are this machine's:",
        f"Python {found['python']}, {found['openssl']}, {found['machine']}. The service is one",
        "process on one core; its CPU per registration has the TLS handshake, the WebSocket, the",
        "register request and one poll in it. Devices run in up to four other processes.",
        "",
        "| devices at once | service, CPU ms each | device, CPU ms each | all done in s |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for row in found["growth"]:
        cells = (row["devices"], verdict(row["service_ms"], GOAL_CPU), row["device_ms"])
        lines.append("| " + " | ".join(map(str, (*cells, row["seconds"]))) + " |")
    lines += [
        "",
        f"{HELD} devices that register and stay connected to one process. *As it is*: asyncio's",
        "TLS keeps a buffer of 256 KiB per connection, as in a program that uses `AsyncLocalDps`;",
        "*smaller*: 16 KiB, as in `serve --with-hub` (`net.stream.limit_tls_buffers`).",
        "",
        "| TLS buffer | service, resident KiB each | service, CPU ms each | all done in s |",
        "| --- | ---: | ---: | ---: |",
    ]
    for buffers, row in found["held"].items():
        cells = (buffers, verdict(row["kib"], GOAL_MEMORY[buffers]))
        cells += (verdict(row["service_ms"], GOAL_CPU), row["seconds"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "A device's CPU ms for one registration over WSS, each with a fresh client, in turns with",
        f"the official Python SDK (azure-iot-device {found['sdk_version']}) in one process;",
        "medians. Once a process has loaded the system's roots mqttws keeps them; the SDK loads",
        "them for each client.",
        "",
        "| trusted | mqttws | SDK | mqttws / SDK |",
        "| --- | ---: | ---: | --- |",
    ]
    sdk = found["sdk"]
    for trust, name in (("ca", "the local CA alone"), ("system", "the system's roots too")):
        ours, theirs = sdk[f"ours {trust}"], sdk[f"sdk {trust}"]
        ratio = round(ours / theirs, 2)
        said = verdict(ratio, GOAL_DEVICE) if trust == "ca" else f"{ratio:g}"
        lines.append(f"| {name} | {ours:g} | {theirs:g} | {said} |")
    lines += [
        "",
        "CPU ms of a fresh interpreter, the least of many in turns.",
        "",
        "| statement | CPU ms |",
        "| --- | ---: |",
    ]
    lines += [f"| {name} | {used:g} |" for name, used in found["imports"].items()]
    return "\n".join([*lines, ""])


def report(rounds: int) -> None:
    found = {
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "machine": f"{platform.system()}, {platform.machine()}",
        "sdk_version": version("azure-iot-device"),
        "imports": imports(rounds),
        "sdk": beside_sdk(rounds),
        "growth": [measure(count, "register", "smaller") for count in COUNTS],
        "held": {buffers: measure(HELD, "stay", buffers) for buffers in GOAL_MEMORY},
    }
    (HERE / "provisioning.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "provisioning.md").write_text(render(found))
    print(render(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--be", nargs="*", default=(), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=20, help="turns of what is done in turns")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    match list(options.be):
        case ["service", buffers]:
            asyncio.run(serve(buffers, ports=False))
        case ["service-on-ports"]:
            asyncio.run(serve("smaller", ports=True))
        case ["devices", first, count]:
            asyncio.run(be_devices(int(first), int(count)))
        case ["both", rounds]:
            be_both(int(rounds))
        case _:
            report(options.rounds)


if __name__ == "__main__":
    main()
