"""Programs in a network namespace of their own: every port is free there, and nothing leaves it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from .conftest import peer_missing

# Brings the loopback interface up (SIOCSIFFLAGS, linux/sockios.h), then becomes the program.
_LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def in_namespace(command: Sequence[str]) -> list[str]:
    """Return a command that runs ``command`` in a fresh namespace, its loopback interface up."""
    return [*_entry(), *command]


@cache
def _entry() -> tuple[str, ...]:
    """Return the command that enters a namespace; that it works is tried once."""
    unshare = shutil.which("unshare")
    if unshare is None:
        peer_missing("unshare (util-linux) is not installed")
    flags = ["--net"] if os.geteuid() == 0 else ["--net", "--map-root-user"]
    entry = (unshare or "", *flags, sys.executable, "-I", "-S", "-c", _LOOPBACK_UP)
    if subprocess.run([*entry, "true"], capture_output=True, check=False).returncode:
        peer_missing("network namespaces may not be made here")
    return entry
