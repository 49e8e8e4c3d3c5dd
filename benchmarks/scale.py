"""How the local DPS grows: ``python -m benchmarks.scale`` (``--quick`` for a bounded run).

Asks, one after the other: how many registrations a second and at what cost, by store, front ends
and devices at once; what stored enrollments, groups and certificates cost; what an idle connection
holds; how fast the admin API is; and how a fleet fares that boots at once behind the cloud's
quotas, with a virtual clock. Answers are kept in scale.json question by question (``--only``), and
scale.md and its pictures are written from all that are kept. Needs Linux and PostgreSQL.
"""

import argparse
import asyncio
import datetime
import json
import os
import platform
import resource
import ssl
import statistics
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mqttws.local.certificates import certificate_pem, new_builder, new_key, new_name
from mqttws.local.x509 import DeviceAuthority
from tests.commit import short_commit
from tests.local.stores.cluster import Cluster, cluster

from . import scale_report
from .scale_service import (
    SCOPE,
    Place,
    Running,
    certified,
    individual,
    keyed_groups,
    keyed_individuals,
    place,
    resident,
    serving,
)
from .scale_simulation import check, simulate

HERE = Path(__file__).parent
KEPT = HERE / "scale.json"
SEED = 1
STORES = ["memory", "sqlite", "postgres"]
KEY = b64encode(b"benchmark-key-of-32-bytes-length").decode()

Took = Callable[[str], None]
"""Called with a word about each row that is done."""


# Devices


@asynccontextmanager
async def devices(plan: dict[str, Any]) -> AsyncIterator[Callable[[], Any]]:
    """Have a process of devices ready; the function that is yielded lets them register."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.scale_load"),
        cwd=HERE.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def go() -> dict[str, Any]:
        process.stdin.write(b"\n")
        found: dict[str, Any] = json.loads(await process.stdout.readline())
        return found

    try:
        process.stdin.write(json.dumps(plan).encode() + b"\n")
        assert await process.stdout.readline() == b"ready\n"
        yield go
    finally:
        process.stdin.close()
        await process.wait()


async def registered(service: Running, **plan: Any) -> dict[str, Any]:
    """Return what it takes to let devices register."""
    names = plan.pop("names")
    whole = {"port": service.port, "ca": str(service.ca), "scope": SCOPE, "names": names, **plan}
    async with devices(whole) as go:
        front, database = service.cpu()
        found = await go()
        after = service.cpu()
    times = sorted(found["times"])
    count = len(times)
    assert count, found["errors"][:3]

    def part(share: float) -> float:
        return round(times[min(count - 1, int(count * share))], 1)

    return {
        "devices": len(names),
        "at_once": plan["at_once"],
        "errors": len(found["errors"]),
        "per_second": round(count / found["seconds"], 1),
        "front_ms": round((after[0] - front) / count * 1000, 3),
        "database_ms": round((after[1] - database) / count * 1000, 3),
        "p50": part(0.5),
        "p95": part(0.95),
        "p99": part(0.99),
    }


def named(count: int, prefix: str = "dev") -> list[str]:
    """Return registration ids."""
    return [f"{prefix}-{number}" for number in range(count)]


# The questions


async def ask_rates(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """Stores, front ends, devices at once."""
    rows = []
    cells = [("memory", 1), *((s, n) for s in ("sqlite", "postgres") for n in (1, 2, 4))]
    counts = {1: 100, 50: 200} if quick else {1: 100, 100: 600, 1000: 1000, 5000: 5000}
    for store, processes in cells:
        if store not in STORES:
            continue
        async with place(store, running) as at:
            most = 200 if quick else 5000
            given = [individual(name, KEY) for name in named(most)] if store == "memory" else []
            await at.fill(keyed_individuals(most, KEY, "dev"), given)
            async with serving(at, processes) as service:
                # To warm up: each front end loads what it needs with its first devices.
                await registered(service, names=named(min(most, 400)), key=KEY, at_once=100)
                for level, count in counts.items():
                    row = await registered(service, names=named(count), key=KEY, at_once=level)
                    rows.append({"store": store, "processes": processes, **row})
                    took(f"{store} x {processes}, {level} at once")
    return rows


async def ask_stored(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """0 to 1,000,000 stored enrollments."""
    rows = []
    counts = (0, 1000) if quick else (0, 1000, 100_000, 1_000_000)
    for store in ("sqlite", "postgres"):
        if store not in STORES:
            continue
        for count in counts:
            async with place(store, running) as at:
                await at.fill(_both(count), [])
                plan: dict[str, Any] = {"names": named(480), "key": KEY}
                begun = await _begun(at, quick, **plan)
                async with serving(at) as service:
                    cost = await _cost(service, **plan)
                    rows.append({"store": store, "stored": count, **begun, **cost})
                    took(f"{store}, {count} stored")
    return rows


def _both(count: int) -> Any:
    yield from keyed_individuals(600, KEY, "dev")
    yield from keyed_individuals(count, KEY)


async def _begun(at: Place, quick: bool, **plan: Any) -> dict[str, float]:
    """Return the least seconds, and of CPU, that some starts take, and wait of a first device.

    Args:
        at: the records; each start gets a device that has not registered before.
        quick: whether one start is enough.
        plan: of the devices: ``names``, and what they prove themselves with.
    """
    starts, first = [], []
    for turn in range(1 if quick else 3):
        async with serving(at) as service:
            starts.append((service.started, service.cpu()[0]))
            one = plan | {of: plan[of][turn : turn + 1] for of in ("names", "pems") if of in plan}
            first.append((await registered(service, at_once=1, **one))["p50"])
    return {
        "start_s": round(min(of for of, _ in starts), 2),
        "start_cpu_s": round(min(of for _, of in starts), 2),
        "first_ms": min(first),
    }


async def _cost(service: Running, **plan: Any) -> dict[str, Any]:
    """Return memory before and after registrations, and the cost of one."""
    before = resident(service.pids)
    first = plan | {of: plan[of][:1] for of in ("names", "pems") if of in plan}
    await registered(service, at_once=1, **first)  # to warm up
    row = await registered(service, at_once=40, **plan)
    return {
        "resident_mib": round(before / 1024, 1),
        "later_mib": round(resident(service.pids) / 1024, 1),
        **row,
    }


async def ask_groups(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """1 to 10,000 symmetric groups."""
    rows = []
    for count in (1, 100) if quick else (1, 10, 100, 1000, 10_000):
        keys = [b64encode(os.urandom(32)).decode() for _ in range(count)]
        async with place("postgres", running) as at:
            await at.fill(keyed_groups(keys), [])
            begun = await _begun(at, quick, names=named(3, "first"), group_key=keys[-1])
            async with serving(at) as service:
                names = named(50 if quick else 400)
                plan: dict[str, Any] = {"names": names, "group_key": keys[-1], "at_once": 20}
                # What the front end reads for its first device is no part of the others' cost.
                await registered(service, **plan | {"names": named(1, "warm")})
                fresh = await registered(service, **plan)
                known = await registered(service, **plan)
                wrong = await _refused(service, 20 if quick else 100)
                rows.append(
                    {
                        "groups": count,
                        **begun,
                        "fresh": fresh["front_ms"],
                        "known": known["front_ms"],
                        "wrong": wrong,
                        "resident_mib": round(resident(service.pids) / 1024, 1),
                    }
                )
        took(f"{count} groups with keys")
    return rows


async def _refused(service: Running, count: int) -> float:
    """Return the front end's CPU milliseconds for a device with a wrong key."""
    key = b64encode(b"w" * 32).decode()
    plan = {"port": service.port, "ca": str(service.ca), "scope": SCOPE, "names": named(count, "x")}
    async with devices({**plan, "group_key": key, "at_once": 5}) as go:
        before, _ = service.cpu()
        found = await go()
        after, _ = service.cpu()
    assert len(found["errors"]) == count
    return round((after - before) / count * 1000, 3)


def authorities(count: int) -> Iterator[str]:
    """Yield certificates of CAs, PEM; one key serves them all."""
    key = new_key()
    now = datetime.datetime.now(datetime.UTC)
    validity = (now, now + datetime.timedelta(days=1))
    for number in range(count):
        name = new_name(f"CA {number}")
        builder = new_builder(name, name, key, validity).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        yield certificate_pem(builder.sign(key, hashes.SHA256())).decode()


async def ask_certificates(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """X.509: 1 to 100,000 individuals, and as many groups."""
    rows = []
    authority = DeviceAuthority.root("benchmark")
    count = 50 if quick else 400
    issued = [authority.issue(name) for name in named(count, "x509")]
    pems = [(of.chain + of.key).decode() for of in issued]
    mine = [of.certificate.decode() for of in issued]
    levels = (1, 1000) if quick else (1, 1000, 10_000, 100_000)
    others = [authority.issue(f"other-{number}").certificate.decode() for number in range(2000)]
    for stored in levels:
        certificates = mine + [others[n % len(others)] for n in range(stored)]
        async with place("postgres", running) as at:
            await at.fill(certified("individual", certificates), [])
            plan = {"names": named(count, "x509"), "pems": pems}
            begun = await _begun(at, quick, **plan)
            async with serving(at) as service:
                row = await _cost(service, **plan)
        rows.append({"kind": "individuals", "stored": stored, **begun, **row})
        took(f"{stored} individuals with certificates")
    roots = list(authorities(levels[-1]))
    for stored in levels:
        async with place("postgres", running) as at:
            await at.fill(certified("group", [authority.pem, *roots[: stored - 1]]), [])
            plan = {"names": named(count, "x509"), "pems": pems}
            begun = await _begun(at, quick, **plan)
            async with serving(at) as service:
                row = await _cost(service, **plan)
        rows.append({"kind": "groups", "stored": stored, **begun, **row})
        took(f"{stored} groups with certificates")
    return rows


async def ask_idle(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """Memory of connections that stay open."""
    count = 500 if quick else 10_000
    rows = []
    for store in ("memory", "sqlite", "postgres"):
        if store not in STORES:
            continue
        async with place(store, running) as at:
            given = [individual(name, KEY) for name in named(count)] if store == "memory" else []
            await at.fill(keyed_individuals(count, KEY, "dev"), given)
            async with serving(at) as service:
                plan = {"port": service.port, "ca": str(service.ca), "scope": SCOPE, "key": KEY}
                await registered(service, names=named(100), key=KEY, at_once=50)
                before = resident(service.pids)
                plan |= {"names": named(count), "at_once": 50, "hold": True}
                async with devices(plan) as go:
                    found = await go()
                    await asyncio.sleep(1)
                    held = resident(service.pids) - before
                assert not found["errors"], found["errors"][:3]
                rows.append({"store": store, "connections": count, "kib": round(held / count, 1)})
                took(f"{count} idle connections, {store}")
    return rows


async def ask_fleet(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """Memory of a fleet client."""
    count = 50 if quick else 500
    async with place("memory", running) as at:
        await at.fill(iter(()), [individual(name, KEY) for name in named(count + 5)])
        at.words += ["--retry-after", "90"]
        async with serving(at) as service:
            words = (str(service.port), str(service.ca), SCOPE, KEY, str(count))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.scale_fleet", *words),
                cwd=HERE.parent,
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await process.communicate()
    took(f"{count} devices of a fleet client")
    return [{"devices": count, "kib": float(said)}]


async def ask_admin(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """PUT per second, and the pages of a query."""
    import aiohttp

    stored, puts = (2000, 100) if quick else (100_000, 2000)
    rows = []
    for store in ("sqlite", "postgres"):
        async with place(store, running) as at:
            await at.fill(keyed_individuals(stored, KEY), [])
            async with serving(at) as service, aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{service.admin}"
                numbers = iter(range(puts))

                async def put(url: str = url, numbers: Any = numbers, session: Any = session):
                    for number in numbers:
                        name = f"put-{number}"
                        body = json.dumps(individual(name, KEY))
                        headers = {"Content-Type": "application/json"}
                        async with session.put(
                            f"{url}/enrollments/{name}", data=body, headers=headers
                        ) as answer:
                            assert answer.status == 200, await answer.text()

                front, _ = service.cpu()
                began = time.perf_counter()
                await asyncio.gather(*(put() for _ in range(20)))
                took_puts = time.perf_counter() - began
                used = service.cpu()[0] - front
                pages, token = [], ""
                while True:
                    headers = {"Content-Type": "application/json", "x-ms-max-item-count": "5000"}
                    if token:
                        headers["x-ms-continuation"] = token
                    began = time.perf_counter()
                    async with session.post(
                        f"{url}/enrollments/query",
                        data=json.dumps({"query": "SELECT * FROM enrollments"}),
                        headers=headers,
                    ) as answer:
                        found = await answer.json()
                        assert answer.status == 200, found
                        token = answer.headers.get("x-ms-continuation", "")
                    pages.append((time.perf_counter() - began, len(found)))
                    if not token:
                        break
                assert sum(count for _, count in pages) == stored + puts
                full = [spent for spent, count in pages if count == pages[0][1]]
                rows.append(
                    {
                        "store": store,
                        "stored": stored,
                        "puts": puts,
                        "puts_per_second": round(puts / took_puts, 1),
                        "put_ms": round(used / puts * 1000, 3),
                        "pages": len(pages),
                        "largest_page": max(count for _, count in pages),
                        "first_page_ms": round(full[0] * 1000, 1),
                        "median_page_ms": round(statistics.median(full) * 1000, 1),
                        "last_full_page_ms": round(full[-1] * 1000, 1),
                    }
                )
                took(f"admin API, {store}")
    return rows


async def ask_simulation(running: Cluster, quick: bool, took: Took) -> list[dict[str, Any]]:
    """A fleet that boots at once behind the quotas, with a virtual clock."""
    whole = check(300, 10, SEED)
    short = simulate(300, 10, "new", SEED)
    assert (whole.requests, whole.assigned) == (short.requests, short.assigned)
    took("both sides whole, 300 devices")
    plans = [(1000, 1, "new"), (1000, 1, "old")]
    if not quick:
        plans += [(10_000, 10, "new"), (10_000, 10, "old"), (100_000, 100, "new")]
    rows = []
    for count, per_minute, policy in plans:
        outcome = await asyncio.to_thread(simulate, count, per_minute, policy, SEED)
        hours = [0] * (int(outcome.assigned[-1] // 3600) + 1)
        for moment in outcome.assigned:
            hours[int(moment // 3600)] += 1
        asked = [sum(outcome.arrivals[at : at + 60]) for at in range(0, len(outcome.arrivals), 60)]
        rows.append({**outcome.summary(), "asked_by_hour": asked, "assigned_by_hour": hours})
        took(f"{count} devices, {per_minute} a minute, {policy} policy")
    return rows


QUESTIONS: dict[str, Any] = {
    "rates": ask_rates,
    "stored": ask_stored,
    "groups": ask_groups,
    "certificates": ask_certificates,
    "idle": ask_idle,
    "fleet": ask_fleet,
    "admin": ask_admin,
    "simulation": ask_simulation,
}


def about(options: argparse.Namespace, began: float) -> dict[str, Any]:
    """Return where and when an answer was found."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "commit": short_commit(),
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "seconds": round(time.monotonic() - began),
        "machine": f"{len(model)} cores, {model[0] if model else platform.machine()}",
        "load": [round(of, 1) for of in os.getloadavg()],
        "python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "quick": options.quick,
        "note": options.note,
        "seed": SEED,
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Ask the questions, and keep each answer as it comes."""
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    console = Console(stderr=True)
    columns = [TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn()]
    shown = TextColumn("{task.fields[shown]}")
    wanted = options.only or list(QUESTIONS)
    with (
        cluster() as running,
        Progress(*columns, TimeElapsedColumn(), shown, console=console) as bar,
    ):
        task = bar.add_task("questions", total=len(wanted), shown="")
        for name in wanted:
            began = time.monotonic()

            def took(word: str, name: str = name) -> None:
                bar.update(task, shown=f"{name}: {word}")
                if not console.is_terminal:
                    print(f"{name}: {word}", file=sys.stderr, flush=True)

            rows = await QUESTIONS[name](running, options.quick, took)
            others = kept.get(name, {}).get("rows", ())
            rows = [row for row in others if row.get("store", STORES[0]) not in STORES] + rows
            kept[name] = {"about": about(options, began), "rows": rows}
            if not options.quick:
                KEPT.write_text(json.dumps(kept, indent=1) + "\n")
            bar.advance(task)
    return kept


def main() -> None:
    """Measure, keep, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers; nothing is written")
    parser.add_argument("--only", nargs="*", choices=QUESTIONS, help="questions to ask; all else")
    parser.add_argument("--stores", nargs="*", choices=STORES, help="only with these; all else")
    parser.add_argument("--note", default="", help="a remark on this run, such as other work")
    parser.add_argument("--render", action="store_true", help="ask nothing, write the page anew")
    options = parser.parse_args()
    if options.stores:
        STORES[:] = options.stores
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kept = json.loads(KEPT.read_text()) if options.render else asyncio.run(run(options))
    page, pictures = scale_report.render(kept)
    if options.quick:
        print(page)
        return
    (HERE / "scale.md").write_text(page)
    for name, picture in pictures.items():
        (HERE / name).write_text(picture)


if __name__ == "__main__":
    main()
