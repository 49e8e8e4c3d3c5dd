"""The countable part of plain English: first words of docstrings, and words that are out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mqttws

GENERATED = {"dps-operations.md", "hub-features.md", "networks.md"}
"""Pages that hold the names of tests."""

PACKAGE = Path(mqttws.__file__).parent
ROOT = PACKAGE.parent
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED]
FIRST_WORDS = {"What", "Who", "Whose", "Where", "How", "Which", "Learn", "When", "Why"}
"""Begin no docstring: it names the thing, or says what the function does."""

OUT = (
    "whoever", "nobody", "everybody", "somebody", "likewise", "heed", "heeds", "wish", "wishes",
    "is told", "are told", "be told", "told of", "is made anew", "come by", "cannot be right",
    "comes of it", "came of it", "whose it is", "without being asked",
)  # fmt: skip


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield where each docstring of the package stands, and the docstring."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    name = getattr(node, "name", "the file")
                    yield f"{path.relative_to(PACKAGE)}: {name}", text


def test_no_docstring_begins_with_a_question():
    found = [where for where, text in docstrings() if text.split()[0] in FIRST_WORDS]
    assert found == []


def test_words_that_are_out_stand_nowhere():
    out = re.compile(rf"\b({'|'.join(OUT)})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in [*sorted(PACKAGE.rglob("*.py")), *PAGES, *sorted(ROOT.glob("*.md"))]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if out.search(line)
    ]
    assert found == []
