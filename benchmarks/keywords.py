"""How much longer does each packet class take to be made with keywords than by position?

Each class is called both ways with all its fields, in turns; the least of all rounds counts. The
time of an empty loop is taken off.
"""

import timeit
from dataclasses import fields
from typing import Any

COUNT = 1000
GOAL = 1.6
"""Keywords, of the time by position."""


def _packets(wire: Any) -> list[Any]:
    """Return one packet of each class that has fields."""
    return [
        wire.Connect("device", "user", b"secret", False, 60, wire.Will("t", b"x")),
        wire.Will("t", b"x", 1, False),
        wire.ConnAck(False, 0),
        wire.Publish("t", b"x", 1, False, False, 7),
        wire.PubAck(7),
        wire.PubRec(7),
        wire.PubRel(7),
        wire.PubComp(7),
        wire.Subscription("t", 1),
        wire.Subscribe(7, [wire.Subscription("t", 1)]),
        wire.SubAck(7, [1]),
        wire.Unsubscribe(7, ["t"]),
        wire.UnsubAck(7),
    ]


def measure(wire: Any, rounds: int) -> dict[str, tuple[float, float]]:
    """Return for each class the nanoseconds by position and with keywords."""
    timers = {}
    for packet in _packets(wire):
        names = [each.name for each in fields(packet)]
        values = {f"v{at}": getattr(packet, name) for at, name in enumerate(names)}
        space = {"Class": type(packet), **values}
        by_position = f"Class({', '.join(values)})"
        with_keywords = f"Class({', '.join(map('{}={}'.format, names, values))})"
        assert eval(by_position, space) == eval(with_keywords, space) == packet
        timers[type(packet).__name__] = (
            timeit.Timer(by_position, globals=space),
            timeit.Timer(with_keywords, globals=space),
        )
    empty = timeit.Timer("pass")
    floor = min(empty.timeit(COUNT) for _ in range(rounds))
    best = {name: [float("inf"), float("inf")] for name in timers}
    for _ in range(rounds):
        for name, pair in timers.items():
            for at, timer in enumerate(pair):
                best[name][at] = min(best[name][at], timer.timeit(COUNT))
    nanoseconds = 1e9 / COUNT
    return {
        name: ((spent[0] - floor) * nanoseconds, (spent[1] - floor) * nanoseconds)
        for name, spent in best.items()
    }


def table(figures: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Return the figures of each codec as Markdown."""
    codecs = list(figures)
    lines = [
        "| ns | " + " | ".join(f"{codec}: position | keywords | ratio" for codec in codecs) + " |",
        "| --- |" + " ---: | ---: | ---: |" * len(codecs),
    ]
    for name in figures[codecs[0]]:
        cells = []
        for codec in codecs:
            position, keywords = figures[codec][name]
            cells += [f"{position:.0f}", f"{keywords:.0f}", f"{keywords / position:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for codec in codecs:
        worst = max(keywords / position for position, keywords in figures[codec].values())
        sign = "holds" if worst <= GOAL else "MISSED"
        lines.append(f"\n{codec}: at most {worst:.2f} times (goal {GOAL}: {sign})")
    return "\n".join(lines) + "\n"
