"""A pytest plugin that runs the rows of a table within one test.

A test function that is plain (no coroutine, no fixture) and parametrised is collected as one test:
it is called with each row, whatever has become of those before, and fails with the errors of all
rows that failed, each with the row's name. Thousands of rows so cost a call each, and not what a
test costs pytest and every one of its workers.

``pytest --rows`` makes a test of each row instead, to run or to name one alone. So does the mark
``apart``, for rows that take long, and ``slow``: the workers share them out. Rows with marks that
decide whether they run stay tests of their own too.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sized
from typing import Any

import pytest

HARMLESS = {"rule", "operation"}
"""Marks of a row that say what it proves, and change nothing."""

APART = {"apart", "slow"}
"""Marks of a test whose rows take long."""

Row = tuple[str, dict[str, Any]]
"""A row's name and its arguments."""

PARAM = type(pytest.param())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rows", action="store_true", help="make a test of each row of a table")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "apart: each row of the table is a test of its own")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> pytest.Function | None:
    """Collect a table as one test; leave everything else to pytest."""
    if not (isinstance(collector, pytest.Module) and inspect.isfunction(obj)):
        return None
    marks = list(getattr(obj, "pytestmark", []))
    tables = [mark for mark in marks if mark.name == "parametrize"]
    if not tables or not collector.funcnamefilter(name) or collector.config.getoption("rows"):
        return None
    of_module = getattr(collector.obj, "pytestmark", [])
    marks_of_all = marks + (of_module if isinstance(of_module, list) else [of_module])
    if APART & {mark.name for mark in marks_of_all}:
        return None
    if not can_be_one(obj, tables):
        return None
    if hasattr(collector.obj, "pytest_generate_tests"):
        return None
    test = in_one(obj, tables)
    test.pytestmark = [mark for mark in marks if mark.name != "parametrize"]  # type: ignore[attr-defined]
    item = pytest.Function.from_parent(collector, name=name, callobj=test)
    return None if item.fixturenames else item  # a fixture that every test of the module uses


def names_of(table: pytest.Mark) -> list[str]:
    """Return the names of a table's columns."""
    names = table.args[0]
    return [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)


def can_be_one(function: Callable[..., object], tables: list[pytest.Mark]) -> bool:
    """Tell whether all that the function takes comes from its tables, and rows are mere values."""
    if inspect.iscoroutinefunction(function) or hasattr(function, "hypothesis"):
        return False
    if any(
        len(table.args) != 2
        or table.kwargs.keys() - {"ids"}
        or not (isinstance(table.args[1], Sized) and len(table.args[1]))
        for table in tables
    ):
        return False
    if any(
        mark.name not in HARMLESS
        for table in tables
        for row in table.args[1]
        if isinstance(row, PARAM)
        for mark in row.marks
    ):
        return False
    columns = [name for table in tables for name in names_of(table)]
    return sorted(columns) == sorted(inspect.signature(function).parameters)


def rows_of(table: pytest.Mark) -> Iterator[Row]:
    """Yield the rows of one table."""
    names, ids = names_of(table), table.kwargs.get("ids")
    for number, row in enumerate(table.args[1]):
        name = None
        values: Any = (row,) if len(names) == 1 else row
        if isinstance(row, PARAM):
            values, name = row.values, row.id
        if name is None and callable(ids):
            name = "-".join(str(ids(value)) for value in values)
        elif name is None:
            name = str(ids[number]) if ids else "-".join(repr(value)[:80] for value in values)
        yield str(name), dict(zip(names, values, strict=True))


def in_one(function: Callable[..., object], tables: list[pytest.Mark]) -> Callable[[], None]:
    """Return the test that calls the function with each combination of the tables' rows."""
    several = [list(rows_of(table)) for table in tables]

    def test() -> None:
        errors: list[BaseException] = []
        skipped: list[str] = []
        failed: list[str] = []
        count = 0
        for rows in itertools.product(*several):
            count += 1
            name = "-".join(row[0] for row in rows)
            arguments = {key: value for row in rows for key, value in row[1].items()}
            try:
                function(**arguments)
            except pytest.skip.Exception as reason:
                skipped.append(f"[{name}] {reason}")
            except (KeyboardInterrupt, pytest.exit.Exception):
                raise
            except BaseException as error:
                error.add_note(f"in row [{name}]")
                errors.append(error)
                failed.append(f"[{name}]")
        if errors:
            what = f"{len(errors)} of {count} rows fail: {', '.join(failed)}"
            raise BaseExceptionGroup(what, errors) from None
        if skipped:
            pytest.skip(f"{len(skipped)} of {count} rows: {'; '.join(skipped)}")

    functools.update_wrapper(test, function, updated=())
    del test.__wrapped__  # type: ignore[attr-defined]  # pytest would read its signature
    return test
