"""The JSON schemas of the documentation, against what the commands print."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from mqttws import AsyncClient, LocalDps, LocalHub
from mqttws.cli.app import COMMANDS, app, run

from .cli.shell import MQTTWS, environment
from .client.broker import broker
from .documents import ROOT

SCHEMAS = {
    file.stem: json.loads(file.read_text())
    for file in sorted((ROOT / "docs" / "schemas").glob("*.json"))
}


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[Any]:
    assert run([*arguments, "--json"]) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines
    for line in lines:
        jsonschema.validate(line, SCHEMAS[arguments[0]], jsonschema.Draft202012Validator)
    return lines


def test_each_command_with_json_has_a_schema() -> None:
    context = click.Context(app)
    found = set()
    for name in COMMANDS:
        command = app.get_command(context, name)
        members = command.commands.values() if isinstance(command, click.Group) else [command]
        if any("--json" in option.opts for each in members if each for option in each.params):
            found.add(name)
    assert found == set(SCHEMAS)
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_wrong_option_is_an_error_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for name in sorted(set(SCHEMAS) - {"doctor", "device"}):
        (found,) = printed(capsys, name, "--no-such-option", code=2)
        assert found["error"] == "UsageError"


def test_what_provision_fleet_and_doctor_print(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dps_state: Path
) -> None:
    with LocalDps(state=dps_state) as dps:
        key = tmp_path / "a.key"
        key.write_text(dps.enroll_device("a"))
        key.chmod(0o600)
        way = ["--host", dps.host, "--port", str(dps.wss_port), "--ca", str(dps.ca_file)]
        device = ["--id-scope", dps.id_scope, "--registration-id"]
        (found,) = printed(capsys, "provision", *device, "a", "--key-file", str(key), *way)
        assert found["status"] == "assigned"
        refused = ["provision", *device, "b", "--key-file", str(key), *way]
        (found,) = printed(capsys, *refused, code=60)
        assert (found["hop"], found["cause"]) == ("register", "not-enrolled")
        fleet = tmp_path / "fleet.csv"
        fleet.write_text(f"registration_id,key\na,{key.read_text()}\nb,{key.read_text()}\n")
        lines = printed(
            capsys, "provision-fleet", str(fleet), "--id-scope", dps.id_scope, *way, code=3
        )
        assert [line["status"] for line in lines][-1] == "done"
        (found,) = printed(capsys, "doctor", dps.host, *way[2:])
        assert found["status"] == "ok"
        (found,) = printed(capsys, "doctor", dps.host, *way[2:4], code=56)
        assert found["cause"] == "issuer-unknown"  # of a local service: its CA was not given


def test_what_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = printed(capsys, "demo")
    assert found["status"] == "assigned"


async def test_what_publish_and_subscribe_print(capsys: pytest.CaptureFixture[str]) -> None:
    async with broker(websocket=False) as server:
        url = f"mqtt://127.0.0.1:{server.port}"
        (found,) = await asyncio.to_thread(
            printed, capsys, "publish", url, "t", "--payload", "x", "--qos", "1"
        )
        assert found["status"] == "ok"
        arguments = ("subscribe", url, "t", "--count", "1", "--timeout", "30")
        async with AsyncClient(url, client_id="publisher") as client:
            reading = asyncio.create_task(asyncio.to_thread(printed, capsys, *arguments))
            while not reading.done():  # until one comes behind its SUBSCRIBE
                await client.publish("t", b"x", qos=1)
                await asyncio.wait([reading], timeout=0.05)
        (message,) = reading.result()
        assert message["topic"] == "t"


def test_what_a_device_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dps_state: Path
) -> None:
    with LocalDps(state=dps_state) as dps, LocalHub(dps):
        key = tmp_path / "a.key"
        key.write_text(dps.enroll_device("a"))
        key.chmod(0o600)
        way = ["--host", dps.host, "--port", str(dps.wss_port), "--ca", str(dps.ca_file)]
        device = ["run", "--id-scope", dps.id_scope, "--registration-id", "a"]
        work = ["--key-file", str(key), "--interval", "0.1", "--count", "2"]
        lines = printed(capsys, "device", *device, *work, *way)
        assert [line["event"] for line in lines].count("telemetry") == 2


def test_what_serve_prints(tmp_path: Path) -> None:
    ports = ["--wss-port", "0", "--mqtts-port", "0", "--admin-port", "0", "--with-hub"]
    with subprocess.Popen(
        [*MQTTWS, "serve", *ports, "--state", str(tmp_path / "dps"), "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(30) == 0
    jsonschema.validate(line, SCHEMAS["serve"], jsonschema.Draft202012Validator)
    assert line["status"] == "serving"
