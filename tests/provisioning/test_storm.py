"""500 devices through throttling, Ctrl-C, kill -9 and a service that restarts every 5 seconds."""

import asyncio
import csv
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncLocalDps
from mqttws.local.device import DpsDevice

from ..cli.shell import interruptible
from ..ports import free_port

DEVICES = 500


async def run_fleet(dps: AsyncLocalDps, file: Path, port: int) -> asyncio.subprocess.Process:
    with interruptible():
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mqttws", "provision-fleet", str(file)),
            *("--id-scope", dps.id_scope, "--host", "127.0.0.1", "--port", str(port)),
            *("--ca", str(dps.ca_file), "--jitter", "0.2", "--concurrency", "40", "--wait"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


def results_of(file: Path) -> list[dict[str, str]]:
    path = file.with_name(f"{file.name}.results.csv")
    if not path.exists():
        return []
    with path.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_five_hundred_devices_are_assigned_once_through_all_of_it(
    dps_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registers: Counter[str] = Counter()
    refused = 0
    carry_out = DpsDevice._carry_out

    def counted(self: DpsDevice, served: Any, event: Any) -> None:
        nonlocal refused
        if event.topic.startswith("$dps/registrations/PUT/"):
            answers = [getattr(effect, "message", None) for effect in served.effects]
            if any(answer and "/res/429/" in answer.topic for answer in answers):
                refused += 1
            else:
                registers[self.key] += 1
        carry_out(self, served, event)

    monkeypatch.setattr(DpsDevice, "_carry_out", counted)
    port = free_port()
    options: dict[str, Any] = {
        "state": dps_state,
        "wss_port": port,
        "retry_after": 0,
        "registers_per_minute": 420,
    }
    dps = AsyncLocalDps(**options)
    file = tmp_path / "fleet.csv"
    async with dps:
        rows = [f"d-{n},{await dps.enroll_device(f'd-{n}')}" for n in range(DEVICES)]
        file.write_text("registration_id,key\n" + "\n".join(rows) + "\n")
        restarts = asyncio.ensure_future(restart_for_ever(dps))
        try:
            for interrupt_at, how in ((100, signal.SIGINT), (250, signal.SIGKILL), (None, None)):
                process = await run_fleet(dps, file, port)
                ending = asyncio.ensure_future(process.communicate())
                while interrupt_at is not None and len(results_of(file)) < interrupt_at:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)  # another process's file has no way to tell
                if how is not None:
                    process.send_signal(how)
                out, err = await ending
        finally:
            restarts.cancel()
            await asyncio.gather(restarts, return_exceptions=True)
        assert process.returncode == 0, (out, err)
    found = [row for row in results_of(file) if row["status"] == "assigned"]
    assert len({row["registration_id"] for row in found}) == DEVICES
    assert [row for row in results_of(file) if row["status"] == "error"] == []
    # A register is repeated where its answer was lost with a process or a service, and not else.
    print(
        f"registers that began an operation: {registers.total()}, most for one device:",
        max(registers.values()),
        "429s:",
        refused,
    )
    assert max(registers.values()) <= 4


async def restart_for_ever(dps: AsyncLocalDps) -> None:
    while True:
        await asyncio.sleep(5)
        await dps.stop()
        await dps.start()
