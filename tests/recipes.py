"""The blocks of docs/recipes.md and docs/compose.md that tests run, by the names above them."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def recipes() -> dict[str, str]:
    """Return the blocks by name."""
    block = r"<!-- run: ([a-z-]+) -->\n+```\w+[^\n]*\n(.*?)^```"
    pattern = re.compile(block, re.MULTILINE | re.DOTALL)
    pages = [(DOCS / name).read_text(encoding="utf-8") for name in ("recipes.md", "compose.md")]
    return dict(pattern.findall("\n".join(pages)))
