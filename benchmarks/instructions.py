"""Compares the codec's hot rows with the parent commit's, by instructions: ``python -m
benchmarks.instructions`` (``--base REVISION``, default ``HEAD~1``; ``--limit 1.05``).

Both are built here, compiled, from git. Instructions are counted by valgrind's callgrind, which is
repeatable to a few in a thousand whatever else the machine does: each row runs twice, a few and
many times, and the difference counts. Ends with 1 if a row takes more than the limit.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SETUP = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
"""Files beside the package that its build reads."""

FEW, MANY = 500, 20_500

ROWS = {
    "decode QoS 1": (
        "data = encode(Publish('plant/7/line/3/sensor/21', b'x' * 64, 1, packet_id=7))",
        "decoder.feed(data); decoder.next_packet()",
    ),
    "decode QoS 0, many topics": (
        "many = [encode(Publish(f'plant/7/line/3/sensor/{i}', b'x' * 64)) for i in range(50)]",
        "decoder.feed(many[i % 50]); decoder.next_packet()",
    ),
    "decode PUBACK": ("data = encode(PubAck(7))", "decoder.feed(data); decoder.next_packet()"),
    "encode QoS 1": ("t, p = 'plant/7/line/3/sensor/21', b'x' * 64",
                     "Publish(t, p, 1, False, False, 7).encode()"),
    "encode QoS 1, keywords": ("t, p = 'plant/7/line/3/sensor/21', b'x' * 64",
                               "Publish(topic=t, payload=p, qos=1, packet_id=7).encode()"),
    "encode PUBACK": ("pass", "PubAck(7).encode()"),
}  # fmt: skip
"""By name: what is prepared once, and what is counted."""

PROGRAM = """
import sys
from mqttws.wire import COMPILED, Decoder, PubAck, Publish, encode
assert COMPILED
decoder = Decoder()
{prepared}
for i in range(int(sys.argv[1])):
    {counted}
"""


def build(revision: str, folder: Path) -> None:
    """Put the package as it was at a revision into a folder, and compile its codec there."""
    archive = subprocess.run(
        [
            "git",
            "archive",
            revision,
            "mqttws",
            "setup.py",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        ],
        check=True,
        capture_output=True,
    )
    folder.mkdir()
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def instructions(folder: Path, program: str, count: int) -> int:
    """Return how many instructions a program takes."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
         sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}",
         str(count)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


def measure(folder: Path) -> dict[str, float]:
    """Return the instructions of each row."""
    found = {}
    for name, (prepared, counted) in ROWS.items():
        program = PROGRAM.format(prepared=prepared, counted=counted)
        few, many = (instructions(folder, program, count) for count in (FEW, MANY))
        found[name] = (many - few) / (MANY - FEW)
    return found


def main() -> None:
    """Build, count, compare and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    options.add_argument("--base", default="HEAD~1", help="what to compare HEAD with")
    options.add_argument("--limit", type=float, default=1.05, help="the largest ratio allowed")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("base", "head")}
        for name, revision in (("base", given.base), ("head", "HEAD")):
            build(revision, folders[name])
        base, head = (measure(folders[name]) for name in ("base", "head"))
    print(f"| instructions | {given.base} | HEAD | ratio |\n| --- | ---: | ---: | ---: |")
    for name in ROWS:
        print(f"| {name} | {base[name]:.0f} | {head[name]:.0f} | {head[name] / base[name]:.3f} |")
    slower = [name for name in ROWS if head[name] > given.limit * base[name]]
    if slower:
        sys.exit(f"more than {given.limit:g} times the instructions: {', '.join(slower)}")


if __name__ == "__main__":
    main()
