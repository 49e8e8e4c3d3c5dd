"""Many devices from one process."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from mqttws import (
    Assignment,
    AsyncLocalDps,
    RegistrationRejected,
    SymmetricKey,
    TlsConfig,
    UsageError,
)
from mqttws.cli.fleet_file import read_fleet
from mqttws.cli.fleet_results import Results, assigned_in
from mqttws.dps.assignment import read_text
from mqttws.errors import ProxyRefused, RequestTimedOut, StoreFailed, StoreFull
from mqttws.hops import Cause, Hop
from mqttws.local.x509 import DeviceAuthority
from mqttws.net.hops import Step
from mqttws.provisioning.fleet import FleetResult, _Gate, provision_fleet_async
from mqttws.retry import MIN_ATTEMPT

from ..cli.shell import interruptible, only_line, run, secret_file
from ..local import x509_world
from ..local.test_webhook import HUB, ok, webhook
from ..net.rogue import listening
from ..ports import free_port

GOOD = "AAECAwQFBgcICQoLDA0ODw=="
"""A key that is none of the enrolled ones."""


async def run_fleet(
    dps: AsyncLocalDps, credentials: list[SymmetricKey], **options: Any
) -> dict[str, FleetResult]:
    results: dict[str, FleetResult] = {}

    def on_result(result: FleetResult) -> None:
        results[result.registration_id] = result

    await provision_fleet_async(
        dps.id_scope,
        credentials,
        on_result,
        host=dps.host,
        port=dps.wss_port,
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
        **{"jitter": 0, **options},
    )
    return results


async def enrolled(dps: AsyncLocalDps, count: int) -> list[SymmetricKey]:
    return [SymmetricKey(f"d-{n}", await dps.enroll_device(f"d-{n}")) for n in range(count)]


async def test_one_devices_failure_does_not_stop_the_others(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        credentials = await enrolled(dps, 12)
        await dps.fault("answer", "d-5", status=401)
        results = await run_fleet(dps, credentials, concurrency=4)
    assert len(results) == 12
    assert isinstance(results["d-5"].error, RegistrationRejected)
    assert sum(result.assignment is not None for result in results.values()) == 11


async def test_a_429_for_one_is_meant_for_all(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        credentials = await enrolled(dps, 6)
        await dps.fault("answer", status=429, retry_after=1)
        began = asyncio.get_running_loop().time()
        asked: list[float] = []
        admit = dps.service.admit

        def noted(*arguments: Any) -> Any:
            asked.append(asyncio.get_running_loop().time() - began)
            return admit(*arguments)

        dps.service.admit = noted  # type: ignore[method-assign]
        results = await run_fleet(dps, credentials, concurrency=2)
    assert all(result.assignment for result in results.values())
    # Two were on their way when DPS said 429: the others came after the second it named.
    assert sum(moment < 1 for moment in asked) <= 3


async def test_a_concurrency_is_at_least_one(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        with pytest.raises(UsageError):
            await run_fleet(dps, [], concurrency=0)


def words(dps: AsyncLocalDps, file: Path) -> tuple[str, ...]:
    """Return the command line that provisions the fleet of a file."""
    return (
        *("provision-fleet", str(file), "--id-scope", dps.id_scope, "--host", dps.host),
        *("--port", str(dps.wss_port), "--ca", str(dps.ca_file), "--jitter", "0"),
    )


async def shell(dps: AsyncLocalDps, file: Path, *options: str) -> asyncio.subprocess.Process:
    with interruptible():
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mqttws", *words(dps, file), *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


async def write_fleet(file: Path, dps: AsyncLocalDps, count: int) -> None:
    rows = [f"d-{number},{await dps.enroll_device(f'd-{number}')}" for number in range(count)]
    secret_file(file, "registration_id,key\n" + "\n".join(rows) + "\n")


def read_results(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


async def test_the_shell_goes_on_where_it_was_interrupted(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "fleet.csv.results.csv"
    async with local_dps as dps:
        await write_fleet(file, dps, 8)
        await dps.fault("answer", "d-1", status=401)
        order = await dps.fault("silence", "d-4", times=None)
        first = await shell(dps, file, "--concurrency", "1")
        while not results.exists() or len(read_results(results)) < 4:
            assert first.returncode is None
            await asyncio.sleep(0.05)  # another process's file has no way to tell
        first.send_signal(signal.SIGINT)
        await first.communicate()
        assert first.returncode == 130
        statuses = [row["status"] for row in read_results(results)]
        assert statuses == ["assigned", "error", "assigned", "assigned"]
        with results.open("a") as cut_off:
            cut_off.write("d-4,assig")
        await dps.faults.cancel(order)
        second = await shell(dps, file)
        out, err = await second.communicate()
    assert (second.returncode, err) == (0, b"")
    assert out == b"5 assigned, 0 failed, 3 were assigned already\n"
    good = [row["registration_id"] for row in read_results(results) if row["device_id"]]
    assert sorted(good) == [f"d-{number}" for number in range(8)]
    keys = [line.split(",")[1] for line in file.read_text().splitlines()[1:]]
    assert not any(key in results.read_text() for key in keys)


async def test_a_fleet_of_certificates_and_payloads(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    root = DeviceAuthority.root()
    lines = ["registration_id,chain_file,key_file,payload"]
    for number in range(3):
        issued = root.issue(f"d-{number}")
        (tmp_path / f"{number}.pem").write_bytes(issued.chain)
        (tmp_path / f"{number}.key").write_bytes(issued.key)
        files = f"{tmp_path}/{number}.pem,{tmp_path}/{number}.key"
        lines.append(f'd-{number},{files},"{{""model"": {number}}}"' if number else f"d-0,{files},")
    file = tmp_path / "fleet.csv"
    file.write_text("\n".join(lines) + "\n")

    def allocate(question: dict[str, Any]) -> bytes:
        sent = question["deviceRuntimeContext"]["payload"]
        return ok({"iotHubHostName": HUB, "payload": sent and {"took": [sent["model"], "\u0159"]}})

    async with webhook(allocate) as (url, _), local_dps as dps:
        custom = {"allocationPolicy": "custom", "customAllocationDefinition": {"webhookUrl": url}}
        await dps.enroll(x509_world.group("fleet", root, **custom))
        process = await shell(dps, file)
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out == b"3 assigned, 0 failed, 0 were assigned already\n"
    results = read_results(tmp_path / "fleet.csv.results.csv")
    found = {row["registration_id"]: row["payload"] for row in results}
    assert found.pop("d-0") == ""
    for number in (1, 2):
        assert json.loads(found[f"d-{number}"]) == {"took": [number, "\u0159"]}


async def test_a_line_cut_off_within_a_quote_hides_none_below_it(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "results.csv"
    results.write_text(
        "registration_id,status,assigned_hub,device_id,substatus,payload,error\n"
        'd-0,assigned,hub,d-0,initialAssignment,"{""mo\n'
        "d-1,assigned,hub,d-1,initialAssignment,,\n"
    )
    async with local_dps as dps:
        await write_fleet(file, dps, 2)
        for told in (b"1 assigned, 0 failed, 1 were", b"0 assigned, 0 failed, 2 were"):
            process = await shell(dps, file, "--results", str(results))
            out, err = await process.communicate()
            assert (process.returncode, err) == (0, b"")
            assert out == told + b" assigned already\n"


async def test_results_may_be_longer_than_any_other_file(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "results.csv"
    payload = '"{""' + "x" * 200_000 + '"":0}"'
    results.write_text(
        "registration_id,status,assigned_hub,device_id,substatus,payload,error\n"
        + "".join(f"d-{number},assigned,hub,d,s,{payload},\n" for number in range(30))
    )
    async with local_dps as dps:
        await write_fleet(file, dps, 30)
        process = await shell(dps, file, "--results", str(results))
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out == b"0 assigned, 0 failed, 30 were assigned already\n"


async def test_results_that_cannot_be_written_end_it_in_one_line(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "results.csv"
    program = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200));"
        " runpy.run_module('mqttws', run_name='__main__')"
    )
    async with local_dps as dps:
        await write_fleet(file, dps, 8)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, "provision-fleet", str(file)),
            *("--id-scope", dps.id_scope, "--host", dps.host, "--port", str(dps.wss_port)),
            *("--ca", str(dps.ca_file), "--results", str(results)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode in (1, 41)  # a fault of this host's, and no argument's
    assert out == b""
    assert err.startswith(f"mqttws: results {results}: ".encode())
    assert b"make room on the disk" in err
    assert err.count(b"\n") == 1


async def test_what_on_result_raises_comes_out_as_it_is(local_dps: AsyncLocalDps) -> None:
    def on_result(_: FleetResult) -> None:
        raise LookupError

    async with local_dps as dps:
        credentials = await enrolled(dps, 2)
        with pytest.raises(LookupError):
            await provision_fleet_async(
                dps.id_scope, credentials, on_result, host=dps.host, port=dps.wss_port
            )


async def test_results_of_another_kind_are_left_alone(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "results.csv"
    results.write_text("name,age\nx,1\n")
    async with local_dps as dps:
        await write_fleet(file, dps, 1)
        process = await shell(dps, file, "--results", str(results))
        _, err = await process.communicate()
    assert process.returncode == 41
    assert b"results.csv: line 1" in err
    assert results.read_text() == "name,age\nx,1\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1"),
        ("name,key\n", "line 1"),
        ("registration_id,key\nd-1\n", "line 2"),
        ("registration_id,key\nd-1,AAAA\n", "line 2"),
        ("registration_id,key\nd!,AAECAwQFBgcICQoLDA0ODw==\n", "line 2"),
        (
            "registration_id,key\nd-1,AAECAwQFBgcICQoLDA0ODw==\nD-1,AAECAwQFBgcICQoLDA0ODw==\n",
            "line 3",
        ),
        ("registration_id,chain_file\nd-1,/no/such\n", "line 2"),
        ("registration_id,key,payload\nd-1,AAECAwQFBgcICQoLDA0ODw==,{AAAA\n", "payload: not JSON"),
    ],
)
async def test_a_wrong_line_is_named_and_nothing_is_sent(
    local_dps: AsyncLocalDps, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "fleet.csv"
    secret_file(file, text)
    async with local_dps as dps:
        done = await asyncio.to_thread(run, *words(dps, file))
    assert (done.returncode, done.stdout) == (41, "")
    assert told in only_line(done.stderr)
    assert "AAAA" not in done.stderr


async def test_all_faults_of_a_file_are_told_in_one_run(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.csv"
    bad = ["d!,AAAA", f"d-1,{GOOD}", f"D-1,{GOOD}", "d-2", "d-3,AAAA", f"d-4,{GOOD}"]
    secret_file(file, "registration_id,key\n" + "\n".join(bad) + "\n")
    async with local_dps as dps:
        done = await asyncio.to_thread(run, *words(dps, file))
    assert (done.returncode, done.stdout) == (41, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert [f"line {n}:" in line for n, line in zip((2, 4, 5, 6), lines, strict=False)] == [
        True
    ] * 4
    assert "4 faults; nothing was sent" in lines[-1]
    assert "--skip-bad" in lines[-1]
    assert "AAAA" not in done.stderr
    assert not (tmp_path / "fleet.csv.results.csv").exists()


async def test_bad_rows_can_be_skipped_and_each_result_is_a_line_of_json(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.csv"
    async with local_dps as dps:
        rows = [f"d-{n}, {await dps.enroll_device(f'd-{n}')}, hall {n}" for n in range(3)]
        text = "Registration_ID, Key,site\n" + "\n".join([*rows, "d-9,AAAA,x", "d-8"]) + "\n"
        file.write_text(text)
        await dps.fault("answer", "d-1", status=401)
        process = await shell(dps, file, "--skip-bad", "--json", "--concurrency", "1")
        out, err = await process.communicate()
    assert process.returncode == 3
    assert b"columns not used: site" in err
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["status"] for one in found] == ["assigned", "error", "assigned", "done"]
    assert found[0]["assigned_hub"] == "local-hub.azure-devices.net"
    assert found[1]["error"] == "RegistrationRejected"
    assert (found[1]["cause"], found[1]["retryable"]) == ("wrong-key", False)
    counts = {"assigned": 2, "failed": 1, "before": 0, "skipped": 2, "left": 0}
    assert found[3] == {"schema": 1, "status": "done", "exit_code": 3} | counts


async def test_two_runs_on_one_results_file_are_refused(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.csv"
    results = tmp_path / "fleet.csv.results.csv"
    async with local_dps as dps:
        await write_fleet(file, dps, 2)
        await dps.fault("silence", times=None)
        first = await shell(dps, file)
        while not results.exists() or not results.read_text():
            await asyncio.sleep(0.05)  # another process's file has no way to tell
        second = await shell(dps, file)
        out, err = await second.communicate()
        first.send_signal(signal.SIGINT)
        await first.communicate()
    assert (second.returncode, out) == (1, b"")
    assert b"another run writes to this file" in err
    assert err.count(b"\n") == 1


async def test_ctrl_c_twice_names_the_results_and_the_command_that_goes_on(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "fleet.csv.results.csv"
    async with local_dps as dps:
        await write_fleet(file, dps, 4)
        await dps.fault("silence", "d-2", times=None)
        process = await shell(dps, file, "--concurrency", "1")
        while not results.exists() or len(read_results(results)) < 2:
            await asyncio.sleep(0.05)  # another process's file has no way to tell
        for _ in range(3):
            process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    told = err.decode()
    assert told.count("\n") == 1
    assert "interrupted: 2 assigned, 0 failed, 2 not done" in told
    assert str(results) in told
    assert f"go on with: mqttws provision-fleet {file}" in told


CTRL_C_AS_THE_LOOP_ENDS = """
import asyncio, os, signal, types
from asyncio.selector_events import BaseSelectorEventLoop as Loop
from mqttws.cli import fleet

async def interrupted(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)

def close_and_interrupt(loop, close=Loop._close_self_pipe):
    close(loop)
    os.kill(os.getpid(), signal.SIGINT)

fleet.provision_fleet_async = interrupted
Loop._close_self_pipe = close_and_interrupt
assert fleet._run("0ne00LOCAL", [], types.SimpleNamespace(add=None))
"""


def test_ctrl_c_as_the_loop_ends_is_not_told() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_AS_THE_LOOP_ENDS],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("transport", ["wss", "auto"])
async def test_a_refused_proxy_login_is_sent_once_and_ends_the_fleet(
    local_dps: AsyncLocalDps, transport: Literal["wss", "auto"]
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")

    async with listening(refuse) as port, local_dps as dps:
        results: list[FleetResult] = []
        with pytest.raises(ProxyRefused) as caught:
            await provision_fleet_async(
                dps.id_scope,
                await enrolled(dps, 12),
                results.append,
                host=dps.host,
                transport=transport,
                proxy=f"http://user:wrong@127.0.0.1:{port}",
            )
    assert caught.value.cause is Cause.PROXY_LOGIN_REFUSED
    assert len(asked) == 1
    assert results == []


async def test_a_fleet_has_a_time_limit_for_all(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        credentials = await enrolled(dps, 4)
        await dps.fault("silence", "d-1", times=None)
        results: dict[str, FleetResult] = {}
        began = asyncio.get_running_loop().time()
        with pytest.raises(RequestTimedOut, match="the fleet was not done"):
            await provision_fleet_async(
                dps.id_scope,
                credentials,
                lambda result: results.update({result.registration_id: result}),
                concurrency=1,
                total_timeout=2.0,
                host=dps.host,
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                jitter=0,
            )
        assert asyncio.get_running_loop().time() - began < 5
    assert results["d-0"].assignment is not None
    assert isinstance(results["d-1"].error, RequestTimedOut)
    assert "the time for all devices was over" in str(results["d-1"].error)
    assert set(results) == {"d-0", "d-1"}


@pytest.mark.parametrize("wait_for_network", [True, False])
@pytest.mark.parametrize("concurrency", [1, 2, 10])
async def test_the_time_limit_for_all_holds_where_the_way_never_opens(
    concurrency: int, wait_for_network: bool
) -> None:
    results: list[FleetResult] = []
    credentials = [SymmetricKey(f"d-{number}", GOOD) for number in range(20)]
    async with asyncio.timeout(30):
        registered = provision_fleet_async(
            "0ne00LOCAL",
            credentials,
            results.append,
            concurrency=concurrency,
            total_timeout=0.6 if wait_for_network else 60.0,  # else each fails at once
            wait_for_network=wait_for_network,
            host="127.0.0.1",
            port=free_port(),
            proxy=None,
        )
        if wait_for_network:
            with pytest.raises(RequestTimedOut, match="the fleet was not done"):
                await registered
            assert [result.registration_id for result in results] == ["d-0"]
        else:
            await registered
            assert len(results) == 20


def busy(seconds: float) -> Step:
    return Step(Hop.REGISTER, ended=0.0, status=429, retry_after=seconds)


async def test_a_wait_for_dps_does_not_outlast_the_time_limit_for_all() -> None:
    now = asyncio.get_running_loop().time
    gate, began = _Gate(600.0, 2.0), now()
    gate.on_step(busy(0.2))
    async with asyncio.timeout(5):
        left = await gate.enter()
    assert left >= MIN_ATTEMPT
    assert 0.2 <= now() - began <= 2.0 - MIN_ATTEMPT
    assert not gate.is_late


async def test_no_device_waits_for_a_turn_behind_the_time_limit_for_all() -> None:
    now = asyncio.get_running_loop().time
    gate, began = _Gate(0.0, 30.0), now()
    gate.on_step(busy(60.0))
    assert await gate.enter() == 0.0
    assert gate.is_late
    assert now() - began < 5


async def test_no_device_begins_without_time_for_an_attempt() -> None:
    gate = _Gate(0.0, MIN_ATTEMPT / 2)
    assert await gate.enter() == 0.0
    assert gate.is_late


async def test_a_fleets_cache_keeps_a_file_for_each_device(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    async with local_dps as dps:
        credentials = await enrolled(dps, 3)
        first = await run_fleet(dps, credentials, cache=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["d-0.json", "d-1.json", "d-2.json"]
    again = await run_fleet(dps, credentials, cache=tmp_path)  # the service is gone
    assert {name: one.assignment for name, one in again.items()} == {
        name: one.assignment for name, one in first.items()
    }


async def test_a_fleets_cache_is_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results: list[FleetResult] = []
    for cache in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(StoreFailed, match="no such folder"):
            await provision_fleet_async(
                "0ne00LOCAL", [SymmetricKey("d-0", GOOD)], results.append, cache=cache
            )
    assert results == []


@pytest.mark.parametrize(
    "substatus",
    [
        "x\nd-9,assigned,hub.azure-devices.net,d-9,initialAssignment,,",
        "x\rd-9,assigned,hub.azure-devices.net,d-9,initialAssignment,,",
        "\ud800",
    ],
)
def test_no_text_of_the_service_forges_a_result(tmp_path: Path, substatus: str) -> None:
    file = tmp_path / "results.csv"
    with Results(str(file), as_json=False) as results:
        for name in ("d-0", "d-1"):
            assignment = Assignment(
                "hub.azure-devices.net", name, substatus, name, "1.operation", payload=substatus
            )
            results.add(FleetResult(name, assignment))
    assert file.read_text().count("\n") == 3
    assert assigned_in(str(file)) == {"d-0", "d-1"}


def test_half_a_character_of_the_service_is_written_out() -> None:
    text = read_text({"substatus": "a\ud800\u0159"}, "substatus")
    assert text == "a\\ud800\u0159"
    assert text.encode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_results_on_a_full_disk_are_no_mistake_of_the_caller() -> None:
    with pytest.raises(StoreFull, match="No space left"), Results("/dev/full", as_json=False):
        pass


def test_a_name_that_is_too_long_for_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="name too long"):
        assigned_in(str(tmp_path / ("x" * 300)))


def test_a_value_that_is_too_long_is_named_and_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    payload = json.dumps({"a": "x" * 200_000}).replace('"', '""')
    head = "registration_id,key,payload\n"
    file.write_text(f'{head}d-1,{GOOD},"{payload}"\nd-2,{GOOD},\n')
    fleet = read_fleet(str(file), None, None)
    assert (list(fleet.devices), fleet.faults) == (["d-1", "d-2"], [])
    file.write_text(f"{head}d-1,{GOOD},\nd-2,{GOOD},{'x' * 2_000_000}\nd-3,{GOOD},\n")
    fleet = read_fleet(str(file), None, None)
    assert list(fleet.devices) == ["d-1"]
    assert "line 3: the row that begins here is not CSV" in str(fleet.faults[0])
    assert "at most 1048576 characters" in fleet.faults[0].hint


def test_a_fleet_file_with_keys_that_others_can_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.csv"
    for mode, told in ((0o644, True), (0o600, False)):
        file.write_text(f"registration_id,key\nd-1,{GOOD}\n")
        file.chmod(mode)
        read_fleet(str(file), None, None)
        assert ("other users can read" in capsys.readouterr().err) is told


def test_a_quote_that_is_not_closed_is_named_where_its_row_begins(tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    rows = [f"d-{number},{GOOD}" for number in range(6)]
    rows[2] = f'd-2,"{GOOD}'
    file.write_text("\n".join(["registration_id,key", *rows]))
    fleet = read_fleet(str(file), None, None)
    assert list(fleet.devices) == ["d-0", "d-1"]
    assert len(fleet.faults) == 1
    assert "line 4: " in str(fleet.faults[0])
    assert "nor any line below it was read" in str(fleet.faults[0])
    rows[4] += '"'
    file.write_text("\n".join(["registration_id,key", *rows]))
    fleet = read_fleet(str(file), None, None)
    assert list(fleet.devices) == ["d-0", "d-1", "d-5"]
    assert len(fleet.faults) == 1
    assert "lines 4 to 6: " in str(fleet.faults[0])


async def test_the_shell_says_in_json_how_far_it_was_when_it_ended(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    file, results = tmp_path / "fleet.csv", tmp_path / "results.csv"
    options = ("--json", "--concurrency", "1", "--results", str(results))
    async with local_dps as dps:
        await write_fleet(file, dps, 4)
        await dps.fault("silence", "d-2", times=None)
        first = await shell(dps, file, *options)
        while not results.exists() or len(read_results(results)) < 2:
            assert first.returncode is None
            await asyncio.sleep(0.05)  # another process's file has no way to tell
        first.send_signal(signal.SIGINT)
        out, _ = await first.communicate()
        counts = {"assigned": 2, "failed": 0, "before": 0, "skipped": 0, "left": 2}
        told = {"schema": 1, "status": "interrupted", "exit_code": 130}
        assert json.loads(out.splitlines()[-1]) == told | counts
        second = await shell(dps, file, *options, "--total-timeout", "1")
        out, _ = await second.communicate()
    last = json.loads(out.splitlines()[-1])
    assert second.returncode == last["exit_code"] != 0
    counts = {"assigned": 0, "failed": 1, "before": 2, "skipped": 0, "left": 1}
    assert (last["status"], last["error"]) == ("error", "RequestTimedOut")
    assert {name: last[name] for name in counts} == counts
