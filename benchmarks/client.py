"""Asks how fast the client is, beside its peers: ``python -m benchmarks.client``.

Starts mosquitto and our own server half, runs every candidate in a process of its own, one after
the other in each round, prints the tables, keeps the figures of this Python version and codec in
client_results.json, and writes client.md from all that are kept there. What is not installed is
named and left out; mosquitto must be there.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.client_alone import IMPORTS
from benchmarks.client_candidates import KINDS, version_of
from benchmarks.client_report import Run, page, tables
from mqttws.wire import COMPILED

HERE = Path(__file__).parent
DEADLINE = 180.0
"""Seconds that one process is given."""

MESSAGES = 10_000
CONNECTIONS = 100
ROUND_TRIPS = 1_000


def ask(*words: str) -> dict[str, float]:
    """Run a module of ours in a fresh process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=HERE.parent,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def mosquitto() -> Iterator[tuple[str, str]]:
    """Run mosquitto; yields the ports of its WebSocket and of its TCP listener."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed; the benchmark is measured against it")
    ws, tcp = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(
            "allow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n"
            f"listener {ws} 127.0.0.1\nprotocol websockets\nlistener {tcp} 127.0.0.1\n"
        )
        with subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL) as process:
            try:
                for port in (ws, tcp):
                    await_port(port)
                yield str(ws), str(tcp)
            finally:
                process.terminate()


def await_port(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


@contextmanager
def own_server() -> Iterator[str]:
    """Run our own server half and a bare echo; yields where they are."""
    command = [sys.executable, "-m", "benchmarks.client_server"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*command, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def least(figures: dict[str, float], found: dict[str, float]) -> None:
    """Keep the lesser of each figure."""
    for name, value in found.items():
        figures[name] = min(value, figures.get(name, value))


def measure(rounds: int) -> Run:
    """Ask everything, ``rounds`` times in turns."""
    present = [name for name, (package, _) in KINDS.items() if version_of(package) is not None]
    for name in KINDS.keys() - present:
        print(f"{name}: not installed, left out", file=sys.stderr)
    load: dict[str, dict[str, float]] = {name: {} for name in present}
    alone: dict[str, float] = {}
    memory: dict[str, float] = {}
    imports: dict[str, float] = {}
    with mosquitto() as (ws, tcp), own_server() as place:
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            for name in present:
                words = ("--name", name, ws, tcp, str(MESSAGES))
                least(load[name], ask("benchmarks.client_load", *words))
            at = ("--place", place)
            for what in ("round-trips", "blocking"):
                words = (what, *at, "--count", str(ROUND_TRIPS))
                least(alone, ask("benchmarks.client_alone", *words))
            for kind in ("mqttws", "websockets"):
                words = ("memory", "--name", kind, *at, "--count", str(CONNECTIONS))
                least(memory, ask("benchmarks.client_alone", *words))
            for _ in range(5):
                for name in IMPORTS:
                    least(imports, {name: importing(name)})
    packages = {package: version_of(package) for package, _ in KINDS.values()}
    packages["websockets"] = version_of("websockets")
    return Run(
        python=platform.python_version(),
        codec="compiled" if COMPILED else "pure",
        machine=f"{platform.system()}, {platform.machine()}, {os.cpu_count()} CPUs",
        packages={name: found for name, found in packages.items() if found is not None},
        rounds=rounds,
        load=load,
        alone=alone,
        memory=memory,
        imports=imports,
    )


def importing(name: str) -> float:
    """Return the CPU milliseconds of an import in a fresh process with nothing else of ours."""
    program = (
        f"import time; began = time.process_time()\n{IMPORTS[name]}\n"
        "print((time.process_time() - began) * 1000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure, print, keep and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    run = measure(options.parse_args().rounds)
    print(tables(run))
    kept = HERE / "client_results.json"
    runs = [Run(**each) for each in json.loads(kept.read_text())] if kept.exists() else []
    runs = [each for each in runs if (each.python, each.codec) != (run.python, run.codec)]
    runs = sorted([*runs, run], key=lambda each: (each.python.split("."), each.codec))
    kept.write_text(json.dumps([vars(each) for each in runs], indent=1) + "\n")
    (HERE / "client.md").write_text(page(runs))


if __name__ == "__main__":
    main()
