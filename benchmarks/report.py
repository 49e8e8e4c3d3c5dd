"""Figures as a table, as goals met and missed, and as a picture."""

from dataclasses import dataclass, field
from html import escape
from statistics import median

from benchmarks import keywords
from benchmarks.candidates import BEFORE
from benchmarks.rows import Row

LARGE = "1 MiB publish"
PURE, COMPILED = "mqttws (pure)", "mqttws (compiled)"
FLOOR = "two copies"

RUST, BARE, PAHO = "mqtt5", "gmqtt", "paho-mqtt"

COMMAND = "python -m benchmarks --only codec"

Three = list[float]
"""Minimum, median and maximum."""


def summary(values: list[float]) -> Three:
    """Return minimum, median and maximum."""
    return [min(values), median(values), max(values)]


@dataclass
class Run:
    """What one interpreter measured; figures are nanoseconds per packet, by column and name."""

    python: str
    machine: str
    date: str
    packages: dict[str, str]
    kinds: dict[str, str]
    remarks: dict[str, str]
    figures: dict[str, dict[str, Three]]
    keywords: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)


DECODE = "The best run showed 0.41."
DECODE_LARGE = "Runs show 0.55 to 0.69: what the allocator did before decides."

GOALS: list[tuple[str, str, str, float, str]] = [
    ("`Publish(...)` with keywords + encode, QoS 1, 64 B, ns", "encode, keywords", RUST, 0.50, ""),
    ("the same, positional, ns", "encode QoS 1", RUST, 0.40, ""),
    ("encode PUBACK, ns", "encode PUBACK", RUST, 0.50, ""),
    ("decode QoS 1, stream of 64 B, ns", "decode QoS 1", RUST, 0.40, DECODE),
    ("decode 1 MiB in pieces of 64 KiB, ns", LARGE, FLOOR, 0.65, DECODE_LARGE),
    ("the same beside paho-mqtt, ns", LARGE, PAHO, 1.0, ""),
]
"""Of the compiled codec: title, column, what it is compared with, and at most which part of it."""

NO_WORSE = 1.05
"""Pure, of the commit before: no worse, give or take what two equal runs differ by."""

PUBACK_OF_BARE = 1.5


def codec_rows(run: Run) -> list[Row]:
    """Return the codec's rows of the table of goals."""
    rows = []

    def add(  # noqa: PLR0917 - a row's cells, in their order
        title: str, column: str, ours: str, peer: str, goal: float, remark: str = ""
    ) -> None:
        figures = run.figures[column]
        if ours in figures and peer in figures:
            rows.append(Row(title, figures[ours], peer, figures[peer], goal, COMMAND, remark))

    for title, column, peer, goal, remark in GOALS:
        add(title, column, COMPILED, peer, goal, remark)
    for codec, figures in run.keywords.items():
        if codec == COMPILED:
            name, (position, with_keywords) = max(
                figures.items(), key=lambda item: item[1][1] / item[1][0]
            )
            title = f"each class made with keywords, ns; the worst, {name}"
            row = Row(title, [with_keywords], "by position", [position], keywords.GOAL, COMMAND)
            rows.append(row)
    for column in run.figures:
        add(f"pure: {column}, ns", column, PURE, BEFORE, NO_WORSE, PURE_SLOWER)
    add("pure: encode PUBACK, ns", "encode PUBACK", PURE, BARE, PUBACK_OF_BARE, PURE_PUBACK)
    return rows


PURE_SLOWER = (
    "The pure codec refuses, as the compiled one, that a field is deleted, by a `__delattr__` of"
    " its own; Python then takes the long way for each field that is set. A packet that is decoded"
    " is made around that; a call of the class `Publish` takes 245 ns instead of 155."
)

PURE_PUBACK = "gmqtt's is a function of a number to four bytes; ours makes a packet and checks it."


def _time(column: str, nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:.0f} µs" if column == LARGE else f"{nanoseconds:.0f}"


def table(run: Run) -> str:
    """Return the figures as Markdown: minimum / median / maximum."""
    columns = list(run.figures)
    lines = [
        "| ns per packet | " + " | ".join(columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name in run.packages:
        cells = [
            " / ".join(_time(column, each) for each in run.figures[column][name])
            if name in run.figures[column]
            else ""
            for column in columns
        ]
        if any(cells):
            label = f"**{name}**" if name.startswith("mqttws") else name
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


_INTRODUCTION = """# How fast it is

Written by `python -m benchmarks`, which measures all of this page anew (`pip install
'.[benchmarks]'` first; it builds what it measures, compiled, from this tree and from the commit
before, in a temporary folder). Pages of their own: the client under load beside its peers
([client.md](client.md)), a device program beside azure-iot-device
([hub_client.md](hub_client.md)), registrations by the thousand
([provisioning.md](provisioning.md)). What a device's messages go through while connections are cut
and tokens expire is counted by `python -m benchmarks.hub_delivery`
([its last run](hub_delivery.json)).

## The goals

All is measured in turns with what it is compared with. A cell has minimum / median / maximum; the
ratio is that of the minima, and it alone is the verdict. CPU is that of the process, in the kernel
too. The load in each table's note is the system's before and after: above 1 or 2, other work ran on
the machine.

"""

_CODEC = """
## The codec

PUBLISH has a topic of 24 bytes and a payload of 64. All candidates run in one process, one after
the other in every round. What each decodes and encodes is checked before it is timed. *pure* is
the same source as *compiled*, interpreted; *before* is that of the commit before.

![Time per packet beside that of other packages](ratios.svg)

Read with care:

- mqtt5 speaks MQTT 5, where a PUBLISH has a property list (here empty, one byte); all others are
  asked for MQTT 3.1.1.
- Peers are used in the best way that they offer, and they do not all do the same work. mqttws
  checks every rule of the standard in every figure.
- "fixed struct" and "two copies" are no codecs but floors: what the bytes alone cost.
- For PUBACK the fastest peers are functions from a number to four bytes, where mqttws, zmqtt, amqtt
  and mqtt5 make a packet and encode it.
- The compiled codec remembers the topic that it encoded or decoded last, as a device sends to one
  topic mostly; the questions ask with one topic. With 100 topics in turn a QoS 1 PUBLISH takes 40
  ns more to decode, and 65 ns more to encode. The pure one does so too; with 50 topics in turn it
  takes 300 ns more to encode, half of it more than before it remembered one.

"""


_PYTEST = """
## With pytest-benchmark, and with a codec of your own

    pip install -e '.[benchmarks]'
    pytest benchmarks --benchmark-json=mine.json
    pytest benchmarks --benchmark-compare=mine.json --benchmark-group-by=func

(`-e` compiles the codec in place; without, the tests find it uncompiled in the folder.) Each
question is a test, each candidate a parameter: `-k 'encode_qos1 and mqtt5'` picks one. To put a
codec of your own beside them, add a function to `candidates.py` that returns a `Candidate`, and
its name to `NAMES` there:

- `decode(pieces)` feeds each piece, takes every packet, and returns their number and the last one;
- `facts(packet)` returns `(topic, payload, qos, packet_id)` of it, or `(packet_id,)` of a PUBACK;
- `encode_publish` and `encode_puback` are `Statement(code, names)`: code that makes the packet of
  `TOPIC`, `PAYLOAD` and `PACKET_ID` and returns its bytes. Leave out what the codec has not.

What it decodes and encodes is compared with the expected bytes before anything is timed. The
versions of all peers are pinned in pyproject.toml and stand in the table above;
`python -m benchmarks.instructions` counts the instructions of the hot rows beside those of the
parent commit.
"""


def readme(tables: list[tuple[str, str]], runs: list[Run]) -> str:
    """Return the page: the tables of goals, each with its note, and the codec's figures."""
    parts = [_INTRODUCTION, *(f"{table}\n({note}.)\n\n" for note, table in tables)]
    if not runs:
        return "".join([*parts, _PYTEST])
    parts.append(_CODEC)
    last = runs[-1]
    parts.append("| name | version | kind | remark |\n| --- | --- | --- | --- |\n")
    parts += [
        f"| {name} | {last.packages[name]} | {last.kinds[name]} | {last.remarks[name]} |\n"
        for name in last.packages
    ]
    for run in runs:
        parts.append(f"\n### Python {run.python} ({run.machine}, {run.date})\n\n{table(run)}")
        if run.keywords:
            parts.append(
                f"\nPackets made by position and with keywords:\n\n{keywords.table(run.keywords)}"
            )
    parts.append(_PYTEST)
    return "".join(parts)


_WIDTH, _LABEL, _BAR, _STEP, _GAP = 760, 150, 14, 18, 30
_COLOURS = {
    COMPILED: "#0b6e4f",
    PURE: "#3aa17e",
    BEFORE: "#a9d8c6",
    "Rust": "#c8553d",
    "pure": "#8da0b3",
    "floor": "#c9c9c9",
}
_LEGEND = {
    COMPILED: "mqttws, compiled",
    PURE: "mqttws, pure Python",
    BEFORE: "the same, the commit before",
    "Rust": "Rust (MQTT 5)",
    "pure": "other pure Python",
    "floor": "floor: no codec, the bytes alone",
}


def _legend() -> list[str]:
    shapes = []
    for number, (name, said) in enumerate(_LEGEND.items()):
        x, y = 8 + number % 3 * 240, 34 + number // 3 * 20
        shapes += [
            f'<rect x="{x}" y="{y}" width="12" height="12" fill="{_COLOURS[name]}"/>',
            f'<text x="{x + 18}" y="{y + 10}">{escape(said)}</text>',
        ]
    return shapes


def chart(run: Run) -> str:
    """Return a bar chart as SVG: for each question, each candidate's time; shorter is faster."""
    shapes, said = _legend(), []
    y = 100
    for column, figures in run.figures.items():
        best = {name: figure[0] for name, figure in figures.items()}
        slowest = max(best, key=best.__getitem__)
        unit = "" if column == LARGE else " ns"
        shapes.append(
            f'<text x="8" y="{y}"><tspan class="head">{escape(column)}</tspan>: bars are relative'
            f" to the slowest, {escape(slowest)}</text>"
        )
        y += 8
        for name, spent in sorted(best.items(), key=lambda item: item[1]):
            colour = _COLOURS.get(name) or _COLOURS.get(run.kinds[name], "#8da0b3")
            width = max(2.0, (_WIDTH - _LABEL - 110) * spent / best[slowest])
            shapes += [
                f'<text x="{_LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LABEL}" y="{y}" width="{width:.0f}" height="{_BAR}" fill="{colour}"/>',
                f'<text x="{_LABEL + width + 6:.0f}" y="{y + 11}">'
                f"{_time(column, spent)}{unit}</text>",
            ]
            y += _STEP
        ranked = sorted(best.items(), key=lambda item: item[1])
        said.append(
            f"{column}: "
            + ", ".join(f"{name} {_time(column, spent)}{unit}" for name, spent in ranked)
        )
        y += _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" '
        f'viewBox="0 0 {_WIDTH} {y}" role="img" aria-labelledby="title desc">'
        f'<title id="title">Time per packet of MQTT codecs, Python {run.python}</title>'
        f'<desc id="desc">The least time of all rounds; less is faster. {escape("; ".join(said))}.'
        "</desc>"
        "<style>text{font:12px sans-serif;fill:#222}.head{font-weight:bold}</style>"
        f'<rect width="{_WIDTH}" height="{y}" fill="#fff"/>'
        f'<text x="8" y="18">Time per packet, Python {run.python}; shorter is faster. '
        "mqtt5 speaks MQTT 5, all others 3.1.1.</text>"
    )
    return head + "".join(shapes) + "</svg>\n"
