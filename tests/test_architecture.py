"""Who may import whom, and where trust is decided: the picture, read from the imports.

``cli -> doctor -> provisioning -> hub_client -> client -> net``, ``client -> protocol -> wire``,
``provisioning, hub_client -> dps, hub``, ``local -> net, protocol, wire, dps, hub``; ``errors``,
``hops``, ``text``, ``utf8``, ``options``, ``retry`` and ``sqlite_file`` for everybody.
In ``wire``, ``protocol``, ``dps`` and ``hub`` there is no clock, no socket, no thread, no event
loop and no randomness.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mqttws

ROOT = Path(mqttws.__file__).parent

EVERYBODY = {"errors", "hops", "text", "utf8", "options", "retry", "loop_thread", "sqlite_file"}
"""What each room above may import."""

MAY_IMPORT = {
    "hops": set(),
    "text": set(),
    "utf8": {"errors"},
    "errors": {"hops", "text"},
    "options": {"errors", "text", "retry"},
    "retry": {"errors", "hops", "text"},
    "sqlite_file": set(),
    "loop_thread": {"errors", "hops", "text", "options"},
    "wire": {"errors", "text"},
    "protocol": {"wire", "errors", "hops", "text", "options"},
    "dps": {"errors", "hops", "text", "utf8", "options", "retry"},
    "hub": {"dps", "errors", "hops", "text", "utf8", "options"},
    "net": EVERYBODY,
    "client": {"net", "protocol", "wire"} | EVERYBODY,
    "hub_client": {"client", "net", "protocol", "wire", "dps", "hub"} | EVERYBODY,
    "provisioning": {"hub_client", "client", "net", "protocol", "wire", "dps", "hub"} | EVERYBODY,
    "doctor": {"provisioning", "hub_client", "client", "net", "dps", "hub"} | EVERYBODY,
    "local": {"net", "dps", "hub", "protocol", "wire"} | EVERYBODY,
    "cli": {
        "mqttws",
        "doctor",
        "local",
        "provisioning",
        "hub_client",
        "client",
        "net",
        "dps",
        "hub",
        "wire",
    }
    | EVERYBODY,
    "__init__": {
        "doctor",
        "local",
        "provisioning",
        "hub_client",
        "client",
        "net",
        "dps",
        "hub",
        "wire",
    }
    | EVERYBODY,
    "types": {
        "doctor",
        "local",
        "provisioning",
        "hub_client",
        "client",
        "net",
        "dps",
        "hub",
        "errors",
    },
    "__main__": {"cli"},
    "pytest_plugin": {"local"},
}
"""Each room, and those of ours that it may import; a new room is put into the picture first."""

PURE = {"errors", "hops", "text", "options", "retry", "wire", "protocol", "dps", "hub"}
IMPURE = {"time", "asyncio", "socket", "ssl", "random", "secrets", "threading", "selectors",
          "subprocess", "os", "sqlite3", "websockets", "cryptography"}  # fmt: skip
CLOCKS_AND_CHANCE = {"now", "utcnow", "today", "uuid1", "uuid4"}
MAKES_CONTEXTS = {
    "net/tls.py": "PROTOCOL_TLS_CLIENT",
    "net/handshake.py": "PROTOCOL_TLS_CLIENT",
    "local/certificates.py": "PROTOCOL_TLS_SERVER",
}


READS_CHECKS = ("net/tls.py", "weakness_of")
"""The one function that looks whether a caller's context checks certificates."""


def outside_the_reader(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    """Yield everything in a file, but not what is in the function that reads a context's checks."""
    for statement in tree.body:
        if (path, getattr(statement, "name", "")) != READS_CHECKS:
            yield from ast.walk(statement)


def imported_modules(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield the full name of everything that a file of the package imports, wherever in it."""
    package = ["mqttws", *Path(path).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            yield from (
                ".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names
            )


def faults_of(path: str, source: str) -> list[str]:
    """Return what a file does against the picture; ``path`` is relative to the package."""
    tree = ast.parse(source)
    room = Path(path).parts[0].removesuffix(".py")
    faults = []
    for name in imported_modules(path, tree):
        top, _, rest = name.partition(".")
        if top == "mqttws":
            target = rest.split(".")[0]
            if target not in MAY_IMPORT and not (target and (ROOT / target).is_dir()):
                target = "mqttws"  # the package itself, or a name of it
            if target not in MAY_IMPORT[room] | {room}:
                faults.append(f"{room} imports {target}")
        elif room in PURE and top in IMPURE:
            faults.append(f"{room} imports {top}")
    words = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree)}
    called = {
        getattr(node.func, "attr", getattr(node.func, "id", ""))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    if room in PURE:
        faults += [f"{room} calls {name}" for name in called & CLOCKS_AND_CHANCE]
    checked = {
        getattr(node, "attr", getattr(node, "id", "")) for node in outside_the_reader(path, tree)
    }
    if called & {"SSLContext", "create_default_context"} and path not in MAKES_CONTEXTS:
        faults.append(f"{path} makes an SSL context")
    if not {word for word in words if word.startswith("PROTOCOL_TLS")} <= {
        MAKES_CONTEXTS.get(path)
    }:
        faults.append(f"{path} makes an SSL context of another kind")
    if checked & {"CERT_NONE", "check_hostname", "_create_unverified_context"}:
        faults.append(f"{path} turns certificate checks off")
    return faults


FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


MAX_LINES = 400


@pytest.mark.parametrize("path", FILES)
def test_no_file_is_longer_than_its_reader_bears(path: str):
    assert len((ROOT / path).read_text().splitlines()) <= MAX_LINES


def loaded_with(path: str) -> Iterator[str]:
    """Yield the files of the package that are loaded together with one."""
    tree = ast.parse((ROOT / path).read_text())
    at_once = [
        node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.Try)
    ]
    for name in imported_modules(path, ast.Module(at_once, [])):
        parts = name.split(".")[1:]
        for whole in (parts, parts[:-1]):
            found = "/".join(whole) + ".py"
            if name.startswith("mqttws.") and found in FILES:
                yield found


def circle_of(path: str, graph: dict[str, set[str]]) -> list[str]:
    """Return a way from a file back to itself; empty for none."""
    ways = [[path]]
    seen = set()
    while ways:
        way = ways.pop()
        for target in graph[way[-1]]:
            if target == path:
                return [*way, target]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def test_imports_make_no_circle():
    graph = {path: set(loaded_with(path)) for path in FILES}
    assert {path: way for path in FILES if (way := circle_of(path, graph))} == {}


def test_a_circle_is_found():
    assert circle_of("a", {"a": {"b"}, "b": {"c"}, "c": {"b", "a"}}) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("path", FILES)
def test_every_file_keeps_to_the_picture(path: str):
    assert faults_of(path, (ROOT / path).read_text()) == []


def test_every_room_that_exists_is_in_the_picture():
    assert {Path(path).parts[0].removesuffix(".py") for path in FILES} <= MAY_IMPORT.keys()


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("hops.py", "from .wire import Publish", "hops imports wire"),
        ("wire/a.py", "from ..protocol.events import Event", "wire imports protocol"),
        ("wire/a.py", "def f():\n    import mqttws.client.client", "wire imports client"),
        ("wire/a.py", "from mqttws import net", "wire imports net"),
        ("wire/a.py", "import mqttws", "wire imports mqttws"),
        ("dps/a.py", "from .. import wire", "dps imports wire"),
        ("dps/a.py", "from ..wire import Publish", "dps imports wire"),
        ("protocol/a.py", "import asyncio.events", "protocol imports asyncio"),
        ("protocol/a.py", "from time import monotonic", "protocol imports time"),
        ("dps/a.py", "x = datetime.now(UTC)", "dps calls now"),
        ("dps/a.py", "x = uuid4()", "dps calls uuid4"),
        ("net/a.py", "from ..local.dps import AsyncLocalDps", "net imports local"),
        ("net/a.py", "from ..cli import main", "net imports cli"),
        ("local/a.py", "from ..cli import main", "local imports cli"),
        ("net/a.py", "c = ssl.create_default_context()", "net/a.py makes an SSL context"),
        ("net/tls.py", "c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)",
         "net/tls.py makes an SSL context of another kind"),
        ("net/tls.py", "c.check_hostname = False", "net/tls.py turns certificate checks off"),
        ("net/tls.py", "c.verify_mode = ssl.CERT_NONE", "net/tls.py turns certificate checks off"),
        ("net/certificate.py", "def f(c):\n    c.verify_mode = ssl.CERT_NONE",
         "net/certificate.py turns certificate checks off"),
        ("net/handshake.py", "def weakness_of(c):\n    c.verify_mode = ssl.CERT_NONE",
         "net/handshake.py turns certificate checks off"),
    ],
)  # fmt: skip
def test_a_file_that_leaves_the_picture_is_found(path: str, source: str, fault: str):
    assert faults_of(path, source) == [fault]


def test_a_file_within_the_picture_has_no_fault():
    assert faults_of("protocol/a.py", "from ..wire import Publish\nfrom . import events\n") == []
    assert faults_of("net/a.py", "import asyncio, time\nfrom ..errors import MqttwsError\n") == []
    assert faults_of("provisioning/a.py", "import time\nfrom ..dps.topics import Message\n") == []
