"""The service's log: it never blocks, and never floods."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mqttws.local import logs
from mqttws.local.logs import MAX_ALIKE, MAX_WAITING, SteadyHandler


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
