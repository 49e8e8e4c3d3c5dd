"""The trees that are measured: this one and the commit before, both with the codec compiled.

Each is a folder with the package as pip installs it, and the benchmarks beside it. The interpreter
of the device programs is a virtual environment of its own: azure-iot-device wants an older
paho-mqtt than the one that the codec is compared with.
"""

import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE = "e70d2f3"
"""The last commit before packets made with keywords, large messages and small devices were looked
after."""

DEVICE_PACKAGES = ("websockets", "cryptography", "azure-iot-device==2.14.0")


@dataclass(frozen=True)
class Trees:
    """What is built.

    Attributes:
        head: the folder of this tree.
        base: the folder of the commit before.
        revision: of the commit before.
        python: an interpreter for device programs, with azure-iot-device.
    """

    head: Path
    base: Path
    revision: str
    python: Path

    def environment(self, tree: Path) -> dict[str, str]:
        """Return the environment in which a program imports the package from a tree."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(tree)}


def _run(*command: object, folder: Path = ROOT) -> bytes:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def _unpack(archive: bytes, folder: Path) -> None:
    folder.mkdir()
    subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)


def _working_copy() -> bytes:
    """Return the files of this tree as they are now, those that git knows, as an archive."""
    names = _run("git", "ls-files", "-z", "-co", "--exclude-standard").split(b"\0")
    present = b"\0".join(name for name in names if name and (ROOT / name.decode()).exists())
    return subprocess.run(
        ["tar", "c", "--null", "-T", "-"], input=present, cwd=ROOT, capture_output=True, check=True
    ).stdout


def _build(source: Path, target: Path) -> None:
    """Install a source tree into a folder, its codec compiled, and the benchmarks beside it."""
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, source)
    for name in ("benchmarks", "tests"):
        (source / name).rename(target / name)
    if not list(target.glob("mqttws/wire/framing.*.so")):
        sys.exit(f"{source.name}: the codec was not compiled; a C compiler is needed")


@contextmanager
def built(revision: str, kept: Path | None = None) -> Iterator[Trees]:
    """Build both trees and the interpreter; gone at the end, or kept and used again."""
    with tempfile.TemporaryDirectory(prefix="mqttws-benchmarks-") as place:
        folder = kept or Path(place)
        python = folder / "device" / "bin" / "python"
        if python.exists():
            yield Trees(folder / "head", folder / "base", revision, python)
            return
        folder.mkdir(exist_ok=True)
        archives = {"head": _working_copy(), "base": _run("git", "archive", revision)}
        for name, archive in archives.items():
            print(f"building {revision if name == 'base' else 'this tree'}", file=sys.stderr)
            _unpack(archive, folder / f"{name}-source")
            _build(folder / f"{name}-source", folder / name)
        venv.create(folder / "device", with_pip=True)
        _run(python, "-m", "pip", "install", "--quiet", *DEVICE_PACKAGES)
        yield Trees(folder / "head", folder / "base", revision, python)
