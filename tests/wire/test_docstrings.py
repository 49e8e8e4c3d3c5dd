"""The codec's docstrings are those of its source, compiled or not."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import mqttws.wire

SOURCE = Path(mqttws.wire.__file__).parent
MODULES = sorted(
    path.stem
    for path in SOURCE.glob("*.py")
    # Of these two only one is loaded: the other kind of codec has no use for it.
    if path.stem not in ("__init__", "calls", "sealed")
)


def documented(node: ast.Module | ast.ClassDef, above: str = "") -> Iterator[tuple[str, str]]:
    for each in node.body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef) and not each.name.startswith("_"):
            if text := ast.get_docstring(each):
                yield above + each.name, text
            if isinstance(each, ast.ClassDef):
                yield from documented(each, f"{each.name}.")


@pytest.mark.parametrize("module", MODULES)
def test_help_reads_like_the_source(module: str) -> None:
    tree = ast.parse((SOURCE / f"{module}.py").read_text(encoding="utf-8"))
    loaded = importlib.import_module(f"mqttws.wire.{module}")
    assert inspect.getdoc(loaded) == ast.get_docstring(tree)
    for name, text in documented(tree):
        found: object = loaded
        for part in name.split("."):
            found = getattr(found, part)
        assert inspect.getdoc(found) == text, f"{module}.{name}"


def test_signatures_name_the_arguments() -> None:
    assert list(inspect.signature(mqttws.wire.encode).parameters) == ["packet"]
    assert list(inspect.signature(mqttws.wire.Publish).parameters) == list(
        mqttws.wire.Publish.__match_args__
    )
