"""Examples in docstrings, which stand behind ``>>>``, as blocks of code on the site.

Markdown takes the three signs for quotations. An extension of griffe, which reads the docstrings.
"""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?:>>>|\.\.\.)(?: .*)?)*$", re.MULTILINE)


def fenced(text: str) -> str:
    """Return a docstring, its examples as fenced Python without prompts."""

    def block(match: re.Match[str]) -> str:
        code = re.sub(r"^(?:>>>|\.\.\.) ?", "", match[0], flags=re.MULTILINE)
        return f"```python\n{code}\n```"

    return _EXAMPLE.sub(block, text)


class Prompts(griffe.Extension):
    """Has every docstring fenced as it is read."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Take in a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
