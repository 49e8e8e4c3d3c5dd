"""A PostgreSQL of the tests' own: a cluster in a temporary folder, started and stopped at will."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import peer_missing
from tests.ports import free_port

_ROOM = 1 << 30  # bytes
_PLACES = "/usr/lib/postgresql/*/bin"


class Cluster:
    """A cluster that listens on a loopback port.

    Attributes:
        url: of its database.
        local_url: the same through a socket in the file system.
    """

    def __init__(self, folder: Path, programs: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._programs = programs
        self.url = f"postgresql://mqttws:s3cret-word@127.0.0.1:{port}/postgres"
        self.local_url = f"postgresql://mqttws:s3cret-word@/postgres?host={folder}&port={port}"

    def run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        if os.geteuid() == 0:
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd="/")

    def make(self) -> None:
        password = self.folder / "password"
        password.write_text("s3cret-word\n")
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self.folder, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        words = ("-U", "mqttws", "-A", "scram-sha-256", "--pwfile", str(password))
        self.run("initdb", "-D", str(self.data), "--no-sync", "-E", "UTF8", "--locale=C", *words)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
            " -c max_connections=50 -c shared_buffers=32MB"
        )
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")


def _fast_folder() -> str | None:
    """Return a folder in memory where there is room: a disk's flushes take most of the tests' time.

    None of them stops the machine, only processes: what was written is there all the same.
    """
    folder = "/dev/shm"
    try:
        return folder if shutil.disk_usage(folder).free > _ROOM else None
    except OSError:
        return None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a cluster."""
    found = sorted(Path("/").glob(_PLACES.removeprefix("/")))
    if not found:
        peer_missing("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="mqttws-postgres-", dir=_fast_folder()))
    folder.chmod(0o755)
    made = Cluster(folder, found[-1], free_port())
    try:
        made.make()
        made.start()
        try:
            yield made
        finally:
            made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
