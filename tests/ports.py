"""Ports for programs that must be told one."""

import itertools
import os
import socket

_FIRST, _SLICE, _SLICES = 10_000, 2_000, 11
"""Below the ports that the system hands out by itself, which would take one between asking and
listening; a slice for each of the test processes that run side by side."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SLICES
_offsets = itertools.count(os.getpid() * 97)  # runs that do not know of each other begin elsewhere


def take_slice(number: int) -> None:
    """Have this process, a fork, use another slice than those that were forked beside it."""
    global _worker  # noqa: PLW0603 - one for the process
    _worker = number % _SLICES


def free_port() -> int:
    """Return a TCP port of the loopback addresses that nobody listens on now."""
    while True:
        port = _FIRST + _worker * _SLICE + next(_offsets) % _SLICE
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
