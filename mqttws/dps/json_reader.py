"""JSON that is read member by member, so that an error names the place and what was expected.

Knows places (``[2].attestation.type``) and kinds of values. Does not know what a body means.
"""

import json
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .json_text import parse_json


def parse_text(text: str, source: str) -> Any:
    """Return the JSON value of ``text``.

    Raises:
        UsageError: names the source and the place; does not hold the text.
    """
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except ValueError as error:
        fault = f"not JSON: {error}"
    # Raised out here: the other exception must not travel along, it holds the text with its keys.
    raise UsageError(f"{source}: {fault}")


@dataclass(repr=False)
class JsonValue:
    """A JSON value, where it stands, and how to say what is wrong with it."""

    value: Any
    path: str
    source: str

    def fault(self, what: str) -> UsageError:
        """Return an error that names this place."""
        place = f"{self.source}: {self.path}" if self.path else self.source
        return UsageError(f"{place}: {what}")

    def wrong(self, expected: str) -> UsageError:
        """Say what was expected; what was found is only named by its kind: it may be a key."""
        found = "missing" if self.value is None else f"found {_KIND_NAMES[type(self.value)]}"
        return self.fault(f"{found}; expected {expected}")

    def member(self, name: str) -> "JsonValue":
        """Return a member of an object; null counts as missing, as the service API's clients do."""
        path = f"{self.path}.{name}" if self.path else name
        return JsonValue(self.value.get(name), path, self.source)

    @property
    def missing(self) -> bool:
        """Whether the member is absent, or null."""
        return self.value is None

    def object(self, expected: str) -> "JsonValue":
        """Return this value, which is an object."""
        if not isinstance(self.value, dict):
            raise self.wrong(expected)
        return self

    def items(self, expected: str) -> list["JsonValue"]:
        """Return the items of a list."""
        if not isinstance(self.value, list):
            raise self.wrong(expected)
        return [
            JsonValue(item, f"{self.path}[{number}]", self.source)
            for number, item in enumerate(self.value)
        ]

    def text(self, expected: str) -> str:
        """Return a string that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong(expected)
        return self.value

    def optional_text(self, expected: str) -> str | None:
        """Return a string; None where the member is missing."""
        return None if self.missing else self.text(expected)

    def flag(self, default: bool) -> bool:
        """Return true or false; ``default`` where the member is missing."""
        if self.missing:
            return default
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value


_KIND_NAMES = {
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
