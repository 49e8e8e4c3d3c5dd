"""The tests that prove each statement: their marks are the one source of all tables.

``@pytest.mark.rule(id, ...)`` names statements of conformance.csv (``MQTT-…``, ``U-…``, ``WS-…``),
of dps/proofs.csv (``DPS-ID/service`` and ``DPS-ID/device``, for the side that the test is about)
and of hub/features.csv (``HUB-…``); ``@pytest.mark.operation(name, ...)`` rows of
dps/operations.csv. A mark may stand above a test, at a row of its table there, or have a name of
its own in the file; elsewhere it is refused. Tests are named ``path::function``, below tests/; they
are functions of the module.
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
    file = path.relative_to(TESTS).as_posix()
    for test, mark in marks_of_tests(path):
        yield from ((f"{file}::{test}", name) for name in names_in(mark))


def unread(path: Path) -> list[int]:
    """Return the lines of a file's marks that belong to no test, or have a variable as a name."""
    if not has_marks(path):
        return []
    read = [mark for _, mark in marks_of_tests(path)]
    return [
        mark.lineno
        for mark in marks_in(parse(path))
        if (names_in(mark) and mark not in read)
        or any(isinstance(each, ast.Name | ast.Starred) for each in mark.args)
    ]


def marks_of_tests(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield each test of a file with each of its marks."""
    if not has_marks(path):
        return
    tree = parse(path)
    named = {
        target.id: list(marks_in(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:4] == "test":
            for decorator in node.decorator_list:
                marks = list(marks_in(decorator))
                if isinstance(decorator, ast.Name):
                    marks += named.get(decorator.id, [])
                yield from ((node.name, mark) for mark in marks)


@cache
def has_marks(path: Path) -> bool:
    """Tell whether a file has such marks at all."""
    text = path.read_text(encoding="utf-8")
    return any(f"mark.{name}(" in text for name in MARKS)


def marks_in(node: ast.AST) -> Iterator[ast.Call]:
    """Yield every such mark of an expression."""
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in MARKS
        ):
            yield call


def names_in(mark: ast.Call) -> list[str]:
    """Return the names of a mark that stand there as they are; a row of a table has its own."""
    return [str(each.value) for each in mark.args if isinstance(each, ast.Constant)]
