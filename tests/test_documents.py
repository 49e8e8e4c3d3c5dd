"""Each page of the documentation runs as it stands there, from top to bottom.

README's Python has tests of its own, in test_readme.py, and the three programs of
from-azure-iot-device.md in hub_client/test_migration.py; README's shell commands run here.
"""

import ast
import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mqttws
from mqttws import LocalDps, LocalHub, LoopThread

from .client.broker import broker
from .documents import (
    MARKS,
    PAGES,
    ROOT,
    Addresses,
    Block,
    all_blocks,
    blocks,
    enough,
    in_python,
    in_shell,
    run,
    without_fences,
)
from .net.scripted import Conversation, Scripted, relay, scripted
from .ports import free_port

RUN = {"python", "sh"}
DATA = {"csv", "json", "yaml", "ini", "toml", "text"}
FOREIGN = {"js", "c", "csharp", "java"}
"""Languages of recipes.md and compose.md, which say of each block whether a test runs it."""
OF_SDKS = ("recipes.md", "compose.md")
ELSEWHERE = ("azure", "mqttws", "asyncio", "demo", "tests")
"""Marks of blocks that other tests, or .ci/run, run."""
SECONDS = 30.0
"""Within which a shell block must have ended, or a server must listen."""
PORTS = ("8443", "8080", "8883", "9443")


def with_servers(page: Path) -> bool:
    return any("mqttws serve" in block.text for block in wanted(page))


def wanted(page: Path) -> list[Block]:
    """Return the blocks that a test of this file runs, and the files that they need."""
    return [
        block
        for block in blocks(page)
        if block.mark not in ELSEWHERE
        and not block.mark.startswith(("not run: ", "run: "))
        and (block.language in RUN or block.title)
        and not (page.name == "README.md" and block.language == "python")
    ]


def test_each_block_is_run_or_says_why_not() -> None:
    found = list(all_blocks())
    for block in found:
        assert block.language in RUN | DATA | FOREIGN, block
        assert block.language not in FOREIGN or block.page.name in OF_SDKS, block
        assert block.language not in FOREIGN or block.mark, block
        assert not block.mark or MARKS.fullmatch(block.mark), f"{block}: {block.mark}"
    assert sum(len(wanted(page)) for page in PAGES) >= 45


def test_the_site_has_no_code_outside_its_fences() -> None:
    for page in PAGES:
        outside = without_fences(page.read_text())
        found = re.findall(r"\n\n {4}\S.*", outside) if page.name != "README.md" else []
        assert found == [], page


FROM_THE_SYSTEM = {
    "Connection refused",
    "Name or service not known",
    "Address already in use",
    "Permission denied",
}


def test_the_messages_of_the_troubleshooting_page_are_the_codes() -> None:
    texts = []
    for file in (ROOT / "mqttws").rglob("*.py"):
        tree = ast.parse(file.read_text())
        texts += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    said = "\n".join(texts)
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]
    pieces = [
        piece.strip()
        for row in rows
        for quoted in re.findall(r"`([^`]+)`", row)
        for piece in re.split(r"…|; |: ", quoted)
    ]
    long = [piece for piece in pieces if len(piece) >= 12 and piece not in FROM_THE_SYSTEM]
    assert len(long) >= 12
    for piece in long:
        assert piece in said, piece


def through(port: int) -> Any:
    """Return a proxy that leads every CONNECT to one port of this machine."""

    def script(seen: Scripted) -> Conversation:
        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await relay(reader, writer, port)

        return connect

    return script


@dataclass(frozen=True)
class Peers:
    """The services of all pages, and the key of ``my-device``."""

    dps: LocalDps
    hub: LocalHub
    key: str
    at: Addresses


@pytest.fixture(scope="module")
def peers(dps_state: Path) -> Iterator[Peers]:
    """Run a local DPS, its hub, a proxy and a broker, for all pages."""
    with (
        LocalDps(state=dps_state, retry_after=0) as dps,
        LocalHub(dps) as hub,
        LoopThread("peers of the pages") as thread,
    ):
        stack = AsyncExitStack()
        assert dps.wss_port is not None
        port = dps.wss_port

        async def start() -> tuple[int, int]:
            proxy = await stack.enter_async_context(scripted(through(port)))
            server = await stack.enter_async_context(broker(websocket=True))
            return proxy.port, server.port

        proxy_port, broker_port = thread.call(start, timeout=SECONDS)
        try:
            ca = str(dps.ca_file)
            at = Addresses(dps.host, port, dps.id_scope, ca, proxy_port, broker_port)
            yield Peers(dps, hub, dps.enroll_device("my-device"), at)
        finally:
            thread.call(stack.aclose, timeout=SECONDS)


def case(page: Path) -> Any:
    """Return a page as a test's argument: one that starts servers takes longer than others."""
    marks = [pytest.mark.slow] if with_servers(page) else []
    return pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", [case(page) for page in PAGES if wanted(page)])
def test_page(
    page: Path,
    peers: Peers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = peers.at
    at.free = {port: free_port() for port in PORTS}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # a page's program may import a page's file
    (tmp_path / "my-device.key").write_text(peers.key)
    (tmp_path / "my-device.key").chmod(0o600)
    names: dict[str, Any] = {
        "mqttws": mqttws,
        "hub": peers.hub,
        "credential": mqttws.SymmetricKey("my-device", peers.key),
        "device_key": peers.key,
    }
    with contextlib.ExitStack() as servers:
        for block in wanted(page):
            print(f"{block}\n{block.text}")  # pytest shows it where the block fails
            if block.title:
                Path(block.title).parent.mkdir(parents=True, exist_ok=True)
                Path(block.title).write_text(in_shell(block.text, at))
            elif block.language == "python":
                ends = block.mark == "ends at its print"
                names["print"] = enough if ends else print
                names.pop("printed", None)
                run(in_python(block.text, at), names, str(block))
                assert names.pop("printed", False) is ends, block
            elif block.mark == "server":
                servers.enter_context(server(block, at))
            else:
                shell(block, at)


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = str(Path.cwd())  # a page's command may write there
    return os.environ | {"PATH": path, "HOME": home, "PYTEST_ADDOPTS": "-p no:cacheprovider"}


def shell(block: Block, at: Addresses) -> None:
    """Run a shell block, which must end with 0 or with the code that its mark says."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", in_shell(block.text, at)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    print(done.stdout, done.stderr)
    code = int(block.mark.removeprefix("exit ")) if block.mark.startswith("exit ") else 0
    assert done.returncode == code, f"{block}: exit code {done.returncode}\n{done.stderr}"
    if "--json" in block.text and "|" not in block.text and ">" not in block.text:
        for line in done.stdout.splitlines():
            json.loads(line)


@contextlib.contextmanager
def server(block: Block, at: Addresses) -> Iterator[None]:
    """Run a shell block that serves, once its ports take connections, until the page ends."""
    command = in_shell(block.text, at)
    ports = [int(port) for port in re.findall(r"-port (\d+)", command)]
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", "exec " + command],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + SECONDS
        while not all(map(listens, ports)):
            assert process.poll() is None, f"{block}: it has ended"
            assert time.monotonic() < ends, f"{block}: it does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0, block


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_the_links_of_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
