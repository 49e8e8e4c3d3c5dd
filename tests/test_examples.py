"""The programs in examples/ run, as their pages say."""

import asyncio
import subprocess
import sys
from pathlib import Path

from .client.broker import broker
from .documents import ROOT

EXAMPLES = ROOT / "examples"


def started(name: str, *arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_is_named_in_its_list_and_in_these_tests() -> None:
    for file in EXAMPLES.glob("*.py"):
        assert f"examples/{file.name}" in (EXAMPLES / "README.md").read_text()
        assert f'"{file.name}"' in Path(__file__).read_text()


def test_the_thermometer_reaches_its_hub() -> None:
    lines = started("thermometer.py").splitlines()
    assert lines[:3] == [f'{{"temperature":20.{number}}}' for number in range(3)]
    assert lines[3] == "reported: 0.1"


def test_the_factory_registers_every_device() -> None:
    lines = started("factory.py").splitlines()
    assert len(lines) == 10
    assert all(line.endswith(" local-hub.azure-devices.net") for line in lines)


async def test_the_forwarder_delivers_each_line_in_order(tmp_path: Path) -> None:
    async with broker(websocket=True) as server:
        url = f"ws://127.0.0.1:{server.port}/mqtt"
        file = str(tmp_path / "queue.db")
        await asyncio.to_thread(started, "forwarder.py", url, file, text="1\n2\n3\n")
        assert [message.payload for message in server.heard] == [b"1", b"2", b"3"]
