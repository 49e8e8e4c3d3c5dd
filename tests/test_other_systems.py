"""A device and ``mqttws serve`` work without what only POSIX or only Linux has.

Modules and names are taken away, and moving, linking or removing an open file is refused, as
Windows does. Only a run on those systems shows that nothing else is missing.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .ports import free_port

TAKEN_AWAY = r"""
import asyncio, concurrent.futures, multiprocessing, os, pathlib, shutil, signal, socket, sqlite3
import ssl, subprocess, sys, tempfile, time, urllib.request  # the library's own use of POSIX

for name in ("fcntl", "termios", "pwd", "grp", "resource", "syslog", "tty", "pty", "readline"):
    sys.modules[name] = None

for module, names in {
    os: "fchmod fchown memfd_create MFD_CLOEXEC O_NOFOLLOW O_DIRECTORY O_CLOEXEC fork getuid"
    " geteuid getgid getppid sysconf statvfs uname openpty",
    socket: "SO_REUSEPORT TCP_INFO TCP_USER_TIMEOUT TCP_KEEPIDLE SO_BINDTODEVICE",
    signal: "SIGHUP SIGUSR1 SIGUSR2 SIGPIPE SIGALRM pthread_sigmask",
    time: "CLOCK_BOOTTIME CLOCK_MONOTONIC_RAW clock_gettime",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

readlink, listdir, stat = os.readlink, os.listdir, os.stat

def refuse_open(path):
    for each in listdir("/proc/self/fd"):
        try:
            same = readlink(f"/proc/self/fd/{each}") == os.path.realpath(path)
        except OSError:
            continue
        if same:
            raise PermissionError(13, "The process cannot access the file (WinError 32)", str(path))

def careful(function, arguments):
    def call(*given, **options):
        for path in given[:arguments]:
            refuse_open(path)
        return function(*given, **options)
    return call

for name, arguments in {"replace": 2, "rename": 2, "link": 1, "unlink": 1, "remove": 1}.items():
    setattr(os, name, careful(getattr(os, name), arguments))

real_open = os.open
def open_no_folders(path, *rest, **options):
    if not isinstance(path, int) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return real_open(path, *rest, **options)
os.open = open_no_folders

def no_signals(self, *_):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = no_signals
asyncio.SelectorEventLoop.remove_signal_handler = no_signals
"""

IMPORTS = """
import importlib, pkgutil
import mqttws
for found in pkgutil.walk_packages(mqttws.__path__, "mqttws."):
    if found.name not in ("mqttws.__main__", "mqttws.pytest_plugin"):
        importlib.import_module(found.name)
for name in mqttws.__all__:
    getattr(mqttws, name)
print("imported")
"""

DEVICE = """
import mqttws
folder = pathlib.Path(sys.argv[1])
with mqttws.LocalDps(state=folder / "dps", retry_after=0) as dps:
    key = dps.enroll_device("my-device")
    credential = mqttws.SymmetricKey("my-device", key)
    for _ in range(2):  # the second time from the cache
        found = mqttws.provision(
            dps.id_scope, credential, cache=folder / "assignment.json", **dps.options
        )
    with mqttws.LocalHub(dps) as hub:
        hub.create_device("my-device")
        text = hub.connection_string("my-device")
        store = mqttws.SqliteStore(str(folder / "me.db"))
        options = {key: value for key, value in dps.options.items() if key != "transport"}
        with mqttws.HubClient.from_connection_string(text, store=store, **options) as client:
            client.send_telemetry({"t": 1})
print(found.assigned_hub, (folder / "assignment.json").stat().st_size > 100)
"""

SERVE = """
from mqttws.cli import main
main()
"""


def run(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TAKEN_AWAY + program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_module_is_imported() -> None:
    said, _ = run(IMPORTS).communicate(timeout=60)
    assert said.strip() == "imported"


def test_a_device_registers_keeps_its_assignment_and_sends(tmp_path: Path) -> None:
    said, _ = run(DEVICE, tmp_path).communicate(timeout=60)
    assert said.splitlines()[-1] == "local-hub.azure-devices.net True", said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with run(
        SERVE, "serve", "--wss-port", port, "--mqtts-port", 0, "--state", tmp_path, "--json"
    ) as serving:
        assert serving.stdout is not None
        first = serving.stdout.readline()
        assert first.startswith("{"), first + serving.stdout.read()
        os.kill(serving.pid, number)
        assert serving.wait(timeout=20) == 0
