"""JSON as DPS speaks it.

Knows how values lie in bytes. Does not know what any body means.
"""

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Levels of arrays and objects in a body; deeper ones mean trouble for every reader."""


def build_json(value: object) -> bytes:
    r"""Return ``value`` as compact JSON, ASCII only: other characters become ``\u`` escapes.

    The Node SDK reads payload bytes as ASCII, so UTF-8 would arrive garbled there.

    Raises:
        ValueError: the value has no JSON form.
    """
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, RecursionError) as error:
        reason = str(error)
    raise ValueError(reason)


def parse_json(data: bytes | str) -> Any:
    """Return the value that UTF-8 ``data`` holds.

    Raises:
        ValueError: not UTF-8, not JSON (``json.JSONDecodeError``, which knows line and column),
            a number that JSON does not have (NaN, or one that overflows to infinity), or nested
            deeper than ``MAX_DEPTH``.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        pass
    else:
        if _depth_within(value, MAX_DEPTH):
            return value
    raise ValueError(f"nested too deep; allowed: {MAX_DEPTH} levels")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _depth_within(value: object, limit: int) -> bool:
    """Tell whether no array and no object stands deeper than ``limit`` levels."""
    level = [value]
    for _ in range(limit + 1):
        outer = [each for each in level if isinstance(each, dict | list)]
        if not outer:
            return True
        level = [
            inner for each in outer for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return False
