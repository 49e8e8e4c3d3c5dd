"""The service's log: it never blocks, and never floods."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mqttws import SymmetricKey, TlsConfig, provision_async
from mqttws.local import logs
from mqttws.local.logs import MAX_ALIKE, MAX_WAITING, JsonLine, SteadyHandler


class Reader:
    """A stream whose reader takes nothing until it is told."""

    def __init__(self, *, takes: bool = True) -> None:
        self.text = ""
        self.takes = threading.Event()
        if takes:
            self.takes.set()

    def write(self, text: str) -> None:
        self.takes.wait()
        self.text += text

    def flush(self) -> None:
        pass


def say(handler: SteadyHandler, line: str) -> None:
    handler.emit(logging.LogRecord("mqttws.local", logging.INFO, "", 0, line, (), None))


def test_lines_come_in_order() -> None:
    reader = Reader()
    handler = SteadyHandler(reader)  # type: ignore[arg-type]
    for line in ("one", "two", "three"):
        say(handler, line)
    handler.close()
    assert reader.text.splitlines() == ["one", "two", "three"]


def test_a_reader_that_has_stopped_loses_lines_and_blocks_nobody() -> None:
    reader = Reader(takes=False)
    handler = SteadyHandler(reader, clock=iter(range(10**6)).__next__)  # type: ignore[arg-type]
    for number in range(4 * MAX_WAITING):
        say(handler, f"line {'x' * (number % 50)}")
    reader.takes.set()
    while handler._lines:
        pass
    say(handler, "more")
    handler.close()
    lines = reader.text.splitlines()
    lost = sum(int(line.split()[0]) for line in lines if line.endswith("nothing has read them"))
    written = sum(line.startswith("line") for line in lines)
    assert lost >= MAX_WAITING
    assert lost + written == 4 * MAX_WAITING
    assert lines[-1] == "more"


def test_lines_that_are_alike_are_summed_up() -> None:
    reader = Reader()
    now = [0.0]
    handler = SteadyHandler(reader, clock=lambda: now[0])  # type: ignore[arg-type]
    for number in range(10_000):
        say(handler, f"#{number} mqtts 127.0.0.1:{number}: closed: by the device")
    say(handler, "another thing")
    now[0] = logs.WINDOW + 1
    say(handler, "later")
    handler.close()
    lines = reader.text.splitlines()
    assert len(lines) == MAX_ALIKE + 3
    assert lines[-3] == "another thing"
    assert lines[-2].startswith("9900 more lines like: #0 mqtts")
    assert lines[-1] == "later"


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_serve_goes_on_and_ends_though_nobody_reads_its_log(
    tmp_path: Path, options: list[str]
) -> None:
    """A pipe holds 64 KiB: far less than what is written here."""
    reading, writing = os.pipe()
    words = ["--wss-port", "0", "--mqtts-port", "0", "--state", str(tmp_path), "--json", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "mqttws", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
    )
    os.close(writing)
    try:
        import json
        import socket

        assert process.stdout is not None
        place = json.loads(process.stdout.readline())
        for _ in range(1500):  # each is a line or two
            socket.create_connection(("127.0.0.1", place["mqtts_port"]), 5).close()
        command = place["example"]["command"].split()
        done = subprocess.run(
            [sys.executable, "-m", "mqttws", *command[command.index("provision") :]],
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(reading)


def as_json(line: str, front_end: int | None = None) -> dict[str, Any]:
    record = logging.LogRecord("mqttws.local", logging.INFO, "", 0, line, (), None)
    found: dict[str, Any] = json.loads(JsonLine(front_end).format(record))
    assert found.pop("time")[-1] == "Z"
    assert found.pop("level") == "info"
    return found


OPERATION = "5.5203550dd2e95e74.fddae6bb-dd01-44f7-8b22-f658cd45e632"


@pytest.mark.parametrize(
    ("line", "members"),
    [
        (
            f"#1 wss 127.0.0.1:33700 dev: register 202 {OPERATION}",
            {
                "connection": "#1 wss 127.0.0.1:33700",
                "registrationId": "dev",
                "operationId": OPERATION,
                "message": f"register 202 {OPERATION}",
            },
        ),
        (
            "#12 mqtts [::1]:4 a:b-.c: closed: by the device",
            {
                "connection": "#12 mqtts [::1]:4",
                "registrationId": "a:b-.c",
                "message": "closed: by the device",
            },
        ),
        (
            "#1 wss 127.0.0.1:33700: tls: nothing came",
            {"connection": "#1 wss 127.0.0.1:33700", "message": "tls: nothing came"},
        ),
        ("the service is back", {"message": "the service is back"}),
        ('a "quoted" \n ü', {"message": 'a "quoted" \n ü'}),
    ],
)
def test_a_line_as_json_says_whom_it_is_about(line: str, members: dict[str, Any]) -> None:
    assert as_json(line) == members
    assert as_json(line, 2) == {"frontEnd": 2} | members
    assert "\n" not in JsonLine().format(
        logging.LogRecord("mqttws.local", logging.INFO, "", 0, line, (), None)
    )


def test_the_handlers_own_lines_are_json_too() -> None:
    reader = Reader()
    handler = SteadyHandler(reader)  # type: ignore[arg-type]
    handler.setFormatter(JsonLine())
    for _ in range(MAX_ALIKE + 5):
        say(handler, "the same")
    handler.close()
    messages = [json.loads(line)["message"] for line in reader.text.splitlines()]
    assert messages[-1].startswith("5 more lines like: ")


async def test_serve_writes_nothing_but_json(tmp_path: Path) -> None:
    """Its device, connection and operation stand in members of their own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mqttws", "serve", "--json", "--log-format", "json"),
        *("--wss-port", "0", "--mqtts-port", "0", "--retry-after", "0", "--state", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    place = json.loads(await process.stdout.readline())
    key = await asyncio.to_thread(Path(place["example"]["key_file"]).read_text)
    tls = TlsConfig(ca=place["ca_file"], only_ca=True)
    await provision_async(
        place["id_scope"],
        SymmetricKey("example-device", key.strip()),
        host="127.0.0.1",
        port=place["wss_port"],
        tls=tls,
    )
    process.terminate()
    _, err = await process.communicate()
    lines = [json.loads(line) for line in err.decode().splitlines()]
    about = [line for line in lines if line.get("operationId")]
    assert about
    assert {line["registrationId"] for line in about} == {"example-device"}
    assert all(line["connection"].startswith("#") for line in about)
