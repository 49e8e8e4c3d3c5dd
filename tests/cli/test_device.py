"""``mqttws device run``: a device in a shell, at a local hub."""

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mqttws import LocalDps

from .shell import KEY, Running, only_line, run, secret_file
from .test_hub import hub, state

__all__ = ["state"]


def device(place: Any, *arguments: str) -> Running:
    return Running(
        "device", "run", "--host", place["host"], "--port", str(place["wss_port"]),
        "--ca", place["ca_file"], "--json", *arguments,
    )  # fmt: skip


def events(running: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.stdout]


def test_a_device_asks_dps_sends_answers_and_reports(state: Any, tmp_path: Path) -> None:
    _, place = state
    key = secret_file(tmp_path / "key", KEY)
    running = device(
        place, "--id-scope", place["id_scope"], "--registration-id", "enrolled",
        "--key-file", str(key), "--interval", "0.2",
    )  # fmt: skip
    try:
        running.wait_for('"telemetry"')
        answer = hub(state, "invoke", "enrolled", "reboot", '{"delay": 5}')
        found = json.loads(answer.stdout)
        assert (found["status"], found["payload"]) == (200, {"delay": 5})
        assert hub(state, "send", "enrolled", "hello").returncode == 0
        assert json.loads(running.wait_for('"message"'))["body"] == "hello"
        assert hub(state, "twin", "enrolled", "--desired", '{"color":"red"}').returncode == 0
        running.wait_for('"red"')
    finally:
        code = running.end(signal.SIGINT)
    assert code == 130
    assert json.loads(hub(state, "twin", "enrolled").stdout)["properties"]["reported"]["color"]
    kinds = {event["event"] for event in events(running)}
    assert {event["schema"] for event in events(running)} == {1}
    assert kinds >= {"connected", "telemetry", "desired", "method", "message"}
    assert running.stderr == []


def test_a_connection_string_and_a_count(state: Any, tmp_path: Path) -> None:
    _, place = state
    made = hub(state, "create-device", "by-string")
    name = place["hub"]["names"][0]
    text = f"HostName={name};DeviceId=by-string;SharedAccessKey={made.stdout}"
    file = secret_file(tmp_path / "device.txt", text)
    running = device(
        place, "--connection-string-file", str(file), "--interval", "0.01", "--count", "3",
        "--body", "text",
    )  # fmt: skip
    assert running.end(0) == 0, (running.stderr, made.stdout[:30])
    sent = [event for event in events(running) if event["event"] == "telemetry"]
    assert [event["body"] for event in sent] == ["text"] * 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "one of --connection-string-file, --id-scope and --hub"),
        (("--hub", "h", "--id-scope", "s"), 2, "one of --connection-string-file"),
        (("--hub", "h"), 2, "--registration-id"),
        (("--connection-string-file", "/nonexistent"), 41, "/nonexistent"),
    ],
)
def test_each_refusal_is_one_line(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run("device", "run", *arguments)
    assert done.returncode == code
    assert said in only_line(done.stderr)


def test_a_wrong_connection_string_is_not_shown() -> None:
    wrong = {"MQTTWS_CONNECTION_STRING": f"HostName=h;DeviceId=d;SharedAccesKey={KEY}"}
    done = run("device", "run", **wrong)
    assert done.returncode == 2
    assert "part 3 has no known name" in only_line(done.stderr)
    assert KEY[:10] not in done.stderr


def test_a_local_dps_without_a_hub_is_named(tmp_path: Path) -> None:
    with LocalDps(state=tmp_path) as dps:
        key = secret_file(tmp_path / "key", dps.enroll_device("d"))
        done = run(
            *("device", "run", "--hub", "local-hub.azure-devices.net", "--registration-id", "d"),
            *("--key-file", key, "--host", dps.host, "--port", str(dps.wss_port)),
            *("--ca", dps.ca_file),
        )
    assert done.returncode == 58
    assert "only with --with-hub" in only_line(done.stderr)


@pytest.mark.parametrize("way", [("--hub", "h.example"), ("--id-scope", "0ne00LOCAL")])
def test_a_silent_server_is_waited_for_no_longer_than_was_asked(
    way: tuple[str, ...], tmp_path: Path
) -> None:
    key = secret_file(tmp_path / "key", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        done = run(
            *("device", "run", *way, "--registration-id", "d", "--key-file", key),
            *("--host", "127.0.0.1", "--port", str(silent.getsockname()[1]), "--timeout", "0.5"),
        )
    assert done.returncode == 16  # TLS
    assert "the 0.5 s for all of it" in only_line(done.stderr)
    assert time.monotonic() - began < 10
