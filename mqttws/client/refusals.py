"""CONNACK's refusals as errors."""

from ..errors import ConnectRefused

RETURN_CODES = {
    1: ("the server does not speak MQTT 3.1.1", "ask its operator which versions it speaks"),
    2: ("the server does not accept this ClientId", "use another client_id"),
    3: ("the server says that it is unavailable", "try again later"),
    4: ("bad user name or password", "check username and password"),
    5: ("not authorized", "ask the server's operator what this client may do"),
}
"""CONNACK's refusals (MQTT 3.1.1 table 3.1) and what to do about them."""


def refusal(return_code: int) -> ConnectRefused:
    """Return the error for a CONNACK with code 1 to 5."""
    reason, hint = RETURN_CODES[return_code]
    text = f"connect: CONNACK {return_code}: {reason}"
    return ConnectRefused(text, return_code=return_code, hint=hint)
