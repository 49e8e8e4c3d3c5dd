"""``python -m tests.fuzz.one NAME ...``: one target in this process; ``__main__`` starts it.

``guided NAME ARGUMENTS`` hands over to the fuzzer, which never returns. ``reached NAME FOLDER OUT
SINCE`` runs each input that came into a folder since then (nanoseconds of Unix time), and those of
the corpus, and writes the branches that they reach together, and which inputs it takes for that.
"""

import json
import random
import sys
from pathlib import Path

if "tests.fuzz.codec" not in sys.modules and sys.argv[2:3] == ["compiled"]:
    # The installed package, which is compiled; from here on this folder's comes last.
    sys.path.append(sys.path.pop(0))

from . import codec, network, services
from .target import Target

TARGETS: dict[str, Target] = codec.TARGETS | network.TARGETS | services.TARGETS

ROOT = Path(__file__).resolve().parents[2]

CORPUS = Path(__file__).with_name("corpus")


def seeds(name: str) -> list[bytes]:
    """Return a target's seeds, and what earlier runs found worth keeping."""
    path = CORPUS / f"{name}.txt"
    kept = path.read_text().split() if path.exists() else []
    return [*TARGETS[name].seeds, *map(bytes.fromhex, kept)]


def guided(name: str, arguments: list[str]) -> None:
    """Fuzz, with branches seen in the target's modules."""
    import atheris

    with atheris.instrument_imports(include=list(TARGETS[name].modules)):
        check = TARGETS[name].load()

    def seen(data: bytes) -> None:
        check(data[: TARGETS[name].largest])

    atheris.Setup([sys.argv[0], *arguments], seen, enable_python_coverage=True)
    atheris.Fuzz()


def reached(name: str, folder: Path, out: Path, since: int) -> None:
    """Find the branches that the inputs reach, and a small set of inputs that reaches them all."""
    import coverage

    target = TARGETS[name]
    new = (path for path in folder.glob("*") if path.stat().st_mtime_ns >= since)
    inputs = sorted({path.read_bytes() for path in new} | set(seeds(name)), key=len)
    random.Random(0).shuffle(inputs)
    inputs.sort(key=len)
    measure = coverage.Coverage(branch=True, data_file=None, config_file=False, source=["mqttws"])
    measure.start()
    check = target.load()
    known = 0
    kept: list[str] = []
    for each in inputs:
        check(each[: target.largest])
        arcs = arcs_of(measure, target)
        if arcs > known:
            known = arcs
            if each not in target.seeds:
                kept.append(each[: target.largest].hex())
    measure.stop()
    done = total = 0
    for path in files_of(target):
        numbers = measure._analyze(str(path)).numbers
        done += numbers.n_executed_branches
        total += numbers.n_branches
    out.write_text(json.dumps({"branches": [done, total], "kept": kept}))


def arcs_of(measure: "coverage.Coverage", target: Target) -> int:  # type: ignore[name-defined]  # noqa: F821
    """Return how many pairs of lines have followed each other in the target's files."""
    data = measure.get_data()
    return sum(len(data.arcs(str(path)) or ()) for path in files_of(target))


def files_of(target: Target) -> list[Path]:
    """Return the files of a target's modules."""
    found: list[Path] = []
    for module in target.modules:
        place = ROOT.joinpath(*module.replace("mqttws_written", "mqttws").split("."))
        found += sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return found


if __name__ == "__main__":
    if sys.argv[1] == "guided":
        guided(sys.argv[2], sys.argv[3:])
    else:
        reached(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
