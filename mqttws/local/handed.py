"""Listening sockets that a front end gets from the process that started it.

They are opened once, for all front ends: a port that is taken is found out at the start, and while
a front end is missing, the connections that wait at the socket are accepted by the others.
"""

import json
import os
import socket
from collections.abc import Mapping, Sequence

from ..errors import UsageError

VARIABLE = "MQTTWS_FRONT_END"
"""The environment variable by which a front end gets its number and its sockets."""

Handed = Mapping[str, Sequence[int]]
"""File descriptors of listening sockets, by the name of the port: ``wss``, ``mqtts``, ``admin``."""


def to_variable(number: int, handed: Handed) -> dict[str, str]:
    """Return the environment of a front end with this number."""
    sockets = {name: list(descriptors) for name, descriptors in handed.items()}
    return {VARIABLE: json.dumps({"number": number, "sockets": sockets})}


def from_variable() -> tuple[int, Handed] | None:
    """Return the number of this front end and its sockets; None for a process of its own.

    Raises:
        UsageError: the variable cannot be read, or names what is no socket.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        members = json.loads(text)
        number, sockets = int(members["number"]), dict(members["sockets"])
        for descriptor in [one for several in sockets.values() for one in several]:
            with socket.socket(fileno=os.dup(descriptor)):
                pass
    except (ValueError, TypeError, KeyError, OSError):
        raise UsageError(
            f"{VARIABLE} cannot be used: only 'mqttws serve --processes' sets it"
        ) from None
    return number, sockets
