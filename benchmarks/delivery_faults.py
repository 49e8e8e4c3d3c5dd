"""Shows that the matrix notices: ``python -m benchmarks.delivery_faults``.

Each of four faults is planted in a copy of the package, and cells that must turn red for it are
run on the copy; it ends with 1 if one stays green. Then the same cells are run on the package as it
is, where they must be green.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from .delivery import run
from .delivery_cells import Cell

HERE = Path(__file__).parent

SEEDS = 3
"""Seeds with which a planted fault is looked for: chance may spare a cell the moment that shows it;
what is right must be green at once."""


class Fault(NamedTuple):
    """A fault to plant.

    Attributes:
        module: the file at whose end it is written.
        code: what is written there.
        cells: those in which it must be noticed,
        shows: and the words of what is noticed.
        only: the packets at which connections are cut; all kinds of chaos for none.
    """

    module: str
    code: str
    cells: list[Cell]
    shows: tuple[str, ...]
    only: tuple[str, ...] = ()


ACKNOWLEDGES_AT_ONCE = """
_right_publish, _right_acknowledge = Endpoint._on_publish, Endpoint.acknowledge

def _acknowledge(self, packet_id):
    try:
        _right_acknowledge(self, packet_id)
    except UsageError:
        pass  # it was acknowledged when it came

def _on_publish(self, packet, now):
    _right_publish(self, packet, now)
    if packet.packet_id is not None:
        self.acknowledge(packet.packet_id)

Endpoint._on_publish, Endpoint.acknowledge = _on_publish, _acknowledge
"""

DONE_AT_PUBREC = """
_right_pubrec = Endpoint._on_pubrec

def _on_pubrec(self, packet, now):
    _right_pubrec(self, packet, now)
    if self.session.outgoing.get(packet.packet_id) and self.session.pubcomp(packet.packet_id):
        self._events.append(PublishCompleted(packet.packet_id))

Endpoint._on_pubrec = _on_pubrec
"""

IDENTIFIER_TWICE = """
_right_next, _calls = Session.next_packet_id, [0]

def _next_packet_id(self, also_taken):
    _calls[0] += 1
    if _calls[0] % 10 == 0 and self.outgoing:
        return next(reversed(self.outgoing))
    return _right_next(self, also_taken)

Session.next_packet_id = _next_packet_id
"""

QUEUE_DROPPED = """
_right_end = Outgoing.end

def _end(self, error):
    for one in (*self.in_flight.values(), *self.queue):
        if not one.done:
            one._complete()
    return _right_end(self, error)

Outgoing.end = _end

async def _settled(self):
    pass

Room.settled = _settled
"""

FAULTS = {
    "PUBACK before the message was handed over": Fault(
        "mqttws/protocol/endpoint.py",
        ACKNOWLEDGES_AT_ONCE,
        [Cell("async", 1, "stored", "mosquitto", "ws")],
        ("acknowledged, never handed out",),
    ),
    "done at PUBREC": Fault(
        "mqttws/protocol/endpoint.py",
        DONE_AT_PUBREC,
        [Cell("async", 2, "persistent", "mosquitto", "mqtt")],
        ("done without the broker's word", "lost"),
        only=("PUBREC", "PUBREL", "PUBCOMP"),
    ),
    "an identifier used twice": Fault(
        "mqttws/protocol/inflight.py",
        IDENTIFIER_TWICE,
        [Cell("sync", 1, "clean", "mosquitto", "mqtts")],
        ("identifier used twice",),
    ),
    "the queue dropped at leaving": Fault(
        "mqttws/client/outgoing.py",
        QUEUE_DROPPED,
        [Cell("async", 1, "persistent", "mosquitto", "wss")],
        ("done without the broker's word", "lost"),
    ),
}


def planted(fault: Fault, folder: Path) -> Path:
    """Return a copy of the project with a fault in it."""
    for part in ("mqttws", "benchmarks", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")  # what is compiled has no fault
        shutil.copytree(HERE.parent / part, folder / part, ignore=ignored)
    with (folder / fault.module).open("a") as module:
        module.write(fault.code)
    return folder


def main() -> None:
    """Plant each fault and say whether it was noticed."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.delivery_faults", description=__doc__
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--fault", choices=FAULTS, help="only this one")
    given = options.parse_args()
    missed = []
    for name, fault in FAULTS.items():
        if given.fault not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="planted-") as home:
            tree = planted(fault, Path(home, "tree"))
            for which, folder in (("planted", tree), ("as it is", HERE.parent)):
                found: list[str] = []
                good = False
                for seed in range(given.seed, given.seed + SEEDS):
                    asked = {
                        "seed": seed, "messages": 300, "cuts": 8, "tree": str(folder),
                        "only": fault.only,
                    }  # fmt: skip
                    rows = asyncio.run(run(fault.cells, asked, None))
                    found = [one for row in rows for one in row["faults"]]
                    if which != "planted":
                        good = not found
                        break
                    good = any(one.startswith(fault.shows) for one in found)
                    if good:
                        break
                verdict = "as it should be" if good else "WRONG"
                print(f"{name}, {which}: {found or 'green'}: {verdict}", flush=True)
                if not good:
                    missed.append(f"{name}, {which}")
    if missed:
        sys.exit(f"not as it should be: {missed}")


if __name__ == "__main__":
    main()
