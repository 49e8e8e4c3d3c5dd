"""The page of the operations: what it claims is proven by marked tests."""

import pytest

from tests import proven

from .operations import KINDS, PAGE, Operation, read, render


@pytest.mark.parametrize("operation", read(), ids=lambda row: row.name[:60])
def test_each_operation_that_is_served_or_refused_is_proven(operation: Operation) -> None:
    assert operation.local in KINDS
    assert bool(proven.tests_of(operation.name)) is (operation.local != "not served")
    assert operation.local == "served" or operation.remark


def test_the_page_shows_the_rows_as_they_are() -> None:
    assert render(read()) == PAGE.read_text(), "run: python -m tests.dps.operations"
