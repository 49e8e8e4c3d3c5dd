"""The command, in this process and in one of its own; peers on this machine that misbehave.

Nothing sleeps: a test waits for a line of output, within a deadline that a busy machine keeps.
"""

import io
import json
import logging
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import mqttws
from mqttws.cli import app

from ..raises_recorder import RECORDING

DEADLINE = 60.0
"""Seconds within which a command must have done what is waited for."""

MQTTWS = (sys.executable, "-m", "mqttws")

KEY = b64encode(bytes(range(64))).decode()
OTHER_KEY = b64encode(bytes(range(100, 164))).decode()


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which ``mqttws`` is found and says the same everywhere."""
    unwanted = ("MQTTWS_", "PYTHON", "FORCE_COLOR", "NO_COLOR", "SSL_CERT", "COV_")
    found = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    found |= {
        "PYTHONPATH": os.pathsep.join([RECORDING, str(Path(mqttws.__file__).parent.parent)]),
        "PYTHONWARNINGS": "default::ResourceWarning",
        "COLUMNS": "80",
        "TERM": "xterm",
    }
    return found | variables


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach a child though we may ignore it, as a shell's background jobs do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_process(
    *arguments: str | Path, stdin: str = "", command: Sequence[str] = MQTTWS, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own to its end, where a test is about the process."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(**variables),
        check=False,
    )


def run(
    *arguments: str | Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end as its process does, but in this one, which is quicker."""
    output, errors = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)
    )
    words = list(map(str, arguments))
    with (
        redirect_stdout(output),
        redirect_stderr(errors),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
        mock.patch.dict(os.environ, environment(**variables), clear=True),
        usual_loggers(),
    ):
        code = app.run(words)
    texts = [stream.buffer.getvalue().decode() for stream in (output, errors)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, code, *texts)


@contextmanager
def usual_loggers() -> Iterator[None]:
    """Have loggers as a new process has them, and take away in the end what was done to them."""
    loggers = [logging.getLogger(), logging.getLogger("mqttws")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers.clear()  # pytest's
    try:
        yield
    finally:
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)


def secret_file(file: Path, text: str) -> Path:
    """Write a secret into a file that no other user can read."""
    file.touch()
    file.chmod(0o600)
    file.write_text(text)
    return file


def only_line(text: str) -> str:
    """Return the one line that ``text`` is."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


class Running:
    """The command while it runs; what it prints is collected line by line."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        with interruptible():
            self.process = subprocess.Popen(
                [*MQTTWS, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(**variables),
            )
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=pair)
            for pair in (
                (self.process.stdout, self.stdout),
                (self.process.stderr, self.stderr),
            )
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))
                self._lines.put(lines[-1])
        self._lines.put(None)

    def wait_for(self, part: str) -> str:
        """Return the next line, of either output, that has ``part`` in it."""
        ended = 0
        while ended < len(self._readers):
            try:
                line = self._lines.get(timeout=DEADLINE)
            except queue.Empty:
                break
            if line is None:
                ended += 1
            elif part in line:
                return line
        raise AssertionError(f"no line with {part!r} in {self.stdout} {self.stderr}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            for reader in self._readers:
                reader.join(DEADLINE)


class Service:
    """A ``mqttws serve`` on free ports, and how it is reached."""

    def __init__(self, state: Path, enrollments: object = None, *options: str, **env: str) -> None:
        arguments: list[str | Path] = ["--wss-port", "0", "--mqtts-port", "0", "--state", state]
        if enrollments is not None:
            file = state / "enrollments.json"
            file.write_text(json.dumps(enrollments))
            arguments += ["--enrollments", file]
        self.running = Running("serve", *arguments, "--retry-after", "0", "--json", *options, **env)
        try:
            self.place = json.loads(self.running.wait_for('"serving"'))
        except BaseException:
            self.running.end()
            raise

    @property
    def to_reach(self) -> tuple[str, ...]:
        """Options of ``provision`` that lead here; later ones of the same name prevail."""
        return (
            *("--id-scope", self.place["id_scope"], "--host", self.place["host"]),
            *("--port", str(self.place["wss_port"]), "--ca", self.place["ca_file"]),
        )


@contextmanager
def serving(
    state: Path, enrollments: object = None, *options: str, **env: str
) -> Iterator[Service]:
    """Run ``mqttws serve``; in the end a signal must end it well."""
    service = Service(state, enrollments, *options, **env)
    try:
        yield service
    except BaseException:
        service.running.end()
        raise
    assert service.running.end() == 0


def individual(registration_id: str, key: str = KEY, **members: object) -> Mapping[str, object]:
    """Return a device's enrollment record."""
    keys = {"primaryKey": key}
    attestation = {"type": "symmetricKey", "symmetricKey": keys}
    return {"registrationId": registration_id, "attestation": attestation, **members}


Answer = Callable[[bytes], bytes]


@contextmanager
def peer(answer: Answer | None = None, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen on a port: read what comes, answer once, and then say nothing until the end.

    Args:
        answer: told the first bytes that came; None for a peer that is silent.
        context: of the TLS to speak first; None for none.
    """
    kept: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
                kept.append(connection)
            data = connection.recv(65536)
            if answer is not None:
                connection.sendall(answer(data))
            while connection.recv(65536):
                pass

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                thread = threading.Thread(target=serve, args=(connection,))
                threads.append(thread)
                thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            threads[0].join(DEADLINE)
            for connection in kept:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(DEADLINE)
            for connection in kept:
                connection.close()
