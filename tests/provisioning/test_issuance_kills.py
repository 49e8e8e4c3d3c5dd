"""No device is without a working identity, whenever it is killed."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from mqttws import AsyncLocalDps, AsyncLocalHub, CredentialPolicy


async def killed(folder: Path, kills: int, seed: int) -> dict[str, object]:
    policy = CredentialPolicy("default", 3600)
    (folder / "devices").mkdir()
    async with (
        AsyncLocalDps(retry_after=0, credential_policies=[policy]) as dps,
        AsyncLocalHub(dps),
    ):
        names = [f"device-{number}" for number in range(kills + 1)]
        keys = [await dps.enroll_device(name, credential_policy="default") for name in names]
        world = {
            "host": dps.host,
            "wss_port": dps.wss_port,
            "mqtts_port": dps.mqtts_port,
            "id_scope": dps.id_scope,
            "ca": str(dps.ca_file),
            "folder": str(folder / "devices"),
            "devices": list(zip(names, keys, strict=True)),
        }
        program = [sys.executable, "-m", "tests.provisioning.issuance_kills"]
        devices = await asyncio.create_subprocess_exec(
            *program,
            json.dumps(world),
            str(kills),
            str(seed),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        out, _ = await devices.communicate()
    found: dict[str, object] = json.loads(out)
    assert found["faults"] == []
    return found


async def test_a_device_killed_now_and_then_has_a_working_identity(tmp_path: Path) -> None:
    found = await killed(tmp_path, 6, seed=1)
    assert found["killed"] == 6


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_200_kills_in_every_step_leave_no_device_without_a_working_identity(
    tmp_path: Path,
) -> None:
    found = await killed(tmp_path, 200, seed=2)
    print(found)
    assert found["killed"] == 200
    assert found["left"] == 0  # each step of both kinds of life was the last one once
