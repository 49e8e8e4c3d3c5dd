"""Real proxies and servers as the tests' peers: each in a folder and on loopback ports of its own.

A program is started with a configuration written for the test, is ready when its port accepts,
and is ended by its process id. Its log is the proof of which way the traffic took.
"""

import asyncio
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..conftest import require_program
from ..ports import free_port

PREFIX: list[str] = []
"""What every command is run by, such as a program that gives it other names for addresses."""

START_TIMEOUT = 20.0
"""Seconds within which a program must accept connections."""


@contextmanager
def folder() -> Iterator[Path]:
    """Lend a folder that a program with another user's rights may write in, too."""
    path = Path(tempfile.mkdtemp(prefix="mqttws-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Program:
    """A running program: where it listens, and what it has written."""

    port: int
    log_file: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it has written so far."""
        try:
            return self.log_file.read_text(errors="replace")
        except OSError:
            return ""

    async def wait_for_log(self, text: str, timeout: float = 10.0) -> str:
        """Wait until the log holds ``text``; return the log."""
        deadline = time.monotonic() + timeout
        while text not in self.log:
            if time.monotonic() > deadline:
                pytest.fail(f"{text!r} is not in the log:\n{self.log}")
            await asyncio.sleep(0.01)
        return self.log


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(
    command: Sequence[str | Path],
    port: int,
    place: Path,
    log_name: str = "output",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run a program until the block ends; it is ready when ``port`` accepts."""
    output = place / "output"
    with output.open("wb") as writer:
        process = subprocess.Popen(
            [*PREFIX, *(str(part) for part in command)],
            stdin=subprocess.PIPE,  # some end with their standard input
            stdout=writer,
            stderr=subprocess.STDOUT,
            cwd=place,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{output.read_text(errors='replace')}")
            time.sleep(0.02)
        yield Program(port, place / log_name, process)
    finally:
        # Its children are in its process group, and no other is. Nothing of it is to be kept.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        assert process.stdin is not None
        process.stdin.close()


USER, WORD = "s3cretuser", "s3cretword"
"""The login of the proxies that want one."""


@contextmanager
def squid(
    *,
    rules: str = "http_access allow all",
    login: bool = False,
    tls: tuple[Path, Path] | None = None,
    hosts: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run squid.

    Args:
        rules: its access rules, applied after the login if there is one.
        login: whether it wants Basic.
        tls: certificate and key, for TLS to the proxy itself.
        hosts: names that only the proxy resolves.
    """
    program = require_program("squid")
    with folder() as place:
        port = free_port()
        listen = f"http_port 127.0.0.1:{port}"
        if tls is not None:
            listen = f"https_port 127.0.0.1:{port} tls-cert={tls[0]} tls-key={tls[1]}"
        names = place / "hosts"
        names.write_text("".join(f"{at} {name}\n" for name, at in (hosts or {}).items()))
        lines = [
            listen,
            f"hosts_file {names}",
            "dns_nameservers 127.0.0.254",  # nobody: it knows its hosts file and nothing else
            "dns_timeout 1 second",
            "dns_retransmit_interval 1 second",
            f"pid_filename {place}/squid.pid",
            f"access_log stdio:{place}/access.log",
            f"cache_log {place}/cache.log",
            f"coredump_dir {place}",
            "cache deny all",
            "cache_mem 1 MB",
            "shutdown_lifetime 0 seconds",
            "visible_hostname proxy.test",
            "workers 1",
            "pinger_enable off",
            "netdb_filename none",
        ]
        if login:
            users = place / "users"
            subprocess.run(
                [require_program("htpasswd"), "-cbB", "-C", "4", users, USER, WORD],
                check=True,
                capture_output=True,
            )
            users.chmod(0o644)
            lines += [
                f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}",
                "auth_param basic children 1 startup=1",
                "auth_param basic realm proxy",
                "acl known proxy_auth REQUIRED",
                "http_access deny !known",
            ]
        (place / "squid.conf").write_text("\n".join([*lines, rules, ""]))
        with running(
            [program, "-N", "-f", place / "squid.conf"], port, place, "access.log"
        ) as started:
            yield started


@contextmanager
def tinyproxy(*, login: bool = False, ports: Sequence[int] = ()) -> Iterator[Program]:
    """Run tinyproxy, with Basic or without; CONNECT only to ``ports`` if there are any."""
    program = require_program("tinyproxy")
    with folder() as place:
        port = free_port()
        lines = [
            f"Port {port}",
            "Listen 127.0.0.1",
            "Timeout 60",
            "MaxClients 20",
            f'LogFile "{place}/log"',
            "LogLevel Connect",
            "Allow 127.0.0.1",
            *(f"ConnectPort {number}" for number in ports),
        ]
        if login:
            lines.append(f"BasicAuth {USER} {WORD}")
        (place / "conf").write_text("\n".join([*lines, ""]))
        with running([program, "-d", "-c", place / "conf"], port, place, "log") as started:
            yield started


@contextmanager
def dante(*, rules: str = "", login: bool = False) -> Iterator[Program]:
    """Run dante, a SOCKS server; ``rules`` come before the one that lets everything through."""
    program = require_program("danted")
    with folder() as place:
        port = free_port()
        text = f"""
debug: 1
logoutput: {place}/log
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: {"username" if login else "none"}
user.privileged: root
user.unprivileged: nobody
client pass {{
  from: 0/0 to: 0/0
  log: error
}}
{rules}
socks pass {{
  from: 0/0 to: 0/0
  log: connect disconnect error
}}
"""
        (place / "conf").write_text(text)
        with running([program, "-f", place / "conf", "-N", "1"], port, place, "log") as started:
            yield started


@contextmanager
def openssh() -> Iterator[Program]:
    """Run ``ssh -D``, a SOCKS proxy that knows SOCKS4a (dante does not), and the sshd behind it."""
    ssh, sshd = require_program("ssh"), require_program("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it locks its unprivileged half in
    with folder() as place:
        port = free_port()
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name]
            subprocess.run(command, check=True)
        (place / "sshd_config").write_text(
            f"HostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\nPidFile none\nUsePAM no\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nStrictModes no\n"
        )
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            f"ProxyCommand={sshd} -i -e -f {place}/sshd_config",
        ]
        command = [ssh, "-F", "none", "-vv", "-N", "-D", f"127.0.0.1:{port}", "-i", place / "user"]
        command += [part for option in options for part in ("-o", option)]
        with running([*command, f"{getpass.getuser()}@local"], port, place) as started:
            yield started


@contextmanager
def mitmproxy() -> Iterator[tuple[Program, Path]]:
    """Run mitmproxy, which re-signs TLS; also return the file of its CA."""
    program = require_program("mitmdump")
    with folder() as place:
        port = free_port()
        command = [
            program,
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            str(port),
            "--set",
            f"confdir={place}",
            "--ssl-insecure",
            "--set",
            "connection_strategy=lazy",
            "--flow-detail",
            "1",
        ]
        with running(command, port, place, environ={"PYTHONUNBUFFERED": "1"}) as started:
            yield started, place / "mitmproxy-ca-cert.pem"


@contextmanager
def nginx(body: str, port: int, *, stream: bool = False) -> Iterator[Program]:
    """Run nginx with the inside of its ``http`` (or ``stream``) block."""
    program = require_program("nginx")
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    with folder() as place:
        temporary = "".join(
            f"{kind}_temp_path {place}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        block = (
            f"stream {{\n{body}\n}}"
            if stream
            else f"http {{\naccess_log {place}/access.log;\n{temporary}{body}\n}}"
        )
        (place / "conf").write_text(
            f"{f'load_module {module};' if stream else ''}\n"
            f"daemon off; pid {place}/pid; error_log {place}/error.log info;\n"
            f"worker_processes 1; events {{ worker_connections 64; }}\n{block}\n"
        )
        with running(
            [program, "-c", place / "conf", "-e", place / "error.log"], port, place, "access.log"
        ) as started:
            yield started


@contextmanager
def haproxy(body: str, port: int) -> Iterator[Program]:
    """Run haproxy with its ``frontend`` and ``backend`` sections; its log is its output."""
    program = require_program("haproxy")
    with folder() as place:
        (place / "conf").write_text(
            "global\n    log stdout format raw local0\n"
            "defaults\n    mode http\n    log global\n    option httplog\n"
            "    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n"
            f"{body}\n"
        )
        with running([program, "-db", "-f", place / "conf"], port, place) as started:
            yield started
