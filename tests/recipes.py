"""The blocks of docs/recipes.md that tests run, by the names in the comments above them."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"


def recipes() -> dict[str, str]:
    """Return the blocks by name."""
    pattern = re.compile(r"<!-- run: ([a-z-]+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return dict(pattern.findall(PAGE.read_text(encoding="utf-8")))
