"""JSON as DPS speaks it, and foreign text made fit for one line.

Knows how values lie in bytes. Does not know what any body means.
"""

import json
from typing import Any, NoReturn

from ..errors import one_line

SHOWN_LENGTH = 120
"""How many characters of a foreign text an error or a log line shows."""


def build_json(value: object) -> bytes:
    r"""Return ``value`` as compact JSON, ASCII only: other characters become ``\u`` escapes.

    The Node SDK reads payload bytes as ASCII, so UTF-8 would arrive garbled there.

    Raises:
        ValueError: the value has no JSON form.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        reason = str(error)
    raise ValueError(reason)


def parse_json(data: bytes | str) -> Any:
    """Return the value that UTF-8 ``data`` holds.

    Raises:
        ValueError: not UTF-8, not JSON (``json.JSONDecodeError``, which knows line and column),
            a number such as NaN that JSON does not have, or nested too deep to read.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        pass
    raise ValueError("nested too deep")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def shown(value: object) -> str:
    """Return a foreign value for a log or an error: one line, printable, quoted, shortened."""
    text = ascii(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def short_line(text: str) -> str:
    """Return a foreign sentence, unquoted: one line, blanks joined, shortened."""
    line = one_line(" ".join(text.split()))
    return line if len(line) <= SHOWN_LENGTH else f"{line[:SHOWN_LENGTH]}..."
