"""The actor's process: started, commanded, killed, started again; and what its log says."""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .delivery_judge import Told
from .delivery_world import World

CONTROL = "paho"
"""The client that is tried where a broker has broken its promise to one of ours."""


class Process:
    """The actor, started, commanded, killed and started again."""

    def __init__(self, world: World, tree: Path) -> None:
        self.world = world
        self.told = Told()
        self.killed = 0
        self._tree = tree
        self._read = 0
        self._half = b""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.world.life = self.killed
        with Path(self.world.folder, "stderr").open("ab") as errors:  # noqa: ASYNC230 - local
            await self._start(errors)

    async def _start(self, errors: Any) -> None:
        python, module = sys.executable, "benchmarks.delivery_actor"
        if self.world.kind == CONTROL:
            python, module = os.environ["MQTTWS_PAHO_PYTHON"], "benchmarks.delivery_control"
        self._process = await asyncio.create_subprocess_exec(
            python,
            "-m",
            module,
            json.dumps(vars(self.world)),
            cwd=self._tree,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=errors,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def say(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(command.encode() + b"\n")

    def look(self) -> Told:
        """Read on in the log."""
        with suppress(FileNotFoundError), open(self.world.log, "rb") as log:
            log.seek(self._read)
            data = log.read()
            self._read += len(data)
            *lines, self._half = (self._half + data).split(b"\n")
            for line in lines:
                self.told.line(line.decode())
        return self.told

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        self.look()
        self._half = b""
        self.told.life()
        self.killed += 1
        self.world.messages = max(1, self.world.messages - self.told_of_life(self.killed - 1))

    def told_of_life(self, life: int) -> int:
        return sum(1 for ident in self.told.accepted if ident.startswith(f"{life}-"))

    async def until(self, mark: str, seconds: float) -> bool:
        """Wait for a mark of the present life."""
        ends = time.monotonic() + seconds
        while mark not in self.look().marks:
            assert self._process is not None
            if time.monotonic() > ends or self._process.returncode is not None:
                return mark in self.look().marks
            await asyncio.sleep(0.05)
        return True

    async def end(self, seconds: float) -> int | None:
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        self.look()
        found = self._process.returncode
        if found is None:
            self._process.kill()
            await self._process.wait()
        return found
