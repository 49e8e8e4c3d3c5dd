"""Real programs on free loopback ports: mosquitto, and nginx that ends TLS in front of it."""

import asyncio
import contextlib
import signal
import socket
import subprocess
from pathlib import Path

from ..conftest import require_program
from .rogue import Certificates

DEADLINE = 20.0
"""Seconds within which a program must listen, or have ended."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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
    """mosquitto with a WebSocket, a TCP and a TLS listener; its sessions outlive a restart."""

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


def server_pem(certificates: Certificates) -> Path:
    """Make a server's certificate and return the file with it and its key."""
    before = set(certificates.ca_file.parent.glob("server-*.pem"))
    certificates.server()
    (made,) = set(certificates.ca_file.parent.glob("server-*.pem")) - before
    return made
