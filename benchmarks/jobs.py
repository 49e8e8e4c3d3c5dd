"""One measurement in a process of its own: ``python -P jobs.py NAME ARGUMENTS...`` prints JSON.

Runs on whichever ``mqttws`` the path leads to, this tree's or that of a commit before it, so it
uses only what both have. What it does not measure, a server, is another process. Times are CPU, in
milliseconds, where nothing else is said.
"""

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

MEBIBYTE = bytes(range(256)) * 4096
TOPIC = "plant/7/line/3/sensor/21"
SMALL = b"x" * 64


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def resident() -> float:
    """Return this process's resident memory in MiB (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def pin(which: Any) -> None:
    """Stay on the first (``min``) or the last (``max``) processor: the ends do not meet on one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {which(os.sched_getaffinity(0))})


# A client of large and of small messages


def client_of(kind: str, place: dict[str, Any]) -> Any:
    import mqttws

    return getattr(mqttws, kind)(
        f"wss://127.0.0.1:{place['mqtt tls']}/mqtt",
        client_id="bench",
        tls=mqttws.TlsConfig(ca=place["ca"], only_ca=True),
        max_packet_size=4 * 2**20,
    )


async def large_out(place: dict[str, Any], count: int) -> float:
    """Return the CPU of a publish of 1 MiB, QoS 1, from the call until its answer."""
    client = client_of("AsyncClient", place)
    await client.connect()
    for _ in range(3):
        await client.publish(TOPIC, MEBIBYTE, qos=1)
    before = cpu()
    for _ in range(count):
        await client.publish(TOPIC, MEBIBYTE, qos=1)
    used = cpu() - before
    await client.disconnect()
    return used / count


async def large_in(place: dict[str, Any], count: int) -> float:
    """Return the CPU of a message of 1 MiB that comes, QoS 0."""
    client = client_of("AsyncClient", place)
    await client.connect()
    await client.subscribe("large")
    messages = client.messages()
    used = 0.0
    for number in range(count + 3):
        before = cpu()
        await client.publish("send", b"", qos=0)
        message = await anext(messages)
        if number >= 3:
            used += cpu() - before
        assert message.payload == MEBIBYTE
        del message
    await client.disconnect()
    return used / count


async def timed_async(place: dict[str, Any], count: int) -> float:
    client = client_of("AsyncClient", place)
    await client.connect()
    least = float("inf")
    for _ in range(count):
        began = time.perf_counter()
        await client.publish(TOPIC, SMALL, qos=1)
        least = min(least, time.perf_counter() - began)
    await client.disconnect()
    return least


def beyond(place: dict[str, Any], count: int) -> float:
    """Return the microseconds that ``Client`` adds to a lone publish, QoS 1, and its answer."""
    alone = asyncio.run(timed_async(place, count))
    least = float("inf")
    with client_of("Client", place) as client:
        for _ in range(count):
            began = time.perf_counter()
            client.publish(TOPIC, SMALL, qos=1)
            least = min(least, time.perf_counter() - began)
    return (least - alone) * 1e6


# A device that registers, beside the official SDK


def register_with_ours(place: dict[str, Any]) -> Any:
    import mqttws

    tls = mqttws.TlsConfig(ca=place["ca"], only_ca=True)
    key = mqttws.SymmetricKey("device", place["key"])
    return mqttws.provision(place["scope"], key, host="localhost", port=443, tls=tls)


def register_with_theirs(place: dict[str, Any]) -> Any:
    from azure.iot.device import ProvisioningDeviceClient

    client = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host="localhost",
        registration_id="device",
        id_scope=place["scope"],
        symmetric_key=place["key"],
        websockets=True,
        server_verification_cert=Path(place["ca"]).read_text(),
    )
    found = client.register()
    assert found.status == "assigned"
    return client


REGISTER = {"mqttws": register_with_ours, "azure-iot-device": register_with_theirs}


def registered(library: str, place: dict[str, Any]) -> dict[str, Any]:
    """Register once; return what that took, with and without what was imported for it."""
    for name in place.get("modules", {}).get(library, ()):
        import_module(name)
    before = cpu()
    kept = REGISTER[library](place)
    after = cpu()
    del kept
    return {
        "registration": after - before,
        "with imports": after,
        "resident": resident(),
        "modules": [name for name in sys.modules if name not in ("__main__", "__mp_main__")],
    }


async def serve_dps() -> None:
    """Be the service, on the SDK's only ports."""
    from mqttws import AsyncLocalDps

    pin(min)
    async with AsyncLocalDps(host="localhost", wss_port=443, mqtts_port=8883, retry_after=0) as dps:
        key = await dps.enroll_device("device")
        print(json.dumps({"scope": dps.id_scope, "ca": str(dps.ca_file), "key": key}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def registrations(rounds: int) -> dict[str, Any]:
    """Register in turns, each in a new process; runs where the ports are free."""
    own = [sys.executable, "-P", __file__]
    with subprocess.Popen(
        [*own, "serve-dps"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        place: dict[str, Any] = json.loads(service.stdout.readline())

        def ask(library: str) -> dict[str, Any]:
            words = [*own, "registered", library, json.dumps(place)]
            found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            return dict(json.loads(found.splitlines()[-1]))

        modules = {library: ask(library)["modules"] for library in REGISTER}
        found: dict[str, Any] = {"modules": modules}
        for _ in range(rounds):
            for library in REGISTER:
                place.pop("modules", None)
                cold = ask(library)
                place["modules"] = modules
                warm = ask(library)
                for name, value in (
                    ("registration", warm["registration"]),
                    ("with imports", cold["with imports"]),
                    ("resident", cold["resident"]),
                ):
                    found.setdefault(name, {}).setdefault(library, []).append(value)
        service.stdin.close()
    return found


def main() -> None:
    name, *words = sys.argv[1:]
    if name == "serve-dps":
        asyncio.run(serve_dps())
        return
    if name == "registrations":
        print(json.dumps(registrations(int(words[0]))))
        return
    pin(max)
    if name == "registered":
        print(json.dumps(registered(words[0], json.loads(words[1]))), flush=True)
        os._exit(0)  # how a program ends is not the question
    place, count = json.loads(words[0]), int(words[1])
    if name == "beyond":
        found = beyond(place, count)
    else:
        found = asyncio.run({"large-out": large_out, "large-in": large_in}[name](place, count))
    print(json.dumps(found))


main()
