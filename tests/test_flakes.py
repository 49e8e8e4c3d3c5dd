"""The counts of ``python -m tests.flakes``, and its lists: they name tests that are there."""

import ast

from .flakes import CONCURRENT, KINDS, ROOT, UNNAMED, Runs, times_of


def test_each_file_and_each_test_that_is_named_is_there() -> None:
    for kind in KINDS.values():
        for place in (*kind.files, *kind.without):
            path, _, name = place.partition("::")
            assert (ROOT / path).exists(), place
            if name:
                tree = ast.parse((ROOT / path).read_text())
                assert name in {getattr(each, "name", None) for each in tree.body}, place


def test_a_run_of_the_suite_counts_for_the_tests_that_did_not_fail_in_it() -> None:
    def suite(times: int, *failed: str, before: bool = False) -> Runs:
        return Runs("suite", "c", "d", times, 9, dict.fromkeys(failed, 1), before)

    rows = [
        Runs("concurrent", "c", "d", 60),
        suite(10, "tests/cli/test_serve.py::test_x", before=True),
        suite(3, f"{CONCURRENT[0]}::test_y", before=True),
        suite(2, UNNAMED, before=True),
        suite(20),
    ]
    assert times_of("suite", rows) == 20
    assert times_of("concurrent", rows) == 60 + 10 + 20
    rows[0].before = True  # begun anew
    assert times_of("concurrent", rows) == 10 + 20
