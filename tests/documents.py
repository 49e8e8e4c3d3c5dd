"""README's and the documentation's blocks of code, and the folder and peers in which they run.

A page is run from top to bottom: its Python blocks share their names, its shell blocks one folder.
A block with ``title="NAME"`` is a file: it is written into that folder. Marks in an HTML comment
before a block say what a reader need not see:

- ``<!-- not run: REASON -->``: the block is left out;
- ``<!-- run: NAME -->``: another test runs it, by this name: tests/recipes.py, tests/net;
- ``<!-- exit N -->``: the shell block must end with this exit code;
- ``<!-- server -->``: the shell block runs on, until its ports take connections and beyond;
- ``<!-- ends at its print -->``: the Python block would go on for ever; its first print ends it.

Hosts that are not there are replaced by local ones: ``in_shell`` and ``in_python``, nothing else.
"""

import ast
import asyncio
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>(?:(?!-->).)*) -->\n\s*)?"
    r"^(?P<indent> *)```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```\s*$",
    re.MULTILINE | re.DOTALL,
)
_INDENTED = re.compile(
    r"(?:^<!-- (?P<mark>(?:(?!-->).)*) -->\n\s*)?(?P<text>(?:^    [^\n]*\n)+)", re.MULTILINE
)
_REGISTERS = re.compile(
    r"(mqttws (?:provision|provision-fleet|device run)\b(?:[^\n]|\\\n)*?--id-scope )0ne00ABCDEF"
)
MARKS = re.compile(
    r"not run: \S.+|run: [\w-]+|exit \d+|server|ends at its print|azure|mqttws|asyncio|demo|tests"
)


@dataclass(frozen=True)
class Block:
    """A block of code as it stands on its page."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    title: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks, in order; indented ones, which README has, are shell commands."""
    content = page.read_text()
    found = []
    for match in _FENCE.finditer(content):
        title = re.search(r'title="([^"]+)"', match["info"])
        text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        line = content.count("\n", 0, match.start("text"))
        name = title[1] if title else ""
        found.append(Block(page, line, match["language"], text, match["mark"] or "", name))
    outside = without_fences(content)
    if page.name == "README.md":
        for match in _INDENTED.finditer(outside):
            text = re.sub(r"^    ", "", match["text"], flags=re.MULTILINE)
            line = outside.count("\n", 0, match.start("text"))
            found.append(Block(page, line, "sh", text, match["mark"] or ""))
    return sorted(found, key=lambda block: block.line)


def without_fences(content: str) -> str:
    """Return a page, the lines of its fenced blocks empty."""
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", "", match[0]), content)


@dataclass
class Addresses:
    """Where the peers of a page are, and its folder."""

    host: str
    port: int
    id_scope: str
    ca_file: str
    proxy_port: int
    broker_port: int
    free: dict[str, int] = field(default_factory=dict)

    @property
    def options(self) -> str:
        """Options that lead a command to the local service."""
        return f"--host {self.host} --port {self.port} --ca {shlex.quote(self.ca_file)}"


def in_shell(text: str, at: Addresses) -> str:
    """Lead a shell block to the local peers."""
    text = _REGISTERS.sub(rf"\g<1>{at.id_scope} {at.options}", text)
    text = text.replace(
        "mqttws doctor global.azure-devices-provisioning.net",
        f"mqttws doctor {at.host} --port {at.port} --ca {shlex.quote(at.ca_file)}",
    )
    text = text.replace("--id-scope 0ne00ABCDEF", f"--id-scope {at.id_scope}")
    return _elsewhere(text, at)


def in_python(text: str, at: Addresses) -> str:
    """Lead a Python block to the local peers."""
    local = f"host={at.host!r}, port={at.port}"
    ca = f"tls=mqttws.TlsConfig(ca={at.ca_file!r})"
    if "tls=" not in text:
        local += f", {ca}"
    text = re.sub(r'\(\s*"0ne00ABCDEF", (\w+)', rf'("{at.id_scope}", \1, {local}', text)
    text = re.sub(r"hub_client\((\w+)", rf"hub_client(\1, {local}", text)
    text = text.replace("client_async()", f"client_async({local})")
    return _elsewhere(text, at)


def _elsewhere(text: str, at: Addresses) -> str:
    text = text.replace("proxy.example:3128", f"127.0.0.1:{at.proxy_port}")
    text = text.replace("proxy-ca.pem", at.ca_file)
    text = text.replace("wss://broker.example/mqtt", f"ws://127.0.0.1:{at.broker_port}/mqtt")
    for port, free in at.free.items():
        text = re.sub(rf"(?<![\w.]){port}(?!\w)", str(free), text)
    return text


class Enough(Exception):
    """A snippet that would go on for ever has printed."""


def enough(*_printed: object) -> None:
    raise Enough


def run(snippet: str, names: dict[str, Any], where: str = "README.md") -> None:
    """Run a snippet; one that awaits gets a loop. What goes on for ever ends at its print."""
    code = compile(snippet, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def wait() -> None:
        await eval(code, names)

    try:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(wait())
        else:
            exec(code, names)
    except Enough:
        names["printed"] = True


def all_blocks() -> Iterator[Block]:
    """Return the blocks of all pages."""
    for page in PAGES:
        yield from blocks(page)
