"""Direct methods: a service's call, its limits, and the answers that end it.

Source: azure-docs ``iot-hub-devguide-direct-methods.md``. Pure: waiting is the caller's matter.
"""

from dataclasses import dataclass
from typing import Any

from .codes import Code, Fault

MAX_PAYLOAD = 128 * 1024
"""Bytes of a method's payload, both ways."""

DEFAULT_RESPONSE_TIMEOUT = 30
RESPONSE_TIMEOUTS = range(5, 301)
CONNECT_TIMEOUTS = range(301)

_FORBIDDEN = frozenset("/#+?&= ")
"""Characters that would break the topic which carries the name."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A method call.

    Attributes:
        name: the method's.
        payload: any JSON value.
        response_timeout: seconds for the device's answer.
        connect_timeout: seconds for the device to connect; 0 fails at once without it.
    """

    name: str
    payload: Any = None
    response_timeout: float = DEFAULT_RESPONSE_TIMEOUT
    connect_timeout: float = 0


def read_invocation(body: object) -> Invocation | Fault:
    """Return the call in a request's body."""
    if not isinstance(body, dict):
        return Fault(Code.IotHubFormatError, "expected a JSON object")
    name = body.get("methodName")
    fault = method_name_fault(name)
    if fault:
        return Fault(Code.ArgumentInvalid, fault)
    response = body.get("responseTimeoutInSeconds")
    connect = body.get("connectTimeoutInSeconds")
    response = DEFAULT_RESPONSE_TIMEOUT if response in (None, 0) else response
    connect = 0 if connect is None else connect
    for member, value, allowed in (
        ("responseTimeoutInSeconds", response, RESPONSE_TIMEOUTS),
        ("connectTimeoutInSeconds", connect, CONNECT_TIMEOUTS),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
            span = f"{allowed[0]} to {allowed[-1]}"
            return Fault(Code.ArgumentInvalid, f"{member}: allowed are {span} seconds")
    return Invocation(str(name), body.get("payload"), response, connect)


def method_name_fault(name: object) -> str | None:
    """Return the rule that a method's name breaks; None if it breaks none."""
    if not isinstance(name, str) or not name or len(name) > 100:
        return "methodName: allowed is a string of 1 to 100 characters"
    if not name.isascii() or not name.isprintable() or _FORBIDDEN & set(name):
        return "methodName: allowed is printable ASCII without /, #, +, ?, &, = and blank"
    return None


def offline(invocation: Invocation) -> Fault:
    """Return the fault of a call for a device that is not there, or does not listen for calls."""
    if invocation.connect_timeout:
        message = "Timed out waiting for device to connect."
    else:
        message = "The operation failed because the requested device isn't online."
    seconds = int(invocation.connect_timeout)
    timeout = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return Fault(Code.DeviceNotOnline, message, {"timeout": timeout})


def unanswered() -> Fault:
    """Return the fault of a call that the device did not answer in time."""
    return Fault(Code.GatewayTimeout, "Timed out waiting for the response from device.")


def bad_answer(reason: str) -> Fault:
    """Return the fault of a call that the device answered with what is no answer."""
    return Fault(Code.IotHubFormatError, f"The device's response is {reason}.")


def displaced() -> Fault:
    """Return the fault of a call whose device was displaced by a new connection of the same id."""
    return Fault(
        Code.ConnectionForcefullyClosedOnNewConnection,
        "The connection was closed by a new connection of the same device.",
    )
