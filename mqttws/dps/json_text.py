"""JSON as DPS speaks it.

Knows how values lie in bytes. Does not know what any body means.
"""

import json
from typing import Any, NoReturn


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
