"""The lists of ``python -m tests.flakes`` name tests that are there."""

import ast

from .flakes import KINDS, ROOT


def test_each_file_and_each_test_that_is_named_is_there() -> None:
    for kind in KINDS.values():
        for place in (*kind.files, *kind.without):
            path, _, name = place.partition("::")
            assert (ROOT / path).exists(), place
            if name:
                tree = ast.parse((ROOT / path).read_text())
                assert name in {getattr(each, "name", None) for each in tree.body}, place
