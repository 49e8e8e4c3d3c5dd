"""Runs one family of networks; ``python -m tests.networks.examine FAMILY [ROW...]`` as root.

Each network is made, the doctor examines it, ``provision`` registers through it where there is a
way; with ``--sdk`` the official SDK tries the same. One JSON object a row goes to standard output.
"""

import argparse
import asyncio
import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from mqttws import (
    MqttwsError,
    SymmetricKey,
    TlsConfig,
    UnusableFile,
    UsageError,
    diagnose,
    provision,
)
from mqttws.cli import doctor as cli
from mqttws.cli import output
from mqttws.doctor.letter import letter

from .row import Device, Found, Row
from .world import World, environment

FAMILIES = (
    "arguments",
    "names",
    "tcp",
    "tls",
    "certificates",
    "ca_files",
    "http_proxies",
    "socks_proxies",
    "upgrades",
    "services",
)
"""The modules of this folder that hold rows."""

SDK_LIMIT = 15.0
"""Seconds that the official SDK is given."""


def rows_of(family: str) -> list[Row]:
    """Return a family's rows."""
    rows: list[Row] = importlib.import_module(f"tests.networks.{family}").ROWS
    assert len({row.name for row in rows}) == len(rows), "two rows have one name"
    return rows


def examine(world: World, device: Device) -> Found:
    """Run the doctor, as the shell prints it."""
    found = Found()
    tls = device.tls or world.trust
    began = time.monotonic()
    out = io.StringIO()
    with environment(device.environ), contextlib.redirect_stdout(out):
        try:
            report = diagnose(
                device.host,
                tls=tls,
                timeout=device.timeout,
                hop_timeout=device.hop_timeout,
                **device.options,
            )
        except (UsageError, UnusableFile) as error:
            found.refused = True
            found.text = f"{error}; {error.hint}"
            return found
        found.seconds = time.monotonic() - began
        found.late = found.seconds - device.timeout
        for line in report.settings:
            print(f"on this host   {line}")
        print(f"\n{output.STEP_HEADER}")
        for step in report.steps:
            print(output._step_line(step))
            cli._print_facts(step)
        cli._print_report(report, None)
        found.letter = letter(report)
    found.text = out.getvalue()
    if report.error is not None:
        assert report.party is not None
        found.hop = report.hop.value if report.hop else ""
        found.cause = report.cause.value if report.cause else ""
        found.party = report.party.value
        found.also = report.also.value if report.also else None
    return found


def register(world: World, device: Device, found: Found) -> None:
    """Register the device through the network."""
    options = {k: v for k, v in device.options.items() if k not in ("credential", "id_scope")}
    began = time.monotonic()
    with environment(device.environ):
        try:
            assigned = provision(
                world.dps.id_scope,
                SymmetricKey("my-device", world.key),
                host=device.host,
                tls=device.tls or world.trust,
                timeout=device.timeout,
                hop_timeout=device.hop_timeout,
                **options,
            )
        except MqttwsError as error:
            found.provision = f"{error}; {error.hint}"
        else:
            found.assigned = assigned.device_id == "my-device"
    found.late = max(found.late, time.monotonic() - began - device.timeout)


async def run_sdk(world: World, device: Device) -> str:
    """Return what the official SDK comes to: ``assigned``, its error, or ``no end``."""
    tls = device.tls or world.trust
    ca = tls.ca if isinstance(tls, TlsConfig) else None
    data = ca if isinstance(ca, bytes) else Path(str(ca)).read_bytes() if ca else b""
    order = {
        "host": device.host,
        "key": world.key,
        "id_scope": world.dps.id_scope,
        "ca": data.decode("latin-1"),
        "proxy": device.options.get("proxy")
        if isinstance(device.options.get("proxy"), str)
        else "",
        "websockets": device.options.get("transport", "wss") == "wss",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("sdk_device.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **device.environ},
    )
    try:
        async with asyncio.timeout(SDK_LIMIT):
            out, _ = await process.communicate(json.dumps(order).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return "no end"
    return out.decode().strip() or "crashed"


async def run_row(world: World, row: Row, *, sdk: bool) -> Found:
    world.reset()
    async with row.network(world) as device:
        found = await asyncio.to_thread(examine, world, device)
        if not found.refused and (row.through or row.registers or sdk):
            await asyncio.to_thread(register, world, device, found)
        if sdk and row.sdk and not found.refused:
            found.sdk = await run_sdk(world, device)
    return found


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("family")
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--sdk", action="store_true")
    given = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        for name in (
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ):
            os.environ.pop(name, None)
        async with World(Path(folder)).running() as world:
            for row in rows_of(given.family):
                if given.rows and row.name not in given.rows:
                    continue
                began = time.monotonic()
                try:
                    found = await run_row(world, row, sdk=given.sdk)
                    faults = row.faults(found)
                except Exception as error:  # the next rows are examined all the same
                    found, faults = Found(), [f"{type(error).__name__}: {error}"]
                told = {
                    "row": row.name,
                    "faults": faults,
                    "took": round(time.monotonic() - began, 2),
                    **asdict(found),
                }
                print(json.dumps(told), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
