"""What an import costs, and what a program finds: names, docstrings, types."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import mqttws

from .conftest import peer_missing

ROOT = Path(mqttws.__file__).parent
PROJECT = Path(__file__).parent.parent

HEAVY = {"asyncio", "websockets", "cryptography", "ssl", "socket", "sqlite3", "click", "rich",
         "threading", "logging", "json"}  # fmt: skip
NEEDED_BY_OURS = {"mqttws.net", "mqttws.local", "mqttws.cli"}


def loaded_by(statement: str, *options: str) -> set[str]:
    """Return the modules that a statement loads in a fresh interpreter."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT.parent)!r}); before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import mqttws",
        "import mqttws.wire",
        "import mqttws.protocol",
        "import mqttws; dir(mqttws); mqttws.Will; mqttws.MqttwsError",
        "from mqttws.wire import *; decode(encode(PingReq()))",
    ],
)
def test_the_core_loads_neither_drivers_nor_event_loops(statement: str):
    # -S: nothing of site-packages, whose hooks may load anything beforehand.
    loaded = loaded_by(statement, "-S")
    assert "mqttws" in loaded
    assert not loaded & (HEAVY | NEEDED_BY_OURS)


def test_a_driver_is_loaded_when_it_is_asked_for():
    loaded = loaded_by("import mqttws; mqttws.AsyncClient")
    assert {"asyncio", "mqttws.net"} <= loaded
    assert "websockets" not in loaded  # with the first connection that is one


@pytest.mark.parametrize("statement", ["AsyncClient", "Client", "AsyncClient; mqttws.TlsConfig"])
def test_a_client_loads_nothing_that_only_others_need(statement: str):
    loaded = loaded_by(f"import mqttws; mqttws.{statement}")
    assert "mqttws.client.client" in loaded
    unneeded = {"sqlite3", "aiohttp", "click", "rich", "cryptography", "truststore"}
    unneeded |= {"mqttws.net.tunnel", "mqttws.net.socks", "websockets.server", "websockets.asyncio"}
    rooms = {"mqttws.local", "mqttws.doctor", "mqttws.cli", "mqttws.dps", "mqttws.hub"}
    assert not loaded & (unneeded | rooms)


@pytest.mark.parametrize("name", mqttws.__all__)
def test_every_public_name_can_be_had_and_says_what_it_is(name: str):
    value = getattr(mqttws, name)
    assert name in dir(mqttws)
    assert (value.__doc__ or "").strip() or _is_compiled(value.__module__)


def test_all_public_names_can_be_had_at_once_and_each_is_named_once():
    names: dict[str, object] = {}
    exec("from mqttws import *", names)
    assert set(mqttws.__all__) <= names.keys()
    assert len(set(mqttws.__all__)) == len(mqttws.__all__)
    assert set(mqttws.__all__) == set(mqttws._HOME_OF)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Foo'"):
        _ = mqttws.Foo
    assert not hasattr(mqttws, "nothing")


def _is_compiled(module: str) -> bool:
    return not str(sys.modules[module].__file__).endswith(".py")


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(mqttws.__path__, "mqttws.")]
    return ["mqttws", *(name for name in found if not name.endswith("__main__"))]


def load(name: str) -> ModuleType:
    if name.startswith("mqttws.cli") and not (find_spec("click") and find_spec("rich")):
        peer_missing("the shell's libraries are not installed: pip install 'mqttws[cli]'")
    return importlib.import_module(name)


def undocumented(module: ModuleType) -> Iterator[str]:
    """Yield the public classes, functions and methods of a module that have no docstring."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        said = value.__doc__ or ""
        if not said.strip() or said.startswith(f"{name}("):  # what a dataclass says of itself
            yield name
        if inspect.isclass(value):
            for member_name, member in vars(value).items():
                plain = (
                    member.__func__ if isinstance(member, classmethod | staticmethod) else member
                )
                is_code = inspect.isfunction(plain) or isinstance(plain, property)
                if is_code and not member_name.startswith("_") and not inspect.getdoc(plain):
                    yield f"{name}.{member_name}"


@pytest.mark.parametrize("name", modules())
def test_everything_public_has_a_docstring(name: str):
    module = load(name)
    if _is_compiled(name):
        return  # a compiled module keeps none; its source is the same, and is looked at uncompiled
    assert (module.__doc__ or "").strip()
    assert list(undocumented(module)) == []


def test_a_missing_docstring_is_found():
    module = ModuleType("synthetic")
    source = """
from dataclasses import dataclass
def spoken(): "Say."
def silent(): pass
@dataclass
class Pair: x: int
def _private(): pass
class Kind:
    "A kind."
    def method(self): pass
    @property
    def size(self): pass
"""
    exec(source, vars(module))
    assert list(undocumented(module)) == ["silent", "Pair", "Kind.method", "Kind.size"]


def test_the_package_is_typed():
    assert (ROOT / "py.typed").exists()


@pytest.mark.slow
def test_the_type_checker_agrees_with_how_programs_use_the_public_names():
    if find_spec("mypy") is None:
        peer_missing("mypy is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/typing/api.py"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_ascii_host_name_does_not_load_the_tables_of_idna() -> None:
    loaded = loaded_by(
        "import asyncio, ssl; from mqttws.net.tcp import resolve\n"
        "from mqttws.net.handshake import Handshake\n"
        "context = ssl.create_default_context()\n"
        "made = Handshake(context).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), False, 'localhost')\n"
        "assert made.server_hostname == 'localhost'\n"
        "assert asyncio.run(resolve('localhost', 1))"
    )
    assert not loaded & {"encodings.idna", "stringprep", "unicodedata"}
