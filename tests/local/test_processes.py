"""``mqttws serve --processes``: one set of ports, front ends that are replaced, an orderly end."""

import asyncio
import itertools
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import pytest

from mqttws import SymmetricKey, TlsConfig, provision_async
from mqttws.cli import supervisor as supervisor_module
from mqttws.cli.serve import _check_processes, serve
from mqttws.cli.serving import READY
from mqttws.cli.supervisor import Supervisor
from mqttws.errors import ServiceFailed, UsageError
from mqttws.local.certificates import prepare_certificates
from mqttws.local.handed import VARIABLE
from tests.conftest import peer_missing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no sockets are handed over there")


async def run(*words: str, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mqttws", "serve", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Service:
    """A running ``mqttws serve --processes 2``."""

    def __init__(self, process: asyncio.subprocess.Process, place: dict[str, Any], log: Path):
        self.process = process
        self.place = place
        self._log = log

    @property
    def front_ends(self) -> list[int]:
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def log_says(self, text: str, count: int = 1) -> None:
        async with asyncio.timeout(20):
            while self._log.read_text().count(text) < count:
                await asyncio.sleep(0.02)

    async def provision(self) -> str:
        key = await asyncio.to_thread(Path(self.place["example"]["key_file"]).read_text)
        found = await provision_async(
            self.place["id_scope"],
            SymmetricKey("example-device", key.strip()),
            host="127.0.0.1",
            port=self.place["wss_port"],
            tls=TlsConfig(ca=self.place["ca_file"], only_ca=True),
            timeout=30,
        )
        return found.assigned_hub


@asynccontextmanager
async def serving(state: Path) -> AsyncIterator[Service]:
    log = state / "log"
    with open(log, "wb") as written:  # noqa: ASYNC230 - once
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mqttws", "serve", "--json", "--processes", "2"),
            stdout=asyncio.subprocess.PIPE,
            stderr=written,
            env={
                **os.environ,
                "MQTTWS_SERVE_WSS_PORT": "0",
                "MQTTWS_SERVE_MQTTS_PORT": "0",
                "MQTTWS_SERVE_RETRY_AFTER": "0",
                "MQTTWS_SERVE_ADMIN_PORT": "0",
                "MQTTWS_SERVE_STATE": str(state),
                "MQTTWS_SERVE_RECORDS": str(state / "records.sqlite"),
            },
        )
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        assert line, log.read_text()
        made = Service(process, json.loads(line), log)
        await made.log_says("front end 2 serves")
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def serial(place: dict[str, Any]) -> str:
    """Return the serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=place["ca_file"])
    with (
        socket.create_connection(("127.0.0.1", place["wss_port"]), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        found = secured.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


async def test_dead_front_ends_are_replaced_and_waiting_connections_served(
    dps_state: Path,
) -> None:
    """Every option is in the environment; both front ends are killed while a device connects."""
    async with serving(dps_state) as service:
        assert await service.provision()
        killed = service.front_ends
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert await service.provision()
        await service.log_says("has ended: SIGKILL", 2)
        await service.log_says("front end 1 serves", 2)  # either may have served the device
        await service.log_says("front end 2 serves", 2)
        assert not set(service.front_ends) & set(killed)
        service.process.send_signal(signal.SIGTERM)
        assert await service.process.wait() == 0
        await service.log_says("(1) SIGTERM: the service ends")
        await service.log_says("(2) SIGTERM: the service ends")


async def test_metrics_are_the_sum_over_front_ends_dead_ones_too(dps_state: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def assigned() -> float:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{service.place['admin']}/metrics") as answer:
                assert answer.status in (200, 501)
                if answer.status == 501:
                    peer_missing("prometheus_client is not installed: mqttws[metrics]")
                lines = (await answer.text()).splitlines()
        found = [line for line in lines if line.startswith("mqttws_dps_assigned_total{")]
        return sum(float(line.split()[-1]) for line in found)

    async with serving(dps_state) as service:
        for number in range(1, 5):
            await service.provision()
            assert await assigned() == number
        for pid in service.front_ends:
            os.kill(pid, signal.SIGKILL)
        await service.log_says("has ended: SIGKILL", 2)
        assert await assigned() == 4


async def test_a_new_certificate_is_shown_and_no_connection_dropped(dps_state: Path) -> None:
    async with serving(dps_state) as service:
        before = await asyncio.to_thread(serial, service.place)
        context = ssl.create_default_context(cafile=service.place["ca_file"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", service.place["mqtts_port"], ssl=context
        )
        # The folder is all tests' own: a name that no certificate in it has yet.
        prepare_certificates(dps_state, (f"{uuid4()}.example",))
        service.process.send_signal(signal.SIGHUP)
        await service.log_says("the certificate has been read again", 2)
        assert await asyncio.to_thread(serial, service.place) != before
        writer.write(bytes.fromhex("10 0d 0004 4d515454 04 02 003c 0001 61"))
        assert (await reader.read(4))[:1] == b"\x20"  # CONNACK on the old connection
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


async def test_front_ends_end_with_their_supervisor(dps_state: Path) -> None:
    async with serving(dps_state) as service:
        front_ends = service.front_ends
        service.process.kill()
        await service.process.wait()
        async with asyncio.timeout(20):
            while any(map(alive, front_ends)):
                await asyncio.sleep(0.05)
        await service.log_says("the supervisor has ended: the service ends", 2)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be counted does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "records in memory are one process's alone"),
        (("--records", "r.sqlite", "--with-hub"), "the hubs are one process's alone"),
        (("--records", "r.sqlite", "--enrollments", "-"), "allowed: a file"),
    ],
)
async def test_what_front_ends_cannot_share_is_refused(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = await run("--processes", "2", "--state", str(tmp_path), *words)
    assert (code, said in err) == (2, True)


async def test_a_taken_port_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--records", str(tmp_path / "r"), "--wss-port", str(port), "--mqtts-port", "0")
        code, out, err = await run("--processes", "2", "--state", str(tmp_path), *words)
    assert code not in (0, 2)
    assert not out
    assert str(port) in err


async def test_the_variable_of_front_ends_is_no_ones_else(tmp_path: Path) -> None:
    code, _, err = await run("--state", str(tmp_path), **{VARIABLE: '{"number":1,"sockets":7}'})
    assert (code, "only 'mqttws serve --processes' sets it" in err) == (2, True)


def test_every_option_has_a_variable_of_its_own() -> None:
    options = [
        of for of in serve.params if isinstance(of, click.Option) and "--help" not in of.opts
    ]
    names = [option.envvar for option in options]
    assert "MQTTWS_SERVE_REGISTERS_PER_MINUTE" in names
    assert None not in names
    assert len(set(names)) == len(names) > 20


# Front ends that do not behave


def scripted(count: int, script: str) -> Supervisor:
    made = Supervisor(count, {"wss": ("127.0.0.1", 0)}, [])
    made._command = [sys.executable, "-c", script]
    return made


async def test_one_that_keeps_dying_is_replaced_ever_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", 0.1)
    monkeypatch.setattr(supervisor_module, "LONGEST_DELAY", 0.8)
    starts = tmp_path / "starts"
    script = (
        f"import time; print(time.monotonic(), file=open({str(starts)!r}, 'a')); print({READY!r})"
    )
    running = asyncio.create_task(scripted(1, script).run())
    while not starts.exists() or len(starts.read_text().split()) < 6:
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    times = [float(word) for word in starts.read_text().split()][:6]  # one more may have come
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8, 0.8), strict=True):
        assert gap >= least


async def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "DRAIN_TIMEOUT", 0.2)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f" print({READY!r}, flush=True); time.sleep(60)"
    )
    supervised = scripted(2, script)
    running = asyncio.create_task(supervised.run())
    while len(supervised._processes) < 2:
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await running
    assert not supervised._processes


@pytest.mark.parametrize(("code", "again"), [(1, True), (2, False), (41, False)])
async def test_a_first_front_end_that_cannot_serve_is_an_error(code: int, again: bool) -> None:
    with pytest.raises(ServiceFailed, match=f"before it could serve: exit code {code}") as failed:
        await scripted(2, f"raise SystemExit({code})").run()
    assert failed.value.retryable is again  # as the front end has said it


def test_several_front_ends_are_not_for_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="not on Windows"):
        _check_processes("records.sqlite", None, False)
