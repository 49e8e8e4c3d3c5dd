"""Asks whether the clients keep their promises: ``python -m benchmarks.delivery``.

Drives {async, sync} x {QoS 0, 1, 2} x {clean, persistent, persistent with SqliteStore and SIGKILL}
x {mosquitto, aedes, amqtt, RabbitMQ} x {ws, wss, mqtt, mqtts} through the chaos relay of
``tests/chaos.py``, accounts for every message, and writes ``delivery.md``. A run that is
interrupted goes on where it was: its rows are in the state file. It ends with 1 if a client has
broken a promise; what a broker broke stands in its row.
"""

import argparse
import asyncio
import fnmatch
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .delivery_cells import BROKERS, CELLS, Cell, quick_cells
from .delivery_report import Run, machine, page, summary, versions

HERE = Path(__file__).parent


async def lane(
    cells: list[Cell],
    options: dict[str, Any],
    took: Callable[[dict[str, Any]], None],
    until: float | None,
) -> None:
    """Run the cells of one broker in a process of their own, as many as time allows."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.delivery_lane",
        json.dumps({"cells": cells, **options}),
        cwd=HERE.parent,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout_at(until):
            async for line in process.stdout:
                took(json.loads(line))
        if await process.wait():
            raise SystemExit(f"the lane of {cells[0].broker} ended with {process.returncode}")
    except TimeoutError:
        print(f"{cells[0].broker}: the time is over", file=sys.stderr)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def run(
    cells: list[Cell],
    options: dict[str, Any],
    state: Path | None,
    minutes: float | None = None,
) -> list[Any]:
    """Run cells, the brokers beside each other; return all rows, those of the state file too.

    After so many ``minutes`` no cell is finished any more.
    """
    until = None if minutes is None else asyncio.get_running_loop().time() + minutes * 60
    key = {name: options[name] for name in ("seed", "messages", "cuts")}
    rows: dict[Cell, dict[str, Any]] = {}
    for line in state.read_text().splitlines() if state and state.exists() else ():  # noqa: ASYNC240
        row = json.loads(line)
        if row["key"] == key and Cell(*row["cell"]) in cells:
            rows[Cell(*row["cell"])] = row
    console = Console(stderr=True)
    columns = [TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn()]
    shown = TextColumn("{task.fields[shown]}")
    with Progress(*columns, TimeElapsedColumn(), shown, console=console) as bar:

        def took(task: Any, row: dict[str, Any]) -> None:
            row["key"] = key
            cell = Cell(*row["cell"])
            rows[cell] = row
            if state is not None:
                with state.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            colour = "red" if row["faults"] else "yellow" if row["broker"] else "green"
            for fault in row["faults"]:
                console.print(f"[red]{cell.name}: {fault}", markup=True, highlight=False)
            bar.update(task, advance=1, shown=f"[{colour}]{cell.name} {row['seconds']} s")

        async with asyncio.TaskGroup() as group:
            for broker in BROKERS:
                mine = [cell for cell in cells if cell.broker == broker]
                random.Random(options["seed"]).shuffle(mine)  # a part of a run says something too
                if not mine:
                    continue
                left = [cell for cell in mine if cell not in rows]
                task = bar.add_task(broker, total=len(mine), shown="")
                bar.update(task, completed=len(mine) - len(left))
                if left:
                    group.create_task(
                        lane(left, options, lambda row, task=task: took(task, row), until)
                    )
    return [rows[cell] for cell in cells if cell in rows]


def main() -> None:
    """Run, print, write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    options.add_argument("--quick", action="store_true", help="24 cells, 300 messages, 5 cuts")
    options.add_argument("--messages", type=int, help="a cell, at least; 2000")
    options.add_argument("--cuts", type=int, help="that hit unfinished exchanges, a cell; 10")
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--cells", default="*", help="a pattern, such as 'sync-2-*-aedes-*'")
    options.add_argument("--minutes", type=float, help="after which no cell is finished any more")
    options.add_argument("--state", type=Path, help="the file of rows by which a run is resumed")
    options.add_argument("--tree", type=Path, default=HERE.parent, help="whose clients are tried")
    options.add_argument("--keep", help="a folder for the logs of red cells")
    options.add_argument("--write", action="store_true", help="write delivery.md")
    given = options.parse_args()
    messages = given.messages or (300 if given.quick else 2000)
    cuts = given.cuts or (5 if given.quick else 10)
    cells = quick_cells(given.seed) if given.quick else CELLS
    cells = [cell for cell in cells if fnmatch.fnmatch(cell.name, given.cells)]
    if not cells:
        raise SystemExit(f"no cell is called {given.cells}")
    began = time.monotonic()
    lanes = {
        "seed": given.seed, "messages": messages, "cuts": cuts,
        "tree": str(given.tree.resolve()), "keep": given.keep,
    }  # fmt: skip
    print(f"seed {given.seed}, {len(cells)} cells", file=sys.stderr)
    rows = asyncio.run(run(cells, lanes, given.state, given.minutes))
    result = Run(
        seed=given.seed,
        messages=messages,
        cuts=cuts,
        seconds=round(time.monotonic() - began),
        machine=machine(),
        versions=versions(),
        rows=rows,
    )
    print(summary(result))
    if given.write:
        (HERE / "delivery.md").write_text(page(result))
    raise SystemExit(any(row["faults"] for row in rows))


if __name__ == "__main__":
    main()
