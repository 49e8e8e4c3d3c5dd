"""A local DPS as a program of its own for ``benchmarks.scale``: started, filled, and looked at."""

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.dps.group_index import GroupIndex
from mqttws.dps.records import EnrollmentGroup
from mqttws.dps.tables import CERTIFIED, GROUPS, INDIVIDUALS
from mqttws.local.chains import EnrolledChains
from mqttws.local.stores import open_store
from mqttws.local.stores.memory import MemoryStore
from mqttws.local.x509 import read_certificate
from tests.local.stores.cluster import Cluster
from tests.local.stores.conftest import clear
from tests.ports import free_port

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
SCOPE = "0ne00LOCAL"

Row = tuple[str, str, int, str, str, str]
"""A row of a store: table, key, version, value, group, alias."""


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):  # a thread, or the process, may have ended
                found += map(int, children.read_text().split())
    return found


def cpu_of(pids: Iterable[int]) -> float:
    """Return the seconds of CPU that processes have used, and those below them that have ended."""
    used = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used += sum(map(int, fields[11:15]))
    return used / TICKS


def resident(pids: Iterable[int]) -> int:
    """Return the KiB of memory that processes hold alone (USS: shared pages are left out)."""
    private = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                private += int(line.split()[1])
    return private


@dataclass
class Running:
    """A service that serves.

    Attributes:
        port: for MQTT over TLS.
        admin: of the admin API.
        ca: PEM.
        started: seconds from the start of the program to the line that says where it listens.
        pid: of the program.
        database: of PostgreSQL's processes; empty without.
    """

    port: int
    admin: int
    ca: Path
    started: float
    pid: int
    database: list[int]

    @property
    def pids(self) -> list[int]:
        """The front ends, and the process above them."""
        return family(self.pid)

    def cpu(self) -> tuple[float, float]:
        """Return the seconds of CPU of the front ends and of the database."""
        return cpu_of(self.pids), cpu_of(family(self.database[0]) if self.database else ())


class Place:
    """Where the records of one run are.

    Args:
        store: ``memory``, ``sqlite`` or ``postgres``.
        folder: of the state.
        cluster: of PostgreSQL.
    """

    def __init__(self, store: str, folder: Path, cluster: Cluster) -> None:
        self.store = store
        self.folder = folder
        self.cluster = cluster
        self.words: list[str] = []
        if store == "sqlite":
            self.words = ["--records", str(folder / "records")]
        elif store == "postgres":
            clear(cluster)
            self.words = ["--records", cluster.url]

    async def fill(self, rows: Iterator[Row], given: list[dict[str, Any]]) -> None:
        """Store rows, and let the service be given the enrollments ``given`` at its start."""
        if given:
            file = self.folder / "enrollments.json"
            file.write_text(json.dumps(given))
            self.words += ["--enrollments", str(file)]
        if self.store == "memory":
            return
        store = open_store(self.words[1])
        await store.open()
        await store.close()
        if self.store == "sqlite":
            with sqlite3.connect(self.folder / "records") as database:
                database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.close()
            return
        import psycopg

        with psycopg.connect(self.cluster.url) as connection, connection.cursor() as cursor:
            with cursor.copy("COPY mqttws.rows FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE mqttws.rows")


@asynccontextmanager
async def place(store: str, cluster: Cluster) -> AsyncIterator[Place]:
    """Make room for the records of one run."""
    with tempfile.TemporaryDirectory(prefix="mqttws-scale-", dir="/dev/shm") as folder:
        yield Place(store, Path(folder), cluster)


@asynccontextmanager
async def serving(at: Place, processes: int = 1) -> AsyncIterator[Running]:
    """Run ``mqttws serve`` over the records of a place."""
    port, admin = free_port(), free_port()
    words = ["--mqtts-port", str(port), "--wss-port", "0", "--admin-port", str(admin)]
    words += ["--state", str(at.folder), "--retry-after", "0", "--json", *at.words]
    if processes > 1:
        words += ["--processes", str(processes)]
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mqttws", "serve", *words),
        cwd=HERE.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(300):
            line = await process.stdout.readline()
        assert line, "the service has not started"
        started = time.perf_counter() - began
        database = []
        if at.store == "postgres":
            text = (at.cluster.data / "postmaster.pid").read_text()
            database = [int(text.split()[0])]
        yield Running(port, admin, at.folder / "ca.pem", started, process.pid, database)
    finally:
        process.terminate()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


# Enrollments by the hundred thousand: text, made from one that the service has written itself


def _row(table: Any, record: dict[str, Any]) -> tuple[str, str]:
    (enrollment,) = parse_enrollments(json.dumps([record]), "benchmark")
    return table.encode(enrollment), table.group(enrollment)


def keyed_individuals(count: int, key: str, prefix: str = "stored") -> Iterator[Row]:
    """Yield individual enrollments with one key."""
    text, group = _row(INDIVIDUALS, individual("NAME", key))
    for number in range(count):
        name = f"{prefix}-{number}"
        yield INDIVIDUALS.name, name, number + 1, text.replace("NAME", name), group, ""


def keyed_groups(keys: list[str]) -> Iterator[Row]:
    """Yield enrollment groups, each with a key of its own."""
    text, group = _row(GROUPS, {"enrollmentGroupId": "NAME", **symmetric("KEY=".rjust(44, "A"))})
    for number, key in enumerate(keys):
        value = text.replace("NAME", f"group-{number}").replace("KEY=".rjust(44, "A"), key)
        yield GROUPS.name, f"group-{number}", number + 1, value, group, ""
    names = (f"group-{number}" for number in range(len(keys)))
    yield from _along(
        EnrollmentGroup(primary_key=b"k" * 32, enrollment_group_id=name) for name in names
    )


def certified(kind: str, certificates: list[str]) -> Iterator[Row]:
    """Yield enrollments with certificates, PEM: ``individual`` or ``group``."""
    table = INDIVIDUALS if kind == "individual" else GROUPS
    where = "clientCertificates" if kind == "individual" else "signingCertificates"
    named = "registrationId" if kind == "individual" else "enrollmentGroupId"
    for number, pem in enumerate(certificates):
        attested = {"type": "x509", "x509": {where: {"primary": {"certificate": pem}}}}
        if number == 0:
            text, _ = _row(table, {named: "NAME", "attestation": attested})
            first = json.dumps(pem)[1:-1]
            assert first in text
        name = f"x509-{number}"
        value = text.replace("NAME", name).replace(first, json.dumps(pem)[1:-1])
        yield table.name, name, number + 1, value, CERTIFIED, ""
    if kind == "group":
        yield from _along(
            EnrollmentGroup(
                primary_certificate=read_certificate(pem), enrollment_group_id=f"x509-{number}"
            )
            for number, pem in enumerate(certificates)
        )


def _along(groups: Iterable[EnrollmentGroup]) -> Iterator[Row]:
    """Yield the rows that the service writes along with groups; each of them once."""
    index, seen = GroupIndex(MemoryStore(), EnrolledChains()), set()
    for group in groups:
        for table, key, value, _ in index.changes(None, group):
            if (table.name, key) not in seen:
                seen.add((table.name, key))
                text = table.encode(value)
                yield table.name, key, len(seen), text, table.group(value), table.alias(value)


def symmetric(key: str) -> dict[str, Any]:
    """Return an attestation by a key."""
    return {"attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}}


def individual(name: str, key: str) -> dict[str, Any]:
    """Return an individual enrollment."""
    return {"registrationId": name, **symmetric(key)}
