"""The tests that prove each statement: their marks are the one source of all tables.

``@pytest.mark.rule(id, ...)`` names statements of conformance.csv (``MQTT-…``, ``U-…``, ``WS-…``),
of dps/proofs.csv (``DPS-ID/service`` and ``DPS-ID/device``, for the side that the test is about)
and of hub/features.csv (``HUB-…``); ``@pytest.mark.operation(name, ...)`` rows of
dps/operations.csv. A mark may stand above a test, at a row of its table, or have a name of its own
in the file. Tests are named ``path::function``, below tests/; they are functions of the module.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
MARKS = ("rule", "operation")


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def tests_by_name() -> dict[str, tuple[str, ...]]:
    """Return the tests that prove each rule or operation, in the order of their files and lines."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, name in marked(path):
            found.setdefault(name, {})[test] = None
    return {name: tuple(tests) for name, tests in found.items()}


def tests_of(name: str) -> tuple[str, ...]:
    """Return the tests that prove a rule or operation; empty for none."""
    return tests_by_name().get(name, ())


def marked(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each test of a file with each name in its marks."""
    if not any(f"mark.{name}(" in path.read_text(encoding="utf-8") for name in MARKS):
        return
    tree = parse(path)
    named = {
        target.id: list(names_in(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    file = path.relative_to(TESTS).as_posix()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                names = list(names_in(decorator))
                if isinstance(decorator, ast.Name):
                    names += named.get(decorator.id, [])
                yield from ((f"{file}::{node.name}", name) for name in names)


def names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names in every such mark of an expression."""
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in MARKS
        ):
            yield from (str(each.value) for each in call.args if isinstance(each, ast.Constant))
