"""The client's figures as tables, and its goals in plain words: met, or missed and by how much."""

from dataclasses import dataclass

COLUMNS = ("publish QoS 0", "publish QoS 1", "receive")
PEER = "mqttium"
ECHO, PUBLISH, BLOCKING = "echo", "publish", "blocking"


@dataclass
class Run:
    """What one interpreter measured with one build of the codec.

    Attributes:
        load: by candidate and column, CPU microseconds for each message.
        alone: microseconds of a lone call.
        memory: KiB for each idle connection.
        imports: CPU milliseconds.
    """

    python: str
    codec: str
    machine: str
    packages: dict[str, str]
    rounds: int
    load: dict[str, dict[str, float]]
    alone: dict[str, float]
    memory: dict[str, float]
    imports: dict[str, float]


@dataclass
class Goal:
    """One goal and what was found."""

    what: str
    found: float
    limit: float
    unit: str = ""

    @property
    def text(self) -> str:
        """The goal in a row of a table."""
        verdict = "met" if self.found <= self.limit else "**missed**"
        return (
            f"| {self.what} | {self.found:.2f}{self.unit} | {self.limit:g}{self.unit} | {verdict} |"
        )


def goals(run: Run) -> list[Goal]:
    """Return the goals that this run says something about."""
    ours, found = run.load["mqttws"], []
    if peer := run.load.get(PEER):
        for column, limit in zip(COLUMNS, (0.25, 0.3, 0.4), strict=True):
            found.append(Goal(f"{column}, of {PEER}", ours[column] / peer[column], limit))
    pipelined = run.load["mqttws, sync"]["publish QoS 1"] / ours["publish QoS 1"]
    found.append(Goal("sync client with 100 in flight, of the async one", pipelined, 1.5))
    added = run.alone[PUBLISH] - run.alone[ECHO]
    found.append(Goal("a lone QoS 1 publish, beyond a bare echo", added, 150, " µs"))
    held = run.memory["mqttws"] - run.memory["websockets"]
    found.append(Goal("an idle connection, beyond `websockets` and TLS", held, 60, " KiB"))
    loaded = run.imports["mqttws.AsyncClient"] / run.imports["websockets"]
    found.append(Goal("import of the asyncio client, of that of `websockets`", loaded, 1.3))
    return found


def tables(run: Run) -> str:
    """Return a run's figures and goals as Markdown."""
    columns = [*COLUMNS, "batches of 100"]
    lines = [
        f"| CPU µs per message | {' | '.join(columns)} |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, figures in run.load.items():
        cells = [f"{figures[column]:.2f}" if column in figures else "" for column in columns]
        label = f"**{name}**" if name.startswith("mqttws") else name
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += ["", "| goal | found | at most | |", "| --- | ---: | ---: | --- |"]
    lines += [goal.text for goal in goals(run)]
    alone = run.alone
    lines += [
        "",
        f"A lone QoS 1 publish takes {alone[PUBLISH]:.0f} µs, the bare echo {alone[ECHO]:.0f}."
        f" A lone blocking call of the sync client takes {alone[BLOCKING]:.0f} µs, and"
        f" {alone['blocking CPU']:.0f} µs of CPU time in both of its threads.",
        f"An idle connection holds {run.memory['mqttws']:.0f} KiB, a bare one of `websockets`"
        f" {run.memory['websockets']:.0f}, TLS included in both.",
        "Imports, CPU ms: "
        + ", ".join(f"`{name}` {spent:.0f}" for name, spent in run.imports.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


_INTRODUCTION = """\
# How fast the client is

Written by `python -m benchmarks.client` (`pip install -e '.[benchmarks]'`, which compiles the codec
in place unless `MQTTWS_PURE=1` is set; and mosquitto). The figures are this machine's, and other
programs ran beside them: read the ratios.

- **Load**: 10 000 messages with a payload of 64 bytes through mosquitto's WebSocket listener,
  without TLS. Every candidate runs in a process of its own, one after the other in each round; the
  figure is the CPU time of that process for each message, all of its threads, the least of all
  rounds. *publish QoS 0* is one loop of `await publish(...)`, and one publish of QoS 1 behind it,
  whose answer shows that the server has read all; *publish QoS 1* has 100 in flight (tasks that
  await, or, where calls do not block, receipts); *receive* takes messages from a blast of another
  client. Clients whose calls block are called in a loop.
- **websockets alone** sends made packets in a frame each, or 100 in a frame, and takes frames
  without looking into them: what is left for any MQTT client in Python to add to.
- **A lone publish**: one QoS 1 publish after the other on an idle asyncio client, against our own
  server half; between them, as many bytes to and from a bare echo of `websockets`. Median of 1 000.
- **An idle connection**: resident memory of a process (Linux, after a garbage collection) with 100
  connections over TLS more than before, for each of them, after one message; a bare connection of
  the asyncio client of `websockets` is measured likewise, in a process of its own.
- **An import**: CPU time in a fresh process; of `websockets`, that of its asyncio client.
"""


def page(runs: list[Run]) -> str:
    """Return the page with the figures of all runs."""
    parts = [_INTRODUCTION]
    for run in runs:
        versions = ", ".join(f"{name} {found}" for name, found in run.packages.items())
        parts.append(
            f"\n## Python {run.python}, codec {run.codec}\n\n{run.machine}; {versions};"
            f" {run.rounds} rounds.\n\n{tables(run)}"
        )
    return "".join(parts)
