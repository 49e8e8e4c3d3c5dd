"""Real programs on free loopback ports: mosquitto, nginx that ends TLS in front of it, amqtt."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import venv
from pathlib import Path

from ..conftest import peer_missing, require_program
from ..net.rogue import Certificates
from ..ports import free_port

DEADLINE = 20.0
"""Seconds within which a program must listen, or have ended."""


class Program:
    """A program that listens on ports; it can be stopped and started again on the same ones."""

    def __init__(self, command: list[str], ports: list[int], log: Path) -> None:
        self._command = command
        self._ports = ports
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
                self._command, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(DEADLINE):
                for port in self._ports:
                    await self._listens(port)
        except TimeoutError:
            raise AssertionError(f"{self._command}: {self._log.read_text()}") from None

    async def _listens(self, port: int) -> None:
        while True:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            await asyncio.to_thread(self._process.wait, DEADLINE)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None


class Mosquitto(Program):
    """mosquitto with a WebSocket, a TCP and a TLS listener.

    Attributes:
        outlived: whether sessions outlive a restart.
        raises: whether messages come at the QoS that was granted, though published at a lower one.
        forgets: whether a cut may cost what the broker has already taken over.
    """

    outlived = True
    raises = False
    forgets = False

    def __init__(self, folder: Path, pem: Path) -> None:
        self.ws, self.mqtt, self.mqtts = free_port(), free_port(), free_port()
        data = folder / "mosquitto"
        data.mkdir()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"""user root
allow_anonymous true
persistence true
persistence_location {data}/
max_queued_messages 0
max_inflight_messages 1000
set_tcp_nodelay true
listener {self.ws} 127.0.0.1
protocol websockets
listener {self.mqtt} 127.0.0.1
listener {self.mqtts} 127.0.0.1
certfile {pem}
keyfile {pem}
"""
        )
        super().__init__(
            [require_program("mosquitto"), "-c", str(config)],
            [self.mqtt, self.ws, self.mqtts],
            folder / "mosquitto.log",
        )


class Nginx(Program):
    """nginx that speaks TLS and passes WebSockets on."""

    def __init__(self, folder: Path, pem: Path, target: int) -> None:
        self.wss = free_port()
        (folder / "nginx").mkdir()
        config = folder / "nginx.conf"
        config.write_text(
            f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx; proxy_temp_path {folder}/nginx;
  fastcgi_temp_path {folder}/nginx; uwsgi_temp_path {folder}/nginx;
  scgi_temp_path {folder}/nginx;
  server {{
    listen 127.0.0.1:{self.wss} ssl;
    ssl_certificate {pem}; ssl_certificate_key {pem};
    location / {{
      proxy_pass http://127.0.0.1:{target};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 60s;
    }}
  }}
}}
"""
        )
        super().__init__(
            [require_program("nginx"), "-c", str(config), "-p", str(folder)],
            [self.wss],
            folder / "nginx.log",
        )


class Amqtt(Program):
    """amqtt's broker with a WebSocket and a TCP listener.

    It wants a user name, any, and keeps messages only for those who have one.

    Attributes:
        outlived: as for mosquitto.
        raises: as for mosquitto; against [MQTT-3.8.4-6].
        forgets: as for mosquitto. What it has written to a link that is already dead is not sent
            again, a PUBREL that it does not expect gets no PUBCOMP, and a session that was cut in
            the middle of it may get no more messages (amqtt 0.12).
    """

    outlived = False
    raises = True
    forgets = True

    def __init__(self, folder: Path, python: Path) -> None:
        self.ws, self.mqtt = free_port(), free_port()
        config = folder / "amqtt.yaml"
        config.write_text(
            f"""listeners:
  default: {{type: tcp, bind: "127.0.0.1:{self.mqtt}"}}
  websocket: {{type: ws, bind: "127.0.0.1:{self.ws}"}}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: false}}
"""
        )
        command = [str(python.with_name("amqtt")), "-c", str(config)]
        super().__init__(command, [self.mqtt, self.ws], folder / "amqtt.log")


def amqtt_python(folder: Path) -> Path:
    """Return an interpreter that has amqtt, which needs a ``websockets`` of its own.

    Args:
        folder: where to make one, for all processes that run tests together.
    """
    if (given := os.environ.get("MQTTWS_AMQTT_PYTHON")) is not None:
        return Path(given)
    if os.environ.get("CI") != "true":
        peer_missing("MQTTWS_AMQTT_PYTHON names no interpreter with amqtt")
    home = folder / "amqtt"
    with (folder / "amqtt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first makes it, the others wait
        if not (home / "bin/amqtt").exists():
            venv.create(home, with_pip=True)
            install = [str(home / "bin/python"), "-m", "pip", "install", "-q", "amqtt>=0.12"]
            subprocess.run(install, check=True, timeout=240)
    return home / "bin/python"


def server_pem(certificates: Certificates) -> Path:
    """Make a server's certificate and return the file with it and its key."""
    before = set(certificates.ca_file.parent.glob("server-*.pem"))
    certificates.server()
    (made,) = set(certificates.ca_file.parent.glob("server-*.pem")) - before
    return made
