"""The page and the pictures of ``benchmarks.scale``, from the answers that are kept."""

import math
from html import escape
from typing import Any

Kept = dict[str, Any]

_COMMAND = "python -m benchmarks.scale --only"


def goal(text: str, value: float | None, limit: float) -> str:
    """Return a line that says whether a goal is reached."""
    if value is None:
        return f"- {text}: at most {limit:g}; not measured."
    reached = "reached" if value <= limit else "**not reached**"
    return f"- {text}: {value:g}, at most {limit:g}: {reached}."


def table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    """Return a table; numbers stand to the right."""
    shown = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    right = [all(not isinstance(row[at], str) for row in rows) for at in range(len(heads))]
    return [
        "| " + " | ".join(heads) + " |",
        "| " + " | ".join("---:" if of else "---" for of in right) + " |",
        *("| " + " | ".join(row) + " |" for row in shown),
        "",
    ]


def _said(kept: Kept, name: str) -> list[str]:
    of = kept[name]["about"]
    said = [f"`{_COMMAND} {name}`, seed {of['seed']}, commit {of['commit']}, {of['date']}"]
    said += [f"{of['seconds']} s", f"load average at the end {of['load'][0]}"]
    if of["note"]:
        said.append(of["note"])
    if of["quick"]:
        said.append("`--quick`")
    return ["; ".join(said) + ".", ""]


def _ratio(values: list[float]) -> float | None:
    return round(max(values) / min(values), 2) if values and min(values) else None


# Questions


def _rates(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["store", "front ends", "at once", "devices", "registrations/s", "front ends, ms",
             "database, ms", "p50 ms", "p95 ms", "p99 ms", "failed"]  # fmt: skip
    names = ["store", "processes", "at_once", "devices", "per_second", "front_ms", "database_ms",
             "p50", "p95", "p99", "errors"]  # fmt: skip
    lines = [
        "*failed*: a front end gives each TLS handshake 10 s; one that does not get to all devices"
        " in that time lets the others go, and a real device comes again. With few devices, what a"
        " front end loads for its first ones weighs in the milliseconds.",
        "",
        "Why many fail at 5000 at once with one front end, looked into at commit ca2b4ad beside"
        " other work (load average 9): the load generator is the cause, one process on the same two"
        " cores. 3856 of 5000 handshakes were over time. In 443 of them the device had not sent its"
        " first message, in 3345 the front end had answered it and the next one had not come; in 68"
        " something lay there that the front end had not read. It used 3.0 s of CPU in 30 s.",
        "",
        *table(heads, [[row[name] for name in names] for row in rows]),
    ]
    for store in ("sqlite", "postgres"):
        cost = [
            row["front_ms"]
            for row in rows
            if row["store"] == store and row["at_once"] in (50, 1000)
        ]
        text = f"{store}, 1000 at once: CPU, the dearest of 1, 2 and 4 front ends by the cheapest"
        lines.append(goal(text, _ratio(cost), 1.1))
    return [*lines, ""]


def _stored(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["store", "stored", "start-up, s", "CPU of it", "memory, MiB",
             "first device, ms", "memory later",
             "registrations/s", "front end, ms", "database, ms", "p95 ms"]  # fmt: skip
    names = ["store", "stored", "start_s", "start_cpu_s", "resident_mib",
             "first_ms", "later_mib", "per_second",
             "front_ms", "database_ms", "p95"]  # fmt: skip
    lines = table(heads, [[row[name] for name in names] for row in rows])
    for store in ("sqlite", "postgres"):
        mine = [row for row in rows if row["store"] == store]
        most = mine[-1]
        cost = _ratio([row["front_ms"] for row in mine])
        lines.append(goal(f"{store}: CPU per registration, the dearest by the cheapest", cost, 1.3))
        said = f"{store}: start-up with {most['stored']:,} stored, in seconds"
        lines.append(goal(said, most["start_s"], 2.0))
        lines.append(
            f"- {store}: memory with {most['stored']:,} stored is"
            f" {most['resident_mib'] / mine[0]['resident_mib']:.2f} times that with none."
        )
    return [*lines, ""]


def _groups(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["groups", "start-up, s", "CPU of it", "first device, ms", "unknown device, ms",
             "known device, ms", "wrong key, ms", "memory, MiB"]  # fmt: skip
    names = [
        "groups",
        "start_s",
        "start_cpu_s",
        "first_ms",
        "fresh",
        "known",
        "wrong",
        "resident_mib",
    ]
    lines = [
        "Each group has one key. A second key, and a registration id that is not all in lower case,"
        " double what is searched.",
        "",
        *table(heads, [[row[name] for name in names] for row in rows]),
    ]
    first, last = rows[0], rows[-1]
    for text, name in (("a device's first registration", "fresh"), ("with a wrong key", "wrong")):
        each = round((last[name] - first[name]) * 1000 / (last["groups"] - first["groups"]), 2)
        lines.append(goal(f"microseconds for each group, {text}", each, 5))
    each = round((last["known"] - first["known"]) * 1000 / (last["groups"] - first["groups"]), 3)
    lines.append(goal("microseconds for each group, afterwards", each, 0.05))
    return [*lines, ""]


def _certificates(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["certificates of", "stored", "start-up, s", "CPU of it", "memory, MiB",
             "first device, ms",
             "memory later", "registrations/s", "front end, ms", "database, ms",
             "p95 ms"]  # fmt: skip
    names = ["kind", "stored", "start_s", "start_cpu_s", "resident_mib",
             "first_ms", "later_mib", "per_second",
             "front_ms", "database_ms", "p95"]  # fmt: skip
    lines = [
        "A group is found by the thumbprints and the subjects of its certificates"
        " (`dps/group_index.py`). What is read for a first device, in rows and certificates, is"
        " counted by `tests/local/stores/test_group_index.py`, and does not grow. A first device's"
        " wait is the least of three starts' too.",
        "",
        *table(heads, [[row[name] for name in names] for row in rows]),
    ]
    for kind in ("individuals", "groups"):
        mine = [row for row in rows if row["kind"] == kind]
        waits = _ratio([row["first_ms"] for row in mine])
        lines.append(
            goal(f"{kind}: the first device's wait, the longest by the shortest", waits, 1.3)
        )
        most = f"up to {mine[-1]['stored']:,}"
        cost = _ratio([row["front_ms"] for row in mine])
        start = _ratio([row["start_s"] for row in mine])
        lines.append(goal(f"{kind} {most}: CPU, the dearest by the cheapest", cost, 1.3))
        lines.append(goal(f"{kind} {most}: start-up, the longest by the shortest", start, 1.3))
        used = _ratio([row["start_cpu_s"] for row in mine])
        lines.append(goal(f"{kind} {most}: CPU of start-up", used, 1.3))
    return [*lines, ""]


def _idle(rows: list[dict[str, Any]]) -> list[str]:
    lines = table(
        ["store", "connections", "KiB each"],
        [[row["store"], row["connections"], row["kib"]] for row in rows],
    )
    lines += [goal(f"{row['store']}: KiB for an idle connection", row["kib"], 40) for row in rows]
    return [*lines, ""]


def _client(rows: list[dict[str, Any]]) -> list[str]:
    lines = table(["devices under way", "KiB each"], [[row["devices"], row["kib"]] for row in rows])
    lines += [goal("KiB for a device under way", row["kib"], 100) for row in rows]
    return [*lines, ""]


def _admin(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["store", "stored", "PUT/s", "CPU per PUT, ms", "pages", "largest page, rows",
             "first page, ms", "median page, ms", "last full page, ms"]  # fmt: skip
    names = ["store", "stored", "puts_per_second", "put_ms", "pages", "largest_page",
             "first_page_ms", "median_page_ms", "last_full_page_ms"]  # fmt: skip
    lines = table(heads, [[row[name] for name in names] for row in rows])
    for row in rows:
        said = f"{row['store']}: the last full page by the median page (a page costs what it holds)"
        ratio = round(row["last_full_page_ms"] / row["median_page_ms"], 2)
        lines.append(goal(said, ratio, 1.3))
        lines.append(goal(f"{row['store']}: rows of the largest page", row["largest_page"], 1000))
    return [*lines, ""]


def _simulation(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["devices", "a minute", "policy", "requests, median", "p99", "most",
             "last assigned, s", "by the quota's own time"]  # fmt: skip
    names = ["devices", "per_minute", "policy", "median", "p99", "most", "last", "ratio"]
    lines = [
        "Devices boot within a second; the service takes so many registrations in any minute, and"
        " answers 429 with the seconds until there is room again. *old* waits as long as it is"
        " told, each time; *new* is `mqttws.retry`: half of a limit that doubles, and a random"
        " part. A poll after 3 s ends each registration, far from its limit of 5 in 10 s. Before"
        " the fast simulation is believed, 300 devices register through `Service` and"
        " `Registration` themselves; every device's requests and times must be the same.",
        "",
        *table(heads, [[row[name] for name in names] for row in rows]),
        "",
        "![Requests an hour](scale_fleet.svg)",
        "",
    ]
    ours = [row for row in rows if row["policy"] == "new"]
    of = f"{ours[-1]['devices']:,} devices"
    lines.append(goal(f"{of}: median of requests", ours[-1]["median"], 30))
    lines.append(goal(f"{of}: last assigned by the quota's own time", ours[-1]["ratio"], 1.15))
    if len(ours) > 2:
        a, b = ours[-2], ours[-1]
        lines.append(
            f"- The ratio of devices to quota decides: {a['devices']:,} at {a['per_minute']} a"
            f" minute need {a['median']} requests (median) and {a['ratio']} of the quota's time,"
            f" {b['devices']:,} at {b['per_minute']} need {b['median']} and {b['ratio']}; a million"
            " at the cloud's 1000 a minute have the same ratio. With very few registrations a"
            " minute chance weighs more: see the first row."
        )
    return [*lines, ""]


_TITLES = {
    "rates": ("Registrations by store, front ends and devices at once", _rates),
    "stored": ("Stored enrollments", _stored),
    "groups": ("Enrollment groups with keys", _groups),
    "certificates": ("Certificates", _certificates),
    "idle": ("Idle connections", _idle),
    "fleet": ("A fleet client", _client),
    "admin": ("The admin API", _admin),
    "simulation": ("A fleet that boots at once behind the cloud's quotas", _simulation),
}


def render(kept: Kept) -> tuple[str, dict[str, str]]:
    """Return the page in Markdown, and the pictures by file name."""
    of = next(iter(kept.values()))["about"]
    lines = [
        "# How the local DPS grows",
        "",
        "Written by `python -m benchmarks.scale`; the figures are this machine's:",
        f"{of['machine']}, Python {of['python']}.",
        "Devices, front ends and database share its cores, so registrations per second are a",
        "floor; CPU milliseconds per registration (TLS handshake, CONNECT, register and one poll,",
        "over MQTT and TLS) say more. Times are from the TCP connect to `assigned`, with a lean",
        "load generator. A start-up is the least of three. PostgreSQL and SQLite lie in memory",
        "(`/dev/shm`), so that flushes of a disk are not in them.",
        "",
    ]
    for name, (title, section) in _TITLES.items():
        if name in kept:
            lines += [f"## {title}", "", *_said(kept, name)]
            if name in _PICTURED:
                lines += [f"![{title}](scale_{name}.svg)", ""]
            lines += section(kept[name]["rows"])
    page = "\n".join(lines).rstrip() + "\n"
    pictures = {f"scale_{name}.svg": make(kept) for name, make in _PICTURED.items() if name in kept}
    if "simulation" in kept:
        pictures["scale_fleet.svg"] = _fleet_picture(kept["simulation"]["rows"])
    return page, pictures


# Pictures

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 320, 64, 250, 34, 44
_COLOURS = ("#0b6e4f", "#c8553d", "#4a6fa5", "#8d6a9f", "#b08900", "#555555", "#2a9d8f")

Line = list[tuple[float, float]]


def chart(title: str, across: str, lines: dict[str, Line], *, log_x: bool = True) -> str:
    """Return lines as SVG."""

    def scale(value: float) -> float:
        return math.log10(max(value, 1.0)) if log_x else value

    points = [point for line in lines.values() for point in line]
    low_x = min(scale(x) for x, _ in points)
    high_x = max(scale(x) for x, _ in points) or 1.0
    high_x = high_x if high_x > low_x else low_x + 1
    step = _step(max(y for _, y in points) / 4)
    high_y = step * (math.ceil(max(y for _, y in points) / step) or 1)

    def place(x: float, y: float) -> tuple[float, float]:
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        at_x = _LEFT + (scale(x) - low_x) / (high_x - low_x) * wide
        return round(at_x, 1), round(_HEIGHT - _BOTTOM - y / high_y * high, 1)

    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    shapes = [
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{_LEFT} {_TOP}V{base}H{right}" fill="none" stroke="#888"/>',
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(across)}</text>",
    ]
    for number in range(round(high_y / step) + 1):
        value = step * number
        y = round(base - value / high_y * (base - _TOP), 1)
        shapes.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:,g}</text>')
        shapes.append(f'<path d="M{_LEFT} {y}H{right}" stroke="#ddd"/>')
    marks = sorted({x for x, _ in points})
    for x in marks[:: math.ceil(len(marks) / 12)]:
        at, _ = place(x, 1)
        shapes.append(f'<text x="{at}" y="{base + 16}" text-anchor="middle">{x:,.0f}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = "L".join("{} {}".format(*place(x, y)) for x, y in line)
        shapes.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes += [
            '<circle cx="{}" cy="{}" r="3" fill="{}"/>'.format(*place(x, y), colour)
            for x, y in line
            if len(line) <= 12
        ]
        y = _TOP + 16 * number + 8
        shapes.append(f'<path d="M{right + 10} {y - 4}h16" stroke="{colour}" stroke-width="3"/>')
        shapes.append(f'<text x="{right + 32}" y="{y}">{escape(name)}</text>')
    told = f"Over {across}, from the first to the last: " + "; ".join(
        f"{name} from {line[0][1]:,.3g} to {line[-1][1]:,.3g}" for name, line in lines.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="title desc">'
        f'<title id="title">{escape(title)}</title><desc id="desc">{escape(told)}</desc>'
        "<style>text{font:12px sans-serif;fill:#222}</style>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>' + "".join(shapes) + "</svg>\n"
    )


def _step(least: float) -> float:
    """Return the round number at or above ``least``: 1, 2 or 5, and noughts."""
    unit = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(unit * one for one in (1, 2, 5, 10) if unit * one >= least)


def _lines(rows: list[dict[str, Any]], by: tuple[str, ...], x: str, y: str) -> dict[str, Line]:
    found: dict[str, Line] = {}
    for row in rows:
        name = " x ".join(str(row[of]) for of in by)
        found.setdefault(name, []).append((max(row[x], 1), row[y]))
    return found


def _rates_picture(kept: Kept) -> str:
    rows = kept["rates"]["rows"]
    lines = _lines(rows, ("store", "processes"), "at_once", "front_ms")
    return chart("Front ends' CPU per registration, ms", "devices at once", lines)


def _stored_picture(kept: Kept) -> str:
    rows = kept["stored"]["rows"]
    lines = {
        f"{name}, {text}": line
        for text, y in (("CPU ms", "front_ms"), ("start-up s", "start_s"))
        for name, line in _lines(rows, ("store",), "stored", y).items()
    }
    return chart("One registration, and start-up", "stored enrollments", lines)


def _groups_picture(kept: Kept) -> str:
    rows = kept["groups"]["rows"]
    lines = {
        text: [(row["groups"], row[y]) for row in rows]
        for text, y in (("unknown device", "fresh"), ("known", "known"), ("wrong key", "wrong"))
    }
    return chart("Front end's CPU per registration, ms", "groups with keys", lines)


def _certificates_picture(kept: Kept) -> str:
    rows = kept["certificates"]["rows"]
    lines = {
        f"{name}, {text}": line
        for text, y in (("CPU ms", "front_ms"), ("start-up s", "start_s"))
        for name, line in _lines(rows, ("kind",), "stored", y).items()
    }
    return chart("One registration by certificate, and start-up", "stored certificates", lines)


_PICTURED = {
    "rates": _rates_picture,
    "stored": _stored_picture,
    "groups": _groups_picture,
    "certificates": _certificates_picture,
}


def _fleet_picture(rows: list[dict[str, Any]]) -> str:
    """Return requests an hour and a device's share of them, of both policies, in one picture."""
    lines: dict[str, Line] = {}
    for policy in ("old", "new"):
        row = [of for of in rows if of["policy"] == policy][-1]
        share = 1 / row["devices"]
        name = f"{policy} ({row['devices']:,})"
        asked = row["asked_by_hour"]
        lines[f"asked, {name}"] = [(hour, count * share) for hour, count in enumerate(asked)]
        done, line = 0, []
        for hour, count in enumerate(row["assigned_by_hour"]):
            done += count
            line.append((hour, done * share * 10))
        lines[f"assigned x 10, {name}"] = line
    title = "Register requests an hour and device (and the assigned share of the fleet x 10)"
    return chart(title, "hours since the boot", lines, log_x=False)
