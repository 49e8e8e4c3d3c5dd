"""Figures as a table, as goals met and missed, and as a picture."""

from dataclasses import dataclass, field
from html import escape

from benchmarks import keywords

LARGE = "1 MiB publish"
PURE, COMPILED = "mqttws (pure)", "mqttws (compiled)"
FLOOR = "two copies"

RUST, BARE = "mqtt5", "gmqtt"

GOALS: dict[str, dict[str, tuple[str, float]]] = {
    COMPILED: {
        "decode QoS 1": (RUST, 0.40),
        "encode QoS 1": (RUST, 0.40),
        "encode, keywords": (RUST, 0.50),
        "encode PUBACK": (RUST, 0.50),
        LARGE: (FLOOR, 0.65),
    },
    PURE: {"encode PUBACK": (BARE, 1.5), LARGE: (FLOOR, 0.65)},
}
"""What a figure is compared with, and at most how much of it it may be."""

GOAL_ELSE = {COMPILED: 0.2, PURE: 0.65}
"""Where nothing is named: of the fastest pure-Python peer's time."""


@dataclass
class Run:
    """What one interpreter measured; figures are nanoseconds per packet, by column and name."""

    python: str
    machine: str
    packages: dict[str, str]
    kinds: dict[str, str]
    remarks: dict[str, str]
    figures: dict[str, dict[str, float]]
    keywords: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)


@dataclass
class Verdict:
    """One goal: who is compared with whom, and how it came out."""

    column: str
    peer: str
    ratio: float
    goal: float

    @property
    def text(self) -> str:
        """The ratio, and whether the goal holds."""
        sign = "holds" if self.ratio <= self.goal else "MISSED"
        return f"{self.ratio:.2f} of {self.peer} (goal {self.goal}: {sign})"


def verdicts(run: Run, ours: str) -> list[Verdict]:
    """Return how the goals of one of our codecs came out."""
    found = []
    for column, figures in run.figures.items():
        if ours not in figures:
            continue
        pure = [
            name for name in figures if run.kinds[name] == "pure" and not name.startswith("mqttws")
        ]
        fastest = min(pure, key=figures.__getitem__, default="")
        peer, goal = GOALS[ours].get(column, (fastest, GOAL_ELSE[ours]))
        if peer in figures:
            found.append(Verdict(column, peer, figures[ours] / figures[peer], goal))
    return found


def _time(column: str, nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:.0f} µs" if column == LARGE else f"{nanoseconds:.0f}"


def table(run: Run) -> str:
    """Return the figures and the goals as Markdown."""
    columns = list(run.figures)
    lines = [
        "| ns per packet | " + " | ".join(columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name in run.packages:
        cells = [
            _time(column, run.figures[column][name]) if name in run.figures[column] else ""
            for column in columns
        ]
        if any(cells):
            label = f"**{name}**" if name.startswith("mqttws") else name
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "| goal | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for ours in (COMPILED, PURE):
        found = {each.column: each.text for each in verdicts(run, ours)}
        if found:
            lines.append(
                f"| {ours} | " + " | ".join(found.get(column, "") for column in columns) + " |"
            )
    return "\n".join(lines) + "\n"


_INTRODUCTION = """# How fast the codec is

(How fast the client is, over WebSocket and beside its peers: [client.md](client.md).)

Written by `python -m benchmarks` (`pip install '.[benchmarks]'`); the figures are this machine's.
PUBLISH has a topic of 24 bytes and a payload of 64. All candidates run in one process, one after
the other in every round; the least of all rounds counts. What each decodes and encodes is checked
before it is timed. *pure* is the same source as *compiled*, interpreted.

![Time per packet beside that of other packages](ratios.svg)

Read with care:

- mqtt5 speaks MQTT 5, where a PUBLISH has a property list (here empty, one byte); all others are
  asked for MQTT 3.1.1.
- Peers are used in the best way that they offer, and they do not all do the same work. mqttws
  checks every rule of the standard in every figure.
- "fixed struct" and "two copies" are no codecs but floors: what the bytes alone cost.
- The goals compare with the fastest pure-Python peer, whatever it checks; compiled, with mqtt5
  where it has a figure. For PUBACK the fastest peers are functions from a number to four bytes,
  where mqttws, zmqtt, amqtt and mqtt5 make a packet and encode it.
- The compiled codec remembers the topic that it encoded or decoded last, as a device sends to one
  topic mostly; the questions ask with one topic. With 100 topics in turn a QoS 1 PUBLISH takes 40
  ns more to decode, and 65 ns more to encode.

"""


_PYTEST = """
## With pytest-benchmark, and with a codec of your own

    pip install '.[benchmarks]'
    pytest benchmarks --benchmark-json=mine.json
    pytest benchmarks --benchmark-compare=mine.json --benchmark-group-by=func

Each question is a test, each candidate a parameter: `-k 'encode_qos1 and mqtt5'` picks one. To put
a codec of your own beside them, add a function to `candidates.py` that returns a `Candidate`, and
its name to `NAMES` there:

- `decode(pieces)` feeds each piece, takes every packet, and returns their number and the last one;
- `facts(packet)` returns `(topic, payload, qos, packet_id)` of it, or `(packet_id,)` of a PUBACK;
- `encode_publish` and `encode_puback` are `Statement(code, names)`: code that makes the packet of
  `TOPIC`, `PAYLOAD` and `PACKET_ID` and returns its bytes. Leave out what the codec has not.

What it decodes and encodes is compared with the expected bytes before anything is timed. The
versions of all peers stand in the table above; `python -m benchmarks.instructions` counts the
instructions of the hot rows beside those of the parent commit.
"""


def readme(runs: list[Run], titles: dict[str, str]) -> str:
    """Return the page with the figures of all Python versions."""
    parts = [_INTRODUCTION, "## The questions\n\n"]
    parts += [f"- **{column}**: {title.strip()}\n" for column, title in titles.items()]
    parts.append(
        "\n## The candidates\n\n| name | version | kind | remark |\n| --- | --- | --- | --- |\n"
    )
    last = runs[-1]
    parts += [
        f"| {name} | {last.packages[name]} | {last.kinds[name]} | {last.remarks[name]} |\n"
        for name in last.packages
    ]
    for run in runs:
        parts.append(f"\n## Python {run.python} ({run.machine})\n\n{table(run)}")
        if run.keywords:
            parts.append(
                f"\nPackets made by position and with keywords:\n\n{keywords.table(run.keywords)}"
            )
    parts.append(_PYTEST)
    return "".join(parts)


_WIDTH, _LABEL, _BAR, _STEP, _GAP = 760, 150, 14, 18, 30
_COLOURS = {COMPILED: "#0b6e4f", PURE: "#3aa17e", "Rust": "#c8553d", "floor": "#c9c9c9"}


def chart(run: Run) -> str:
    """Return a bar chart as SVG: for each question, each candidate's time; shorter is faster."""
    shapes = []
    y = 40
    for column, figures in run.figures.items():
        shapes.append(f'<text x="8" y="{y}" class="head">{escape(column)}</text>')
        y += 8
        largest = sorted(figures.values())[-1]
        for name, spent in sorted(figures.items(), key=lambda item: item[1]):
            colour = _COLOURS.get(name) or _COLOURS.get(run.kinds[name], "#8da0b3")
            width = max(2.0, (_WIDTH - _LABEL - 110) * spent / largest)
            unit = "" if column == LARGE else " ns"
            shapes += [
                f'<text x="{_LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LABEL}" y="{y}" width="{width:.0f}" height="{_BAR}" fill="{colour}"/>',
                f'<text x="{_LABEL + width + 6:.0f}" y="{y + 11}">'
                f"{_time(column, spent)}{unit}</text>",
            ]
            y += _STEP
        y += _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" '
        f'viewBox="0 0 {_WIDTH} {y}" role="img">'
        "<style>text{font:12px sans-serif;fill:#222}.head{font-weight:bold}</style>"
        f'<rect width="{_WIDTH}" height="{y}" fill="#fff"/>'
        f'<text x="8" y="18">Time per packet, Python {run.python}; shorter is faster. '
        "mqtt5 speaks MQTT 5, all others 3.1.1.</text>"
    )
    return head + "".join(shapes) + "</svg>\n"
