"""CONNACK's refusals as errors."""

from ..errors import ConnectRefused
from ..wire import Connect

RETURN_CODES = {
    1: ("the server does not speak MQTT 3.1.1", "ask its operator which versions it speaks"),
    2: ("the server does not accept this ClientId", "use another client_id"),
    3: ("the server says that it is unavailable", "try again later"),
    4: ("bad user name or password", ""),
    5: ("not authorized", ""),
}
"""CONNACK's refusals (MQTT 3.1.1 table 3.1) and what to do about them; 4 and 5: see below."""


def refusal(return_code: int, connect: Connect) -> ConnectRefused:
    """Return the error for a CONNACK with code 1 to 5 to this CONNECT."""
    reason, hint = RETURN_CODES[return_code]
    hint = hint or _login_hint(connect)
    text = f"connect: CONNACK {return_code}: {reason}"
    return ConnectRefused(text, return_code=return_code, hint=hint)


def _login_hint(connect: Connect) -> str:
    operator = "the server's operator knows what this client may do"
    if connect.username is None:
        return f"no login was sent: give a user name and a password; {operator}"
    if connect.password is None:
        return f"no password was sent: give one; {operator}"
    return f"check user name and password; {operator}"
