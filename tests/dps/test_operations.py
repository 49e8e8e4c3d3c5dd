"""The page of the operations: what it claims is proven by marked tests."""

import pytest

from .operations import KINDS, PAGE, Operation, proofs, read, render


@pytest.mark.parametrize("operation", read(), ids=lambda row: row.name[:60])
def test_each_operation_that_is_served_or_refused_is_proven(operation: Operation) -> None:
    assert operation.local in KINDS
    assert (operation.name in proofs()) is (operation.local != "not served")
    assert operation.local == "served" or operation.remark


def test_each_mark_names_a_row() -> None:
    assert proofs().keys() <= {operation.name for operation in read()}


def test_the_page_shows_the_rows_as_they_are() -> None:
    assert render(read(), proofs()) == PAGE.read_text(), "run: python -m tests.dps.operations"
