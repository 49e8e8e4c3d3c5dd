"""CPU of the service for one registration: several trees and stores, in turns.

``python -m tests.local.cpu ROUNDS DEVICES NAME=TREE[=RECORDS]…``; RECORDS is ``sqlite`` or
``postgres``. Starts ``mqttws serve`` in each tree, registers the devices over mqtts, and prints the
least and the median of the server's CPU time for one, each with its ratio to the first name's. On a
busy machine, run it under ``taskset -c 1``: a process that stays on its core is disturbed least.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
from base64 import b64encode
from pathlib import Path

from mqttws import SymmetricKey, TlsConfig, provision_async
from tests.ports import free_port

from .stores.cluster import Cluster, cluster
from .stores.conftest import clear

AT_ONCE = 40


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(tree: str, records: str, devices: int, running: Cluster) -> float:
    """Return the milliseconds of CPU for one registration."""
    with tempfile.TemporaryDirectory(prefix="mqttws-cpu-") as folder:
        keys = {f"dev-{n}": b64encode(os.urandom(32)).decode() for n in range(devices + AT_ONCE)}
        enrolled = [
            {
                "registrationId": name,
                "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}},
            }
            for name, key in keys.items()
        ]
        file = Path(folder, "enrollments.json")
        file.write_text(json.dumps(enrolled))  # noqa: ASYNC240 - nothing else runs
        port = free_port()
        words = ["--mqtts-port", str(port), "--wss-port", "0", "--state", folder, "--json"]
        words += ["--retry-after", "0", "--enrollments", str(file)]
        if records == "sqlite":
            words += ["--records", str(Path(folder, "records"))]
        elif records == "postgres":
            clear(running)
            words += ["--records", running.url]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mqttws", "serve", *words),
            cwd=tree,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        tls = TlsConfig(ca=Path(folder, "ca.pem"), only_ca=True)
        waiting = iter(keys.items())

        async def register(count: int) -> None:
            for _ in range(count):
                name, key = next(waiting)
                await provision_async(
                    "0ne00LOCAL",
                    SymmetricKey(name, key),
                    host="127.0.0.1",
                    port=port,
                    transport="mqtts",
                    tls=tls,
                )

        await asyncio.gather(*(register(1) for _ in range(AT_ONCE)))  # to warm up
        before = cpu_of(process.pid)
        await asyncio.gather(*(register(devices // AT_ONCE) for _ in range(AT_ONCE)))
        used = cpu_of(process.pid) - before
        process.kill()
        await process.wait()
    return used / (devices // AT_ONCE * AT_ONCE) * 1000


def main(rounds: int, devices: int, names: list[str]) -> None:
    found: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(cluster())
        for _ in range(rounds):
            for name in names:
                label, tree, *records = name.split("=")
                took = asyncio.run(measure(tree, "".join(records), devices, running))
                found.setdefault(label, []).append(took)
    first = next(iter(found.values()))
    for label, times in found.items():
        least, middle = min(times), statistics.median(times)
        ratios = f"{least / min(first):.2f} {middle / statistics.median(first):.2f}"
        shown = " ".join(f"{time:.2f}" for time in times)
        print(f"{label:10} {least:.3f} {middle:.3f} ms  ratios {ratios}  ({shown})", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
